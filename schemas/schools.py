"""Which schools a record belongs to: declared once for the preview, the guard and every other lens.

An org is a school by itself (whatever its type), a class and an enrollment have one, a course those
of its classes and its org, a user those of the active roles and the primary org; a profile and
demographics go with their user. Academic sessions belong to no school: to all.
"""

from dataclasses import dataclass
from typing import LiteralString, TypeAlias, assert_never

from schemas.columns import Key, Ref
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment

Link: TypeAlias = Key | Ref


@dataclass(frozen=True, slots=True)
class Own:
    """The school that the record names in a column."""

    column: Link


@dataclass(frozen=True, slots=True)
class Through:
    """The schools in a column of the records of `entity` that point at this one by `by`."""

    entity: AnyEntity
    by: Ref
    column: Ref


@dataclass(frozen=True, slots=True)
class As:
    """The schools of the record of `entity` that a column names."""

    column: Link
    entity: AnyEntity


Path: TypeAlias = Own | Through | As

SCHOOLS: dict[AnyEntity, tuple[Path, ...]] = {
    Org: (Own(Org.sourced_id),),
    AcademicSession: (),
    Course: (
        Own(Course.org_sourced_id),
        Through(Class, Class.course_sourced_id, Class.school_sourced_id),
    ),
    Class: (Own(Class.school_sourced_id),),
    User: (
        Own(User.primary_org_sourced_id),
        Through(Role, Role.user_sourced_id, Role.org_sourced_id),
    ),
    UserProfile: (As(UserProfile.user_sourced_id, User),),
    Role: (Own(Role.org_sourced_id),),
    Demographics: (As(Demographics.sourced_id, User),),
    Enrollment: (Own(Enrollment.school_sourced_id),),
}

SOUGHT: dict[AnyEntity, As] = {Enrollment: As(Enrollment.class_sourced_id, Class)}
"""By way of what most records of a school are found, where their own column has no index."""


def query(entity: AnyEntity, carry: tuple[LiteralString, ...] = ()) -> LiteralString | None:
    """`sourced_id` and `school` of records, each pair once, as a template; None: of no school.

    Columns to `carry` are handed on from the records, between the two.

    `{records}` stands for the relation of the records in question, and each table's name, such as
    `{roles}`, for the relation in which records of that kind are looked up: whoever fills it in
    decides whether that is the roster as it is, as it was or as it would be.
    """
    parts = [select(path, "{records}", carry) for path in SCHOOLS[entity]]
    # Made of declared names alone, so it is as literal as if it were written here.
    return " union ".join(parts) if parts else None


def looked_up(entity: AnyEntity) -> set[AnyEntity]:
    """The entities whose relations the template of `query` names."""
    found: set[AnyEntity] = set()
    for path in SCHOOLS[entity]:
        match path:
            case Own():
                pass
            case Through():
                found.add(path.entity)
            case As():
                found |= {path.entity, *looked_up(path.entity)}
            case _:
                assert_never(path)
    return found


def near(entity: AnyEntity) -> dict[AnyEntity, tuple[str, str]]:
    """Which records are looked up: those whose first column names the second of the records."""
    found: dict[AnyEntity, tuple[str, str]] = {}
    for path in SCHOOLS[entity]:
        match path:
            case Own():
                pass
            case Through(other, by, _):
                found[other] = (by.name, "sourced_id")
            case As(column, other):
                found[other] = ("sourced_id", column.name)
                found |= {beyond: (by, column.name) for beyond, (by, _) in near(other).items()}
            case _:
                assert_never(path)
    return found


def links(entity: AnyEntity) -> tuple[str, ...]:
    """The columns of a record that tell its schools, the sourcedId left out."""
    columns = (path.column.name for path in SCHOOLS[entity] if isinstance(path, Own | As))
    return tuple(name for name in columns if name != "sourced_id")


OWN = "select {own}, r.{column} as school from {records} as r where r.{column} is not null"
THROUGH = (
    "select {own}, t.{column} as school from {records} as r join {table} as t"
    " on t.{by} = r.sourced_id"
)
AS = "select {own}, s.school from {records} as r join ({parts}) as s on s.sourced_id = r.{column}"


def select(path: Path, records: str, carry: tuple[str, ...] = ()) -> str:
    """One path of a template."""
    own = ", ".join(f"r.{name}" for name in ("sourced_id", *carry))
    match path:
        case Own(column):
            return OWN.format(own=own, records=records, column=column.name)
        case Through(entity, by, column):
            table = f"{{{entity.table}}}"
            return THROUGH.format(
                own=own, records=records, table=table, by=by.name, column=column.name
            )
        case As(column, entity):
            parts = " union ".join(
                select(other, f"{{{entity.table}}}") for other in SCHOOLS[entity]
            )
            return AS.format(own=own, records=records, parts=parts, column=column.name)
        case _:
            assert_never(path)
