"""A first load: the rows of a package on their way into a district that has no version.

All of them are new, so they go straight into their tables (`pipeline.lanes`). What they point at is
looked up while they go by, and so is whatever the rules then need not ask. Where anything is wrong
with them, or they are to be shown first, what came in is taken back, and they are staged.
"""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count, groupby
from operator import itemgetter
from uuid import UUID

import polars as pl

from pipeline import loads, proposals, stage
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, beside, tenant
from pipeline.faults import Findings
from pipeline.lanes import DOUBLED, Lanes, Rows
from pipeline.opening import File
from pipeline.reading import Reader
from pipeline.records.asking import Asking
from pipeline.records.sieve import Sieve
from pipeline.records.state import Stored
from pipeline.targets import Targets
from schemas.roster import AnyEntity

WORK_MEM = "128MB"  # one sort and some hash tables at a time


class Again(Exception):
    """What has come in is taken back, and the package is read again and staged.

    `kept`: it is to be shown first, so it is staged where it is kept.
    """

    def __init__(self, *, kept: bool) -> None:
        self.kept = kept


@dataclass(slots=True)
class FirstLoad:
    """A first load, and what it has shown of itself. `tell` is called with each file that got on.

    `sound` are the files whose keys and references are known to be right, `indexed` those whose
    kept rows have an index.
    """

    db: Connection
    claim: Claim
    reader: Reader
    watch: Watch
    tell: Callable[[File], None]
    sound: set[str] = field(init=False, default_factory=set)
    seen: Sieve = field(init=False, default_factory=Sieve)
    indexed: set[AnyEntity] = field(init=False, default_factory=set)

    def may_go_straight(self, token: UUID | None) -> bool:
        """Whether every row is a new record, and the load of this token is open."""
        return (
            not self.reader.findings.fatal
            and all(file.mode != "delta" for file in self.reader.package.files if file.entity.kept)
            and loads.stands(self.db, self.claim.tenant_id, token)
        )

    def straight(self, token: UUID) -> Counter[str]:
        """Bring every file in; answer how many records of each. Views stand for what is staged.

        Raises Again where a row is wrong.
        """
        try:
            with (
                Lanes(self.db, self.claim, token, self.watch.check) as lanes,
                closing(self._sound()) as rows,
            ):
                created = lanes.load(rows)
        except DOUBLED as error:
            raise Again(kept=False) from error  # a key stands twice: the rules say on which lines
        loads.work_for(self.db, token)
        self._ready(self.db)
        return created

    def clean(self, token: UUID) -> bool:
        """Whether nothing is wrong between the records that came in.

        Only a yes counts. What is wrong, the check says. Two connections ask at once, unless all
        that is left to ask is of a few rows, which takes less than to open the second one.
        """
        numbers, found = count(), threading.Event()
        if self.seen.enough and self.sound.issuperset(f.entity.file for f in self._kept()):
            self._ask(self.db, numbers, found)
        else:
            self._ask_abreast(token, numbers, found)
        return not found.is_set()

    def _ask_abreast(self, token: UUID, numbers: Iterator[int], found: threading.Event) -> None:
        with (
            ThreadPoolExecutor(1, thread_name_prefix="asking") as pool,
            beside(self.db, name="rosterhub lane") as db,
            tenant(db, self.claim.tenant_id),
        ):
            loads.work_for(db, token)
            stage.create(db)
            self._ready(db)
            asked = pool.submit(self._ask, db, numbers, found)
            self._ask(self.db, numbers, found)
            asked.result()

    def _ask(self, db: Connection, numbers: Iterator[int], found: threading.Event) -> None:
        """Ask the questions whose turn it is, until one finds something."""
        state = Stored(db, self.claim.tenant_id, first=True, loaded=True, extents=self.seen.extents)
        questions = Asking(
            state,
            Findings(1),
            self.reader.package.profile,
            limit=1,
            sound=frozenset(self.sound),
            proven=self.seen.proven,
        ).questions()
        for number in numbers:
            if number >= len(questions) or found.is_set():
                return
            self.watch.check()
            if next(questions[number], None):
                found.set()

    def _ready(self, db: Connection) -> None:
        """Let what came in stand where the staging tables would."""
        self._without_loops(db)
        for file in self._kept():
            stage.view(db, file.entity, self.claim.tenant_id)

    def _kept(self) -> list[File]:
        return [file for file in self.reader.package.files if file.entity.kept]

    def staged(self, *, kept: bool) -> None:
        """Stage every file, where it is kept or for this transaction."""
        self._without_loops(self.db)
        targets = Targets()
        for file in self.reader.package.files:
            rows = self._told(file, self.reader.file(file))
            if not file.entity.kept:
                for _ in rows:
                    pass
                continue
            holds = [True]
            noted = noting(rows, partial(targets.add, file.entity), holds)
            stage.copy_rows(self.db, file.entity, noted)
            stage.analyze(self.db, file.entity)
            sound = targets.settle(file.entity) and all(holds)
            if not kept or self.reader.findings.fatal:
                continue
            if proposals.unique(self.db, self.claim.id, file.entity):
                self.indexed.add(file.entity)
                if sound and file.mode != "delta":
                    self.sound.add(file.entity.file)

    def _without_loops(self, db: Connection) -> None:
        """Every row is looked up in hashes of what was just brought in; no loop can be better."""
        db.execute("set local enable_nestloop = off")
        db.execute(f"set local work_mem = '{WORK_MEM}'")

    def _sound(self) -> Generator[Rows, None, None]:
        """The rows of every file; `sound` has those whose references hold, once they are over."""
        targets = Targets()
        with closing(self.reader.batches()) as batches:
            for file, of_file in groupby(batches, key=itemgetter(0)):
                sound = True
                for _, rows in of_file:
                    self.tell(file)
                    self._unless_wrong()
                    if file.entity.kept:
                        sound = targets.add(file.entity, rows) and sound
                        self.seen.add(file.entity, rows)
                        yield file.entity, rows
                self.seen.settle(file.entity)
                if targets.settle(file.entity) and sound:
                    self.sound.add(file.entity.file)
        self._unless_wrong()

    def _unless_wrong(self) -> None:
        if self.reader.findings.fatal:
            raise Again(kept=False)

    def _told(self, file: File, batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for rows in batches:
            self.tell(file)
            yield rows


def noting(
    batches: Iterable[pl.DataFrame], note: Callable[[pl.DataFrame], bool], notes: list[bool]
) -> Iterator[pl.DataFrame]:
    """The batches, with what was noted of each."""
    for rows in batches:
        notes.append(note(rows))
        yield rows
