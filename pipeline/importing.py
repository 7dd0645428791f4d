"""An import, told as its steps.

open: the package, its manifest, its headers. read: every file in load order, checked, compared with
what is stored and staged as far as it differs. check: what concerns several records. apply: merge.
publish: the version. All of it is one transaction under the lock on the district: an attempt
has effect once or not at all. Whatever is wrong with the data is a finding; one error takes
everything back.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from operator import attrgetter, itemgetter
from pathlib import Path

import polars as pl
from psycopg.errors import UniqueViolation
from psycopg.sql import Identifier

from pipeline import claims, compare, references, stage
from pipeline.beside import Beside, Chunk
from pipeline.claims import SQL, Claim, Watch
from pipeline.database import Connection, one, tenant
from pipeline.faults import Findings, TooMany
from pipeline.limits import Limits
from pipeline.merge import Merge
from pipeline.opening import File, Package, open_upload
from pipeline.publish import Published, publish, save_findings
from pipeline.reading import Reader
from schemas.events import Emit, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.roster import ROSTERING
from schemas.runs import Counts, Stage

SHOWN = 1000  # findings of one kind between records
GROWN = 1000  # new records after which the statistics of a table are old
WORK_MEM = "128MB"  # one sort and some hash tables at a time
TEMP_BUFFERS = "64MB"


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
    findings: Findings = field(init=False)
    reader: Reader = field(init=False)
    counts: dict[str, Counts] = field(init=False, default_factory=dict)

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
        (base, _) = one(self.db, SQL["lock_district"], self.claim.key)
        merge = Merge(self.db, self.claim.tenant_id, base + 1)
        stage.create(self.db)
        self._enter("open")
        self.reader.package = open_upload(self.path, self.claim, self.limits, self.findings)
        if self.findings.fatal and not self.reader.package.files:
            raise Refused
        self._enter("read")
        if base == 0:
            self._load(staging, merge)
        else:
            self._read()
        self._enter("check")
        self._check(merge, first=base == 0)
        self._enter("apply")
        if base > 0:
            for entity in ROSTERING:
                self.counts[entity.file] = merge.apply(entity)
        self._enter("publish")
        return publish(self.claim, self.watch, merge, self.reader, self.counts)

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

    def _read(self) -> None:
        """Stage what differs from the stored records."""
        for file, items in groupby(self.reader.batches(), key=itemgetter(0)):
            batches = (rows for _, rows in items if self._tell(file))
            if file.entity.kept:
                self._stage_changes(file, batches)
            else:
                for _ in batches:
                    pass

    def _tell(self, file: File) -> bool:
        """Say how far a file is."""
        name = file.entity.file
        progress = self.watch.progress[name]
        self.emit(FileAdvanced(run_id=self.claim.id, stage="read", file=name, **progress))
        return True

    def _stage_changes(self, file: File, batches: Iterator[pl.DataFrame]) -> None:
        entity = file.entity
        if file.mode == "bulk":
            partitions = ceil(file.source.size / self.limits.partition) or 1
            folder = self.folder / entity.table
            folder.mkdir()
            compare.stage_differences(
                self.db, entity, self.claim.tenant_id, batches, folder=folder, partitions=partitions
            )
        else:
            stage.copy_rows(self.db, entity, batches)
        stage.analyze(self.db, entity)

    def _load(self, staging: Beside, merge: Merge) -> None:
        """Merge every file into its empty table while the next rows are staged beside."""
        # Every row is looked up in hashes of what was just staged; no loop can be better.
        self.db.execute("set local enable_nestloop = off")
        batches = self.reader.batches()
        told = ((file, rows) for file, rows in batches if self._tell(file))
        for file, chunks in groupby(staging.chunks(told), key=attrgetter("file")):
            self._load_file(file, chunks, merge)

    def _load_file(self, file: File, chunks: Iterator[Chunk], merge: Merge) -> None:
        """Merge the chunks of a file. Where rows are left over, find out which and why."""
        entity = file.entity
        tables: list[Identifier] = []
        rows = created = 0
        doubled = False
        for chunk in chunks:
            tables.append(chunk.table)
            rows += chunk.rows
            if not (doubled or self.findings.fatal):
                try:
                    with self.db.transaction():
                        created += merge.first(entity, chunk.table)
                except UniqueViolation:
                    doubled = True
        stage.view(self.db, entity, tables)
        if doubled or file.mode == "delta":  # a deletion is not inserted and collides with nothing
            self.findings.add(references.duplicates(self.db, entity, SHOWN))
        if self.findings.fatal:
            return
        merge.count_first(entity, created)
        self.counts[entity.file] = Counts(created=created)
        tenant_id = self.claim.tenant_id
        self.findings.add(
            references.missing(self.db, entity, tenant_id, SHOWN, merged=created == rows)
        )

    def _check(self, merge: Merge, *, first: bool) -> None:
        if not first:
            for entity in ROSTERING:
                self.findings.add(references.duplicates(self.db, entity, SHOWN))
        if not self.findings.fatal:
            tenant_id = self.claim.tenant_id
            if not first:
                self.findings.add(references.check(self.db, tenant_id, SHOWN))
            self.findings.add(references.without_role(self.db, tenant_id, merge.version, SHOWN))
        if self.findings.fatal:
            raise Refused

    def _reject(self) -> RunEnded:
        counts = {
            file: Counts(rows=rows, rejected=len(self.reader.faulty[file]))
            for file, rows in self.reader.rows.items()
        }
        found = dict(self.findings.counts)
        with claims.holding(self.db, self.claim):
            save_findings(self.db, self.claim, self.findings)
            claims.end(
                self.db,
                self.claim,
                state="rejected",
                stage=self.watch.stage,
                watch=self.watch,
                profile=self.reader.package.profile.name,
                counts=counts,
                findings=found,
            )
        return RunEnded(run_id=self.claim.id, state="rejected", counts=counts, findings=found)
