"""The lines of a first load are learnt behind its commit.

To know them by heart takes a tenth of the load, and helps the next package only. So the package is
read once more when the run has ended and everybody can read its roster. Who comes meanwhile is
served as if no line were known; whatever goes wrong here costs that and nothing else.
"""

from collections.abc import Mapping
from contextlib import closing

import psycopg
import structlog
from psycopg.errors import LockNotAvailable

from pipeline import loads
from pipeline.changes import Changes
from pipeline.claims import Claim, Fenced, Stopped
from pipeline.database import tenant
from pipeline.faults import Broken, TooMany
from pipeline.lines import UNREADABLE

PATIENCE = "1s"  # for who works on the district: then it is at another version soon
HINDRANCES = (*UNREADABLE, psycopg.Error, Broken, TooMany, Fenced, Stopped)

log = structlog.get_logger()


def learn(changes: Changes, claim: Claim, version: int, rows: Mapping[str, int]) -> None:
    """Know the lines of the files of a package that made this version, if it still stands.

    `rows` is how many each file had. Known lines stand for all records, or deletions would be
    missed: where the package reads otherwise now, nothing of it is known.
    """
    try:
        if not read(changes, rows):
            log.warning("lines_not_learnt", run_id=str(claim.id), error="reads otherwise")
            return
        with tenant(changes.db, claim.tenant_id):
            changes.db.execute(f"set local lock_timeout = '{PATIENCE}'")
            (stands, _) = loads.lock(changes.db, claim)
            if stands == version:
                changes.keep_lines()
    except LockNotAvailable:
        return
    except HINDRANCES as error:
        log.warning("lines_not_learnt", run_id=str(claim.id), error=type(error).__name__)


def read(changes: Changes, rows: Mapping[str, int]) -> bool:
    """Read the files again, and put their lines where they may be kept; whether all are there."""
    reader = changes.reader
    for file in reader.package.files:
        changes.book(file)
    booked = [file for file in reader.package.files if file.entity.file in reader.books]
    with closing(reader.batches(booked)) as batches:
        for _ in batches:
            pass
    if reader.findings.fatal or any(reader.rows[name] != rows[name] for name in reader.books):
        return False
    changes.shelve_lines()
    return True
