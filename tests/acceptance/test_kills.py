"""Workers die by SIGKILL in the middle of imports, and nobody can tell from the roster.

Two districts are pushed the same packages; the workers of one of them are killed, at moments that
follow the progress of the run so that every stage is hit. Nobody but the supervisor restarts
anything. What is compared afterwards are all rows of all tables.

Every change is tested with as few kills as hit every stage of every kind of push;
`ROSTERHUB_KILLS=20` asks for more.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
import pytest
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from schemas.events import Event, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.roster import ROSTERING
from schemas.runs import ENDED, STAGES, Stage
from tests.acceptance.conftest import (
    KILLS,
    LEASE,
    PATIENCE,
    SEED,
    UNGUARDED,
    Client,
    Hub,
    Json,
    wait_until,
)
from tests.acceptance.pushes import COUNTED, Push, delta_of, package
from tests.acceptance.twins import Twins, cloned

pytestmark = pytest.mark.chaos

SETTINGS: Mapping[str, object] = {"import_processes": 2, "gateway_processes": 1}

TAKEN_UP = LEASE + 10.0  # seconds
REPLACED = 5.0  # seconds; a process is started anew within two, and this machine has other work
MOST = KILLS or 10
LEAST = MOST * 3 // 4
"""Kills at least, and those of them at least that hit a running import."""
IN_ONE = 4 if KILLS else 2
"""Kills in one run, at most; a fifth attempt would be the last."""
TRIES = 5
"""How often a worker may be too quick to be put to sleep."""
GAZE = 0.1  # seconds between two looks: to look is work too, and the hub needs the machine
BOTH = 0.25
"""How often every import process is killed at once, so that only the supervisor can help."""


def story() -> list[Push]:
    """A year of a district: everything an import can do, one push after the other."""
    changes = package("changes", generation=1, mutations=0.3)
    return [
        package("first load"),
        changes,
        delta_of(changes),
        package("fewer people", users=750, generation=2, mutations=0.3),
        package("the next year", users=900, year=2027),
        package("back again", order=7),
    ]


# --- kills -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """When to kill: so many seconds after a run has entered a stage, or got on with a file."""

    stage: Stage
    file: str | None
    wait: float
    everyone: bool

    def has_come(self, event: Event) -> bool:
        match event:
            case StageStarted(stage=stage):
                return self.file is None and stage == self.stage
            case FileAdvanced(file=file):
                return file == self.file
            case _:
                return False


WAITS: Mapping[Stage, float] = {
    "open": 0.03,
    "read": 0.05,
    "check": 0.03,
    "apply": 0.08,
    "publish": 0.003,
}
"""The longest wait in each stage: shorter than the stage mostly is."""


def moments(dice: random.Random, push: Push, wanted: set[Stage], *, first: bool) -> list[Moment]:
    """So many moments as one run may have, each in another of the stages that are to be hit."""
    possible = [stage for stage in STAGES if stage in wanted and not (first and stage == "apply")]
    # A kill that comes too late finds the run ended: one comes early, and the late ones last.
    parts = possible[:2], possible[2:]
    stages = [s for part in parts for s in dice.sample(part, min(len(part), IN_ONE // 2))]
    stages.sort(key=STAGES.index)
    hurry = 0.2 if push.entity else 1.0  # one file is soon done
    files = [push.entity] if push.entity else [entity.file for entity in ROSTERING]
    return [
        Moment(
            stage,
            dice.choice(files) if stage == "read" else None,
            dice.uniform(0, WAITS[stage] * hurry),
            dice.random() < BOTH,
        )
        for stage in stages
    ]


@dataclass
class Kill:
    """A kill, and what came of it."""

    push: str
    moment: Moment
    pids: list[int]
    stage: Stage
    fence: int
    taken_up: float | None = None
    replaced: float | None = None
    next_fence: int | None = None

    @property
    def hit(self) -> bool:
        """Whether the run was not over: somebody had to begin again."""
        return self.next_fence is not None


@dataclass
class Storm:
    """A district whose workers were killed, its twin, and all that was seen meanwhile."""

    killed: Client
    twin: Client
    pushes: list[Push] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    runs: list[Json] = field(default_factory=list)
    twin_runs: list[Json] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    allowed: list[int] = field(default_factory=list)

    @property
    def hits(self) -> list[Kill]:
        return [kill for kill in self.kills if kill.hit]

    @property
    def missed(self) -> set[Stage]:
        """Stages that no kill has hit."""
        return {*STAGES} - {kill.stage for kill in self.hits}


@pytest.fixture(scope="module")
def storm(hub: Hub) -> Storm:
    """Push everything twice; kill during the second time."""
    print(f"seed {SEED}")  # noqa: T201  # shown when a test fails
    dice = random.Random(SEED)
    storm = Storm(killed=hub.district(**UNGUARDED), twin=hub.district(**UNGUARDED))
    pushes = story()
    for push in pushes:
        uninterrupted(storm, push)
    with hub.database() as db, watching(storm):
        for push in pushes:
            waiting = moments(dice, push, {*STAGES}, first=push is pushes[0])
            storm.runs.append(Killer(hub, db, storm, push, waiting).run())
        for push in more(storm):
            uninterrupted(storm, push)
            waiting = moments(dice, push, storm.missed or {*STAGES}, first=False)
            storm.runs.append(Killer(hub, db, storm, push, waiting).run())
    report(hub, storm)
    return storm


def uninterrupted(storm: Storm, push: Push) -> None:
    """Push to the twin, and write down what came of it."""
    run = storm.twin.settled(push.to(storm.twin))
    assert (run["state"], run["attempts"]) == ("applied", 1), run
    storm.pushes.append(push)
    storm.twin_runs.append(run)
    storm.allowed.append(total(storm.twin))


def more(storm: Storm) -> Iterator[Push]:
    """Changes upon changes, as long as too little was hit: some stages are short."""
    for generation in range(10, 20 + MOST):
        if not storm.missed and len(storm.kills) >= MOST and len(storm.hits) >= LEAST:
            return
        yield package(f"generation {generation}", generation=generation, mutations=0.3)


@dataclass
class Killer:
    """Follows a run, and kills the process that works on it whenever a moment has come."""

    hub: Hub
    db: psycopg.Connection[TupleRow]
    storm: Storm
    push: Push
    waiting: list[Moment]
    run_id: str = ""
    stage: Stage = STAGES[0]
    last: Kill | None = None
    fence: int = 0
    worker: int = 0

    def run(self) -> Json:
        """Push; answer the run as it ended."""
        self.run_id = self.push.to(self.storm.killed)
        for event in self.hub.listen(self.run_id):
            match event:
                case RunStarted():
                    self._look()
                    self._reached(STAGES[0], anew=True)
                case StageStarted(stage=stage):
                    self._reached(stage, anew=False)
                case RunEnded():
                    break
                case _:
                    pass
            if self.waiting and self.worker and self.waiting[0].has_come(event):
                self._kill(self.waiting.pop(0))
                if not self.storm.kills[-1].hit:
                    break  # it was over already, and its last event died with its worker
        return self.storm.killed.ended(self.run_id)

    def _reached(self, stage: Stage, *, anew: bool) -> None:
        """What is told before the next beginning was done before the last kill."""
        self.stage = stage
        if self.last and not anew:
            self.last.stage = stage
        else:
            self.last = None

    def _look(self) -> str:
        """Who works on the run; looked up early, for the moment of a kill must not wait."""
        state, self.fence, worker = self.db.execute(LOOK, [self.run_id]).fetchall()[0]
        self.worker = int(worker.rpartition(":")[2]) if worker else 0
        return str(state)

    def _kill(self, moment: Moment) -> None:
        before = self.hub.workers()
        pids = [*before] if moment.everyone else [self.worker]
        assert {*pids} <= {*before}, "the worker is a child of the supervisor"
        time.sleep(moment.wait)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        kill = Kill(self.push.name, moment, pids, self.stage, self.fence)
        self.storm.kills.append(kill)
        self.last = kill
        self._await_consequences(kill, len(before), began)

    def _await_consequences(self, kill: Kill, posts: int, began: float) -> None:
        """The run is taken up again unless it was over, and the dead are replaced."""
        while kill.taken_up is None or kill.replaced is None:
            seconds = time.monotonic() - began
            assert seconds < PATIENCE, f"nobody came after {kill}"
            state = self._look()
            if kill.taken_up is None and self.fence > kill.fence:
                kill.taken_up, kill.next_fence = seconds, self.fence
            elif kill.taken_up is None and state in ENDED:
                kill.taken_up = 0.0  # its commit was on its way
            if kill.replaced is None:
                now = self.hub.workers()
                if len(now) == posts and not {*now} & {*kill.pids}:
                    kill.replaced = seconds
            time.sleep(GAZE)


LOOK: LiteralString = "select state, fence, worker from runs where id = %s"


@contextmanager
def watching(storm: Storm) -> Iterator[None]:
    """A reader who never stops, and writes down how many records it was told of."""
    over = threading.Event()

    def read() -> None:
        reader = storm.killed.again()
        while not over.wait(GAZE):
            storm.totals.append(total(reader))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def total(client: Client) -> int:
    return int(client.page(COUNTED, limit=1).headers["X-Total-Count"])


def report(hub: Hub, storm: Storm) -> None:
    stages = Counter(kill.stage for kill in storm.hits)
    waits = [kill.taken_up or 0.0 for kill in storm.hits]
    hub.happened(
        f"{len(storm.kills)} worker kills, {len(storm.hits)} hit a running import"
        f" ({', '.join(f'{stage} {stages[stage]}' for stage in STAGES)});"
        f" taken up again after {min(waits):.1f} to {max(waits):.1f} s;"
        f" replaced within {max(kill.replaced or 0.0 for kill in storm.kills):.1f} s"
    )


# --- claims ------------------------------------------------------------------------------------


def test_the_kills_hit_running_imports_in_every_stage(storm: Storm) -> None:
    assert len(storm.kills) >= MOST
    assert len(storm.hits) >= LEAST, storm.kills
    assert storm.missed == set(), storm.kills


def test_the_kills_hit_every_kind_of_push(storm: Storm) -> None:
    assert {kill.push for kill in storm.hits} >= {push.name for push in story()}


def test_a_killed_run_is_taken_up_again_in_time(storm: Storm) -> None:
    late = [kill for kill in storm.hits if (kill.taken_up or 0.0) > TAKEN_UP]
    assert not late, f"not within {TAKEN_UP} s: {late}"


def test_the_supervisor_replaces_the_dead(storm: Storm) -> None:
    late = [kill for kill in storm.kills if (kill.replaced or 0.0) > REPLACED]
    assert not late, late


def test_every_attempt_was_counted_and_fenced(storm: Storm) -> None:
    hits = Counter(kill.push for kill in storm.hits)
    assert max(run["attempts"] for run in storm.runs) > 1
    for push, run in zip(storm.pushes, storm.runs, strict=True):
        assert run["attempts"] == 1 + hits[push.name]
    assert all(kill.next_fence == kill.fence + 1 for kill in storm.hits)


def test_every_run_ends_as_its_uninterrupted_twin(storm: Storm) -> None:
    names = ("state", "version", "counts", "findings", "files", "profile", "failure", "stage")
    for run, twin in zip(storm.runs, storm.twin_runs, strict=True):
        assert {name: run[name] for name in names} == {name: twin[name] for name in names}


def test_the_database_is_that_of_an_uninterrupted_run(hub: Hub, storm: Storm) -> None:
    """No row is missing, doubled or falsely deleted, in all tables, live and history."""
    with hub.database() as db:
        assert Twins(db, storm.killed.tenant_id, storm.twin.tenant_id).differences() == []


def test_both_districts_serve_the_same(storm: Storm) -> None:
    for file in ("orgs", "classes", "users"):
        mine, other = (
            [{**each, "dateLastModified": ""} for each in client.collection(file)]
            for client in (storm.killed, storm.twin)
        )
        assert mine == other


def test_a_reader_saw_one_version_or_the_next(storm: Storm) -> None:
    """The totals of the versions, in their order, and nothing between."""
    seen = [total for at, total in enumerate(storm.totals) if storm.totals[at - 1 : at] != [total]]
    assert len({*seen}) > 1
    expected = iter([0, *storm.allowed])
    assert all(total in expected for total in seen), (seen, storm.allowed)


def test_no_upload_is_left_in_the_work_folder(hub: Hub, storm: Storm) -> None:
    """It holds names of children. Who is killed cleans up nothing; who comes next does."""
    assert storm.hits
    wait_until(lambda: not [*hub.folder.glob("*rosterhub-*/*")], "the work folder is swept", 10)


# --- a worker that sleeps ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sleepy(hub: Hub) -> tuple[Client, Client]:
    """A district whose workers fall asleep, and its twin."""
    clients = hub.district(**UNGUARDED), hub.district(**UNGUARDED)
    for client in clients:
        client.applied(package("first load").body)
    return clients


@pytest.mark.parametrize(("series", "stage"), [(10, "read"), (20, "check"), (30, "apply")])
def test_a_worker_that_slept_past_its_lease_changes_nothing_when_it_wakes(
    hub: Hub, sleepy: tuple[Client, Client], series: int, stage: Stage
) -> None:
    """A killed worker never comes back; this one does, and the fence is all that stops it."""
    mine, twin = sleepy
    with hub.database() as db:
        for generation in range(series, series + TRIES):
            changes = package("changes", generation=generation, mutations=0.3)
            twin.applied(changes.body)
            run_id = changes.to(mine)
            if taken_up := overslept(hub, db, run_id, stage):
                break
        assert taken_up
        assert taken_up < TAKEN_UP
        run = mine.ended(run_id)
        assert (run["state"], run["attempts"]) == ("applied", 2)
        wait_until(lambda: [run_id] == fenced(hub, run_id), "the fence has stopped it")
        assert Twins(db, mine.tenant_id, twin.tenant_id).differences() == []


def overslept(
    hub: Hub, db: psycopg.Connection[TupleRow], run_id: str, stage: Stage
) -> float | None:
    """Put the worker to sleep in that stage until another has taken the run up; after how long.

    None: it had ended before, for whoever watches is slow at times, too.
    """

    def look() -> tuple[str, int, str]:
        [(state, fence, worker)] = db.execute(LOOK, [run_id]).fetchall()
        return state, fence, worker

    for event in hub.listen(run_id):
        match event:
            case RunStarted():
                _, fence, worker = look()
            case StageStarted(stage=entered) if entered == stage:
                break
            case _:
                pass
    pid = int(worker.rpartition(":")[2])
    assert pid in hub.workers()
    os.kill(pid, signal.SIGSTOP)
    try:
        if look() != ("running", fence, worker):
            return None
        return wait_until(lambda: look()[1] > fence, "it is taken up")
    finally:
        os.kill(pid, signal.SIGCONT)


def fenced(hub: Hub, run_id: str) -> list[str]:
    """What the workers log when they see that a run is another's."""
    return [
        line["run_id"]
        for line in hub.log("work")
        if line["event"] == "run_taken_over" and line["run_id"] == run_id
    ]


