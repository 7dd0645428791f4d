"""PostgreSQL dies by SIGKILL in every stage of an import, and comes back.

Only the database server is started again, as a machine's own supervision would do it; workers and
gateway see to themselves. Meanwhile clients go on reading and uploading: what was answered 202 is
applied, and what cannot be done is answered "busy", never as a fault.
"""

import io
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import LiteralString

import psycopg
import pytest
import requests
from psycopg.rows import TupleRow

from loadtests.rosters import District, write_package
from schemas.events import RunEnded, RunStarted, StageStarted
from schemas.runs import STAGES, Stage
from tests.acceptance.conftest import (
    BUSY,
    ROSTERS,
    SEED,
    UNGUARDED,
    Client,
    Hub,
    Json,
    wait_until,
)
from tests.acceptance.twins import Twins

pytestmark = pytest.mark.chaos

AWAY = 2.5  # seconds
BACK = 10.0  # seconds until the gateway serves again
TRIES = 4
"""How often each stage is tried: some are over before a signal arrives."""

WAITS: Mapping[Stage, float] = {
    "open": 0.0,
    "read": 0.1,
    "check": 0.02,
    "apply": 0.05,
    "publish": 0.003,
}
"""The longest wait in each stage before the server is ended."""


def package(generation: int = 0, **district: object) -> bytes:
    wanted: dict[str, object] = {"users": 1000, "schools": 3, "enrollments_per_student": 4}
    if generation:
        wanted |= {"generation": generation, "mutations": 0.3}
    out = io.BytesIO()
    write_package(out, District(**{**wanted, **district}))  # type: ignore[arg-type]  # by name
    return out.getvalue()


SMALL = package(users=60)


@dataclass
class Death:
    """One end of the server: where the run was meant to be, where it was, and how it ended."""

    aim: Stage
    stage: Stage | None = None
    run: Json = field(default_factory=dict)
    twin: Json = field(default_factory=dict)
    recovered: float = 0.0

    @property
    def hit(self) -> bool:
        """Whether the run was not over: somebody had to begin again."""
        return int(self.run["attempts"]) > 1


@dataclass
class Outage:
    """What was done to a district's server, and what everybody was told meanwhile."""

    client: Client
    twin: Client
    deaths: list[Death] = field(default_factory=list)
    answers: list[requests.Response] = field(default_factory=list)
    promised: list[tuple[Client, str]] = field(default_factory=list)

    @property
    def hit(self) -> set[Stage]:
        return {death.stage for death in self.deaths if death.hit and death.stage}


@pytest.fixture(scope="module")
def outage(hub: Hub) -> Outage:
    """End the server in every stage, each time in the middle of another push."""
    print(f"seed {SEED}")  # noqa: T201  # shown when a test fails
    dice = random.Random(SEED)
    outage = Outage(client=patient(hub), twin=patient(hub))
    for client in (outage.twin, outage.client):
        client.applied(package())
    pushes = (package(generation) for generation in range(1, 100))
    for _ in range(TRIES):
        for aim in STAGES:
            if aim not in outage.hit:
                outage.deaths.append(died(hub, outage, next(pushes), aim, dice))
    for client, run_id in outage.promised:
        client.ended(run_id)
    stages = Counter(death.stage for death in outage.deaths if death.hit)
    hub.happened(
        f"{len(outage.deaths)} ends of PostgreSQL, {stages.total()} hit a running import"
        f" ({', '.join(f'{stage} {stages[stage]}' for stage in STAGES)}); the gateway served again"
        f" within {max(death.recovered for death in outage.deaths):.1f} s"
    )
    return outage


def patient(hub: Hub) -> Client:
    """A district whose client comes back when the hub is busy."""
    hub.admin.patient = True
    client = hub.district()
    client.patient = True
    decided = client.ask("PUT", "/api/v1/policy", json=UNGUARDED)
    assert decided.ok, decided.text
    return client


