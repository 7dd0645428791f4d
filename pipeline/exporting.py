"""An export, told as its steps: one snapshot of a district becomes a package.

PostgreSQL writes the lines (`schemas.writing`), here they are only handed on: header, CRLF, the
encoding, and into the zip. All of it is read in one transaction that sees one version, and nothing
is held but a piece of a file, so memory is the same however large the district.

Where the package goes is the caller's business (`Sink`); that it is there at all is told by
`complete`, in the transaction that ends the run.
"""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString, Protocol
from uuid import UUID

from psycopg import IsolationLevel
from psycopg.errors import LockNotAvailable, UniqueViolation
from psycopg.sql import SQL, Composed, Literal
from psycopg.types.json import Jsonb

from pipeline import copying, events
from pipeline.ahead import ahead
from pipeline.claims import Watch
from pipeline.database import Connection, one, tenant
from pipeline.signs import BOM, Signs
from pipeline.zipping import Archive
from schemas import planning
from schemas.events import Emit, ExportAdvanced, ExportEnded, RunStarted
from schemas.exports import Encoding, Identifiers, Wanted, code_of, file_name
from schemas.planning import Known, identifiers_of, planned
from schemas.pseudonyms import Pseudonyms
from schemas.roster import AnyEntity
from schemas.statements import load
from schemas.veiling import veiled
from schemas.view import EVERYTHING, View
from schemas.visibility import WHOLE
from schemas.webhooks import EventType, of_run
from schemas.writing import (
    MANIFEST,
    SETTLED,
    Plan,
    Sheet,
    manifest,
    present,
    sheet,
    unknown_of,
)

NAMED = load("pipeline", "exports.sql")
ROWS = 8192  # of a piece
TOLD = 8  # pieces from one event to the next
# In the order of an index, rows are fetched from all over the table: for 200,000 of them the server
# took 0.33 s CPU. Read as they lie and sorted they took 0.18 s, where a plain COPY took 0.16 s.
# A million are sorted in memory by two processes: 1.4 s for a package that took 2.7 s with 64 MB
# and one of them. With three it took 1.5 s on two cores.
SORTING: LiteralString = """
    select
        set_config('enable_indexscan', 'off', true),
        set_config('work_mem', '256MB', true),
        set_config('max_parallel_workers_per_gather', '1', true),
        set_config('parallel_setup_cost', '0', true),
        set_config('parallel_tuple_cost', '0', true)
"""
CODED = ("school", "district")  # types of orgs whose code may name a package


@dataclass(frozen=True, slots=True)
class ExportClaim:
    """An export that is ours under this fence."""

    tenant_id: int
    id: UUID
    attempt: int
    fence: int
    wanted: Wanted
    client: str | None = None
    schedule_id: UUID | None = None

    @property
    def key(self) -> dict[str, Any]:
        """What names the export and the claim in a statement."""
        return {"tenant_id": self.tenant_id, "id": self.id, "fence": self.fence}

    @property
    def sql(self) -> Mapping[str, LiteralString]:
        """The statements of its life."""
        return NAMED


def take(db: Connection, tenant_id: int, *, lease: float, worker: str) -> ExportClaim | None:
    """Claim the district's next export; None where there is none, or another worker was faster."""
    facts = {"tenant_id": tenant_id, "lease": lease, "worker": worker}
    try:
        with tenant(db, tenant_id):
            db.execute("set local lock_timeout = '1s'")
            row = db.execute(NAMED["claim"], facts).fetchone()
    except (UniqueViolation, LockNotAvailable):
        return None
    if row is None:
        return None
    name, attempt, fence, wanted, client, schedule_id = row
    asked = Wanted.model_validate(wanted)
    return ExportClaim(tenant_id, name, attempt, fence, asked, client, schedule_id)


@dataclass(frozen=True, slots=True)
class Reader:
    """Who will read an export: what they see, what is veiled, and by which edit of their lens."""

    view: View = EVERYTHING
    veil: Pseudonyms | None = None
    lens_revision: int | None = None


EVERYBODY = Reader()
"""The district itself."""


class Sink(Protocol):
    """Where the package goes; nobody sees it before it is closed."""

    def __call__(self, data: bytes, /) -> object:
        """Take some more bytes."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What an export has come to mean when it begins: nothing of it is open any more."""

    plan: Plan
    district: str
    name: str
    encoding: Encoding
    identifiers: Identifiers
    metadata: bool
    lens_revision: int | None


@dataclass(frozen=True, slots=True)
class Package:
    """A package that is whole."""

    settled: Settled
    counts: Mapping[str, int]
    replaced: Mapping[str, Any]
    size: int
    sha256: bytes