# --- the checker -------------------------------------------------------------------------------

DOUBLED: LiteralString = "insert into {0}.{1} select * from {0}.{1} where tenant_id "
FIRST: LiteralString = "sourced_id = (select min(sourced_id) from {0}.{1} where tenant_id = %(t)s)"

PLANTED: Mapping[str, tuple[str, LiteralString, str]] = {
    "a lost record": (
        "users",
        "delete from {0}.{1} where tenant_id = %(t)s and sourced_id = %(user)s",
        "users: missing",
    ),
    "a record too much": ("orgs", DOUBLED + "= %(t)s limit 1", "orgs: too much"),
    "a false deletion": (
        "users",
        "update {0}.{1} set status = 'tobedeleted' where tenant_id = %(t)s and " + FIRST,
        "users: falsely deleted",
    ),
    "a doubled row of history": (
        "enrollments_history",
        DOUBLED + "= %(t)s limit 1",
        "enrollments: ",
    ),
    "every history doubled, the twin's too": (
        "enrollments_history",
        DOUBLED + "= any(array[%(t)s, %(twin)s])",
        "enrollments: ",
    ),
    "a lost row of history": (
        "enrollments_history",
        "delete from {0}.{1} where tenant_id = %(t)s and " + FIRST,
        "enrollments_history: missing",
    ),
    "an update without its before-image": (
        "classes",
        "update {0}.{1} set title = title || '!' where tenant_id = %(t)s and " + FIRST,
        "classes: too much",
    ),
    "a before-image that leads nowhere": (
        "users_history",
        "update {0}.{1} set until_version = 99 where tenant_id = %(t)s and " + FIRST,
        "users: ",
    ),
    "a version twice": ("versions", DOUBLED + "= %(t)s limit 1", "version "),
    "a gap in the versions": (
        "versions",
        "update {0}.{1} set version = version + 1 where tenant_id = %(t)s and version > 2",
        "version ",
    ),
    "a wrong count": (
        "record_counts",
        "update {0}.{1} set records = records + 1 where tenant_id = %(t)s",
        "record_counts: too much",
    ),
}
"""Bugs as an import could make them, and what the checker must say."""


