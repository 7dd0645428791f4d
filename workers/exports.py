"""One attempt at one export: claim it, let the pipeline write it, let it appear when it is whole.

The package goes into the object store while it is made, under a name of this attempt that nobody
knows; an attempt that is interrupted leaves nothing to be had. The row is the last to change, under
the fence, so what it names is there entirely.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import obstore
import structlog
from obstore.store import ObjectStore

from pipeline import claims, export_files, exporting
from pipeline.claims import Fenced, Watch
from pipeline.database import Connection, tenant
from pipeline.exporting import EVERYBODY, Export, ExportClaim, Reader, Sink
from schemas.events import ExportEnded
from schemas.lens import Lens
from schemas.objects import export_key
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from schemas.view import of_lens
from workers.attempts import Attempts
from workers.schedules import ask_due

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
PIECE = 5 * 1024 * 1024  # what S3 takes as the smallest piece
PIECES = 2  # on their way at a time

log = structlog.get_logger()


def exports(settings: Settings, stopping: threading.Event) -> Callable[[], None]:
    """Let schedules ask whose time has come, and work off the exports that are due."""
    exporter = Exporter.ready(settings, stopping)

    def work() -> None:
        ask_due(exporter.url)
        exporter.work_off()

    return work


class Exporter(Attempts[ExportClaim]):
    """The way of an export."""

    NAME = "rosterhub export"

    def _due(self, control: Connection) -> list[int]:
        return [tenant_id for (tenant_id,) in control.execute(exporting.NAMED["due"])]

    def _take(self, db: Connection, tenant_id: int) -> ExportClaim | None:
        return exporting.take(db, tenant_id, lease=self.settings.lease, worker=self.worker)

    def _kind(self, _claim: ExportClaim) -> str:
        return "export"

    def _seconds(self) -> float:
        return self.settings.export_timeout

    def _run(self, db: Connection, claim: ExportClaim, watch: Watch) -> str:
        reader = self._reader(db, claim)
        if reader is None:
            return self._fail(db, claim, watch, "client_gone")
        target = Target(self.store, claim)
        with target.open():
            made = Export(claim, db, watch, self.emit, reader).run(target.begin)
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

    def _fail(self, db: Connection, claim: ExportClaim, watch: Watch, code: str) -> str:
        with claims.holding(db, claim):
            exporting.fail(db, claim, watch, {"code": code, **FAILURES[code]})
        self.emit(ExportEnded(run_id=claim.id, state="failed"))
        return code


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
