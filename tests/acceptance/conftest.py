"""The product as an operator runs it, one for each test module: own servers, real processes.

A module may say `SETTINGS` for its hub, and `SABOTAGE`: a bug that its workers shall have.

PostgreSQL is durable here, for durability is what is looked at. Whatever the tests do to a hub they
do from outside: over HTTP, or with a signal. What they look at in its tables they only read, and
whatever was answered to anybody is kept, so that no module passes over an error of the gateway.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, LiteralString, TypeAlias
from urllib.parse import quote
from uuid import UUID, uuid4

import psycopg
import pytest
import requests
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Composed
from pydantic import SecretStr
from redis import Redis as RedisClient

from deploy.admin_keys import create_admin_key
from deploy.dev import any_port, is_free
from deploy.local import launch, processes
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from migrations import runner
from schemas.events import EVENT, Event, stream
from schemas.proposals import WAITING
from schemas.runs import ENDED, State
from schemas.settings import PREFIX, Settings, plain

Json: TypeAlias = dict[str, Any]
Options: TypeAlias = Mapping[str, object]

ROOT = Path(__file__).parents[2]
SERVERS = ROOT / ".rosterhub" / "tests"
ROSTERS = "/ims/oneroster/rostering/v1p2"
UNGUARDED: Json = {"guard": {"on": False}}
"""The policy of a district whose changes are large: nobody is there to approve them."""
LEASE = 1.0  # seconds
PATIENCE = 60.0  # seconds; a run that has not ended by then never will
IDLE = 2.0  # seconds after which a client opens another line; the gateway closes one after five
SEED = int(os.environ.get("ACCEPTANCE_SEED") or random.SystemRandom().randrange(10**6))
KILLS = int(os.environ.get("ROSTERHUB_KILLS") or 0)
"""How many kills each storm is to hit with; 0: as few as every kind of moment needs."""
FULL = bool(os.environ.get("ROSTERHUB_FULL"))
"""Whether outages last as long as is promised; otherwise just longer than everybody's patience."""
SETTLED = (*ENDED, *WAITING)
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

