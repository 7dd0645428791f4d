"""What the rows of a first load show while they go by, so that nobody need look at them again.

A first load stands alone, and all of its rows pass through this process anyway. Here it is noted
that every record named was of the right type, between which days all rows lie, and what is enough
for other rules to hold (`pipeline.records.proving`). Only a yes counts: what is not shown here the
rules are asked, and they say where it is wrong (`pipeline.records.asking`).
"""

import polars as pl

from pipeline.records.checks import KINDS, Inside, Kind, Proof
from pipeline.records.proving import PROOFS, Proving, Types
from pipeline.records.spans import INSIDE, NO_DAY, Extent, Spans, extent
from schemas.columns import Day
from schemas.roster import AnyEntity

BACKWARD = tuple(kind for kind in KINDS if kind.to is not kind.entity)

PROVABLE = {*BACKWARD, *PROOFS, *INSIDE}


class Sieve:
    """Notes on the active rows of one package, in load order. `extents`: by table and column."""

    def __init__(self) -> None:
        self.proven: set[Kind | Proof | Inside] = set()
        self.extents: dict[str, dict[str, Extent]] = {}
        self._types = Types()
        self._wrong: set[Kind] = set()
        self._proving = Proving(self._types)
        self._spans = {inside: Spans(inside) for inside in INSIDE}

    def add(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        """Look at typed rows of a file."""
        active = rows.filter(pl.col("status") == "active")
        self._types.add(entity, active)
        for kind in BACKWARD:
            if kind.entity is entity and kind not in self._wrong and not self._holds(kind, active):
                self._wrong.add(kind)
        self._proving.add(entity, active)
        for spans in self._spans.values():
            spans.add(entity, active)
        self._extend(entity, active)

    def settle(self, entity: AnyEntity) -> None:
        """A file is over: what holds of all its rows is proven."""
        self.proven |= {kind for kind in BACKWARD if kind.entity is entity} - self._wrong
        self.proven |= self._proving.settle(entity)
        self.proven |= {inside for inside in INSIDE if self._lies(inside, entity)}

    @property
    def enough(self) -> bool:
        """Whether all is proven that can be; what is left to ask is of few rows."""
        return self.proven >= PROVABLE

    def _holds(self, kind: Kind, rows: pl.DataFrame) -> bool:
        named = rows[kind.column.name].drop_nulls().unique()
        return bool(named.is_in(self._types.of(kind).implode()).all())

    def _lies(self, inside: Inside, entity: AnyEntity) -> bool:
        extents = self.extents.get(inside.begin.entity, {})
        begins, ends = (extents.get(day.name, NO_DAY) for day in (inside.begin, inside.end))
        return entity.table == inside.begin.entity and self._spans[inside].hold(begins, ends)

    def _extend(self, entity: AnyEntity, rows: pl.DataFrame) -> None:
        extents = self.extents.setdefault(entity.table, {})
        for column in entity.stored():
            if isinstance(column, Day):
                days = pl.Series([*extents.get(column.name, ()), *extent(rows[column.name])])
                extents[column.name] = extent(days.cast(pl.String))
