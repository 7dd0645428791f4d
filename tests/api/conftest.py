"""A gateway on real services, keys to it, and rows to read."""

import asyncio
import base64
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, ParamSpec, Self, TypeAlias, TypeVar
from urllib.parse import urlencode

import falcon.inspect
import psycopg
import pytest
import requests
from falcon.testing import ASGIConductor, Result
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from api.app import App, create_gateway
from api.database import READY, Database
from api.redis import client
from deploy.local.redis import Redis as RedisServer
from schemas.jobs import Job
from schemas.roster import BY_TABLE
from schemas.scopes import CLIENT_SCOPES, SCOPES
from schemas.secrets import Vault, new_key, random_text
from schemas.settings import Settings, plain
from tests.conftest import settings_on
from tests.databases import Saved, Shelf, emptied, restored, saved

P = ParamSpec("P")
T = TypeVar("T")
OFFICIAL = (
    Path(__file__).parents[3]
    / "shared/reference/openapi/onerosterv1p2rostersservice_openapi3_v1p0.json"
)
"""The document of the rostering service, which is not part of the repository."""

Rows: TypeAlias = list[dict[str, Any]]
Routes: TypeAlias = dict[str, list[str]]


class Life:
    """The life of an app. The conductor's own waits for its begin and end without a pause."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def begin(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        self._task = asyncio.create_task(self._app(scope, self._asked.get, self._told.put))
        await self._step("startup")

    async def end(self) -> None:
        await self._step("shutdown")
        await self._task

    async def _step(self, name: str) -> None:
        self._asked.put_nowait({"type": f"lifespan.{name}"})
        told = await self._told.get()
        assert told["type"] == f"lifespan.{name}.complete", told


class Client:
    """Speaks to an app in this process, over one event loop."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._runner = asyncio.Runner()
        self._conductor = ASGIConductor(app)
        self._life = Life(app)

    def __enter__(self) -> Self:
        self._runner.run(self._life.begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._life.end())
        self._runner.close()

    def ask(
        self,
        method: str,
        path: str,
        key: str | None = None,
        *,
        body: bytes | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
        address: str | None = None,
    ) -> Result:
        sent = dict(headers or {}) | ({"Authorization": f"Bearer {key}"} if key else {})
        answer: Result = self._runner.run(
            self._conductor.simulate_request(
                method, path, headers=sent, body=body, json=json, remote_addr=address
            )
        )
        return answer

    def ask_together(self, paths: list[str], key: str) -> list[Result]:
        """GET all of them at the same time."""

        async def all_of_them() -> list[Result]:
            sent = {"Authorization": f"Bearer {key}"}
            asked = [self._conductor.simulate_request("GET", path, headers=sent) for path in paths]
            return await asyncio.gather(*asked)

        return self._runner.run(all_of_them())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something on the loop of the app."""
        return self._runner.run(work)

    def get(
        self, path: str, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Result:
        return self.ask("GET", path, key, headers=headers)

    def post(
        self,
        path: str,
        key: str | None = None,
        *,
        body: bytes | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Result:
        return self.ask("POST", path, key, body=body, json=json, headers=headers)

    def delete(
        self, path: str, key: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Result:
        return self.ask("DELETE", path, key, headers=headers)


@dataclass(frozen=True)
class District:
    """A district with a key that may do everything in it."""

    id: str
    tenant_id: int
    key: str


@dataclass(frozen=True)
class LearningSystem:
    """A client and its secret."""

    id: str
    secret: str

    def asks(self, hub: Client, *scopes: str, address: str | None = None, **fields: str) -> Result:
        """Ask for a token."""
        form = {"grant_type": "client_credentials", "scope": " ".join(scopes)} | fields
        credentials = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
        return hub.ask(
            "POST",
            "/token",
            body=urlencode(form).encode(),
            headers={
                "Authorization": f"Basic {credentials}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            address=address,
        )

    def token(self, hub: Client, *scopes: str, address: str | None = None) -> str:
        """A token, for everything if nothing is named."""
        answer = self.asks(hub, *(scopes or CLIENT_SCOPES), address=address)
        assert answer.status_code == 200, answer.text
        return str(answer.json["access_token"])


class Books:
    """Writes what other parts of the hub write: keys, rosters, runs."""

    def __init__(self, url: str, vault: Vault) -> None:
        self.url = url
        self.vault = vault
        self._idle: list[psycopg.Connection[Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._idle:
            connection.close()

    @contextmanager
    def connected(self, role: str, tenant_id: int = 0) -> Iterator[psycopg.Connection[Any]]:
        """A transaction of its own, on a connection that is kept: to make one takes longer."""
        kept = self._idle.pop() if self._idle else psycopg.connect(self.url, autocommit=True)
        with ExitStack() as used:
            used.callback(self._idle.append, kept)
            used.enter_context(kept.transaction())
            kept.execute(
                "select set_config('role', %s, true), set_config('search_path', 'rosterhub', true),"
                " set_config('rosterhub.tenant_id', %s, true)",
                [role, str(tenant_id)],
            )
            yield kept

    def admin_key(self) -> str:
        key = new_key("admin")
        with self.connected("rosterhub_control") as connection:
            connection.execute(
                "insert into admin_keys (id, hash, expires_at) values (%s, %s, now() + '1 day')",
                [key.id, self.vault.hash(key)],
            )
        return str(key)

    def district(self, district_id: str) -> District:
        with self.connected("rosterhub_control") as connection:
            row = connection.execute(
                "insert into districts (id, name) values (%s, %s) returning tenant_id",
                [district_id, district_id.title()],
            ).fetchone()
        assert row is not None
        return District(district_id, row[0], self.key(row[0]))

    def key(self, tenant_id: int, scopes: tuple[str, ...] = SCOPES, until: str = "1 day") -> str:
        key = new_key("live")
        with self.connected("rosterhub_control") as connection:
            connection.execute(
                "insert into keys (tenant_id, id, hash, scopes, expires_at)"
                " values (%s, %s, %s, %s, now() + %s::interval)",
                [tenant_id, key.id, self.vault.hash(key), list(scopes), until],
            )
        return str(key)

    def client(self, tenant_id: int, **values: object) -> LearningSystem:
        """A client that may read everything of OneRoster, with a secret."""
        client_id, secret = random_text(16), new_key("secret")
        row = {"tenant_id": tenant_id, "id": client_id, "name": "LMS"}
        row |= {"scopes": list(CLIENT_SCOPES)} | values
        with self.connected("rosterhub_control") as connection:
            connection.execute(
                psycopg.sql.SQL("insert into clients ({}) values ({})").format(
                    psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row)),
                    psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, row)),
                ),
                row,
            )
            connection.execute(
                "insert into client_secrets (tenant_id, client_id, id, hash, expires_at)"
                " values (%s, %s, %s, %s, now() + '1 day')",
                [tenant_id, client_id, secret.id, self.vault.hash(secret)],
            )
        return LearningSystem(client_id, str(secret))

    def publish(self, tenant_id: int, rows: dict[str, Rows], at: str) -> int:
        """One version with these rows, by table."""
        with self.connected("rosterhub_app", tenant_id) as connection:
            row = connection.execute(
                "update districts set version = version + 1, published_at = %s"
                " where tenant_id = %s returning version",
                [at, tenant_id],
            ).fetchone()
            assert row is not None
            version: int = row[0]
            connection.execute(
                "insert into versions (tenant_id, version, run_id, kind, published_at, counts)"
                " values (%s, %s, gen_random_uuid(), 'import', %s, '{}')",
                [tenant_id, version, at],
            )
            for table, records in rows.items():
                for record in records:
                    self._insert(connection, table, tenant_id, version, record)
                self._count(connection, table, tenant_id)
        return version

    def _insert(
        self,
        connection: psycopg.Connection[Any],
        table: str,
        tenant_id: int,
        version: int,
        record: dict[str, Any],
    ) -> None:
        values = {
            "tenant_id": tenant_id,
            "version": version,
            "created_version": version,
            "digest": "00000000-0000-0000-0000-000000000000",
            "status": "active",
        } | {name: Jsonb(v) if isinstance(v, dict) else v for name, v in record.items()}
        query = psycopg.sql.SQL("insert into {} ({}) values ({})").format(
            psycopg.sql.Identifier(table),
            psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, values)),
            psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, values)),
        )
        connection.execute(query, values)

    def _count(self, connection: psycopg.Connection[Any], table: str, tenant_id: int) -> None:
        file = BY_TABLE[table].file
        connection.execute(
            "delete from record_counts where tenant_id = %s and entity = %s", [tenant_id, file]
        )
        connection.execute(
            psycopg.sql.SQL(
                "insert into record_counts (tenant_id, entity, status, records)"
                " select %s, %s, status, count(*) from {} where tenant_id = %s group by status"
            ).format(psycopg.sql.Identifier(table)),
            [tenant_id, file, tenant_id],
        )

    def run(self, tenant_id: int, **values: object) -> str:
        """A run as a worker would have left it."""
        with self.connected("rosterhub_app", tenant_id) as connection:
            row = connection.execute(
                "with upload as (insert into uploads (tenant_id, id, object_key, bytes, sha256)"
                " values (%(t)s, gen_random_uuid(), 'k', 1, '\\x00') returning id)"
                " insert into runs (tenant_id, id, kind, upload_id, created_by)"
                " select %(t)s, gen_random_uuid(), 'import', id, 'somebody' from upload"
                " returning id::text",
                {"t": tenant_id},
            ).fetchone()
        assert row is not None
        if values:
            self.change(tenant_id, row[0], **values)
        return str(row[0])

    def change(self, tenant_id: int, run_id: str, **values: object) -> None:
        with self.connected("rosterhub_app", tenant_id) as connection:
            sets = psycopg.sql.SQL(", ").join(
                psycopg.sql.SQL("{} = {}").format(
                    psycopg.sql.Identifier(name), psycopg.sql.Placeholder(name)
                )
                for name in values
            )
            connection.execute(
                psycopg.sql.SQL("update runs set {} where tenant_id = %(t)s and id = %(i)s").format(
                    sets
                ),
                {n: Jsonb(v) if isinstance(v, dict) else v for n, v in values.items()}
                | {"t": tenant_id, "i": run_id},
            )

    def rows(self, tenant_id: int, query: LiteralString) -> list[Any]:
        with self.connected("rosterhub_app", tenant_id) as connection:
            return connection.execute(query).fetchall()


def secret(settings: Settings) -> str:
    assert settings.secret_key is not None
    return settings.secret_key.get_secret_value()


@pytest.fixture
def books(settings: Settings) -> Iterator[Books]:
    with Books(plain(settings.database_url), Vault(secret(settings))) as books:
        yield books


class AtOnce(ThreadPoolExecutor):
    """Works before it returns, so that no test waits for a bell, or misses one."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **named: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        future.set_result(work(*args, **named))
        return future


