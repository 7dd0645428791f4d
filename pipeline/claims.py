"""A claimed run: the right to work on it for as long as the lease is renewed.

The claim counts an attempt and raises the fence; whoever holds an older fence can change nothing
any more. The lease is renewed by a thread with a connection of its own, so that a long statement
does not let it run out, and a stopped process does.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString, Protocol, TypeAlias
from uuid import UUID

import psycopg
import structlog
from psycopg.errors import LockNotAvailable, UniqueViolation
from psycopg.types.json import Jsonb

from pipeline.database import Connection, connect, tenant
from pipeline.events import emit
from schemas.runs import Mode, Progress, Stage
from schemas.statements import load
from schemas.webhooks import EventType, of_run

SQL = load("pipeline", "runs.sql")
LOOK = 1.0  # seconds between two looks at whether the claim stands

log = structlog.get_logger()


Kind: TypeAlias = Literal["import", "undo", "erasure"]
"""What a run does to its district. Every kind is a writer: one at a time, in the order made."""


class Fenced(Exception):
    """Another worker has taken the run; this one must not touch it any more."""


class Stopped(Exception):
    """The process is asked to stop; the run goes back to the queue."""


class Held(Protocol):
    """What is claimed, of whatever kind: `sql` are the statements of its life."""

    @property
    def tenant_id(self) -> int:
        """Whose it is."""

    @property
    def id(self) -> UUID:
        """Which."""

    @property
    def attempt(self) -> int:
        """How many times it was claimed."""

    @property
    def fence(self) -> int:
        """Whoever holds an older one can change nothing any more."""

    @property
    def key(self) -> dict[str, Any]:
        """What names the run and the claim in a statement."""

    @property
    def sql(self) -> Mapping[str, LiteralString]:
        """`stands`, `renew`, `hold_run` and `release`."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A run that is ours under this fence.

    `undoes` is the version that an undo takes back. An import has an upload, and `entity` and
    `mode` where that is a single CSV; `decided`: it waited for an answer, and has one.
    """

    tenant_id: int
    id: UUID
    attempt: int
    fence: int
    kind: Kind = "import"
    entity: str | None = None
    mode: Mode | None = None
    upload_id: UUID | None = None
    undoes: int | None = None
    decided: bool = False

    @property
    def key(self) -> dict[str, Any]:
        """What names the run, the claim and the version it makes in a statement."""
        return {
            "tenant_id": self.tenant_id,
            "id": self.id,
            "fence": self.fence,
            "kind": self.kind,
            "undoes": self.undoes,
        }

    @property
    def sql(self) -> Mapping[str, LiteralString]:
        """The statements of the life of a run."""
        return SQL


def take(db: Connection, tenant_id: int, *, lease: float, worker: str) -> Claim | None:
    """Claim the district's next run; None where there is none, or another worker was faster."""
    try:
        with tenant(db, tenant_id):
            db.execute("set local lock_timeout = '1s'")
            row = db.execute(
                SQL["claim"], {"tenant_id": tenant_id, "lease": lease, "worker": worker}
            ).fetchone()
            claim = None if row is None else Claim(tenant_id, *row)
            if claim is not None and claim.fence == 1:
                tell(db, claim, "csv.import.started", "running")
    except (UniqueViolation, LockNotAvailable):
        return None
    return claim


