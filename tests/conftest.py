"""Real servers for the whole suite: one PostgreSQL and one Redis, started once.

Each test that asks for `database_url` gets a database of its own, migrated and empty, so that it
may use as many connections and roles as the product does. Nothing here is a stand-in for anything.
"""

import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr
from redis import Redis as RedisClient

from deploy.local.account import CannotStart
from deploy.local.postgres import VERSIONS, Postgres
from deploy.local.redis import Redis
from deploy.local.server import Server
from migrations import runner
from schemas.settings import Settings
from tests.databases import Shelf, renamed

ROOT = Path(__file__).parents[1]
S = TypeVar("S", bound=Server)
RUNS = 20  # at the same time
SERVERS = ROOT / ".rosterhub" / "tests"
MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory. Imports make and drop thousands of temporary tables, and ext4
looks for an inode among all that were deleted lately: a third of the time of a test went there."""
ROOM = 2 * 1024**3  # bytes that have to be free there
WAITING = {"test_dev.py"}
"""Files that start whole hubs, besides those in `acceptance`."""
EARLY = 0.8
"""After which share of the other files the last of them begins."""
COLLECT = 20_000, 20, 50
"""New objects until a collection, and how seldom one looks at older ones."""
# A test database may lose what it wants: durability is what tests/acceptance looks at, on its own.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
FAST |= {"max_wal_size": "256MB"}  # it may lie in memory


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        choices=list(VERSIONS),
        default=list(VERSIONS)[-1],
        help="server version of the suite",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"PostgreSQL {config.getoption('--postgres')}, psycopg {psycopg.__version__}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lay the files that mostly wait evenly among those that work, for two files run at a time.

    None of them comes last: the other process would have nothing left to do.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting = [path for path in files if path.parent.name == "acceptance" or path.name in WAITING]
    others = [path for path in files if path not in waiting]
    step = len(others) * EARLY / max(len(waiting), 1)
    places = {path: float(number) for number, path in enumerate(others)}
    places |= {path: number * step - 0.5 for number, path in enumerate(waiting)}
    items[:] = [item for path in sorted(files, key=places.__getitem__) for item in files[path]]


def pytest_collection_finish() -> None:
    """Leave what is loaded by now alone: thousands of tests are a heap that takes long to search
    for garbage, over and over, and a quarter of the time of many tests went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


@contextmanager
def unused(name: str, server_in: Callable[[Path], S]) -> Iterator[S]:
    """A server of this run's own: a suite that runs at the same time has taken another folder."""
    place = in_memory() or SERVERS
    for number in count(1):
        folder = place / str(number) / name
        folder.parent.mkdir(parents=True, exist_ok=True)
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
        if place != SERVERS:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # others are there
                folder.parent.rmdir()
                place.rmdir()


def in_memory() -> Path | None:
    """A folder of this checkout's own in memory, where there is such a thing with enough room."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        return None
    return MEMORY / f"rosterhub-tests-{sha256(str(ROOT).encode()).hexdigest()[:12]}"


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    version = request.config.getoption("--postgres")
    with unused(
        f"postgres-{version}",
        lambda folder: Postgres(folder, settings=FAST, version=version),
    ) as server:
        ease(server)
        yield server


def ease(server: Postgres) -> None:
    """Let a connection cost half: thousands are made, and nobody here guesses the password."""
    password = conninfo_to_dict(server.url)["password"]
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("set scram_iterations = 1")
        admin.execute(SQL("alter role current_user password {}").format(password))


@pytest.fixture(scope="session")
def template(postgres: Postgres) -> Iterator[str]:
    name = f"template_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(SQL("create database {}").format(Identifier(name)))
        runner.up(renamed(postgres.url, name))
        yield name
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture(scope="session")
def shelf(postgres: Postgres, template: str) -> Iterator[Shelf]:
    with Shelf(postgres.url, template) as shelf:
        yield shelf


@pytest.fixture
def database_url(shelf: Shelf) -> Iterator[str]:
    """An empty, migrated database; its login is the superuser of the test server."""
    with shelf.lent() as url:
        yield url


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with unused("redis", Redis) as server:
        yield server


@pytest.fixture(scope="session")
def redis_line(redis: Redis) -> Iterator[RedisClient]:
    """To make one takes longer than what is asked over it."""
    with RedisClient.from_url(redis.url) as client:
        yield client


@pytest.fixture
def redis_url(redis: Redis, redis_line: RedisClient) -> str:
    """An empty Redis."""
    redis_line.flushall()
    return redis.url


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    return settings_on(database_url, redis_url, tmp_path)


def settings_on(database_url: str, redis_url: str, folder: Path) -> Settings:
    """Those of a hub on these servers."""
    return Settings(
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        object_store=str(folder / "objects"),
        secret_key=SecretStr("a secret of the tests that is long enough to be one"),
        export_processes=0,  # but where exports are looked at
        lease=2.0,
        poll=0.2,
        metrics_port=0,
        port=0,
        rate_limit=1_000_000,  # who tests limits sets one
    )
