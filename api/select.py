"""The SELECTs that follow from an entity: its rows as they stand or as they were, and what changed.

Of a roster as it was, `live` are the rows that were true when version %(as_of)s stood, taken from
the table and from its history.
"""

from typing import LiteralString, TypeAlias

from psycopg.sql import SQL, Composable, Composed, Identifier

from schemas.columns import Ref
from schemas.roster import AnyEntity
from schemas.roster.orgs import Org

Query: TypeAlias = Composed


def columns_of(entity: AnyEntity) -> Composed:
    """The columns of the roster row beside what it has as a record of a version."""
    return SQL(", ").join(Identifier("live", name) for name in names_of(entity))


def names_of(entity: AnyEntity) -> list[str]:
    """What readers get of a row."""
    return [*(column.name for column in entity.stored()), "metadata", "version"]


def history_of(entity: AnyEntity) -> Identifier:
    """Where the before-images are."""
    return Identifier(f"{entity.table}_history")


def source(entity: AnyEntity, *, past: bool) -> Composable:
    """The rows to read: as they stand, or as they were."""
    if not past:
        return Identifier(entity.table)
    return SQL("({} union all {})").format(*images_at(entity))


def images_at(entity: AnyEntity) -> tuple[Composed, Composed]:
    """The rows that version %(as_of)s had: those that still stand, and before-images."""
    names = SQL(", ").join(map(Identifier, ("tenant_id", *names_of(entity))))
    each = SQL(
        "select {names} from {table} where tenant_id = %(tenant_id)s and version <= %(as_of)s"
    )
    ended = each.format(names=names, table=history_of(entity))
    return (
        each.format(names=names, table=Identifier(entity.table)),
        ended + SQL(" and until_version > %(as_of)s"),
    )


def published(entity: AnyEntity, rows: Composable) -> Query:
    """These rows with the instants of their versions."""
    return SQL(
        "select {columns}, versions.published_at"
        " from {rows} as live"
        " left join versions on versions.tenant_id = live.tenant_id"
        " and versions.version = live.version"
    ).format(columns=columns_of(entity), rows=rows)


def changes(entity: AnyEntity) -> Query:
    """What version %(version)s changed, record by record, as it was before and after.

    Users of whom a part changed have equal values before and after and are left out. Both parts
    come in the order of the identifiers and end early, however much the version changed.
    """
    return SQL("{} union all {} {}").format(
        of_version(entity, MADE, AFTER, MADE_BY, school_before=SQL("null")),
        of_version(
            entity, CHANGED, AFTER, CHANGED_BY, school_before=cell(school_of(entity), "before")
        ),
        SQL(IN_ORDER),
    )


IN_ORDER = " order by sourced_id limit %(limit)s"

# As the version left the record: as it stands, or as it was when a later version changed it.
AFTER = """
    left join {history} as later
        on later.tenant_id = %(tenant_id)s and later.sourced_id = live.sourced_id
        and later.version = %(version)s and live.version > %(version)s
    where (%(after)s::text is null or live.sourced_id > %(after)s)
        and (%(school)s::text is null or %(school)s in ({school_before}, {school_after}))
"""

MADE = """
    select live.sourced_id, null::jsonb as before,
        coalesce(to_jsonb(later), to_jsonb(live)) as after
    from {table} as live
"""
MADE_BY = """
    and live.tenant_id = %(tenant_id)s and live.version >= %(version)s
    and live.created_version = %(version)s and 'created' = any(%(changes)s)
"""

CHANGED = """
    select live.sourced_id, to_jsonb(before) as before,
        coalesce(to_jsonb(later), to_jsonb(live)) as after
    from {history} as before
    join {table} as live
        on live.tenant_id = %(tenant_id)s and live.sourced_id = before.sourced_id
"""
CHANGED_BY = """
    and before.tenant_id = %(tenant_id)s and before.until_version = %(version)s
    and {before} is distinct from case when later.version is null then {live} else {later} end
    and case
        when before.status = 'active' and coalesce(later.status, live.status) = 'tobedeleted'
            then 'deleted'
        else 'updated'
    end = any(%(changes)s)
"""


def of_version(entity: AnyEntity, *texts: LiteralString, school_before: Composable) -> Composed:
    """One part of what a version changed, ending as early as the page does."""
    values = [name for name in names_of(entity) if name != "version"]
    school = school_of(entity)
    facts: dict[str, Composable] = {
        "table": Identifier(entity.table),
        "history": history_of(entity),
        "before": row(values, "before"),
        "live": row(values, "live"),
        "later": row(values, "later"),
        "school_before": school_before,
        "school_after": SQL("case when later.version is null then {} else {} end").format(
            cell(school, "live"), cell(school, "later")
        ),
    }
    return SQL("({})").format(
        SQL("").join(SQL(text).format(**facts) for text in (*texts, IN_ORDER))
    )


def school_of(entity: AnyEntity) -> str | None:
    """The column that says which school a record belongs to: its first org, an org by itself."""
    if entity is Org:
        return "sourced_id"
    orgs = (c.name for c in entity.references() if isinstance(c, Ref) and c.to == Org.file)
    return next(orgs, None)


def cell(column: str | None, alias: str) -> Composable:
    """A value of a row, or none."""
    return SQL("null") if column is None else Identifier(alias, column)


def row(names: list[str], alias: str) -> Composed:
    """The values of a record, to be compared as one."""
    return SQL("({})").format(SQL(", ").join(Identifier(alias, name) for name in names))


def images(entity: AnyEntity) -> Query:
    """A record as it stands and as it was, newest first, up to version %(before)s."""
    each = SQL(
        "select version, line, to_jsonb(image) as image from {table} as image"
        " where tenant_id = %(tenant_id)s and sourced_id = %(sourced_id)s"
        " and (%(before)s::bigint is null or version < %(before)s)"
    )
    return SQL("{live} union all {history} order by version desc limit %(limit)s").format(
        live=each.format(table=Identifier(entity.table)),
        history=each.format(table=history_of(entity)),
    )
