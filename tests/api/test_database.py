"""The pools: safe roles only, one tenant at a time, and outages that pass."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from api.database import APP, LOOKS, PATIENCE, Database, UnsafeRole, refuse_unsafe
from tests.api.conftest import Books, Client, District, Relay, Serve

Seen = TypeVar("Seen")


@pytest.fixture
def database(database_url: str) -> Database:
    return Database(database_url, size=2, query_timeout=1)


async def opened(database: Database, use: Callable[[], Awaitable[Seen]]) -> Seen:
    await database.open()
    try:
        return await use()
    finally:
        await database.close()


def test_a_tenant_sees_its_own_rows_and_no_tenant_sees_none(
    database: Database, north: District, south: District
) -> None:
    async def use() -> list[Any]:
        seen = []
        for tenant_id in (north.tenant_id, south.tenant_id, 0):
            async with database.tenant(tenant_id) as connection:
                cursor = await connection.execute("select id from districts")
                seen.append([row["id"] for row in await cursor.fetchall()])
        return seen

    assert asyncio.run(opened(database, use)) == [["north"], ["south"], []]


def test_a_session_tenant_does_not_reach_the_next_request(database: Database) -> None:
    async def use() -> set[str]:
        seen = set()
        for _ in range(5):
            async with database.lookup() as connection:
                cursor = await connection.execute(
                    "select current_setting('rosterhub.tenant_id', true) as tenant"
                )
                seen |= {row["tenant"] or "" for row in await cursor.fetchall()}
                await connection.execute("select set_config('rosterhub.tenant_id', '7', false)")
        return seen

    assert asyncio.run(opened(database, use)) == {""}


def test_a_snapshot_sees_one_state_and_writes_nothing(
    database: Database, north: District, books: Books
) -> None:
    async def use() -> None:
        async with database.tenant(north.tenant_id, snapshot=True) as connection:
            cursor = await connection.execute("select version from districts")
            assert await cursor.fetchone() == {"version": 0}
            books.publish(north.tenant_id, {}, "2026-04-01T00:00:00Z")
            cursor = await connection.execute("select version from districts")
            assert await cursor.fetchone() == {"version": 0}
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                await connection.execute("update districts set version = 9")

    asyncio.run(opened(database, use))


def test_a_query_that_takes_too_long_is_ended(database: Database, north: District) -> None:
    async def use() -> None:
        async with database.tenant(north.tenant_id) as connection:
            with pytest.raises(psycopg.errors.QueryCanceled):
                await connection.execute("select pg_sleep(5)")

    asyncio.run(opened(database, use))


def test_a_look_up_asks_another_connection_where_one_has_died(
    database: Database, database_url: str
) -> None:
    async def use() -> list[list[Any]]:
        seen = []
        for _ in range(3):
            look = [database.look("select pg_backend_pid() as pid") for _ in range(LOOKS)]
            seen.append([row["pid"] for rows in await asyncio.gather(*look) for row in rows])
            with psycopg.connect(database_url) as superuser:
                superuser.execute(
                    "select pg_terminate_backend(pid, 2000) from unnest(%s) as pid", seen[-1:]
                )
        return seen

    first, second, third = asyncio.run(opened(database, use))
    assert not {*first} & {*second}
    assert not {*second} & {*third}


@pytest.mark.parametrize("power", ["superuser", "bypassrls", "owner"])
def test_a_role_that_looks_past_row_level_security_is_refused(
    database_url: str, power: str
) -> None:
    role = f"unsafe_{power}"
    grants = {
        "superuser": f"alter role {role} superuser",
        "bypassrls": f"alter role {role} bypassrls",
        "owner": f"grant rosterhub_owner to {role} with inherit true",
    }
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"create role {role} login inherit")
        try:
            if power == "owner" and admin.info.server_version < 160000:
                grants["owner"] = f"grant rosterhub_owner to {role}"
            admin.execute(grants[power])

            async def check() -> None:
                async with await psycopg.AsyncConnection.connect(
                    database_url, autocommit=True, row_factory=psycopg.rows.dict_row
                ) as connection:
                    await connection.execute(SQL("set role {}").format(Identifier(role)))
                    await refuse_unsafe(connection)

            with pytest.raises(UnsafeRole):
                asyncio.run(check())
        finally:
            admin.execute(f"drop role {role}")


def test_the_serving_role_is_checked_before_the_first_request(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"alter role {APP} bypassrls")
        try:
            database = Database(database_url, size=1, query_timeout=1)
            with pytest.raises(UnsafeRole):
                asyncio.run(database.open())
        finally:
            admin.execute(f"alter role {APP} nobypassrls")


def test_gunicorn_stops_rather_than_serve_with_an_unsafe_role(
    serve: Serve, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"alter role {APP} bypassrls")
        try:
            with pytest.raises(AssertionError, match="UnsafeRole"):
                serve()
        finally:
            admin.execute(f"alter role {APP} nobypassrls")


def test_after_a_restart_the_first_who_asks_is_answered(database_url: str, books: Books) -> None:
    """However many connections have died meanwhile, and each of them in its own pool."""
    many = 5
    database = Database(database_url, size=many, query_timeout=5)

    async def use() -> float:
        async with AsyncExitStack() as used:
            for _ in range(many):
                await used.enter_async_context(database.tenant(0))
        with books.connected("none") as admin:
            ended = admin.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
            assert ended.rowcount > many
        began = time.monotonic()
        async with database.tenant(0), database.control():
            return time.monotonic() - began

    assert asyncio.run(opened(database, use)) < PATIENCE


def test_an_absent_server_is_an_outage_and_not_the_end(
    hub_behind: Callable[[Relay], Client],
    north: District,
    relay: Relay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.database.PATIENCE", 0.5)  # each refusal below waits for it
    relay.cut()
    with hub_behind(relay) as hub:
        assert hub.get("/health/live").status_code == 200
        assert hub.get("/health/ready").status_code == 503
        away = hub.get("/api/v1/imports", north.key)
        assert (away.status_code, away.headers["Retry-After"]) == (429, "5")
        assert away.json["code"] == "server_busy"
        away = hub.get("/ims/oneroster/rostering/v1p2/orgs", north.key)
        assert away.status_code == 429
        relay.mend()
        deadline = time.monotonic() + 10
        while hub.get("/health/ready").status_code != 200:
            assert time.monotonic() < deadline
        assert hub.get("/api/v1/imports", north.key).status_code == 200
        relay.cut()
        assert hub.get("/api/v1/imports", north.key).status_code == 429
        relay.mend()
        while hub.get("/api/v1/imports", north.key).status_code != 200:
            assert time.monotonic() < deadline + 20
