"""What the rows of a first load show while they go by, so that nobody need look at them again.

A first load stands alone, and all of its rows pass through this process anyway. Here it is noted
that every record named was of the right type, that no value stood twice, and between which days all
rows lie. Only a yes counts: what is not shown here the rules are asked, and they say where it is
wrong (`pipeline.records.asking`).
"""

from collections import defaultdict
from typing import TypeAlias

import polars as pl

from pipeline.records.checks import CHECKS, KINDS, Kind, Single
from pipeline.targets import marks
from schemas.columns import Day
from schemas.roster import AnyEntity

Extent: TypeAlias = tuple[str | None, str | None]
NONE = pl.Series("sourced_id", dtype=pl.String)
SINGLES = tuple(check.single for check in CHECKS if check.single)
BACKWARD = tuple(kind for kind in KINDS if kind.to is not kind.entity)
MOST = 250_000
"""Values of a column that are remembered; where there are more, the rules are asked."""
RIGHT = {(kind.to, kind.type, kind.expected) for kind in BACKWARD}


class Sieve:
    """Notes on the active rows of one package, in load order. `extents`: by table and column."""

    def __init__(self) -> None:
        self.proven: set[Kind | Single] = set()
        self.extents: dict[str, dict[str, Extent]] = {}
        self._right: defaultdict[tuple[str, str], list[pl.Series]] = defaultdict(list)
        self._wrong: set[Kind] = set()
        self._marks: defaultdict[Single, list[pl.Series]] = defaultdict(list)
        self._many: set[Single] = set()

    def add(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        """Look at typed rows of a file."""
        active = rows.filter(pl.col("status") == "active")
        for to, type_, expected in RIGHT:
            if to is entity:
                right = active.filter(pl.col(type_.name) == expected)["sourced_id"]
                self._right[to.file, expected].append(right)
        for kind in BACKWARD:
            if kind.entity is entity and kind not in self._wrong and not self._holds(kind, active):
                self._wrong.add(kind)
        for single in SINGLES:
            if single.entity is entity:
                meant = active
                for name, value in single.where:
                    meant = meant.filter(pl.col(name) == value)
                self._remember(single, marks(meant[single.column.name].drop_nulls()))
        self._extend(entity, active)

    def settle(self, entity: AnyEntity) -> None:
        """A file is over: what holds of all its rows is proven."""
        self.proven |= {kind for kind in BACKWARD if kind.entity is entity} - self._wrong
        for single in SINGLES:
            if single.entity is entity and single not in self._many:
                seen = pl.concat([marks(NONE), *self._marks.pop(single, [])])
                if seen.n_unique() == len(seen):
                    self.proven.add(single)

    def _remember(self, single: Single, values: pl.Series) -> None:
        """So that memory does not grow with the district, only of some."""
        if single in self._many:
            return
        self._marks[single].append(values)
        if sum(map(len, self._marks[single])) > MOST:
            self._many.add(single)
            del self._marks[single]

    def _holds(self, kind: Kind, rows: pl.DataFrame) -> bool:
        named = rows[kind.column.name].drop_nulls().unique()
        right = pl.concat([NONE, *self._right[kind.to.file, kind.expected]])
        return bool(named.is_in(right.implode()).all())

    def _extend(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        extents = self.extents.setdefault(entity.table, {})
        for column in entity.stored():
            if isinstance(column, Day):
                days = pl.Series([*extents.get(column.name, ()), *extent(rows[column.name])])
                extents[column.name] = extent(days.cast(pl.String))


def extent(days: pl.Series) -> Extent:
    """The first and the last."""
    return days.min(), days.max()  # type: ignore[return-value]  # days are text here
