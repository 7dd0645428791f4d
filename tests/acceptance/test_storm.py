"""The delta feed in a storm: it tells everything once, in order, whoever dies meanwhile.

Districts are written by several clients at once, with imports, reviews, undos and erasures, while
workers and sessions of PostgreSQL are killed, and pollers of every pace follow. Afterwards one
checker compares what each of them was told with the rows and their before-images. It judges two
naive consumers as well, who follow a log of the same transactions by serial number and by time:
that it finds what they have lost proves that there was something to lose.

One more district has consumers in processes of their own, which are killed at random while its
imports and undos go on. One of them has a bug, and must be found out.

Every change is tested with a short storm. `ROSTERHUB_FEED_STORM=60/8/4` asks for a minute, eight
districts and four clients in each, `ROSTERHUB_FEED_IMPORTS=50` for that many imports of the other.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from itertools import count, cycle
from pathlib import Path
from typing import LiteralString
from uuid import uuid4

import psycopg
import pytest

from schemas.proposals import WAITING
from schemas.runs import ENDED
from schemas.scopes import CLIENT_SCOPES
from schemas.settings import plain
from tests.acceptance import consumer
from tests.acceptance.conftest import PATIENCE, SEED, Client, Hub, Json, wait_until
from tests.acceptance.consumer import Copy
from tests.acceptance.feeds import (
    RIGHT,
    Event,
    Pace,
    Poller,
    Verdict,
    caught_up,
    checksums,
    gaps,
    judged,
    unlike_hub,
    unproven,
    written,
)
from tests.acceptance.pushes import Push, delta_of, package

pytestmark = pytest.mark.chaos

SECONDS, DISTRICTS, WRITERS = map(
    int, (os.environ.get("ROSTERHUB_FEED_STORM") or "4/2/4").split("/")
)
IMPORTS = int(os.environ.get("ROSTERHUB_FEED_IMPORTS") or 4)
LONG = SECONDS > 30
SETTINGS: Mapping[str, object] = {
    "import_processes": 3 if LONG else 2,
    "export_processes": 0,
    "gateway_processes": 1,
    "rate_limit": 1_000_000,
}
HELD = 0.25
"""The share of deletions that holds a run."""
PEOPLE = 120
GENERATIONS = 12
TRIES = 20
"""How many imports more there are if not every consumer was hit yet."""
GAZE = 1.0 if LONG else 0.25  # seconds between two looks of a client at its run
LONGEST = 4 * PATIENCE  # seconds in which whatever was asked for ends, in a line of many
WAIT = 10 if LONG else 2  # seconds that those wait who wait for news


@cache
def changed(generation: int) -> Push:
    return package("changes", users=PEOPLE, schools=2, generation=generation, mutations=0.1)


@cache
def fewer(generation: int) -> Push:
    return package("fewer people", users=PEOPLE // 2, schools=2, generation=generation)


@cache
def some(generation: int) -> Push:
    return delta_of(changed(generation))


# --- Who writes --------------------------------------------------------------------------------


@dataclass
class Writer:
    """A client who keeps asking for things, each once, and answers what waits for an answer."""

    client: Client
    dice: random.Random
    first: int
    """Which of the deeds comes first, so that a short storm has all of them."""
    agrees: float = 0.7
    """How often changes are approved."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def write(self, over: threading.Event) -> None:
        deeds: tuple[Callable[[], str | None], ...] = (
            *(self._review, self._undo, self._erase, self._import),
            *(self._review, self._undo, self._import, self._import, self._delta),
        )
        while not over.is_set():
            run_id = (self.dice.choice(deeds) if self.asked else deeds[self.first])()
            if run_id is None:
                over.wait(GAZE)
            else:
                self.settle(run_id)

    def _import(self) -> str | None:
        pushes = changed if self.dice.random() < 0.9 else fewer
        return self.push("import", pushes(self.dice.randrange(GENERATIONS)))

    def _delta(self) -> str | None:
        return self.push("delta", some(self.dice.randrange(GENERATIONS)))

    def _review(self) -> str | None:
        return self.push("review", changed(self.dice.randrange(GENERATIONS)), apply="review")

    def _undo(self) -> str | None:
        [newest, *_] = self.client.get("/api/v1/versions", params={"limit": 1})["items"]
        version = newest["version"] - self.dice.randrange(3)
        return self.ask("undo", f"/api/v1/versions/{version}/undo") if version > 1 else None

    def _erase(self) -> str | None:
        offset = self.dice.randrange(PEOPLE)
        [user] = self.client.page("users", limit=1, offset=offset).json()["users"]
        erased: Json = {"users": [user["sourcedId"]], "reference": "2026-17"}
        return self.ask("erasure", "/api/v1/erasures", json=erased)

    def push(self, kind: str, push: Push, apply: str = "at_once") -> str | None:
        meant = {"entity": push.entity, "mode": push.mode, "apply": apply}
        return self.ask(
            kind,
            "/api/v1/imports",
            params={name: word for name, word in meant.items() if word},
            data=push.body,
            headers={"Content-Type": "text/csv" if push.entity else "application/zip"},
        )

    def ask(
        self, kind: str, path: str, headers: dict[str, str] | None = None, **how: object
    ) -> str | None:
        """Ask until there is an answer, for one thing: the key says that it is the same."""
        once = {"Idempotency-Key": uuid4().hex}
        answer = self.client.ask("POST", path, headers=once | (headers or {}), **how)
        if answer.status_code in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
            self.refused[kind] += 1  # undone already, an erasure, or not there yet
            return None
        assert answer.status_code == HTTPStatus.ACCEPTED, (kind, answer.text)
        run_id = str(answer.json()["id"])
        self.asked.append((kind, run_id))
        return run_id

    def settle(self, run_id: str) -> Json:
        """The run as it has ended; what waits for an answer is given one."""
        while (run := self.client.settled(run_id, LONGEST))["state"] in WAITING:
            word = "approve" if self.dice.random() < self.agrees else "reject"
            body: Json | None = {"diff": run["diff"]} if word == "approve" else None
            path = f"/api/v1/imports/{run_id}"
            answer = self.client.ask("POST", f"{path}/{word}", json=body)
            self.answered[word if answer.ok else "refused"] += 1
            if (
                answer.status_code == HTTPStatus.CONFLICT
            ):  # the roster has moved, or it was answered
                self.client.ask("POST", f"{path}/reject")
        return run


