"""A hub whose gateway is the test: it stores uploads, writes runs, and looks at all tables."""

import hashlib
import io
import os
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from subprocess import Popen
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import obstore
import psycopg
import pytest
from obstore.store import ObjectStore
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from deploy.local import processes
from deploy.local.redis import Redis
from loadtests.rosters import District, write_package
from pipeline import claims
from pipeline.claims import Claim
from pipeline.database import connect
from pipeline.exporting import as_asked
from schemas.events import Emit
from schemas.exports import Wanted
from schemas.objects import upload_key
from schemas.settings import PREFIX, Settings, plain
from workers.exports import Exporter
from workers.imports import Importer
from workers.objects import open_store

ROOT = Path(__file__).parents[2]
SMALLEST = District(schools=1, users=9, enrollments_per_student=1)


@dataclass(frozen=True)
class Hub:
    """The database as its superuser sees it, and the object store."""

    settings: Settings
    admin: psycopg.Connection[Any]
    store: ObjectStore

    @property
    def url(self) -> str:
        return plain(self.settings.database_url)

    def district(self) -> int:
        name = f"district-{uuid4().hex}"
        (tenant_id,) = self.one(
            "insert into districts (id, name) values (%s, %s) returning tenant_id", name, name
        )
        return int(tenant_id)

    def push(
        self,
        tenant_id: int,
        body: bytes = b"not a zip",
        *,
        stored: bool = True,
        instead: bytes | None = None,
        age: float = 0.0,
    ) -> UUID:
        """An upload and its run, as the gateway leaves them; the run is `age` seconds old.

        `instead`: what is stored where the upload should be.
        """
        run_id, upload_id = uuid4(), uuid4()
        key = upload_key(tenant_id, upload_id)
        if stored:
            obstore.put(self.store, key, body if instead is None else instead)
        self.admin.execute(
            "insert into uploads (tenant_id, id, object_key, bytes, sha256, created_at)"
            " values (%s, %s, %s, %s, %s, now() - make_interval(secs => %s))",
            [tenant_id, upload_id, key, len(body), hashlib.sha256(body).digest(), age],
        )
        self.admin.execute(
            "insert into runs (tenant_id, id, kind, upload_id, created_by, created_at)"
            " values (%s, %s, 'import', %s, 'test', now() - make_interval(secs => %s))",
            [tenant_id, run_id, upload_id, age],
        )
        return run_id

    def export(self, tenant_id: int, **wanted: object) -> UUID:
        """An export, as the gateway asks for it."""
        export_id = uuid4()
        self.admin.execute(
            "insert into exports (tenant_id, id, wanted, created_by) values (%s, %s, %s, 'test')",
            [tenant_id, export_id, as_asked(Wanted.model_validate(wanted))],
        )
        return export_id

    def exported(self, export_id: UUID) -> Mapping[str, Any]:
        """The row of an export."""
        with self.admin.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute("select * from exports where id = %s", [export_id]).fetchone()
        assert row is not None
        return row

    def files(self, prefix: str) -> list[str]:
        """The keys of the objects below a prefix."""
        pages = obstore.list(self.store, prefix=prefix)
        return [each["path"] for page in pages for each in page]

    def run(self, run_id: UUID) -> Mapping[str, Any]:
        with self.admin.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute("select * from runs where id = %s", [run_id]).fetchone()
        assert row is not None
        return row

    def change(self, run_id: UUID, **values: object) -> None:
        sets = SQL(", ").join(SQL("{} = %s").format(Identifier(name)) for name in values)
        self.admin.execute(
            SQL("update runs set {} where id = %s").format(sets), [*values.values(), run_id]
        )

    def let_lapse(self, run_id: UUID) -> None:
        """Let the lease run out at once."""
        self.admin.execute(
            "update runs set lease_until = now() - interval '1 ms' where id = %s", [run_id]
        )

    def one(self, query: str, *params: object) -> tuple[Any, ...]:
        row = self.admin.execute(query.encode(), params).fetchone()
        assert row is not None
        return tuple(row)

    def count(self, table: str, tenant_id: int) -> int:
        query = SQL("select count(*) from {} where tenant_id = %s").format(Identifier(table))
        row = self.admin.execute(query, [tenant_id]).fetchone()
        assert row is not None
        return int(row[0])

    def free(self, tenant_id: int, *, lease: float = 60.0, worker: str = "test") -> Claim | None:
        """The district's next import, if there is one for others to claim."""
        with connect(self.url) as db:
            return claims.take(db, tenant_id, lease=lease, worker=worker)

    def take(self, tenant_id: int, *, lease: float = 60.0, worker: str = "test") -> Claim:
        """Claim it, as another process would."""
        claim = self.free(tenant_id, lease=lease, worker=worker)
        assert claim is not None
        return claim

    def wait(self, done: Callable[[], object], patience: float = 30.0) -> float:
        """Wait until that is so; answer how many seconds it took."""
        began = time.monotonic()
        while not done():
            assert time.monotonic() < began + patience, "it did not come to be"
            time.sleep(0.01)
        return time.monotonic() - began