HAPPENED = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[HAPPENED] = [f"seed {SEED} (ACCEPTANCE_SEED repeats it)"]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What the faults really hit: a storm that missed proves nothing."""
    terminalreporter.section("acceptance")
    for line in config.stash[HAPPENED]:
        terminalreporter.line(line)


@dataclass(frozen=True)
class Answer:
    """What a client was told, and after how long."""

    method: str
    path: str
    status: int
    seconds: float


@dataclass
class Client:
    """Somebody with a key. Who is patient comes back when the hub is busy, as it asks them to."""

    address: str
    key: str
    answers: list[Answer]
    district: str = ""
    tenant_id: int = 0
    patient: bool = False
    gaze: float = 0.05
    """Seconds between two looks at a run: to look is work too."""
    session: requests.Session = field(default_factory=requests.Session)
    last: float = 0.0

    def __post_init__(self) -> None:
        self.session.trust_env = False
        self.session.headers["Authorization"] = f"Bearer {self.key}"

    def again(self, **otherwise: Any) -> "Client":  # noqa: ANN401  # goes to replace
        """The same client over a line of its own, for another thread; not a patient one."""
        return replace(self, **{"patient": False, "session": requests.Session(), **otherwise})

    def ask(self, method: str, path: str, **how: Any) -> requests.Response:  # noqa: ANN401  # goes to requests
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._ask(method, path, **how)
            if not (self.patient and answer.status_code in BUSY and time.monotonic() < until):
                return answer
            time.sleep(0.1)

    def _ask(self, method: str, path: str, **how: Any) -> requests.Response:  # noqa: ANN401  # same
        began = time.monotonic()
        if began > self.last + IDLE:
            self.session.close()  # the gateway may be closing the line at this moment
        url = path if path.startswith("http") else self.address + path
        answer = self.session.request(method, url, **{"timeout": (5, 60), **how})
        self.last = time.monotonic()
        self.answers.append(Answer(method, path, answer.status_code, self.last - began))
        return answer

    def get(self, path: str, **how: Any) -> Json:  # noqa: ANN401  # same
        answer = self.ask("GET", path, **how)
        assert answer.status_code == HTTPStatus.OK, (path, answer.status_code, answer.text)
        body: Json = answer.json()
        return body

    # --- packages in

    def send(
        self,
        body: bytes,
        *,
        entity: str | None = None,
        mode: str | None = None,
        apply: str | None = None,
    ) -> requests.Response:
        """Upload a package, or one CSV of it; whatever the answer is."""
        meant = {"entity": entity, "mode": mode, "apply": apply}
        kind = "text/csv" if entity or mode else "application/zip"
        return self.ask(
            "POST",
            "/api/v1/imports",
            params={name: word for name, word in meant.items() if word},
            data=body,
            headers={"Content-Type": kind},
        )

    def push(
        self,
        body: bytes,
        *,
        entity: str | None = None,
        mode: str | None = None,
        apply: str | None = None,
    ) -> str:
        """Upload what must be taken; answer the id of its run."""
        answer = self.send(body, entity=entity, mode=mode, apply=apply)
        assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
        return str(answer.json()["id"])

    def post(self, path: str, body: Json | None = None) -> Json:
        """Ask for what must be granted."""
        answer = self.ask("POST", path, json=body)
        assert answer.ok, (path, answer.status_code, answer.text)
        granted: Json = answer.json()
        return granted

    def run(self, run_id: str) -> Json:
        return self.get(f"/api/v1/imports/{run_id}")

    def ended(self, run_id: str, patience: float = PATIENCE) -> Json:
        """The run, once it has ended."""
        return self.reached(run_id, ENDED, patience)

    def settled(self, run_id: str, patience: float = PATIENCE) -> Json:
        """The run, once it has ended or waits for an answer."""
        return self.reached(run_id, SETTLED, patience)

    def reached(self, run_id: str, states: tuple[State, ...], patience: float = PATIENCE) -> Json:
        """The run, once it is in one of these states."""
        until = time.monotonic() + patience
        while (run := self.run(run_id))["state"] not in states:
            assert time.monotonic() < until, f"not {' or '.join(states)}: {run}"
            time.sleep(self.gaze)
        return run

    def applied(self, body: bytes, *, entity: str | None = None, mode: str | None = None) -> Json:
        """Push what must be applied."""
        run = self.settled(self.push(body, entity=entity, mode=mode))
        assert run["state"] == "applied", (run, self.findings(run["id"]))
        return run

    def runs(self) -> list[Json]:
        return self.items("/api/v1/imports")

    def findings(self, run_id: str) -> list[Json]:
        return self.items(f"/api/v1/imports/{run_id}/findings")

    def items(self, path: str | None) -> list[Json]:
        """Every item of a list of ours."""
        found: list[Json] = []
        while path:
            body = self.get(path)
            found += body["items"]
            path = body["next"]
        return found

    def events(self, run_id: str, last: str | None = None) -> list[Json]:
        """What is told about a run until its stream ends: id, event and data."""
        headers = {"Last-Event-ID": last} if last else {}
        answer = self.ask(
            "GET", f"/api/v1/imports/{run_id}/events", headers=headers, stream=True, timeout=(5, 90)
        )
        assert answer.status_code == HTTPStatus.OK
        with answer:
            return [*heard(answer)]

    # --- rosters out

    def page(self, file: str, **query: object) -> requests.Response:
        answer = self.ask("GET", f"{ROSTERS}/{file}", params=query)
        assert answer.status_code == HTTPStatus.OK, answer.text
        return answer

    def collection(self, file: str, limit: int = 10_000, **query: object) -> list[Json]:
        """Every record, page by page as the links say, as many as were announced."""
        found: list[Json] = []
        answer = self.page(file, limit=limit, **query)
        total = int(answer.headers["X-Total-Count"])
        while True:
            found += answer.json()[file]
            if "next" not in answer.links:
                break
            assert len(answer.json()[file]) == limit
            answer = self.ask("GET", answer.links["next"]["url"])
            assert int(answer.headers["X-Total-Count"]) == total
        assert len(found) == total
        return found

    def single(self, file: str, noun: str, sourced_id: str) -> Json:
        record: Json = self.get(f"{ROSTERS}/{file}/{quote(sourced_id, safe='')}")[noun]
        return record


def heard(answer: requests.Response) -> Iterator[Json]:
    """Server-sent events, comments left out."""
    event: Json = {}
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        name, _, value = line.partition(": ")
        if line and name:
            event[name] = json.loads(value) if name == "data" else value
        elif not line and event:
            yield event
            event = {}


@dataclass
class Hub:
    """A running hub, its servers, and the processes that an operator would see."""

    folder: Path
    postgres: Postgres
    redis: Redis
    settings: Settings
    admin: Client
    gateway: "subprocess.Popen[bytes]"
    work: "subprocess.Popen[bytes]"
    answers: list[Answer]
    told: list[str]
    number: int = 0

    def district(self, **policy: object) -> Client:
        """A new district's own client; the district decides nothing but what is said."""
        self.number += 1
        name = f"d{self.number}"
        made = self.admin.ask("POST", "/api/v1/districts", json={"id": name, "name": name})
        assert made.status_code == HTTPStatus.CREATED, made.text
        key = self.admin.ask(
            "POST",
            "/api/v1/keys",
            json={"label": "acceptance"},
            headers={"X-RosterHub-District": name},
        )
        assert key.status_code == HTTPStatus.CREATED, key.text
        with self.database() as db:
            (tenant_id,) = db.execute(
                "select tenant_id from districts where id = %s", [name]
            ).fetchall()[0]
        client = Client(self.admin.address, key.json()["key"], self.answers, name, tenant_id)
        if policy:
            decided = client.ask("PUT", "/api/v1/policy", json=policy)
            assert decided.status_code == HTTPStatus.OK, decided.text
        return client

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection[TupleRow]]:
        """A look into the tables, past row-level security."""
        url = plain(self.settings.database_url)
        options = "-c search_path=rosterhub"
        with psycopg.connect(url, autocommit=True, options=options, connect_timeout=5) as db:
            yield db

    def rows(self, query: LiteralString | SQL | Composed, *params: object) -> list[TupleRow]:
        with self.database() as db:
            return db.execute(query, params).fetchall()

    def listen(self, run_id: str, patience: float = PATIENCE) -> Iterator[Event]:
        """The events of a run as its worker tells them, a moment after they happen."""
        at, until = b"0", time.monotonic() + patience
        with RedisClient.from_url(self.redis.url) as redis:
            while time.monotonic() < until:
                found: Any = redis.xread({stream(UUID(run_id)): at}, block=1000)
                for _, entries in found:
                    for at, values in entries:  # noqa: B007  # the last one is where we go on
                        yield EVENT.validate_json(values[b"event"])

    def workers(self, kind: str = "imports") -> dict[int, str]:
        """The supervisor's living children of a kind, and the state that the kernel gives them."""
        return {
            each.pid: each.state
            for each in processes.table()
            if each.parent == self.work.pid
            and f" --process {kind} " in each.command
            and each.state not in processes.GONE
        }

    def log(self, name: str) -> list[Json]:
        """What a process has logged, line by line."""
        lines = (self.folder / f"{name}.log").read_text(encoding="utf-8").splitlines()
        found: list[Json] = []
        for line in lines:
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found

    def happened(self, line: str) -> None:
        """Say at the end of the suite what a storm has hit."""
        self.told.append(line)

    def never_failed(self) -> None:
        """Nobody was ever told of a fault of ours, and the processes that we started are there."""
        wrong = [
            answer
            for answer in self.answers
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and answer.status not in BUSY
        ]
        assert not wrong, wrong
        assert not [line for line in self.log("serve") if line.get("event") == "unexpected"]
        assert self.gateway.poll() is None, "the gateway has ended"
        assert self.work.poll() is None, "the supervisor has ended"


