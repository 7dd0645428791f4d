"""What the audit keeps: who read or changed what, as chains in which nothing is changed unseen.

Each process has a chain per district, the hub itself one more. An entry is hashed together with the
hash before it, so whoever changes, swaps, adds or removes one breaks what follows; that the chain
was not written anew as a whole is shown by its heads (schemas/heads.py). Entries hold ids, the
names of fields and the structure of filters, never a value of a record.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from uuid import UUID

import orjson

from schemas.statements import load

SQL = load("schemas", "audit.sql")

INSTALLATION = 0
"""The tenant of what belongs to no district: districts, and who was not let in."""

HUB = str(UUID(int=0))
"""The chain of what the hub does by itself. Its state is in the tables, not in a process."""

Party: TypeAlias = Literal["key", "client", "administrator", "anonymous", "hub"]
PARTIES: tuple[Party, ...] = get_args(Party)
"""Who may have done it. `anonymous` presented no key that is valid, `hub` is a worker."""

Operation: TypeAlias = Literal["read", "change", "delete", "publish", "remove"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
"""What was done. `publish`: a version of a roster; `remove`: what had served its time."""

Key: TypeAlias = tuple[int, str]
"""A chain: its tenant and its id."""

Entry: TypeAlias = dict[str, str | int | None]
"""An entry without its hashes, as it is hashed."""


class Link(NamedTuple):
    """The last entry of a chain so far."""

    seq: int = 0
    hash: bytes = bytes(32)


START = Link()


class Head(NamedTuple):
    """How far a chain was at a time."""

    tenant_id: int
    chain: str
    seq: int
    hash: str
    at: str


def instant(moment: datetime) -> str:
    """An instant as it is hashed; PostgreSQL keeps it to the same microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def canonical(entry: Mapping[str, object]) -> bytes:
    """The bytes of an entry. What is absent is left out, so a new column changes no old hash."""
    said = {name: value for name, value in entry.items() if value is not None}
    return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)


def hashed(previous: bytes, entry: Mapping[str, object]) -> bytes:
    """The hash of an entry behind another one."""
    return hashlib.sha256(previous + canonical(entry)).digest()


def content(row: Mapping[str, Any]) -> dict[str, object]:
    """A stored row as it was hashed."""
    return {
        **{name: value for name, value in row.items() if name not in ("previous", "hash")},
        "chain": str(row["chain"]),
        "at": instant(row["at"]),
    }


class Chains:
    """The chains of one writer, and what they become with the next entries."""

    def __init__(self, chain: str, process: str) -> None:
        self._chain = chain
        self._process = process
        self._links: dict[int, Link] = {}
        self._marked: dict[int, Link] = {}

    def mark(self) -> None:
        """All that came so far is written."""
        self._marked = dict(self._links)

    def back(self) -> None:
        """What came since the mark is not written and never will be."""
        self._links = dict(self._marked)

    def add(self, tenant_id: int, entry: Entry) -> dict[str, object]:
        """The row of the next entry of a tenant; entries that were lost leave their place empty."""
        before = self._links.get(tenant_id, START)
        seq = before.seq + 1 + int(entry.get("lost") or 0)
        whole = entry | {"tenant_id": tenant_id, "chain": self._chain, "seq": seq}
        link = self._links[tenant_id] = Link(seq, hashed(before.hash, whole))
        return {**whole, "previous": before.hash.hex(), "hash": link.hash.hex()}

    def start_at(self, tenant_id: int, link: Link) -> None:
        """Go on from an entry that is written."""
        self._links[tenant_id] = link

    def batch(self, rows: list[dict[str, object]]) -> dict[str, str]:
        """Rows as the statement `append` takes them, with the heads that they make."""
        heads = {row["tenant_id"]: row for row in rows}
        said = ("tenant_id", "chain", "seq", "hash", "at")
        return {
            "entries": orjson.dumps(rows).decode(),
            "heads": orjson.dumps(
                [
                    {"process": self._process} | {name: row[name] for name in said}
                    for row in heads.values()
                ]
            ).decode(),
        }
