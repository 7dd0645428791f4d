"""The SQL face of a column, and the tables that an entity expects to find."""

from typing import assert_never

from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Day,
    Decimal,
    Flag,
    Instant,
    Key,
    Pairs,
    Ref,
    Refs,
    Text,
    Texts,
    Whole,
    Year,
)
from schemas.roster import AnyEntity

BOOKKEEPING: dict[str, tuple[str, bool]] = {
    "tenant_id": ("integer", True),
    "version": ("bigint", True),
    "created_version": ("bigint", True),
    "digest": ("uuid", True),
    "metadata": ("jsonb", False),
    "line": ("integer", False),
}
"""What every roster table has beside its columns.

`version` is the district's version that changed the record last, `created_version` the one that
made it, `digest` the digest of its values (`pipeline.digests`), `metadata` the unknown
`metadata.*` columns of its row, as they came, `line` the line of the file that gave it this version
(null: the hub itself did).
"""


def sql_type(column: AnyColumn) -> str:
    """The PostgreSQL type, spelled the way `format_type()` spells it."""
    match column:
        case Key() | Text() | Choice() | Ref() | Year():
            return "text"
        case Flag():
            return "boolean"
        case Day():
            return "date"
        case Instant():
            return "timestamp with time zone"
        case Whole():
            return "bigint"
        case Decimal():
            return "numeric"
        case Texts() | Pairs() | Choices() | Refs():
            return "text[]"
        case _:
            assert_never(column)


def not_null(column: AnyColumn) -> bool:
    """Whether the table refuses an empty value: what identifies and relates a record.

    Required personal values may be null, for erasure wipes them.
    """
    return column.name == "status" or (column.required and not column.personal)


def expected(entity: AnyEntity) -> dict[str, tuple[str, bool]]:
    """Column name -> (type, not null) of the table of the entity."""
    own = {column.name: (sql_type(column), not_null(column)) for column in entity.stored()}
    return BOOKKEEPING | own


def expected_history(entity: AnyEntity) -> dict[str, tuple[str, bool]]:
    """The same of its history: a row was true from `version` until before `until_version`."""
    return expected(entity) | {"until_version": ("bigint", True)}
