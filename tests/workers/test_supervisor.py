"""`rosterhub work`: its posts are always filled, and nobody outlives it."""

import os
import re
import signal
import time

import requests

from deploy.local import processes
from tests.workers.conftest import Hub, Package, Start, Work
from workers import supervisor

BESIDE = 3  # service, webhooks, deltas: tests want no process for exports
RESTARTS = 'rosterhub_worker_restarts_total{kind="imports"}'
APPLIED = 'rosterhub_runs_ended_total{kind="import",state="applied"}'


def begun(hub: Hub, start: Start, imports: int) -> Work:
    """A supervisor with a process of each kind and some for imports, all of them at work."""
    work = start(import_processes=imports)
    hub.wait(lambda: work.lines.count("worker_started") == BESIDE + imports, patience=20)
    return work


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
    hub.wait(lambda: len(work.children() - {victim}) == BESIDE + 2)
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
    assert len(everybody) == BESIDE + 1
    work.process.kill()
    hub.wait(lambda: not any(map(processes.is_running, everybody)), patience=2)