@dataclass(slots=True)
class Export:
    """One attempt at one export: its collaborators, and what it has done so far.

    `reader` is who will read it.
    """

    claim: ExportClaim
    db: Connection
    watch: Watch
    emit: Emit
    reader: Reader = EVERYBODY
    counts: dict[str, int] = field(default_factory=dict)
    replaced: dict[str, Any] = field(default_factory=dict)

    def run(self, open_sink: "OpenSink") -> Package:
        """Write the package; the sink is opened when its name is known."""
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        with snapshot(self.db, self.claim.tenant_id):
            settled = settle(self.db, self.claim, self.reader)
            self.db.execute(SORTING)
            if settled.plan.view.visible:
                self.db.execute(WHOLE)
            digest = hashlib.sha256()
            sink = open_sink(settled.name)

            def write(data: bytes) -> None:
                digest.update(data)
                sink(data)

            size = self._write(settled, Archive(write))
        return Package(settled, self.counts, self.replaced, size, digest.digest())

    def _write(self, settled: Settled, archive: Archive) -> int:
        plan = settled.plan
        chosen = [e for e in self.claim.wanted.chosen if e.file not in plan.profile.unused_files]
        files = [entity for entity, is_there in self._present(plan, chosen) if is_there]
        mode = "bulk" if plan.since is None else "delta"
        told = manifest(plan.profile, {each.file: mode for each in files}, settled.district)
        archive.add(MANIFEST, [told.encode()])
        totals = self._totals(plan)
        for entity in files:
            written = self._sheet(settled, entity)
            # Closed whatever happens: an unfinished COPY keeps the connection from ending well.
            with (
                closing(
                    self._pieces(written, settled.encoding, totals.get(entity.file, 0))
                ) as rows,
                closing(ahead(rows)) as pieces,  # the next rows arrive while these are deflated
            ):
                archive.add(written.name, pieces)
        return archive.close()

    def _present(self, plan: Plan, chosen: list[AnyEntity]) -> Iterator[tuple[AnyEntity, bool]]:
        """Which files have rows; an empty one is not permitted (CSV binding 2)."""
        query = composed(present(plan, chosen), plan.facts)
        return zip(chosen, one(self.db, query), strict=True)

    def _totals(self, plan: Plan) -> dict[str, int]:
        """How many rows each file will have, where that is known before."""
        if plan.since is not None or plan.view.visible:
            return {}
        return dict(self.db.execute(NAMED["totals"], self.claim.key).fetchall())

    def _sheet(self, settled: Settled, entity: AnyEntity) -> Sheet:
        plan = settled.plan
        if not settled.metadata or entity in plan.view.bare:
            return sheet(plan, entity)
        found = self.db.execute(composed(unknown_of(plan, entity), plan.facts))
        return sheet(plan, entity, sorted(name for (name,) in found))

    def _pieces(
        self, written: Sheet, encoding: Encoding, total: int
    ) -> Generator[bytes, None, None]:
        """The file as it goes into the zip, piece by piece."""
        file, signs, done, veil = written.entity.file, Signs(), 0, self.reader.veil
        encode = signs.cp932 if encoding == "cp932" else bytes
        if encoding == "utf-8-bom":
            yield BOM
        yield encode(written.header.encode())
        statement = composed(written.copy, written.facts)
        with closing(copying.lines(self.db, statement, ROWS)) as arriving:
            for number, (data, rows) in enumerate(arriving, start=1):
                yield encode(veiled(data, written, veil) if veil else data)
                done += rows
                self.watch.advance(file, done, total)
                if number % TOLD == 0:
                    self._tell(file, done, total)
        self.counts[file] = done
        self._tell(file, done, done)
        if signs.count:
            self.replaced[file] = signs.as_json()

    def _tell(self, file: str, done: int, total: int) -> None:
        event = ExportAdvanced(run_id=self.claim.id, file=file, done=done, total=max(done, total))
        self.emit(event)


class OpenSink(Protocol):
    """Begin a package of that name."""

    def __call__(self, name: str, /) -> Sink:
        """Where it goes."""


# --- One version ----------------------------------------------------------------------------


@contextmanager
def snapshot(db: Connection, tenant_id: int) -> Iterator[None]:
    """A transaction that sees one version of a district and writes nothing."""
    db.isolation_level, db.read_only = IsolationLevel.REPEATABLE_READ, True
    with tenant(db, tenant_id):
        yield
    db.isolation_level = db.read_only = None


