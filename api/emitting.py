"""What the gateway does to a district, told as the workers tell it (`pipeline/events.py`).

The event is written in the transaction of its cause, which is nearly over by then: other events of
the district wait for it.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from api.database import Connection
from schemas.statements import load
from schemas.webhooks import EventType, client_of, envelope, of_run

SQL = load("schemas", "events.sql")


async def emit(
    connection: Connection,
    tenant_id: int,
    event_type: EventType,
    data: Mapping[str, Any],
    *,
    only: UUID | None = None,
) -> UUID:
    """Write an event; `only`: for this subscription alone, whatever it wants to be rung for."""
    facts: dict[str, Any] = {"tenant_id": tenant_id, "type": event_type, "version": None}
    cursor = await connection.execute(SQL["number_event"], facts)
    number = await cursor.fetchone()
    if number is None:
        raise LookupError("number_event")
    sequence, at = number["newest"], number["at"]
    written = {
        "id": uuid4(),
        "sequence": sequence,
        "at": at,
        "body": envelope(event_type, at, number["district"], sequence, data),
        "only": only,
        "client": client_of(data),
    }
    await connection.execute(SQL["add_event"], facts | written)
    return UUID(str(written["id"]))


async def import_failed(connection: Connection, tenant_id: int, row: Mapping[str, Any]) -> None:
    """A person has ended a run, which therefore applies nothing; only imports are told of."""
    if row["kind"] == "import":
        told = of_run(row["id"], row["entity"], row["state"])
        await emit(connection, tenant_id, "csv.import.failed", told)
