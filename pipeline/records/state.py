"""The relations that rules between records speak of, in two engines.

`Stored` is an import: what is staged and what goes, over the live tables of PostgreSQL. `Loose` is
a package by itself: every row in SQLite, nothing stored. Both answer the same SQL; what differs is
only how a relation is made.
"""

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, LiteralString, TypeAlias

import polars as pl
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline.database import Connection, one
from pipeline.faults import pointers
from pipeline.records.checks import CHECKS, KINDS, Check, Few
from pipeline.stage import copied, gone, is_empty, staged
from schemas.columns import Day, Flag, Key, Ref, Refs, Texts
from schemas.roster import BY_TABLE, ROSTERING, AnyEntity
from schemas.roster.people import User

Row: TypeAlias = tuple[Any, ...]
Keys: TypeAlias = tuple[str, Composable]
"""A column, and the query for the keys that it must be among."""

Extents: TypeAlias = Mapping[str, Mapping[str, tuple[str | None, str | None]]]

NAMES = re.compile(r"\b(after|touched|new|items|extent)_(\w+)\b")
ENDS: tuple[LiteralString, ...] = ("min", "max")
OWN = ("line", "sourced_id", "status")
FEW = 50_000  # changed rows, up to which stored ones are looked up by an index each
SOUGHT: Mapping[str, tuple[str, ...]] = {
    "users": ("sourced_id", "username"),
    "roles": ("sourced_id", "user_sourced_id"),
    "enrollments": ("sourced_id", "user_sourced_id", "class_sourced_id"),
}
"""The columns that an index of the stored rows is for, by bytes; of others the sourcedId."""
SOUGHT_AMONG = SQL(' and {} collate "C" = any (array (select distinct * from ({}) as k))')
CACHE = 64 * 1024  # KiB of pages


def plain(text: str) -> SQL:
    """SQL of this package as a composable."""
    return SQL(text)


def used(entity: AnyEntity, text: str) -> tuple[str, ...]:
    """The columns of an entity that a text speaks of."""
    names = [column.name for column in entity.stored() if column.name not in OWN]
    return tuple(name for name in names if re.search(rf"\b(items_{entity.table}_)?{name}\b", text))


