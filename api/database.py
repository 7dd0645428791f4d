"""The way to PostgreSQL: one pool per role, and one context manager that opens a tenant.

Every connection takes its role, search path and time limits when it is made, and is refused when
the role could look past row-level security. A database that is away is an outage of the moment,
never a reason not to start: the pools try again whenever somebody asks.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, LiteralString, TypeAlias
from weakref import WeakKeyDictionary

import psycopg
import structlog
from psycopg import AsyncConnection, IsolationLevel
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from schemas.statements import load

SQL = load("api", "database.sql")
APP = "rosterhub_app"
CONTROL = "rosterhub_control"

CONNECT = 2  # seconds for one attempt to connect
PATIENCE = 2.0  # seconds to wait for a connection before a request is told to come back
MOMENT = 0.25  # seconds; no restart of PostgreSQL is that short
READY = 2  # connections that a pool has from the beginning
LOOKS = 2  # connections for what every request looks up; one fetch of a kind runs at a time

Connection: TypeAlias = AsyncConnection[DictRow]
Pool: TypeAlias = AsyncConnectionPool[Connection]
Reset: TypeAlias = Callable[[Connection], Awaitable[None]]

log = structlog.get_logger()


async def leave_tenant(connection: AsyncConnection[Any]) -> None:
    """Whatever a request did to the session's tenant, the next one starts without."""
    await connection.execute(SQL["leave_tenant"])


class UnsafeRole(Exception):
    """The serving role is superuser, owner of the roster or BYPASSRLS: tenants would leak."""


class Database:
    """The pools of one process."""

    def __init__(self, url: str, *, size: int, query_timeout: float, ready: int = READY) -> None:
        """Pools of at most `size` connections; `ready` of them are made before anybody asks."""
        self._url = url
        self._ready = ready
        self._milliseconds = str(round(query_timeout * 1000))
        self._app = self._pool(APP, size)
        self._control = self._pool(CONTROL, max(2, size // 2))
        # What reads a snapshot sets nothing that outlives it, and comes back at once.
        self._reads = self._pool(APP, size, reset=None)
        self._used: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        self._looks = self._pool(CONTROL, LOOKS, reset=None)

    async def open(self) -> None:
        """Start connecting; refuse an unsafe role at once, tolerate an absent server."""
        try:
            await self._check()
        except psycopg.Error as error:
            log.warning("database_away", error=type(error).__name__)
        await self._app.open()
        await self._reads.open()
        await self._control.open()
        await self._looks.open()

    async def close(self) -> None:
        """Give every connection back."""
        await self._app.close()
        await self._reads.close()
        await self._control.close()
        await self._looks.close()

    @asynccontextmanager
    async def tenant(
        self, tenant_id: int, *, snapshot: bool = False, piped: bool = False
    ) -> AsyncIterator[Connection]:
        """A transaction as one district; `snapshot` reads one state of it and writes nothing.

        What is `piped` is a snapshot, too, and goes to the server together, up to where somebody
        waits for rows. What was asked for last may be fetched behind it.
        """
        if piped:
            async with self._snapshot(tenant_id) as connection:
                yield connection
            return
        async with alive(self._app) as connection:
            await connection.set_isolation_level(
                IsolationLevel.REPEATABLE_READ if snapshot else IsolationLevel.READ_COMMITTED
            )
            await connection.set_read_only(snapshot)
            async with connection.transaction():
                await connection.execute(SQL["enter_tenant"], [str(tenant_id)])
                yield connection

    @asynccontextmanager
    async def _snapshot(self, tenant_id: int) -> AsyncIterator[Connection]:
        """The same in a pipeline from beginning to end.

        psycopg's own transaction waits for the server twice at its end, and has half a dozen
        contexts: a tenth of what a page costs.
        """
        async with alive(self._reads, self._used) as connection:
            try:
                async with connection.pipeline():
                    await connection.execute(SQL["begin_snapshot"])
                    await connection.execute(SQL["enter_tenant"], [str(tenant_id)])
                    yield connection
                    await connection.execute(SQL["end_snapshot"])
            except BaseException:
                with suppress(psycopg.Error):
                    await connection.rollback()
                raise
            self._used[connection] = time.monotonic()

    @asynccontextmanager
    async def control(self) -> AsyncIterator[Connection]:
        """A transaction of what knows no district yet."""
        async with alive(self._control) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def lookup(self) -> AsyncIterator[Connection]:
        """The same for a single statement, which needs no transaction around it."""
        async with alive(self._control) as connection:
            yield connection

    async def look(
        self, statement: LiteralString, parameters: Sequence[object] = ()
    ) -> list[DictRow]:
        """The rows of what every request looks up before a district is known, in one round trip.

        Nobody looks at these connections before and after; one that a restart of PostgreSQL has
        killed is known by its use, and another one is asked.
        """
        for _ in range(LOOKS):
            async with self._looks.connection() as connection:
                try:
                    return await rows_of(connection, statement, parameters)
                except psycopg.OperationalError:
                    if not connection.closed:
                        raise
        async with self._looks.connection() as connection:
            return await rows_of(connection, statement, parameters)

    async def _check(self) -> None:
        connection: Connection = await AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=CONNECT, row_factory=dict_row
        )
        async with connection:
            await self._configure(APP)(connection)

    def _pool(self, role: str, size: int, *, reset: Reset | None = leave_tenant) -> Pool:
        return AsyncConnectionPool(
            self._url,
            connection_class=AsyncConnection[DictRow],
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": CONNECT,
            },
            min_size=min(self._ready, size),
            max_size=size,
            open=False,
            configure=self._configure(role),
            reset=reset,
            name=role if reset else f"{role} looks",
            timeout=PATIENCE,
            # Short: a pool that gave up tries again for the next request, not minutes later.
            reconnect_timeout=PATIENCE,
        )

    def _configure(self, role: str) -> Callable[[Connection], Awaitable[None]]:
        async def configure(connection: Connection) -> None:
            await connection.execute(SQL["take_role"], [role, self._milliseconds])
            await refuse_unsafe(connection)

        return configure


async def rows_of(
    connection: Connection, statement: LiteralString, parameters: Sequence[object]
) -> list[DictRow]:
    """Every row of a statement."""
    cursor = await connection.execute(statement, parameters)
    return await cursor.fetchall()


@asynccontextmanager
async def alive(
    pool: Pool, used: Mapping[Connection, float] | None = None
) -> AsyncIterator[Connection]:
    """A connection of the pool that answers; one that was `used` a moment ago is believed.

    After a restart of PostgreSQL all that waits in the pool is dead, so who meets one of them has
    all looked at. The pool's own look before use would meet one after the other, pause a second and
    more between them, and after three have no patience left though the server is long there.
    """
    async with AsyncExitStack() as lent:
        connection = await lent.enter_async_context(pool.connection())
        try:
            if used is None or time.monotonic() - used.get(connection, 0.0) > MOMENT:
                await pool.check_connection(connection)
        except psycopg.OperationalError:
            await lent.aclose()
            await pool.check()
            connection = await lent.enter_async_context(pool.connection())
        yield connection


async def refuse_unsafe(connection: Connection) -> None:
    """Refuse a current role that row-level security does not bind."""
    cursor = await connection.execute(SQL["role_is_unsafe"])
    row = await cursor.fetchone()
    if row is None or row["unsafe"]:
        raise UnsafeRole