def tell(
    db: Connection,
    claim: Claim,
    event_type: EventType,
    state: str,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Tell of an import in the transaction that is open; other runs are told by their version."""
    if claim.kind == "import":
        emit(db, claim.tenant_id, event_type, of_run(claim.id, claim.entity, state, metadata))


@contextmanager
def holding(db: Connection, claim: Held) -> Iterator[None]:
    """A transaction that has effect only while the claim stands; raises Fenced otherwise."""
    with tenant(db, claim.tenant_id):
        hold(db, claim)
        yield


def hold(db: Connection, claim: Held) -> None:
    """Lock the run for the rest of the transaction; raises Fenced where it is no longer ours."""
    if db.execute(claim.sql["hold_run"], claim.key).fetchone() is None:
        raise Fenced


@dataclass(slots=True)
class Watch:
    """How far a run is, and whether it may go on. Shared by the work and its heartbeat."""

    stage: Stage = "open"
    progress: dict[str, Progress] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    advancing: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, file: str, done: int, total: int) -> None:
        """A file got on; raises as `check` does. Two files may be read at once."""
        with self.advancing:
            self.progress = {**self.progress, file: Progress(done=done, total=max(done, total))}
        self.check()

    def check(self) -> None:
        """Raise Fenced where another worker has taken over, Stopped where we are to end."""
        if self.lost.is_set():
            raise Fenced
        if self.stopping.is_set():
            raise Stopped


@contextmanager
def heartbeat(
    url: str,
    claim: Held,
    *,
    lease: float,
    timeout: float,
    stopping: threading.Event,
    work: Connection | None = None,
) -> Iterator[Watch]:
    """Renew the lease every third of it while the work lasts.

    `work` is the connection that works on the run: what it executes when the claim is lost, because
    somebody has cancelled the run or taken it over, is interrupted.
    """
    watch = Watch(stopping=stopping)
    beat = threading.Thread(
        target=_renew,
        args=(url, claim, watch),
        kwargs={"lease": lease, "timeout": timeout, "work": work},
        name="heartbeat",
        daemon=True,
    )
    beat.start()
    try:
        yield watch
    finally:
        watch.over.set()
        beat.join()


def _renew(
    url: str,
    claim: Held,
    watch: Watch,
    *,
    lease: float,
    timeout: float,
    work: Connection | None,
) -> None:
    deadline = time.monotonic() + timeout
    renewal = time.monotonic() + lease / 3
    while not watch.over.wait(min(LOOK, lease / 3)):
        if time.monotonic() > deadline:
            # Polars cannot be interrupted from here; the supervisor replaces us.
            log.error("run_timed_out", run_id=str(claim.id), seconds=timeout)
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            if time.monotonic() < renewal:
                ours = stands(url, claim)
            else:
                ours = renewed(url, claim, watch, lease)
                renewal = time.monotonic() + lease / 3
            if not ours:
                _let_go(watch, work)
                return
        except psycopg.Error as error:
            log.warning("lease_not_renewed", run_id=str(claim.id), error=type(error).__name__)


def _let_go(watch: Watch, work: Connection | None) -> None:
    """The claim is gone: what is still being done would be taken back."""
    if watch.over.is_set():
        return  # it was the work itself that ended the run
    watch.lost.set()
    if work is not None:
        work.cancel_safe()


def stands(url: str, claim: Held) -> bool:
    """Whether the run is still ours; between two heartbeats, for a run can be cancelled."""
    with connect(url, name="rosterhub heartbeat") as db, tenant(db, claim.tenant_id):
        return db.execute(claim.sql["stands"], claim.key).fetchone() is not None


def renewed(url: str, claim: Held, watch: Watch, lease: float) -> bool:
    """One heartbeat; a connection per beat survives every outage without a thought."""
    with connect(url, name="rosterhub heartbeat") as db, tenant(db, claim.tenant_id):
        db.execute("set local lock_timeout = '1s'")
        found = db.execute(
            claim.sql["renew"],
            {**claim.key, "lease": lease, "stage": watch.stage, "progress": Jsonb(watch.progress)},
        )
        return found.fetchone() is not None


def release(db: Connection, claim: Held, pause: float, *, refund: bool = False) -> None:
    """Give the run back for a later attempt; a stale claim gives back nothing.

    `refund`: this attempt does not count, for nothing was wrong with the run.
    """
    with tenant(db, claim.tenant_id):
        db.execute(claim.sql["release"], {**claim.key, "pause": pause, "refund": int(refund)})


def end(
    db: Connection,
    claim: Claim,
    *,
    state: str,
    stage: Stage,
    watch: Watch,
    profile: str | None = None,
    version: int | None = None,
    counts: Mapping[str, Any] | None = None,
    findings: Mapping[str, int] | None = None,
    failure: Mapping[str, Any] | None = None,
) -> None:
    """Write the end of a run that is held; its heartbeat ends with it."""
    watch.over.set()
    db.execute(
        SQL["end_run"],
        {
            **claim.key,
            "state": state,
            "stage": stage,
            "profile": profile,
            "version": version,
            "progress": Jsonb(watch.progress),
            "counts": Jsonb(counts or {}),
            "findings": Jsonb(findings or {}),
            "failure": None if failure is None else Jsonb(failure),
        },
    )
    event_type: EventType = "csv.import.completed" if state == "applied" else "csv.import.failed"
    told = {"version": version, "counts": counts or {}, "findings": findings or {}}
    code = None if failure is None else failure["code"]
    tell(db, claim, event_type, state, told | {"failure": code})
