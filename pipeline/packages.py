"""Delta packages, made once for everybody who follows a district and sees the same.

The events of a version are written in the transaction that prepares it, so they are there as soon
as anybody can ask for them; where a version did much, and in CSV, they are written behind it. Each
package is a transaction under the district's lock of the feed: its row is written when its file is
whole, so a worker that dies leaves a file that nobody knows, which is swept. Of a version that
shows its followers nothing new there is no package.

    recall(db, tenant_id)           in the transaction of an erasure: nothing made before counts
    sweep(db, store, tenant_id)     when that is committed: nothing of it is left
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID, uuid4

import obstore
import psycopg
import structlog
from obstore.store import ObjectStore

from pipeline import export_files, files
from pipeline.claims import Watch
from pipeline.database import Connection, beside, one, tenant
from pipeline.deltas import NAMED as PREPARING
from pipeline.deltas import View, views_of
from pipeline.exporting import Export, ExportClaim, Reader, Sink
from schemas.exports import FILES, Wanted
from schemas.objects import package_key, packages_prefix
from schemas.roster.people import Demographics
from schemas.secrets import Vault
from schemas.statements import load
from schemas.view import EVERYTHING, of_lens

NAMED = load("pipeline", "packages.sql")
PIECE = 5 * 1024 * 1024  # what S3 takes as the smallest piece
PIECES = 2  # on their way at a time
MARKER = 1  # events of a version that shows nothing new

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Followed:
    """Those who follow the same; `version`: up to where packages are made for them.

    `profile` is that of CSV, blank where they follow the feed. `since`: where the last package led.
    """

    lens: str
    demographics: bool
    profile: str
    version: int
    since: int

    @property
    def key(self) -> dict[str, Any]:
        """What names them in a statement."""
        return {
            "lens": self.lens,
            "demographics": self.demographics,
            "profile": self.profile,
        }


class Lines(Protocol):
    """Writes the events of a version as the feed tells them, a line each."""

    base: str
    """What the addresses in them begin with."""

    def __call__(
        self,
        db: Connection,
        tenant_id: int,
        view: View,
        version: int,
        write: Sink,
        *,
        demographics: bool,
    ) -> int:
        """Answer how many they are, the marker among them."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a package has become; without entries it is none."""

    version: int
    since: int | None
    entries: int
    name: str


class Nothing(Exception):
    """There is nothing in it: the file is dropped before it is there."""


@dataclass(slots=True)
class Parcel:
    """Bytes on their way into the object store."""

    into: Sink
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def __call__(self, data: bytes, /) -> None:
        """Take some more."""
        self.size += len(data)
        self.digest.update(data)
        self.into(data)


Fill = Callable[[UUID, Sink], Made]


