"""The change set becomes the roster, and what it replaces becomes history.

Set-wise and compared first: a row that has not changed is not written. Every statement runs in
the one transaction of `publish`, under the lock on the district (architecture D6).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline.database import Connection
from pipeline.known import forget
from pipeline.stage import gone, is_empty, names, staged
from schemas import schools
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

    def apply(self, entity: AnyEntity, *, compared: bool = False) -> Counts:
        """Write what differs; answer what became of it. `compared`: what differs is known."""
        counts = Counts(created=0, updated=0, deleted=0)
        if is_empty(self.db, staged(entity)) and is_empty(self.db, gone(entity)):
            return counts
        if self.version == 1:
            return Counts(created=self.first(entity))
        if not compared:
            compare(self.db, self.tenant_id, entity)
        back = 0
        for action, records, returned in self.db.execute(compose(WHAT, entity, self)).fetchall():
            counts[action] = records  # type: ignore[literal-required]  # one of three
            back += returned
        self._run(REFRESH, entity)
        if any(counts.values()):
            self._write(entity, counts)
            gone_now = counts["deleted"] - back
            self._run(COUNT, entity, active=counts["created"] - gone_now, tobedeleted=gone_now)
            self._run(UNCOUNT, entity)
            forget(self.db, self.tenant_id, entity)
        return counts

    def _write(self, entity: AnyEntity, counts: Counts) -> None:
        """What is replaced becomes history first."""
        if counts["updated"] or counts["deleted"]:
            self._run(KEEP_CHANGED, entity)
            self._run(UPDATE, entity)
        if counts["deleted"]:
            self._run(DELETE, entity)
        if counts["created"]:
            self._run(INSERT, entity)

    def _run(self, statement: LiteralString, entity: AnyEntity, **facts: int) -> int:
        return self.db.execute(compose(statement, entity, self), facts or None).rowcount

    def touch_users(self, merged: Mapping[str, Counts]) -> int:
        """Users of whom only a part changed get this version too (D6); answer how many."""
        if self.version == 1 or not any(any(merged.get(p.file, {}).values()) for p in PARTS):
            return 0
        owners = SQL(" union ").join(compose(OWNERS, part, self) for part in PARTS)
        self.db.execute(SQL("create temporary table touched on commit drop as {}").format(owners))
        self.db.execute("analyze pg_temp.touched")
        self._run(KEEP_TOUCHED, User)
        return self._run(TOUCH, User)


def changed(entity: AnyEntity) -> Identifier:
    """The table of what differs from what is stored, once it is compared."""
    return Identifier("pg_temp", f"changed_{entity.table}")


def compare(db: Connection, tenant_id: int, entity: AnyEntity) -> None:
    """Find what of the change set differs from what is stored: once, for all who ask."""
    merge = Merge(db, tenant_id, 0)
    for statement in (FORGOTTEN, CHANGED, LEARNT):
        db.execute(compose(statement, entity, merge))


def compose(statement: LiteralString, entity: AnyEntity, merge: Merge) -> Composed:
    """A statement of this module, for an entity."""
    columns = names(entity)
    return SQL(statement).format(
        live=Identifier(entity.table),
        history=Identifier(f"{entity.table}_history"),
        staged=staged(entity),
        gone=gone(entity),
        changed=changed(entity),
        changed_name=Identifier(f"changed_{entity.table}"),
        links=listed(["status", *schools.links(entity)], "l"),
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


FORGOTTEN = "drop table if exists {changed}"
LEARNT = "analyze {changed} (sourced_id, action)"

# Compared by values. Of a record as it was stays what tells its schools (pipeline.proposals).
CHANGED = """
    create temporary table {changed_name} on commit drop as
    select s.sourced_id, s.digest, {links},
        case
            when l.sourced_id is null then 'created'
            when s.status = 'tobedeleted' and l.status = 'active' then 'deleted'
            else 'updated'
        end as action,
        s.status = 'active' and l.status = 'tobedeleted' as back
    from {staged} as s
    left join {live} as l on l.tenant_id = {tenant} and l.sourced_id = s.sourced_id
    where case when l.sourced_id is null then s.status = 'active' else {differs} end
    union all
    select g.sourced_id, l.digest, {links}, 'deleted', false from {gone} as g
    join {live} as l on l.tenant_id = {tenant} and l.sourced_id = g.sourced_id
    where l.status = 'active'
"""

WHAT = "select action, count(*), count(*) filter (where back) from {changed} group by action"

KEEP = """
    insert into {history} (tenant_id, {columns}, version, created_version, line, until_version)
    select l.tenant_id, {live_columns}, l.version, l.created_version, l.line, {version}
    from {live} as l
"""

KEEP_CHANGED = (
    KEEP
    + """
    join {changed} as c using (sourced_id)
    where l.tenant_id = {tenant} and c.action <> 'created'
"""
)

# A new column changes every digest and no value: keep the new digests, or nothing would ever again
# be recognised as unchanged.
REFRESH = """
    update {live} as l set digest = s.digest
    from {staged} as s
    where l.tenant_id = {tenant} and l.sourced_id = s.sourced_id and l.digest <> s.digest
      and not exists (select from {changed} as c where c.sourced_id = s.sourced_id)
"""

UPDATE = """
    update {live} as l
    set ({columns}, version, line) = row ({staged_columns}, {version}, s.line)
    from {changed} as c join {staged} as s using (sourced_id)
    where l.tenant_id = {tenant} and l.sourced_id = c.sourced_id and c.action <> 'created'
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
    from {staged} as s join {changed} as c using (sourced_id)
    where c.action = 'created'
    order by s.sourced_id
"""

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
