"""The real product for benchmarks: gateway and workers as child processes, on given servers."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import requests
from psycopg.sql import SQL, Identifier

from deploy.admin_keys import create_admin_key
from migrations import runner

PATIENCE = 1800.0  # seconds for one run
LOOK = 0.02  # seconds between two looks at a run: in the database, where one takes 0.1 ms
WEIGH = 1.0  # seconds between two looks at the memory: each takes 30 ms of a core

AT_WORK = """
    select state from rosterhub.runs where id = %s and state in ('received', 'queued', 'running')
"""


@dataclass(slots=True)
class Hub:
    """A running hub, its administrator, and its worker processes."""

    url: str
    admin_key: str
    database_url: str
    gateway: subprocess.Popen[bytes]
    workers: subprocess.Popen[bytes]
    memory: "Memory"

    def district(self, name: str) -> str:
        """A new district; answers a key for it."""
        admin = {"Authorization": f"Bearer {self.admin_key}"}
        self._post("/api/v1/districts", admin, json={"id": name, "name": name})
        named = {**admin, "X-RosterHub-District": name}
        return str(self._post("/api/v1/keys", named, json={"label": "bench"})["key"])

    def client(self, district: str) -> str:
        """A key of a new client of the district, behind the lens that new clients have."""
        named = {"Authorization": f"Bearer {self.admin_key}", "X-RosterHub-District": district}
        made = self._post("/api/v1/clients", named, json={"name": "bench"})
        return str(self._post(f"/api/v1/clients/{made['id']}/keys", named, json={})["key"])

    def push(self, key: str, package: Path, **query: str) -> tuple[dict[str, Any], float]:
        """Upload a package and wait until its run has ended, or waits for an answer.

        Answers the run, and the seconds it took.
        """
        start = time.perf_counter()
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/zip"}
        with package.open("rb") as body:
            run = self._post("/api/v1/imports", headers, data=body, params=query)
        self._until_over(run["id"])
        seconds = time.perf_counter() - start
        return self._get(f"/api/v1/imports/{run['id']}", headers), seconds

    def _until_over(self, run_id: str) -> None:
        """Wait until a run has ended, or waits for an answer."""
        end = time.perf_counter() + PATIENCE
        with psycopg.connect(self.database_url, autocommit=True) as db:
            while db.execute(AT_WORK, [run_id]).fetchone():
                if time.perf_counter() > end:
                    raise TimeoutError(run_id)
                time.sleep(LOOK)

    def _get(self, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
        answer = requests.get(f"{self.url}{path}", headers=headers, timeout=30)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _post(self, path: str, headers: Mapping[str, str], **body: Any) -> dict[str, Any]:  # noqa: ANN401  # as requests takes it
        answer = requests.post(f"{self.url}{path}", headers=headers, timeout=600, **body)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def importer_memory(self) -> float:
        """The peak resident memory of the process that imports, in MiB."""
        return max(peak(pid) for pid in descendants(self.workers.pid) if is_importer(pid))

    def forget_peaks(self) -> None:
        """From here on anew; Linux forgets how large a process was, too."""
        self.memory.most = 0.0
        for pid in descendants(self.workers.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def workers_memory(self) -> float:
        """The most that supervisor and worker processes had together at a time, in MiB."""
        return self.memory.most


class Memory(threading.Thread):
    """Looks at what a process and all below it have together, again and again."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.most, self._over = pid, 0.0, threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        while not self._over.wait(WEIGH):
            self.most = max(self.most, self.now())

    def now(self) -> float:
        """What they have together now, in MiB."""
        return sum(map(share, (self.pid, *descendants(self.pid))))

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


@contextmanager
def running(
    folder: Path, database_url: str, redis_url: str, env: Mapping[str, str]
) -> Iterator[Hub]:
    """A hub on these servers until the end of the block."""
    runner.up(database_url)
    secret = secrets.token_urlsafe(48)
    with psycopg.connect(database_url) as db:
        admin_key, _ = create_admin_key(db, secret, label="bench")
    port = free_port()
    settings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ROSTERHUB_")},
        "ROSTERHUB_DATABASE_URL": database_url,
        "ROSTERHUB_REDIS_URL": redis_url,
        "ROSTERHUB_SECRET_KEY": secret,
        "ROSTERHUB_OBJECT_STORE": str(folder / "objects"),
        "ROSTERHUB_PORT": str(port),
        "ROSTERHUB_METRICS_PORT": "0",
        "ROSTERHUB_RATE_LIMIT": "1000000000",  # counted, and never reached
        **env,
    }
    log = (folder / "hub.log").open("ab")
    gateway, workers = (
        start(("-m", "deploy.cli", command), settings, log) for command in ("serve", "work")
    )
    memory = Memory(workers.pid)
    memory.start()
    hub = Hub(f"http://127.0.0.1:{port}", str(admin_key), database_url, gateway, workers, memory)
    try:
        until_ready(hub.url)
        yield hub
    finally:
        memory.stop()
        for process in (gateway, workers):
            stop(process)
        log.close()


def start(argv: Sequence[str], env: Mapping[str, str], log: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401  # a file
    """Python in a process of the bench."""
    command = [sys.executable, *argv]
    return subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)  # noqa: S603  # ours


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it as an operator would."""
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def until_ready(url: str) -> None:
    """Wait until the gateway answers."""
    for _ in range(600):
        try:
            if requests.get(f"{url}/health/ready", timeout=5).ok:
                return
        except (requests.ConnectionError, requests.Timeout):
            pass
        time.sleep(0.1)
    raise TimeoutError(url)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fresh_database(server_url: str) -> str:
    """A new database on the server, so that every repetition begins with empty tables."""
    name = f"bench_{uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(SQL("create database {}").format(Identifier(name)))
        admin.execute("checkpoint")
    return f"{server_url.rsplit('/', 1)[0]}/{name}"


def descendants(pid: int) -> Iterator[int]:
    """The processes below a process (Linux); one that ends meanwhile has none."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child))


def is_importer(pid: int) -> bool:
    """Whether it is the worker process that does imports."""
    return b"imports" in cmdline(pid)


def cmdline(pid: int) -> bytes:
    """What a process was started with."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def peak(pid: int) -> float:
    """VmHWM in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def share(pid: int) -> float:
    """The proportional set size in MiB: what several processes have in common counts once."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0
