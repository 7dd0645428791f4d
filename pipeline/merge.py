"""The change set becomes the roster, and what it replaces becomes history.

Set-wise and compared first: a row that has not changed is not written. Every statement runs in
the one transaction of `publish`, under the lock on the district (architecture D6).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline.database import Connection, one
from pipeline.known import forget
from pipeline.stage import gone, is_empty, names, staged
from schemas.digests import GONE
from schemas.roster import PARTS, AnyEntity
from schemas.roster.people import User
from schemas.runs import Counts


@dataclass(frozen=True, slots=True)
class Merge:
    """One version of one district, in the making."""

    db: Connection
    tenant_id: int
    version: int

    def first(self, entity: AnyEntity) -> int:
        """Write what is staged into an empty district; answer how many records."""
        created = self._run(FIRST, entity)
        self.loaded(entity, created)
        return created

    def loaded(self, entity: AnyEntity, created: int) -> None:
        """A first load has brought so many records in."""
        if created:
            self._run(COUNT, entity, active=created, tobedeleted=0)

    def apply(self, entity: AnyEntity) -> Counts:
        """Write what differs; answer what became of it."""
        counts = Counts(created=0, updated=0, deleted=0)
        back = 0
        if not is_empty(self.db, staged(entity)):
            back = self._number(BACK, entity)
            counts["deleted"] += self._number(TOMBSTONES, entity)
            counts["updated"] = self._update(entity) - counts["deleted"]
            counts["created"] = self._insert(entity)
        if not is_empty(self.db, gone(entity)):
            counts["deleted"] += self._delete(entity)
        if any(counts.values()):
            gone_now = counts["deleted"] - back
            self._run(COUNT, entity, active=counts["created"] - gone_now, tobedeleted=gone_now)
            self._run(UNCOUNT, entity)
            forget(self.db, self.tenant_id, entity)
        return counts

    def _run(self, statement: LiteralString, entity: AnyEntity, **facts: int) -> int:
        return self.db.execute(compose(statement, entity, self), facts or None).rowcount

    def _number(self, query: LiteralString, entity: AnyEntity) -> int:
        (count,) = one(self.db, compose(query, entity, self))
        return int(count)

    def _update(self, entity: AnyEntity) -> int:
        self._run(KEEP_CHANGED, entity)
        self._run(REFRESH, entity)
        return self._run(UPDATE, entity)

    def _insert(self, entity: AnyEntity) -> int:
        return self._run(INSERT, entity)

    def _delete(self, entity: AnyEntity) -> int:
        self._run(KEEP_GONE, entity)
        return self._run(DELETE, entity)

    def touch_users(self, merged: Mapping[str, Counts]) -> int:
        """Users of whom only a part changed get this version too (D6); answer how many."""
        if self.version == 1 or not any(any(merged.get(p.file, {}).values()) for p in PARTS):
            return 0
        owners = SQL(" union ").join(compose(OWNERS, part, self) for part in PARTS)
        self.db.execute(SQL("create temporary table touched on commit drop as {}").format(owners))
        self._run(KEEP_TOUCHED, User)
        return self._run(TOUCH, User)


def compose(statement: LiteralString, entity: AnyEntity, merge: Merge) -> Composed:
    """A statement of this module, for an entity."""
    columns = names(entity)
    return SQL(statement).format(
        live=Identifier(entity.table),
        history=Identifier(f"{entity.table}_history"),
        staged=staged(entity),
        gone=gone(entity),
        entity=Literal(entity.file),
        columns=listed(columns),
        staged_columns=listed(columns, "s"),
        live_columns=listed(columns, "l"),
        differs=SQL("(({}) is distinct from ({}))").format(
            listed(values(columns), "l"), listed(values(columns), "s")
        ),
        tenant=Literal(merge.tenant_id),
        version=Literal(merge.version),
        tombstone=Literal(GONE),
    )


def values(columns: list[str]) -> list[str]:
    """The columns that make a record what it is."""
    return [name for name in columns if name != "digest"]


def listed(columns: list[str], alias: str = "") -> Composable:
    """Column names with commas between them."""
    return SQL(", ").join(
        Identifier(alias, name) if alias else Identifier(name) for name in columns
    )


KEEP = """
    insert into {history} (tenant_id, {columns}, version, created_version, line, until_version)
    select l.tenant_id, {live_columns}, l.version, l.created_version, l.line, {version}
    from {live} as l
