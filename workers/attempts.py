"""One attempt at one run, whatever its kind: claim it, let the pipeline work, say how it went.

Whatever happens, the row in PostgreSQL knows: an attempt that was interrupted is made again, by
whoever claims the run next, until the attempts are used up.
"""

import os
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Self, TypeVar

import psycopg
import structlog
from obstore.store import ObjectStore
from psycopg.errors import QueryCanceled

from pipeline import claims
from pipeline.claims import Fenced, Held, Stopped, Watch
from pipeline.database import Connection, connect
from pipeline.memory import give_back
from schemas.events import Emit
from schemas.settings import Settings, plain
from workers import metrics
from workers.objects import open_store
from workers.observers import OfDistrict, all_of, district_on, to_log, to_metrics, to_stream
from workers.port import ring_on
from workers.scratch import sweep

PAUSE_MAX = 60.0  # seconds

C = TypeVar("C", bound=Held)

log = structlog.get_logger()


@dataclass(slots=True)
class Attempts(ABC, Generic[C]):
    """What every attempt needs, and the way that each of them goes."""

    NAME: ClassVar[str]
    """What PostgreSQL calls the connections."""

    settings: Settings
    store: ObjectStore
    emit: Emit
    worker: str
    stopping: threading.Event
    to_district: OfDistrict | None = None

    @classmethod
    def ready(cls, settings: Settings, stopping: threading.Event) -> Self:
        """As a process of its own needs it; what a killed one left behind is swept first."""
        if left := sweep(settings.work_folder):
            log.info("scratch_swept", folders=left)
        redis_url = plain(settings.redis_url)
        return cls(
            settings,
            open_store(settings.object_store),
            all_of(to_stream(redis_url), to_metrics, to_log),
            f"{socket.gethostname()}:{os.getpid()}",
            stopping,
            district_on(redis_url, ring_on(redis_url)),
        )

    @abstractmethod
    def _due(self, control: Connection) -> list[int]:
        """The districts with a run to do, the one served longest ago first."""

    @abstractmethod
    def _take(self, db: Connection, tenant_id: int) -> C | None:
        """Claim the district's next run."""

    @abstractmethod
    def _kind(self, claim: C) -> str:
        """The kind of run, for the metrics."""

    @abstractmethod
    def _seconds(self) -> float:
        """How long an attempt may take."""

    @abstractmethod
    def _run(self, db: Connection, claim: C, watch: Watch) -> str:
        """Do it; answer the outcome."""

    @abstractmethod
    def _fail(self, db: Connection, claim: C, watch: Watch, code: str) -> str:
        """End the run for good; answer the outcome."""

    @property
    def url(self) -> str:
        """Where the database is."""
        return plain(self.settings.database_url)

    def work_off(self, then: Callable[[int], object] = lambda _: None) -> None:
        """Work until nothing is due, and say whose run has ended.

        Whose turn it is, is asked again after every run: who came meanwhile may be next.
        """
        while not self.stopping.is_set():
            served = next(filter(self.attempt, self._districts()), None)
            if served is None:
                return
            then(served)

    def _districts(self) -> list[int]:
        with connect(self.url, role="rosterhub_control", name="rosterhub poll") as control:
            return self._due(control)

    def attempt(self, tenant_id: int) -> bool:
        """Work on the district's next run, if there is one; answer whether there was."""
        with connect(self.url, name=self.NAME) as db:
            claim = self._take(db, tenant_id)
            if claim is None:
                return False
            kind = self._kind(claim)
            with metrics.SECONDS.labels(kind=kind).time():
                outcome = self._heard_in_district(tenant_id)._work(db, claim)  # noqa: SLF001  # our own
        metrics.ATTEMPTS.labels(kind=kind, outcome=outcome).inc()
        give_back()
        return True

    def _heard_in_district(self, tenant_id: int) -> Self:
        """The same, for an attempt of which the district hears, too."""
        if self.to_district is None:
            return self
        return replace(self, emit=all_of(self.emit, self.to_district(tenant_id)))

    def _work(self, db: Connection, claim: C) -> str:
        try:
            if claim.attempt > self.settings.attempts:
                return self._fail(db, claim, Watch(), "attempts_exhausted")
            with self._watched(db, claim) as watch:
                return self._interruptible(db, claim, watch)
        except Fenced:
            log.warning("run_taken_over", run_id=str(claim.id), fence=claim.fence)
            return "fenced"
        except Stopped:
            self._release(claim, 0.0, refund=True)
            return "stopped"
        except BaseException as error:  # noqa: BLE001  # a panic of Polars is one; try again
            self._report(claim, error)
            self._release(claim, min(2.0**claim.attempt, PAUSE_MAX))
            return "interrupted"

    @contextmanager
    def _watched(self, db: Connection, claim: C) -> Iterator[Watch]:
        with claims.heartbeat(
            self.url,
            claim,
            lease=self.settings.lease,
            timeout=self._seconds(),
            stopping=self.stopping,
            work=db,
        ) as watch:
            yield watch

    def _interruptible(self, db: Connection, claim: C, watch: Watch) -> str:
        patience = f"{int(self._seconds() * 1000)}ms"
        db.execute("select set_config('statement_timeout', %s, false)", [patience])
        try:
            return self._run(db, claim, watch)
        except QueryCanceled:
            watch.check()  # the heartbeat has interrupted it, or else its time was over
            raise

    def _release(self, claim: C, pause: float, *, refund: bool = False) -> None:
        """On a connection of its own, for the old one may be what broke."""
        try:
            with connect(self.url) as db:
                claims.release(db, claim, pause, refund=refund)
        except psycopg.Error as error:
            # The lease runs out by itself.
            log.warning("run_not_released", run_id=str(claim.id), error=type(error).__name__)

    def _report(self, claim: C, error: BaseException) -> None:
        """The kind of the error and where it was; never its text, which may quote a row."""
        log.error(
            "attempt_failed",
            run_id=str(claim.id),
            attempt=claim.attempt,
            error=type(error).__name__,
            sqlstate=getattr(error, "sqlstate", None),
            at=place_of(error),
        )


def place_of(error: BaseException) -> str | None:
    """Where it was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return f"{place.tb_frame.f_code.co_qualname}:{place.tb_lineno}" if place else None
