"""A spool: everything comes back, and what has one key lies in one partition."""

from pathlib import Path

import polars as pl
import pytest

from pipeline import spool
from pipeline.spool import Shelf, Spool

SCHEMA = pl.Schema({"sourced_id": pl.String, "value": pl.Int64})


def hashed(partitions: int) -> pl.Expr:
    return pl.col("sourced_id").hash() % partitions


def rows(first: int, last: int) -> pl.DataFrame:
    keys = [f"key-{number}" for number in range(first, last)]
    return pl.DataFrame({"sourced_id": keys, "value": range(first, last)}, schema=SCHEMA)


@pytest.mark.parametrize("partitions", [1, 2, 7])
@pytest.mark.parametrize("room", [0, 1 << 30], ids=["on disk", "in memory"])
def test_everything_comes_back_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partitions: int, room: int
) -> None:
    monkeypatch.setattr(spool, "ROOM", room)
    own = Spool(tmp_path / "own", SCHEMA, part=hashed(partitions), partitions=partitions)
    for first in range(0, 300, 100):
        own.add(rows(first, first + 100))
    assert bool([*tmp_path.rglob("*.arrow")]) == (room == 0)
    parts = [*own.read()]
    assert len(parts) == partitions
    assert pl.concat(parts).sort("value").equals(rows(0, 300))


def test_two_spools_agree_where_a_key_lies(tmp_path: Path) -> None:
    one = Spool(tmp_path / "one", SCHEMA, part=hashed(5), partitions=5)
    two = Spool(tmp_path / "two", SCHEMA, part=hashed(5), partitions=5)
    one.add(rows(0, 200))
    for first in range(150, 350, 50):
        two.add(rows(first, first + 50))
    for left, right in zip(one.read(), two.read(), strict=True):
        assert left.height
        both = {*left["sourced_id"]} & {*right["sourced_id"]}
        assert {int(key.split("-")[1]) for key in both} == {
            *left.filter(pl.col("value") >= 150)["value"]
        }


@pytest.mark.parametrize("partitions", [1, 4])
def test_an_empty_spool_has_empty_partitions(tmp_path: Path, partitions: int) -> None:
    own = Spool(tmp_path / "own", SCHEMA, part=hashed(partitions), partitions=partitions)
    parts = [*own.read()]
    assert [part.schema for part in parts] == [SCHEMA] * partitions
    assert sum(part.height for part in parts) == 0


@pytest.mark.parametrize("room", [0, 5000, 1 << 30])
def test_a_shelf_keeps_the_order_and_what_does_not_fit_lies_on_disk(
    tmp_path: Path, room: int
) -> None:
    shelf = Shelf(tmp_path / "shelf", room)
    for first in range(0, 1000, 100):
        shelf.add(rows(first, first + 100))
        assert sum(each.estimated_size() for each in shelf.waiting) <= room
    assert pl.concat([*shelf.read()]).equals(rows(0, 1000))
