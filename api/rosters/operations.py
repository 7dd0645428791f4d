"""The 41 read operations of the rostering service, in one table: the routes are made from it.

A view is a collection by its name in the address: all records of an entity, or those of one kind. A
sub-collection asks for its parents, then for the members: those that point at the parent, or that
living enrollments and classes link with it. Any one of an operation's OneRoster scopes opens it.
OneRoster 1.1 has the same operations, at another root and in its own words.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import LiteralString, TypeAlias

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal, Placeholder

from api.rosters.roles import HAD, first_role
from api.rosters.sight import Rows
from schemas import scopes
from schemas.columns import Column
from schemas.rest.editions import ONE_ONE, ONE_TWO, Edition
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User
from schemas.roster.teaching import Class, Course, Enrollment

SERVICE = "Rostering"
ROOT = ONE_TWO.address(SERVICE)

FULL = (scopes.ROSTER,)
CORE = (scopes.ROSTER, scopes.CORE)
PRIVILEGED = (scopes.DEMOGRAPHICS,)

Condition: TypeAlias = Callable[[Rows], Composable]
"""Whether `live` belongs there; the identifiers of the address are parameters."""

FIRST, SECOND = "sourced_id", "class_sourced_id"
"""How addresses name their identifiers: a router knows one name for each place."""


def of_type(word: LiteralString) -> Condition:
    """Orgs and sessions of one type."""
    return lambda _: SQL("live.type = {}").format(Literal(word))


def acting(role: LiteralString, *, at_school: bool = False) -> Condition:
    """Users who have the role, anywhere or at the school of the address.

    In 1.1 it is their only one, so that a student is whoever is shown as a student.
    """
    where = SQL(" and part.org_sourced_id = {}" if at_school else "").format(
        *([Placeholder(FIRST)] if at_school else [])
    )

    def condition(rows: Rows) -> Composed:
        has = SQL(
            "exists (select from {rows} as part where {had} and part.role = {role}{where})"
        ).format(rows=rows.seen(Role), had=HAD, role=Literal(role), where=where)
        if not rows.edition.one_role:
            return has
        return SQL("({} and {} = {})").format(has, first_role(rows), Literal(role))

    return condition


def naming(column: Column, parameter: str = FIRST) -> Condition:
    """Records that name the parent in a column."""
    return lambda _: SQL("{} = {}").format(Identifier("live", column.name), Placeholder(parameter))


def linked(
    link: AnyEntity, own: Column, parent: Column, parameter: str = FIRST, role: str | None = None
) -> Condition:
    """Records that a living record of another entity links with the parent."""
    of_role = SQL("" if role is None else " and link.role = {}").format(
        *([] if role is None else [Literal(role)])
    )

    def condition(rows: Rows) -> Composed:
        return SQL(
            "live.sourced_id in (select link.{own} from {rows} as link"
            " where link.tenant_id = %(tenant_id)s and link.status = 'active'"
            " and link.{parent} = {parameter}{of_role})"
        ).format(
            own=Identifier(own.name),
            rows=rows.seen(link),
            parent=Identifier(parent.name),
            parameter=Placeholder(parameter),
            of_role=of_role,
        )

    return condition


def enrolled(role: LiteralString, parameter: str = FIRST) -> Condition:
    """Users who are in the class with a role."""
    return linked(
        Enrollment,
        Enrollment.user_sourced_id,
        Enrollment.class_sourced_id,
        parameter,
        role,
    )


def attended(role: LiteralString | None = None) -> Condition:
    """Classes in which the user is, with a role or with any."""
    return linked(Enrollment, Enrollment.class_sourced_id, Enrollment.user_sourced_id, FIRST, role)


def either(*conditions: Condition) -> Condition:
    """Any of them."""
    return lambda rows: SQL("({})").format(
        SQL(" or ").join(condition(rows) for condition in conditions)
    )


def held(rows: Rows) -> Composed:
    """Sessions that living classes of the school name."""
    return SQL(
        "live.sourced_id in (select unnest(link.term_sourced_ids) from {} as link"
        " where link.tenant_id = %(tenant_id)s and link.status = 'active'"
        " and link.school_sourced_id = {})"
    ).format(rows.seen(Class), Placeholder(FIRST))


def in_term(_: Rows) -> Composed:
    """Classes that are held in the term."""
    return SQL("{} = any(live.term_sourced_ids)").format(Placeholder(FIRST))


@dataclass(frozen=True, slots=True)
class View:
    """A collection by its name: some records of an entity, and what operations call one of them."""

    path: str
    one: str
    entity: AnyEntity
    condition: Condition | None = None
    scopes: tuple[str, ...] = CORE

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """None or one."""
        return () if self.condition is None else (self.condition,)


SESSIONS = View("academicSessions", "AcademicSession", AcademicSession)
CLASSES = View("classes", "Class", Class)
COURSES = View("courses", "Course", Course)
DEMOGRAPHICS = View("demographics", "Demographics", Demographics, scopes=PRIVILEGED)
ENROLLMENTS = View("enrollments", "Enrollment", Enrollment)
PERIODS = View("gradingPeriods", "GradingPeriod", AcademicSession, of_type("gradingPeriod"))
ORGS = View("orgs", "Org", Org)
SCHOOLS = View("schools", "School", Org, of_type("school"))
STUDENTS = View("students", "Student", User, acting("student"))
TEACHERS = View("teachers", "Teacher", User, acting("teacher"))
TERMS = View("terms", "Term", AcademicSession, of_type("term"))
USERS = View("users", "User", User)

VIEWS = (
    *(SESSIONS, CLASSES, COURSES, DEMOGRAPHICS, ENROLLMENTS, PERIODS),
    *(ORGS, SCHOOLS, STUDENTS, TEACHERS, TERMS, USERS),
)


@dataclass(frozen=True, slots=True)
class Parent:
    """A record that an address names: it has to be there before its members are looked for."""

    view: View
    parameter: str = FIRST
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A read: what it is called, where it is, and which records it answers with."""

    id: str
    path: str
    entity: AnyEntity
    single: bool = False
    parents: tuple[Parent, ...] = ()
    conditions: tuple[Condition, ...] = field(default=())
    scopes: tuple[str, ...] = FULL
    edition: Edition = ONE_TWO

    @property
    def key(self) -> str:
        """The one key of the answer."""
        return self.entity.noun if self.single else self.entity.file

    def named(self, parameter: str) -> AnyEntity:
        """Of which entity a record of the address is."""
        parents = {parent.parameter: parent.view.entity for parent in self.parents}
        return parents.get(parameter, self.entity)

    @property
    def route(self) -> str:
        """The template of the address."""
        return f"{self.edition.address(SERVICE)}/{self.path}"


