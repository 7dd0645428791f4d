"""Redis forgets everything, goes away, and hangs, while districts go on uploading.

It carries bells and progress only, so all that may be lost is time: an upload is answered within a
second, whoever was answered sees the run end, and whoever watches a run hears of its end.

Every change is tested with short outages, which are longer than anybody waits for Redis;
`ROSTERHUB_FULL=1` lets it be away for twenty seconds.
"""

import io
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest
from redis import Redis as RedisClient
from redis import RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from loadtests.rosters import District, write_package
from tests.acceptance.conftest import FULL, UNGUARDED, Answer, Client, Hub, Json, wait_until

pytestmark = pytest.mark.chaos

CLIENTS = 3
PAUSE = 1.0  # seconds between the uploads of a client
PROMPT = 1.0  # seconds
WIPES = 20 if FULL else 15
GONE = 20.0 if FULL else 5.0  # seconds
HUNG = 10.0 if FULL else 5.0  # seconds
WATCHED = 30.0  # seconds until a watcher has heard the end, at most


def package(generation: int) -> bytes:
    out = io.BytesIO()
    write_package(
        out,
        District(users=60, schools=2, generation=generation, mutations=0.5 if generation else 0),
    )
    return out.getvalue()


PACKAGES = [package(generation) for generation in range(6)]


@dataclass
class Fault:
    """What was done to Redis, what the clients were answered, and what they saw in the end."""

    client: Client
    answers: list[Answer] = field(default_factory=list)
    promised: list[tuple[Client, str]] = field(default_factory=list)
    runs: list[Json] = field(default_factory=list)
    watched: list[list[Json]] = field(default_factory=list)
    away: int = 0
    """How often somebody asked Redis in vain."""


def wiped(hub: Hub) -> None:
    """FLUSHALL, again and again."""
    with RedisClient.from_url(hub.redis.url) as redis:
        for _ in range(WIPES):
            redis.flushall()
            time.sleep(0.3)


def stopped(hub: Hub) -> None:
    """Gone, and empty when it is back."""
    with RedisClient.from_url(hub.redis.url) as redis:
        redis.flushall()
    hub.redis.stop()
    time.sleep(GONE)
    hub.redis.start()


def hung(hub: Hub) -> None:
    """Connections stand, and nobody answers."""
    os.kill(hub.redis.pid, signal.SIGSTOP)
    try:
        time.sleep(HUNG)
    finally:
        os.kill(hub.redis.pid, signal.SIGCONT)


FAULTS: list[Callable[[Hub], None]] = [wiped, stopped, hung]


@pytest.fixture(scope="module", params=FAULTS, ids=lambda fault: fault.__name__)
def fault(request: pytest.FixtureRequest, hub: Hub) -> Fault:
    """Do it to Redis while several districts upload, and wait for every run."""
    districts = [hub.district(**UNGUARDED) for _ in range(CLIENTS)]
    fault = Fault(districts[0])
    begun = [client.push(PACKAGES[0]) for client in districts]  # of which some still run
    fault.promised += zip(districts, begun, strict=True)
    with uploading(fault, districts), counting(hub, fault):
        request.param(hub)
    for client, run_id in fault.promised:
        fault.runs.append(client.ended(run_id))
    slowest = max(answer.seconds for answer in fault.answers)
    hub.happened(
        f"Redis {request.param.__name__}: {len(fault.answers)} uploads, the slowest"
        f" answered after {slowest:.2f} s; {len(fault.runs)} runs ended"
    )
    return fault


@contextmanager
def uploading(fault: Fault, districts: list[Client]) -> Iterator[None]:
    """Every district sends one package after the other; one watcher follows what is sent."""
    over = threading.Event()

    def upload(district: Client) -> None:
        client = Client(
            district.address, district.key, fault.answers, district.district, district.tenant_id
        )
        for body in itertools.cycle(PACKAGES):
            answer = client.send(body)
            if answer.status_code == HTTPStatus.ACCEPTED:
                fault.promised.append((district, answer.json()["id"]))
            if over.wait(PAUSE):
                return

    def watch() -> None:
        watcher = fault.client.again()
        while not over.is_set():
            fault.watched.append(watcher.events(watcher.push(PACKAGES[len(fault.watched) % 2])))

    threads = [threading.Thread(target=upload, args=[each]) for each in districts]
    threads.append(threading.Thread(target=watch))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def counting(hub: Hub, fault: Fault) -> Iterator[None]:
    """Ask Redis now and then: the proof that the fault happened."""
    over = threading.Event()
    witness = RedisClient.from_url(
        hub.redis.url,
        socket_timeout=0.2,
        socket_connect_timeout=0.2,
        retry=Retry(NoBackoff(), 0),
    )
    witness.set("witness", "here")

    def ask() -> None:
        while not over.wait(0.1):
            try:
                fault.away += witness.get("witness") is None
            except RedisError:
                fault.away += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        witness.close()


def test_the_fault_happened(fault: Fault) -> None:
    assert fault.away > 10


def test_every_upload_is_accepted_within_a_second(fault: Fault) -> None:
    assert len(fault.answers) >= 10
    assert {answer.status for answer in fault.answers} == {HTTPStatus.ACCEPTED}
    late = [answer for answer in fault.answers if answer.seconds > PROMPT]
    assert not late, late


def test_every_run_that_was_promised_is_applied(fault: Fault) -> None:
    assert len(fault.runs) == len(fault.promised) > len(fault.answers)
    assert {run["state"] for run in fault.runs} == {"applied"}
    assert {run["attempts"] for run in fault.runs} == {1}


def test_every_district_has_what_it_sent_last(fault: Fault) -> None:
    for client in {client.district: client for client, _ in fault.promised}.values():
        runs = client.runs()
        assert [run["state"] for run in runs] == ["applied"] * len(runs)
        newest = runs[0]["version"]
        assert newest == max(run["version"] for run in runs)


def test_every_watcher_hears_the_end(fault: Fault) -> None:
    assert fault.watched
    for events in fault.watched:
        assert events[0]["event"] == "snapshot"
        assert events[-1]["event"] == "run_ended"
        assert events[-1]["data"]["state"] == "applied"


def test_progress_is_told_again_afterwards(hub: Hub, fault: Fault) -> None:
    """Not only from the row: the stream, which the fault had silenced, is back."""

    def told() -> bool:
        client = fault.client
        events = client.events(client.push(PACKAGES[0]))
        return "stage_started" in {event["event"] for event in events}

    wait_until(told, "the stream is told of stages again", WATCHED)
    assert hub.admin.get("/health/ready")["redis"] == "reachable"
