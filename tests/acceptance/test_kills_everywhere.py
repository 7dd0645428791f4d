"""Workers die by SIGKILL wherever a run can be: import, review, hold, exclusion, approval, undo.

Two districts do the same deeds one after the other. In the first nothing happens; in the second the
process at the run is killed at random moments, and some runs are cancelled at random moments, while
others die. After each deed the second district stands where the first one does, or, if the run was
cancelled, where it stood before: every row of every table that a version lies in is in the
comparison. A reader that looks all the time never saw anything between.

Nobody but the supervisor restarts anything. Every change is tested with as few kills as hit every
kind of deed; `ROSTERHUB_KILLS=100` asks for more.
"""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow
from redis import Redis as RedisClient

from schemas.events import EVENT, RunEnded, RunStarted, StageStarted, stream
from schemas.proposals import WAITING
from schemas.runs import ENDED, STAGES
from tests.acceptance.conftest import (
    KILLS,
    LEASE,
    PATIENCE,
    SEED,
    SETTLED,
    Client,
    Hub,
    Json,
    wait_until,
)
from tests.acceptance.pushes import Push, package
from tests.acceptance.test_kills import LOOK
from tests.acceptance.twins import ROSTER, State, Twins, state_of, unlike

pytestmark = pytest.mark.chaos

SETTINGS: Mapping[str, object] = {"import_processes": 2, "gateway_processes": 1}

WANTED = KILLS or 10
"""Kills that hit a running run."""
MOST = 4 if KILLS else 1
"""Kills in one deed, at most: a fifth attempt is the last."""
STUCK = LEASE + 10.0  # seconds
BOTH = 0.15
"""How often every import process is killed at once, so that only the supervisor can help."""
LATEST = 1.0 if KILLS else 0.9
"""When a kill comes at the latest, as a share of the time that the deed takes in peace."""
GAZE = 0.02  # seconds between two looks at a run
READ = 0.3  # seconds between two looks at the whole roster
HELD = 0.25
"""The share of deletions that holds a run: what an approval left out comes again with the next."""
SCHOOL = 1
"""Which of the schools an approval leaves out."""


# --- What is done ------------------------------------------------------------------------------


@dataclass
class Side:
    """A district, and the run that it is about."""

    client: Client
    run: Json = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/api/v1/imports/{self.run['id']}"

    @property
    def version(self) -> int:
        version: int = self.client.get("/api/v1/versions", params={"limit": 1})["items"][0][
            "version"
        ]
        return version


Begin = Callable[[Side], str]
"""Ask the hub for something; answers the id of the run that does it."""


@dataclass(frozen=True)
class Deed:
    """Something that is done to a district, and in which state its run comes to rest.

    `calm`: nobody is killed, for it leads to the next deed only. `again`: it is cancelled at a
    random moment; this is what somebody does who wants it nevertheless.
    """

    kind: str
    begin: Begin
    state: str
    calm: bool = False
    again: tuple[Begin, ...] = ()


def pushed(push: Push, apply: str | None = None) -> Begin:
    return lambda side: side.client.push(push.body, apply=apply)


def excluded(side: Side) -> str:
    return str(side.client.post(f"{side.path}/exclusions", {"schools": [school(side)]})["id"])


def approved(side: Side) -> str:
    """Approve what was shown, with what was left out if anything was."""
    run = side.client.run(side.run["id"])
    body: Json = {"diff": run["diff"]}
    if left := run["exclusions"]:
        body = {"diff": left["diff"], "except": left["except"]}
    return str(side.client.post(f"{side.path}/approve", body)["id"])


def rejected(side: Side) -> str:
    return str(side.client.post(f"{side.path}/reject")["id"])


def undone(side: Side) -> str:
    return str(side.client.post(f"/api/v1/versions/{side.version}/undo")["id"])


def released(back: int) -> Begin:
    """Let the next packages bring back what was undone so many versions ago."""

    def begin(side: Side) -> str:
        side.client.post(f"/api/v1/versions/{side.version - back}/release")
        return str(side.run["id"])

    return begin


def retried(side: Side) -> str:
    return str(side.client.post(f"{side.path}/retry")["id"])


def school(side: Side) -> str:
    orgs = side.client.collection("orgs")
    return str(sorted(org["sourcedId"] for org in orgs if org["type"] == "school")[SCHOOL])


small = partial(package, users=240, mutations=0.1)


