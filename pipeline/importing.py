"""An import, told as its steps.

open: the package and its manifest, the headers, the profile. read: every file in load order, piece
by piece, checked and staged as far as it differs from what is stored. check: what concerns several
records. apply and publish: one transaction. Whatever is wrong with the data is a finding; one error
rejects the run, and nothing has changed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import polars as pl
from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from pipeline import archive, compare, header, manifest, references, stage, text
from pipeline.ahead import ahead
from pipeline.archive import Source
from pipeline.claims import SQL, Claim, Watch, end, holding
from pipeline.database import Connection, one, tenant
from pipeline.digests import digested
from pipeline.faults import Broken, Findings, TooMany
from pipeline.frames import Checker, typed
from pipeline.limits import Limits
from pipeline.publish import publish
from schemas import rules
from schemas.events import Emit, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.profiles import Profile, detect
from schemas.roster import BINDING, BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import User
from schemas.rules import Finding
from schemas.runs import Counts, Mode, Stage

BATCH = 1000


@dataclass(slots=True)
class Import:
    """One attempt at one import: its collaborators, and what it has found so far."""

    claim: Claim
    db: Connection
    path: Path
    folder: Path
    watch: Watch
    emit: Emit
    limits: Limits = field(default_factory=Limits)
    findings: Findings = field(init=False)
    rows: dict[str, int] = field(init=False, default_factory=dict)
    modes: Mapping[str, Mode] = field(init=False, default_factory=dict)
    faulty: dict[str, set[int]] = field(init=False, default_factory=dict)
    saved: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.findings = Findings(self.limits.findings_max)

    def run(self) -> RunEnded:
        """Bring the roster to the state of the package, or leave it as it was."""
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        base = self._begin()
        try:
            self._read(self._open())
            if not self.findings.fatal:
                self._check()
        except TooMany:
            pass
        if self.findings.fatal:
            return self._reject()
        try:
            return self._apply(base)
        except UniqueViolation:
            # A first load lets the primary key look for doubled keys; now find their lines.
            self._add(self._doubled())
            return self._reject()

    # --- begin

    def _begin(self) -> int:
        with holding(self.db, self.claim):
            self.db.execute(SQL["forget_findings"], self.claim.key)
            (version, _) = one(self.db, SQL["lock_district"], self.claim.key)
        stage.create(self.db)
        return int(version)

    def _enter(self, name: Stage) -> None:
        self.watch.stage = name
        self.watch.check()
        self.emit(StageStarted(run_id=self.claim.id, stage=name))

    # --- open

    def _open(self) -> list["File"]:
        self._enter("open")
        sources, self.modes, version = self._contents()
        if self.findings.fatal:
            return []
        headers = {file: self._header(BY_FILE[file], sources[file]) for file in sources}
        profile = detect(version, headers.get(User.file))
        self._settle(profile)
        return [
            File(entity, sources[entity.file], self.modes[entity.file], head, profile)
            for entity in BINDING
            if (head := headers.get(entity.file))
        ]

    def _contents(self) -> tuple[dict[str, Source], Mapping[str, Mode], str]:
        if self.claim.entity is not None and self.claim.mode is not None:
            return self._single(self.claim.entity), {self.claim.entity: self.claim.mode}, "1.2"
        sources, faults = archive.package(self.path, self.limits)
        self._add(faults)
        if self.findings.fatal:
            return {}, {}, ""
        found, faults = manifest.read(sources)
        self._add(faults)
        brought = {file: sources[f"{file}.csv"] for file in found.modes if f"{file}.csv" in sources}
        return brought, found.modes, found.version

    def _single(self, entity: str) -> dict[str, Source]:
        size = self.path.stat().st_size
        name = f"{entity}.csv"
        return {entity: Source(name, size, self.path, zipped=False, limits=self.limits)}

    def _header(self, entity: AnyEntity, source: Source) -> tuple[str, ...] | None:
        try:
            first = next(iter(text.pieces(source)))
        except Broken as broken:
            self._add([broken.finding])
            return None
        names = header.split(text.split_header(first)[0])
        if not names:
            self._add([Finding(rule=rules.QUOTING, file=source.name, line=1)])
            return None
        faults = list(header.check(entity, names, self.limits))
        self._add(faults)
        return None if faults else names

    def _settle(self, profile: Profile) -> None:
        with tenant(self.db, self.claim.tenant_id):
            self.db.execute(SQL["set_profile"], {**self.claim.key, "profile": profile.name})

    # --- read

    def _read(self, files: list["File"]) -> None:
        self._enter("read")
        for file in files:
            self._add(header.spelling(file.entity, file.header, file.profile))
            if file.entity in ROSTERING:
                self._stage(file)
            else:
                self._look(file)
            self._save_findings()

    def _look(self, file: "File") -> None:
        """Check a file that is not stored yet."""
        self._add([Finding(rule=rules.NOT_STORED, file=file.source.name)])
        for _ in self._batches(file):
            pass

    def _stage(self, file: "File") -> None:
        entity, tenant_id = file.entity, self.claim.tenant_id
        batches = self._batches(file)
        stored = compare.has_records(self.db, entity, tenant_id)
        if file.mode == "bulk" and stored:
            partitions = ceil(file.source.size / self.limits.partition) or 1
            folder = self.folder / entity.table
            folder.mkdir()
            compare.stage_differences(
                self.db, entity, tenant_id, batches, folder=folder, partitions=partitions
            )
        else:
            stage.copy_rows(self.db, entity, ahead(batches))
        stage.analyze(self.db, entity)
        if stored or self.findings.fatal:
            self._add(references.duplicates(self.db, entity, BATCH))

    def _batches(self, file: "File") -> Iterator[pl.DataFrame]:
        """The good rows of a file, typed and digested, piece by piece."""
        shape = header.layout(file.entity, file.header)
        checker = Checker(file.entity, shape, file.mode, file.profile, self.limits.field_max)
        done, name = 0, file.source.name
        try:
            for number, piece in enumerate(text.pieces(file.source)):
                body = text.split_header(piece)[1] if number == 0 else piece
                if not body.data:
                    continue
                rows, faults = text.records(body, shape.names, name, self.limits)
                done += rows.height + len(faults)
                self._add(faults)
                self._add(checker.findings(rows))
                self._advance(file, done, piece.read)
                if not self.findings.fatal:
                    yield digested(typed(file.entity, shape, file.mode, rows))
        except Broken as broken:
            self._add([broken.finding])
        if done == 0 and not self.findings.fatal:
            self._add([Finding(rule=rules.NO_ROWS, file=name)])
        self.rows[file.entity.file] = done

    def _advance(self, file: "File", done: int, read: int) -> None:
        total = done if read >= file.source.size else int(done * file.source.size / max(read, 1))
        self.watch.advance(file.entity.file, done, total)
        self.emit(
            FileAdvanced(
                run_id=self.claim.id, stage="read", file=file.entity.file, done=done, total=total
            )
        )

    # --- check

    def _check(self) -> None:
        self._enter("check")
        self._add(references.check(self.db, self.claim.tenant_id, BATCH))
        self._save_findings()

    def _doubled(self) -> list[Finding]:
        return [
            finding
            for entity in ROSTERING
            for finding in references.duplicates(self.db, entity, BATCH)
        ]

    # --- the end

    def _apply(self, base: int) -> RunEnded:
        self._enter("apply")
        self.watch.over.set()  # the transaction holds the run's row from here on
        self.db.execute("set work_mem = '64MB'")
        version, counts = publish(
            self.db,
            self.claim,
            self.watch,
            base=base,
            rows=self.rows,
            modes=self.modes,
            findings=dict(self.findings.counts),
        )
        return RunEnded(
            run_id=self.claim.id,
            state="applied",
            version=version,
            counts=counts,
            findings=dict(self.findings.counts),
        )

    def _reject(self) -> RunEnded:
        counts = {
            file: Counts(rows=rows, rejected=len(self.faulty.get(file, ())))
            for file, rows in self.rows.items()
        }
        with holding(self.db, self.claim):
            self._insert_findings()
            end(
                self.db,
                self.claim,
                state="rejected",
                stage=self.watch.stage,
                watch=self.watch,
                counts=counts,
                findings=dict(self.findings.counts),
            )
        return RunEnded(
            run_id=self.claim.id,
            state="rejected",
            counts=counts,
            findings=dict(self.findings.counts),
        )

    # --- findings

    def _add(self, findings: Iterable[Finding]) -> None:
        """Keep findings; the rows of those that are errors count as rejected."""
        for finding in findings:
            if finding.rule.severity == "error" and finding.line is not None:
                file = finding.file.removesuffix(".csv")
                self.faulty.setdefault(file, set()).add(finding.line)
            self.findings.add([finding])

    def _save_findings(self) -> None:
        if self.findings.unsaved:
            with holding(self.db, self.claim):
                self._insert_findings()

    def _insert_findings(self) -> None:
        taken = self.findings.taken()
        with self.db.cursor() as cursor:
            cursor.executemany(
                SQL["add_finding"],
                [self._row(number, found) for number, found in enumerate(taken, self.saved + 1)],
            )
        self.saved += len(taken)

    def _row(self, number: int, found: Finding) -> dict[str, object]:
        return {
            "tenant_id": self.claim.tenant_id,
            "run_id": self.claim.id,
            "seq": number,
            "file": found.file,
            "line": found.line,
            "column": found.column,
            "sourced_id": found.sourced_id,
            "rule": found.rule.id,
            "severity": found.rule.severity,
            "value": found.value,
            "facts": Jsonb(dict(found.facts)),
        }


@dataclass(frozen=True, slots=True)
class File:
    """A file of the package that can be read."""

    entity: AnyEntity
    source: Source
    mode: Mode
    header: tuple[str, ...]
    profile: Profile
