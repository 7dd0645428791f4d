"""The servers of one developer: real, private, and gone when they should be."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local import CannotStart, Postgres, Redis, processes, servers
from deploy.local.account import unprivileged
from deploy.local.postgres import VERSIONS

QUICK = {"fsync": "off"}  # for a test, the page cache is disk enough


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every account can reach, so that root leaves nothing outside it."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def running_postgres(folder: Path) -> Iterator[Postgres]:
    with Postgres(folder / "postgres", settings=QUICK) as server:
        yield server


@pytest.fixture(scope="module")
def running_redis(folder: Path) -> Iterator[Redis]:
    with Redis(folder / "redis") as server:
        yield server


@pytest.fixture
def postgres(running_postgres: Postgres) -> Postgres:
    running_postgres.start()
    return running_postgres


@pytest.fixture
def cache(running_redis: Redis) -> Redis:
    running_redis.start()
    return running_redis


def ask(server: Postgres, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(question.encode())
        return cursor.fetchall() if cursor.description else []


def client(server: Redis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def with_password(url: str, password: str) -> str:
    known = urlsplit(url).password
    assert known
    return url.replace(known, password)


def uid_of(pid: int) -> int:
    return next(process.uid for process in processes.table() if process.pid == pid)


def gone(pids: list[int]) -> bool:
    until = time.monotonic() + 10
    while any(map(processes.is_running, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(processes.is_running, pids))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_server_version_of_the_wheel_starts(folder: Path, version: str) -> None:
    with Postgres(folder / f"version-{version}", settings=QUICK, version=version) as server:
        [(number,)] = ask(server, "SHOW server_version")
    assert str(number).split(".")[0] == version


def test_the_files_of_one_version_are_not_given_to_another(folder: Path) -> None:
    with (
        pytest.raises(CannotStart, match="holds PostgreSQL 16"),
        Postgres(folder / "version-16", version="18"),
    ):
        pass


def test_the_database_is_utf8_in_the_order_of_bytes(postgres: Postgres) -> None:
    query = "SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = "
    assert ask(postgres, query + "'rosterhub'") == [("UTF8", "C")]


def test_the_login_may_create_roles(postgres: Postgres) -> None:
    ask(postgres, "CREATE ROLE visitor NOLOGIN")
    assert ask(postgres, "SELECT rolname FROM pg_roles WHERE rolname = 'visitor'") == [("visitor",)]


def test_settings_reach_the_server(postgres: Postgres) -> None:
    assert ask(postgres, "SHOW fsync") == [("off",)]


def test_rows_survive_stop_and_start(postgres: Postgres) -> None:
    ask(postgres, "CREATE TABLE kept AS SELECT 1 AS it")
    postgres.stop()
    postgres.start()
    assert ask(postgres, "SELECT it FROM kept") == [(1,)]


def test_a_killed_postgres_recovers_at_the_same_address(postgres: Postgres) -> None:
    address = postgres.url
    ask(postgres, "CREATE TABLE committed AS SELECT 2 AS it")
    with psycopg.connect(postgres.url) as busy:
        busy.execute("INSERT INTO committed VALUES (3)")
        backend = busy.info.backend_pid
        postgres.kill()
        assert gone([backend])
        with suppress(psycopg.OperationalError):
            busy.rollback()
    postgres.start()
    assert postgres.url == address
    assert ask(postgres, "SELECT it FROM committed") == [(2,)]


def test_a_postgres_killed_by_others_starts_again(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as busy:
        busy.execute("SELECT 1")
        os.kill(postgres.pid, signal.SIGKILL)
        assert gone([postgres.pid])
        postgres.start()
    assert ask(postgres, "SELECT 1") == [(1,)]


def test_keys_survive_stop_and_start(cache: Redis) -> None:
    with client(cache) as before:
        before.set("kept", "yes")
    cache.stop()
    cache.start()
    with client(cache) as after:
        assert after.get("kept") == "yes"


def test_a_killed_redis_recovers_at_the_same_address(cache: Redis) -> None:
    address = cache.url
    with client(cache) as before:
        before.set("bell", "rung")
        cache.kill()
    cache.start()
    assert cache.url == address
    with client(cache) as after:
        assert after.get("bell") == "rung"


def test_redis_never_forgets_to_make_room(cache: Redis) -> None:
    with client(cache) as connection:
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_password_is_refused(postgres: Postgres, cache: Redis, password: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(with_password(postgres.url, password), passfile="/dev/null")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(with_password(cache.url, password), retry=Retry(NoBackoff(), 0)).ping()


def test_stopping_twice_is_stopping_once(folder: Path) -> None:
    with Redis(folder / "twice") as server:
        server.stop()
        server.stop()
        assert gone([server.pid])


def test_the_usual_ports_may_be_taken(folder: Path) -> None:
    with ExitStack() as taken:
        for port in (5432, 6379):
            other = taken.enter_context(socket.socket())
            with suppress(OSError):  # somebody else has taken it already
                other.bind(("127.0.0.1", port))
                other.listen()
        with Redis(folder / "redis-beside-others") as cache, client(cache) as connection:
            assert connection.ping()
            assert cache.port not in {5432, 6379}


def test_a_port_taken_meanwhile_is_replaced(cache: Redis) -> None:
    cache.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", cache.port))
        other.listen()
        taken = cache.port
        cache.start()
        with client(cache) as connection:
            assert connection.ping()
    assert cache.port != taken


def test_without_any_redis_the_message_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.local.redis._candidates", list)
    with pytest.raises(CannotStart, match="apt install redis-server"), Redis(folder / "none"):
        pass


def test_two_runs_do_not_share_a_folder(cache: Redis, folder: Path) -> None:
    with pytest.raises(CannotStart, match="belongs to another run"), Redis(folder / "redis"):
        pass
    with client(cache) as connection:
        assert connection.ping()


def test_given_addresses_are_used_and_nothing_is_started(tmp_path: Path) -> None:
    with servers(tmp_path, database_url="postgresql://db", redis_url="redis://cache") as given:
        assert given == ("postgresql://db", "redis://cache")
    assert list(tmp_path.iterdir()) == []


def test_no_folder_above_changes_its_mode(postgres: Postgres, folder: Path) -> None:
    above = [folder, *folder.parents, *Path(sys.executable).parents]
    before = [path.stat().st_mode for path in above]
    with Redis(folder / "modes"):
        postgres.stop()
        postgres.start()
    assert [path.stat().st_mode for path in above] == before


PARENT = """
import sys, time
from pathlib import Path
from deploy.local import Postgres, Redis
folder = Path(sys.argv[1])
with Postgres(folder / "postgres") as database, Redis(folder / "redis") as cache:
    print(database.pid, cache.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_servers_do_not_outlive_a_killed_parent(
    postgres: Postgres, cache: Redis, folder: Path
) -> None:
    postgres.stop()
    cache.stop()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, folder], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    assert gone(pids)


