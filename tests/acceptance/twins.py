"""Whether two districts that were told the same came to be the same: the checker of every storm.

It reads the tables of two districts, live and history, and says each difference in a sentence.
Nothing is sampled. What must differ is left out: the tenant itself, ids of runs, instants. Where
the question is only whether a district stands where its twin does, `state_of` is cheaper: one
statement, one snapshot, a count and a sum for each table.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import LiteralString, TypeAlias

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Composed, Identifier

from schemas.roster import ROSTERING

SHOWN = 5
LIVE = tuple(entity.table for entity in ROSTERING)
HISTORY = tuple(f"{table}_history" for table in LIVE)
KEPT: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys((*LIVE, *HISTORY), ("tenant_id",)),
        "record_counts": ("tenant_id",),
        "versions": ("tenant_id", "run_id", "published_at", "released_at"),
        "districts": ("tenant_id", "id", "name", "published_at", "created_at", "feed_epoch"),
        "findings": ("tenant_id", "run_id"),
        "finding_counts": ("tenant_id", "run_id"),
        "finding_files": ("tenant_id", "run_id"),
        "finding_groups": ("tenant_id", "run_id"),
        "run_previews": ("tenant_id", "run_id"),
    }
)
"""Every table that an import writes, and the columns by which two districts may differ."""
ROSTER = (*LIVE, *HISTORY, "record_counts", "versions", "districts")
"""Those of them in which a version lies; the others tell of runs, whatever came of them."""


@dataclass(frozen=True)
class Twins:
    """A district, another that was pushed the same without a fault, and the schema they lie in."""

    db: psycopg.Connection[TupleRow]
    tenant_id: int
    twin_id: int
    schema: str = "rosterhub"
    tables: tuple[str, ...] = tuple(KEPT)

    def differences(self) -> list[str]:
        """What is wrong with the district; nothing, if it is as the twin and sound in itself."""
        for table in self.tables:
            # Without statistics a comparison of some thousand rows takes half a minute.
            self.db.execute(SQL("analyze {}").format(Identifier(self.schema, table)))
        return [
            *(said for table in self.tables for said in self._unequal(table, KEPT[table])),
            *(said for table in LIVE for said in self._false_deletions(table)),
            *(said for table in LIVE for said in self._twice(table)),
            *(said for table in LIVE for said in self._torn(table)),
            *self._gaps(),
        ]

    def _unequal(self, table: str, but: tuple[str, ...]) -> Iterator[str]:
        """Rows that only one of the two has, as often as it has them."""
        for mine, other, what in (
            (self.tenant_id, self.twin_id, "too much"),
            (self.twin_id, self.tenant_id, "missing"),
        ):
            rows = self._ask(UNEQUAL, table, but=list(but), mine=mine, other=other)
            yield from (f"{table}: {what}: {row}" for (row,) in rows)

    def _false_deletions(self, table: str) -> Iterator[str]:
        """Records that are deleted here and alive in the twin."""
        rows = self._ask(FALSE_DELETIONS, table, mine=self.tenant_id, other=self.twin_id)
        yield from (f"{table}: falsely deleted: {key}" for (key,) in rows)

    def _twice(self, table: str) -> Iterator[str]:
        """A record has one state per version, live and history taken together."""
        rows = self._ask(TWICE, table, mine=self.tenant_id)
        yield from (f"{table}: {key} is there {n} times as of version {v}" for key, v, n in rows)

    def _torn(self, table: str) -> Iterator[str]:
        """Where a state ends the next one begins; the last one is live."""
        rows = self._ask(TORN, table, mine=self.tenant_id)
        yield from (f"{table}: {key} has no state from version {v} on" for key, v in rows)

    def _gaps(self) -> Iterator[str]:
        """Versions are numbered without a gap, and time goes on with them."""
        rows = self._ask(GAPS, "versions", mine=self.tenant_id)
        yield from (f"version {version} is out of order" for (version,) in rows)

    def _ask(self, query: LiteralString, table: str, **facts: object) -> list[TupleRow]:
        composed = composed_of(query, self.schema, table)
        return self.db.execute(composed, facts | {"shown": SHOWN}).fetchall()


State: TypeAlias = tuple[tuple[str, int, int], ...]
"""For each table its name, how many rows it has, and a sum over their hashes."""


def state_of(db: psycopg.Connection[TupleRow], tenant_id: int) -> State:
    """Where a district stands, in whatever order its rows lie; read in one snapshot."""
    parts = [
        SQL(HASHED).format(
            name=table, table=Identifier("rosterhub", table), but=list(KEPT[table]), mine=tenant_id
        )
        for table in ROSTER
    ]
    rows = db.execute(SQL(" union all ").join(parts)).fetchall()
    return tuple(sorted((str(name), int(rows), int(total)) for name, rows, total in rows))


def unlike(one: State, other: State) -> list[str]:
    """The tables by which two states differ."""
    return sorted({name for name, *_ in {*one} ^ {*other}})


def composed_of(query: LiteralString, schema: str, table: str) -> Composed:
    return SQL(query).format(
        live=Identifier(schema, table), history=Identifier(schema, f"{table}_history")
    )


HASHED = """
    select {name}, count(*),
        coalesce(sum(hashtextextended((to_jsonb(t) - {but}::text[])::text, 0)), 0)
    from {table} as t where t.tenant_id = {mine}
"""

UNEQUAL = """
    select to_jsonb(t) - %(but)s::text[] as row from {live} as t where tenant_id = %(mine)s
    except all
    select to_jsonb(t) - %(but)s::text[] from {live} as t where tenant_id = %(other)s
    limit %(shown)s
"""

FALSE_DELETIONS = """
    select sourced_id from {live} as mine join {live} as other using (sourced_id)
    where mine.tenant_id = %(mine)s and mine.status = 'tobedeleted'
      and other.tenant_id = %(other)s and other.status = 'active'
    limit %(shown)s
"""

TWICE = """
    select sourced_id, version, count(*) from (
        select sourced_id, version from {live} where tenant_id = %(mine)s
        union all
        select sourced_id, version from {history} where tenant_id = %(mine)s
    ) as states
    group by sourced_id, version having count(*) > 1
    limit %(shown)s
"""

TORN = """
    select h.sourced_id, h.until_version from {history} as h
    where h.tenant_id = %(mine)s
      and not exists (
          select from {live} as l
          where l.tenant_id = h.tenant_id and l.sourced_id = h.sourced_id
            and l.version = h.until_version
      )
      and not exists (
          select from {history} as next
          where next.tenant_id = h.tenant_id and next.sourced_id = h.sourced_id
            and next.version = h.until_version
      )
    limit %(shown)s
"""

GAPS = """
    select version from (
        select version, published_at,
            row_number() over (order by version) as place,
            lag(published_at) over (order by version) as before
        from {live} where tenant_id = %(mine)s
    ) as numbered
    where version <> place or published_at <= before
    limit %(shown)s
"""


def cloned(db: psycopg.Connection[TupleRow], schema: str, tenants: Collection[int]) -> None:
    """Copy what these have to a schema of its own, without the constraints that refuse a bug."""
    db.execute(SQL("create schema {}").format(Identifier(schema)))
    for table in KEPT:
        db.execute(
            SQL("create table {} as select * from {} where tenant_id = any({})").format(
                Identifier(schema, table), Identifier("rosterhub", table), [*tenants]
            )
        )