@pytest.fixture(scope="module")
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub of its own for the module; gone at the end, come what may."""
    name = request.module.__name__.rpartition(".")[2].removeprefix("test_")
    options: Options = getattr(request.module, "SETTINGS", {})
    version = request.config.getoption("--postgres")
    folder = tmp_path_factory.mktemp(name)
    with ExitStack() as started:
        SERVERS.mkdir(parents=True, exist_ok=True)
        base = SERVERS / f"acceptance-{name}"
        postgres = started.enter_context(Postgres(base / f"postgres-{version}", version=version))
        redis = started.enter_context(Redis(base / "redis"))
        with RedisClient.from_url(redis.url) as client:
            client.flushall()
        settings = settings_of(empty_database(postgres), redis.url, folder, options)
        runner.up(plain(settings.database_url))
        with psycopg.connect(plain(settings.database_url)) as connection:
            key, _ = create_admin_key(connection, plain(settings.secret_key), label="acceptance")
        gateway = started.enter_context(running("serve", settings, folder))
        planted = getattr(request.module, "SABOTAGE", None)
        work = started.enter_context(running("work", settings, folder, planted=planted))
        started.callback(end, gateway, work)
        answers: list[Answer] = []
        admin = Client(f"http://{settings.host}:{settings.port}", str(key), answers)
        hub = Hub(
            folder,
            postgres,
            redis,
            settings,
            admin,
            gateway,
            work,
            answers,
            request.config.stash[HAPPENED],
        )
        wait_until(lambda: is_up(hub), "the hub is up")
        yield hub
        hub.never_failed()


def empty_database(postgres: Postgres) -> str:
    """A new database in the cluster, in the place of an earlier run's."""
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("drop database if exists hub with (force)")
        admin.execute("create database hub")
    return f"{postgres.url.rsplit('/', 1)[0]}/hub"


