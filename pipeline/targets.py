"""What the rows of a first load point at, looked up beside the database.

A first load stands alone: whatever a record refers to is in the same package. So the sourcedIds
that were read so far are remembered, and the references of the next rows are looked up among them,
in the process that has them at hand anyway; the merging server process, which everybody waits
for, is spared the joins. Only a yes counts: where a reference does not hold, the rules look at the
staged rows and say which and why (`pipeline.records`).

Of a sourcedId 128 bits are remembered, under seeds that nobody can know: a million of them are
16 MB. They lie in parts, each in ascending order, so they need no hash table to be looked up in and
nothing that is as large as all of them to be put in order.
"""

from collections import defaultdict
from collections.abc import Mapping
from secrets import randbits

import polars as pl

from schemas.columns import Key, Ref, Refs
from schemas.roster import BY_FILE, ROSTERING, AnyEntity

KEY = "sourced_id"
NONE = pl.Series(KEY, dtype=pl.UInt128)
PART = 250_000  # marks that are put in order at a time
HIGH = pl.Series([2**64], dtype=pl.UInt128)
SEEDS = (randbits(64), randbits(64))
LAST: Mapping[str, AnyEntity] = {
    column.to: entity for entity in ROSTERING for column in entity.references()
}
"""The last file in load order that points at a file."""


class Targets:
    """The active records of a first load that others may point at."""

    def __init__(self) -> None:
        self.known: defaultdict[str, list[pl.Series]] = defaultdict(lambda: [NONE])
        self.fresh: defaultdict[str, list[pl.Series]] = defaultdict(list)
        self.later: defaultdict[str, list[tuple[str, pl.Series]]] = defaultdict(list)

    def add(self, entity: AnyEntity, rows: pl.DataFrame) -> bool:
        """Remember typed rows; answer whether what they point at in earlier files is there."""
        active = rows.filter(pl.col("status") == "active")
        if entity.file in LAST:
            self.fresh[entity.file].append(marks(active[KEY]))
            if sum(map(len, self.fresh[entity.file])) >= PART:
                self._settle(entity.file)
        return all(self._holds(entity, column, active) for column in entity.references())

    def settle(self, entity: AnyEntity) -> bool:
        """Whether what the rows of a file point at in the file itself is there.

        What no later file points at is forgotten.
        """
        holds = [self._known(to, cells) for to, cells in self.later.pop(entity.file, [])]
        for file, last in LAST.items():
            if last is entity:
                self.known.pop(file, None)
                self.fresh.pop(file, None)
        return all(holds)

    def _holds(self, entity: AnyEntity, column: Key | Ref | Refs, rows: pl.DataFrame) -> bool:
        if not BY_FILE[column.to].kept:
            return True
        cells = named(column, rows)
        if column.to == entity.file:
            self.later[entity.file].append((column.to, cells))
            return True
        return self._known(column.to, cells)

    def _settle(self, file: str) -> None:
        """Put what is new in order, with the last part as long as that is small."""
        known = self.known[file]
        fresh = self.fresh.pop(file)
        if len(known[-1]) < PART:
            fresh.append(known.pop())
        known.append(pl.concat(fresh).sort())

    def _known(self, file: str, cells: pl.Series) -> bool:
        if file in self.fresh:
            self._settle(file)
        wanted = marks(cells)
        for known in self.known[file]:
            if wanted.is_empty() or known.is_empty():
                break
            near = known.search_sorted(wanted).clip(0, len(known) - 1)
            wanted = wanted.filter(known.gather(near) != wanted)
        return wanted.is_empty()


def marks(keys: pl.Series) -> pl.Series:
    """What is remembered of sourcedIds; an expression of both would only wake other threads."""
    high, low = (keys.hash(seed).cast(pl.UInt128) for seed in SEEDS)
    return high * HIGH + low


def named(column: Key | Ref | Refs, rows: pl.DataFrame) -> pl.Series:
    """The sourcedIds that a column names, each once."""
    cells = rows.get_column(column.name).drop_nulls().unique()
    if isinstance(column, Refs):  # an array literal: {"a","b"}
        return cells.str.strip_chars('{}"').str.split('","').explode().unique()
    return cells
