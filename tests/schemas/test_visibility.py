"""What the SQL of a lens shows is what a slow reader of the same sentences finds.

The slow reader judges one record at a time in plain Python, from the words of the product and not
from its rules: small districts at random, with pasts, tombstones, loops and references to nowhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias
from uuid import uuid4

import psycopg
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composable, Identifier
from psycopg.types.json import Jsonb

from deploy.local.postgres import Postgres
from schemas import visibility
from schemas.lens import Lens
from schemas.roster import ROSTERING, AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment

TENANT = 7
LAST = 3
EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
PLANTED = settings(
    max_examples=400, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)

Row: TypeAlias = dict[str, Any]
Image: TypeAlias = tuple[int, Row]
District: TypeAlias = Mapping[str, Mapping[str, tuple[Image, ...]]]
"""By table and sourcedId: what the record was, from which version on, oldest first."""
Db: TypeAlias = psycopg.Connection[Any]


# --- Districts at random -------------------------------------------------------------------

ORGS = ("board", "north", "south", "lost")
CLASSES = ("c1", "c2", "c3")
COURSES = ("k1", "k2")
USERS = ("u1", "u2", "u3")
GRADES = ("P1", "P2")
ROLES = ("student", "teacher", "guardian")

NOWHERE = ("nowhere",)
org = st.sampled_from(("north", "north", "south", "board", "lost", *NOWHERE))
cls = st.sampled_from((*CLASSES, *NOWHERE))
user = st.sampled_from((*USERS, *USERS, *NOWHERE))
status = st.sampled_from(("active", "active", "tobedeleted"))
grades = st.none() | st.lists(st.sampled_from(GRADES), max_size=2)

ROWS: Mapping[AnyEntity, st.SearchStrategy[Row]] = {
    Org: st.fixed_dictionaries(
        {"name": st.just("o"), "type": st.just("school"), "parent_sourced_id": st.none() | org}
    ),
    AcademicSession: st.fixed_dictionaries(
        {
            "title": st.just("y"),
            "type": st.just("schoolYear"),
            "start_date": st.just("2026-04-01"),
            "end_date": st.just("2027-03-31"),
            "school_year": st.just("2026"),
            "parent_sourced_id": st.none() | st.just("nowhere"),
        }
    ),
    Course: st.fixed_dictionaries({"title": st.just("k"), "org_sourced_id": org, "grades": grades}),
    Class: st.fixed_dictionaries(
        {
            "title": st.just("c"),
            "class_type": st.just("homeroom"),
            "course_sourced_id": st.sampled_from((*COURSES, *COURSES, *NOWHERE)),
            "school_sourced_id": org,
            "term_sourced_ids": st.just(["y1"]),
            "grades": grades,
        }
    ),
    User: st.fixed_dictionaries(
        {
            "enabled_user": st.just("true"),
            "username": st.just("user"),
            "email": st.just("user@example.jp"),
            "identifier": st.just("1"),
            "agent_sourced_ids": st.none() | st.lists(user, max_size=3),
            "grades": grades,
            "primary_org_sourced_id": st.none() | org,
            "home_class": st.none() | cls,
        }
    ),
    UserProfile: st.fixed_dictionaries(
        {
            "user_sourced_id": user,
            "profile_type": st.just("p"),
            "vendor_id": st.just("v"),
            "credential_type": st.just("t"),
            "username": st.just("user"),
        }
    ),
    Role: st.fixed_dictionaries(
        {
            "user_sourced_id": user,
            "role_type": st.just("primary"),
            "role": st.sampled_from((*ROLES, "ext:guardian")),
            "org_sourced_id": org,
            "user_profile_sourced_id": st.none() | st.sampled_from(("p1", "p2", *NOWHERE)),
        }
    ),
    Demographics: st.fixed_dictionaries({"birth_date": st.just("2015-01-01")}),
    Enrollment: st.fixed_dictionaries(
        {
            "class_sourced_id": cls,
            "school_sourced_id": org,
            "user_sourced_id": user,
            "role": st.sampled_from(ROLES),
        }
    ),
}
KEYS: Mapping[AnyEntity, tuple[str, ...]] = {
    Org: ORGS,
    AcademicSession: ("y1",),
    Course: COURSES,
    Class: CLASSES,
    User: USERS,
    UserProfile: ("p1", "p2"),
    Role: ("r1", "r2", "r3", "r4"),
    Demographics: (*USERS, "nobody"),
    Enrollment: ("e1", "e2", "e3", "e4"),
}


def lives(entity: AnyEntity) -> st.SearchStrategy[tuple[Image, ...]]:
    """One or two images of a record; a record is made once and may go and come."""
    image = st.tuples(
        st.integers(1, LAST),
        st.tuples(ROWS[entity], status).map(lambda p: {**p[0], "status": p[1]}),
    )
    return st.lists(image, min_size=1, max_size=2, unique_by=lambda pair: pair[0]).map(
        lambda images: tuple(sorted(images, key=lambda pair: pair[0]))
    )


DISTRICTS: st.SearchStrategy[District] = st.fixed_dictionaries(
    {
        entity.table: st.fixed_dictionaries({key: lives(entity) for key in KEYS[entity]})
        for entity in ROSTERING
    }
)
GROUPS = ("agents", "demographics", "email", "identifiers", "phone")
LENSES = st.builds(
    Lens,
    schools=st.none() | st.frozensets(st.sampled_from(ORGS), min_size=1, max_size=2),
    grades=st.none() | st.frozensets(st.sampled_from(GRADES), max_size=1),
    roles=st.none() | st.frozensets(st.sampled_from(ROLES), min_size=1, max_size=2),
    entities=st.none()
    | st.sampled_from(
        (("orgs", "users"), ("courses", "classes"), ("courses", "classes", "users", "enrollments"))
    ),
    fields=st.frozensets(st.sampled_from(GROUPS)),
)
MOMENTS = st.none() | st.integers(1, LAST)
Case: TypeAlias = tuple[District, Lens, int | None]
CASES: st.SearchStrategy[Case] = st.tuples(DISTRICTS, LENSES, MOMENTS)


# --- The slow reader -----------------------------------------------------------------------


@dataclass
class Slow:
    """Looks at one record after another, as they were at a version."""

    lens: Lens
    rows: dict[str, dict[str, Row]] = field(default_factory=dict)

    @classmethod
    def at(cls, district: District, lens: Lens, moment: int | None) -> "Slow":
        reader = cls(lens)
        for table, records in district.items():
            reader.rows[table] = {}
            for key, images in records.items():
                known = [(v, row) for v, row in images if moment is None or v <= moment]
                if known:
                    version, row = known[-1]
                    reader.rows[table][key] = {**row, "sourced_id": key, "version": version}
        return reader

    def sees(self, table: str) -> set[str]:
        return {key for key, row in self.rows[table].items() if getattr(self, table)(row)}

    def refers(self, table: str, key: str) -> bool:
        """Whether a reference may be shown; to what nothing limits, even to nowhere."""
        if not self.limited(table):
            return True
        if table == "orgs":
            return self.org(key)
        row = self.rows[table].get(key)
        return row is not None and getattr(self, table)(row)

    def limited(self, table: str) -> bool:
        lens = self.lens
        listed = lens.entities is None or table in lens.entities
        match table:
            case "orgs":
                return lens.schools is not None
            case "academic_sessions":
                return False
            case "courses":
                return not listed or lens.schools is not None or lens.grades is not None
            case "classes":
                return not listed or self.limited("courses")
            case "users":
                limits = (lens.schools, lens.grades, lens.roles)
                return not listed or any(limit is not None for limit in limits)
            case _:
                return self.limited("users")

    def at_school(self, key: str | None) -> bool:
        return self.lens.schools is None or key in self.lens.schools

    def org(self, key: str) -> bool:
        """A visible school, or above one."""
        if self.lens.schools is None:
            return True
        above: set[str] = set()
        ways = list(self.lens.schools)
        while ways:
            row = self.rows["orgs"].get(ways.pop())
            parent = row and row["parent_sourced_id"]
            if parent and parent not in above:
                above.add(parent)
                ways.append(parent)
        return key in self.lens.schools or key in above

    def in_grades(self, row: Row) -> bool:
        return self.lens.grades is None or bool(self.lens.grades & set(row["grades"] or ()))

    def without_grades(self, row: Row) -> bool:
        return self.lens.grades is not None and not row["grades"]

    def included(self, name: str) -> bool:
        return self.lens.entities is None or name in self.lens.entities

    def in_roles(self, word: str) -> bool:
        if self.lens.roles is None:
            return True
        return word.removeprefix("ext:") in {w.removeprefix("ext:") for w in self.lens.roles}

    def orgs(self, row: Row) -> bool:
        return self.org(row["sourced_id"])

    def academic_sessions(self, _: Row) -> bool:
        return True

    def courses(self, row: Row) -> bool:
        schools = [row["org_sourced_id"]] + [
            each["school_sourced_id"]
            for each in self.rows["classes"].values()
            if each["course_sourced_id"] == row["sourced_id"]
        ]
        return (
            self.included("courses")
            and any(self.at_school(school) for school in schools)
            and (self.in_grades(row) or self.without_grades(row))
            and self.refers("orgs", row["org_sourced_id"])
        )

    def classes(self, row: Row) -> bool:
        return (
            self.included("classes")
            and self.at_school(row["school_sourced_id"])
            and (self.in_grades(row) or self.without_grades(row))
            and self.refers("courses", row["course_sourced_id"])
        )

    def held(self, row: Row) -> list[Row]:
        """The roles of a user, or those a deleted user last had."""
        return [
            role
            for role in self.rows["roles"].values()
            if role["user_sourced_id"] == row["sourced_id"]
            and (
                role["status"] == "active"
                or (row["status"] != "active" and role["version"] >= row["version"])
            )
        ]

    def users(self, row: Row) -> bool:
        held = self.held(row)
        schools = [role["org_sourced_id"] for role in held] + [row["primary_org_sourced_id"]]
        if self.lens.roles is None:
            here = self.lens.schools is None or any(map(self.at_school, schools))
        else:
            here = any(
                self.in_roles(role["role"]) and self.at_school(role["org_sourced_id"])
                for role in held
            )
        graded = self.in_grades(row) or (
            self.without_grades(row) and all(role["role"] != "student" for role in held)
        )
        return self.included("users") and here and graded

    def roles(self, row: Row) -> bool:
        return (
            self.at_school(row["org_sourced_id"])
            and self.in_roles(row["role"])
            and self.refers("users", row["user_sourced_id"])
        )

    def user_profiles(self, row: Row) -> bool:
        return self.refers("users", row["user_sourced_id"])

    def demographics(self, row: Row) -> bool:
        granted = "demographics" in self.lens.fields and self.included("demographics")
        return granted and self.refers("users", row["sourced_id"])

    def enrollments(self, row: Row) -> bool:
        return (
            self.included("enrollments")
            and self.at_school(row["school_sourced_id"])
            and self.in_roles(row["role"])
            and self.refers("classes", row["class_sourced_id"])
            and self.refers("users", row["user_sourced_id"])
        )

    def values(self, table: str, key: str) -> Row:
        """The values that a lens may take away."""
        row, fields = self.rows[table][key], self.lens.fields
        match table:
            case "users":
                agents = [a for a in row["agent_sourced_ids"] or () if self.refers("users", a)]
                return {
                    "agent_sourced_ids": agents or None if "agents" in fields else None,
                    "email": row["email"] if "email" in fields else None,
                    "identifier": row["identifier"] if "identifiers" in fields else None,
                    "primary_org_sourced_id": self.optional(row, "orgs", "primary_org_sourced_id"),
                    "home_class": self.optional(row, "classes", "home_class"),
                }
            case "user_profiles":
                return {"username": row["username"] if "identifiers" in fields else None}
            case "roles":
                return {
                    "user_profile_sourced_id": self.optional(
                        row, "user_profiles", "user_profile_sourced_id"
                    )
                }
            case "orgs":
                return {"parent_sourced_id": self.optional(row, "orgs", "parent_sourced_id")}
            case _:
                return {}

    def optional(self, row: Row, table: str, name: str) -> str | None:
        key: str | None = row[name]
        return key if key is not None and self.refers(table, key) else None


# --- The roster in PostgreSQL --------------------------------------------------------------


@pytest.fixture(scope="module")
def db(postgres: Postgres, template: str) -> Iterator[Db]:
    name = f"lenses_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(
            SQL("create database {} template {}").format(Identifier(name), Identifier(template))
        )
        with psycopg.connect(f"{postgres.url.rsplit('/', 1)[0]}/{name}") as connection:
            connection.execute("set search_path = rosterhub, pg_temp")
            connection.commit()
            yield connection
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def load(db: Db, district: District) -> None:
    """Every record with its past."""
    for table, records in district.items():
        live: list[Row] = []
        history: list[Row] = []
        for key, images in records.items():
            known = {
                "tenant_id": TENANT,
                "sourced_id": key,
                "created_version": images[0][0],
                "digest": "00000000-0000-0000-0000-000000000000",
            }
            stamped = [{**row, **known, "version": version} for version, row in images]
            live.append(stamped[-1])
            history += [
                {**row, "until_version": later["version"]} for row, later in pairwise(stamped)
            ]
        for name, rows in ((table, live), (f"{table}_history", history)):
            db.execute(
                SQL("insert into {0} select * from jsonb_populate_recordset(null::{0}, %s)").format(
                    Identifier(name)
                ),
                [Jsonb(rows)],
            )


def relation(entity: AnyEntity, moment: int | None) -> Composable:
    """The records as they are, or as they were."""
    names = SQL(", ").join(
        Identifier(name)
        for name in ("tenant_id", *(c.name for c in entity.stored()), "metadata", "version")
    )
    live = SQL("select {} from {} where tenant_id = %(tenant_id)s").format(
        names, Identifier(entity.table)
    )
    if moment is None:
        return SQL("({})").format(live)
    return SQL(
        "({live} and version <= %(as_of)s union all select {names} from {history}"
        " where tenant_id = %(tenant_id)s and version <= %(as_of)s and until_version > %(as_of)s)"
    ).format(live=live, names=names, history=Identifier(f"{entity.table}_history"))


def seen(db: Db, entity: AnyEntity, lens: Lens | None, moment: int | None) -> dict[str, Row]:
    """What the lens shows of an entity, as the app role reads it."""
    looked = {other.table: relation(other, moment) for other in ROSTERING}
    columns = ", ".join(
        f'{visibility.shown(column, lens)} as "{column.name}"' for column in entity.stored()
    )
    query = SQL(f"select {columns} from {{records}} as live where {{condition}}").format(
        records=relation(entity, moment),
        condition=SQL(visibility.visible(entity, lens) or "true").format(**looked),
        **looked,
    )
    key = {"tenant_id": TENANT, "as_of": moment, **visibility.parameters(lens)}
    with db.cursor(row_factory=dict_row) as cursor:
        return {row["sourced_id"]: row for row in cursor.execute(query, key)}


def differences(db: Db, case: Case) -> list[str]:
    """Where the two readers differ."""
    district, lens, moment = case
    slow = Slow.at(district, lens, moment)
    try:
        load(db, district)
        db.execute("set local role rosterhub_app")
        db.execute("select set_config('rosterhub.tenant_id', %s, true)", [str(TENANT)])
        found: list[str] = []
        for entity in ROSTERING:
            shown = seen(db, entity, lens, moment)
            expected = slow.sees(entity.table)
            found += [f"{entity.table} {key}" for key in shown.keys() ^ expected]
            found += [
                f"{entity.table} {key} {name}"
                for key in shown.keys() & expected
                for name, value in slow.values(entity.table, key).items()
                if (shown[key][name] or None) != value  # nothing listed is nothing
            ]
        return found
    finally:
        db.rollback()


@given(case=CASES)
@EXAMPLES
def test_sql_shows_what_a_slow_reader_finds(db: Db, case: Case) -> None:
    assert differences(db, case) == []


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("of_references", lambda *_: iter(())),
        ("of_grades", lambda *_: iter(())),
        ("of_roles", lambda *_: iter(())),
        ("ABOVE", "(select null::text)"),
        ("HELD", visibility.HELD.replace("part.version >= {record}.version", "true")),
        ("HELD", visibility.HELD.replace("part.status = 'active'", "true")),
        ("FILTERED", "{value}"),
    ],
)
def test_a_planted_fault_is_found(
    db: Db, monkeypatch: pytest.MonkeyPatch, name: str, instead: object
) -> None:
    monkeypatch.setattr(visibility, name, instead)
    visibility.told.cache_clear()
    try:
        find(CASES, lambda case: bool(differences(db, case)), settings=PLANTED)
    except NoSuchExample:
        pytest.fail("nobody noticed")
    finally:
        visibility.told.cache_clear()


def test_who_has_no_lens_sees_all_and_an_empty_one_only_lacks_demographics() -> None:
    for entity in ROSTERING:
        assert visibility.visible(entity, None) is None
        assert (visibility.visible(entity, Lens()) is None) == (entity is not Demographics)