@pytest.fixture
def hub(settings: Settings) -> Iterator[Hub]:
    with psycopg.connect(plain(settings.database_url), autocommit=True) as admin:
        admin.execute("set search_path = rosterhub")
        yield Hub(settings, admin, open_store(settings.object_store))


@pytest.fixture
def district(hub: Hub) -> int:
    return hub.district()


@pytest.fixture
def neighbour(hub: Hub) -> int:
    return hub.district()


Package: TypeAlias = Callable[..., bytes]


@pytest.fixture
def package() -> Package:
    """A clean package of nine people; `given_name` renames the first of them."""

    def make(given_name: str | None = None, **changes: Any) -> bytes:  # noqa: ANN401  # of a District
        out = io.BytesIO()
        write_package(out, replace(SMALLEST, **changes))
        if given_name is None:
            return out.getvalue()
        renamed = io.BytesIO()
        with zipfile.ZipFile(out) as source, zipfile.ZipFile(renamed, "w") as target:
            for name in source.namelist():
                data = source.read(name).decode()
                if name == "users.csv":
                    header, first, *rest = data.splitlines(keepends=True)
                    cells = first.split(",")
                    cells[header.split(",").index("givenName")] = f'"{given_name}"'
                    data = "".join([header, ",".join(cells), *rest])
                target.writestr(name, data)
        return renamed.getvalue()

    return make


Make: TypeAlias = Callable[..., Importer]


@pytest.fixture
def importer(hub: Hub) -> Make:
    """What a worker process makes attempts with."""

    def make(
        emit: Emit = lambda _: None, stopping: threading.Event | None = None, **changes: object
    ) -> Importer:
        return Importer(
            hub.settings.model_copy(update=changes),
            hub.store,
            emit,
            "test",
            stopping or threading.Event(),
        )

    return make


MakeExporter: TypeAlias = Callable[..., Exporter]


@pytest.fixture
def exporter(hub: Hub) -> MakeExporter:
    """The same for exports."""

    def make(
        emit: Emit = lambda _: None, stopping: threading.Event | None = None, **changes: object
    ) -> Exporter:
        settings = hub.settings.model_copy(update=changes)
        return Exporter(settings, hub.store, emit, "test", stopping or threading.Event())

    return make


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that a test may hurt."""
    folder = tmp_path_factory.mktemp("redis")
    for each in (folder, *folder.parents):
        if each.owner() == folder.owner() and each.name.startswith("pytest-"):
            each.chmod(0o711)  # where root runs the tests, the server has another account
    folder.chmod(0o711)
    with Redis(folder) as server:
        yield server


@pytest.fixture
def hurt_redis(own_redis: Redis) -> Redis:
    """The same, in good health again."""
    own_redis.start()
    return own_redis


# --- Processes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """`rosterhub work`, and what it has said so far."""

    process: Popen[bytes]
    log: Path

    @property
    def lines(self) -> str:
        return self.log.read_text()

    def children(self, kind: str = "") -> set[int]:
        """The worker processes that run now."""
        return {
            each.pid
            for each in processes.table()
            if each.parent == self.process.pid
            and each.state not in processes.GONE
            and f" --process {kind}" in each.command
        }


Start: TypeAlias = Callable[..., Work]


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    """Starts the product's own command with these options and settings; it must end well."""
    started: list[Work] = []
    numbers = count()

    def run(*options: str, **changes: object) -> Work:
        changed = settings.model_copy(update=changes)
        log = tmp_path / f"work-{next(numbers)}.log"
        env = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        with log.open("wb") as output:
            process = Popen(
                [sys.executable, "-P", "-m", "deploy.cli", "work", *options],
                env=env | changed.to_env() | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=output,
            )
        started.append(Work(process, log))
        return started[-1]

    yield run
    for each in started:
        each.process.terminate()
    for each in started:
        try:
            assert each.process.wait(10) in (0, -signal.SIGKILL), each.lines
        finally:
            each.process.kill()
            each.process.wait()