"""

KEEP_CHANGED = (
    KEEP
    + """
    join {staged} as s using (sourced_id)
    where l.tenant_id = {tenant} and {differs}
"""
)

# A new column changes every digest and no value: keep the new digests, or nothing would ever again
# be recognised as unchanged.
REFRESH = """
    update {live} as l set digest = s.digest
    from {staged} as s
    where l.tenant_id = {tenant} and l.sourced_id = s.sourced_id
      and l.digest <> s.digest and not {differs}
"""

UPDATE = """
    update {live} as l
    set ({columns}, version, line) = row ({staged_columns}, {version}, s.line)
    from {staged} as s
    where l.tenant_id = {tenant} and l.sourced_id = s.sourced_id and {differs}
"""

FIRST = """
    insert into {live} (tenant_id, {columns}, version, created_version, line)
    select {tenant}, {staged_columns}, {version}, {version}, s.line
    from {staged} as s
    where s.status = 'active'
"""

INSERT = """
    insert into {live} (tenant_id, {columns}, version, created_version, line)
    select {tenant}, {staged_columns}, {version}, {version}, s.line
    from {staged} as s
    where s.status = 'active'
      and not exists (
          select from {live} as l where l.tenant_id = {tenant} and l.sourced_id = s.sourced_id
      )
    order by s.sourced_id
"""

TOMBSTONES = """
    select count(*) from {live} as l join {staged} as s using (sourced_id)
    where l.tenant_id = {tenant} and l.status = 'active' and s.status = 'tobedeleted'
"""

BACK = """
    select count(*) from {live} as l join {staged} as s using (sourced_id)
    where l.tenant_id = {tenant} and l.status = 'tobedeleted' and s.status = 'active'
"""

KEEP_GONE = (
    KEEP
    + """
    join {gone} as g using (sourced_id)
    where l.tenant_id = {tenant} and l.status = 'active'
"""
)

DELETE = """
    update {live} as l
    set status = 'tobedeleted', version = {version}, digest = {tombstone}, line = null
    from {gone} as g
    where l.tenant_id = {tenant} and l.sourced_id = g.sourced_id and l.status = 'active'
"""

# What changed is added: counting a table again would cost more than a small change.
COUNT = """
    insert into record_counts (tenant_id, entity, status, records)
    select {tenant}, {entity}, more.status, more.records
    from (values ('active', %(active)s), ('tobedeleted', %(tobedeleted)s)) as more (status, records)
    where more.records <> 0
    on conflict (tenant_id, entity, status) do update
    set records = record_counts.records + excluded.records
"""

UNCOUNT = """
    delete from record_counts where tenant_id = {tenant} and entity = {entity} and records = 0
"""

OWNERS = """
    select l.user_sourced_id as sourced_id from {live} as l
    where l.tenant_id = {tenant} and l.version = {version}
    union
    select h.user_sourced_id from {history} as h
    where h.tenant_id = {tenant} and h.until_version = {version}
"""

KEEP_TOUCHED = (
    KEEP
    + """
    join pg_temp.touched as t using (sourced_id)
    where l.tenant_id = {tenant} and l.version < {version}
"""
)

TOUCH = """
    update {live} as l set version = {version}
    from pg_temp.touched as t
    where l.tenant_id = {tenant} and l.sourced_id = t.sourced_id and l.version < {version}
"""
