"""What happened in a district, written in the transaction of its cause.

An event has the next number of its district, and a delivery for every subscription that wants to be
rung for it. If the transaction is taken back, nothing has happened and nobody is rung. It holds ids
and counts: a receiver is rung, and then asks under its own rights.

Locks: the run first, then the events. Who writes one holds the others of the district back until
the commit, so it is among the last things that a transaction does.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from pipeline.database import Connection, one
from schemas.statements import load
from schemas.webhooks import EventType, client_of, envelope

SQL = load("schemas", "events.sql")


def emit(
    db: Connection,
    tenant_id: int,
    event_type: EventType,
    data: Mapping[str, Any],
    *,
    version: int | None = None,
) -> int:
    """Write an event into the transaction that is open; answer its number.

    The transaction is one of this district (`pipeline.database.tenant`). `version`: the one of the
    roster that it tells of, by which events can be sent again.
    """
    facts: dict[str, Any] = {"tenant_id": tenant_id, "type": event_type, "version": version}
    sequence, at, district = one(db, SQL["number_event"], facts)
    body = envelope(event_type, at, district, sequence, data)
    written = {"id": uuid4(), "sequence": sequence, "at": at, "body": body, "only": None}
    written["client"] = client_of(data)
    db.execute(SQL["add_event"], facts | written)
    return int(sequence)


def published(db: Connection, tenant_id: int, version: int, data: Mapping[str, Any]) -> int:
    """Tell that a version of the roster stands; `cursor` is where a reader of changes begins."""
    told = {"version": version, "cursor": str(version), **data}
    return emit(db, tenant_id, "roster.version.published", told, version=version)


def disable(db: Connection, tenant_id: int, webhook_id: UUID, because: str) -> bool:
    """Switch a subscription off; what it misses waits. Answer whether it was on."""
    key = {"tenant_id": tenant_id, "webhook_id": webhook_id, "because": because}
    db.execute(SQL["hold_events"], key)
    if db.execute(SQL["disable"], key).rowcount == 0:
        return False
    db.execute(SQL["hold_deliveries"], key)
    return True