# --- Who dies ----------------------------------------------------------------------------------


@dataclass
class Faults:
    """Kills of workers and of sessions of PostgreSQL, whoever it is that is busy."""

    hub: Hub
    dice: random.Random
    runs: list[tuple[str, int]] = field(default_factory=list)
    workers: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    crashes: int = 0

    def rage(self, over: threading.Event) -> None:
        ones = (self._kill_importer, self._end_session, self._kill_preparer, self._crash)
        often = (self._end_session, self._kill_importer) * 3
        faults = cycle((*ones, *often, self._kill_preparer, *often))
        while not over.wait(self.dice.uniform(0.3, 2.0 if LONG else 0.7)):
            with suppress(psycopg.OperationalError):
                next(faults)(over)

    @property
    def came(self) -> bool:
        """Whether each of them was there."""
        return bool(self.runs and self.workers["deltas"] and self.sessions and self.crashes)

    def _kill_importer(self, over: threading.Event) -> None:
        with self.hub.database() as db:
            while not (found := db.execute(RUNNING).fetchall()):
                if over.wait(0.02):
                    return
            run_id, fence, worker = self.dice.choice(found)
            if self._kill("imports", int(worker.rpartition(":")[2])):
                self.runs.append((str(run_id), fence))

    def _kill_preparer(self, _: threading.Event) -> None:
        for pid in self.hub.workers("deltas"):
            self._kill("deltas", pid)

    def _kill(self, kind: str, pid: int) -> bool:
        with suppress(ProcessLookupError):  # it is dead, and nobody has noticed yet
            os.kill(pid, signal.SIGKILL)
            self.workers[kind] += 1
            return True
        return False

    def _end_session(self, over: threading.Event) -> None:
        with self.hub.database() as db:
            while not (found := db.execute(BUSY).fetchall()):
                if over.wait(0.005):
                    return
            pid, name = self.dice.choice(found)
            db.execute("select pg_terminate_backend(%s)", [pid])
            self.sessions[name] += 1

    def _crash(self, over: threading.Event) -> None:
        """By SIGKILL: PostgreSQL ends all sessions and recovers, as after any crash of its own."""
        with self.hub.database() as db:
            while not (found := db.execute(BUSY).fetchall()):
                if over.wait(0.005):
                    return
            pid, _ = self.dice.choice(found)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(psycopg.OperationalError):
                db.execute("select pg_sleep(10)")
        wait_until(self._is_back, "PostgreSQL has recovered")
        self.crashes += 1

    def _is_back(self) -> bool:
        with suppress(psycopg.OperationalError), self.hub.database():
            return True
        return False

    @property
    def hits(self) -> int:
        """How many of the killed importers had to be followed by another attempt."""
        with self.hub.database() as db:
            return sum(
                db.execute(FENCE, [run_id]).fetchall() > [(fence,)] for run_id, fence in self.runs
            )


