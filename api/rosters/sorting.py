"""`sort` and `orderBy`: any single value, texts by the Unicode Collation Algorithm.

The binding answers an unknown field with its own order, so it is passed over, as lists and objects
are. Records without a value come last in either direction, and what is equal is ordered by
sourcedId, so that every order is one and the same on every page.
"""

from dataclasses import dataclass
from typing import assert_never

from falcon.asgi import Request
from psycopg.sql import SQL, Composable, Identifier

from api.rosters import expressions
from api.rosters.collation import Needed, considered
from api.rosters.conditions import Ground
from api.rosters.roles import first_role
from api.rosters.sight import Sight
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
from schemas.errors import BadRequest
from schemas.rest.editions import ONE_TWO, Edition
from schemas.rest.properties import (
    FirstRole,
    Linked,
    Modified,
    Own,
    Property,
    Undeclared,
    property_of,
)
from schemas.roster import AnyEntity

FIELDS = 5  # more of them are passed over


@dataclass(frozen=True, slots=True)
class Sorting:
    """The fields that are sorted by, and in which direction."""

    paths: tuple[str, ...] = ()
    descending: bool = False


def sorting_of(
    req: Request, entity: AnyEntity, sight: Sight, edition: Edition = ONE_TWO
) -> Sorting:
    """What a request asks for."""
    word = (req.get_param("orderBy") or "asc").lower()
    if word not in ("asc", "desc"):
        raise BadRequest("orderBy is asc or desc.")
    known = [name for name in named(req) if sortable(entity, name, sight, edition)]
    return Sorting(tuple(known[:FIELDS]), word == "desc")


def named(req: Request) -> list[str]:
    """The fields that a request names, each once."""
    names = (name.strip() for name in (req.get_param("sort") or "").split(","))
    return [*dict.fromkeys(name for name in names if name)]


def sortable(entity: AnyEntity, path: str, sight: Sight, edition: Edition = ONE_TWO) -> bool:
    """Whether a record has one value there, and it may be seen."""
    if "\0" in path or not sight.compares(entity, path):
        return False
    match property_of(entity, path, edition):
        case Own(column=(Texts() | Choices() | Pairs() | Refs())) | Linked(column=Refs()):
            return False
        case Linked(says="type"):
            return False  # all references of a field say the same
        case Own() | Linked() | Modified() | Undeclared() | FirstRole():
            return True
        case _:
            return False


@dataclass(frozen=True, slots=True)
class Order:
    """The order of `live`: what is joined for it, and what it goes by."""

    joins: tuple[Composable, ...] = ()
    by: tuple[Composable, ...] = ()
    needed: tuple[Needed, ...] = ()

    @property
    def is_default(self) -> bool:
        """Whether it is that of the identifiers, which is the last key of any other."""
        return not self.by


def order(entity: AnyEntity, sorting: Sorting, ground: Ground) -> Order:
    """The SQL of it."""
    joins: list[Composable] = []
    by: list[Composable] = []
    needed: list[Needed] = []
    direction = SQL("desc nulls last") if sorting.descending else SQL("asc nulls last")
    for number, path in enumerate(sorting.paths):
        value, keyed = value_of(property_of(entity, path, ground.rows.edition), ground)
        if keyed:
            keys = Identifier(f"keys_{number}")
            joins.append(
                SQL(
                    " left join sort_keys as {keys} on {keys}.tenant_id = %(tenant_id)s"
                    " and {keys}.value = {text}"
                ).format(keys=keys, text=considered(value))
            )
            needed.append(Needed(path, entity, "live", value))
            value = SQL("{}.key").format(keys)
        by.append(SQL("{} {}").format(value, direction))
    return Order(tuple(joins), tuple(by), tuple(needed))


def value_of(prop: Property | None, ground: Ground) -> tuple[Composable, bool]:
    """A value to sort by, and whether it is text that has a sort key."""
    match prop:
        case Own(column=column):
            own = Identifier("live", column.name)
            if not is_text(column):
                return own, False
            return expressions.shown(column, own, ground.bind, ground.rows.edition), True
        case Linked(column=column):
            return Identifier("live", column.name), False
        case FirstRole():
            return first_role(ground.rows), True
        case Undeclared(key=key):
            return expressions.undeclared(key, ground.bind), True
        case _:
            return Identifier("live", "version"), False


def is_text(column: AnyColumn) -> bool:
    """Identifiers are ordered by bytes, as pages are; numbers, days and flags by what they are."""
    match column:
        case Text() | Choice() | Year():
            return True
        case Key() | Ref() | Flag() | Day() | Instant() | Whole() | Decimal():
            return False
        case Texts() | Choices() | Pairs() | Refs():
            return False
        case _:
            assert_never(column)
