"""Read the files of a package: bytes to mapped, checked, typed and digested rows, piece by piece.

The reader runs ahead of the database in a thread of its own. Rows with an error are counted and
left out; after the first error nothing is passed on, for the run will be rejected, but everything
is still read, so that one attempt names every faulty row.
"""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl
from psycopg.types.json import Jsonb

from pipeline import found, lines, text
from pipeline.ahead import ahead
from pipeline.aliases import Aliases
from pipeline.archive import damage
from pipeline.claims import SQL, Claim, Watch
from pipeline.database import Connection
from pipeline.digests import digested
from pipeline.erasing import returning
from pipeline.faults import Broken, Findings
from pipeline.found import Rows
from pipeline.frames import Beyond, Checker, typed
from pipeline.limits import Limits
from pipeline.lines import Book
from pipeline.memory import give_back
from pipeline.opening import File, Package
from pipeline.records.owners import owned
from pipeline.repairs import mender
from pipeline.text import Piece
from schemas import rules
from schemas.policy import Reading
from schemas.profiles import Profile
from schemas.rules import Finding

DEPTH = 2
"""Batches that may wait for who stages them."""
BEHIND_HEADER = 2
"""The number of the first line that is a record."""
NOTHING_MENDED = pl.Series("line", dtype=pl.Int64)


class Read(NamedTuple):
    """A piece of a file: its rows as they came and as they are to be, and what is wrong with them.

    `came` has the columns of the file, `rows` those of its layout; `mended` are the lines that were
    put right, `beyond` the remarks that are counted only.
    """

    came: pl.DataFrame
    rows: pl.DataFrame
    findings: list[Finding]
    mended: pl.Series
    beyond: list[Beyond]


class Interpreter:
    """How the lines of one file are understood: parsed, mapped, put right, checked.

    What a line becomes depends on nothing but the line and what stands in `lines.context`.
    """

    def __init__(self, file: File, profile: Profile, reading: Reading, limits: Limits) -> None:
        self._file, self._limits = file, limits
        self._checker = Checker(file.entity, file.layout, file.mode, profile, limits.field_max)
        self._mender = mender(file.entity, file.layout, file.mode, reading, profile)

    def read(self, body: Piece) -> Read:
        """What becomes of whole lines without the header; those with an error are still there."""
        file = self._file
        came, misshapen = text.records(body, file.columns, file.source.name, self._limits)
        rows, mended = file.mapped(came), NOTHING_MENDED
        if self._mender:
            rows, mended = self._mender.mend(rows)
        wrong, beyond = self._checker.findings(rows), self._checker.taken()
        # What a misshapen line begins with is its sourcedId only where OneRoster has put it there.
        if file.plan:
            return Read(came, rows, [*misshapen, *file.plan.told(wrong)], mended, beyond)
        return Read(came, rows, [*owned(body, [*misshapen, *wrong])], mended, beyond)

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

    def batches(self) -> Generator[tuple[File, pl.DataFrame], None, None]:
        """The good rows of every file, in load order."""
        return ahead(self._all(), DEPTH)

    def file(self, file: File) -> Iterator[pl.DataFrame]:
        """The good rows of one file."""
        return ahead(self._file(file), DEPTH)

    def chosen(self, file: File, lines: Iterator[Piece]) -> Iterator[pl.DataFrame]:
        """The good rows on these lines of a file that was scanned."""
        yield from ahead(self._rows(file, lines))

    def scan(self, file: File) -> Iterator[tuple[Piece, pl.Series]]:
        """Every line behind the header with its digest; nothing is parsed or checked.

        Raises Broken where the file cannot be read.
        """
        for body in bodies(file):
            digests = lines.digests(body.data)
            self.rows[file.entity.file] += len(digests)
            self._advance(file, body.read)
            yield body, digests
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

    def _all(self) -> Iterator[tuple[File, pl.DataFrame]]:
        for file in self.package.files:
            for rows in self._file(file):
                yield file, rows

    def _file(self, file: File) -> Iterator[pl.DataFrame]:
        name = file.entity.file
        try:
            yield from self._rows(file, self._counted(file))
        except Broken as broken:
            self.findings.broke(damage(file.source) or broken.finding)
        else:
            if self.rows[name] == 0:
                self.findings.broke(Finding(rule=rules.text.NO_ROWS, file=file.source.name))
        if book := self.books.get(name):
            book.rest()
        give_back()

    def _counted(self, file: File) -> Iterator[Piece]:
        """The file; rows count before they are handed on, for who stages them tells how many."""
        for body in bodies(file):
            self.rows[file.entity.file] += body.height
            self._advance(file, body.read)
            yield body

    def _rows(self, file: File, bodies: Iterator[Piece]) -> Iterator[pl.DataFrame]:
        interpreter = Interpreter(file, self.package.profile, self.reading, self.limits)
        for body in bodies:
            yield self._good(file, interpreter, body)
        self._add(file.entity.file, interpreter.repairs())

    def _good(self, file: File, interpreter: Interpreter, body: Piece) -> pl.DataFrame:
        """The good rows of a piece. What it took to find them goes before the next is begun."""
        name, read = file.entity.file, interpreter.read(body)
        self.mended[name].update(read.mended)
        self._add(name, self.kept.told(file, body, read.findings))
        for beyond in read.beyond:
            self.findings.count(beyond.kind, beyond.schools)
            if name in self.books:
                self.counted[name].append(beyond.lines.cast(pl.UInt32))  # there may be millions
        rows = self.findings.sift(file.entity, read.rows)
        good = digested(self._by_hub_ids(file, typed(file.entity, file.layout, file.mode, rows)))
        if book := self.books.get(name):
            book.add(lines.of_rows(body, good))
        return good

    def _by_hub_ids(self, file: File, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows by the ids under which the hub knows the records."""
        return self.aliases.translate(file.entity, rows) if self.aliases else rows

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
    for number, piece in enumerate(ahead(text.pieces(file.source))):
        body = text.split_header(piece, file.source.name)[1] if number == 0 else piece
        if body.data:
            yield body
