"""The order of texts by the Unicode Collation Algorithm, without asking the server for it.

Keys are kept in `sort_keys`, by district and value, and made by those who read: a sorted read looks
for values without a key in its own snapshot first, so it is never wrong. Texts are ordered by their
first characters; what is equal so far is ordered by sourcedId.
"""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from struct import pack

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.sql import SQL, Composable, Composed, Identifier
from pyuca import Collator  # type: ignore[import-untyped]

from api.database import Database
from api.rosters.folding import fold
from api.rosters.sight import Rows
from schemas.errors import Unavailable
from schemas.roster import AnyEntity
from schemas.statements import load

STATEMENTS = load("api", "rosters.sql")
CONSIDERED = 256  # characters of a text
BETWEEN = b"\0\0"  # levels of a key
LOOKED_FOR = 50_000  # values without a key, at a time
CHUNK = 1000  # keys that are made and written at a stretch
REMEMBERED = 10_000  # columns known to be complete


@cache
def collator() -> Collator:
    """The table of weights; reading it takes a moment, once per process."""
    return Collator()


def key_of(text: str) -> bytes:
    """The sort key: keys compare by bytes as the texts do."""
    begin = text[:CONSIDERED]
    if begin.isascii():
        levels = (b"".join(map(level.__getitem__, begin)) for level in levels_of_ascii())
        return BETWEEN.join([*levels, b""])
    weights = collator().sort_key(begin)
    return pack(f">{len(weights)}H", *weights)


@cache
def levels_of_ascii() -> list[dict[str, bytes]]:
    """Level -> letter -> weight. No two letters of ASCII weigh anything together."""
    letters = [chr(code) for code in range(128)]
    found = {letter: collator().collation_elements(letter) for letter in letters}
    return [
        {
            letter: pack(">H", weights[level]) if weights[level] else b""
            for letter, (weights,) in found.items()
        }
        for level in range(3)
    ]


def considered(expression: Composable) -> Composed:
    """The part of a text that has a key."""
    return SQL("left({}, {})").format(expression, CONSIDERED)


@dataclass(frozen=True, slots=True)
class Needed:
    """Texts that a read compares by their keys: an expression about the records of `alias`.

    `name` is the path of the property: with the entity it says which texts they are.
    """

    name: str
    entity: AnyEntity
    alias: str
    expression: Composable

    def missing(self, rows: Rows) -> Composed:
        """Some values that have no key yet."""
        return SQL(
            "select value from ("
            " select distinct {text} as value from {rows} as {alias}"
            " where {alias}.tenant_id = %(tenant_id)s"
            ") as found"
            " where value is not null and not exists ("
            " select from sort_keys as known"
            " where known.tenant_id = %(tenant_id)s and known.value = found.value"
            ") limit {limit}"
        ).format(
            text=considered(self.expression),
            rows=rows.seen(self.entity),
            alias=Identifier(self.alias),
            limit=LOOKED_FOR,
        )


class SortKeys:
    """Sees to it that whatever a read compares has a key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._complete: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def missing(
        self,
        connection: AsyncConnection[DictRow],
        mark: tuple[object, ...],
        needed: Iterable[Needed],
        rows: Rows,
        key: Mapping[str, object],
    ) -> list[str]:
        """Values without a key in this snapshot; `mark` names the snapshot and the sight."""
        for each in needed:
            name = (*mark, each.entity, each.name)
            if name in self._complete:
                continue
            cursor = await connection.execute(each.missing(rows), key)
            if values := [row["value"] for row in await cursor.fetchall()]:
                return values
            self._complete[name] = None
            if len(self._complete) > REMEMBERED:
                self._complete.popitem(last=False)
        return []

    async def add(self, tenant_id: int, values: Sequence[str], until: float) -> None:
        """Make the keys of these values, one reader of a district at a time.

        Something is done even where the time is up: whoever comes again goes on from there.
        """
        async with self._locks[tenant_id]:
            async with self._database.tenant(tenant_id) as connection:
                cursor = await connection.execute(
                    STATEMENTS["known_keys"], {"tenant_id": tenant_id, "values": values}
                )
                known = {row["value"] for row in await cursor.fetchall()}
            # In one order, so that two processes never wait for each other.
            rest = sorted({*values} - known)
            for start in range(0, len(rest), CHUNK):
                if start and time.monotonic() > until:
                    raise Unavailable("The hub is still learning the order of these texts.")
                made = await asyncio.to_thread(keys_of, rest[start : start + CHUNK])
                async with self._database.tenant(tenant_id) as connection:
                    await connection.execute(
                        STATEMENTS["add_keys"], {"tenant_id": tenant_id, **made}
                    )


def keys_of(values: list[str]) -> dict[str, list[str] | list[bytes] | list[bytes | None]]:
    """The columns of sort_keys."""
    return {
        "values": values,
        "keys": [key_of(value) for value in values],
        "folded": [None if (plain := fold(value)) == value else key_of(plain) for value in values],
    }