RUNNING: LiteralString = "select id, fence, worker from runs where state = 'running'"
FENCE: LiteralString = "select fence from runs where id = %s"
BUSY: LiteralString = """
    select pid, coalesce(nullif(application_name, ''), 'gateway') from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend'
      and xact_start is not null and pid <> pg_backend_pid() and application_name <> 'naive'
"""


# --- Who follows -------------------------------------------------------------------------------

EARLY = Pace("from the empty district, slowly", limit=200, pause=1.5)
PACES = (
    Pace("from the beginning, fast", limit=1000, pause=GAZE / 2),
    Pace("a few at a time", limit=40, pause=GAZE / 2),
)
WAITS = Pace("from now on, waiting", limit=500, wait=WAIT)
LENSED = (
    Pace("with a lens of a school", limit=500, wait=WAIT),
    Pace("with a lens of grades", limit=300, pause=0.7),
)
GRADES = ["P1", "P2", "P5", "J1"]

NAIVE: LiteralString = """
    create schema naive;
    create table naive.log (
        id bigserial primary key, at timestamptz not null default clock_timestamp(),
        tenant_id bigint not null, sourced_id text not null
    );
    create function naive.told() returns trigger language plpgsql security definer as $$
    begin
        insert into naive.log (tenant_id, sourced_id) select tenant_id, sourced_id from changed;
        perform pg_sleep(random() * 0.1);
        return null;
    end $$;
    create trigger inserted after insert on users referencing new table as changed
        for each statement execute function naive.told();
    create trigger updated after update on users referencing new table as changed
        for each statement execute function naive.told();
    create trigger inserted after insert on enrollments referencing new table as changed
        for each statement execute function naive.told();
    create trigger updated after update on enrollments referencing new table as changed
        for each statement execute function naive.told();
"""
"""A log as many keep it: a serial number and a time in each row, from a trigger. What is written
stays open for a while, as it would in a larger import."""


@dataclass
class Naive:
    """Follows that log, and remembers the greatest number, or time, that it has seen."""

    hub: Hub
    by: str
    told: list[int] = field(default_factory=list)
    last: object = None

    def follow(self, over: threading.Event) -> None:
        query = f"select id, {self.by} from naive.log where {self.by} > %s order by {self.by}"
        self.last = 0 if self.by == "id" else "-infinity"
        url, ending = plain(self.hub.settings.database_url), False
        while not ending:
            with (
                suppress(psycopg.OperationalError),  # it comes back, as everybody does
                psycopg.connect(url, autocommit=True, application_name="naive") as db,
            ):
                while not ending:
                    ending = over.is_set()
                    rows = db.execute(query.encode(), [self.last]).fetchall()
                    self.told += [number for number, _ in rows]
                    self.last = rows[-1][1] if rows else self.last
                    time.sleep(0.01)
            over.wait(0.1)

    def has_lost(self) -> bool:
        """Whether there is something behind what it remembers that it was never told."""
        query = f"select id from naive.log where {self.by} < %s"
        with suppress(psycopg.OperationalError), self.hub.database() as db:
            return not {row for (row,) in db.execute(query.encode(), [self.last])} <= {*self.told}
        return False

    def verdict(self) -> Verdict:
        return judged(self.told, [row for (row,) in self.hub.rows("select id from naive.log")])


# --- Consumers in processes of their own -------------------------------------------------------


