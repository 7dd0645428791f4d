"""Files that hold personal values. A new kind of file that does gets its line here.

Files go before the transaction that wipes the rows and makes the receipt: an attempt that dies in
between is made again, and deletes what is left. How many went is counted in the row of the erasure,
in the transaction that forgets the file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import obstore
from obstore.store import ObjectStore

from pipeline import export_files, packages
from pipeline.database import Connection, tenant
from pipeline.erasing.people import NAMED
from pipeline.files import keys, remove
from schemas.objects import lines_prefix, uploads_prefix

IN_FLIGHT = timedelta(hours=1)
"""An object without a row may be an upload whose row is about to be written."""


@dataclass(frozen=True, slots=True)
class Going:
    """Whose files go: those of a district, or only those that are so many `days` old.

    `lines`: also what tells one line of a package from another.
    """

    db: Connection
    store: ObjectStore
    tenant_id: int
    run_id: UUID
    days: int | None = None
    lines: bool = True

    @property
    def key(self) -> dict[str, Any]:
        """What names the district and the erasure in a statement."""
        return {"tenant_id": self.tenant_id, "run_id": self.run_id, "days": self.days, "id": None}

    def count(self, store: str, number: int = 1) -> None:
        """So many more files of a store are gone; part of the transaction that forgets them."""
        self.db.execute(NAMED["count_files"], {**self.key, "store": store, "number": number})


Wipe: TypeAlias = Callable[[Going], None]


def wipe_uploads(going: Going) -> None:
    """Packages as they came; those that no run has, too, where a gateway died over them."""
    with tenant(going.db, going.tenant_id):
        due = going.db.execute(NAMED["uploads"], going.key).fetchall()
    for (upload_id,) in due:
        with tenant(going.db, going.tenant_id):
            wipe_upload(going, {**going.key, "id": upload_id})
    wipe_orphans(going)


def wipe_upload(going: Going, facts: dict[str, Any]) -> None:
    """Delete a package, unless somebody has begun to import it again meanwhile."""
    held = going.db.execute(NAMED["hold_upload"], facts).fetchone()
    if held is None or going.db.execute(NAMED["uploads"], facts).fetchone() is None:
        return
    remove(going.store, held[0])
    going.db.execute(NAMED["mark_deleted"], facts)
    going.count("uploads")


def wipe_orphans(going: Going) -> None:
    """Delete uploads without a row, but not those that are just coming in."""
    before = datetime.now(UTC) - max(IN_FLIGHT, timedelta(days=going.days or 0))
    prefix = uploads_prefix(going.tenant_id)
    stored = {
        each["path"]
        for page in obstore.list(going.store, prefix=prefix)
        for each in page
        if each["last_modified"] < before
    }
    # Asked after the store: what has got its row meanwhile is known by now.
    with tenant(going.db, going.tenant_id):
        known = {key for (key,) in going.db.execute(NAMED["known_uploads"], going.key)}
        for key in stored - known:
            remove(going.store, key)
            going.count("uploads")


def wipe_lines(going: Going) -> None:
    """What stands for each line of the last packages: the next one is read in full."""
    if not going.lines:
        return
    with tenant(going.db, going.tenant_id):
        going.db.execute(NAMED["forget_lines"], going.key)
        for key in keys(going.store, lines_prefix(going.tenant_id)):
            remove(going.store, key)
            going.count("lines")


def wipe_exports(going: Going) -> None:
    """Packages that were made of the roster; what is being made begins again."""
    db, tenant_id = going.db, going.tenant_id
    if going.days is None:
        with tenant(db, tenant_id):
            export_files.recall(db, tenant_id)
    else:
        export_files.expire(db, tenant_id, going.days * 24)
    if gone := export_files.sweep(db, going.store, tenant_id):
        with tenant(db, tenant_id):
            going.count("exports", gone)


def wipe_packages(going: Going) -> None:
    """Delta packages: who has not applied them begins again."""
    with tenant(going.db, going.tenant_id):
        packages.recall(going.db, going.tenant_id, days=going.days)
    if gone := packages.sweep(going.db, going.store, going.tenant_id):
        with tenant(going.db, going.tenant_id):
            going.count("packages", gone)


FILES: tuple[Wipe, ...] = (wipe_uploads, wipe_lines, wipe_exports, wipe_packages)