def settings_of(database_url: str, redis_url: str, folder: Path, options: Options) -> Settings:
    port = next(port for port in iter(any_port, None) if is_free("127.0.0.1", port))
    own: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "redis_url": SecretStr(redis_url),
        "object_store": str(folder / "objects"),
        "secret_key": SecretStr(f"acceptance-{uuid4()}"),
        "port": port,
        "metrics_port": 0,
        "lease": LEASE,
        "poll": 0.2,
        "work_folder": folder,
        "log_format": "json",
    }
    return Settings(**own | dict(options))


PLANT = """
import os
os.register_at_fork(after_in_child=lambda: __import__("planted"))
"""
"""A bug in the copies only: the supervisor itself loads no data frames (`workers.forking`)."""


@contextmanager
def running(
    command: str, settings: Settings, folder: Path, *, planted: str | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """`rosterhub <command>`, which ends with us however we end; with a bug if one is `planted`."""
    path = [str(ROOT)]
    if planted is not None:
        (folder / "planted.py").write_text(planted, encoding="utf-8")
        # Python runs a file of this name first of all.
        (folder / "sitecustomize.py").write_text(PLANT, encoding="utf-8")
        path.insert(0, str(folder))
    outside = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    dies_with_us = [str(signal.SIGTERM.value), str(os.getpid())]
    with (folder / f"{command}.log").open("ab") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", launch.__file__, "", *dies_with_us),
                *(sys.executable, "-P", "-m", "deploy.cli", command),
            ],
            env=outside | settings.to_env() | {"PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def end(*children: "subprocess.Popen[bytes]") -> None:
    """Tell all of them at once, for each takes its time."""
    for process in children:
        process.terminate()


def is_up(hub: Hub) -> bool:
    """Whether the gateway serves and every worker has begun."""
    for process, name in ((hub.gateway, "serve"), (hub.work, "work")):
        said = (hub.folder / f"{name}.log").read_text()
        assert process.poll() is None, said
    begun = [line for line in hub.log("work") if line.get("event") == "worker_started"]
    if len(begun) < 3 + hub.settings.import_processes + hub.settings.export_processes:
        return False
    with suppress(requests.RequestException):
        return hub.admin.ask("GET", "/health/ready", timeout=5).ok
    return False


def wait_until(true: Callable[[], bool], what: str, patience: float = PATIENCE) -> float:
    """Wait; answer for how many seconds it was."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() < began + patience, f"not within {patience} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began
