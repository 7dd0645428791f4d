"""One worker process: bells from Redis, looks at PostgreSQL, one import at a time.

Dramatiq delivers the bells; a lost, doubled or late one changes nothing, for the process also asks
PostgreSQL what is due, and a claim decides who works. One import at a time means that a file that
brings its process down takes nothing else with it; the supervisor replaces the process. Exports
have processes of their own, for they take long and nobody else should wait for them.
"""

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString, TypeAlias, assert_never

import psycopg
import structlog

from pipeline import claims, exporting
from pipeline.database import connect
from schemas.jobs import PrepareDeltas
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from workers import previews
from workers.audit import Keeper
from workers.bells import heard
from workers.deltas import deltas
from workers.exports import Exporter
from workers.heads import Heads
from workers.imports import Importer, limits
from workers.maintenance import sweep
from workers.objects import open_store
from workers.observers import all_of, district_on, to_log, to_metrics, to_stream
from workers.port import ring_on
from workers.schedules import ask_due
from workers.scratch import sweep as sweep_scratch
from workers.signals import asked_to_stop

SWEEP = 60.0  # seconds

DeskKind: TypeAlias = Literal["imports", "exports", "deltas", "service"]
"""The kinds of process that do one thing after the other; webhooks are sent by another program."""

log = structlog.get_logger()


@dataclass(slots=True)
class Desk:
    """The work of one process: bells and looks both end here, one at a time."""

    name: str
    work: Callable[[], None]
    stopping: threading.Event
    last: Callable[[], None] | None = None
    free: threading.Lock = field(default_factory=threading.Lock)

    def ring(self, **_facts: Any) -> None:  # noqa: ANN401  # what a bell says does not matter
        """Somebody says that there is something to do."""
        with self.free:
            self.look()

    def look(self) -> None:
        """Do what is due. An outage is said once and ends by itself."""
        if not self.stopping.is_set():
            self._do(self.work)

    def leave(self) -> None:
        """Do what is to be done last."""
        if self.last is not None:
            self._do(self.last)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except psycopg.Error as error:
            log.warning("database_away", desk=self.name, error=type(error).__name__)

    def watch(self, every: float) -> None:
        """Look again and again, whoever rings or does not."""
        while not self.stopping.wait(every):
            if self.free.acquire(blocking=False):
                try:
                    self.look()
                finally:
                    self.free.release()


def imports(settings: Settings, stopping: threading.Event) -> Callable[[], None]:
    """Work off the districts that have a run due, each time the one served longest ago."""
    if left := sweep_scratch(settings.work_folder):
        log.info("scratch_swept", folders=left)
    redis_url = plain(settings.redis_url)
    emit = all_of(to_stream(redis_url), to_metrics, to_log)
    to_district = district_on(redis_url, ring_on(redis_url))
    worker = f"{socket.gethostname()}:{os.getpid()}"
    store = open_store(settings.object_store)
    importer = Importer(settings, store, emit, worker, stopping, to_district)
    ring = ring_on(redis_url)

    def attempt(tenant_id: int) -> bool:
        done = importer.attempt(tenant_id)
        if done:
            ring(PrepareDeltas(tenant_id=tenant_id))
        return done

    def work() -> None:
        # Whose turn it is, is asked again after every run: who came meanwhile may be next.
        while not stopping.is_set() and any(attempt(each) for each in due(importer.url)):
            pass

    return work


def exports(settings: Settings, stopping: threading.Event) -> Callable[[], None]:
    """Let schedules ask whose time has come, and work off the districts that have an export due."""
    sweep_scratch(settings.work_folder)
    redis_url = plain(settings.redis_url)
    emit = all_of(to_stream(redis_url), to_metrics, to_log)
    to_district = district_on(redis_url, ring_on(redis_url))
    worker = f"{socket.gethostname()}:{os.getpid()}"
    store = open_store(settings.object_store)
    exporter = Exporter(settings, store, emit, worker, stopping, to_district)
    waiting = exporting.NAMED["due"]

    def work() -> None:
        ask_due(exporter.url)
        while not stopping.is_set() and any(
            exporter.attempt(each) for each in due(exporter.url, waiting)
        ):
            pass

    return work


def due(url: str, waiting: LiteralString = claims.SQL["due"]) -> list[int]:
    """The districts with a run to do, the one served longest ago first."""
    with connect(url, role="rosterhub_control", name="rosterhub poll") as db:
        return [tenant_id for (tenant_id,) in db.execute(waiting)]


def service(settings: Settings, keeper: Keeper) -> Callable[[], None]:
    """Previews, for which somebody waits, and maintenance: what has served its time, the audit."""
    store = open_store(settings.object_store)

    def work() -> None:
        previews.answer(plain(settings.database_url), limits(settings))
        sweep(plain(settings.database_url), store)
        keeper.look()

    return work


def keeper_of(settings: Settings) -> Keeper:
    """Who keeps the audit."""
    heads = Heads(open_store(settings.object_store), Vault(plain(settings.secret_key)))
    return Keeper(plain(settings.database_url), heads, settings.audit_heads)


def duty(settings: Settings, kind: DeskKind, stopping: threading.Event) -> tuple[Desk, float]:
    """What a kind of process does, and after how many seconds it looks though nobody rings."""
    match kind:
        case "imports":
            return Desk(kind, imports(settings, stopping), stopping), settings.poll
        case "exports":
            return Desk(kind, exports(settings, stopping), stopping), settings.poll
        case "deltas":
            return Desk(kind, deltas(settings, stopping), stopping), settings.poll
        case "service":
            keeper = keeper_of(settings)
            return Desk(kind, service(settings, keeper), stopping, keeper.leave), SWEEP
        case _:
            assert_never(kind)


def run(settings: Settings, kind: DeskKind) -> None:
    """Work until told to stop."""
    stopping = asked_to_stop()
    desk, every = duty(settings, kind, stopping)
    with heard(plain(settings.redis_url), kind, desk.ring):
        desk.watch(every)
        with desk.free:  # the work at hand ends first; it has seen the sign
            desk.leave()
