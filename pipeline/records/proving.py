"""What is enough for rules between records to hold, shown by the rows of a first load as they pass.

A rule declares which cells must stand once, among others, or not among others (`Proof`). Such cells
are remembered as marks of 128 bits until the files that a proof speaks of are over, and then
compared: tens of milliseconds where the server would join the rows. Cells are remembered up to a
number, so that memory does not grow with the district; with more the proof is given up, whatever
else only it would need is forgotten, and its rule is asked.
"""

from collections import defaultdict
from collections.abc import Set as AbstractSet
from functools import reduce
from operator import or_
from secrets import randbits
from typing import TypeAlias

import polars as pl

from pipeline.records.checks import CHECKS, KINDS, Apart, Cells, Kind, Proof, Rows
from pipeline.targets import KEY, marks
from schemas.roster import ROSTERING, AnyEntity

Needed: TypeAlias = defaultdict[AnyEntity, defaultdict[Rows, set[Cells]]]

MOST = 250_000
"""Cells that are remembered of each kind; where there are more, the rules are asked."""
SPREAD = pl.Series([randbits(127) * 2 + 1], dtype=pl.UInt128)
PROOFS = frozenset(check.proof for check in CHECKS if isinstance(check.proof, Proof))
CELLS = {cells for proof in PROOFS for cells in proof.whole}
NAMED = {*KINDS, *(cells.rows.of for cells in CELLS if cells.rows.of)}
TYPED = {(kind.to, kind.type, kind.expected) for kind in NAMED if kind.to is not kind.entity}
NOBODY = pl.Series(KEY, dtype=pl.String)
NONE = marks(NOBODY)


class Types:
    """Which active records of earlier files are of a type that later ones speak of."""

    def __init__(self) -> None:
        self._right: defaultdict[tuple[str, str], pl.Series] = defaultdict(lambda: NOBODY)

    def add(self, entity: AnyEntity, active: pl.DataFrame) -> None:
        """Look at rows of a file."""
        for to, type_, expected in TYPED:
            if to is entity:
                right = active.filter(pl.col(type_.name) == expected)[KEY]
                self._right[to.file, expected] = pl.concat([self._right[to.file, expected], right])

    def of(self, kind: Kind) -> pl.Series:
        """The sourcedIds of those that are as a reference wants them."""
        return self._right[kind.to.file, kind.expected]


class Proving:
    """The proofs that are still open, and the marks of the cells that they need."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._open = set(PROOFS)
        self._needed = needed(PROOFS)
        self._marks: defaultdict[Cells, list[pl.Series]] = defaultdict(list)

    def add(self, entity: AnyEntity, active: pl.DataFrame) -> None:
        """Remember what is needed of rows of a file."""
        for meant, cells in self._needed[entity].items():
            chosen = self._chosen(meant, active)
            for each in cells:
                columns = [active[column.name].filter(chosen) for column in each.columns]
                self._marks[each].append(marks_together(pl.DataFrame(columns).drop_nulls()))
        many = {cells for cells in self._marks if self.remembered(cells) > MOST}
        self._close({proof for proof in self._open if many.intersection(proof.whole)})

    def settle(self, entity: AnyEntity) -> set[Proof]:
        """A file is over: what holds of those that it was the last of."""
        over = {proof for proof in self._open if last(proof) is entity}
        shown = {proof for proof in over if self._holds(proof)}
        self._close(over)
        return shown

    def remembered(self, cells: Cells) -> int:
        """How many marks."""
        return sum(map(len, self._marks.get(cells, ())))

    def _close(self, proofs: AbstractSet[Proof]) -> None:
        """What is shown, or will not be, needs no cells any more."""
        if not proofs:
            return
        self._open -= proofs
        self._needed = needed(self._open)
        left = {cells for proof in self._open for cells in proof.whole}
        for cells in self._marks.keys() - left:
            del self._marks[cells]

    def _chosen(self, meant: Rows, active: pl.DataFrame) -> pl.Series:
        """Which rows are meant."""
        such = active["status"].is_not_null()
        for column, words in meant.where:
            cells = active[column.name]
            such &= reduce(or_, (cells.eq_missing(word) for word in words))
        if meant.of:
            such &= active[meant.of.column.name].is_in(self._types.of(meant.of).implode())
        return such

    def _holds(self, proof: Proof) -> bool:
        seen = self._all(proof.cells)
        if proof.others is None:
            return seen.n_unique() == len(seen)
        among = seen.is_in(self._all(proof.others).implode())
        return not among.any() if isinstance(proof, Apart) else among.all()

    def _all(self, cells: Cells) -> pl.Series:
        return pl.concat([NONE, *self._marks.get(cells, [])])


def needed(proofs: AbstractSet[Proof]) -> Needed:
    """The cells of which proofs speak, by file and by which rows are meant."""
    found: Needed = defaultdict(lambda: defaultdict(set))
    for proof in proofs:
        for cells in proof.whole:
            found[cells.rows.entity][cells.rows].add(cells)
    return found


def last(proof: Proof) -> AnyEntity:
    """The last file in load order of which it speaks."""
    return max((cells.rows.entity for cells in proof.whole), key=ROSTERING.index)


def marks_together(rows: pl.DataFrame) -> pl.Series:
    """Of the cells of each row; in another order they are others."""
    first, *more = map(marks, rows.get_columns())
    return reduce(lambda before, each: before * SPREAD + each, more, first)
