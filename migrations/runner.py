"""Bring a database to the newest migration, or say how far it is.

yoyo keeps the books. Each migration is one transaction under a lock timeout: a migration that
must wait behind a long reader gives up instead of blocking everyone behind it, and is run again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import NamedTuple

import psycopg
import yoyo
from psycopg.conninfo import conninfo_to_dict
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import MigrationList, default_migration_table

# The books stay in public even where the login is called like our schema.
OPTIONS = "-c lock_timeout=2s -c search_path=public"
LOCK = 0x726F_7374  # "rost": two migrating processes take turns


class Status(NamedTuple):
    """A migration and whether it is applied."""

    id: str
    applied: bool


def up(url: str) -> list[str]:
    """Apply what is missing, in order; answer the names of what was applied."""
    with opened(url) as (backend, migrations):
        missing = backend.to_apply(migrations)
        backend.apply_migrations(missing)
        return [migration.id for migration in missing]


def status(url: str) -> list[Status]:
    """Every migration, in order."""
    with opened(url) as (backend, migrations):
        missing = {migration.id for migration in backend.to_apply(migrations)}
        return [Status(migration.id, migration.id not in missing) for migration in migrations]


@contextmanager
def opened(url: str) -> Iterator[tuple[PostgresqlPsycopgBackend, MigrationList]]:
    """The books of the database beside the migrations that ship with the code.

    The advisory lock ends with its connection. yoyo's own lock is a row that a killed process
    leaves behind; under the advisory lock such a row is nobody's.
    """
    with psycopg.connect(url, autocommit=True) as guard:
        guard.execute("select pg_advisory_lock(%s)", [LOCK])
        backend = PostgresqlPsycopgBackend(dburi(url), default_migration_table)
        try:
            backend.init_database()
            backend.break_lock()
            yield backend, yoyo.read_migrations(str(resources.files("migrations") / "sql"))
        finally:
            backend.connection.close()


def dburi(url: str) -> DatabaseURI:
    """A libpq URL in yoyo's terms."""
    parts = conninfo_to_dict(url)
    return DatabaseURI(
        scheme="postgresql+psycopg",
        username=parts.pop("user", None),
        password=parts.pop("password", None),
        hostname=parts.pop("host", None),
        port=int(parts.pop("port", None) or 5432),
        database=str(parts.pop("dbname", "")),
        args={**parts, "options": OPTIONS},
    )
