"""Between which days the records lie that others list, so that no row need look at its own.

Of a million enrollments the first and the last day are known (`pipeline.records.sieve`), and the
classes of a district share a few lists of terms. Where the terms of every class begin before the
first enrollment does and end behind the last begins, no enrollment lies outside of its own.
"""

from typing import TypeAlias

import polars as pl

from pipeline.records.checks import CHECKS, Inside
from schemas.roster import BY_FILE, BY_TABLE, AnyEntity

Extent: TypeAlias = tuple[str | None, str | None]
NO_DAY: Extent = (None, None)

MOST = 10_000
"""Lists, and records that may be listed, that are remembered; with more the rule is asked."""
INSIDE = tuple(check.proof for check in CHECKS if isinstance(check.proof, Inside))


class Spans:
    """The lists that records have, each once, and the days of what may be listed."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside
        self._days = pl.DataFrame(schema=dict.fromkeys(("key", "first", "last"), pl.String))
        self._lists = pl.Series("key", dtype=pl.String)

    def add(self, entity: AnyEntity, active: pl.DataFrame) -> None:
        """Look at rows of a file, unless there were too many."""
        told = self._inside
        if entity is BY_FILE[told.spans.to] and len(self._days) <= MOST:
            days = {"key": "sourced_id", "first": told.first.name, "last": told.last.name}
            self._days = pl.concat([self._days, active.select(**days)])
        if entity is BY_TABLE[told.spans.entity] and len(self._lists) <= MOST:
            lists = active[told.spans.name].drop_nulls().unique().alias("key")
            self._lists = pl.concat([self._lists, lists]).unique()

    def hold(self, begins: Extent, ends: Extent) -> bool:
        """Whether rows that begin and end between these days do so in every span."""
        if max(len(self._days), len(self._lists)) > MOST:
            return False
        listed = pl.DataFrame({"list": self._lists, "key": self._lists.str.strip_chars('{}"')})
        found = (
            listed.with_columns(pl.col("key").str.split('","'))
            .explode("key")
            .join(self._days, on="key")
        )
        spans = found.group_by("list").agg(pl.min("first"), pl.max("last"))
        latest, earliest = extent(spans["first"])[1], extent(spans["last"])[0]
        return not (
            before(begins[0], latest) or before(earliest, begins[1]) or before(ends[0], latest)
        )


def before(day: str | None, other: str | None) -> bool:
    """Whether one day is known to come before another."""
    return day is not None and other is not None and day < other


def extent(days: pl.Series) -> Extent:
    """The first and the last."""
    return days.min(), days.max()  # type: ignore[return-value]  # days are text here
