"""The desk of the delta feed: whatever version or lens of any district is not prepared, is.

A bell only hurries it; the look at PostgreSQL says what is due, and a lock in the database decides
who does it.
"""

import threading
from collections.abc import Callable

import structlog

from pipeline.database import connect
from pipeline.deltas import NAMED, prepare
from schemas.secrets import Vault
from schemas.settings import Settings, plain

log = structlog.get_logger()


def deltas(settings: Settings, stopping: threading.Event) -> Callable[[], None]:
    """Prepare the districts that are behind, the one whose version is oldest first."""
    url, vault = plain(settings.database_url), Vault(plain(settings.secret_key))

    def work() -> None:
        with connect(url, role="rosterhub_control", name="rosterhub poll") as control:
            due = [tenant_id for (tenant_id,) in control.execute(NAMED["due"])]
        if not due:
            return
        with connect(url, name="rosterhub deltas") as db:
            for tenant_id in due:
                if stopping.is_set():
                    return
                if prepare(db, vault, tenant_id):
                    log.info("feed_prepared", tenant_id=tenant_id)

    return work
