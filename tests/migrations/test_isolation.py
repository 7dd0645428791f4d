"""A district sees itself and nobody else, whatever is tried as the roles that serve."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import psycopg
import pytest
from psycopg.errors import GeneratedAlways, InsufficientPrivilege
from psycopg.sql import SQL, Composed, Identifier

from pipeline.database import Role, TooPowerful, connect, tenant

Admin: TypeAlias = psycopg.Connection[Any]
As: TypeAlias = Callable[[Role], AbstractContextManager[Admin]]
Insert: TypeAlias = Callable[..., None]
NORTH, SOUTH = 1, 2
NOT_FOR_THE_APP = {"client_secrets", "cors_origins", "keys"}
CONTROL_READS = {
    *("audit_chains", "clients", "districts", "mapping_previews", "runs"),
    *("webhook_deliveries", "webhooks"),
    *("feed_followers", "feed_progress", "feed_sums"),
    *("exports", "schedules", "loads"),
    *NOT_FOR_THE_APP,
}


@pytest.fixture
def admin(database_url: str) -> Iterator[Admin]:
    """The superuser, whom nothing binds: what it writes is there for the others."""
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute("set search_path = rosterhub")
        yield db


@pytest.fixture
def speaking_as(database_url: str) -> As:
    """A connection as one of the product's roles."""
    return lambda role: connect(database_url, role=role)


@pytest.fixture
def two_districts(admin: Admin, tenant_tables: list[str], insert: Insert) -> None:
    """A row of each of two districts in every table."""
    admin.execute("set session_replication_role = replica")  # rows come in any order
    for table in tenant_tables:
        for tenant_id in (NORTH, SOUTH):
            insert(admin, table, tenant_id)
    admin.execute("reset session_replication_role")


class TestControlRole:
    @pytest.mark.usefixtures("two_districts")
    def test_what_it_may_not_read_is_refused_with_a_tenant_and_without(
        self, speaking_as: As, tenant_tables: list[str]
    ) -> None:
        with speaking_as("rosterhub_control") as db:
            for table in {*tenant_tables} - CONTROL_READS:
                query = SQL("select from {}").format(Identifier(table))
                with pytest.raises(InsufficientPrivilege):
                    db.execute(query)
                with pytest.raises(InsufficientPrivilege), tenant(db, NORTH):
                    db.execute(query)
            with pytest.raises(InsufficientPrivilege):
                db.execute("select idempotency_key from runs")
            assert db.execute("select count(*) from runs").fetchone() == (2,)

    def test_it_writes_neither_roster_nor_version(self, speaking_as: As) -> None:
        with speaking_as("rosterhub_control") as db:
            for statement in (
                "update districts set version = 7",
                "update runs set state = 'queued'",
                "delete from runs",
                "insert into uploads default values",
                "update keys set hash = ''",
            ):
                with pytest.raises(InsufficientPrivilege):
                    db.execute(statement)


