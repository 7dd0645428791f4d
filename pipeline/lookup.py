"""Known digests, and the lines of a file that are found among them.

The digests are those of the lines of a file that was applied (`pipeline.lines`), or those of the
records that are stored (`pipeline.compare`). As many as fit are looked up at hand while the file
streams by; of more, the digests of the file wait on disk until it was seen. What is asked in the
end is the same: which digests no line has, and which several lines have.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl

from pipeline.spool import Spool

AT_HAND = 2_000_000  # known digests that are looked up in memory, while the file streams by
STEPS = 2  # from the first digest of a bucket: hardly one in twenty lies further on
SEEN = pl.Schema({"line": pl.UInt32, "digest": pl.UInt128})
NOWHERE = pl.Series(dtype=pl.UInt32)
NONE = pl.Series("digest", dtype=pl.UInt128)


def as_numbers(blob: bytes, endianness: Literal["little", "big"] = "little") -> pl.Series:
    """16 bytes each as one number each."""
    kind = pl.Array(pl.UInt128, len(blob) // 16)
    packed = pl.Series("digest", [blob]).bin.reinterpret(dtype=kind, endianness=endianness)
    return packed.explode()


def places_of(parts: int) -> pl.Expr:
    """In which part a digest lies."""
    place = pl.col("digest") // pl.lit((2**128 - 1) // parts, pl.UInt128)
    return place.cast(pl.UInt32).clip(upper_bound=parts - 1)  # the very last digest divides out


class Met(NamedTuple):
    """What a file says of known digests: those that no line has, and those that several have."""

    missing: pl.Series
    twice: pl.Series


class Index:
    """Known digests, ascending, and the lines of a file that were found among them.

    Digests are as good as drawn by lot. So the first bits of one tell where it lies among the
    others, up to a step or two: several times cheaper than to search for it.
    """

    def __init__(self, known: pl.Series) -> None:
        self.known = known
        self._found: list[tuple[pl.Series, pl.Series]] = []
        bits = max(len(known).bit_length(), 1)
        self._width = pl.lit(2 ** (128 - bits), pl.UInt128)
        buckets = self._buckets(known)
        firsts = (buckets != buckets.shift(1)).fill_null(value=True).arg_true()
        starts = pl.repeat(None, 2**bits, dtype=pl.UInt32, eager=True)
        starts = starts.scatter(buckets.gather(firsts), firsts)
        # An empty bucket begins where the next one does.
        self._starts = starts.fill_null(strategy="backward").fill_null(max(len(known) - 1, 0))

    def find(self, lines: pl.Series, digests: pl.Series) -> pl.Series:
        """Which of the next lines are known, by their numbers and digests."""
        places = self._places(digests)
        self._found.append((lines.cast(pl.UInt32), places))
        return places.is_not_null()

    def met(self) -> Met:
        """What the lines so far say of the known digests."""
        places = pl.concat([NOWHERE, *(places for _, places in self._found)]).drop_nulls()
        seen = pl.repeat(False, len(self.known), eager=True)  # noqa: FBT003  # a value
        seen = seen.scatter(places, True)  # noqa: FBT003  # same
        twice = NOWHERE
        if seen.sum() < len(places):
            twice = places.filter(places.is_duplicated()).unique()
        return Met(self.known.filter(~seen), self.known.gather(twice))

    def lines_of(self, digests: pl.Series) -> pl.DataFrame:
        """The lines that have these digests: `line` and `digest`."""
        asked = pl.DataFrame([self._places(digests).alias("place"), digests.alias("digest")])
        found = [pl.DataFrame(schema=SEEN)]
        for lines, places in self._found:
            met = pl.DataFrame([lines.alias("line"), places.alias("place")])
            found.append(met.join(asked, on="place").select(SEEN.names()))
        return pl.concat(found)

    def _buckets(self, digests: pl.Series) -> pl.Series:
        return pl.select((digests // self._width).cast(pl.UInt32)).to_series()

    def _places(self, digests: pl.Series) -> pl.Series:
        """Where each digest stands among the known ones; null: it is not known."""
        if self.known.is_empty():
            return pl.repeat(None, len(digests), dtype=pl.UInt32, eager=True)
        last = len(self.known) - 1
        near = self._starts.gather(self._buckets(digests))
        there = self.known.gather(near)
        for _ in range(STEPS):
            near = (near + (there < digests)).clip(upper_bound=last)
            there = self.known.gather(near)
        far = (there < digests).arg_true()
        places = near.set(there != digests, None)
        if len(far):
            places = places.scatter(far, self._searched(digests.gather(far), last))
        return places

    def _searched(self, digests: pl.Series, last: int) -> pl.Series:
        near = self.known.search_sorted(digests).clip(upper_bound=last).cast(pl.UInt32)
        return near.set(self.known.gather(near) != digests, None)


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
            index = Index(known)
            new.append(seen["line"].filter(~index.find(seen["line"], seen["digest"])))
            met = index.met()
            missing.append(met.missing)
            twice.append(met.twice)
        return pl.concat(new).sort(), Met(pl.concat(missing), pl.concat(twice))

    def lines_of(self, digests: pl.Series) -> pl.DataFrame:
        """The lines that have these digests: `line` and `digest`."""
        asked = pl.col("digest").is_in(digests.implode())
        return pl.concat(part.filter(asked) for part in self._seen.read())
