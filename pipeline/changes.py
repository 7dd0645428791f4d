"""A file becomes a change set: by its lines where they are known, else by its values.

Three ways, cheapest first. A bulk file whose lines are known is hashed, and only unknown lines are
read (`pipeline.lines`). Any other bulk file is read whole and compared by the digests of its values
(`pipeline.compare`). A delta or an upsert is its own change set.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from pipeline import compare, lines, stage
from pipeline.database import Connection
from pipeline.erasing.returning import LeftOut
from pipeline.faults import Broken, cut
from pipeline.limits import Limits
from pipeline.lines import Book, Compared, Known, Lines
from pipeline.opening import File
from pipeline.reading import Reader
from pipeline.spool import Spool
from schemas import rules
from schemas.policy import Reading
from schemas.rules import Finding


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
    left_out: LeftOut = field(default_factory=LeftOut)
    news: dict[str, int] = field(default_factory=dict)
    """How many lines of a file that is known by its lines are new or missing."""

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

    def keep_lines(self) -> None:
        """Know the lines of every bulk file that was read whole or changed. Part of the apply."""
        if self.lines is None:
            return
        for file, book in self.reader.books.items():
            found = self.reader.findings.all
            if file in self.news and self.news[file] == self.left_out.count(file):
                continue  # nothing else is new: what is known stands
            told = {each.line for each in found if each.file == f"{file}.csv" and each.line}
            told |= self.reader.mended[file]
            numbers = [pl.Series(list(told), dtype=pl.UInt32), *self.reader.counted[file]]
            left_out = {*self.left_out.rows[file].values()}
            self.lines.save(file, self.contexts[file], book, pl.concat(numbers), left_out)

    def book(self, file: File, *, parts: int = 0) -> None:
        """From here on, remember the lines of the file."""
        if self.lines is not None and file.entity.kept and file.mode == "bulk":
            name = file.entity.file
            self.contexts[name] = self._context(file)
            parts = parts or lines.partitions(file.source.size)
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
        fresh = Spool(folder / "hashed", lines.FRESH, part=lines.LOW, partitions=known.parts)
        found = self._compared(self.lines, known, file, fresh)
        if found is None:
            self.reader.forget(file)
            return False
        if len(found.unknown) or len(found.missing):
            self.book(file, parts=known.parts)
            self.news[file.entity.file] = len(found.unknown) + len(found.missing)
            self._stage_found(self.lines, known, file, found)
        return True

    def _compared(self, shelf: Lines, known: Known, file: File, fresh: Spool) -> Compared | None:
        try:
            for part in self._telling(file, self.reader.scan(file)):
                fresh.add(part)
        except Broken:
            return None  # reading the whole file tells what is wrong with it
        if not self.reader.rows[file.entity.file]:
            return None  # as it does here
        return shelf.compare(known, fresh)

    def _stage_found(self, shelf: Lines, known: Known, file: File, found: Compared) -> None:
        """Stage the rows on unknown lines, and the keys that no line has any more."""
        entity = file.entity
        keys = [pl.DataFrame(schema={"line": pl.Int64, "sourced_id": pl.String})]

        def noted(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
            for rows in batches:
                keys.append(rows.select("line", "sourced_id"))
                yield rows

        self._load_aliases(file)
        batches = self._telling(file, self.reader.chosen(file, found.unknown))
        stage.copy_rows(self.db, entity, noted(batches))
        stage.drop_unchanged(self.db, entity, self.tenant_id)
        fresh = pl.concat(keys)
        gone = found.missing.filter(~found.missing.is_in(fresh["sourced_id"].implode()))
        stage.copy_gone(self.db, entity, [gone.to_frame()])
        for kept in shelf.kept(known, found):
            self.reader.books[entity.file].add(kept)
            self.reader.findings.add(doubled(file, kept, fresh))


def doubled(file: File, kept: pl.DataFrame, fresh: pl.DataFrame) -> Iterator[Finding]:
    """Records that stand both on a known line and on an unknown one; the later line is named."""
    both = kept.join(fresh, on="sourced_id", suffix="_fresh")
    for key, *numbers in both.select("sourced_id", "line", "line_fresh").rows():
        yield Finding(
            rule=rules.records.DUPLICATE,
            file=file.source.name,
            line=max(numbers),
            column="sourcedId",
            sourced_id=key,
            value=cut(key),
        )
