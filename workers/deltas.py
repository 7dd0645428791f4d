"""The desk of the delta feed: whatever version or lens of any district is not prepared, is.

A bell only hurries it; the look at PostgreSQL says what is due, and a lock in the database decides
who does it. Behind a version come the packages of those who follow it (`pipeline.packages`).
"""

import threading
from collections.abc import Callable

import psycopg
import structlog

from pipeline import packages
from pipeline.database import Connection, connect
from pipeline.deltas import NAMED, prepare
from pipeline.packages import Lines, Packages
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from workers import metrics
from workers.objects import open_store

FEEDS, PACKAGES = NAMED["due"], packages.NAMED["due"]

log = structlog.get_logger()


def deltas(settings: Settings, stopping: threading.Event, lines: Lines) -> Callable[[], None]:
    """Prepare the districts that are behind, the one whose version is oldest first."""
    url, vault = plain(settings.database_url), Vault(plain(settings.secret_key))
    store = open_store(settings.object_store)
    made = Packages(store, lines, lambda kind: metrics.PACKAGES.labels(kind).inc())

    def pack(db: Connection, tenant_id: int) -> bool:
        """Make a package of a district; answer whether one was made."""
        try:
            return made.step(db, vault, tenant_id)
        except psycopg.OperationalError:
            raise
        except Exception as error:  # noqa: BLE001  # the feeds of all others wait behind it
            log.warning("package_failed", tenant_id=tenant_id, error=type(error).__name__)
            return False

    def work() -> None:
        with connect(url, role="rosterhub_control", name="rosterhub poll") as control:
            if not any(control.execute(due).fetchone() for due in (FEEDS, PACKAGES)):
                return
            with connect(url, name="rosterhub deltas") as db:
                while not stopping.is_set():
                    for (tenant_id,) in control.execute(FEEDS).fetchall():
                        if not stopping.is_set() and prepare(db, vault, tenant_id, made.ahead):
                            log.info("feed_prepared", tenant_id=tenant_id)
                    # One at a time: whoever waits for a feed comes before the next one.
                    lacking = control.execute(PACKAGES).fetchall()
                    if not any(pack(db, tenant_id) for (tenant_id,) in lacking):
                        return

    return work
