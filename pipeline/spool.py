"""Frames that do not fit in memory wait on disk.

A `Shelf` keeps rows in their order. A `Spool` splits them by what they are known by: what is the
same lies in the same partition, so two spools can be compared partition by partition in constant
memory. What is small stays in memory in both.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

ROOM = 8 * 1024 * 1024  # bytes that may wait in memory


class Shelf:
    """Rows in the order in which they came, to be read once more."""

    def __init__(self, folder: Path, room: int = ROOM) -> None:
        self.folder, self.room = folder, room
        self.waiting: list[pl.DataFrame] = []
        self.files: list[Path] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Take more rows."""
        self.waiting.append(rows)
        if sum(each.estimated_size() for each in self.waiting) > self.room:
            self.rest()

    def rest(self) -> None:
        """Keep nothing in memory."""
        if self.waiting:
            self.folder.mkdir(exist_ok=True)
            self.files.append(self.folder / f"{len(self.files)}.arrow")
            pl.concat(self.waiting).write_ipc(self.files[-1])
            self.waiting.clear()

    def read(self) -> Iterator[pl.DataFrame]:
        """All rows, some at a time."""
        for file in self.files:
            yield pl.read_ipc(file)
        yield from self.waiting


class Spool:
    """Rows by partition: `part` is an expression that gives each row the number of its own."""

    def __init__(self, folder: Path, schema: pl.Schema, *, part: pl.Expr, partitions: int) -> None:
        self.schema, self.part = schema, part
        self.shelves = [Shelf(folder / str(n), ROOM // partitions) for n in range(partitions)]
        folder.mkdir()

    def add(self, rows: pl.DataFrame) -> None:
        """Take more rows."""
        if len(self.shelves) == 1:
            self.shelves[0].add(rows)
            return
        parts = rows.select(self.part).to_series()
        for number, shelf in enumerate(self.shelves):
            shelf.add(rows.filter(parts == number))

    def rest(self) -> None:
        """Keep nothing in memory."""
        for shelf in self.shelves:
            shelf.rest()

    def read(self) -> Iterator[pl.DataFrame]:
        """The partitions, one after the other."""
        for shelf in self.shelves:
            yield pl.concat([pl.DataFrame(schema=self.schema), *shelf.read()])