class State(ABC):
    """What a rule may ask for. `faulty` are the tables of which rows with an error are known."""

    def __init__(self) -> None:
        self.faulty: set[str] = set()

    @abstractmethod
    def rows(self, query: Composable) -> list[Row]:
        """The rows of a query."""

    @abstractmethod
    def changed(self, entity: AnyEntity) -> bool:
        """Whether there is any row of the entity to look at."""

    @abstractmethod
    def after(self, entity: AnyEntity, columns: Iterable[str], near: Keys | None) -> Composable:
        """The active rows as they will be."""

    @abstractmethod
    def few(self, entity: AnyEntity, columns: Iterable[str], keys: Keys) -> Composable:
        """The active rows whose column is among the keys, where nothing is stored."""

    @abstractmethod
    def touched(self, entity: AnyEntity, columns: Iterable[str]) -> Composable:
        """The rows that change or go, before and after."""

    @abstractmethod
    def new(self, entity: AnyEntity, columns: Iterable[str]) -> Composable:
        """The active rows whose key is not stored."""

    def extent(self, entity: AnyEntity, columns: Sequence[str]) -> Composable:
        """The first and the last day of columns of the active staged rows."""
        ends = SQL(", ").join(
            SQL("{}({}) as {}").format(SQL(end), Identifier(name), Identifier(f"{name}_{end}"))
            for name in columns
            for end in ENDS
        )
        return SQL("select {} from {} where status = 'active'").format(
            ends, Identifier(f"staged_{entity.table}")
        )

    @abstractmethod
    def items(self, relation: str, entity: AnyEntity, column: str) -> Composable:
        """The items of a list column of the rows of a relation."""

    @abstractmethod
    def missing(self, target: AnyEntity, key: Composable) -> Composable:
        """Whether neither a staged nor a stored active row has the key."""

    @abstractmethod
    def know(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        """Make `faulty_T`: `sourced_id, finding` and what the row points at."""

    scoped: bool
    """Whether something is stored, so that `near` narrows."""

    def compose(self, check: Check, shape: str) -> Composed:
        """A check's query with the relations that it speaks of; `shape` selects from `found`."""
        made: dict[str, Composable] = {}

        def make(sql: str) -> None:
            for found in NAMES.finditer(sql):
                define(found.group())
            for name in (*check.parts, *check.few):
                if re.search(rf"\b{name}\b", sql):
                    define(name)

        def define(name: str) -> None:
            if name in made or name in making:
                return
            making.add(name)
            if name in check.parts:
                make(check.parts[name])
                made[name] = plain(check.parts[name])
            elif name in check.few:
                made[name] = few(check.few[name])
            else:
                made[name] = relation(name)

        def few(wanted: Few) -> Composable:
            base = f"after_{wanted.entity.table}"
            if self.scoped:
                define(base)
                return SQL("select * from {}").format(Identifier(base))
            make(wanted.keys)
            keys = (wanted.column, plain(wanted.keys))
            return self.few(wanted.entity, used(wanted.entity, check.text), keys)

        def relation(name: str) -> Composable:
            kind, _, rest = name.partition("_")
            if kind == "items":
                entity = next(BY_TABLE[t] for t in BY_TABLE if rest.startswith(f"{t}_"))
                base = f"after_{entity.table}"
                define(base)
                return self.items(base, entity, rest.removeprefix(f"{entity.table}_"))
            entity = BY_TABLE[rest]
            columns = used(entity, check.text)
            if kind == "touched":
                return self.touched(entity, columns)
            if kind == "new":
                return self.new(entity, columns)
            if kind == "extent":
                days = (c.name for c in entity.stored() if isinstance(c, Day) and c.name in columns)
                return self.extent(entity, tuple(days))
            near = check.near.get(name) if self.scoped else None
            if near is None:
                return self.after(entity, columns, None)
            make(near[1])
            return self.after(entity, columns, (near[0], plain(near[1])))

        making: set[str] = set()
        make(check.sql)
        made["found"] = plain(check.sql)

        def how(name: str) -> SQL:
            if name.startswith("extent_"):  # one row, and a look at all of them to make it
                return SQL("as materialized")
            return SQL("as") if self.scoped or name in check.parts else SQL("as not materialized")

        tables = SQL(", ").join(
            SQL("{} {} ({})").format(Identifier(name), how(name), body)
            for name, body in made.items()
        )
        return SQL("with recursive {} {}").format(tables, plain(shape))


def named(columns: Iterable[str], alias: str = "") -> Composable:
    """Columns with commas between them."""
    return SQL(", ").join(Identifier(alias, n) if alias else Identifier(n) for n in columns)


class Stored(State):
    """An import. `first`: the district was empty, so what is staged is all there is.

    `loaded`: it was written at once, and what stands for the staging tables has all the indexes.
    `extents`: between which days all its rows lie, by table and column, as far as that is known.
    """

    def __init__(
        self,
        db: Connection,
        tenant_id: int,
        *,
        first: bool,
        loaded: bool = False,
        extents: Extents | None = None,
    ) -> None:
        super().__init__()
        self.db, self.tenant_id, self.scoped, self.loaded = db, tenant_id, not first, loaded
        self._changed: dict[str, bool] = {}
        self._goes: dict[str, bool] = {}
        self._looked_up: set[AnyEntity] = set()
        self._extents = extents or {}

    def rows(self, query: Composable) -> list[Row]:
        """The rows of a query."""
        return self.db.execute(SQL("{}").format(query)).fetchall()

    def changed(self, entity: AnyEntity) -> bool:
        """Whether any row is staged or gone."""
        if entity.table not in self._changed:
            empty = is_empty(self.db, staged(entity)) and is_empty(self.db, gone(entity))
            self._changed[entity.table] = not empty
        return self._changed[entity.table]

    @cached_property
    def _small(self) -> bool:
        """Whether the keys near a change are so few that the stored rows are best looked up."""
        rows = SQL(" union all ").join(
            SQL("(select from {} limit {})").format(table, Literal(FEW))
            for entity in ROSTERING
            for table in (staged(entity), gone(entity))
        )
        (count,) = one(self.db, SQL("select count(*) from ({}) as changed").format(rows))
        return int(count) < FEW

    def refresh(self) -> None:
        """The change set is another one now."""
        self._changed.clear()
        self._goes.clear()
        self._looked_up.clear()

    def live(self, entity: AnyEntity, *, untouched: bool) -> Composed:
        """From the active stored rows `l`; `untouched`: that are neither staged nor gone."""
        source = SQL(" from {} as l where l.tenant_id = {} and l.status = 'active'").format(
            Identifier(entity.table), Literal(self.tenant_id)
        )
        if not untouched:
            return source
        return source + SQL(
            " and not exists (select 1 from {} as s where s.sourced_id = l.sourced_id)"
            " and not exists (select 1 from {} as g where g.sourced_id = l.sourced_id)"
        ).format(staged(entity), gone(entity))

    def after(self, entity: AnyEntity, columns: Iterable[str], near: Keys | None) -> Composable:
        """Staged rows, and stored ones that stay as they are."""
        names = ("sourced_id", *columns)
        new = SQL("select s.line, {} from {} as s where s.status = 'active'").format(
            named(names, "s"), staged(entity)
        )
        if not self.scoped:
            return new
        old = SQL("select null::bigint, {}").format(named(names, "l")) + self.live(
            entity, untouched=True
        )
        if near:
            among = SQL(" and {} in ({})")
            new += among.format(Identifier("s", near[0]), near[1])
            if self._small and near[0] in SOUGHT.get(entity.table, ("sourced_id",)):
                among = SOUGHT_AMONG
            old += among.format(Identifier("l", near[0]), near[1])
        return SQL("{} union all {}").format(new, old)

    def extent(self, entity: AnyEntity, columns: Sequence[str]) -> Composable:
        """What was noted when the rows went by, or a look at them."""
        known = self._extents.get(entity.table)
        if known is None:
            return super().extent(entity, columns)
        ends = SQL(", ").join(
            SQL("{}::date as {}").format(Literal(day), Identifier(f"{name}_{end}"))
            for name in columns
            for end, day in zip(ENDS, known[name], strict=True)
        )
        return SQL("select {}").format(ends)

    def few(self, entity: AnyEntity, columns: Iterable[str], keys: Keys) -> Composable:
        """Staged rows; an array is looked up in an index, however large the planner thinks it."""
        among = SOUGHT_AMONG if self.loaded else SQL(" and {} in ({})")
        return SQL("{}{}").format(
            self.after(entity, columns, None), among.format(Identifier("s", keys[0]), keys[1])
        )

    def touched(self, entity: AnyEntity, columns: Iterable[str]) -> Composable:
        """Staged rows, and the stored ones that they replace or that go."""
        names = ("sourced_id", *columns)
        new = SQL("select {} from {} as s where s.status = 'active'").format(
            named(names, "s"), staged(entity)
        )
        if not self.scoped:
            return new
        return SQL("{} union all select {} from {} as l").format(
            new, named(names, "l"), self._before(entity)
        )

    def _before(self, entity: AnyEntity) -> Identifier:
        """The stored rows that are replaced or go: looked up once for all that ask for them."""
        table = Identifier("pg_temp", f"before_{entity.table}")
        if entity not in self._looked_up:
            self.db.execute(SQL("drop table if exists {}").format(table))
            look = SQL("""
                create temporary table {name} on commit drop as
                select {columns} from {live} as l join (
                    select sourced_id from {staged} union all select sourced_id from {gone}
                ) as k using (sourced_id)
                where l.tenant_id = {tenant} and l.status = 'active'
            """)
            self.db.execute(
                look.format(
                    name=Identifier(f"before_{entity.table}"),
                    columns=named(("sourced_id", *used(entity, EVERYTHING)), "l"),
                    live=Identifier(entity.table),
                    staged=staged(entity),
                    gone=gone(entity),
                    tenant=Literal(self.tenant_id),
                )
            )
            self._looked_up.add(entity)
        return table

    def new(self, entity: AnyEntity, columns: Iterable[str]) -> Composable:
        """Staged rows that are not there yet, not even as a tombstone."""
        new = SQL("select s.line, {} from {} as s where s.status = 'active'").format(
            named(("sourced_id", *columns), "s"), staged(entity)
        )
        if not self.scoped:
            return new
        return new + SQL(
            " and not exists (select 1 from {} as l"
            " where l.tenant_id = {} and l.sourced_id = s.sourced_id)"
        ).format(Identifier(entity.table), Literal(self.tenant_id))

    def items(self, relation: str, entity: AnyEntity, column: str) -> Composable:
        """An array as rows."""
        del entity
        return SQL(
            "select s.line, s.sourced_id, i.key"
            " from {} as s cross join lateral unnest({}) as i (key)"
        ).format(Identifier(relation), Identifier("s", column))

    def missing(self, target: AnyEntity, key: Composable) -> Composable:
        """Two look-ups; what goes is looked up elsewhere."""
        new = SQL(
            "not exists (select 1 from {} as k where k.sourced_id = {key} and k.status = 'active')"
        ).format(staged(target), key=key)
        if not self.scoped:
            return new
        stored = SQL("{} and not exists (select 1 {} and l.sourced_id = {})").format(
            new, self.live(target, untouched=False), key
        )
        if target is not User or not self._keeps_out:
            return stored
        # Who was erased is not missed, whatever the source still says of them.
        return SQL(
            "{} and not exists (select 1 from kept_out as o"
            " where o.tenant_id = {} and o.sourced_id = {})"
        ).format(stored, Literal(self.tenant_id), key)

    @cached_property
    def _keeps_out(self) -> bool:
        """Whether anybody who was erased is kept out."""
        query = SQL("select 1 from kept_out where tenant_id = {} limit 1")
        return bool(self.rows(query.format(Literal(self.tenant_id))))

    def goes(self, entity: AnyEntity) -> bool:
        """Whether any stored record of the entity goes."""
        if not self.scoped or not self.changed(entity):
            return False
        if entity.table not in self._goes:
            query = SQL("select 1 from {} where status = 'tobedeleted' limit 1")
            self._goes[entity.table] = not is_empty(self.db, gone(entity)) or bool(
                self.rows(query.format(staged(entity)))
            )
        return self._goes[entity.table]

    def going(self, entity: AnyEntity) -> Composed:
        """The keys of the records that go."""
        return SQL(
            "select sourced_id from {} union all select sourced_id from {}"
            " where status = 'tobedeleted'"
        ).format(gone(entity), staged(entity))

    def leaving(self, target: AnyEntity, key: Composable) -> Composable:
        """Whether the key is of a record that goes, and is not replaced."""
        return SQL(
            "{key} in ({going}) and not exists"
            " (select 1 from {staged} as k where k.sourced_id = {key} and k.status = 'active')"
        ).format(key=key, going=self.going(target), staged=staged(target))

    def left(
        self, entity: AnyEntity, column: Key | Ref | Refs, target: AnyEntity, limit: int
    ) -> list[Row]:
        """Stored rows, untouched, that point at a record that goes: their keys, and its key."""
        query = SQL("""
            select r.sourced_id, r.key from ({rows}) as r
            where r.key in ({going}) order by 1, 2 limit {limit}
        """).format(
            rows=self.pointing(entity, column), going=self.going(target), limit=Literal(limit)
        )
        return self.rows(query)

    def pointing(self, entity: AnyEntity, column: Key | Ref | Refs) -> Composed:
        """Whom the untouched stored rows name in a column: `sourced_id, key`."""
        cell: Composable = Identifier("l", column.name)
        key = SQL("unnest({})").format(cell) if isinstance(column, Refs) else cell
        return SQL("select l.sourced_id, {} as key {} and {} is not null").format(
            key, self.live(entity, untouched=True), cell
        )

    def live_beside(self, entity: AnyEntity, target: AnyEntity) -> Composed:
        """From untouched rows `l`, staged targets `t` and what these were before, `o`."""
        return SQL("""
            from {live} as l, {staged} as t join {targets} as o
              on o.tenant_id = {tenant} and o.sourced_id = t.sourced_id and o.status = 'active'
            where l.tenant_id = {tenant} and l.status = 'active' and t.status = 'active'
              and not exists (select 1 from {own} as s where s.sourced_id = l.sourced_id)
              and not exists (select 1 from {gone} as g where g.sourced_id = l.sourced_id)
        """).format(
            live=Identifier(entity.table),
            staged=staged(target),
            targets=Identifier(target.table),
            tenant=Literal(self.tenant_id),
            own=staged(entity),
            gone=gone(entity),
        )

    def know(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        """A temporary table."""
        table = Identifier("pg_temp", f"faulty_{entity.table}")
        texts = SQL(", ").join(
            SQL('{} text collate "C"').format(Identifier(name)) for name in rows.columns[1:]
        )
        if entity.table not in self.faulty:
            create = SQL("create temporary table {} (finding bigint, {}) on commit drop")
            self.db.execute(create.format(Identifier(f"faulty_{entity.table}"), texts))
            self.faulty.add(entity.table)
        copied(self.db, SQL("copy {} from stdin (format csv)").format(table), [rows])


class Loose(State):
    """A package by itself, in a SQLite file that is thrown away."""

    scoped = False

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.db = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode = off", "synchronous = off", "temp_store = file"):
            self.db.execute(f"pragma {setting}")
        self.db.execute(f"pragma cache_size = -{CACHE}")
        self.filled: set[str] = set()
        for entity in ROSTERING:
            columns = SQL(", ").join(map(Identifier, (*OWN, *asked(entity))))
            self._run(SQL("create table {} ({})").format(staging(entity), columns))
            for name in lists(entity):
                self._run(
                    SQL("create table {} (line, sourced_id, key)").format(listing(entity, name))
                )

    def _run(self, query: Composable) -> sqlite3.Cursor:
        return self.db.execute(query.as_string(None))

    def rows(self, query: Composable) -> list[Row]:
        """The rows of a query."""
        return self._run(query).fetchall()

    def fill(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        """Take typed rows."""
        self.filled.add(entity.table)
        flags = [c.name for c in entity.stored() if isinstance(c, Flag)]
        names = (*OWN, *asked(entity))
        values = rows.select(
            (pl.col(name) == "true").cast(pl.Int8) if name in flags else pl.col(name)
            for name in names
        )
        self._insert(staging(entity), values)
        for name in lists(entity):
            items = (
                rows.filter(pl.col(name).is_not_null() & (pl.col("status") == "active"))
                .select("line", "sourced_id", key=pl.col(name).str.strip_chars('{}"'))
                .with_columns(pl.col("key").str.split('","'))
                .explode("key")
            )
            self._insert(listing(entity, name), items)

    def _insert(self, table: Identifier, rows: pl.DataFrame) -> None:
        marks = ", ".join("?" * rows.width)
        query = SQL("insert into {} values ({})").format(table, plain(marks)).as_string(None)
        self.db.execute("begin")
        self.db.executemany(query, rows.iter_rows())
        self.db.execute("commit")

    def index(self) -> None:
        """Everything is in: make look-ups quick."""
        for entity in ROSTERING:
            for name in ("sourced_id", *INDEXED.get(entity.table, ())):
                index = Identifier(f"{entity.table}_by_{name}")
                made = SQL("create index {} on {} ({})")
                self._run(made.format(index, staging(entity), Identifier(name)))
            for name in lists(entity):
                index = Identifier(f"{entity.table}_{name}_items")
                made = SQL("create index {} on {} (sourced_id)")
                self._run(made.format(index, listing(entity, name)))
        self.db.execute("analyze")

    def changed(self, entity: AnyEntity) -> bool:
        """Whether the package has rows of the entity."""
        return entity.table in self.filled

    def after(self, entity: AnyEntity, columns: Iterable[str], near: Keys | None) -> Composable:
        """All active rows."""
        del near
        return SQL("select line, {} from {} where status = 'active'").format(
            named(("sourced_id", *columns)), staging(entity)
        )

    def few(self, entity: AnyEntity, columns: Iterable[str], keys: Keys) -> Composable:
        """Those among the keys."""
        return SQL("{} and {} in ({})").format(
            self.after(entity, columns, None), Identifier(keys[0]), keys[1]
        )

    def touched(self, entity: AnyEntity, columns: Iterable[str]) -> Composable:
        """All active rows."""
        return self.after(entity, columns, None)

    def new(self, entity: AnyEntity, columns: Iterable[str]) -> Composable:
        """All active rows."""
        return self.after(entity, columns, None)

    def items(self, relation: str, entity: AnyEntity, column: str) -> Composable:
        """A table of its own."""
        del relation
        return SQL("select line, sourced_id, key from {}").format(listing(entity, column))

    def missing(self, target: AnyEntity, key: Composable) -> Composable:
        """One look-up."""
        return SQL(
            "not exists (select 1 from {} as k where k.sourced_id = {} and k.status = 'active')"
        ).format(staging(target), key)

    def know(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        """A table."""
        table = Identifier(f"faulty_{entity.table}")
        if entity.table not in self.faulty:
            self._run(SQL("create table {} ({})").format(table, named(rows.columns)))
            self.faulty.add(entity.table)
        self._insert(table, rows)

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()


def staging(entity: AnyEntity) -> Identifier:
    """The table of a package's rows."""
    return Identifier(f"staged_{entity.table}")


def listing(entity: AnyEntity, column: str) -> Identifier:
    """The table of a list's items."""
    return Identifier(f"listed_{entity.table}_{column}")


EVERYTHING = " ".join(check.text for check in CHECKS)


def asked(entity: AnyEntity) -> tuple[str, ...]:
    """The columns that any rule may ask for, lists of references left out."""
    said = {
        *(column.name for column in pointers(entity)),
        *(kind.type.name for kind in KINDS if kind.to is entity),
        *used(entity, EVERYTHING),
    }
    return tuple(
        column.name
        for column in entity.stored()
        if column.name in said and column.name not in OWN and not isinstance(column, Refs)
    )


def lists(entity: AnyEntity) -> tuple[str, ...]:
    """The list columns whose items any rule asks for."""
    return tuple(
        column.name
        for column in entity.stored()
        if isinstance(column, Refs)
        or (isinstance(column, Texts) and f"items_{entity.table}_{column.name}" in EVERYTHING)
    )


INDEXED: Mapping[str, tuple[str, ...]] = {
    "roles": ("user_sourced_id",),
    "enrollments": ("user_sourced_id",),
}
"""What a rule looks up offline besides sourcedIds."""
