"""One attempt at one export: claim it, let the pipeline write it, let it appear when it is whole.

The package goes into the object store while it is made, under a name of this attempt that nobody
knows; an attempt that is interrupted leaves nothing to be had. The row is the last to change, under
the fence, so what it names is there entirely.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import obstore
import psycopg
import structlog
from obstore.store import ObjectStore
from psycopg.errors import QueryCanceled

from pipeline import claims, export_files, exporting
from pipeline.claims import Fenced, Stopped, Watch
from pipeline.database import Connection, connect, tenant
from pipeline.exporting import EVERYBODY, Export, ExportClaim, Reader, Sink
from schemas.events import Emit, ExportEnded
from schemas.lens import Lens
from schemas.objects import export_key
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from schemas.view import of_lens
from workers import metrics
from workers.imports import PAUSE_MAX, place_of
from workers.observers import OfDistrict, all_of
from workers.scratch import scratch

FAILURES = {
    "attempts_exhausted": {
        "en": "The export was interrupted too often and was given up. Ask for it again.",
        "ja": "処理が何度も中断したため、書き出しを中止しました。もう一度依頼してください。",
    },
    "client_gone": {
        "en": "The client for which this was to be exported is deleted or disabled.",
        "ja": "書き出し先の連携先が削除または停止されたため、書き出しを行いませんでした。",
    },
}
KIND = "export"
PIECE = 5 * 1024 * 1024  # what S3 takes as the smallest piece
PIECES = 2  # on their way at a time

log = structlog.get_logger()


@dataclass(slots=True)
class Exporter:
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
        """Work on the district's next export, if there is one; answer whether there was."""
        with connect(self.url, name="rosterhub export") as db:
            claim = exporting.take(db, tenant_id, lease=self.settings.lease, worker=self.worker)
            if claim is None:
                return False
            with metrics.SECONDS.labels(kind=KIND).time():
                outcome = self._heard_in_district(tenant_id)._work(db, claim)  # noqa: SLF001  # our own
        metrics.ATTEMPTS.labels(kind=KIND, outcome=outcome).inc()
        return True

    def _heard_in_district(self, tenant_id: int) -> Self:
        """The same, for an attempt of which the district hears, too."""
        if self.to_district is None:
            return self
        return replace(self, emit=all_of(self.emit, self.to_district(tenant_id)))

    def _work(self, db: Connection, claim: ExportClaim) -> str:
        try:
            if claim.attempt > self.settings.attempts:
                return self._fail(db, claim, Watch(), "attempts_exhausted")
            with (
                connect(self.url, name="rosterhub export") as roster,
                claims.heartbeat(
                    self.url,
                    claim,
                    lease=self.settings.lease,
                    timeout=self.settings.export_timeout,
                    stopping=self.stopping,
                    work=roster,
                ) as watch,
            ):
                try:
                    return self._export(db, roster, claim, watch)
                except QueryCanceled:
                    watch.check()  # the heartbeat has interrupted it, or else its time was over
                    raise
        except Fenced:
            log.warning("export_lost", export_id=str(claim.id), fence=claim.fence)
            return "fenced"
        except Stopped:
            self._release(claim, 0.0, refund=True)
            return "stopped"
        except BaseException as error:  # noqa: BLE001  # whatever it was, it may be over next time
            self._report(claim, error)
            self._release(claim, min(2.0**claim.attempt, PAUSE_MAX))
            return "interrupted"

    def _export(self, db: Connection, roster: Connection, claim: ExportClaim, watch: Watch) -> str:
        reader = self._reader(db, claim)
        if reader is None:
            return self._fail(db, claim, watch, "client_gone")
        patience = f"{int(self.settings.export_timeout * 1000)}ms"
        roster.execute("select set_config('statement_timeout', %s, false)", [patience])
        target = Target(self.store, claim)
        with scratch(self.settings.work_folder) as folder, target.open():
            made = Export(claim, roster, folder, watch, self.emit, reader).run(target.begin)
        try:
            with claims.holding(db, claim):
                exporting.complete(db, claim, watch, made, target.key)
        except Fenced:
            export_files.remove(self.store, target.key)  # nobody will ever name it
            raise
        self.emit(exporting.ended_well(claim, made))
        return "completed"

    def _reader(self, db: Connection, claim: ExportClaim) -> Reader | None:
        """Who will read it, by the lens of this moment; None: nobody any more."""
        if claim.client is None:
            return EVERYBODY
        facts = {**claim.key, "client": claim.client}
        with tenant(db, claim.tenant_id):
            row = db.execute(exporting.NAMED["lens"], facts).fetchone()
        if row is None:
            return None
        lens = Lens.model_validate(row[0])
        keys = keys_of(Vault(plain(self.settings.secret_key)), claim.tenant_id, claim.client)
        veil = Pseudonyms(keys, lens) if lens.pseudonyms else None
        return Reader(of_lens(lens), veil, row[1])

    def _report(self, claim: ExportClaim, error: BaseException) -> None:
        """The kind of the error and where it was; never its text, which may quote a row."""
        log.error(
            "attempt_failed",
            export_id=str(claim.id),
            attempt=claim.attempt,
            error=type(error).__name__,
            sqlstate=getattr(error, "sqlstate", None),
            at=place_of(error),
        )

    def _fail(self, db: Connection, claim: ExportClaim, watch: Watch, code: str) -> str:
        with claims.holding(db, claim):
            exporting.fail(db, claim, watch, {"code": code, **FAILURES[code]})
        self.emit(ExportEnded(run_id=claim.id, state="failed"))
        return code

    def _release(self, claim: ExportClaim, pause: float, *, refund: bool = False) -> None:
        """On a connection of its own, for the old one may be what broke."""
        try:
            with connect(self.url) as db:
                claims.release(db, claim, pause, refund=refund)
        except psycopg.Error as error:
            # The lease runs out by itself.
            log.warning("export_not_released", export_id=str(claim.id), error=type(error).__name__)


@dataclass(slots=True)
class Target:
    """An object that appears when all of it is written, or not at all."""

    store: ObjectStore
    claim: ExportClaim
    key: str = ""
    _stack: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep what is begun, or drop it where something goes wrong."""
        with self._stack:
            yield

    def begin(self, name: str) -> Sink:
        """Begin the object, under a name of this attempt."""
        claim = self.claim
        self.key = export_key(claim.tenant_id, claim.id, claim.fence, name)
        writer: Any = obstore.open_writer(
            self.store, self.key, buffer_size=PIECE, max_concurrency=PIECES
        )
        return self._stack.enter_context(writer).write  # type: ignore[no-any-return]  # its stubs
