"""Frames that do not fit in memory wait on disk.

A `Shelf` keeps rows in their order. A `Spool` splits them by a hash of their key: what has the same
key lies in the same partition, so two spools can be compared partition by partition in constant
memory. What is small stays in memory in both.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

ROOM = 16 * 1024 * 1024  # bytes that may wait in memory


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
    """Rows by partition. The hash holds within this process only, which is all it is for."""

    def __init__(self, folder: Path, schema: pl.Schema, *, key: str, partitions: int) -> None:
        self.schema, self.key = schema, key
        self.shelves = [Shelf(folder / str(n), ROOM // partitions) for n in range(partitions)]
        folder.mkdir()

    def add(self, rows: pl.DataFrame) -> None:
        """Take more rows."""
        parts = rows.select(pl.col(self.key).hash() % len(self.shelves)).to_series()
        for number, shelf in enumerate(self.shelves):
            shelf.add(rows.filter(parts == number))

    def read(self) -> Iterator[pl.DataFrame]:
        """The partitions, one after the other."""
        for shelf in self.shelves:
            yield pl.concat([pl.DataFrame(schema=self.schema), *shelf.read()])
            shelf.waiting.clear()
