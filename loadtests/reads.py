"""What reads cost: pages that are kept, pages that are not, single records, and deep pages.

One gateway process, with the key of a client behind a lens, the shared rate limit and the audit; a
bare Falcon handler with the same bytes under the same server in the same run is what it is compared
with, by what a core answers in a second. (On a shared machine that is more than is seen.)
A figure counts only where the gateway kept its core busy; how much it did is a figure too.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import click
import requests

from loadtests.hub import Hub, descendants, free_port, fresh_database, running, start, stop
from loadtests.wire import Load, has_wrk, load

Measured: TypeAlias = dict[str, Any]

GATEWAY = {"ROSTERHUB_GATEWAY_PROCESSES": "1", "ROSTERHUB_UPLOAD_MAX": str(4 << 30)}
ROOT = "/ims/oneroster/rostering/v1p2"
HOT = f"{ROOT}/users?limit=100"
DEEP = 1_000_000
SECONDS = 8
CLIENTS = (50, 100)
TIMES = 21  # of which the median counts
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One load, and the share of a core that the server kept busy meanwhile."""

    load: Load
    busy: float

    @property
    def of_core(self) -> float:
        """Requests in a second that the core was busy."""
        return self.load.rate / self.busy


def measured(folder: Path, server: str, redis: str, package: Path) -> Iterator[Measured]:
    """Every figure about reads, on a fresh database."""
    if not has_wrk():
        click.echo("  no wrk on the PATH (Debian: apt install wrk): our own client asks, slower")
    with running(folder, fresh_database(server), redis, GATEWAY) as hub:
        run, _ = hub.push(hub.district("bench"), package)
        if run["state"] != "applied":
            raise RuntimeError(f"{run['state']}: {run['failure']}")
        yield from Reads(folder, hub).figures()


class Reads:
    """A client of the district, and what is measured with it."""

    def __init__(self, folder: Path, hub: Hub) -> None:
        self._hub = hub
        self._headers = {"Authorization": f"Bearer {hub.client('bench')}"}
        self._session = requests.Session()
        self._session.headers.update({**self._headers, "Accept-Encoding": "identity"})
        self._body = folder / "page.json"
        self._least_busy = dict.fromkeys(CLIENTS, 1.0)

    def figures(self) -> Iterator[Measured]:
        """In the order in which they are told."""
        first = self._get(HOT)
        self._body.write_bytes(first.content)
        user = first.json()["users"][0]["sourcedId"]
        known = {"If-None-Match": first.headers["ETag"]}
        for clients in CLIENTS:
            with_bare = self._bare(clients)
            for name, paths, more in (
                ("hot_page", [HOT], {}),
                ("not_modified", [HOT], known),
                ("single_user", [f"{ROOT}/users/{user}"], {}),
            ):
                yield from self._figure(name, clients, self._run(paths, clients, more), with_bare)
        offsets = range(1, int(first.headers["X-Total-Count"]) - 100, 7)
        paths = [f"{HOT}&offset={offset}" for offset in offsets]
        for at, clients in enumerate(CLIENTS):
            own = paths[at :: len(CLIENTS)]  # which nobody has asked for yet
            yield from self._figure("distinct_pages", clients, self._run(own, clients, {}), None)
        for clients, busy in self._least_busy.items():
            yield {"name": f"gateway_busy_{clients}", "value": busy, "unit": "of a core"}
        yield from self._deep()
        yield from self._sources()

    def _bare(self, clients: int) -> Run:
        """The bare handler under the same server."""
        port = free_port()
        env = {**os.environ, **GATEWAY, "ROSTERHUB_PORT": str(port), "BARE_BODY": str(self._body)}
        argv = ("-m", "gunicorn", "-c", "python:loadtests.bare_server", "loadtests.bare:app")
        with self._body.with_suffix(".log").open("ab") as log:
            process = start(argv, env, log)
            try:
                base = f"http://127.0.0.1:{port}"
                answering(base)
                return loaded(process.pid, base, ["/"], {}, clients)
            finally:
                stop(process)

    def _run(self, paths: Sequence[str], clients: int, more: Mapping[str, str]) -> Run:
        """One load on the gateway."""
        pid, url, headers = self._hub.gateway.pid, self._hub.url, {**self._headers, **more}
        found = loaded(pid, url, paths, headers, clients)
        if found.load.wrong:
            raise RuntimeError(f"{found.load.wrong} requests went wrong")
        self._least_busy[clients] = min(self._least_busy[clients], found.busy)
        return found

    def _figure(self, name: str, clients: int, run: Run, bare: Run | None) -> Iterator[Measured]:
        compared = f"{run.busy:.0%} of a core"
        if bare is not None:
            compared += f"; bare handler, {bare.load.rate:.0f}/s with {bare.busy:.0%}"
        yield {
            "name": f"{name}_{clients}",
            "value": run.load.rate,
            "unit": "/s",
            "compared_with": compared,
            "ratio": None if bare is None else run.of_core / bare.of_core,
        }
        yield {"name": f"{name}_{clients}_p95", "value": run.load.p95, "unit": "ms"}

    def _deep(self) -> Iterator[Measured]:
        """A page far behind and the first one, neither of them kept."""
        path = f"{ROOT}/enrollments?limit=100"
        total = int(self._get(path).headers["X-Total-Count"])
        deep = f"{path}&offset={min(DEEP, total - 1000)}"
        cold = self._milliseconds(f"{deep}&cold")
        warm = median(self._milliseconds(f"{deep}&{n}") for n in range(TIMES))
        first = median(self._milliseconds(f"{path}&{n}") for n in range(TIMES))
        yield {"name": "deep_page_cold", "value": cold, "unit": "ms"}
        yield {
            "name": "deep_page",
            "value": warm,
            "unit": "ms",
            "compared_with": f"first page, {first:.1f} ms",
            "ratio": warm / first,
        }

    def _sources(self) -> Iterator[Measured]:
        """The share of reads that no page was made for."""
        admin = {"Authorization": f"Bearer {self._hub.admin_key}"}
        text = requests.get(f"{self._hub.url}/metrics", headers=admin, timeout=30).text
        found = {
            line.split('"')[1]: float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith("rosterhub_roster_answers_total{")
        }
        share = 1 - found["made"] / sum(found.values())
        yield {"name": "answers_not_made", "value": share, "unit": "of all reads"}

    def _milliseconds(self, path: str) -> float:
        began = time.perf_counter()
        self._get(path)
        return (time.perf_counter() - began) * 1000

    def _get(self, path: str) -> requests.Response:
        answer = self._session.get(f"{self._hub.url}{path}", timeout=60)
        answer.raise_for_status()
        return answer


def loaded(
    pid: int, base: str, paths: Sequence[str], headers: Mapping[str, str], clients: int
) -> Run:
    """One load on the server of that process, which is warm when it is measured."""
    load(base, paths[-1:], headers, clients, 1)
    before = busy_seconds(pid)
    found = load(base, paths, headers, clients, SECONDS)
    return Run(found, (busy_seconds(pid) - before) / found.seconds)


def busy_seconds(pid: int) -> float:
    """Seconds that a process and those below it have kept a core busy."""
    return sum(map(cpu_seconds, (pid, *descendants(pid))))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, and of those below it that have ended (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def answering(url: str) -> None:
    """Wait until a server answers at all."""
    for _ in range(300):
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(url)
