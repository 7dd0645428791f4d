"""A file becomes a change set: by its lines where they are known, else by its values.

Three ways, cheapest first. A bulk file whose lines are known is hashed, and only unknown lines are
read (`pipeline.lines`). Any other bulk file is read whole and compared by the digests of its values
(`pipeline.compare`). A delta or an upsert is its own change set.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import polars as pl
import structlog

from pipeline import compare, lines, stage
from pipeline.database import Connection
from pipeline.erasing.returning import LeftOut
from pipeline.faults import Broken, cut
from pipeline.limits import Limits
from pipeline.lines import Book, Compared, Index, Known, Lines, Ranges, Unknown, Written
from pipeline.opening import File
from pipeline.reading import BEHIND_HEADER, Reader
from schemas import rules
from schemas.policy import Reading
from schemas.rules import Finding

PIECES = 4  # that are looked up at once: what a look costs hardly depends on how much is asked

log = structlog.get_logger()


@dataclass(slots=True)
class Changes:
    """The change set of a package in the making.

    `told` is called with each file whose rows got on; without `lines` none is known.
    """

    db: Connection
    tenant_id: int
    reader: Reader
    policy: Reading
    lines: Lines | None
    folder: Path
    limits: Limits
    told: Callable[[File], None]
    contexts: dict[str, bytes] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)
    shelved: dict[str, Known | None] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)

    def stage(self, file: File) -> None:
        """Stage what the file changes."""
        entity = file.entity
        folder = self.folder / entity.file
        folder.mkdir()
        if not entity.kept:
            for _ in self._rows(file):
                pass
            return
        if file.mode != "bulk":
            stage.copy_rows(self.db, entity, self._rows(file))
        elif not self._by_lines(file, folder):
            self._by_values(file, folder)
        stage.analyze(self.db, entity)

    def shelve_lines(self) -> None:
        """Put the lines of all files where they may be kept, while the database is busy."""
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
        return lines.context(file, self.reader.package.profile.name, self.policy, aliases)

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

    def _by_values(self, file: File, folder: Path) -> None:
        self.book(file)
        compare.stage_differences(
            self.db,
            file.entity,
            self.tenant_id,
            self._rows(file),
            folder=folder,
            partitions=file.source.size // self.limits.partition + 1,
        )

    def _by_lines(self, file: File, folder: Path) -> bool:
        """Whether the lines were known, and told what changes."""
        if self.lines is None:
            return False
        known = self.lines.find(file.entity, self._context(file))
        if known is None:
            return False
        found = self._compared(self.lines, known, file, folder)
        if found is None:
            self.reader.forget(file)
            return False
        if found.news:
            self.compared[file.entity.file] = found
            self.book(file)
            self._stage_found(self.lines, file, found)
        return True

    def _compared(self, shelf: Lines, known: Known, file: File, folder: Path) -> Compared | None:
        """The file against the known lines; None where reading the whole of it is better.

        A known line that stands twice in the file, an unreadable shelf, a file that cannot be read
        and too much that is new are all answered in that way.
        """
        unknown = Unknown(folder / "unknown")
        try:
            if known.records > lines.AT_HAND:
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
        index = Index(shelf.digests(known))
        if not self._scanned(file, index, unknown):
            return None
        missing = index.unseen()
        return None if missing is None else Compared(known, index, missing, unknown)

    def _scanned(self, file: File, index: Index, unknown: Unknown) -> bool:
        """Look every line up, those of some pieces at once; whether that was worth it."""
        pieces = self.reader.scan(file)
        while some := list(islice(pieces, PIECES)):
            found = index.find(pl.concat([digests for _, digests in some]))
            start = 0
            for body, digests in some:
                new = ~found.slice(start, len(digests))
                start += len(digests)
                if new.any():
                    unknown.add(body.chosen(body.numbers(len(digests)).filter(new)))
            if unknown.size > lines.MANY * file.source.size:
                return False
            self.told(file)
        return self._few(file, unknown.lines)

    def _few(self, file: File, unknown: int) -> bool:
        """Whether so few lines are unknown that the others need not be read."""
        return 0 < self.reader.rows[file.entity.file] >= unknown / lines.MANY

    def _ranged(self, shelf: Lines, known: Known, file: File, unknown: Unknown) -> Compared | None:
        """Look the lines up range by range, and go through the file again for the new ones."""
        ranges = Ranges(
            partial(shelf.digests, known), self.folder / f"{file.entity.file}.seen", known.parts
        )
        for _, digests in self.reader.scan(file):
            ranges.add(digests)
            self.told(file)
        parted = ranges.parted()
        if parted is None or not self._few(file, len(parted[0])):
            return None
        new, missing = parted
        for body in self.reader.only(file, new):
            unknown.add(body)
        return Compared(known, ranges, missing, unknown)

    def _stage_found(self, shelf: Lines, file: File, found: Compared) -> None:
        """Stage the rows on unknown lines, and the keys that no line has any more."""
        entity = file.entity
        self._load_aliases(file)
        batches = self._telling(file, self.reader.chosen(file, found.unknown.read()))
        stage.copy_rows(self.db, entity, batches)
        stage.drop_unchanged(self.db, entity, self.tenant_id)
        fresh = pl.concat(self.reader.books[entity.file].read())
        for part in shelf.records(found.known):
            seen = ~pl.col("digest").is_in(found.missing.implode())
            again = pl.col("sourced_id").is_in(fresh["sourced_id"].implode())
            stage.copy_gone(self.db, entity, [part.filter(~seen, ~again).select("sourced_id")])
            both = part.filter(seen, again)
            self.reader.findings.add(doubled(file, both, fresh, found.index))


def doubled(
    file: File, both: pl.DataFrame, fresh: pl.DataFrame, index: Index | Ranges
) -> Iterator[Finding]:
    """Records that stand both on a known line and on an unknown one; the later line is named."""
    for digest, key in both.rows():
        (known,) = index.lines_of(pl.Series([digest], dtype=pl.UInt128))
        unknown = fresh.filter(sourced_id=key)["line"].max()
        yield Finding(
            rule=rules.records.DUPLICATE,
            file=file.source.name,
            line=max(known + BEHIND_HEADER, unknown),
            column="sourcedId",
            sourced_id=key,
            value=cut(key),
        )
