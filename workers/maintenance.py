"""What nobody asks for and everybody expects: deleted districts, old uploads and leftovers go."""

from collections.abc import Iterator

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore
from psycopg.sql import SQL, Identifier

from pipeline import beside
from pipeline.database import Connection, connect, tenant
from schemas.roster import ROSTERING
from schemas.statements import load

NAMED = load("workers", "maintenance.sql")
BATCH = 10_000

log = structlog.get_logger()


def sweep(url: str, store: ObjectStore, retention: float) -> None:
    """One round over the leftovers of killed workers and over all districts."""
    with connect(url, role="rosterhub_control", name="rosterhub maintenance") as control:
        districts = control.execute(NAMED["districts"]).fetchall()
        with connect(url, name="rosterhub maintenance") as db:
            beside.sweep(db, control)
            for tenant_id, deleted in districts:
                try:
                    if deleted:
                        purge(db, control, store, tenant_id)
                    else:
                        forget_uploads(db, store, tenant_id, retention)
                except (BaseError, OSError) as error:
                    # What the store keeps of one district keeps nobody else's.
                    log.warning("store_away", tenant_id=tenant_id, error=type(error).__name__)


def purge(db: Connection, control: Connection, store: ObjectStore, tenant_id: int) -> None:
    """Remove everything of a deleted district, in batches; safe to be interrupted and repeated."""
    forget_uploads(db, store, tenant_id, retention=None)
    rows = delete_all(db, "findings", tenant_id)
    # Waits for an import that is about to commit; without its run no other can.
    with tenant(db, tenant_id):
        rows += db.execute(NAMED["remove_runs"], {"tenant_id": tenant_id}).rowcount
    rows += sum(delete_all(db, table, tenant_id) for table in tables())
    control.execute(NAMED["remove_district"], {"tenant_id": tenant_id})
    log.info("district_purged", tenant_id=tenant_id, rows=rows)


def tables() -> Iterator[str]:
    """Every table of a tenant that no run needs any more, dependent ones first."""
    for entity in reversed(ROSTERING):
        yield f"{entity.table}_history"
        yield entity.table
    yield from ("record_counts", "versions", "uploads")


def delete_all(db: Connection, table: str, tenant_id: int) -> int:
    """Delete a district's rows of a table, some thousand at a time."""
    statement = SQL(
        "delete from {table} where ctid = any(array("
        "select ctid from {table} where tenant_id = %s limit %s))"
    ).format(table=Identifier(table))
    total = 0
    while True:
        with tenant(db, tenant_id):
            gone = db.execute(statement, [tenant_id, BATCH]).rowcount
        total += gone
        if gone < BATCH:
            return total


def forget_uploads(
    db: Connection, store: ObjectStore, tenant_id: int, retention: float | None
) -> None:
    """Delete the files of runs that ended long enough ago; None: all files."""
    facts = {"tenant_id": tenant_id, "retention": retention}
    with tenant(db, tenant_id):
        due = db.execute(NAMED["old_uploads"], facts).fetchall()
    for upload_id, key in due:
        try:
            obstore.delete(store, key)
        except (NotFoundError, FileNotFoundError):
            log.info("upload_was_gone", upload_id=str(upload_id))
        with tenant(db, tenant_id):
            db.execute(NAMED["mark_deleted"], {**facts, "id": upload_id})
