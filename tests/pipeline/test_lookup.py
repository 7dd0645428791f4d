"""Known digests: what is found among them, what nobody has, and what several have."""

import random
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from pipeline.lookup import Index, Ranges, as_numbers, places_of


def numbers(*values: int) -> pl.Series:
    return pl.Series("digest", values, dtype=pl.UInt128)


def lines(first: int, count: int) -> pl.Series:
    return pl.int_range(first, first + count, dtype=pl.Int64, eager=True)


def drawn(seed: random.Random, kind: str) -> int:
    """A digest: any, or one of many that begin alike, or one of very few."""
    match kind:
        case "any":
            return seed.getrandbits(128)
        case "alike":
            return 2**127 + seed.getrandbits(20)
        case _:
            return seed.choice([0, 1, 2**64, 2**127, 2**128 - 1])


@pytest.mark.parametrize("kind", ["any", "alike", "few"])
@pytest.mark.parametrize("known", [0, 1, 2, 3, 64, 900])
@pytest.mark.parametrize("ranges", [0, 1, 3, 7])
def test_what_is_told_is_what_sets_tell(tmp_path: Path, kind: str, known: int, ranges: int) -> None:
    seed = random.Random(f"{kind} {known}")
    there = sorted({drawn(seed, kind) for _ in range(known)})
    file = [drawn(seed, kind) for _ in range(150)]
    if there:
        file += [seed.choice(there) for _ in range(350)]
    seed.shuffle(file)
    new = [at for at, digest in enumerate(file, 2) if digest not in {*there}]
    if ranges:
        whole = numbers(*there).to_frame()
        parts = [whole.filter(places_of(ranges) == part)["digest"] for part in range(ranges)]
        ranged = Ranges(lambda: parts, tmp_path / "seen", ranges)
        for start in range(0, len(file), 60):
            some = file[start : start + 60]
            ranged.add(lines(start + 2, len(some)), numbers(*some))
        unknown, met = ranged.parted()
        assert unknown.to_list() == new
        told: Index | Ranges = ranged
    else:
        cuts = sorted(seed.choices(range(len(there) + 1), k=3))
        pieces = [there[a:b] for a, b in pairwise([0, *cuts, len(there)])]
        index = told = Index(numbers(*piece) for piece in pieces)
        found = []
        for start in range(0, len(file), 60):
            some = file[start : start + 60]
            places = index.look(lines(start + 2, len(some)), numbers(*some))
            index.note(places)
            found += places.same.to_list()
        assert [at for at, is_known in enumerate(found, 2) if not is_known] == new
        met = index.met()
    assert sorted(met.missing) == sorted({*there} - {*file})
    twice = {digest for digest in {*there} & {*file} if file.count(digest) > 1}
    assert sorted(met.twice) == sorted(twice)
    asked = [*there[:3], *there[-3:], 17]
    met_on = {
        (at, digest) for at, digest in enumerate(file, 2) if digest in {*there[:3], *there[-3:]}
    }
    assert {*told.lines_of(numbers(*{*asked})).rows()} >= met_on
    assert {*told.lines_of(met.twice).rows()} == {
        (at, digest) for at, digest in enumerate(file, 2) if digest in twice
    }


def test_bytes_are_numbers() -> None:
    blob = bytes(range(32))
    expected = [int.from_bytes(blob[at : at + 16], "big") for at in (0, 16)]
    assert as_numbers(blob).to_list() == expected
    assert as_numbers(b"").to_list() == []
