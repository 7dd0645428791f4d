"""Frames that do not fit in memory wait on disk, split by a hash of their key.

What has the same key lies in the same partition, so two spools can be compared partition by
partition in constant memory. A spool of one partition stays in memory.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

FLUSH = 16 * 1024 * 1024


class Spool:
    """Rows by partition. The hash holds within this process only, which is all it is for."""

    def __init__(self, folder: Path, *, key: str, partitions: int) -> None:
        self.folder, self.key, self.partitions = folder, key, partitions
        self.waiting: list[pl.DataFrame] = []
        self.flushes = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take more rows."""
        self.waiting.append(rows)
        if self.partitions > 1 and sum(r.estimated_size() for r in self.waiting) > FLUSH:
            self._flush()

    def _flush(self) -> None:
        rows = pl.concat(self.waiting)
        self.waiting.clear()
        self.folder.mkdir(exist_ok=True)
        parts = rows.select(pl.col(self.key).hash() % self.partitions).to_series()
        for number in range(self.partitions):
            rows.filter(parts == number).write_ipc(self._file(number, self.flushes))
        self.flushes += 1

    def _file(self, partition: int, flush: int) -> Path:
        return self.folder / f"{partition}-{flush}.arrow"

    def read(self, schema: pl.Schema) -> Iterator[pl.DataFrame]:
        """The partitions, one after the other."""
        empty = pl.DataFrame(schema=schema)
        if self.partitions == 1:
            yield pl.concat([empty, *self.waiting])
            return
        if self.waiting:
            self._flush()
        for number in range(self.partitions):
            files = [self._file(number, flush) for flush in range(self.flushes)]
            yield pl.concat([empty, *(pl.read_ipc(file) for file in files)])
            for file in files:
                file.unlink()
