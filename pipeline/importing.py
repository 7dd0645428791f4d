"""An import, told as its steps.

open: the package, its manifest, its headers. read: every file in load order, checked, compared with
what is stored and staged as far as it differs. check: what concerns several records, and whether a
person is to be asked first. apply: merge. publish: the version. All of it is one transaction under
the lock on the district: an attempt has effect once or not at all. Whatever is wrong with the data
is a finding; one error takes everything back. Where a person is to be asked, the transaction ends
with the change set kept, and nothing else written (`pipeline.deciding` goes on from there).

A first load has nothing to be compared with, so it goes straight into its tables, unseen until that
transaction publishes it (`pipeline.lanes`, `pipeline.loads`). Where anything is wrong with its rows
it begins again, and is staged like any other.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from obstore.store import ObjectStore

from pipeline import aliases, claims, loads, mapping, proposals, rekey, stage, twin
from pipeline.changes import Changes
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, tenant
from pipeline.erasing import returning
from pipeline.erasing.returning import LeftOut
from pipeline.faults import Findings, TooMany
from pipeline.first import WORK_MEM, Again, FirstLoad
from pipeline.guard import Guard
from pipeline.learning import learn
from pipeline.limits import Limits
from pipeline.lines import Lines
from pipeline.merge import Merge
from pipeline.opening import File, Package, open_upload
from pipeline.proposals import Tally
from pipeline.publish import publish, refresh, settled
from pipeline.reading import Reader
from pipeline.records.settling import Settling
from schemas.events import Emit, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.policy import Policy, Reading
from schemas.roster import ROSTERING
from schemas.runs import Counts, Stage

SHOWN = 1000  # findings of one kind between records
TEMP_BUFFERS = "64MB"
EVERY = 0.2  # seconds between two words on a file that goes on


class Refused(Exception):
    """The data has errors: what was done so far is taken back."""


@dataclass(slots=True)
class Import:
    """One attempt at one import: its collaborators, and what it has done so far.

    `proven` raises where the upload turns out to be another than was sent: it is read meanwhile,
    and asked before anything comes of that.
    """

    claim: Claim
    db: Connection
    path: Path
    folder: Path
    watch: Watch
    emit: Emit
    limits: Limits = field(default_factory=Limits)
    store: ObjectStore | None = None
    proven: Callable[[], None] = lambda: None
    findings: Findings = field(init=False)
    reader: Reader = field(init=False)
    first: FirstLoad = field(init=False)
    counts: dict[str, Counts] = field(init=False, default_factory=dict)
    rejected: Mapping[str, int] = field(init=False, default_factory=dict)
    withheld: bool = field(init=False, default=False)
    staged: bool = field(init=False, default=False)
    told: float = field(init=False, default=0.0)
    straight: bool = field(init=False, default=False)
    token: UUID | None = field(init=False, default=None)
    superseded: list[UUID] = field(init=False, default_factory=list)
    left_out: LeftOut = field(init=False, default_factory=LeftOut)

    def __post_init__(self) -> None:
        self._anew()

    def _anew(self) -> None:
        """Nothing was read yet."""
        self.findings = Findings(self.limits.findings_max)
        self.reader = self._reader(self.findings)
        self.first = FirstLoad(self.db, self.claim, self.reader, self.watch, self._tell)
        self.counts, self.rejected, self.straight = {}, {}, False

    def _reader(self, findings: Findings) -> Reader:
        return Reader(Package(), self.watch, findings, self.limits)

    def run(self) -> RunEnded:
        """Bring the roster to the state of the package, show what that would change, or neither.

        Says how it has ended, and then does what nobody waits for.
        """
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        # Temporary tables want this before the first of them is used.
        self.db.execute(f"set temp_buffers = '{TEMP_BUFFERS}'; set work_mem = '{WORK_MEM}'")
        try:
            try:
                ended = self._attempt()
            except Again as again:
                self._begin_again(kept=again.kept)
                ended = self._attempt()
        except (Refused, TooMany):
            ended = self._reject()
        self.emit(ended)
        for run_id in self.superseded:
            self.emit(RunEnded(run_id=run_id, state="superseded"))
        self._afterwards(ended)
        return ended

    @property
    def opened(self) -> UUID:
        """The load that is open."""
        if self.token is None:
            raise LookupError(self.claim.id)
        return self.token

    def _afterwards(self, ended: RunEnded) -> None:
        """What nobody waits for: statistics, and the lines of a first load."""
        refresh(self.db, self.claim.tenant_id, ended.counts)
        if ended.version and self.straight:
            folder = self.folder / "learnt"
            folder.mkdir()
            reader = self._reader(Findings(self.limits.findings_max))
            reader.package, reader.reading = self.reader.package, self.reader.reading
            # Lines of which something was said between records are to be read again, too.
            reader.findings.all += self.findings.all
            learn(self._changes(reader, folder), self.claim, ended.version, self.reader.rows)

    def _attempt(self) -> RunEnded:
        if not self.staged:
            self.token = loads.begin(self.db, self.claim)
        try:
            with tenant(self.db, self.claim.tenant_id):
                ended = self._steps()
            self.token = None
        finally:
            if self.token is not None and not self.db.broken:
                loads.end(self.db, self.claim.tenant_id)
        return ended

    def _begin_again(self, *, kept: bool) -> None:
        """Forget what was read; from here on everything is staged."""
        self.staged, self.withheld = True, kept
        self.folder /= "again"
        self.folder.mkdir()
        self._anew()

    def _steps(self) -> RunEnded:
        base, decided = loads.lock(self.db, self.claim, self.token)
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
        first = base == 0 and policy.reading.faulty_rows == "reject"
        self.straight = first and not kept and self.first.may_go_straight(self.token)
        if base == 0 and not self.straight:
            loads.take_back(self.db, self.claim.tenant_id)
        if kept:
            proposals.lay(self.db, self.claim.id)
        else:
            stage.create(self.db)
        self._enter("read")
        changes = self._changes(self.reader, self.folder, kept=kept)
        if self.straight:
            self._load(merge)
        elif first:
            self.first.staged(kept=kept)
        else:
            stage.look_up(self.db)
            changes.stage(self.reader.package.files)
            self._leave_out(changes)
        self._enter("check")
        tally = self._judge(policy.reading, guard, empty=base == 0, first=first)
        if guard.reasons and self.straight:
            raise Again(kept=True)
        if review or guard.reasons:
            return self._wait(base, tally, guard, policy, kept=kept)
        self._enter("apply")
        if not self.straight:
            for entity in ROSTERING:
                self.counts[entity.file] = merge.apply(entity, compared=True)
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

    def _judge(self, reading: Reading, guard: Guard, *, empty: bool, first: bool) -> Tally:
        """Ask the rules, and tell what would change: at once, where neither changes the other."""
        sizes = twin.sizes(self.db) if self._is_plain(reading) and not empty else []
        if not twin.few(sizes):
            if not (self.straight and self.first.clean(self.opened)):
                self._check(self._settling(self.db, reading, first=first))
            return self._tally(guard, empty=empty)
        with (
            ThreadPoolExecutor(1, thread_name_prefix="rules") as pool,
            twin.twin(self.db, self.claim.tenant_id, sizes) as other,
        ):
            asked = pool.submit(self._check, self._settling(other, reading, apart=True))
            tally = self._tally(guard, empty=False)
            left = [*self._settling(self.db, reading).vanished()]
            try:
                asked.result()
            finally:
                self.findings.add(left)
        if self.findings.fatal:
            raise Refused
        return tally

    def _is_plain(self, reading: Reading) -> bool:
        """Whether the rules can only refuse the change set, and change nothing of it."""
        decided = reading.faulty_rows == "reject" and not reading.cascade
        return decided and not self.findings.fatal and self.reader.aliases is None

    def _tally(self, guard: Guard, *, empty: bool) -> Tally:
        """What would change, and whether that is to be held."""
        tally = Tally()
        if not self.straight or proposals.older_waits(self.db, self.claim):
            tally = proposals.tally(self.db, self.claim.tenant_id, first=empty)
        guard.read(first=empty, tally=tally)
        return tally

    def _publish(self, merge: Merge, tally: Tally, guard: Guard, policy: Policy) -> RunEnded:
        self.proven()
        claims.hold(self.db, self.claim)
        if merge.version == 1:
            loads.close(self.db, self.claim.tenant_id)
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
        self.proven()
        if kept:
            proposals.fall(self.db)
        else:
            proposals.move(self.db, self.claim.id)
        proposals.seal(self.db, self.claim, indexed=self.first.indexed)
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

    def _changes(self, reader: Reader, folder: Path, *, kept: bool = False) -> Changes:
        return Changes(
            self.db,
            self.claim.tenant_id,
            reader,
            None if self.store is None else Lines(self.store, self.db, self.claim),
            folder,
            self.limits,
            self._tell,
            kept=kept,
        )

    def _enter(self, name: Stage) -> None:
        self.watch.stage = name
        self.watch.check()
        self.emit(StageStarted(run_id=self.claim.id, stage=name))

    def _tell(self, file: File) -> None:
        """Say how far a file is, now and then: each time somebody is asked to pass it on."""
        name = file.entity.file
        progress, now = self.watch.progress[name], time.monotonic()
        if progress["done"] < progress["total"] and now < self.told + EVERY:
            return
        self.told = now
        self.emit(FileAdvanced(run_id=self.claim.id, stage="read", file=name, **progress))

    def _load(self, merge: Merge) -> None:
        """Bring every file in."""
        created = self.first.straight(self.opened)
        for file in self.reader.package.files:
            if file.entity.kept:
                merge.loaded(file.entity, created[file.entity.file])
                self.counts[file.entity.file] = Counts(created=created[file.entity.file])

    def _settling(
        self, db: Connection, reading: Reading, *, first: bool = False, apart: bool = False
    ) -> Settling:
        return Settling(
            db,
            self.claim.tenant_id,
            self.findings,
            self.reader.package.profile,
            reading,
            self.reader.rows,
            SHOWN,
            first=first,
            loaded=self.straight,
            sound=frozenset(self.first.sound),
            seen=self.first.seen,
            apart=apart,
        )

    def _check(self, settling: Settling) -> None:
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
        self.proven()
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
