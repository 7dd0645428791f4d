"""Rules across records, checked set-wise against the state that the apply would leave.

Two directions: a staged row must point at a record that will be there, and a stored row must not
be left pointing at one that will not (architecture D8). Rows that did not change are not looked at:
they were checked when they were stored, and the second direction guards them since.
"""

from collections.abc import Iterator
from typing import TypeAlias

from psycopg.sql import SQL, Composed, Identifier, Literal

from pipeline.database import Connection
from pipeline.faults import cut
from pipeline.stage import gone, is_empty, staged
from schemas import rules
from schemas.columns import Key, Ref, Refs
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import Role, User
from schemas.rules import Finding


def check(db: Connection, tenant_id: int, limit: int) -> Iterator[Finding]:
    """Everything that is wrong between the records of a whole change set and the stored ones."""
    for entity in ROSTERING:
        if not is_empty(db, staged(entity)):
            yield from missing(db, entity, tenant_id, limit)
    for entity in ROSTERING:
        yield from vanished(db, entity, tenant_id, limit)


Reference: TypeAlias = tuple[Key | Ref | Refs, AnyEntity]
"""A reference column and the entity it points into."""


def duplicates(db: Connection, entity: AnyEntity, limit: int) -> Iterator[Finding]:
    """Keys that stand in the file more than once; the second and later rows are named."""
    query = SQL("""
        select line, sourced_id from (
            select line, sourced_id,
                row_number() over (partition by sourced_id order by line) as nth
            from {staged}
            where sourced_id in (select sourced_id from {staged} group by 1 having count(*) > 1)
        ) as repeated
        where nth > 1 order by line limit {limit}
    """).format(staged=staged(entity), limit=Literal(limit))
    for line, key in db.execute(query):
        yield Finding(
            rule=rules.records.DUPLICATE,
            file=f"{entity.file}.csv",
            line=line,
            column="sourcedId",
            sourced_id=key,
            value=cut(key),
        )


def targets(entity: AnyEntity) -> Iterator[Reference]:
    """The reference columns whose target is stored, with the target."""
    for column in entity.references():
        if BY_FILE[column.to].kept:
            yield column, BY_FILE[column.to]


def missing(
    db: Connection, entity: AnyEntity, tenant_id: int, limit: int, *, merged: bool = False
) -> Iterator[Finding]:
    """Staged rows that point at nothing. Lists are looked at one by one, the rest in one pass.

    `merged`: what a first load has looked at while it merged is left out.
    """
    columns = list(targets(entity))
    lists: list[list[Reference]] = [[pair] for pair in columns if isinstance(pair[0], Refs)]
    cells: list[Reference] = [
        (column, target)
        for column, target in columns
        if not isinstance(column, Refs) and (target is entity or not merged)
    ]
    for group in [cells, *lists] if cells else lists:
        query = dangling(entity, group, tenant_id, limit)
        for line, key, number, value in db.execute(query):
            column, target = group[number]
            yield Finding(
                rule=rules.records.REFERENCE,
                file=f"{entity.file}.csv",
                line=line,
                column=column.csv,
                sourced_id=key,
                value=cut(value),
                facts={"target": f"{target.file}.csv"},
            )


def dangling(entity: AnyEntity, columns: list[Reference], tenant_id: int, limit: int) -> Composed:
    """One pass over the staged rows, each reference looked up in a hash of the known keys."""
    numbered = list(enumerate(columns))
    joins = [
        SQL(" left join ({}) as {} on {} = {}").format(
            known(target, tenant_id),
            Identifier(f"k{number}"),
            Identifier(f"k{number}", "sourced_id"),
            cell(column, number),
        )
        for number, (column, target) in numbered
    ]
    broken = [
        SQL("({number}, case when {key} is null then {cell} end)").format(
            number=Literal(number), key=Identifier(f"k{number}", "sourced_id"), cell=cell(c, number)
        )
        for number, (c, _) in numbered
    ]
    return SQL("""
        select s.line, s.sourced_id, r.number, r.key
        from {staged} as s {lists} {joins}, lateral (values {broken}) as r (number, key)
        where s.status = 'active' and r.key is not null
        order by s.line, r.number limit {limit}
    """).format(
        staged=staged(entity),
        lists=SQL("").join(spread(column, number) for number, (column, _) in numbered),
        joins=SQL("").join(joins),
        broken=SQL(", ").join(broken),
        limit=Literal(limit),
    )


