"""Real servers for the whole suite: one PostgreSQL and one Redis, started once.

Each test that asks for `database_url` gets a clone of a migrated template, so that it may use as
many connections and roles as the product does. Nothing here is a stand-in for anything.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr
from redis import Redis as RedisClient

from deploy.local.account import CannotStart
from deploy.local.postgres import VERSIONS, Postgres
from deploy.local.redis import Redis
from deploy.local.server import Server
from migrations import runner
from schemas.settings import Settings

ROOT = Path(__file__).parents[1]
S = TypeVar("S", bound=Server)
RUNS = 20  # at the same time
SERVERS = ROOT / ".rosterhub" / "tests"
# A test database may lose what it wants: durability is what tests/acceptance looks at, on its own.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        choices=list(VERSIONS),
        default=list(VERSIONS)[-1],
        help="server version of the suite",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"PostgreSQL {config.getoption('--postgres')}, psycopg {psycopg.__version__}"


@contextmanager
def unused(server_in: Callable[[Path], S]) -> Iterator[S]:
    """A server of this run's own: a suite that runs at the same time has taken another folder."""
    for number in count(1):
        folder = SERVERS / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        server = server_in(folder)
        try:
            server.start()
        except CannotStart:
            if number == RUNS:
                raise
        else:
            break
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    version = request.config.getoption("--postgres")
    with unused(
        lambda folder: Postgres(folder / f"postgres-{version}", settings=FAST, version=version)
    ) as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> Iterator[str]:
    name = f"template_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(SQL("create database {}").format(Identifier(name)))
        runner.up(renamed(postgres.url, name))
        yield name
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture
def database_url(postgres: Postgres, template: str) -> Iterator[str]:
    """An empty, migrated database; its login is the superuser of the test server."""
    name = f"test_{uuid4().hex[:12]}"
    clone = SQL("create database {} template {}")
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(clone.format(Identifier(name), Identifier(template)))
        admin.execute(
            SQL("grant temporary on database {} to rosterhub_app").format(Identifier(name))
        )
        yield renamed(postgres.url, name)
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def renamed(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return f"{url.rsplit('/', 1)[0]}/{name}"


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with unused(lambda folder: Redis(folder / "redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis: Redis) -> str:
    """An empty Redis."""
    with RedisClient.from_url(redis.url) as client:
        client.flushall()
    return redis.url


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        object_store=str(tmp_path / "objects"),
        secret_key=SecretStr("a secret of the tests that is long enough to be one"),
        export_processes=0,  # but where exports are looked at
        lease=2.0,
        poll=0.2,
        metrics_port=0,
        port=0,
        rate_limit=1_000_000,  # who tests limits sets one
    )
