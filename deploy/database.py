"""The database as the command line meets it: one connection, and failures in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from deploy.messages import DATABASE_UNREACHABLE, Failure


@contextmanager
def translated() -> Iterator[None]:
    """Say in a sentence what PostgreSQL could not do. Its own words hold no password."""
    try:
        yield
    except psycopg.Error as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise Failure(DATABASE_UNREACHABLE, reason=first) from error


@contextmanager
def reached(url: str) -> Iterator[psycopg.Connection]:
    """A connection whose work is committed at the end."""
    with translated(), psycopg.connect(url, connect_timeout=5) as connection:
        yield connection