def cell(column: Key | Ref | Refs, number: int) -> Identifier:
    """The key that a staged row names in a column."""
    if isinstance(column, Refs):
        return Identifier(f"each{number}", "key")
    return Identifier("s", column.name)


def spread(column: Key | Ref | Refs, number: int) -> Composed:
    """The items of a list, as a relation beside the staged row."""
    if not isinstance(column, Refs):
        return SQL("").format()
    items = SQL(" cross join lateral unnest({}) as {} (key)")
    return items.format(Identifier("s", column.name), Identifier(f"each{number}"))


def reference(column: Key | Ref | Refs, alias: str) -> Composed:
    """The keys that a row's column names, as a lateral relation with the column `key`."""
    cell = Identifier(alias, column.name)
    if isinstance(column, Refs):
        return SQL("lateral (select unnest({}) as key)").format(cell)
    return SQL("lateral (select {} as key)").format(cell)


def known(entity: AnyEntity, tenant_id: int) -> Composed:
    """The keys that will be active after the apply."""
    return SQL("""
        select sourced_id from {staged} where status = 'active'
        union all
        select l.sourced_id from {live} as l
        where l.tenant_id = {tenant} and l.status = 'active' and {untouched}
    """).format(
        staged=staged(entity),
        live=Identifier(entity.table),
        tenant=Literal(tenant_id),
        untouched=untouched(entity),
    )


def untouched(entity: AnyEntity) -> Composed:
    """Whether the live row `l` is neither staged nor gone."""
    return SQL(
        "not exists (select from {} as s where s.sourced_id = l.sourced_id)"
        " and not exists (select from {} as g where g.sourced_id = l.sourced_id)"
    ).format(staged(entity), gone(entity))


def vanished(db: Connection, entity: AnyEntity, tenant_id: int, limit: int) -> Iterator[Finding]:
    """Stored rows that would be left pointing at a record that goes."""
    for column, target in targets(entity):
        if nothing_goes(db, target):
            continue
        query = SQL("""
            select l.sourced_id, r.key from {live} as l, {reference} as r
            where l.tenant_id = {tenant} and l.status = 'active' and {untouched}
              and r.key in (
                  select sourced_id from {gone}
                  union all
                  select sourced_id from {staged} where status = 'tobedeleted'
              )
            order by 1, 2 limit {limit}
        """).format(
            live=Identifier(entity.table),
            reference=reference(column, "l"),
            tenant=Literal(tenant_id),
            untouched=untouched(entity),
            gone=gone(target),
            staged=staged(target),
            limit=Literal(limit),
        )
        for key, value in db.execute(query):
            yield Finding(
                rule=rules.records.VANISHED,
                file=f"{entity.file}.csv",
                column=column.csv,
                sourced_id=key,
                value=cut(value),
                facts={"target": f"{target.file}.csv"},
            )


def nothing_goes(db: Connection, entity: AnyEntity) -> bool:
    """Whether the change set deletes no record of the entity."""
    query = SQL("select from {} where status = 'tobedeleted' limit 1").format(staged(entity))
    return is_empty(db, gone(entity)) and db.execute(query).fetchone() is None


def without_role(db: Connection, tenant_id: int, version: int, limit: int) -> Iterator[Finding]:
    """Users new in this version that no role row names; REST requires one (reference 5)."""
    query = SQL("""
        select s.line, s.sourced_id from {users} as s
        where s.status = 'active'
          and not exists (
              select from {live} as l
              where l.tenant_id = {tenant} and l.sourced_id = s.sourced_id
                and l.created_version < {version}
          )
          and not exists (
              select from {roles} as r
              where r.status = 'active' and r.user_sourced_id = s.sourced_id
          )
          and not exists (
              select from {live_roles} as l
              where l.tenant_id = {tenant} and l.status = 'active'
                and l.user_sourced_id = s.sourced_id and {untouched}
          )
        order by s.line limit {limit}
    """).format(
        users=staged(User),
        live=Identifier(User.table),
        tenant=Literal(tenant_id),
        version=Literal(version),
        roles=staged(Role),
        live_roles=Identifier(Role.table),
        untouched=untouched(Role),
        limit=Literal(limit),
    )
    for line, key in db.execute(query):
        yield Finding(
            rule=rules.records.USER_WITHOUT_ROLE,
            file="users.csv",
            line=line,
            sourced_id=key,
            value=cut(key),
        )
