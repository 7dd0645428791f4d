"""What nobody asks for and everybody expects: what has served its time goes.

Uploads and old runs of every district, by its own policy, and people who were deleted long ago, by
an erasure; deleted districts entirely; what killed workers left behind.
"""

from collections.abc import Iterator

import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore
from psycopg.sql import SQL, Identifier
from pydantic import ValidationError

from pipeline import export_files, loads, packages, proposals
from pipeline.audit import note
from pipeline.database import Connection, connect, tenant
from pipeline.erasing import retention
from pipeline.files import keys, remove
from schemas.audit import INSTALLATION
from schemas.objects import lines_prefix
from schemas.policy import Policy
from schemas.statements import load

NAMED = load("workers", "maintenance.sql")
BATCH = 10_000
FEW = 100  # runs at a time, for their findings go with them

log = structlog.get_logger()


def sweep(url: str, store: ObjectStore) -> None:
    """One round over the leftovers of killed workers and over all districts."""
    with connect(url, role="rosterhub_control", name="rosterhub maintenance") as control:
        districts = control.execute(NAMED["districts"]).fetchall()
        with connect(url, name="rosterhub maintenance") as db:
            loads.sweep(db, control)
            proposals.sweep(db, control)
            for tenant_id, deleted, policy in districts:
                try:
                    if deleted:
                        purge(db, control, store, tenant_id)
                    else:
                        forget(db, store, tenant_id, Policy.model_validate(policy))
                except (BaseError, OSError) as error:
                    # What the store keeps of one district keeps nobody else's.
                    log.warning("store_away", tenant_id=tenant_id, error=type(error).__name__)
                except ValidationError:
                    # A newer release wrote it; the maintenance of that release will understand.
                    log.warning("policy_not_understood", tenant_id=tenant_id)


# --- What has served its time ---------------------------------------------------------------


def forget(db: Connection, store: ObjectStore, tenant_id: int, policy: Policy) -> None:
    """Let a district's uploads and runs go when its policy says so."""
    forget_uploads(db, store, tenant_id, policy.uploads_hours)
    forget_lines(db, store, tenant_id)
    forget_exports(db, store, tenant_id, policy)
    forget_packages(db, store, tenant_id, policy)
    if runs := forget_runs(db, tenant_id, policy.runs_days):
        with tenant(db, tenant_id):
            note(db, tenant_id, "remove", target="runs", records=runs, code="runs")
        log.info("runs_forgotten", tenant_id=tenant_id, runs=runs)
    if run_id := retention.file(db, tenant_id, policy):
        log.info("erasure_filed", tenant_id=tenant_id, run_id=str(run_id))


def forget_uploads(db: Connection, store: ObjectStore, tenant_id: int, hours: float | None) -> None:
    """Delete the files of runs that ended long enough ago; None: all files."""
    facts = {"tenant_id": tenant_id, "hours": hours, "id": None}
    with tenant(db, tenant_id):
        due = db.execute(NAMED["old_uploads"], facts).fetchall()
    for (upload_id,) in due:
        with tenant(db, tenant_id):
            forget_upload(db, store, {**facts, "id": upload_id})


def forget_upload(db: Connection, store: ObjectStore, facts: dict[str, object]) -> None:
    """Delete a file while nobody can begin to import it again; the row stays and says so."""
    held = db.execute(NAMED["hold_upload"], facts).fetchone()
    # Looked at again now that it is held, for somebody may have been faster.
    if held is None or db.execute(NAMED["old_uploads"], facts).fetchone() is None:
        return
    if not remove(store, held[0]):
        log.info("upload_was_gone", upload_id=str(facts["id"]))
    db.execute(NAMED["mark_deleted"], facts)


def forget_runs(db: Connection, tenant_id: int, days: int) -> int:
    """Delete old runs with all that hangs on them, some at a time; answer how many there were."""
    facts = {"tenant_id": tenant_id, "days": days}
    runs = in_batches(db, tenant_id, "forget_runs", {**facts, "batch": FEW})
    in_batches(db, tenant_id, "forget_upload_rows", {**facts, "batch": BATCH})
    return runs


