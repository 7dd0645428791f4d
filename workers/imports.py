"""Runs that write a roster: imports, undos, erasures. Each is brought what it needs."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import assert_never

from pipeline import claims
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, one, tenant
from pipeline.deciding import Deciding
from pipeline.erasing.job import Erasure
from pipeline.importing import Import
from pipeline.undo import Undo
from schemas.events import RunEnded
from schemas.jobs import PrepareDeltas
from schemas.settings import Settings, plain
from workers.attempts import Attempts
from workers.limits import limits
from workers.objects import Damaged, fetched
from workers.port import ring_on
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


def imports(settings: Settings, stopping: threading.Event) -> Callable[[], None]:
    """Work off what is due, and ring for the feeds of the districts that were changed."""
    importer, ring = Importer.ready(settings, stopping), ring_on(plain(settings.redis_url))
    return partial(
        importer.work_off, then=lambda tenant_id: ring(PrepareDeltas(tenant_id=tenant_id))
    )


class Importer(Attempts[Claim]):
    """The way of a run that writes; one at a time in a district."""

    NAME = "rosterhub import"

    def _due(self, control: Connection) -> list[int]:
        return [tenant_id for (tenant_id,) in control.execute(claims.SQL["due"])]

    def _take(self, db: Connection, tenant_id: int) -> Claim | None:
        return claims.take(db, tenant_id, lease=self.settings.lease, worker=self.worker)

    def _kind(self, claim: Claim) -> str:
        return claim.kind

    def _seconds(self) -> float:
        return self.settings.import_timeout

    def _run(self, db: Connection, claim: Claim, watch: Watch) -> str:
        match claim.kind:
            case "import":
                return self._import(db, claim, watch)
            case "undo":
                undo = Undo(claim, db, watch, self.emit, limits(self.settings))
                return self._tell(undo.run())
            case "erasure":
                return self._tell(Erasure(claim, db, watch, self.emit, self.store).run())
            case _:
                assert_never(claim.kind)

    def _import(self, db: Connection, claim: Claim, watch: Watch) -> str:
        if claim.decided:
            return Deciding(claim, db, watch, self.emit).run().state
        try:
            with (
                scratch(self.settings.work_folder) as folder,
                self._fetched(db, claim, folder / "upload") as proven,
            ):
                return (
                    Import(
                        claim,
                        db,
                        folder / "upload",
                        folder,
                        watch,
                        self.emit,
                        limits(self.settings),
                        self.store,
                        proven,
                    )
                    .run()
                    .state
                )
        except Damaged:
            return self._fail(db, claim, watch, "upload_damaged")

    def _tell(self, ended: RunEnded) -> str:
        """Say how a run has ended that does not say so itself."""
        self.emit(ended)
        return ended.state

    def _fetched(
        self, db: Connection, claim: Claim, path: Path
    ) -> AbstractContextManager[Callable[[], None]]:
        with tenant(db, claim.tenant_id):
            key, size, sha256 = one(
                db, claims.SQL["upload"], {**claim.key, "upload_id": claim.upload_id}
            )
        return fetched(self.store, key, path, size=size, sha256=sha256)

    def _fail(self, db: Connection, claim: Claim, watch: Watch, code: str) -> str:
        failure = {"code": code, **FAILURES[code]}
        with claims.holding(db, claim):
            claims.end(db, claim, state="failed", stage=watch.stage, watch=watch, failure=failure)
        self.emit(RunEnded(run_id=claim.id, state="failed"))
        return code
