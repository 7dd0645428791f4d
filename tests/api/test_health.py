"""Probes: alive, ready, and what runs here."""

import psycopg

from tests.api.conftest import Client, District, Serve


def test_a_ready_gateway_names_its_services(hub: Client) -> None:
    assert hub.get("/health/live").json == {"status": "ok"}
    ready = hub.get("/health/ready")
    assert (ready.status_code, ready.json) == (
        200,
        {"status": "ok", "postgresql": "migrated", "redis": "reachable"},
    )
    assert set(hub.get("/health").json) == {"status", "version", "python", "process", "since"}


def test_a_database_that_lacks_a_migration_is_not_ready(hub: Client, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("delete from public._yoyo_migration where migration_id like '0003%'")
        assert hub.get("/health/ready").status_code == 503
        admin.execute("drop table public._yoyo_migration cascade")
    ready = hub.get("/health/ready")
    assert (ready.status_code, ready.json["postgresql"]) == (503, "not migrated")


def test_redis_is_comfort_and_not_readiness(serve: Serve, north: District) -> None:
    server = serve(redis_url="redis://127.0.0.1:1/0")
    ready = server.request("GET", "/health/ready", north.key)
    assert (ready.status_code, ready.json()["redis"]) == (200, "unreachable")
