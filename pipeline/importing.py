"""An import, told as its steps.

open: the package, its manifest, its headers. read: every file in load order, checked, compared with
what is stored and staged as far as it differs. check: what concerns several records, and whether a
person is to be asked first. apply: merge. publish: the version. All of it is one transaction under
the lock on the district: an attempt has effect once or not at all. Whatever is wrong with the data
is a finding; one error takes everything back. Where a person is to be asked, the transaction ends
with the change set kept, and nothing else written (`pipeline.deciding` goes on from there).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

import polars as pl
from obstore.store import ObjectStore
from psycopg.errors import UniqueViolation
from psycopg.sql import Identifier

from pipeline import aliases, claims, mapping, proposals, rekey, stage
from pipeline.beside import Beside, Chunk
from pipeline.changes import Changes
from pipeline.claims import SQL, Claim, Watch
from pipeline.database import Connection, one, tenant
from pipeline.erasing import returning
from pipeline.erasing.returning import LeftOut
from pipeline.faults import Findings, TooMany
from pipeline.guard import Guard
from pipeline.limits import Limits
from pipeline.lines import Lines
from pipeline.merge import Merge
from pipeline.opening import File, Package, open_upload
from pipeline.proposals import Tally
from pipeline.publish import publish, refresh, settled
from pipeline.reading import Reader
from pipeline.records.asking import Asking
from pipeline.records.settling import Settling
from pipeline.records.state import Stored
from pipeline.targets import Targets
from schemas.events import Emit, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.policy import Policy, Reading
from schemas.roster import ROSTERING, AnyEntity
from schemas.runs import Counts, Stage

SHOWN = 1000  # findings of one kind between records
WORK_MEM = "128MB"  # one sort and some hash tables at a time
TEMP_BUFFERS = "64MB"


Batch: TypeAlias = tuple[File, pl.DataFrame]


class Refused(Exception):
    """The data has errors: what was done so far is taken back."""


class Withheld(Exception):
    """A first load that is merged already is to be shown first: it is taken back and read again."""


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
    withheld: bool = field(init=False, default=False)
    indexed: set[AnyEntity] = field(init=False, default_factory=set)
    superseded: list[UUID] = field(init=False, default_factory=list)
    left_out: LeftOut = field(init=False, default_factory=LeftOut)

    def __post_init__(self) -> None:
        self.findings = Findings(self.limits.findings_max)
        self.reader = Reader(Package(), self.watch, self.findings, self.limits)

    def run(self) -> RunEnded:
        """Bring the roster to the state of the package, show what that would change, or neither."""
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        # Temporary tables want this before the first of them is used.
        self.db.execute(f"set temp_buffers = '{TEMP_BUFFERS}'; set work_mem = '{WORK_MEM}'")
        try:
            try:
                ended = self._attempt()
            except Withheld:
                self._begin_again()
                ended = self._attempt()
        except (Refused, TooMany):
            return self._reject()
        refresh(self.db, ended.counts)
        for run_id in self.superseded:
            self.emit(RunEnded(run_id=run_id, state="superseded"))
        return ended

    def _attempt(self) -> RunEnded:
        staging = Beside(self.db, self.claim)
        try:
            with tenant(self.db, self.claim.tenant_id):
                return self._steps(staging)
        finally:
            staging.close()

    def _begin_again(self) -> None:
        """Forget what was read; from here on the change set is kept."""
        self.withheld = True
        self.folder /= "again"
        self.folder.mkdir()
        self.findings = Findings(self.limits.findings_max)
        self.reader = Reader(Package(), self.watch, self.findings, self.limits)
        self.counts, self.sound, self.rejected, self.indexed = {}, set(), {}, set()

    def _steps(self, staging: Beside) -> RunEnded:
        (base, _, decided) = one(self.db, SQL["lock_district"], self.claim.key)
        policy = Policy.model_validate(decided)
        asked = proposals.asked(self.db, self.claim)
        review = (asked.apply or policy.apply) == "review"
        guard = Guard(self.db, self.claim, policy.guard, asked.as_of)
        merge = Merge(self.db, self.claim.tenant_id, base + 1)
        self.reader.aliases = aliases.standing(self.db, self.claim.tenant_id, self.folder)
        self._enter("open")
        self._open(policy.reading)
        guard.opened(self.reader.package)
        kept = review or self.withheld or bool(guard.reasons)
        if kept:
            proposals.lay(self.db, self.claim.id)
        else:
            stage.create(self.db)
        self._enter("read")
        changes = self._changes(policy.reading, kept=kept)
        first = base == 0 and policy.reading.faulty_rows == "reject"
        if not first:
            for file in self.reader.package.files:
                changes.stage(file)
            self._leave_out(changes)
        elif kept:
            self._keep()
        else:
            self._load(staging, merge, changes)
        self._enter("check")
        if not (staging.clean and self._unique()):
            changes.shelved.clear()  # more may be said of their lines
            self._check(policy.reading, first=first)
        merged = first and not kept
        compared = not merged or proposals.older_waits(self.db, self.claim)
        tally = self._tally(first=base == 0) if compared else Tally()
        guard.read(first=base == 0, tally=tally)
        if guard.reasons and merged:
            raise Withheld
        if review or guard.reasons:
            return self._wait(base, tally, guard, policy, kept=kept)
        self._enter("apply")
        if not merged:
            for entity in ROSTERING:
                self.counts[entity.file] = merge.apply(entity)
        self._enter("publish")
        changes.keep_lines()
        return self._publish(merge, tally, guard, policy)

    def _leave_out(self, changes: Changes) -> None:
        """Who was erased does not come back with a package."""
        changes.left_out = self.left_out = returning.leave_out(self.db, self.claim.tenant_id)
        self.findings.add(self.left_out.findings())

    def _open(self, reading: Reading) -> None:
        self.reader.reading = reading
        # Read once, under the lock on the district: the versions that the run names are these.
        mappings = mapping.load(self.db, self.claim.tenant_id)
        self.reader.package = open_upload(
            self.path,
            self.claim,
            self.limits,
            self.findings,
            reading=reading,
            mappings=mappings,
        )
        if self.findings.fatal and not self.reader.package.files:
            raise Refused
        self.findings.opened(self.reader.package.modes)

    def _tally(self, *, first: bool) -> Tally:
        return proposals.tally(self.db, self.claim.tenant_id, first=first)

    def _publish(self, merge: Merge, tally: Tally, guard: Guard, policy: Policy) -> RunEnded:
        claims.hold(self.db, self.claim)
        proposals.note(self.db, self.claim, merge.version - 1, tally, guard.json())
        self._supersede(tally, policy, applied=True)
        counts = settled(self.counts, self.reader, self.rejected)
        published = publish(self.claim, self.watch, merge, self.reader, counts)
        return RunEnded(
            run_id=self.claim.id,
            state="applied",
            version=published.version,
            counts=published.counts,
            findings=dict(self.findings.counts),
        )

    def _wait(
        self, base: int, tally: Tally, guard: Guard, policy: Policy, *, kept: bool
    ) -> RunEnded:
        """End the attempt with what would change shown, and nothing changed."""
        if kept:
            proposals.fall(self.db)
        else:
            proposals.move(self.db, self.claim.id)
        proposals.seal(self.db, self.claim, indexed=self.indexed)
        if guard.rekeys:
            rekey.keep(self.db, self.claim)
        claims.hold(self.db, self.claim)
        preview = settled(tally.counts(self.reader.rows), self.reader, self.rejected)
        shown = proposals.Shown(base, tally, preview, self.reader.package.modes, guard.json())
        counted = dict(self.findings.counts)
        self.reader.remember(self.db, self.claim)
        self._supersede(tally, policy, applied=False)
        proposals.wait(
            self.db,
            self.claim,
            self.watch,
            shown,
            profile=self.reader.package.profile.name,
            findings=counted,
        )
        return RunEnded(run_id=self.claim.id, state=shown.state, findings=counted)

    def _supersede(self, tally: Tally, policy: Policy, *, applied: bool) -> None:
        """A newer package takes the place of those that wait."""
        if policy.newer == "supersede":
            older = proposals.waiting(self.db, self.claim, applied=applied)
            modes = self.reader.package.modes
            self.superseded = proposals.supersede(self.db, self.claim, older, modes, tally.diff)

    def _changes(self, reading: Reading, *, kept: bool) -> Changes:
        return Changes(
            self.db,
            self.claim.tenant_id,
            self.reader,
            reading,
            None if self.store is None else Lines(self.store, self.db, self.claim),
            self.folder,
            self.limits,
            self._tell,
            kept,
        )

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

    def _keep(self) -> None:
        """Stage a first load where it is kept, looking references up beside the database."""
        # As in a load: everything is looked up in hashes of what was just staged.
        self.db.execute("set local enable_nestloop = off")
        targets = Targets()
        for file in self.reader.package.files:
            rows = (rows for _, rows in self._told((file, r) for r in self.reader.file(file)))
            if not file.entity.kept:
                for _ in rows:
                    pass
                continue
            holds = [True]
            noted = noting(rows, partial(targets.add, file.entity), holds)
            stage.copy_rows(self.db, file.entity, noted)
            stage.analyze(self.db, file.entity)
            sound = targets.settle(file.entity) and all(holds)
            if not self.findings.fatal and proposals.unique(self.db, self.claim.id, file.entity):
                self.indexed.add(file.entity)
                if sound and file.mode != "delta":
                    self.sound.add(file.entity.file)

    def _load(self, staging: Beside, merge: Merge, changes: Changes) -> None:
        """Merge every file into its empty table while the next rows are staged beside."""
        # Every row is looked up in hashes of what was just staged; no loop can be better.
        self.db.execute("set local enable_nestloop = off")
        batches = self.reader.batches()
        for file in self.reader.package.files:
            changes.book(file)

        def clean(staging: Beside, db: Connection) -> bool:
            if sound := self._clean(staging, db):
                changes.shelve_lines()
            return sound

        chunks = staging.chunks(self._told(batches), clean)
        for file, of_file in groupby(chunks, key=attrgetter("file")):
            if self._load_file(file, of_file, merge) and file.entity.file in staging.sound:
                self.sound.add(file.entity.file)

    def _clean(self, staging: Beside, db: Connection) -> bool:
        """Whether nothing is wrong between the records: asked beside the merge of the last rows.

        Only a yes counts. What is wrong, the check says, which knows of doubled keys, too.
        """
        if self.findings.fatal:
            return False
        with tenant(db, self.claim.tenant_id):
            db.execute("set local enable_nestloop = off")
            db.execute(f"set local work_mem = '{WORK_MEM}'")
            stage.create(db)
            for entity, tables in staging.tables.items():
                stage.view(db, entity, tables)
            state = Stored(db, self.claim.tenant_id, first=True)
            sound = frozenset(staging.sound)
            asking = Asking(state, Findings(1), self.reader.package.profile, 1, sound=sound)
            return not any(True for _ in (*asking.errors(), *asking.remarks()))

    def _unique(self) -> bool:
        """Whether no key stood twice in what was loaded."""
        kept = [file for file in self.reader.package.files if file.entity.kept]
        return all(file.entity.file in self.sound for file in kept)

    def _load_file(self, file: File, chunks: Iterator[Chunk], merge: Merge) -> bool:
        """Merge the chunks of a file; answer whether no key stands twice."""
        entity = file.entity
        tables: list[Identifier] = []
        created, doubled = 0, False
        for chunk in chunks:
            tables.append(chunk.table)
            if not (doubled or self.findings.fatal):
                try:
                    with self.db.transaction():
                        created += merge.first(entity, chunk.table)
                except UniqueViolation:
                    doubled = True
        stage.view(self.db, entity, tables)
        if self.findings.fatal:
            return False
        merge.count_first(entity, created)
        self.counts[entity.file] = Counts(created=created)
        # A deletion is not inserted and collides with nothing.
        return not doubled and file.mode != "delta"

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
        settled = self._settled(settling)
        self.rejected = Counter(settling.rejected) + Counter(
            {file: self.left_out.count(file) for file in self.left_out.rows}
        )
        for file in settling.unlike:  # its lines do not stand for the stored records
            self.reader.books.pop(file, None)
        if not settled:
            raise Refused

    def _settled(self, settling: Settling) -> bool:
        """What is stored goes by the hub's ids, what people read by those of their files."""
        if self.reader.aliases is None:
            return settling.settle()
        self.reader.aliases.settle(self.findings)
        try:
            settled = settling.settle()
        except TooMany:
            self.reader.aliases.name(self.findings)
            raise
        self.reader.aliases.name(self.findings)
        return settled

    def _reject(self) -> RunEnded:
        counts = {
            file: Counts(rows=rows, rejected=len(self.reader.faulty[file]))
            for file, rows in self.reader.rows.items()
        }
        counted = dict(self.findings.counts)
        with claims.holding(self.db, self.claim):
            self.reader.remember(self.db, self.claim)
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


def noting(
    batches: Iterable[pl.DataFrame], note: Callable[[pl.DataFrame], bool], notes: list[bool]
) -> Iterator[pl.DataFrame]:
    """The batches, with what was noted of each."""
    for rows in batches:
        notes.append(note(rows))
        yield rows