def test_a_server_outlives_the_thread_that_started_it(cache: Redis) -> None:
    cache.stop()
    starter = threading.Thread(target=cache.start)
    starter.start()
    starter.join()
    time.sleep(0.2)
    with client(cache) as connection:
        assert connection.ping()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a command word by word")
@pytest.mark.parametrize("kind", ["postgres", "cache"])
def test_a_server_left_over_by_an_earlier_run_is_ended(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind)
    command = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")[:-1]
    server.stop()
    owner = unprivileged()
    with subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=owner and owner.uid
    ) as orphan:
        time.sleep(0.5)
        server.start()
        assert orphan.wait(10) is not None
    assert processes.is_running(server.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends an account to the servers")
class TestAsRoot:
    def test_no_server_runs_as_root(self, postgres: Postgres, cache: Redis) -> None:
        owner = unprivileged()
        assert owner
        assert uid_of(postgres.pid) == uid_of(cache.pid) == owner.uid != 0

    def test_a_closed_project_gets_its_files_outside(self, folder: Path) -> None:
        closed = folder / "closed"
        closed.mkdir(mode=0o700)
        with Redis(closed / "redis") as server, client(server) as connection:
            assert connection.ping()
        assert closed.stat().st_mode & 0o777 == 0o700
        outside = (closed / "redis" / "kept-in").readlink()
        assert outside.stat().st_uid == 0
        shutil.rmtree(outside)