def died(hub: Hub, outage: Outage, push: bytes, aim: Stage, dice: random.Random) -> Death:
    """Push, end the server in that stage, start it again, and wait until the run has ended."""
    death = Death(aim, twin=outage.twin.applied(push))
    neighbour = patient(hub)
    with hub.database() as db:  # opened early, for the first stage is the shortest
        run_id = outage.client.push(push)
        outage.promised.append((neighbour, neighbour.push(SMALL)))
        backend = wait_for(hub, db, run_id, aim)
    time.sleep(dice.uniform(0, WAITS[aim]))
    with suppress(ProcessLookupError):
        os.kill(backend, signal.SIGKILL)  # first, for some stages are shorter than a look around
    hub.postgres.kill()
    with asking(outage, neighbour):
        time.sleep(AWAY)
        hub.postgres.start()
        reader = outage.client.again()
        death.recovered = wait_until(lambda: serves(reader), "the gateway serves")
    death.run = outage.client.ended(run_id)
    death.stage = stage_of_first_attempt(hub, run_id)
    return death


def wait_for(hub: Hub, db: psycopg.Connection[TupleRow], run_id: str, aim: Stage) -> int:
    """Until the run enters the stage; the process of the server that works for it."""
    backend = 0
    for event in hub.listen(run_id):
        match event:
            case RunStarted():
                [(backend,)] = db.execute(BACKEND).fetchall()
                if aim == "open":
                    break
            case StageStarted(stage=stage) if stage == aim:
                break
            case RunEnded():
                break
            case _:
                pass
    assert backend
    return backend


BACKEND: LiteralString = """
    select pid from pg_stat_activity
    where application_name = 'rosterhub import' order by backend_start desc limit 1
"""


def stage_of_first_attempt(hub: Hub, run_id: str) -> Stage:
    """The last stage that the worker told before it began anew; a run begins in the first."""
    stage: Stage = STAGES[0]
    for event in hub.listen(run_id):
        match event:
            case RunStarted(attempt=2) | RunEnded():
                break
            case StageStarted():
                stage = event.stage
            case _:
                pass
    return stage


@contextmanager
def asking(outage: Outage, neighbour: Client) -> Iterator[None]:
    """Clients who read and upload as if nothing had happened."""
    over = threading.Event()

    def read() -> None:
        reader = neighbour.again()
        while not over.is_set():
            outage.answers.append(reader.ask("GET", f"{ROSTERS}/users"))

    def upload() -> None:
        writer = neighbour.again()
        while not over.is_set():
            answer = writer.send(SMALL)
            outage.answers.append(answer)
            if answer.status_code == HTTPStatus.ACCEPTED:
                outage.promised.append((neighbour, answer.json()["id"]))
                time.sleep(0.5)

    threads = [threading.Thread(target=each) for each in (read, upload)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def serves(client: Client) -> bool:
    return client.ask("GET", f"{ROSTERS}/users").ok


def test_the_server_died_in_every_stage(outage: Outage) -> None:
    assert outage.hit == {*STAGES}, outage.deaths


def test_every_run_ends_as_its_uninterrupted_twin(outage: Outage) -> None:
    names = ("state", "version", "counts", "findings", "files", "profile", "failure", "stage")
    for death in outage.deaths:
        assert death.run["state"] == "applied"
        assert {n: death.run[n] for n in names} == {n: death.twin[n] for n in names}


def test_the_database_is_that_of_an_uninterrupted_run(hub: Hub, outage: Outage) -> None:
    with hub.database() as db:
        assert Twins(db, outage.client.tenant_id, outage.twin.tenant_id).differences() == []


def test_every_upload_that_was_accepted_is_applied(outage: Outage) -> None:
    assert len(outage.promised) > len(outage.deaths)
    for client, run_id in outage.promised:
        run = client.run(run_id)
        assert run["state"] == "applied", run
    for client in {client.district: client for client, _ in outage.promised}.values():
        assert len(client.collection("users")) == 60
        assert {run["version"] for run in client.runs()} == {1}


def test_the_gateway_says_that_it_is_busy_and_nothing_worse(outage: Outage) -> None:
    good = (HTTPStatus.OK, HTTPStatus.ACCEPTED)
    busy = [answer for answer in outage.answers if answer.status_code not in good]
    assert len(busy) >= len(outage.deaths)
    for answer in busy:
        assert answer.status_code in BUSY, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        if ROSTERS in answer.url:
            [code] = answer.json()["imsx_CodeMinor"]["imsx_codeMinorField"]
            assert code["imsx_codeMinorFieldValue"] == "server_busy"
        else:
            assert answer.json()["code"] == "server_busy"


def test_the_gateway_recovers_by_itself(outage: Outage) -> None:
    late = [death.recovered for death in outage.deaths if death.recovered > BACK]
    assert not late, late
