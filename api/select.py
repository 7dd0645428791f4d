"""The SELECTs that follow from an entity: a page, one record, and what belongs to them.

Parts and children are read set-wise for all records of a page at once.
"""

from typing import TypeAlias

from psycopg.sql import SQL, Composed, Identifier

from schemas.roster import AnyEntity

Query: TypeAlias = Composed


def columns_of(entity: AnyEntity) -> Composed:
    """The columns of the roster row beside what it has as a record of a version."""
    names = (*(column.name for column in entity.stored()), "metadata", "version")
    return SQL(", ").join(Identifier("live", name) for name in names)


def records(entity: AnyEntity, condition: Composed) -> Query:
    """Records with the instant at which their version was published."""
    return SQL(
        "select {columns}, versions.published_at"
        " from {table} as live"
        " left join versions on versions.tenant_id = live.tenant_id"
        " and versions.version = live.version"
        " where live.tenant_id = %(tenant_id)s and {condition}"
    ).format(columns=columns_of(entity), table=Identifier(entity.table), condition=condition)


def page(entity: AnyEntity) -> Query:
    """A page in the order of the identifiers.

    The skipped rows are counted in the primary key alone, without visiting them.
    """
    first = SQL(
        "live.sourced_id >= (select sourced_id from {table} where tenant_id = %(tenant_id)s"
        " order by sourced_id offset %(offset)s limit 1)"
    ).format(table=Identifier(entity.table))
    return records(entity, first) + SQL(" order by live.sourced_id limit %(limit)s")


def single(entity: AnyEntity) -> Query:
    """One record."""
    return records(entity, SQL("live.sourced_id = %(sourced_id)s").format())


def parts(part: AnyEntity) -> Query:
    """The parts of some users."""
    return SQL(
        "select {columns} from {table} as live"
        " where live.tenant_id = %(tenant_id)s and live.user_sourced_id = any(%(owners)s)"
        " order by live.sourced_id"
    ).format(columns=columns_of(part), table=Identifier(part.table))


def children(entity: AnyEntity) -> Query:
    """The living children of some records."""
    return SQL(
        "select parent_sourced_id, sourced_id from {table}"
        " where tenant_id = %(tenant_id)s and parent_sourced_id = any(%(owners)s)"
        " and status = 'active' order by sourced_id"
    ).format(table=Identifier(entity.table))