@pytest.fixture(scope="module")
def pair(hub: Hub) -> tuple[int, int]:
    """Two small districts that are twins."""
    clients = hub.district(**UNGUARDED), hub.district(**UNGUARDED)
    changes = package("changes", users=90, generation=1, mutations=0.5)
    for client in clients:
        for push in (package("first load", users=90), changes, delta_of(changes)):
            assert client.settled(push.to(client))["state"] == "applied"
    return clients[0].tenant_id, clients[1].tenant_id


@contextmanager
def clone(hub: Hub, pair: tuple[int, int]) -> Iterator[psycopg.Connection[TupleRow]]:
    """A copy of what the two have, gone at the end."""
    with hub.database() as db, db.transaction(force_rollback=True):
        cloned(db, "clone", pair)
        yield db


def test_the_checker_finds_nothing_in_twins(hub: Hub, pair: tuple[int, int]) -> None:
    with clone(hub, pair) as db:
        assert Twins(db, *pair, schema="clone").differences() == []
        for table in ("users", "users_history", "enrollments_history", "versions"):
            query = SQL("select from clone.{} where tenant_id = %s limit 1")
            assert db.execute(query.format(Identifier(table)), [pair[0]]).rowcount


@pytest.mark.parametrize("name", PLANTED)
def test_the_checker_finds_a_planted_bug(hub: Hub, pair: tuple[int, int], name: str) -> None:
    table, statement, said = PLANTED[name]
    mine, twin = pair
    with clone(hub, pair) as db:
        (user,) = db.execute(
            "select max(sourced_id) from clone.users where tenant_id = %s and status = 'active'",
            [mine],
        ).fetchall()[0]
        query = SQL(statement).format(Identifier("clone"), Identifier(table))
        assert db.execute(query, {"t": mine, "twin": twin, "user": user}).rowcount
        found = Twins(db, mine, twin, schema="clone").differences()
        assert [each for each in found if each.startswith(said)], found