def settle(db: Connection, claim: ExportClaim, reader: Reader) -> Settled:
    """Decide what was left open, by the policy and by what is there in this snapshot.

    Who gets pseudonyms gets those of the hub's ids, as everywhere.
    """
    db.execute(SETTLED)
    wanted = claim.wanted
    if reader.veil:
        wanted = wanted.model_copy(update={"identifiers": "hub"})
    known = Known.of(one(db, planning.NAMED["known"], planning.facts(claim.tenant_id, wanted)))
    identifiers = identifiers_of(wanted, known)
    since = base_of(db, claim, identifiers, reader.lens_revision)
    plan = planned(claim.tenant_id, wanted, known, since=since, view=reader.view)
    return Settled(
        plan=plan,
        district=known.district,
        name=name_of(db, claim, known),
        encoding=wanted.encoding,
        identifiers=identifiers,
        metadata=wanted.metadata,
        lens_revision=reader.lens_revision,
    )


def base_of(
    db: Connection, claim: ExportClaim, identifiers: Identifiers, lens_revision: int | None
) -> int | None:
    """The version from which a delta goes on; None: everything is told.

    A schedule goes on from its last export, unless its reader has another lens by now. Where
    sources have come to call records otherwise since then, no delta could tell it in their ids.
    """
    wanted, base = claim.wanted, claim.wanted.base
    if wanted.mode == "delta" and base is None:
        asked = {
            **claim.key,
            "schedule_id": claim.schedule_id,
            "wanted": as_asked(wanted),
            "lens_revision": lens_revision,
        }
        last = db.execute(NAMED["last_of_schedule"], asked).fetchone()
        base = None if last is None else int(last[0])
    if base is not None and identifiers == "source":
        (renamed,) = one(db, planning.NAMED["renamed_since"], {**claim.key, "since": base})
        return None if renamed else base
    return base


def as_asked(wanted: Wanted) -> Jsonb:
    """What was asked for, as it is kept."""
    return Jsonb(wanted.model_dump(mode="json"))


def name_of(db: Connection, claim: ExportClaim, known: Known) -> str:
    """What the package is called."""
    facts = {**claim.key, "schools": list(claim.wanted.schools)}
    orgs = db.execute(NAMED["codes"], facts).fetchall()
    schools, districts = ([code for each, code in orgs if each == kind] for kind in CODED)
    return file_name(known.day, code_of(schools, districts, known.district))


# --- What PostgreSQL writes -----------------------------------------------------------------


def composed(text: LiteralString, facts: Mapping[str, object]) -> Composed:
    """A text of `schemas.writing` with its facts."""
    return SQL(text).format(**{name: Literal(value) for name, value in facts.items()})


# --- The end --------------------------------------------------------------------------------


def complete(db: Connection, claim: ExportClaim, watch: Watch, made: Package, key: str) -> None:
    """Let the package be there, in a transaction that holds the claim."""
    watch.over.set()
    plan = made.settled.plan
    facts = {
        **claim.key,
        "version": plan.version,
        "since": plan.since,
        "profile": plan.profile.name,
        "identifiers": made.settled.identifiers,
        "lens_revision": made.settled.lens_revision,
        "progress": Jsonb(watch.progress),
        "counts": Jsonb(made.counts),
        "replaced": Jsonb(made.replaced),
        "name": made.settled.name,
        "object_key": key,
        "bytes": made.size,
        "sha256": made.sha256,
    }
    db.execute(NAMED["complete"], facts)
    told = {name: facts[name] for name in ("version", "since", "profile")}
    tell(db, claim, "csv.export.completed", "completed", told)


def ended_well(claim: ExportClaim, made: Package) -> ExportEnded:
    """What followers are told."""
    return ExportEnded(
        run_id=claim.id,
        state="completed",
        version=made.settled.plan.version,
        counts=dict(made.counts),
        bytes=made.size,
    )


def fail(db: Connection, claim: ExportClaim, watch: Watch, failure: Mapping[str, str]) -> None:
    """End the export without a package, in a transaction that holds the claim."""
    watch.over.set()
    db.execute(NAMED["fail"], {**claim.key, "failure": Jsonb(failure)})
    tell(db, claim, "csv.export.failed", "failed", {"failure": failure["code"]})


def tell(
    db: Connection, claim: ExportClaim, event: EventType, state: str, told: Mapping[str, Any]
) -> None:
    """Let webhooks ring, in the transaction that ends the export."""
    whose = {"client": claim.client, "schedule": claim.schedule_id and str(claim.schedule_id)}
    events.emit(db, claim.tenant_id, event, of_run(claim.id, None, state, {**whose, **told}))
