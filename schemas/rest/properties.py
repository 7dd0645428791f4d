"""What a REST class consists of: every path that a filter may name, and where its value comes from.

`status` is a value of the record itself, `school.sourcedId` is said by a reference, `roles.role` by
a part. The gateway turns a property into SQL in one `match`; whoever describes the hub lists them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from schemas.columns import AnyColumn, Column, Pairs, Ref, Refs
from schemas.rest.editions import EDITIONS, ONE_TWO, Edition
from schemas.rest.records import METADATA, PARENTS, part_columns
from schemas.roster import ROSTERING, AnyEntity
from schemas.roster.people import Role, User, UserProfile
from schemas.roster.teaching import Class, Course

Says: TypeAlias = Literal["sourcedId", "href", "type"]
SAYS: tuple[Says, ...] = get_args(Says)
"""What a reference consists of."""


@dataclass(frozen=True, slots=True)
class Own:
    """A value of the record itself, or a list of values."""

    column: AnyColumn


@dataclass(frozen=True, slots=True)
class Half:
    """The left or the right half of the items of a list."""

    column: Pairs
    side: Literal["left", "right"]


@dataclass(frozen=True, slots=True)
class Linked:
    """What a reference says, or any reference of a list."""

    column: Ref | Refs
    says: Says


@dataclass(frozen=True, slots=True)
class OfChild:
    """What the reference to any living child says."""

    says: Says


@dataclass(frozen=True, slots=True)
class Modified:
    """`dateLastModified`: when the version of the record was published."""


@dataclass(frozen=True, slots=True)
class Undeclared:
    """A name in `metadata` that no entity declares."""

    key: str


@dataclass(frozen=True, slots=True)
class Never:
    """A property of the class that the hub never sends: no record has it."""


Direct: TypeAlias = Own | Half | Linked | OfChild | Modified | Undeclared | Never


@dataclass(frozen=True, slots=True)
class OfPart:
    """A property of any part that a user shows."""

    part: AnyEntity
    of_it: Direct


@dataclass(frozen=True, slots=True)
class FirstRole:
    """The one role of a user, in 1.1: the first of those that 1.2 shows."""


@dataclass(frozen=True, slots=True)
class OfOrgs:
    """What the reference to any org of a user says, in 1.1: that of a role, or the primary one."""

    says: Says


Property: TypeAlias = Direct | OfPart | FirstRole | OfOrgs

CARRIED: Final[Mapping[AnyEntity, Mapping[str, AnyEntity]]] = {
    User: {"roles": Role, "userProfiles": UserProfile}
}
"""The names under which records carry others."""

NEVER: Final[Mapping[AnyEntity, tuple[str, ...]]] = {
    User: ("password",),
    UserProfile: ("credentials.password",),
    Course: tuple(f"resources.{word}" for word in SAYS),
    Class: tuple(f"resources.{word}" for word in SAYS),
}
"""Passwords are never stored; learning resources are not served yet."""


def of_class(entity: AnyEntity, edition: Edition = ONE_TWO) -> dict[str, Property]:
    """Path -> property of a class."""
    found: dict[str, Property] = {}
    for column in entity.stored():
        if column not in edition.unknown:
            found |= of_column(column)
    found["dateLastModified"] = Modified()
    if entity in PARENTS:
        found |= {f"children.{word}": OfChild(word) for word in SAYS}
    if entity is User and edition.one_role:
        found |= {"role": FirstRole()} | {f"orgs.{word}": OfOrgs(word) for word in SAYS}
    else:
        for name, part in CARRIED.get(entity, {}).items():
            found |= {f"{name}.{path}": OfPart(part, it) for path, it in of_part(part).items()}
    return found | dict.fromkeys(NEVER.get(entity, ()), Never())


def of_part(part: AnyEntity) -> dict[str, Direct]:
    """The same of a part, which has no identifier of its own; a profile shows one of its own."""
    found: dict[str, Direct] = {}
    for column in part_columns(part):
        found |= of_column(column)
    if part is UserProfile:
        found["profileId"] = Own(UserProfile.sourced_id)
    return found | dict.fromkeys(NEVER.get(part, ()), Never())


def of_column(column: AnyColumn) -> dict[str, Direct]:
    """The paths that a column feeds."""
    name = column.json
    match column:
        case _ if name is None:
            return {}
        case Pairs(left=left, right=right):
            return {
                f"{name}.{left}": Half(column, "left"),
                f"{name}.{right}": Half(column, "right"),
            }
        case Ref() | Refs() if is_reference(column):
            return {f"{name}.{word}": Linked(column, word) for word in SAYS}
        case _:
            return {name: Own(column)}


def is_reference(column: Column) -> bool:
    """Whether JSON shows an object for it: metadata has values, and a profile is named by a URI."""
    match column:
        case Ref(to=UserProfile.file):
            return False
        case Ref() | Refs():
            return not column.extension
        case _:
            return False


def is_profile(column: Column) -> bool:
    """Whether JSON shows the URI of a profile for it."""
    match column:
        case Ref(to=UserProfile.file):
            return not column.extension
        case _:
            return column == UserProfile.sourced_id


BY_EDITION: Final[Mapping[Edition, Mapping[AnyEntity, Mapping[str, Property]]]] = {
    edition: {entity: of_class(entity, edition) for entity in ROSTERING} for edition in EDITIONS
}
"""What each class consists of; `metadata` has more than is listed here."""

PROPERTIES: Final = BY_EDITION[ONE_TWO]


def property_of(entity: AnyEntity, path: str, edition: Edition = ONE_TWO) -> Property | None:
    """The property that a path names, if there is one."""
    known = BY_EDITION[edition][entity].get(path)
    if known is not None:
        return known
    first, _, key = path.partition(".")
    return Undeclared(key) if first == METADATA and key else None


def is_object(entity: AnyEntity, path: str, edition: Edition = ONE_TWO) -> bool:
    """Whether a path names an object, of which only what is in it can be compared."""
    known = BY_EDITION[edition][entity]
    return any(each.startswith(f"{path}.") for each in known) or path == METADATA


def top_level(entity: AnyEntity, edition: Edition = ONE_TWO) -> frozenset[str]:
    """The properties that `fields` may name, those that are never sent included."""
    return frozenset(path.partition(".")[0] for path in BY_EDITION[edition][entity]) | {METADATA}