def deeds(number: int) -> Iterator[Deed]:
    """One time around all that can happen to a run; each time around other people change."""

    def changed(step: int) -> Push:
        return small("changes", generation=10 * number + step)

    def fewer(step: int) -> Push:
        return small("fewer people", users=150, generation=10 * number + step)

    yield Deed("import", pushed(changed(1)), "applied")
    yield Deed("undo", undone, "applied")
    yield Deed("held: it would redo what was undone", pushed(changed(1)), "held")
    yield Deed("approval of what was held", approved, "applied")
    yield Deed("release", released(1), "applied", calm=True)
    yield Deed("review", pushed(changed(2), "review"), "review")
    yield Deed("superseding", pushed(changed(3), "review"), "review")
    yield Deed("exclusion", excluded, "review")
    yield Deed("approval of the rest", approved, "applied")
    yield Deed("held: it would delete many", pushed(fewer(4)), "held")
    yield Deed("rejection", rejected, "rejected", calm=True)
    yield Deed("cancelled import", pushed(changed(5)), "applied", again=(retried,))
    yield Deed("review", pushed(changed(6), "review"), "review", calm=True)
    yield Deed("cancelled approval", approved, "applied", again=(retried, approved))
    yield Deed("cancelled undo", undone, "applied", again=(undone,))
    yield Deed("release", released(0), "applied", calm=True)


KINDS = frozenset(deed.kind for deed in deeds(0) if not deed.calm)


# --- What is done to the workers ---------------------------------------------------------------


@dataclass
class Kill:
    """A kill, where the run was when it came, and what came of it."""

    kind: str
    stage: str
    pids: list[int]
    fence: int
    running: bool
    taken_up: float | None = None
    cancelled: bool = False

    @property
    def hit(self) -> bool:
        """Whether the run was not over: somebody had to begin again, or it was cancelled."""
        return self.taken_up is not None or (self.running and self.cancelled)


