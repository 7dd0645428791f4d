"""Connections as the app role, and the one way into a tenant's rows.

Connections are autocommit; a transaction is always a visible `with`. The role is switched when
the connection is made, so row-level security binds everything that runs on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, LiteralString, TypeAlias

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Composed, Identifier

Connection: TypeAlias = psycopg.Connection[TupleRow]
Params: TypeAlias = Sequence[Any] | Mapping[str, Any]
Role: TypeAlias = Literal["rosterhub_app", "rosterhub_control"]

# A killed worker must not leave its statement running, nor a vanished machine its locks: the server
# looks every second whether the client is still there, and gives up a silent one after 30 seconds.
OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "client_connection_check_interval=1000",
        "tcp_keepalives_idle=10",
        "tcp_keepalives_interval=5",
        "tcp_keepalives_count=4",
        "tcp_user_timeout=30000",
        "timezone=UTC",
    )
)


def connect(url: str, *, role: Role = "rosterhub_app", name: str = "rosterhub") -> Connection:
    """A connection that has put down every right but the role's."""
    db = psycopg.connect(url, autocommit=True, options=OPTIONS, application_name=name)
    try:
        db.execute(SQL("set role {}").format(Identifier(role)))
        db.execute("set search_path = rosterhub, pg_temp")
        refuse_powerful(db)
    except BaseException:
        db.close()
        raise
    return db


def beside(db: Connection, *, name: str) -> Connection:
    """A second connection like this one, with a transaction of its own."""
    return connect(make_conninfo(**db.info.get_parameters(), password=db.info.password), name=name)


def refuse_powerful(db: Connection) -> None:
    """Row-level security binds neither a superuser nor BYPASSRLS: refuse to serve as one."""
    (powerful,) = one(
        db, "select rolsuper or rolbypassrls from pg_roles where rolname = current_user"
    )
    if powerful:
        raise TooPowerful


class TooPowerful(Exception):
    """The serving role may bypass row-level security."""


@contextmanager
def tenant(db: Connection, tenant_id: int) -> Iterator[None]:
    """A transaction that sees one district."""
    with db.transaction():
        db.execute("select set_config('rosterhub.tenant_id', %s, true)", [str(tenant_id)])
        yield


def one(
    db: Connection, query: LiteralString | SQL | Composed, params: Params | None = None
) -> TupleRow:
    """The only row of a query that always has one."""
    row = db.execute(query, params).fetchone()
    if row is None:
        raise LookupError(str(query))
    return row