def collection(view: View) -> Operation:
    """All records of a view."""
    name = f"getAll{view.path[0].upper()}{view.path[1:]}"
    return Operation(name, view.path, view.entity, conditions=view.conditions, scopes=view.scopes)


def single(view: View) -> Operation:
    """One record of a view; what is outside of it is unknown there."""
    return Operation(
        f"get{view.one}",
        f"{view.path}/{{{FIRST}}}",
        view.entity,
        single=True,
        conditions=view.conditions,
        scopes=view.scopes,
    )


def members(
    name: str, parent: View, tail: str, entity: AnyEntity, *conditions: Condition
) -> Operation:
    """The sub-collection of a parent."""
    path = f"{parent.path}/{{{FIRST}}}/{tail}"
    return Operation(name, path, entity, parents=(Parent(parent),), conditions=conditions)


def in_class(name: str, tail: str, entity: AnyEntity, condition: Condition) -> Operation:
    """The sub-collection of a class, which has to be of the school before it in the address."""
    return Operation(
        name,
        f"schools/{{{FIRST}}}/classes/{{{SECOND}}}/{tail}",
        entity,
        parents=(
            Parent(SCHOOLS),
            Parent(CLASSES, SECOND, (naming(Class.school_sourced_id),)),
        ),
        conditions=(condition,),
    )


COLLECTIONS = tuple(map(collection, VIEWS))
SINGLES = tuple(map(single, VIEWS))
MEMBERS = (
    members("getStudentsForClass", CLASSES, "students", User, enrolled("student")),
    members("getTeachersForClass", CLASSES, "teachers", User, enrolled("teacher")),
    members("getClassesForCourse", COURSES, "classes", Class, naming(Class.course_sourced_id)),
    members("getClassesForSchool", SCHOOLS, "classes", Class, naming(Class.school_sourced_id)),
    in_class(
        "getEnrollmentsForClassInSchool",
        "enrollments",
        Enrollment,
        naming(Enrollment.class_sourced_id, SECOND),
    ),
    in_class("getStudentsForClassInSchool", "students", User, enrolled("student", SECOND)),
    in_class("getTeachersForClassInSchool", "teachers", User, enrolled("teacher", SECOND)),
    members(
        "getCoursesForSchool",
        SCHOOLS,
        "courses",
        Course,
        either(
            naming(Course.org_sourced_id),
            linked(Class, Class.course_sourced_id, Class.school_sourced_id),
        ),
    ),
    members(
        "getEnrollmentsForSchool",
        SCHOOLS,
        "enrollments",
        Enrollment,
        naming(Enrollment.school_sourced_id),
    ),
    members("getStudentsForSchool", SCHOOLS, "students", User, acting("student", at_school=True)),
    members("getTeachersForSchool", SCHOOLS, "teachers", User, acting("teacher", at_school=True)),
    members("getTermsForSchool", SCHOOLS, "terms", AcademicSession, of_type("term"), held),
    members("getClassesForStudent", STUDENTS, "classes", Class, attended("student")),
    members("getClassesForTeacher", TEACHERS, "classes", Class, attended("teacher")),
    members("getClassesForTerm", TERMS, "classes", Class, in_term),
    members(
        "getGradingPeriodsForTerm",
        TERMS,
        "gradingPeriods",
        AcademicSession,
        of_type("gradingPeriod"),
        naming(AcademicSession.parent_sourced_id),
    ),
    members("getClassesForUser", USERS, "classes", Class, attended()),
)

OPERATIONS = (*COLLECTIONS, *SINGLES, *MEMBERS)

OPERATIONS_1P1 = tuple(replace(operation, edition=ONE_ONE) for operation in OPERATIONS)
"""The same of OneRoster 1.1, which has them all."""
