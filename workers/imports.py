"""One attempt at one run: claim it, bring what it needs, run the pipeline, say how it went.

Whatever happens, the row in PostgreSQL knows: an attempt that was interrupted is made again, by
whoever claims the run next, until the attempts are used up.
"""

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, assert_never

import psycopg
import structlog
from obstore.store import ObjectStore
from psycopg.errors import QueryCanceled

from pipeline import claims
from pipeline.claims import Claim, Fenced, Stopped, Watch
from pipeline.database import Connection, connect, one, tenant
from pipeline.deciding import Deciding
from pipeline.erasing.job import Erasure
from pipeline.importing import Import
from pipeline.limits import Limits
from pipeline.undo import Undo
from schemas.events import Emit, RunEnded
from schemas.settings import Settings, plain
from workers import metrics
from workers.objects import Damaged, fetch
from workers.observers import OfDistrict, all_of
from workers.scratch import scratch

FAILURES = {
    "attempts_exhausted": {
        "en": "The run was interrupted too often and was given up. Nothing was changed.",
        "ja": "処理が何度も中断したため、中止しました。データは変更されていません。",
    },
    "upload_damaged": {
        "en": "The stored upload is missing or damaged. Nothing was changed. Send it again.",
        "ja": "保存されたファイルが見つからないか壊れています。もう一度送ってください。",
    },
}
PAUSE_MAX = 60.0  # seconds

log = structlog.get_logger()


@dataclass(slots=True)
class Importer:
    """What every attempt needs."""

    settings: Settings
    store: ObjectStore
    emit: Emit
    worker: str
    stopping: threading.Event
    to_district: OfDistrict | None = None

    @property
    def url(self) -> str:
        """Where the database is."""
        return plain(self.settings.database_url)

    def attempt(self, tenant_id: int) -> bool:
        """Work on the district's next run, if there is one; answer whether there was."""
        with connect(self.url, name="rosterhub import") as db:
            lease = self.settings.lease
            claim = claims.take(db, tenant_id, lease=lease, worker=self.worker)
            if claim is None:
                return False
            with metrics.SECONDS.labels(kind=claim.kind).time():
                outcome = self._heard_in_district(tenant_id)._work(db, claim)  # noqa: SLF001  # our own
        metrics.ATTEMPTS.labels(kind=claim.kind, outcome=outcome).inc()
        return True

    def _heard_in_district(self, tenant_id: int) -> Self:
        """The same, for an attempt of which the district hears, too."""
        if self.to_district is None:
            return self
        return replace(self, emit=all_of(self.emit, self.to_district(tenant_id)))

    def _work(self, db: Connection, claim: Claim) -> str:
        try:
            if claim.attempt > self.settings.attempts:
                return self._fail(db, claim, Watch(), "attempts_exhausted")
            with claims.heartbeat(
                self.url,
                claim,
                lease=self.settings.lease,
                timeout=self.settings.import_timeout,
                stopping=self.stopping,
                work=db,
            ) as watch:
                try:
                    return self._run(db, claim, watch)
                except QueryCanceled:
                    watch.check()  # the heartbeat has interrupted it, or else its time was over
                    raise
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

    def _run(self, db: Connection, claim: Claim, watch: Watch) -> str:
        db.execute("select set_config('statement_timeout', %s, false)", [self._patience()])
        match claim.kind:
            case "import":
                return self._import(db, claim, watch)
            case "undo":
                return self._tell(Undo(claim, db, watch, self.emit, limits(self.settings)).run())
            case "erasure":
                return self._tell(Erasure(claim, db, watch, self.emit, self.store).run())
            case _:
                assert_never(claim.kind)

    def _import(self, db: Connection, claim: Claim, watch: Watch) -> str:
        if claim.decided:
            return self._tell(Deciding(claim, db, watch, self.emit).run())
        with scratch(self.settings.work_folder) as folder:
            path = folder / "upload"
            try:
                self._fetch(db, claim, path)
            except Damaged:
                return self._fail(db, claim, watch, "upload_damaged")
            ended = Import(
                claim, db, path, folder, watch, self.emit, limits(self.settings), self.store
            ).run()
        return self._tell(ended)

    def _tell(self, ended: RunEnded) -> str:
        """Say how the run has ended."""
        self.emit(ended)
        return ended.state

    def _patience(self) -> str:
        return f"{int(self.settings.import_timeout * 1000)}ms"

    def _fetch(self, db: Connection, claim: Claim, path: Path) -> None:
        with tenant(db, claim.tenant_id):
            key, size, sha256 = one(
                db, claims.SQL["upload"], {**claim.key, "upload_id": claim.upload_id}
            )
        fetch(self.store, key, path, size=size, sha256=sha256)

    def _fail(self, db: Connection, claim: Claim, watch: Watch, code: str) -> str:
        failure = {"code": code, **FAILURES[code]}
        with claims.holding(db, claim):
            claims.end(db, claim, state="failed", stage=watch.stage, watch=watch, failure=failure)
        self.emit(RunEnded(run_id=claim.id, state="failed"))
        return code

    def _release(self, claim: Claim, pause: float, *, refund: bool = False) -> None:
        """On a connection of its own, for the old one may be what broke."""
        try:
            with connect(self.url) as db:
                claims.release(db, claim, pause, refund=refund)
        except psycopg.Error as error:
            # The lease runs out by itself.
            log.warning("run_not_released", run_id=str(claim.id), error=type(error).__name__)

    def _report(self, claim: Claim, error: BaseException) -> None:
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


def limits(settings: Settings) -> Limits:
    """The ceilings of a package, from the settings."""
    return Limits(
        zip_entries=settings.zip_entries,
        zip_ratio=settings.zip_ratio,
        zip_max=settings.zip_max,
        row_max=settings.row_max,
        field_max=settings.field_max,
        columns_max=settings.columns_max,
        findings_max=settings.findings_max,
    )
