"""The SELECTs over the change set that is kept of a run: each change as it was and would be.

As it was means: in the version that the change set was made for, whatever was written since.
"""

from collections.abc import Callable
from uuid import UUID

from psycopg.sql import SQL, Composable, Composed, Identifier

from api.select import history_of, row
from schemas import schools
from schemas.proposals import kept_keys, kept_rows
from schemas.roster import AnyEntity


def changes(run_id: UUID, entity: AnyEntity) -> Composed:
    """A page of the changes of an entity, in the order of the identifiers."""
    values = [*(column.name for column in entity.stored()), "metadata"]
    names = SQL(", ").join(map(Identifier, values))
    facts: dict[str, Composable] = {
        "rows": Identifier(*kept_rows(run_id, entity)),
        "keys": Identifier(*kept_keys(run_id, entity)),
        "names": names,
        "table": Identifier(entity.table),
        "history": history_of(entity),
        "now": row(values, "c"),
        "then": row(values, "before"),
        "of_school": of_school(run_id, entity),
    }
    facts["joined"] = SQL(BEFORE).format(**facts)
    return SQL("{} union all {} order by sourced_id limit %(limit)s").format(
        SQL(ROWS).format(**facts), SQL(KEYS).format(**facts)
    )


BEFORE = """
    left join lateral (
        select {names} from {table} where tenant_id = %(tenant_id)s
            and sourced_id = c.sourced_id and version <= %(base)s
        union all
        select {names} from {history} where tenant_id = %(tenant_id)s
            and sourced_id = c.sourced_id and version <= %(base)s and until_version > %(base)s
    ) as before on true
    where (%(after)s::text is null or c.sourced_id > %(after)s) and {of_school}
"""

ROWS = """(
    select c.sourced_id,
        case when before.sourced_id is not null then to_jsonb(before) end as before,
        to_jsonb(c) as after
    from {rows} as c {joined}
        and case
            when before.sourced_id is null
                then case when c.status = 'active' then 'created' end
            when before.status = 'active' and c.status = 'tobedeleted' then 'deleted'
            when {now} is distinct from {then} then 'updated'
        end = any(%(changes)s)
    order by c.sourced_id limit %(limit)s
)"""

KEYS = """(
    select c.sourced_id, to_jsonb(before), to_jsonb(before) || '{{"status": "tobedeleted"}}'
    from {keys} as c {joined}
        and before.status = 'active' and 'deleted' = any(%(changes)s)
    order by c.sourced_id limit %(limit)s
)"""


def of_school(run_id: UUID, entity: AnyEntity) -> Composed:
    """Whether the record `c` is or was of the school, if one is asked for."""
    rows, keys = Identifier(*kept_rows(run_id, entity)), Identifier(*kept_keys(run_id, entity))
    touched = SQL(
        "(select * from {was} as w where w.sourced_id in"
        " (select sourced_id from {rows} union all select sourced_id from {keys}))"
    ).format(was=was(run_id, entity), rows=rows, keys=keys)
    parts = [
        part
        for part in (members(run_id, entity, rows, will), members(run_id, entity, touched, was))
        if part is not None
    ]
    if not parts:
        return SQL("%(school)s::text is null").format()
    return SQL(
        "(%(school)s::text is null or c.sourced_id in"
        " (select m.sourced_id from ({}) as m where m.school = %(school)s))"
    ).format(SQL(" union all ").join(parts))


def members(
    run_id: UUID,
    entity: AnyEntity,
    records: Composable,
    look: Callable[[UUID, AnyEntity], Composed],
) -> Composed | None:
    """`sourced_id` and `school` of these records."""
    template = schools.query(entity)
    if template is None:
        return None
    relations = {other.table: look(run_id, other) for other in schools.looked_up(entity)}
    return SQL(template).format(records=records, **relations)


def was(_: UUID, entity: AnyEntity) -> Composed:
    """The active records of the version that the change set was made for."""
    names = SQL(", ").join(Identifier(column.name) for column in entity.stored())
    return SQL(
        "(select {names} from {table} where tenant_id = %(tenant_id)s and version <= %(base)s"
        " and status = 'active' union all"
        " select {names} from {history} where tenant_id = %(tenant_id)s and version <= %(base)s"
        " and until_version > %(base)s and status = 'active')"
    ).format(names=names, table=Identifier(entity.table), history=history_of(entity))


def will(run_id: UUID, entity: AnyEntity) -> Composed:
    """The active records as the change set would leave them."""
    names = SQL(", ").join(Identifier(column.name) for column in entity.stored())
    return SQL(
        "(select {names} from {rows} where status = 'active' union all"
        " select {names} from {was} as w"
        " where not exists (select from {rows} as r where r.sourced_id = w.sourced_id)"
        " and not exists (select from {keys} as k where k.sourced_id = w.sourced_id))"
    ).format(
        names=names,
        rows=Identifier(*kept_rows(run_id, entity)),
        keys=Identifier(*kept_keys(run_id, entity)),
        was=was(run_id, entity),
    )