@dataclass
class Storm:
    """The two districts, what was done to the second, and what is wrong with it."""

    hub: Hub
    db: psycopg.Connection[TupleRow]
    twin: Side
    mine: Side
    dice: random.Random
    states: list[State] = field(default_factory=list)
    seen: list[State] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    cancels: Counter[str] = field(default_factory=Counter)
    settled: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def hits(self) -> list[Kill]:
        return [kill for kill in self.kills if kill.hit]

    def load(self) -> None:
        """The roster with which both begin."""
        for side in (self.twin, self.mine):
            side.run = side.client.applied(small("first load", mutations=0.0).body)
        self.states.append(self._state(self.twin))
        self._compare("first load", self.states[-1])

    def rage(self) -> None:
        """Go around until enough was hit, and every kind of deed."""
        number = 0
        while not self.wrong and not self._enough():
            for deed in deeds(number):
                self.suffer(replace(deed, calm=True, again=()) if self._was_hit(deed) else deed)
                if self.wrong:
                    return
            number += 1
            assert number < WANTED, "the kills hit nothing"

    @property
    def kinds(self) -> set[str]:
        """What was being done when a kill hit."""
        return {kill.kind for kill in self.hits}

    @property
    def stages(self) -> set[str]:
        """In which stages kills have hit; there is one before the first, and one may be short."""
        return {kill.stage for kill in self.hits} & {*STAGES}

    def _enough(self) -> bool:
        return self._often() and self.kinds == KINDS and bool(self.cancels["cancelled"])

    def _often(self) -> bool:
        return len(self.hits) >= WANTED and len(self.stages) > len(STAGES) // 2

    def _was_hit(self, deed: Deed) -> bool:
        """Whether the deed may be left alone, so that what is still to be hit comes sooner."""
        missed = deed.kind not in self.kinds or (deed.again and not self.cancels["cancelled"])
        return self._often() and not missed

    def suffer(self, deed: Deed) -> None:
        """Do it in peace, then where the workers die; afterwards both stand where they should."""
        before = self.states[-1]
        seconds = self._undisturbed(deed)
        after = self._state(self.twin)
        self.states.append(after)
        run = Killer(self, deed, seconds).run()
        if run["state"] == "cancelled":
            assert deed.again, run
            self._let_finish()
            self._compare(f"{deed.kind}, cancelled", before)
            if self.wrong:
                return
            for begin in deed.again:
                run = self.mine.client.settled(begin(self.mine))
                self.mine.run = run
            self._compare(f"{deed.kind}, done again", after)
        else:
            self._compare(deed.kind, after)
            self.wrong += differences(deed, run, self.twin.run)

    def _undisturbed(self, deed: Deed) -> float:
        """Let the twin do it; answer for how many seconds a worker was at it."""
        run_id = deed.begin(self.twin)
        began = time.monotonic()
        while self.look(run_id)[0] not in (*SETTLED, "running"):
            began = time.monotonic()
            time.sleep(0.005)
        while self.look(run_id)[0] not in SETTLED:
            assert time.monotonic() < began + PATIENCE, f"{deed.kind} does not end"
            time.sleep(0.005)
        seconds = time.monotonic() - began
        self.twin.run = self.twin.client.run(run_id)
        assert self.twin.run["state"] == deed.state, (deed.kind, self.twin.run["guard"])
        return seconds

    def look(self, run_id: str) -> tuple[str, int, int]:
        """State, fence and the process that is at it."""
        [(state, fence, worker)] = self.db.execute(LOOK, [run_id]).fetchall()
        return state, fence, int(worker.rpartition(":")[2]) if worker else 0

    def _state(self, side: Side) -> State:
        return state_of(self.db, side.client.tenant_id)

    def _let_finish(self) -> None:
        """Wait until nobody writes the district: who goes on with a cancelled run must not."""
        self.db.execute(WRITER, [self.mine.client.tenant_id])

    def _compare(self, what: str, expected: State) -> None:
        if apart := unlike(self._state(self.mine), expected):
            self.wrong.append(f"{what}: the roster is neither as before nor as after: {apart}")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A reader who never stops, and writes down each state in which the roster was."""
        over = threading.Event()

        def read() -> None:
            with self.hub.database() as db:
                while not over.wait(READ):
                    state = state_of(db, self.mine.client.tenant_id)
                    if self.seen[-1:] != [state]:
                        self.seen.append(state)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    @property
    def faults(self) -> list[str]:
        """All that is wrong: after a deed, or seen meanwhile."""
        return [*self.wrong, *self.between]

    @property
    def between(self) -> list[str]:
        """Whether the reader saw anything but the states of the twin, in their order."""
        expected = iter(self.states)
        return [
            f"seen: {at} of {len(self.seen)}"
            for at, state in enumerate(self.seen)
            if state not in expected
        ]


WRITER: LiteralString = "select from districts where tenant_id = %s for no key update"

SAME = (
    *("state", "version", "counts", "findings", "profile", "failure", "stage", "apply"),
    *("base_version", "diff", "preview", "exclusions", "guard"),
)


def differences(deed: Deed, run: Json, twin: Json) -> list[str]:
    """How a run differs from one that nobody disturbed."""
    pairs = [(name, run[name], twin[name]) for name in SAME]
    mine, other = ({**(each["supersedes"] or {}), "run": None} for each in (run, twin))
    pairs.append(("supersedes", mine, other))
    return [f"{deed.kind}: {name} is {it}, not {was}" for name, it, was in pairs if it != was]


@dataclass
class Killer:
    """Follows one deed, and kills the process that is at it at random moments."""

    storm: Storm
    deed: Deed
    seconds: float
    run_id: str = ""
    fence: int = 0
    last: float = 0.0
    cancelled: bool = False

    def run(self) -> Json:
        """Do the deed; answer the run as it came to rest."""
        storm, side = self.storm, self.storm.mine
        if side.run and self.deed.begin in (excluded, approved):
            _, self.fence, _ = storm.look(side.run["id"])
        self.run_id = self.deed.begin(side)
        self.last = time.monotonic()
        canceller = self._canceller() if self.deed.again else None
        if not self.deed.calm:
            for _ in range(storm.dice.randint(1, MOST)):
                if not self._kill():
                    break
        if canceller is not None:
            canceller.join()
        side.run = side.client.settled(self.run_id)
        storm.settled.append(time.monotonic() - self.last)
        return side.run

    def _kill(self) -> bool:
        """Kill at a random moment of the next attempt; False: there will be none any more."""
        storm = self.storm
        state, fence, worker = self._claimed()
        if state in SETTLED:
            return False
        time.sleep(storm.dice.uniform(0, LATEST * self.seconds))
        pids = [*storm.hub.workers()] if storm.dice.random() < BOTH else [worker]
        state, fence, _ = storm.look(self.run_id)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.last = time.monotonic()
        kill = Kill(self.deed.kind, self._stage(), pids, fence, state == "running")
        storm.kills.append(kill)
        self.fence = fence
        self._await_consequences(kill)
        return kill.hit and not kill.cancelled

    def _claimed(self) -> tuple[str, int, int]:
        """Wait for the next attempt; the run as it is then."""
        until = time.monotonic() + PATIENCE
        while True:
            state, fence, worker = self.storm.look(self.run_id)
            if state in SETTLED or (state == "running" and fence > self.fence):
                return state, fence, worker
            assert time.monotonic() < until, f"{self.deed.kind}: nobody takes it up"
            time.sleep(GAZE)

    def _await_consequences(self, kill: Kill) -> None:
        """The run is taken up again, unless it was over."""
        while True:
            state, fence, _ = self.storm.look(self.run_id)
            seconds = time.monotonic() - self.last
            if fence > kill.fence:
                kill.taken_up = seconds
                return
            if state in SETTLED:
                kill.cancelled = state == "cancelled"
                return
            assert seconds < PATIENCE, f"nobody came after {kill}"
            time.sleep(GAZE)

    def _stage(self) -> str:
        """What the dead worker said last."""
        with RedisClient.from_url(self.storm.hub.redis.url) as redis:
            told: Any = redis.xrevrange(stream(UUID(self.run_id)), count=100)
        for _, values in told:
            match EVENT.validate_json(values[b"event"]):
                case StageStarted(stage=stage):
                    return stage
                case RunStarted():
                    return STAGES[0]
                case RunEnded():  # what it waited for was answered since
                    break
                case _:
                    pass
        return "claimed"

    def _canceller(self) -> threading.Thread:
        """Somebody who cancels the run once it is under way, at a moment of his own."""
        client, wait = self.storm.mine.client.again(), self.storm.dice.uniform(0, 2 * self.seconds)

        def cancel() -> None:
            self._claimed()
            time.sleep(wait)
            answer = client.ask("POST", f"/api/v1/imports/{self.run_id}/cancel")
            assert answer.status_code in (HTTPStatus.OK, HTTPStatus.CONFLICT), answer.text
            self.storm.cancels["cancelled" if answer.ok else "too late"] += 1

        thread = threading.Thread(target=cancel)
        thread.start()
        return thread


@contextmanager
def storming(hub: Hub, seed: int) -> Iterator[Storm]:
    """Two districts with the same roster."""
    with hub.database() as db:
        twin, mine = (Side(hub.district(guard={"deletions": HELD})) for _ in range(2))
        storm = Storm(hub, db, twin, mine, random.Random(seed))
        storm.load()
        with storm.watched():
            yield storm


@pytest.fixture(scope="module")
def storm(hub: Hub) -> Iterator[Storm]:
    """A storm that has passed."""
    print(f"seed {SEED}")  # noqa: T201  # shown when a test fails
    with storming(hub, SEED) as storm:
        began = time.monotonic()
        storm.rage()
        report(storm, time.monotonic() - began)
        yield storm


def report(storm: Storm, seconds: float) -> None:
    hits = storm.hits
    waits = [kill.taken_up for kill in hits if kill.taken_up is not None]
    told = storm.hub.happened
    told(
        f"{len(storm.kills)} kills in the whole state machine in {seconds:.0f} s, {len(hits)} hit a"
        f" run at work, of which {sum(kill.cancelled for kill in hits)} were cancelled then;"
        f" taken up again after {min(waits):.1f} to {max(waits):.1f} s, settled within"
        f" {max(storm.settled):.1f} s; {storm.cancels['cancelled']} cancelled and"
        f" {storm.cancels['too late']} too late to be"
    )
    for name, counted in (
        ("stage", Counter(kill.stage for kill in hits)),
        ("deed", Counter(kill.kind for kill in hits)),
    ):
        told(f"  by {name}: {', '.join(f'{what} {n}' for what, n in counted.most_common())}")


# --- claims ------------------------------------------------------------------------------------


def test_the_kills_hit_runs_at_work_of_every_kind(storm: Storm) -> None:
    assert len(storm.hits) >= WANTED
    assert storm.kinds == KINDS
    assert len(storm.stages) > len(STAGES) // 2


def test_a_district_is_as_before_or_as_after_and_never_between(storm: Storm) -> None:
    assert len(storm.seen) > 1, "the reader saw nothing"
    assert storm.faults == []


def test_no_run_is_stuck(storm: Storm) -> None:
    late = [kill for kill in storm.hits if (kill.taken_up or 0.0) > STUCK]
    assert not late, f"not taken up within {STUCK} s: {late}"
    assert max(storm.settled) <= STUCK


def test_some_runs_were_cancelled(storm: Storm) -> None:
    assert storm.cancels["cancelled"]


def test_the_database_is_that_of_a_district_where_nobody_died(storm: Storm) -> None:
    mine, twin = storm.mine.client.tenant_id, storm.twin.client.tenant_id
    assert Twins(storm.db, mine, twin, tables=ROSTER).differences() == []


def test_every_run_has_ended(storm: Storm) -> None:
    """What was superseded, rejected or cancelled has, too."""
    states = Counter(run["state"] for run in storm.mine.client.runs())
    assert {*states} <= {*ENDED}, states
    assert states["superseded"], states
    assert states["rejected"], states
    assert not {*states} & {*WAITING}


def test_nothing_is_left_in_the_work_folder(hub: Hub, storm: Storm) -> None:
    assert storm.hits
    wait_until(lambda: not [*hub.folder.glob("*rosterhub-*/*")], "the work folder is swept", 10)
