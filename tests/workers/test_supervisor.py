"""`rosterhub work`: its posts are always filled, and nobody outlives it."""

import os
import re
import signal
import sys
import time
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pytest
import requests

from deploy.local import processes
from tests.workers.conftest import Hub, Package, Start, Work
from workers import supervisor

BESIDE = 3  # service, webhooks, deltas: tests want no process for exports
ALWAYS = BESIDE + 1  # and the one that serves the metrics, which works on nothing
RESTARTS = 'rosterhub_worker_restarts_total{kind="imports"}'
APPLIED = 'rosterhub_runs_ended_total{kind="import",state="applied"}'


def begun(hub: Hub, start: Start, imports: int) -> Work:
    """A supervisor with a process of each kind and some for imports, all of them at work."""
    work = start(import_processes=imports)
    hub.wait(lambda: work.lines.count("worker_started") == BESIDE + imports, patience=20)
    return work


def sockets(pid: int) -> set[str]:
    """What it has open to others."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(each.readlink()))
    return {name for name in found if name.startswith("socket:")}


def loaded(pid: int, library: str) -> bool:
    return library in Path(f"/proc/{pid}/maps").read_text()


def metrics(work: Work) -> dict[str, float]:
    found = re.search(r'"port": (\d+)', work.lines)
    assert found is not None
    text = requests.get(f"http://127.0.0.1:{found[1]}/metrics", timeout=2).text
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def test_a_process_that_was_killed_is_replaced_while_the_others_go_on(
    hub: Hub, start: Start, district: int, package: Package
) -> None:
    work = begun(hub, start, imports=2)
    everybody = work.children()
    victim = min(work.children("imports"))
    os.kill(victim, signal.SIGKILL)
    hub.wait(lambda: len(work.children() - {victim}) == ALWAYS + 2)
    assert everybody - {victim} < work.children()
    run_id = hub.push(district, package())
    hub.wait(lambda: hub.run(run_id)["state"] == "applied")
    hub.wait(lambda: metrics(work).get(APPLIED) == 1)
    assert metrics(work)[RESTARTS] == 1
    assert "worker_died" in work.lines


def test_the_pause_before_a_replacement_is_within_what_is_promised() -> None:
    """Two seconds; how long a busy machine takes to start it is another matter."""
    assert supervisor.LOOK + supervisor.PAUSE < 2


def test_sigterm_ends_everybody_with_success(hub: Hub, start: Start) -> None:
    work = begun(hub, start, imports=1)
    everybody = work.children()
    began = time.monotonic()
    work.process.send_signal(signal.SIGTERM)
    assert work.process.wait(10) == 0
    assert time.monotonic() - began < 5
    hub.wait(lambda: not any(map(processes.is_running, everybody)), patience=1)
    assert work.lines.count("worker_stopped") == BESIDE + 1
    assert "worker_died" not in work.lines


def test_a_supervisor_that_was_killed_leaves_no_process(hub: Hub, start: Start) -> None:
    work = begun(hub, start, imports=1)
    everybody = work.children()
    assert len(everybody) == ALWAYS + 1
    work.process.kill()
    hub.wait(lambda: not any(map(processes.is_running, everybody)), patience=2)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_processes_share_nothing_but_memory(hub: Hub, start: Start) -> None:
    """The supervisor has neither thread nor connection, so no copy has another's."""
    work = begun(hub, start, imports=2)
    supervisor_pid, everybody = work.process.pid, work.children()
    assert len([*Path(f"/proc/{supervisor_pid}/task").iterdir()]) == 1
    assert not sockets(supervisor_pid)
    hub.wait(lambda: all(map(sockets, everybody)))
    for one, other in combinations(everybody, 2):
        assert not sockets(one) & sockets(other)
    assert {os.getsid(pid) for pid in everybody} == everybody
    frames = {pid for pid in (supervisor_pid, *everybody) if loaded(pid, "polars")}
    assert frames == work.children("imports")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_copy_takes_little_memory_of_its_own(hub: Hub, start: Start) -> None:
    """An interpreter that has loaded the same packages itself takes more than 40 MiB."""
    work = begun(hub, start, imports=1)
    for kind in ("service", "webhooks", "deltas", "metrics"):
        (pid,) = work.children(kind)
        assert anonymous(pid) < 25, kind


def anonymous(pid: int) -> float:
    """MiB that no other process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (dirty,) = (line.split()[1] for line in lines if line.startswith("Private_Dirty:"))
    return int(dirty) / 1024