@pytest.mark.usefixtures("two_districts")
class TestRows:
    """Every table holds a row of the north and a row of the south; the south is speaking."""

    def test_no_tenant_set_means_no_rows(self, speaking_as: As, tenant_tables: list[str]) -> None:
        with speaking_as("rosterhub_app") as db:
            assert seen(db, tenant_tables) == {}
            with tenant(db, SOUTH):
                pass
            assert seen(db, tenant_tables) == {}  # the setting is '' now, not absent

    def test_only_the_own_rows_are_seen(self, speaking_as: As, tenant_tables: list[str]) -> None:
        with speaking_as("rosterhub_app") as db, tenant(db, SOUTH):
            tables = readable(db, tenant_tables)
            assert seen(db, tenant_tables) == {table: [(SOUTH,)] for table in tables}
            assert {*tenant_tables} - {*tables} == NOT_FOR_THE_APP

    def test_a_row_of_another_district_cannot_be_inserted(
        self, admin: Admin, speaking_as: As, tenant_tables: list[str], insert: Insert
    ) -> None:
        emptied(admin, tenant_tables)
        with speaking_as("rosterhub_app") as db:
            for table in tenant_tables:
                with pytest.raises(InsufficientPrivilege), tenant(db, SOUTH):
                    insert(db, table, NORTH)

    def test_a_row_of_another_district_cannot_be_changed_or_deleted(
        self, admin: Admin, speaking_as: As, tenant_tables: list[str]
    ) -> None:
        before = everything(admin, tenant_tables)
        with speaking_as("rosterhub_app") as db:
            for table in tenant_tables:
                name = Identifier(table)
                column = Identifier("version" if table == "districts" else "tenant_id")
                set_ = SQL("update {} set {c} = {c} where tenant_id = 1").format(name, c=column)
                assert touched(db, set_) == 0
                assert touched(db, SQL("delete from {} where tenant_id = 1").format(name)) == 0
        assert everything(admin, tenant_tables) == before

    def test_an_own_row_cannot_be_given_to_another_district(
        self, speaking_as: As, tenant_tables: list[str]
    ) -> None:
        with speaking_as("rosterhub_app") as db:
            for table in tenant_tables:
                give = SQL("update {} set tenant_id = 1").format(Identifier(table))
                refusal = GeneratedAlways if table == "districts" else InsufficientPrivilege
                with pytest.raises(refusal), tenant(db, SOUTH):
                    db.execute(give)

    def test_a_forgotten_condition_still_meets_the_own_rows_only(
        self, admin: Admin, speaking_as: As
    ) -> None:
        with speaking_as("rosterhub_app") as db, tenant(db, SOUTH):
            assert db.execute("delete from users").rowcount == 1
        assert admin.execute("select tenant_id from users").fetchall() == [(NORTH,)]

    def test_the_tenant_ends_with_its_transaction(self, speaking_as: As) -> None:
        with speaking_as("rosterhub_app") as db:
            with tenant(db, NORTH):
                assert db.execute("select count(*) from users").fetchone() == (1,)
            assert db.execute("select count(*) from users").fetchone() == (0,)


def seen(db: Admin, tables: list[str]) -> dict[str, list[tuple[int]]]:
    rows = {
        table: db.execute(SQL("select tenant_id from {}").format(Identifier(table))).fetchall()
        for table in readable(db, tables)
    }
    return {table: found for table, found in rows.items() if found}


def readable(db: Admin, tables: list[str]) -> list[str]:
    """The tables that the role may read at all: keys are none of the app's business."""
    return [
        table
        for table in tables
        if db.execute("select has_table_privilege(%s, 'select')", [table]).fetchone() == (True,)
    ]


def touched(db: Admin, statement: Composed) -> int:
    """How many rows the south meets; a right that it lacks altogether meets none."""
    try:
        with tenant(db, SOUTH):
            return db.execute(statement).rowcount
    except InsufficientPrivilege:
        return 0


def everything(admin: Admin, tables: list[str]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        table: admin.execute(
            SQL("select xmin::text, t.* from {} as t order by tenant_id").format(Identifier(table))
        ).fetchall()
        for table in tables
    }


def emptied(admin: Admin, tables: list[str]) -> None:
    admin.execute(SQL("truncate {}").format(SQL(", ").join(map(Identifier, tables))))


def test_serving_as_a_superuser_or_without_row_security_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute("create role rosterhub_planted bypassrls")
        try:
            with pytest.raises(TooPowerful):
                connect(database_url, role="rosterhub_planted")  # type: ignore[arg-type]
        finally:
            db.execute("drop role rosterhub_planted")


def test_copy_cannot_go_around_the_policy(speaking_as: As) -> None:
    with (
        speaking_as("rosterhub_app") as db,
        pytest.raises(psycopg.errors.FeatureNotSupported),
        tenant(db, SOUTH),
        db.cursor().copy("copy orgs from stdin"),
    ):
        pass
