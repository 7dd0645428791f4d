"""Stage a first load beside the transaction that merges it, on a connection of its own.

While the one connection merges, the other already takes the next rows, and when it has them all,
looks for what is wrong between them: a server process each, so both cores of a small machine work.
Rows go in chunks to unlogged tables that only the app role can read; a chunk is committed before
the merge sees it. A crash of the server empties the chunks and takes the merge's transaction with
them. The tables are dropped after the merge, which holds locks on them; what a killed worker leaves
is swept.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter

import polars as pl
from psycopg.sql import SQL, Identifier

from pipeline.ahead import ahead
from pipeline.chunks import SCHEMA, prefix_of, remove
from pipeline.claims import Claim
from pipeline.database import Connection, beside
from pipeline.opening import File
from pipeline.stage import copied, layout, names
from pipeline.targets import Targets
from schemas.columns import Ref
from schemas.roster import AnyEntity

ROWS = 50_000  # of a chunk at most, but for its last batch
ROOM = 16 * 1024 * 1024  # bytes of a chunk: what has many columns is large in few rows
DEPTH = 8  # chunks that may wait; they wait in the database, not in memory
FEW = 3  # a file is grouped by what a column names if it has this many times less runs than rows


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a file in a table of their own."""

    file: File
    table: Identifier
    rows: int


class Beside:
    """The chunks of one attempt. The connection is made when the first is staged.

    When all are staged, `sound` has the files whose rows point at what is there, and `clean` is
    whether nothing is wrong between the records: only a yes counts.
    """

    def __init__(self, db: Connection, claim: Claim) -> None:
        self.merging, self.claim = db, claim
        self.staging: Connection | None = None
        self.tables: defaultdict[AnyEntity, list[Identifier]] = defaultdict(list)
        self.targets = Targets()
        self.sound: set[str] = set()
        self.unsound: set[str] = set()
        self.clean = False
        self.staged: Generator[Chunk, None, None] | None = None

    def chunks(
        self,
        batches: Iterator[tuple[File, pl.DataFrame]],
        clean: Callable[["Beside", Connection], bool],
    ) -> Iterator[Chunk]:
        """The rows of every file in chunks, staged ahead of who merges them.

        `clean` looks at all of them, on the staging connection, while the last are being merged.
        """
        self.staged = ahead(self._all(batches, clean), DEPTH)
        return self.staged

    def _all(
        self,
        batches: Iterator[tuple[File, pl.DataFrame]],
        clean: Callable[["Beside", Connection], bool],
    ) -> Iterator[Chunk]:
        self.staging = db = beside(self.merging, name="rosterhub staging")
        remove(db, prefix_of(self.claim.id))
        for file, items in groupby(batches, key=itemgetter(0)):
            name, chunks = file.entity.file, together(rows for _, rows in items)
            if file.entity.kept:
                yield from map(partial(self._chunk, db, file), chunks)
            else:
                deque(chunks, maxlen=0)
            if self.targets.settle(file.entity) and name not in self.unsound:
                self.sound.add(name)
        self.clean = clean(self, db)

    def _chunk(self, db: Connection, file: File, rows: pl.DataFrame) -> Chunk:
        if not self.targets.add(file.entity, rows):
            self.unsound.add(file.entity.file)
        return Chunk(file, self._stage(db, file.entity, rows), rows.height)

    def _stage(self, db: Connection, entity: AnyEntity, rows: pl.DataFrame) -> Identifier:
        number = sum(map(len, self.tables.values()))
        name = f"{prefix_of(self.claim.id)}{self.claim.fence}_{number}"
        table = Identifier(SCHEMA, name)
        self.tables[entity].append(table)
        db.execute(SQL("create unlogged table {} ({})").format(table, layout(entity)))
        columns = SQL(", ").join(map(Identifier, ["line", *names(entity)]))
        statement = SQL("copy {} ({}) from stdin (format csv)").format(table, columns)
        copied(db, statement, ordered(entity, rows).iter_slices())
        return table

    def close(self) -> None:
        """Remove the chunks, once nobody reads them any more."""
        if self.staged is not None:
            self.staged.close()  # after an error the next chunk may be on its way
        if self.staging is None:
            return
        with self.staging as db:
            for each in (self.merging, db):
                if not each.broken:
                    each.execute("discard temporary")  # the views on the chunks
            for tables in self.tables.values():
                for table in tables:
                    db.execute(SQL("drop table if exists {}").format(table))


def ordered(entity: AnyEntity, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in an order that the indexes like.

    A file that goes on person by person, or class by class, keeps its order: it visits the indexes
    of its references one page after the other. Any other is sorted, for the primary key's sake.
    """
    for column in entity.references():
        if isinstance(column, Ref):
            cells = rows.get_column(column.name)
            if 1 < FEW * cells.ne_missing(cells.shift(1)).sum() < rows.height:
                return rows
    return rows.sort("sourced_id")


def together(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Batches joined to chunks of `ROWS` rows or `ROOM` bytes."""
    waiting: list[pl.DataFrame] = []
    for rows in batches:
        waiting.append(rows)
        height = sum(each.height for each in waiting)
        if height >= ROWS or sum(each.estimated_size() for each in waiting) >= ROOM:
            yield joined(waiting)
    if waiting:
        yield joined(waiting)


def joined(waiting: list[pl.DataFrame]) -> pl.DataFrame:
    """All that waits; nothing of it is held here while others work on it."""
    rows = pl.concat(waiting)
    waiting.clear()
    return rows
