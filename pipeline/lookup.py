"""Known digests, and the lines of a file that are found among them.

The digests are those of the lines of a file that was applied (`pipeline.lines`), or those of the
records that are stored (`pipeline.compare`). As many as fit are looked up at hand while the file
streams by; of more, the digests of the file wait on disk until it was seen. What is asked in the
end is the same: which digests no line has, and which several lines have.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import polars as pl

from pipeline.spool import Spool

AT_HAND = 2_000_000  # known digests that are looked up in memory, while the file streams by
STEPS = 2  # from the first digest of a bucket: one in ten, or fewer, lie further on
SEEN = pl.Schema({"line": pl.UInt32, "digest": pl.UInt128})
NOWHERE = pl.Series(dtype=pl.UInt32)
NONE = pl.Series("digest", dtype=pl.UInt128)


def as_numbers(blob: bytes) -> pl.Series:
    """16 bytes each, the highest first, as one number each."""
    kind = pl.Array(pl.UInt128, len(blob) // 16)
    packed = pl.Series("digest", [blob]).bin.reinterpret(dtype=kind, endianness="big")
    return packed.explode()


def places_of(parts: int) -> pl.Expr:
    """In which part a digest lies."""
    place = pl.col("digest") // pl.lit((2**128 - 1) // parts, pl.UInt128)
    return place.cast(pl.UInt32).clip(upper_bound=parts - 1)  # the very last digest divides out


class Met(NamedTuple):
    """What a file says of known digests: those that no line has, and those that several have."""

    missing: pl.Series
    twice: pl.Series


class Places(NamedTuple):
    """Some lines by their numbers: where each stands among the known ones, if it is the `same`."""

    lines: pl.Series
    near: pl.Series
    same: pl.Series


class Index:
    """Known digests, ascending, and the lines of a file that were found among them.

    Digests are as good as drawn by lot. So the first bits of one tell where it lies among the
    others, up to a step or two: several times cheaper than to search for it.
    """

    def __init__(self, parts: Iterable[pl.Series]) -> None:
        """Take them in parts that follow each other."""
        known = [NONE, *parts]
        size = sum(map(len, known))
        bits = max(size.bit_length() - 1, 1)  # one digest to a bucket, or nearly two
        self._width = pl.Series([2 ** (128 - bits)], dtype=pl.UInt128)
        starts, start = pl.repeat(None, 2**bits, dtype=pl.UInt32, eager=True), 0
        for part in reversed(known):  # of a bucket in two parts the first begins it
            start += len(part)
            buckets = self._buckets(part)
            firsts = (buckets != buckets.shift(1)).fill_null(value=True).arg_true()
            starts = starts.scatter(buckets[firsts], firsts + (size - start))
        # An empty bucket begins where the next one does.
        self._starts = starts.fill_null(strategy="backward").fill_null(max(size - 1, 0))
        self.known = pl.concat(known, rechunk=True)
        self._found: list[Places] = []

    def look(self, lines: pl.Series, digests: pl.Series) -> Places:
        """Which lines are known, by their numbers and digests; several may look at once."""
        return Places(lines.cast(pl.UInt32), *self._places(digests))

    def note(self, found: Places) -> None:
        """Remember what was found of some lines."""
        self._found.append(found)

    def met(self) -> Met:
        """What the lines so far say of the known digests."""
        places = pl.concat([NOWHERE, *(each.near.filter(each.same) for each in self._found)])
        seen = pl.repeat(False, len(self.known), eager=True)  # noqa: FBT003  # a value
        seen = seen.scatter(places, True)  # noqa: FBT003  # same
        twice = NOWHERE
        if seen.sum() < len(places):
            twice = places.filter(places.is_duplicated()).unique()
        return Met(self.known.filter(~seen), self.known.gather(twice))

    def lines_of(self, digests: pl.Series) -> pl.DataFrame:
        """The lines that have these known digests: `line` and `digest`."""
        near, same = self._places(digests)
        asked = pl.DataFrame([near.alias("place"), digests.alias("digest")]).filter(same)
        found = [pl.DataFrame(schema=SEEN)]
        for some in self._found if asked.height else ():
            met = pl.DataFrame([some.lines.alias("line"), some.near.alias("place")])
            met = met.filter(some.same)
            found.append(met.join(asked, on="place").select(SEEN.names()))
        return pl.concat(found)

    def _buckets(self, digests: pl.Series) -> pl.Series:
        return (digests // self._width).cast(pl.UInt32)

    def _places(self, digests: pl.Series) -> tuple[pl.Series, pl.Series]:
        """Where each digest stands among the known ones, if it does, and whether it does.

        These are operators of series: as expressions they would take twice as long.
        """
        if self.known.is_empty():
            nowhere = pl.zeros(len(digests), pl.UInt32, eager=True)
            return nowhere, nowhere > 0
        last = len(self.known) - 1
        near = self._starts[self._buckets(digests)]
        there = self.known[near]
        for _ in range(STEPS):
            near = near + ((there < digests) & (near < last)).cast(pl.UInt32)
            there = self.known[near]
        far, same = there < digests, there == digests
        if far.any():
            asked, at = digests.filter(far), far.arg_true()
            there = self.known.search_sorted(asked).clip(upper_bound=last).cast(pl.UInt32)
            near = near.scatter(at, there)
            same = same.scatter(at, self.known[there] == asked)
        return near, same


class Ranges:
    """Known digests that are too many to have at hand, and the lines of a file in the same ranges.

    The lines wait on disk until the file was seen; then one range is looked at after the other.
    """

    def __init__(self, known: Callable[[], Iterable[pl.Series]], folder: Path, ranges: int) -> None:
        self._known = known
        self._seen = Spool(folder, SEEN, part=places_of(ranges), partitions=ranges)

    def add(self, lines: pl.Series, digests: pl.Series) -> None:
        """Take the next lines, by their numbers and digests."""
        self._seen.add(pl.DataFrame([lines.cast(pl.UInt32).alias("line"), digests.alias("digest")]))

    def parted(self) -> tuple[pl.Series, Met]:
        """The lines that are not known, ascending, and what the others say of the known digests."""
        new, missing, twice = [NOWHERE], [NONE], [NONE]
        for known, seen in zip(self._known(), self._seen.read(), strict=True):
            index = Index([known])
            found = index.look(seen["line"], seen["digest"])
            index.note(found)
            new.append(found.lines.filter(~found.same))
            met = index.met()
            missing.append(met.missing)
            twice.append(met.twice)
        return pl.concat(new).sort(), Met(pl.concat(missing), pl.concat(twice))

    def lines_of(self, digests: pl.Series) -> pl.DataFrame:
        """The lines that have these digests: `line` and `digest`."""
        asked = pl.col("digest").is_in(digests.implode())
        parts = self._seen.read() if len(digests) else ()
        return pl.concat([pl.DataFrame(schema=SEEN), *(part.filter(asked) for part in parts)])
