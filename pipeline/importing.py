"""An import, told as its steps.

open: the package, its manifest, its headers. read: every file in load order, checked, compared with
what is stored and staged as far as it differs. check: what concerns several records. apply: merge.
publish: the version. All of it is one transaction under the lock on the district: an attempt
has effect once or not at all. Whatever is wrong with the data is a finding; one error takes
everything back.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias

import polars as pl
from obstore.store import ObjectStore
from psycopg.errors import UniqueViolation
from psycopg.sql import Identifier

from pipeline import claims, found, stage
from pipeline.beside import Beside, Chunk
from pipeline.changes import Changes
from pipeline.claims import SQL, Claim, Watch
from pipeline.database import Connection, one, tenant
from pipeline.faults import Findings, TooMany
from pipeline.limits import Limits
from pipeline.lines import Lines
from pipeline.merge import Merge
from pipeline.opening import File, Package, open_upload
from pipeline.publish import Published, publish
from pipeline.reading import Reader
from pipeline.records.settling import Settling
from pipeline.targets import Targets
from schemas.events import Emit, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.policy import Policy, Reading
from schemas.roster import ROSTERING
from schemas.runs import Counts, Stage

SHOWN = 1000  # findings of one kind between records
GROWN = 1000  # new records after which the statistics of a table are old
WORK_MEM = "128MB"  # one sort and some hash tables at a time
TEMP_BUFFERS = "64MB"


Batch: TypeAlias = tuple[File, pl.DataFrame]


class Refused(Exception):
    """The data has errors: what was done so far is taken back."""


@dataclass(slots=True)
class Import:
    """One attempt at one import: its collaborators, and what it has done so far."""

    claim: Claim
    db: Connection
    path: Path
    folder: Path
    watch: Watch
    emit: Emit
    limits: Limits = field(default_factory=Limits)
    store: ObjectStore | None = None
    findings: Findings = field(init=False)
    reader: Reader = field(init=False)
    counts: dict[str, Counts] = field(init=False, default_factory=dict)
    sound: set[str] = field(init=False, default_factory=set)
    rejected: Mapping[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.findings = Findings(self.limits.findings_max)
        self.reader = Reader(Package(), self.watch, self.findings, self.limits)

    def run(self) -> RunEnded:
        """Bring the roster to the state of the package, or leave it as it was."""
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        # Temporary tables want this before the first of them is used.
        self.db.execute(f"set temp_buffers = '{TEMP_BUFFERS}'; set work_mem = '{WORK_MEM}'")
        staging = Beside(self.db, self.claim)
        try:
            with tenant(self.db, self.claim.tenant_id):
                published = self._steps(staging)
        except (Refused, TooMany):
            return self._reject()
        finally:
            staging.close()
        self._refresh(published)
        return RunEnded(
            run_id=self.claim.id,
            state="applied",
            version=published.version,
            counts=published.counts,
            findings=dict(self.findings.counts),
        )

    def _steps(self, staging: Beside) -> Published:
        (base, _, policy) = one(self.db, SQL["lock_district"], self.claim.key)
        merge = Merge(self.db, self.claim.tenant_id, base + 1)
        stage.create(self.db)
        self._enter("open")
        reading = self.reader.reading = Policy.model_validate(policy).reading
        self.reader.package = open_upload(
            self.path, self.claim, self.limits, self.findings, reading
        )
        if self.findings.fatal and not self.reader.package.files:
            raise Refused
        self.findings.opened(self.reader.package.modes)
        self._enter("read")
        changes = self._changes(reading)
        first = base == 0 and reading.faulty_rows == "reject"
        if first:
            self._load(staging, merge, changes)
        else:
            for file in self.reader.package.files:
                changes.stage(file)
        self._enter("check")
        self._check(reading, first=first)
        self._enter("apply")
        if not first:
            for entity in ROSTERING:
                self.counts[entity.file] = merge.apply(entity)
        self._enter("publish")
        changes.keep_lines()
        return publish(
            self.claim, self.watch, merge, self.reader, self.counts, rejected=self.rejected
        )

    def _changes(self, reading: Reading) -> Changes:
        return Changes(
            self.db,
            self.claim.tenant_id,
            self.reader,
            reading,
            None if self.store is None else Lines(self.store, self.db, self.claim),
            self.folder,
            self.limits,
            self._tell,
        )

    def _refresh(self, published: Published) -> None:
        """Let the planner know what has grown, before autovacuum comes round to it."""
        for entity in ROSTERING:
            counts = published.counts.get(entity.file, Counts())
            if counts.get("created", 0) > GROWN:
                self.db.execute("call refresh_statistics(%s)", [entity.table])

    def _enter(self, name: Stage) -> None:
        self.watch.stage = name
        self.watch.check()
        self.emit(StageStarted(run_id=self.claim.id, stage=name))

    def _tell(self, file: File) -> None:
        """Say how far a file is."""
        name = file.entity.file
        progress = self.watch.progress[name]
        self.emit(FileAdvanced(run_id=self.claim.id, stage="read", file=name, **progress))

    def _told(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for file, rows in batches:
            self._tell(file)
            yield file, rows

    def _load(self, staging: Beside, merge: Merge, changes: Changes) -> None:
        """Merge every file into its empty table while the next rows are staged beside."""
        # Every row is looked up in hashes of what was just staged; no loop can be better.
        self.db.execute("set local enable_nestloop = off")
        batches = self.reader.batches()
        for file in self.reader.package.files:
            changes.book(file)
        for file, chunks in groupby(staging.chunks(self._told(batches)), key=attrgetter("file")):
            self._load_file(file, chunks, merge, staging.targets)

    def _load_file(
        self, file: File, chunks: Iterator[Chunk], merge: Merge, targets: Targets
    ) -> None:
        """Merge the chunks of a file. Where they are not sound, find out which rows and why."""
        entity = file.entity
        tables: list[Identifier] = []
        created, doubled, sound = 0, False, True
        for chunk in chunks:
            tables.append(chunk.table)
            sound &= chunk.sound
            if not (doubled or self.findings.fatal):
                try:
                    with self.db.transaction():
                        created += merge.first(entity, chunk.table)
                except UniqueViolation:
                    doubled = True
        stage.view(self.db, entity, tables)
        sound &= targets.settle(entity) and not doubled
        if self.findings.fatal:
            return
        merge.count_first(entity, created)
        self.counts[entity.file] = Counts(created=created)
        if sound and file.mode != "delta":  # a deletion is not inserted and collides with nothing
            self.sound.add(entity.file)

    def _check(self, reading: Reading, *, first: bool) -> None:
        settling = Settling(
            self.db,
            self.claim.tenant_id,
            self.findings,
            self.reader.package.profile,
            reading,
            self.reader.rows,
            SHOWN,
            first=first,
            sound=frozenset(self.sound),
        )
        settled = settling.settle()
        self.rejected = settling.rejected
        for file in settling.unlike:  # its lines do not stand for the stored records
            self.reader.books.pop(file, None)
        if not settled:
            raise Refused

    def _reject(self) -> RunEnded:
        counts = {
            file: Counts(rows=rows, rejected=len(self.reader.faulty[file]))
            for file, rows in self.reader.rows.items()
        }
        counted = dict(self.findings.counts)
        with claims.holding(self.db, self.claim):
            found.save(
                self.db, self.claim, self.findings, self.reader.package.files, self.reader.kept
            )
            claims.end(
                self.db,
                self.claim,
                state="rejected",
                stage=self.watch.stage,
                watch=self.watch,
                profile=self.reader.package.profile.name,
                counts=counts,
                findings=counted,
            )
        return RunEnded(run_id=self.claim.id, state="rejected", counts=counts, findings=counted)