@dataclass(frozen=True, slots=True)
class Packages:
    """Makes them."""

    store: ObjectStore
    lines: Lines
    made: Callable[[str], object] = lambda _kind: None

    def ahead(self, db: Connection, tenant_id: int, view: View, version: int, /) -> None:
        """The events of a version that is just being prepared, for those who have all before."""
        if not view.enabled:
            return
        facts = {"tenant_id": tenant_id, "lens": view.tag, "before": version - 1}
        for row in db.execute(NAMED["waiting"], facts).fetchall():
            try:
                with db.transaction():
                    self._events(db, tenant_id, view, Followed(*row))
            except psycopg.OperationalError:
                raise
            except Exception as error:  # noqa: BLE001  # the feed waits for no store and no package
                # `step` makes it as soon as that is possible.
                log.warning("package_put_off", tenant_id=tenant_id, error=type(error).__name__)

    def step(self, db: Connection, vault: Vault, tenant_id: int) -> bool:
        """Make the package that is due next; answer whether there was one."""
        with tenant(db, tenant_id):
            (ours,) = one(db, PREPARING["hold"], {"tenant_id": tenant_id})
            row = db.execute(NAMED["next"], {"tenant_id": tenant_id}).fetchone() if ours else None
            if row is None:
                return False
            followed = Followed(*row)
            view = views_of(db, vault, tenant_id).get(followed.lens)
            if view is None or not view.enabled:
                db.execute(NAMED["leave"], {"tenant_id": tenant_id, **followed.key})
            elif followed.profile:
                self._csv(db, tenant_id, view, followed)
            else:
                self._events(db, tenant_id, view, followed)
            return True

    def _events(self, db: Connection, tenant_id: int, view: View, followed: Followed) -> None:
        """Of the next version."""
        version = followed.version + 1

        def fill(_: UUID, write: Sink) -> Made:
            every = followed.demographics
            events = self.lines(db, tenant_id, view, version, write, demographics=every)
            entries = 0 if events == MARKER else events
            return Made(version, followed.since, entries, f"deltas-{version}.ndjson")

        self._make(db, tenant_id, followed, fill)

    def _csv(self, db: Connection, tenant_id: int, view: View, followed: Followed) -> None:
        """Of all versions up to the one that stands."""

        def fill(package_id: UUID, write: Sink) -> Made:
            claim = ExportClaim(tenant_id, package_id, 1, 1, wanted(followed))
            with beside(db, name="rosterhub deltas") as reading:
                export = Export(claim, reading, Watch(), lambda _: None, reader_of(view))
                written = export.run(lambda _: write)
            plan, name = written.settled.plan, written.settled.name
            return Made(plan.version, plan.since, sum(written.counts.values()), name)

        self._make(db, tenant_id, followed, fill)

    def _make(self, db: Connection, tenant_id: int, followed: Followed, fill: Fill) -> None:
        """Write a package, its row when it is whole, and at last how far they are."""
        package_id = uuid4()
        key = package_key(tenant_id, package_id)
        try:
            with obstore.open_writer(
                self.store, key, buffer_size=PIECE, max_concurrency=PIECES
            ) as writer:
                parcel = Parcel(writer.write)
                made = fill(package_id, parcel)
                if not made.entries:
                    raise Nothing  # noqa: TRY301  # leaving is what drops the file
        except Nothing:
            pass
        else:
            facts = {
                "tenant_id": tenant_id,
                "id": package_id,
                **followed.key,
                "version": made.version,
                "since": made.since,
                "base": self.lines.base,
                "entries": made.entries,
                "name": made.name,
                "object_key": key,
                "bytes": parcel.size,
                "sha256": parcel.digest.digest(),
            }
            db.execute(NAMED["keep"], facts)
            self.made("csv" if followed.profile else "ndjson")
        db.execute(NAMED["done"], {"tenant_id": tenant_id, **followed.key, "version": made.version})


def wanted(followed: Followed) -> Wanted:
    """The export that a CSV package is."""
    seen = (file for file in FILES if followed.demographics or file != Demographics.file)
    return Wanted.model_validate(
        {
            "entities": tuple(seen),
            "mode": "delta",
            "since": followed.since,
            "profile": followed.profile,
        }
    )


def reader_of(view: View) -> Reader:
    """Who will read it."""
    if view.lens is None:
        return Reader(EVERYTHING)
    return Reader(of_lens(view.lens), view.names if view.lens.pseudonyms else None)


# --- How they go ----------------------------------------------------------------------------


def settle(db: Connection, tenant_id: int) -> None:
    """Wait until nobody makes a package, and keep others from it until the transaction ends."""
    db.execute(NAMED["settle"], {"tenant_id": tenant_id})


def recall(
    db: Connection, tenant_id: int, *, days: int | None = None, version: int | None = None
) -> int:
    """Let packages go, in the caller's transaction; answer how many.

    All of them, those that are so many days old, or those that go on from before a version.
    """
    settle(db, tenant_id)
    facts = {"tenant_id": tenant_id, "days": days, "version": version}
    (gone,) = one(db, NAMED["recall"], facts)
    return int(gone)


def forget(db: Connection, tenant_id: int, days: int) -> int:
    """Let go of what is so many days old, and of those who have not asked since."""
    with tenant(db, tenant_id):
        gone = recall(db, tenant_id, days=days)
        left = db.execute(NAMED["forget"], {"tenant_id": tenant_id, "days": days}).rowcount
    return gone + left


def sweep(db: Connection, store: ObjectStore, tenant_id: int) -> int:
    """Delete the files that no row names; answer how many."""
    with tenant(db, tenant_id):
        settle(db, tenant_id)
        found = db.execute(NAMED["in_use"], {"tenant_id": tenant_id})
        used = {key for (key,) in found}
        left = [key for key in stored(store, tenant_id) if key not in used]
        for key in left:
            export_files.remove(store, key)
    return len(left)


def stored(store: ObjectStore, tenant_id: int) -> list[str]:
    """The files of a district, those that were never finished included."""
    folder = packages_prefix(tenant_id)
    unfinished = export_files.unfinished(store, folder)
    return files.keys(store, folder) + [str(path.relative_to(root)) for root, path in unfinished]
