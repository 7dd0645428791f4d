"""A request as an entry of the audit: what was seen of it, and what of that is kept."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from api.masking import NOTHING, asked
from schemas.audit import Entry, Operation, Party, instant

REFUSED = 400

OPERATIONS: Mapping[str, Operation] = {"GET": "read", "HEAD": "read", "DELETE": "delete"}


class Speaker(NamedTuple):
    """Who asked, and for which tenant; `credential` is the key of a client."""

    tenant_id: int
    party: Party
    who: str | None
    credential: str | None = None


class Seen(NamedTuple):
    """A request that was answered, as it came."""

    speaker: Speaker
    method: str
    route: str
    address: str | None
    status: int
    code: str | None
    at: datetime
    records: int | None
    named: Mapping[str, str]
    query: str
    request_id: str


ALIKE = Seen._fields.index("at")
"""Refusals that are equal up to here become one entry: nobody fills the audit by being refused."""


def entries_of(seen: Iterable[Seen]) -> Iterator[tuple[int, Entry]]:
    """The entries of requests, with their tenants."""
    refusals: dict[tuple[Speaker, tuple[object, ...]], Entry] = {}
    for each in seen:
        if each.status < REFUSED:
            yield each.speaker.tenant_id, entry_of(each)
            continue
        alike = (each.speaker, each[:ALIKE])
        if (known := refusals.get(alike)) is not None:
            known["times"] = int(known["times"] or 1) + 1
        else:
            refusals[alike] = entry_of(each)
    for (speaker, _), entry in refusals.items():
        yield speaker.tenant_id, entry


def entry_of(seen: Seen) -> Entry:
    """What is kept of a request. Of one that was refused even its ids are somebody's guess."""
    answered = seen.status < REFUSED
    said = asked(seen.query, answered=answered) if seen.query else NOTHING
    return {
        "at": instant(seen.at),
        "party": seen.speaker.party,
        "who": seen.speaker.who,
        "credential": seen.speaker.credential,
        "operation": OPERATIONS.get(seen.method, "change"),
        "method": seen.method,
        "route": seen.route,
        "target": target(seen.named) if answered and seen.named else None,
        "filter": said.filter,
        "fields": said.fields,
        "page": said.page,
        "records": seen.records,
        "address": seen.address,
        "status_code": seen.status,
        "code": seen.code,
        "request_id": seen.request_id,
        "times": None,
    }


def target(named: Mapping[str, str]) -> str:
    """The ids in the address, in its order; a slash inside one is %2F."""
    text = "/".join(named.values()).replace("\0", "")
    return text.encode("utf-8", "replace").decode()
