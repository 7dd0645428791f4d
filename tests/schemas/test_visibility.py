"""What the SQL of a lens shows is what a slow reader of the same sentences finds.

Small districts at random, with pasts, tombstones, loops and references to nowhere.
"""

from collections.abc import Iterator, Mapping
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
from tests.schemas.slow_lens import District, Image, Row, Slow

TENANT = 7
LAST = 3
EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)
PLANTED = settings(
    max_examples=400, deadline=None, derandomize=True, database=None, phases=[Phase.generate]
)

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
            connection.execute(  # before its first version nobody sees a roster
                "insert into districts (tenant_id, id, name, version) overriding system value"
                " values (%s, 'lenses', 'x', 1)",
                [TENANT],
            )
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
