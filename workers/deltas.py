"""The desk of the delta feed: whatever version or lens of any district is not prepared, is.

A bell only hurries it; the look at PostgreSQL says what is due, and a lock in the database decides
who does it. Behind a version come the packages of those who follow it (`pipeline.packages`).
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from obstore.exceptions import BaseError

from pipeline import packages
from pipeline.database import Connection, connect
from pipeline.deltas import NAMED, prepare
from pipeline.packages import Lines, Packages
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from workers import metrics
from workers.objects import open_store
from workers.scratch import scratch

log = structlog.get_logger()


def deltas(settings: Settings, stopping: threading.Event, lines: Lines) -> Callable[[], None]:
    """Prepare the districts that are behind, the one whose version is oldest first."""
    url, vault = plain(settings.database_url), Vault(plain(settings.secret_key))
    store = open_store(settings.object_store)

    @contextmanager
    def packing() -> Iterator[Packages]:
        with scratch(settings.work_folder) as folder:
            yield Packages(store, lines, folder, lambda kind: metrics.PACKAGES.labels(kind).inc())

    def pack(db: Connection, tenant_id: int, packing: Packages) -> None:
        try:
            while not stopping.is_set() and packing.step(db, vault, tenant_id):
                pass
        except (BaseError, OSError) as error:
            # What the store keeps of one district keeps nobody else's.
            log.warning("store_away", tenant_id=tenant_id, error=type(error).__name__)

    def work() -> None:
        with connect(url, role="rosterhub_control", name="rosterhub poll") as control:
            due = [tenant_id for (tenant_id,) in control.execute(NAMED["due"])]
            lacking = [tenant_id for (tenant_id,) in control.execute(packages.NAMED["due"])]
        if not due and not lacking:
            return
        with connect(url, name="rosterhub deltas") as db, packing() as made:
            for tenant_id in dict.fromkeys([*due, *lacking]):
                if stopping.is_set():
                    return
                if prepare(db, vault, tenant_id, made.ahead):
                    log.info("feed_prepared", tenant_id=tenant_id)
                pack(db, tenant_id, made)

    return work