@dataclass
class Life:
    """A consumer, which dies now and then and goes on with what it has in its file."""

    path: Path
    client: Client
    careless: bool = False
    deaths: int = 0
    hits: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def said(self) -> bytes:
        return self.path.with_suffix(".said").read_bytes()

    def live(self) -> None:
        command = [sys.executable, "-I", consumer.__file__, str(self.path), self.client.address]
        with self.path.with_suffix(".said").open("ab") as said:
            self.process = subprocess.Popen(
                [*command, *(["careless"] if self.careless else [])],
                env={"FEED_KEY": self.client.key},
                stdout=said,
            )

    def writes(self, over: threading.Event) -> None:
        """Wait until it begins to write."""
        begun = self.said.count(b"(")
        while self.said.count(b"(") == begun and not over.wait(0.005):
            pass

    def die(self) -> None:
        """Wherever it is: in the middle of what it writes, or not."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.deaths += 1
            self.hits += self.said.endswith(b"(")

    def has(self, version: int) -> bool:
        """Whether it has been told that the version is complete."""
        copy = Copy(str(self.path))
        told = copy.markers
        copy.db.close()
        return bool(told) and told[-1][0] == version

    def faults(self, last: int) -> list[str]:
        """What is wrong with what it has, at any version."""
        copy = Copy(str(self.path))
        wrong = [*unproven(copy), *gaps(copy, last), *unlike_hub(copy, self.client)]
        for version, _, mine in copy.markers:
            if mine != checksums(self.client, version):
                wrong.append(f"version {version}: not what the checksums say")
        copy.db.close()
        return wrong


@dataclass
class Lives:
    """Consumers from the beginning, from the middle on, and one with a bug."""

    writer: Writer
    first: Life
    late: Life
    careless: Life
    imports: int = 0
    undos: int = 0
    last: int = 0

    @property
    def all(self) -> list[Life]:
        return [self.first, self.late, self.careless]

    def kill(self, dice: random.Random, over: threading.Event) -> None:
        """At any moment, and then at one when it writes whoever was seldom killed so."""
        for number in count():
            if over.wait(dice.uniform(0.02, 1.0 if LONG else 0.3)):
                return
            alive = [each for each in self.all if each.process is not None]
            life = min(alive, key=lambda each: each.hits) if number % 2 else dice.choice(alive)
            if number % 2:
                life.writes(over)
                time.sleep(dice.uniform(0, 2 * consumer.PAUSE))
            life.die()
            life.live()

    def end(self) -> None:
        for life in self.all:
            life.die()

    def pass_by(self, dice: random.Random, quiet: threading.Event) -> None:
        """Let a district change and be undone, until it was enough and all were hit."""
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool, ExitStack() as ended:
            ended.callback(self.end)
            self.first.live()
            self.careless.live()
            killing = pool.submit(self.kill, dice, over)
            ended.callback(wait, [killing])  # it may be about to bring somebody back to life
            ended.callback(over.set)
            number = 0
            while number < IMPORTS or not all(life.hits for life in self.all):
                assert not quiet.is_set(), "it is over with everything"
                assert number < IMPORTS + TRIES, "the kills hit nothing"
                if number == IMPORTS // 2:
                    self.late.live()
                self.undos += happened(self.writer, number)
                number += 1
            over.set()
            killing.result()
            self.undos += happened(self.writer, number)  # nobody dies while they read this
            self.imports = number + 1
            self.last = caught_up(self.writer.client, LONGEST)
            wait_until(lambda: all(life.has(self.last) for life in self.all), "all have read all")


def happened(writer: Writer, number: int) -> bool:
    """An import, approved if it would redo what was undone; whether it was undone, too."""
    push = changed(number % GENERATIONS) if number else package("first", users=PEOPLE, schools=2)
    run = ended(writer, writer.push("import", push))
    if not run["version"] or not number % 3:
        return False
    undo = ended(writer, writer.ask("undo", f"/api/v1/versions/{run['version']}/undo"))
    return bool(undo["state"] == "applied")


def ended(writer: Writer, run_id: str | None) -> Json:
    """A run as it has ended, well or by having been killed too often."""
    assert run_id is not None
    run = writer.settle(run_id)
    assert run["state"] in ("applied", "failed"), run
    return run


# --- The storm ---------------------------------------------------------------------------------


@dataclass
class Town:
    """A district, those who write it and those who follow it."""

    client: Client
    writers: list[Writer]
    pollers: list[Poller] = field(default_factory=list)
    lensed: list[Poller] = field(default_factory=list)
    written: list[Event] = field(default_factory=list)
    last: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def everybody(self) -> list[Poller]:
        """All who follow; those with a lens are told of fewer records, and of every version."""
        return [*self.pollers, *self.lensed]


@dataclass
class Storm:
    """A storm that has passed, and what came of it."""

    hub: Hub
    towns: list[Town]
    lives: Lives
    faults: Faults
    naive: list[Naive]
    seconds: float = 0.0

    def is_complete(self) -> bool:
        """Whether there was of everything something."""
        return self.asked >= KINDS and all(naive.has_lost() for naive in self.naive)

    @property
    def asked(self) -> set[str]:
        """What was asked for so far, approvals among it."""
        writers = [writer for town in self.towns for writer in town.writers]
        return {kind for each in writers for kind in (*dict(each.asked), *each.answered)}


KINDS = {"import", "review", "approve", "undo", "erasure"}
"""What a storm has at least."""


def town(client: Client, seed: float) -> Town:
    """A district with its first version, and pollers at their beginnings."""
    dice = random.Random(seed)

    def another() -> Client:
        return client.again(patient=True)

    early = Poller(another(), EARLY)
    early.from_now()
    client.applied(package("first load", users=PEOPLE, schools=2).body)
    waits = Poller(another(), WAITS)
    waits.from_now()
    writers = [
        Writer(client.again(patient=True, gaze=GAZE), random.Random(dice.random()), first)
        for first in range(WRITERS)
    ]
    pollers = [early, waits, *(Poller(another(), pace) for pace in PACES)]
    schools = [org["sourcedId"] for org in client.collection("orgs") if org["type"] == "school"]
    lenses = ({"schools": schools[:1]}, {"grades": GRADES, "fields": ["demographics"]})
    keys = [learning_system(client, lens) for lens in lenses]
    lensed = [
        Poller(client.again(patient=True, key=key), pace)
        for key, pace in zip(keys, LENSED, strict=True)
    ]
    return Town(client, writers, pollers, lensed)


def learning_system(client: Client, lens: Json) -> str:
    """The key of a new client that sees as much."""
    made = client.post("/api/v1/clients", {"name": "LMS", "scopes": [*CLIENT_SCOPES]})
    path = f"/api/v1/clients/{made['id']}"
    assert client.ask("PUT", f"{path}/lens", json=lens).ok
    return str(client.post(f"{path}/keys", {})["key"])


@pytest.fixture(scope="module")
def storm(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Storm:
    print(f"seed {SEED}")  # noqa: T201  # shown when a test fails
    dice = random.Random(SEED)
    clients = [
        hub.district(guard={"deletions": HELD}).again(patient=True) for _ in range(DISTRICTS)
    ]
    with ThreadPoolExecutor(DISTRICTS) as pool:
        towns = [*pool.map(town, clients, [dice.random() for _ in clients])]
    with hub.database() as db:
        db.execute(NAIVE)
    naive = [Naive(hub, "id"), Naive(hub, "at")]
    storm = Storm(hub, towns, consumers(hub, tmp_path_factory), Faults(hub, dice), naive)
    began = time.monotonic()
    passed(storm)
    storm.seconds = time.monotonic() - began
    for each in towns:
        settle(hub, each)
    report(storm)
    return storm


def consumers(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Lives:
    """A district that has no roster yet, and those who will follow it."""
    client, folder = hub.district(guard={"on": False}), tmp_path_factory.mktemp("consumers")
    first, late, careless = (
        Life(folder / name, client.again(patient=True), careless=name == "careless")
        for name in ("first", "late", "careless")
    )
    writer = Writer(client.again(patient=True), random.Random(SEED), 0, agrees=1.0)
    return Lives(writer, first, late, careless)


def passed(storm: Storm) -> None:
    """Let all of them loose, and call them back when it was enough."""
    calm, over, quiet = threading.Event(), threading.Event(), threading.Event()
    everybody = [each for town in storm.towns for each in town.everybody]
    with ThreadPoolExecutor(len(everybody) + DISTRICTS * WRITERS + 4) as pool:
        following = [pool.submit(each.follow, quiet) for each in storm.naive]
        following += [pool.submit(each.follow, quiet) for each in everybody]
        raging = pool.submit(storm.faults.rage, calm)
        writing = [pool.submit(each.write, over) for town in storm.towns for each in town.writers]
        living = pool.submit(storm.lives.pass_by, random.Random(SEED), quiet)
        try:
            until = time.monotonic() + SECONDS
            while (time.monotonic() < until or not storm.faults.came) and not raging.done():
                assert time.monotonic() < until + LONGEST, storm.faults
                time.sleep(0.1)
            calm.set()
            raging.result()
            hurry(storm.hub)
            while not storm.is_complete():
                assert time.monotonic() < until + LONGEST, storm.asked
                time.sleep(0.2)
            over.set()
            for each in writing:
                each.result()
            for town in storm.towns:
                town.last = caught_up(town.client, LONGEST)
                for poller in town.everybody:
                    poller.last = town.last
            for each in following[len(storm.naive) :]:
                each.result(LONGEST)
            living.result()
        finally:
            for event in (over, calm, quiet):
                event.set()
        for each in following:
            each.result()


def hurry(hub: Hub) -> None:
    """What was interrupted waits for a while before it is tried again; that need not be waited."""
    with hub.database() as db:
        db.execute("update runs set next_run_at = now() where state = 'queued'")


def settle(hub: Hub, town: Town) -> None:
    """What was written, and how the copies differ from what the hub shows."""
    with hub.database() as db:
        town.written = written(db, town.client.tenant_id)
    for poller in town.everybody:
        told = unlike_hub(poller.copy, poller.client)
        town.differences += [f"{town.client.district}, {poller.pace.name}: {it}" for it in told]


def report(storm: Storm) -> None:
    writers = [writer for town in storm.towns for writer in town.writers]
    pollers = [poller for town in storm.towns for poller in town.everybody]
    asked = Counter(kind for writer in writers for kind, _ in writer.asked)
    answered: Counter[str] = sum((writer.answered for writer in writers), Counter())
    refused: Counter[str] = sum((writer.refused for writer in writers), Counter())
    told = storm.hub.happened
    told(
        f"feed: {DISTRICTS} districts, {WRITERS} clients each, {storm.seconds:.0f} s:"
        f" {sum(town.last for town in storm.towns)} versions, {counted(asked)};"
        f" answered: {counted(answered)}; refused: {counted(refused)}"
    )
    faults = storm.faults
    told(
        f"  {faults.workers['imports']} import workers killed, {faults.hits} at a run that was"
        f" begun again; {faults.workers['deltas']} preparers; {faults.sessions.total()} busy"
        f" sessions ({counted(faults.sessions)}); {faults.crashes} crashes of PostgreSQL"
    )
    lost = (f"{each.verdict().lost} by {each.by}" for each in storm.naive)
    told(
        f"  {sum(len(town.written) for town in storm.towns)} events, told"
        f" {sum(len(poller.told) for poller in pollers)} times by {len(pollers)} pollers in"
        f" {sum(poller.polls for poller in pollers)} polls;"
        f" naive ones lost {', '.join(lost)}"
    )

    lives = storm.lives
    told(
        f"  consumers: {lives.imports} imports, {lives.undos} undos, {lives.last} versions;"
        f" {sum(life.deaths for life in lives.all)} deaths,"
        f" {sum(life.hits for life in lives.all)} in the middle of writing;"
        f" {len(lives.careless.faults(lives.last))} faults of the careless one"
    )


def counted(things: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(things.items()))


# --- claims ------------------------------------------------------------------------------------


def test_the_faults_hit_what_was_at_work(storm: Storm) -> None:
    faults = storm.faults
    assert faults.hits >= (SECONDS // 10 or 1), faults.runs
    assert faults.workers["deltas"]
    assert faults.sessions.total()
    assert faults.crashes


def test_all_that_was_asked_for_was_done_once_or_not_at_all(storm: Storm) -> None:
    for town in storm.towns:
        asked = [run_id for writer in town.writers for _, run_id in writer.asked]
        rows = storm.hub.rows(
            "select id::text, state from runs where tenant_id = %s", town.client.tenant_id
        )
        states: dict[str, str] = dict(rows)
        assert {*states.values()} <= {*ENDED}, Counter(states.values())
        assert {*asked} <= {*states}
        assert len(rows) == len(asked) + 1, "and the first load"


def test_no_event_is_lost_none_comes_twice_and_all_come_in_order(storm: Storm) -> None:
    for town in storm.towns:
        for poller in town.pollers:
            assert poller.since is not None
            expected = [event for event in town.written if event[0] > poller.since]
            assert expected, poller.pace
            assert judged(poller.events(), expected) == RIGHT, poller.pace
        for poller in town.everybody:
            assert poller.faults() == [], poller.pace


def test_every_copy_is_what_the_hub_shows(storm: Storm) -> None:
    assert [it for town in storm.towns for it in town.differences] == []


def test_the_same_checker_finds_what_naive_cursors_lose(storm: Storm) -> None:
    for naive in storm.naive:
        verdict = naive.verdict()
        assert verdict.lost, naive.by
        assert not verdict.doubled


def test_consumers_that_are_killed_hold_what_the_hub_holds_at_every_version(storm: Storm) -> None:
    lives = storm.lives
    for life in (lives.first, lives.late):
        assert life.hits, f"{life.deaths} deaths"
        assert life.faults(lives.last) == []
    assert lives.undos


def test_a_consumer_that_keeps_its_cursor_before_its_copy_is_found_out(storm: Storm) -> None:
    assert storm.lives.careless.hits
    assert storm.lives.careless.faults(storm.lives.last) != []
