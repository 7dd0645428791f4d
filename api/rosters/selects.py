"""The SELECTs of a read: which records a page has, the records, and what belongs to them.

Every one takes its relations from `Rows`, so that a moment and a sight hold for all of them alike.
Parts and children are read set-wise for all records of a page at once.
"""

from collections.abc import Sequence
from typing import TypeAlias

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal, Placeholder

from api import select
from api.rosters.places import Start
from api.rosters.sight import Rows
from api.rosters.sorting import Order
from schemas.roster import AnyEntity

Query: TypeAlias = Composed
Conditions: TypeAlias = Sequence[Composable]


def of(entity: AnyEntity, rows: Rows, conditions: Conditions) -> Composed:
    """`from … where …`: the records of the district that meet all conditions."""
    return SQL(" from {rows} as live where {conditions}").format(
        rows=rows.seen(entity), conditions=met(conditions)
    )


def met(conditions: Conditions) -> Composed:
    """All of them, and the district."""
    return SQL(" and ").join([SQL("live.tenant_id = %(tenant_id)s"), *conditions])


def plain_page(entity: AnyEntity, rows: Rows, start: Start) -> Query:
    """A page of all records in the order of the identifiers.

    The skipped rows are counted in the primary key alone, without visiting them. Of the past they
    are read, in the order of both primary keys.
    """
    if rows.past:
        # Each part in its own order first: both indexes have it, and a union would be sorted.
        first = beginning(start, "sourced_id") + SQL(
            " order by sourced_id limit %(offset)s::bigint + %(limit)s"
        )
        both = SQL(
            "(({} union all {}) order by sourced_id offset %(offset)s limit %(limit)s)"
        ).format(*(SQL("({})").format(part + first) for part in select.images_at(entity)))
        return select.published(entity, both) + SQL(" order by live.sourced_id")
    if start.skip:
        begins = SQL(
            "live.sourced_id >= (select sourced_id from {table} where tenant_id = %(tenant_id)s"
            "{beginning} order by sourced_id offset %(offset)s limit 1)"
        ).format(table=Identifier(entity.table), beginning=beginning(start, "sourced_id"))
        return single(entity, rows, [begins]) + SQL(" order by live.sourced_id limit %(limit)s")
    return (
        single(entity, rows, [])
        + beginning(start, "live", "sourced_id")
        + SQL(" order by live.sourced_id limit %(limit)s")
    )


def beginning(start: Start, *name: str) -> Composed:
    """Whether a record is not before the page."""
    if start.key is None:
        return SQL("").format()
    sign = SQL(">=") if start.included else SQL(">")
    return SQL(" and {} {} %(begin)s").format(Identifier(*name), sign)


def page(
    entity: AnyEntity, rows: Rows, conditions: Conditions, order: Order, start: Start
) -> Query:
    """A page of the records that meet the conditions, in any order.

    The identifiers are found first: sorting and skipping them moves no whole rows.
    """
    found = SQL(
        "select live.sourced_id from {rows} as live{joins} where {conditions}{beginning}"
        " order by {by} offset %(offset)s limit %(limit)s"
    ).format(
        rows=rows.seen(entity),
        joins=SQL("").join(order.joins),
        conditions=met(conditions),
        beginning=beginning(start, "live", "sourced_id"),
        by=SQL(", ").join([*order.by, SQL("live.sourced_id")]),
    )
    return SQL(
        "select {columns}, versions.published_at"
        " from unnest(array({found})) with ordinality as page (sourced_id, place)"
        " join {rows} as live"
        " on live.tenant_id = %(tenant_id)s and live.sourced_id = page.sourced_id"
        " left join versions on versions.tenant_id = %(tenant_id)s"
        " and versions.version = live.version"
        " order by page.place"
    ).format(columns=select.columns_of(entity), found=found, rows=rows.seen(entity))


def anchors(entity: AnyEntity, rows: Rows, conditions: Conditions, step: int) -> Query:
    """The identifiers at every so many records, in their order."""
    return SQL(
        "select sourced_id from (select live.sourced_id,"
        " row_number() over (order by live.sourced_id) - 1 as place{records}) as placed"
        " where place %% {step} = 0 order by sourced_id"
    ).format(records=of(entity, rows, conditions), step=Literal(step))


def single(entity: AnyEntity, rows: Rows, conditions: Conditions) -> Query:
    """Records as they are, with the instant at which their version was published."""
    return select.published(entity, rows.seen(entity)) + SQL(" where {}").format(met(conditions))


def there(entity: AnyEntity, rows: Rows, parameter: str, conditions: Conditions) -> Query:
    """Whether there is the record that a parameter names, and it meets the conditions."""
    return SQL("select live.sourced_id") + of(entity, rows, [named(parameter), *conditions])


def named(parameter: str) -> Composed:
    """The record that a parameter names."""
    return SQL("live.sourced_id = {}").format(Placeholder(parameter))


def total(entity: AnyEntity, rows: Rows, conditions: Conditions) -> Query:
    """How many records meet the conditions."""
    return SQL("select count(*) as records") + of(entity, rows, conditions)


def parts(part: AnyEntity, rows: Rows) -> Query:
    """The parts of some users."""
    return SQL(
        "select {columns} from {rows} as live"
        " where live.tenant_id = %(tenant_id)s and live.user_sourced_id = any(%(owners)s::text[])"
        " order by live.sourced_id"
    ).format(columns=select.columns_of(part), rows=rows.seen(part))


def children(entity: AnyEntity, rows: Rows) -> Query:
    """The living children of some records."""
    return SQL(
        "select live.parent_sourced_id, live.sourced_id from {rows} as live"
        " where live.tenant_id = %(tenant_id)s and live.parent_sourced_id = any(%(owners)s::text[])"
        " and live.status = 'active' order by live.sourced_id"
    ).format(rows=rows.seen(entity))


def younger(entity: AnyEntity) -> Query:
    """How many records there are that version %(as_of)s did not have: those it never saw.

    Nothing is ever removed, so what there was is what there is without these.
    """
    return SQL(
        "select count(*) as records from {table}"
        " where tenant_id = %(tenant_id)s and version > %(as_of)s and created_version > %(as_of)s"
    ).format(table=Identifier(entity.table))