@pytest.fixture
def jobs() -> list[Job]:
    return []


@pytest.fixture
def open_hub(
    settings: Settings, redis_url: str, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Client]:
    """A gateway in this process, on a database, with some settings changed.

    What it rings for is in `jobs`, before the answer is there. It makes connections when somebody
    asks for one, if `ready` says nothing else.
    """
    monkeypatch.setattr("api.bell.ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr("api.uploads.LET_GO", 0)  # this interpreter goes on

    def ring(job: Job, /) -> bool:
        jobs.append(job)
        return True

    def make(url: str, redis: str = redis_url, *, ready: int = 0, **changes: object) -> Client:
        gateway = create_gateway(
            settings.model_copy(update={"public_url": "https://hub.example.org/"} | changes),
            vault=Vault(secret(settings)),
            database=Database(url, size=3, query_timeout=5, ready=ready),
            redis=client(redis),
            ring=ring,
        )
        return Client(gateway.app)

    return make


@pytest.fixture
def hub(open_hub: Callable[..., Client], database_url: str) -> Iterator[Client]:
    with open_hub(database_url) as hub:
        yield hub


@pytest.fixture(scope="module")
def listed() -> Routes:
    return {}


@pytest.fixture
def routes(hub: Client, listed: Routes) -> Routes:
    """The methods of every route; every gateway has the same, and to list them takes a second."""
    if not listed:
        listed |= {
            route.path: [m.method for m in route.methods if not m.internal]
            for route in falcon.inspect.inspect_routes(hub.app)
        }
    return listed


class Relay:
    """A line to PostgreSQL that can be cut."""

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self._far = (str(parts["host"]), int(parts["port"] or 5432))
        self._lines: list[socket.socket] = []
        self._open = True
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(url, host="127.0.0.1", port=self._door.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        self._open = False
        for line in self._lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._open = True

    def close(self) -> None:
        self.cut()
        self._door.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                if not self._open:
                    near.close()
                    continue
                far = socket.create_connection(self._far)
                self._lines += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        for line in (source, target):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(database_url: str) -> Iterator[Relay]:
    relay = Relay(database_url)
    yield relay
    relay.close()


@pytest.fixture
def hub_behind(open_hub: Callable[..., Client]) -> Callable[[Relay], Client]:
    """A gateway that reaches its database over a relay, connected as one in service is."""
    return lambda relay: open_hub(relay.url, ready=READY)


@pytest.fixture
def north(books: Books) -> District:
    return books.district("north")


@pytest.fixture
def south(books: Books) -> District:
    return books.district("south")


@pytest.fixture
def admin(books: Books) -> str:
    return books.admin_key()


Once: TypeAlias = Callable[[str, Callable[[], None]], None]


@pytest.fixture(scope="module")
def memory() -> dict[str, tuple[Saved, Path]]:
    return {}


@pytest.fixture
def once(
    memory: dict[str, tuple[Saved, Path]],
    settings: Settings,
    north: District,
    tmp_path_factory: pytest.TempPathFactory,
) -> Once:
    """Do something to north and nobody else, which then needs no second time in this module."""
    url, store = plain(settings.database_url), Path(settings.object_store)

    def do(what: str, it: Callable[[], None]) -> None:
        if what in memory:
            rows, files = memory[what]
            restored(url, north.tenant_id, rows)
            shutil.copytree(files, store, dirs_exist_ok=True)
            return
        it()
        files = tmp_path_factory.mktemp("once")
        shutil.copytree(store, files, dirs_exist_ok=True)
        memory[what] = saved(url, north.tenant_id), files

    return do


class Server:
    """A real gunicorn."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def request(
        self,
        method: str,
        path: str,
        key: str,
        *,
        data: bytes | None = None,
        json: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        # An idle connection would be waited for when the server stops.
        own = {"Authorization": f"Bearer {key}", "Connection": "close"}
        sent = own | dict(headers or {})
        return requests.request(
            method, self.url + path, headers=sent, data=data, json=json, timeout=(3, 20)
        )


Serve: TypeAlias = Callable[..., Server]


@pytest.fixture
def serve(settings: Settings, tmp_path: Path) -> Iterator[Serve]:
    """Starts gunicorn with the product's own configuration."""
    with serving(settings, tmp_path) as start:
        yield start


@contextmanager
def serving(settings: Settings, folder: Path) -> Iterator[Serve]:
    """The same for as long as somebody wants."""
    servers: list[Server] = []

    def start(*options: str, **changes: object) -> Server:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        changed = settings.model_copy(update={"port": port, "gateway_processes": 1} | changes)
        root = Path(__file__).parents[2]
        inherited = {n: v for n, v in os.environ.items() if not n.startswith("ROSTERHUB_")}
        log, measured = folder / f"gunicorn-{port}.log", folder / f"metrics-{port}"
        measured.mkdir()
        env = changed.to_env() | {
            "PYTHONPATH": str(root),
            "PROMETHEUS_MULTIPROC_DIR": str(measured),
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"),
                    *options,
                    "api.main:app",
                ],
                cwd=root,
                env=inherited | env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        server = Server(process, port, log)
        servers.append(server)
        wait_for(server)
        return server

    try:
        yield start
    finally:
        for server in servers:
            end(server.process)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End it with all its children. To leave in good order takes a second and more, which is looked
    at where it matters (tests/deploy/test_gateway_process.py, test_progress.py)."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True)
class Standing:
    """A server that one test after the other talks to, in each of which its database is empty."""

    settings: Settings
    server: Server


@pytest.fixture(scope="module")
def lasting(
    shelf: Shelf, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("standing")
    with shelf.lent() as url:
        settings = settings_on(url, redis.url, folder)
        with serving(settings, folder) as serve:
            yield Standing(settings, serve())


@pytest.fixture
def standing(lasting: Standing, redis_url: str) -> Standing:
    emptied(plain(lasting.settings.database_url))
    assert redis_url == plain(lasting.settings.redis_url)
    return lasting


def wait_for(server: Server) -> None:
    for _ in range(100):
        try:
            requests.get(f"{server.url}/health/live", timeout=1).raise_for_status()
        except requests.RequestException:
            assert server.process.poll() is None, server.log.read_text()
            time.sleep(0.1)
        else:
            return
    pytest.fail(server.log.read_text())
