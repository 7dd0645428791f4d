"""Read the files of a package: bytes to mapped, checked, typed and digested rows, piece by piece.

The reader runs ahead of the database in a thread of its own, and two more make what can be made of
a piece alone, two pieces at once; what was seen in them is told, counted and left out in the order
of the file. Rows with an error are counted and left out; after the first error nothing is passed
on, for the run will be rejected, but everything is still read, so that one attempt names every
faulty row.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

import polars as pl
from psycopg.types.json import Jsonb

from pipeline import found, lines, text
from pipeline.ahead import abreast, ahead
from pipeline.aliases import Aliases
from pipeline.archive import damage
from pipeline.claims import SQL, Claim, Watch
from pipeline.database import Connection
from pipeline.digests import digested
from pipeline.erasing import returning
from pipeline.faults import Broken, Findings
from pipeline.found import Rows
from pipeline.frames import Beyond, Checker, Hit, typed
from pipeline.limits import Limits
from pipeline.lines import Book, Hashed
from pipeline.memory import give_back
from pipeline.opening import File, Package
from pipeline.records.owners import owned
from pipeline.repairs import Mended, Repaired, mender
from pipeline.text import Piece
from schemas import rules
from schemas.policy import Reading
from schemas.profiles import Profile
from schemas.rules import Finding

DEPTH = 1
"""Batches that may wait for who stages them."""
WAITING = 1
"""Pieces that may wait to be read."""
BEHIND_HEADER = 2
"""The number of the first line that is a record."""
Looked = TypeVar("Looked")
NOTHING_MENDED = pl.Series("line", dtype=pl.Int64)


class Seen(NamedTuple):
    """What there is to say about a piece of a file, before it is told which of it is said.

    `lines` are how many there are, `misshapen` those that are no rows, `mended` those that were put
    right by what was `repaired`; `hits` are the rules that rows break.
    """

    body: Piece
    lines: int
    misshapen: Sequence[Finding]
    mended: pl.Series
    repaired: Sequence[Repaired]
    hits: Sequence[Hit]


class Read(NamedTuple):
    """A piece of a file: its rows as they came and as they are to be, and what was seen of them.

    `came` has the columns of the file, `rows` those of its layout.
    """

    came: pl.DataFrame
    rows: pl.DataFrame
    seen: Seen


class Told(NamedTuple):
    """What is wrong with a piece; `beyond` are the remarks that are counted only."""

    findings: Sequence[Finding]
    beyond: Sequence[Beyond]


class Made(NamedTuple):
    """What becomes of a piece whatever stands in the others: its typed rows, and their lines.

    Rows with an error are among them. `known` is None where no lines are kept.
    """

    seen: Seen
    rows: pl.DataFrame
    known: pl.DataFrame | None


class Interpreter:
    """How the lines of one file are understood: parsed, mapped, put right, checked.

    What a line becomes depends on nothing but the line and what stands in `lines.context`. So
    pieces may be read beside each other; what is said of them is said in their order.
    """

    def __init__(self, file: File, profile: Profile, reading: Reading, limits: Limits) -> None:
        self._file, self._limits = file, limits
        self._checker = Checker(file.entity, file.layout, file.mode, profile, limits.field_max)
        self._mender = mender(file.entity, file.layout, file.mode, reading, profile)

    def read(self, body: Piece) -> Read:
        """What becomes of whole lines without the header; those with an error are still there."""
        file = self._file
        came, misshapen = text.records(body, file.columns, file.source.name, self._limits)
        rows, mended, repaired = Mended(file.mapped(came), NOTHING_MENDED, ())
        if self._mender:
            rows, mended, repaired = self._mender.mend(rows)
        lines = came.height + len(misshapen)
        hits = self._checker.hits(rows)
        return Read(came, rows, Seen(body, lines, misshapen, mended, repaired, hits))

    def told(self, seen: Seen) -> Told:
        """What is said of the next piece."""
        if self._mender:
            self._mender.count(seen.repaired)
        wrong, beyond = self._checker.told(seen.hits), self._checker.taken()
        # What a misshapen line begins with is its sourcedId only where OneRoster has put it there.
        if self._file.plan:
            return Told([*seen.misshapen, *self._file.plan.told(wrong)], beyond)
        return Told(owned(seen.body, [*seen.misshapen, *wrong]), beyond)

    def repairs(self) -> Iterator[Finding]:
        """What was put right, when all was read."""
        if self._mender:
            yield from self._mender.findings()


@dataclass(slots=True)
class Reader:
    """What was read so far: rows by file, the lines with errors, and the lines to be known.

    `mended` are the lines that were put right, `counted` those with remarks that are not listed.
    """

    package: Package
    watch: Watch
    findings: Findings
    limits: Limits
    rows: Counter[str] = field(default_factory=Counter)
    faulty: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    books: dict[str, Book] = field(default_factory=dict)
    kept: Rows = field(default_factory=Rows)
    reading: Reading = field(default_factory=Reading)
    mended: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    counted: defaultdict[str, list[pl.Series]] = field(default_factory=lambda: defaultdict(list))
    aliases: Aliases | None = None

    def batches(
        self, files: Sequence[File] | None = None
    ) -> Generator[tuple[File, pl.DataFrame], None, None]:
        """The good rows of these files in their order; None: of every file in load order."""
        return ahead(self._each(self.package.files if files is None else files), DEPTH)

    def file(self, file: File) -> Iterator[pl.DataFrame]:
        """The good rows of one file."""
        return ahead(self._file(file), DEPTH)

    def chosen(self, file: File, lines: Iterator[Piece]) -> Iterator[pl.DataFrame]:
        """The good rows on these lines of a file that was scanned."""
        yield from ahead(self._rows(file, lines))

    def scan(self, file: File, look: Callable[[Piece, Hashed], Looked]) -> Iterator[Looked]:
        """What a look at every line behind the header finds; nothing is parsed or checked.

        `look` is given whole lines and their digests, of two pieces at once. Raises Broken where
        the file cannot be read.
        """

        def seen(body: Piece) -> tuple[int, int, Looked]:
            hashed = lines.hashed(body.data)
            return body.read, len(hashed.sizes), look(body, hashed)

        with closing(abreast(seen, bodies(file))) as made:
            for read, count, looked in made:
                self.rows[file.entity.file] += count
                self._advance(file, read)
                yield looked
        give_back()

    def only(self, file: File, at: pl.Series) -> Iterator[Piece]:
        """These lines of a file that was scanned, counted from 0 (ascending)."""
        start = next_line = 0
        for body in bodies(file) if len(at) else ():
            next_line += body.height
            end = int(at.search_sorted(next_line))
            if start < end:
                yield body.chosen(at.slice(start, end - start).cast(pl.Int64) + BEHIND_HEADER)
            start = end
            if end == len(at):
                return

    def remember(self, db: Connection, claim: Claim) -> None:
        """Store what was found, and which mapping each file was read with: the run is to end."""
        found.save(db, claim, self.findings, self.package.files, self.kept)
        returning.spare(db, claim.tenant_id, claim.id)
        db.execute(SQL["note_mappings"], {**claim.key, "mappings": Jsonb(self.package.mappings)})

    def forget(self, file: File) -> None:
        """A scan came to nothing: the file will be read as a whole."""
        self.rows.pop(file.entity.file, None)

    def _each(self, files: Sequence[File]) -> Iterator[tuple[File, pl.DataFrame]]:
        for file in files:
            for rows in self._file(file):
                yield file, rows

    def _file(self, file: File) -> Iterator[pl.DataFrame]:
        name = file.entity.file
        try:
            yield from self._rows(file, bodies(file), counted=True)
        except Broken as broken:
            self.findings.broke(damage(file.source) or broken.finding)
        else:
            if self.rows[name] == 0:
                self.findings.broke(Finding(rule=rules.text.NO_ROWS, file=file.source.name))
        if book := self.books.get(name):
            book.rest()
        give_back()

    def _rows(
        self, file: File, bodies: Iterator[Piece], *, counted: bool = False
    ) -> Iterator[pl.DataFrame]:
        """The good rows of the pieces: made beside each other, told in their order."""
        interpreter = Interpreter(file, self.package.profile, self.reading, self.limits)
        good = partial(self._good, file, interpreter, counted=counted)
        with closing(abreast(partial(self._made, file, interpreter), bodies)) as made:
            yield from map(good, made)
        self._add(file.entity.file, interpreter.repairs())

    def _made(self, file: File, interpreter: Interpreter, body: Piece) -> Made:
        """All that can be made of a piece alone. What it took goes before the next is begun."""
        _, rows, seen = interpreter.read(body)
        rows = typed(file.entity, file.layout, file.mode, rows)
        if self.aliases:  # which are met in the order of the file
            return Made(seen, rows, None)
        rows = digested(rows)
        booked = file.entity.file in self.books
        return Made(seen, rows, lines.of_rows(body, rows) if booked else None)

    def _good(
        self, file: File, interpreter: Interpreter, made: Made, *, counted: bool
    ) -> pl.DataFrame:
        """The good rows of a piece, when those before it are told."""
        name, body = file.entity.file, made.seen.body
        if counted:  # before they are handed on, for who stages them tells how many
            self.rows[name] += made.seen.lines
            self._advance(file, body.read)
        findings, beyonds = interpreter.told(made.seen)
        self.mended[name].update(made.seen.mended)
        self._add(name, self.kept.told(file, body, findings))
        for beyond in beyonds:
            self.findings.count(beyond.kind, beyond.schools)
            if name in self.books:
                self.counted[name].append(beyond.lines.cast(pl.UInt32))  # there may be millions
        good = self.findings.sift(file.entity, made.rows)
        if self.aliases:
            good = digested(self.aliases.translate(file.entity, good))
        if book := self.books.get(name):
            sifted = good is not made.rows
            book.add(lines.of_rows(body, good) if sifted or made.known is None else made.known)
        return good

    def _add(self, name: str, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if finding.rule.severity == "error" and finding.line is not None:
                self.faulty[name].add(finding.line)
            self.findings.add([finding])

    def _advance(self, file: File, read: int) -> None:
        done, size = self.rows[file.entity.file], file.source.size
        total = done if read >= size else int(done * size / max(read, 1))
        self.watch.advance(file.entity.file, done, total)


def bodies(file: File) -> Iterator[Piece]:
    """The file without its header, in pieces made ahead."""
    for number, piece in enumerate(ahead(text.pieces(file.source), WAITING)):
        body = text.split_header(piece, file.source.name)[1] if number == 0 else piece
        if body.data:
            yield body
