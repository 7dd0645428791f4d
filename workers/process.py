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
from typing import Any, LiteralString, assert_never

import dramatiq
import psycopg
import structlog
from dramatiq.brokers.redis import RedisBroker

from pipeline import claims, exporting
from pipeline.database import connect
from schemas.jobs import JOBS, PROCESSES, ProcessKind
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from workers import previews
from workers.audit import Keeper
from workers.exports import Exporter
from workers.heads import Heads
from workers.imports import Importer, limits
from workers.maintenance import sweep
from workers.objects import open_store
from workers.observers import all_of, to_log, to_metrics, to_stream
from workers.port import NAMESPACE, impatient
from workers.schedules import ask_due
from workers.scratch import sweep as sweep_scratch
from workers.signals import asked_to_stop

SWEEP = 60.0  # seconds
HEARING = 100  # milliseconds between two looks for a bell; the default would cost a second
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
    emit = all_of(to_stream(plain(settings.redis_url)), to_metrics, to_log)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    importer = Importer(settings, open_store(settings.object_store), emit, worker, stopping)

    def work() -> None:
        # Whose turn it is, is asked again after every run: who came meanwhile may be next.
        while not stopping.is_set() and any(importer.attempt(each) for each in due(importer.url)):
            pass

    return work


def exports(settings: Settings, stopping: threading.Event) -> Callable[[], None]:
    """Let schedules ask whose time has come, and work off the districts that have an export due."""
    sweep_scratch(settings.work_folder)
    emit = all_of(to_stream(plain(settings.redis_url)), to_metrics, to_log)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    exporter = Exporter(settings, open_store(settings.object_store), emit, worker, stopping)
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


def broker_on(redis_url: str, desk: Desk, queues: tuple[str, ...]) -> RedisBroker:
    """A broker whose actors are all the same bell. Dramatiq's own retries and limits stay out."""
    broker = RedisBroker(client=impatient(redis_url), namespace=NAMESPACE, middleware=[])
    dramatiq.set_broker(broker)
    for job in JOBS:
        if job.queue in queues:
            dramatiq.Actor(
                desk.ring,
                broker=broker,
                actor_name=job.kind,
                queue_name=job.queue,
                priority=0,
                options={},
            )
    return broker


def duty(settings: Settings, kind: ProcessKind, stopping: threading.Event) -> tuple[Desk, float]:
    """What a kind of process does, and after how many seconds it looks though nobody rings."""
    match kind:
        case "imports":
            return Desk(kind, imports(settings, stopping), stopping), settings.poll
        case "exports":
            return Desk(kind, exports(settings, stopping), stopping), settings.poll
        case "service":
            keeper = keeper_of(settings)
            return Desk(kind, service(settings, keeper), stopping, keeper.leave), SWEEP
        case _:
            assert_never(kind)


def run(settings: Settings, kind: ProcessKind) -> None:
    """Work until told to stop."""
    stopping = asked_to_stop()
    desk, every = duty(settings, kind, stopping)
    queues = PROCESSES[kind]
    broker = broker_on(plain(settings.redis_url), desk, queues)
    bells = dramatiq.Worker(broker, queues=set(queues), worker_threads=1, worker_timeout=HEARING)
    bells.start()
    log.info("worker_started", kind=kind, queues=queues)
    desk.watch(every)
    with desk.free:  # the work at hand ends first; it has seen the sign
        desk.leave()
        log.info("worker_stopped", kind=kind)
    bells.stop(timeout=1000)
