"""The files of exports in the object store: which of them are there, and how they go.

A file is to be had as long as a completed export names it and has not let it go. Everything else
below the district's folder is what a killed attempt, or an erasure, has left, and is swept.

    recall(db, tenant_id)           in the transaction of an erasure: nothing written before counts
    sweep(db, store, tenant_id)     when that is committed: nothing of it is left
"""

import re
from pathlib import Path

from obstore.store import LocalStore, ObjectStore

from pipeline import files
from pipeline.database import Connection, tenant
from pipeline.exporting import NAMED
from schemas.objects import export_folder

UNFINISHED = re.compile(r"#\d+$")  # how a local folder marks a file that is still being written


def recall(db: Connection, tenant_id: int) -> int:
    """Let go of every file of the district, in the caller's transaction; answer how many exports.

    An export that is being written begins again, and shows what the roster says afterwards.
    """
    return db.execute(NAMED["recall"], {"tenant_id": tenant_id}).rowcount


def wipe(db: Connection, store: ObjectStore, tenant_id: int) -> None:
    """Delete every file of the district's exports; the exports stay in the history."""
    with tenant(db, tenant_id):
        recall(db, tenant_id)
    sweep(db, store, tenant_id)


def expire(db: Connection, tenant_id: int, hours: float) -> int:
    """Let go of files that have been there for so many hours; answer how many."""
    with tenant(db, tenant_id):
        return db.execute(NAMED["expire"], {"tenant_id": tenant_id, "hours": hours}).rowcount


def sweep(db: Connection, store: ObjectStore, tenant_id: int) -> int:
    """Delete what no export names any more; answer how many files."""
    stored = keys(store, tenant_id)
    # Asked after the store: an export that has begun meanwhile is known by now.
    with tenant(db, tenant_id):
        found = db.execute(NAMED["files_in_use"], {"tenant_id": tenant_id})
        used = tuple(name for (name,) in found)
    left = [key for key in stored if not key.startswith(used or ("\0",))]
    for key in left:
        remove(store, key)
    return len(left)


def quiet(db: Connection, tenant_id: int) -> bool:
    """Whether nothing can be left since somebody looked last, for to ask a store costs money."""
    with tenant(db, tenant_id):
        return db.execute(NAMED["recent"], {"tenant_id": tenant_id}).fetchone() is None


def keys(store: ObjectStore, tenant_id: int) -> list[str]:
    """The files below the district's folder, those that were never finished included."""
    folder = export_folder(tenant_id)
    return files.keys(store, folder) + [
        str(path.relative_to(root)) for root, path in unfinished(store, folder)
    ]


def unfinished(store: ObjectStore, folder: str) -> list[tuple[Path, Path]]:
    """What a killed writer has left in a local folder, each with the root of the store."""
    if not isinstance(store, LocalStore) or store.prefix is None:
        return []
    root = Path(store.prefix)
    return [
        (root, path) for path in root.joinpath(folder).rglob("*") if UNFINISHED.search(path.name)
    ]


def remove(store: ObjectStore, key: str) -> None:
    """Delete a file; one that is not there is not missed."""
    if UNFINISHED.search(key) and isinstance(store, LocalStore) and store.prefix is not None:
        Path(store.prefix, key).unlink(missing_ok=True)
    else:
        files.remove(store, key)
