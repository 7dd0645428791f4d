"""The door of first loads: rows come in by it, to the own district alone, and nothing goes out."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, NotNullViolation
from psycopg.sql import SQL, Identifier

from pipeline import loads
from pipeline.database import connect, tenant
from schemas.ddl import expected
from schemas.roster import ROSTERING, AnyEntity

Admin: TypeAlias = psycopg.Connection[Any]
NORTH, SOUTH = 1, 2
SCHOOL = {"sourced_id": "s", "name": "x", "type": "school", "digest": str(UUID(int=0))}
GIVEN_BY_THE_DOOR = {"tenant_id", "status", "version", "created_version"}
COLUMNS = """
    select attname from pg_attribute
    where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped
"""


@pytest.fixture
def admin(database_url: str) -> Iterator[Admin]:
    """The superuser; two districts without a version, each with an open load."""
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute("set search_path = rosterhub")
        for tenant_id in (NORTH, SOUTH):
            db.execute(
                "insert into districts (tenant_id, id, name) overriding system value"
                " values (%s, %s, 'x')",
                [tenant_id, f"d{tenant_id}"],
            )
        yield db


def opened(admin: Admin, tenant_id: int) -> UUID:
    token = uuid4()
    admin.execute("insert into loads (tenant_id, token) values (%s, %s)", [tenant_id, token])
    return token


@contextmanager
def lane(url: str, tenant_id: int, token: UUID | None) -> Iterator[Admin]:
    """A transaction of the app role that works for a load."""
    with connect(url) as db, tenant(db, tenant_id):
        if token is not None:
            loads.work_for(db, token)
        yield db


def bring(db: Admin, **values: object) -> None:
    """A school through the door."""
    row = {**SCHOOL, **values}
    db.execute(
        SQL("insert into rosterhub_loading.orgs ({}) values ({})").format(
            SQL(", ").join(map(Identifier, row)), SQL(", ").join(map(SQL, ["%s"] * len(row)))
        ),
        [*row.values()],
    )


def test_what_comes_in_is_of_the_own_district_and_its_first_version(
    admin: Admin, database_url: str
) -> None:
    with lane(database_url, SOUTH, opened(admin, SOUTH)) as db:
        bring(db)
    found = admin.execute("select tenant_id, version, created_version, status from orgs")
    assert found.fetchall() == [(SOUTH, 1, 1, "active")]


@pytest.mark.parametrize("column", sorted(GIVEN_BY_THE_DOOR))
def test_who_brings_rows_in_cannot_say_whose_they_are(
    admin: Admin, database_url: str, column: str
) -> None:
    token = opened(admin, SOUTH)
    with (
        pytest.raises(InsufficientPrivilege, match="permission denied"),
        lane(database_url, SOUTH, token) as db,
    ):
        bring(db, **{column: "active" if column == "status" else NORTH})


def test_it_opens_for_the_own_open_load_alone(admin: Admin, database_url: str) -> None:
    mine, others = opened(admin, SOUTH), opened(admin, NORTH)
    for token in (None, uuid4(), others, loads.NOBODY):
        with (
            pytest.raises(InsufficientPrivilege, match="no first load is open"),
            lane(database_url, SOUTH, token) as db,
        ):
            bring(db)
    with lane(database_url, SOUTH, mine) as db:
        loads.close(db, SOUTH)
        with pytest.raises(InsufficientPrivilege, match="no first load"), db.transaction():
            bring(db)
    assert admin.execute("select count(*) from orgs").fetchone() == (0,)


def test_without_a_district_nothing_comes_in(admin: Admin, database_url: str) -> None:
    opened(admin, SOUTH)
    with connect(database_url) as db, pytest.raises((InsufficientPrivilege, NotNullViolation)):
        bring(db)


def test_rows_before_their_version_are_seen_by_their_load_alone(
    admin: Admin, database_url: str
) -> None:
    token = opened(admin, SOUTH)
    with lane(database_url, SOUTH, token) as db:
        bring(db)
        assert db.execute("select count(*) from orgs").fetchone() == (1,)
    with lane(database_url, SOUTH, None) as db:
        assert db.execute("select count(*) from orgs").fetchone() == (0,)
        assert db.execute("update orgs set name = 'y' where name = 'x'").rowcount == 0
        assert db.execute("delete from orgs where tenant_id = 2").rowcount == 0
    admin.execute("update districts set version = 1 where tenant_id = 2")
    with lane(database_url, SOUTH, None) as db:
        assert db.execute("select count(*) from orgs").fetchone() == (1,)
    with lane(database_url, NORTH, None) as db:
        assert db.execute("select count(*) from orgs").fetchone() == (0,)


def test_closing_waits_for_who_still_copies(admin: Admin, database_url: str) -> None:
    token = opened(admin, SOUTH)
    closed = threading.Event()

    def close() -> None:
        with lane(database_url, SOUTH, None) as db:
            loads.close(db, SOUTH)
        closed.set()

    with lane(database_url, SOUTH, token) as db:
        bring(db)
        waiting = threading.Thread(target=close)
        waiting.start()
        assert not closed.wait(0.3)
    waiting.join(10)
    assert closed.is_set()


@pytest.mark.parametrize("entity", ROSTERING, ids=lambda entity: entity.file)
def test_every_column_has_its_place_in_the_door_and_nothing_else_is_granted(
    admin: Admin, entity: AnyEntity
) -> None:
    door = f"rosterhub_loading.{entity.table}"
    assert {name for (name,) in admin.execute(COLUMNS, [door])} == {*expected(entity)}
    may = {
        name
        for name in expected(entity)
        if admin.execute(
            "select has_column_privilege('rosterhub_app', %s, %s, 'insert')", [door, name]
        ).fetchone()
        == (True,)
    }
    assert may == {*expected(entity)} - GIVEN_BY_THE_DOOR
    for privilege in ("select", "update", "delete", "truncate", "references", "trigger"):
        query = "select has_table_privilege('rosterhub_app', %s, %s)"
        assert admin.execute(query, [door, privilege]).fetchone() == (False,), privilege
    query = "select has_any_column_privilege('rosterhub_control', %s, 'insert')"
    assert admin.execute(query, [door]).fetchone() == (False,)
