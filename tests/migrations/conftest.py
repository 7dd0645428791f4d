"""An empty database, a migrated one, and a row for every table."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Composable, Identifier

from deploy.local.postgres import Postgres

Admin: TypeAlias = psycopg.Connection[Any]
Insert: TypeAlias = Callable[..., None]

VALUES: dict[str, Any] = {
    "text": "x",
    "bytea": b"x",
    "boolean": True,
    "integer": 1,
    "bigint": 1,
    "text[]": ["x"],
    "jsonb": "{}",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "date": "2026-04-01",
    "timestamp with time zone": "2026-04-01T00:00:00Z",
}
SPECIAL = {
    "state": "queued",
    "kind": "import",
    "status": "active",
    "cause": "request",
    "severity": "error",
    "until_version": 2,
}


@pytest.fixture
def empty_url(postgres: Postgres) -> Iterator[str]:
    """A database in which nothing has been made."""
    yield from made(postgres, SQL(""))


@pytest.fixture(scope="session")
def migrated_url(postgres: Postgres, template: str) -> Iterator[str]:
    """A migrated database for tests that leave nothing in it."""
    yield from made(postgres, SQL("template {}").format(Identifier(template)))


def made(postgres: Postgres, how: Composable) -> Iterator[str]:
    """A database of its own, dropped in the end."""
    name = f"migrations_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as db:
        db.execute(SQL("create database {} {}").format(Identifier(name), how))
        yield f"{postgres.url.rsplit('/', 1)[0]}/{name}"
        db.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture
def admin(migrated_url: str) -> Iterator[Admin]:
    """The superuser, whom nothing binds, in a transaction that is rolled back."""
    with psycopg.connect(migrated_url) as db:
        db.execute("set search_path = rosterhub")
        yield db
        db.rollback()


@pytest.fixture
def tenant_tables(admin: Admin) -> list[str]:
    """Every relation of the schema that has a tenant_id."""
    found = admin.execute("""
        select c.relname from pg_class as c join pg_attribute as a on a.attrelid = c.oid
        where c.relnamespace = 'rosterhub'::regnamespace and a.attname = 'tenant_id'
          and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f')
        order by 1
    """)
    return [name for (name,) in found]


@pytest.fixture
def row_of(admin: Admin) -> Callable[[str, int], dict[str, Any]]:
    """A row that a table accepts: a value for each column that needs one."""

    def make(table: str, tenant_id: int) -> dict[str, Any]:
        columns = admin.execute(
            """
            select attname, format_type(atttypid, atttypmod) from pg_attribute
            where attrelid = %s::regclass and attnum > 0 and not attisdropped
              and (attnotnull and not atthasdef and attidentity = '' or attname = 'tenant_id')
            """,
            [f"rosterhub.{table}"],
        )
        row = {name: SPECIAL.get(name, VALUES[kind]) for name, kind in columns}
        if table == "districts":
            row["id"] = f"district-{tenant_id}"
            row["version"] = 1  # before it nobody sees a roster
        if table == "runs":  # an import has an upload, another kind of run has none
            row["upload_id"] = VALUES["uuid"]
        return {**row, "tenant_id": tenant_id}

    return make


@pytest.fixture
def insert(row_of: Callable[[str, int], dict[str, Any]]) -> Insert:
    """Put a row into a table, with some values of our own."""

    def put(db: Admin, table: str, tenant_id: int, **own: object) -> None:
        row = {**row_of(table, tenant_id), **own}
        statement = SQL("insert into {} ({}) overriding system value values ({})").format(
            Identifier("rosterhub", table),
            SQL(", ").join(map(Identifier, row)),
            SQL(", ").join(map(SQL, ["%s"] * len(row))),
        )
        with db.transaction():  # a refusal leaves the test's own transaction alone
            db.execute(statement, [*row.values()])

    return put
