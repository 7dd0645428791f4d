"""A file becomes a change set: by its lines where they are known, else by its values.

Three ways, cheapest first. A bulk file whose lines are known is hashed, and only unknown lines are
read (`pipeline.lines`). Any other bulk file is read whole and compared by the digests of its values
(`pipeline.compare`). A delta or an upsert is its own change set.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path

import polars as pl
import structlog

from pipeline import compare, lines, lookup, stage
from pipeline.compare import Beside
from pipeline.database import Connection
from pipeline.erasing.returning import LeftOut
from pipeline.faults import Broken
from pipeline.limits import Limits
from pipeline.lines import Book, Compared, Hashed, Known, Lines, Unknown, Written
from pipeline.lookup import Index, Places, Ranges
from pipeline.opening import File
from pipeline.reading import BEHIND_HEADER, Reader
from pipeline.text import Piece

log = structlog.get_logger()


class ByFile:
    """The rows of files that are read one after the other, for who takes file after file."""

    def __init__(self, batches: Iterator[tuple[File, pl.DataFrame]]) -> None:
        self._batches = batches
        self._next: tuple[File, pl.DataFrame] | None = None

    def rows(self, file: File) -> Iterator[pl.DataFrame]:
        """Those of the next file."""
        while (coming := self._next or next(self._batches, None)) and coming[0] is file:
            self._next = None
            yield coming[1]
        self._next = coming


def in_turn(files: Sequence[File]) -> list[File]:
    """The files, the largest in the midst of the others.

    So what is asked about it ahead, and behind it, is asked while others are read.
    """
    if not files:
        return []
    largest = max(files, key=lambda file: file.source.size)
    others = [file for file in files if file is not largest]
    sizes = list(accumulate(file.source.size for file in others))
    before = sum(2 * size <= sizes[-1] for size in sizes)
    return [*others[:before], largest, *others[before:]]


@dataclass(slots=True)
class Changes:
    """The change set of a package in the making.

    `told` is called with each file whose rows got on; without `lines` none is known. What is `kept`
    waits for an answer, and its lines will not be known: others may be applied before.
    """

    db: Connection
    tenant_id: int
    reader: Reader
    lines: Lines | None
    folder: Path
    limits: Limits
    told: Callable[[File], None]
    kept: bool = False
    contexts: dict[str, bytes] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)
    shelved: dict[str, Known | None] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def stage(self, files: Sequence[File]) -> None:
        """Stage what the files change."""
        compared = [file for file in in_turn(files) if self._to_be_compared(file)]
        for file in compared:
            self._load_aliases(file)
            if not self.kept:
                self.book(file)
        with (
            Beside(self.db, self.tenant_id) as beside,
            closing(self.reader.batches(compared)) as batches,
        ):
            beside.begin(file.entity for file in compared)
            reading = ByFile(batches)
            for file in in_turn(files):
                (self.folder / file.entity.file).mkdir()
                if file in compared:
                    self._by_values(file, self._telling(file, reading.rows(file)), beside)
                else:
                    self._stage(file)
                if file.entity.kept:
                    stage.analyze(self.db, file.entity)
            beside.stage_gone()

    def _to_be_compared(self, file: File) -> bool:
        """Whether the values of the file are to be compared, for its lines are not known."""
        if not file.entity.kept or file.mode != "bulk":
            return False
        return self.lines is None or not self.lines.find(file.entity, self._context(file))

    def _stage(self, file: File) -> None:
        if not file.entity.kept:
            for _ in self._rows(file):
                pass
        elif file.mode != "bulk":
            stage.copy_rows(self.db, file.entity, self._rows(file))
        elif not self._by_lines(file):
            if not self.kept:
                self.book(file)
            self._by_values(file, self._rows(file))

    def shelve_lines(self) -> None:
        """Put the lines of all files where they may be kept."""
        if self.lines is not None:
            for file in self.reader.books:
                self.shelved[file] = self.lines.shelve(file, self._written(file))

    def keep_lines(self) -> None:
        """Know the lines of every bulk file that was read whole or changed. Part of the apply."""
        if self.lines is None:
            return
        for file in self.reader.books:
            compared, left_out = self.compared.get(file), self.left_out.rows.get(file, {})
            if compared is None:
                if file not in self.shelved:
                    self.shelved[file] = self.lines.shelve(file, self._written(file))
                if known := self.shelved[file]:
                    self.lines.keep(file, self.contexts[file], known)
            elif compared.news != len(left_out):  # else nothing is new: what is known stands
                self.lines.amend(file, self.contexts[file], self._written(file), compared)

    def _written(self, file: str) -> Written:
        found = self.reader.findings.all
        said = {each.line for each in found if each.file == f"{file}.csv" and each.line}
        said |= self.reader.mended[file]
        told = pl.concat([pl.Series(list(said), dtype=pl.UInt32), *self.reader.counted[file]])
        return Written(self.reader.books[file], told, {*self.left_out.rows.get(file, {}).values()})

    def book(self, file: File) -> None:
        """From here on, remember the lines of the file that are read."""
        if self.lines is not None and file.entity.kept and file.mode == "bulk":
            name = file.entity.file
            self.contexts[name] = self._context(file)
            parts = 1 if name in self.compared else lines.parts(file.source.size)
            self.reader.books[name] = Book(self.folder / f"{name}.lines", parts)

    def _context(self, file: File) -> bytes:
        aliases = self.reader.aliases.versions if self.reader.aliases else ()
        return lines.context(file, self.reader.package.profile.name, self.reader.reading, aliases)

    def _load_aliases(self, file: File) -> None:
        """Before the reader runs ahead and something is copied to the database."""
        if self.reader.aliases and file.entity.kept:
            self.reader.aliases.load(file.entity)

    def _rows(self, file: File) -> Iterator[pl.DataFrame]:
        self._load_aliases(file)
        return self._telling(file, self.reader.file(file))

    def _telling(self, file: File, batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for rows in batches:
            self.told(file)
            yield rows

    def _by_values(
        self, file: File, rows: Iterator[pl.DataFrame], beside: Beside | None = None
    ) -> None:
        compare.stage_differences(
            self.db,
            file.entity,
            self.tenant_id,
            rows,
            folder=self.folder / file.entity.file,
            partitions=file.source.size // self.limits.partition + 1,
            beside=beside,
        )

    def _by_lines(self, file: File) -> bool:
        """Whether the lines were known, and told what changes."""
        if self.lines is None:
            return False
        known = self.lines.find(file.entity, self._context(file))
        if known is None:
            return False
        found = self._compared(self.lines, known, file)
        if found is None:
            self.reader.forget(file)
            return False
        if found.news:
            self.compared[file.entity.file] = found
            self.book(file)
            self._stage_found(self.lines, file, found)
        return True

    def _compared(self, shelf: Lines, known: Known, file: File) -> Compared | None:
        """The file against the known lines; None where reading the whole of it is better.

        An unreadable shelf, a file that cannot be read and too much that is new are all answered in
        that way.
        """
        unknown = Unknown(self.folder / file.entity.file / "unknown")
        try:
            if known.records > lookup.AT_HAND:
                return self._ranged(shelf, known, file, unknown)
            return self._streamed(shelf, known, file, unknown)
        except lines.UNREADABLE as error:
            log.warning("known_lines_unreadable", error=type(error).__name__)
            return None
        except Broken:
            return None
        finally:
            unknown.close()

    def _streamed(
        self, shelf: Lines, known: Known, file: File, unknown: Unknown
    ) -> Compared | None:
        """Look every line up while the file streams by."""
        with ThreadPoolExecutor(1, thread_name_prefix="known") as beside:
            loading = beside.submit(lambda: Index(shelf.digests(known)))

            def look(body: Piece, hashed: Hashed) -> tuple[Places, Piece | None]:
                numbers = body.numbers(len(hashed.sizes))
                found = loading.result().look(numbers, hashed.digests)
                return found, None if found.same.all() else hashed.chosen(body, ~found.same)

            for found, new in self.reader.scan(file, look):
                loading.result().note(found)
                if new:
                    unknown.add(new)
                if unknown.size > lines.MANY * file.source.size:
                    return None
                self.told(file)
            index = loading.result()
        if not self._few(file, unknown.lines):
            return None
        return Compared(known, index, index.met(), unknown)

    def _few(self, file: File, unknown: int) -> bool:
        """Whether so few lines are unknown that the others need not be read."""
        return 0 < self.reader.rows[file.entity.file] >= unknown / lines.MANY

    def _ranged(self, shelf: Lines, known: Known, file: File, unknown: Unknown) -> Compared | None:
        """Look the lines up range by range, and go through the file again for the new ones."""
        ranges = Ranges(
            partial(shelf.digests, known), self.folder / f"{file.entity.file}.seen", known.parts
        )

        def look(body: Piece, hashed: Hashed) -> tuple[pl.Series, pl.Series]:
            return body.numbers(len(hashed.sizes)), hashed.digests

        for numbers, digests in self.reader.scan(file, look):
            ranges.add(numbers, digests)
            self.told(file)
        new, met = ranges.parted()
        if not self._few(file, len(new)):
            return None
        for body in self.reader.only(file, new - BEHIND_HEADER):
            unknown.add(body)
        return Compared(known, ranges, met, unknown)

    def _stage_found(self, shelf: Lines, file: File, found: Compared) -> None:
        """Stage the rows on unknown lines, and the keys that no line has any more."""
        entity = file.entity
        self._load_aliases(file)
        batches = self._telling(file, self.reader.chosen(file, found.unknown.read()))
        with ThreadPoolExecutor(1, thread_name_prefix="known") as beside:
            leaving = beside.submit(shelf.of, found.known, found.met.missing)
            stage.copy_rows(self.db, entity, batches)
            left = leaving.result()["sourced_id"]
        fresh = pl.concat(part["sourced_id"] for part in self.reader.books[entity.file].read())
        stage.copy_gone(self.db, entity, [left.filter(~left.is_in(fresh.implode())).to_frame()])
        stored = compare.Stored(self.db, entity, self.tenant_id)
        again = stored.among(fresh.filter(~fresh.is_in(left.implode())))
        twice = shelf.of(found.known, found.met.twice)
        doubled = pl.concat([shelf.named(found.known, again), twice]).unique()
        if doubled.is_empty() and not fresh.is_duplicated().any():
            stage.drop_unchanged(self.db, entity, self.tenant_id)
        else:
            on = found.lines.lines_of(doubled["digest"]).join(doubled, on="digest")
            stored.stage_doubled(on.select("line", "sourced_id"))