def in_batches(db: Connection, tenant_id: int, statement: str, facts: dict[str, int]) -> int:
    """Repeat a statement, each time in a transaction of its own, until there is little left."""
    total = 0
    while True:
        with tenant(db, tenant_id):
            gone = db.execute(NAMED[statement], facts).rowcount
        total += gone
        if gone < facts["batch"]:
            return total


def forget_lines(db: Connection, store: ObjectStore, tenant_id: int) -> None:
    """Delete the known lines that a later import has replaced, or that a killed one left."""
    facts = {"tenant_id": tenant_id}
    with tenant(db, tenant_id):
        quiet = db.execute(NAMED["recent_run"], facts).fetchone() is None
    if quiet:
        return  # nothing is left since we looked last, and to ask a store costs money
    stored = keys(store, lines_prefix(tenant_id))
    # Asked after the store: what an import has finished meanwhile is known by now.
    with tenant(db, tenant_id):
        used = {folder for (folder,) in db.execute(NAMED["lines_in_use"], facts)}
    for key in stored:
        if key.split("/")[2] not in used:
            remove(store, key)


def forget_exports(db: Connection, store: ObjectStore, tenant_id: int, policy: Policy) -> None:
    """Let files of exports go that have been there long enough, and then the exports."""
    export_files.expire(db, tenant_id, policy.exports_hours)
    if not export_files.quiet(db, tenant_id):
        export_files.sweep(db, store, tenant_id)
    facts = {"tenant_id": tenant_id, "days": policy.runs_days, "batch": FEW}
    in_batches(db, tenant_id, "forget_exports", facts)


def forget_packages(db: Connection, store: ObjectStore, tenant_id: int, policy: Policy) -> None:
    """Let delta packages go that are as old as the feed, and what a killed worker has left."""
    gone = packages.forget(db, tenant_id, policy.feed_days)
    with tenant(db, tenant_id):
        recent = db.execute(NAMED["recent_run"], {"tenant_id": tenant_id}).fetchone()
    if gone or recent:  # nothing is made without a run, and to ask a store costs money
        packages.sweep(db, store, tenant_id)


# --- Deleted districts ----------------------------------------------------------------------


def purge(db: Connection, control: Connection, store: ObjectStore, tenant_id: int) -> None:
    """Remove everything of a deleted district, in batches; safe to be interrupted and repeated."""
    forget_uploads(db, store, tenant_id, hours=None)
    for key in keys(store, lines_prefix(tenant_id)):
        remove(store, key)
    export_files.wipe(db, store, tenant_id)
    with tenant(db, tenant_id):
        packages.recall(db, tenant_id)
    rows = sum(delete_all(db, table, tenant_id) for table in tables(db, of_runs=True))
    # Waits for an import that is about to commit; without its run no other can.
    with tenant(db, tenant_id):
        rows += db.execute(NAMED["remove_runs"], {"tenant_id": tenant_id}).rowcount
    rows += sum(delete_all(db, table, tenant_id) for table in tables(db, of_runs=False))
    export_files.sweep(db, store, tenant_id)  # what was still being written
    packages.sweep(db, store, tenant_id)
    control.execute(NAMED["remove_district"], {"tenant_id": tenant_id})
    with tenant(db, INSTALLATION):
        note(db, INSTALLATION, "remove", target=str(tenant_id), records=rows, code="district")
    log.info("district_purged", tenant_id=tenant_id, rows=rows)


def tables(db: Connection, *, of_runs: bool) -> Iterator[str]:
    """Every table of a tenant, dependent ones first: those that hang on runs, or the others."""
    for name, hangs in db.execute(NAMED["tables"]).fetchall():
        if hangs == of_runs:
            yield name


def delete_all(db: Connection, table: str, tenant_id: int) -> int:
    """Delete a district's rows of a table, some thousand at a time."""
    statement = SQL(
        "delete from {table} where ctid = any(array("
        "select ctid from {table} where tenant_id = %s limit %s))"
    ).format(table=Identifier(table))
    total = 0
    while True:
        with tenant(db, tenant_id):
            loads.work_for(db, loads.NOBODY)  # also what was never published
            gone = db.execute(statement, [tenant_id, BATCH]).rowcount
        total += gone
        if gone < BATCH:
            return total
