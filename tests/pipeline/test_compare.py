"""What a bulk file changes: the same as a slow comparison of every value tells, row by row.

Files and stores are drawn: records that stay, change, go and come, keys that stand twice with one
value or with several, tombstones, and both ways to compare.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import polars as pl
import pytest
from psycopg.sql import SQL

from pipeline import compare, loads, lookup, stage
from pipeline.compare import Stored
from pipeline.database import Connection, connect, tenant
from pipeline.digests import digested
from pipeline.lookup import NONE, Index, Met
from pipeline.merge import Merge
from pipeline.stage import gone, names, staged
from schemas.digests import GONE
from schemas.roster.orgs import Org

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Hub

ROUNDS = 25  # drawn for each way; a planted bug is met within a few of them

Store: TypeAlias = dict[str, str | None]
"""The name of each record by its key; None: it is a tombstone."""


class Line(NamedTuple):
    """A row of the file."""

    line: int
    key: str
    name: str


def drawn(seed: random.Random) -> tuple[Store, list[Line]]:
    """What is stored, and a file."""
    keys = [f"org-{number}" for number in range(seed.choice([1, 5, 40]))]
    store: Store = {
        key: seed.choice([None, "北", "南", "北"]) for key in keys if seed.random() < 0.8
    }
    rows: list[tuple[str, str]] = []
    for key in keys:
        now = store.get(key) or "東"
        match seed.choice(["same"] * 6 + ["other", "away", "twice", "both", "others", "thrice"]):
            case "same":
                rows.append((key, now))
            case "other":
                rows.append((key, "西"))
            case "twice":
                rows += [(key, now), (key, now)]
            case "both":
                rows += [(key, now), (key, "西")]
            case "thrice":
                rows += [(key, now), (key, "西"), (key, now)]
            case "others":
                rows += [(key, "西"), (key, seed.choice(["西", "中"]))]
            case _:
                pass
    seed.shuffle(rows)
    return store, [Line(at, *row) for at, row in enumerate(rows, 2)]


def slowly(store: Store, file: Sequence[Line]) -> tuple[list[Line], list[str]]:
    """The rows that differ, or whose key stands twice; the active records that are gone."""
    times = Counter(row.key for row in file)
    differing = [row for row in file if times[row.key] > 1 or store.get(row.key) != row.name]
    return differing, sorted(key for key, name in store.items() if name and key not in times)


def frame(rows: Sequence[Line]) -> pl.DataFrame:
    """Rows as the reader hands them on."""
    columns = ["line", *(name for name in names(Org) if name != "digest")]
    blank = dict.fromkeys(columns, pl.lit(None, pl.String))
    given = pl.DataFrame(rows, schema=["line", "sourced_id", "name"], orient="row")
    given = given.cast({"line": pl.Int64, "sourced_id": pl.String, "name": pl.String})
    own = {"line": pl.col("line"), "sourced_id": pl.col("sourced_id"), "name": pl.col("name")}
    own |= {"type": pl.lit("school"), "status": pl.lit("active")}
    own |= {"metadata": pl.lit('{"a": "b"}')}
    return digested(given.select(**(blank | own)).select(columns))


@pytest.fixture
def district(hub: "Hub") -> "District":
    return hub.district()


@pytest.fixture
def db(hub: "Hub") -> Iterator[Connection]:
    with connect(hub.url) as connection:
        yield connection


@pytest.fixture(params=[lookup.AT_HAND, 0], ids=["at hand", "in ranges"])
def at_hand(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are looked up while the rows stream by, or range by range when all were seen."""
    monkeypatch.setattr(lookup, "AT_HAND", request.param)


def quickly(
    db: Connection, tenant_id: int, store: Store, file: Sequence[Line], folder: Path
) -> tuple[list[Line], list[str]]:
    """The same by `pipeline.compare`; leaves nothing behind."""
    folder.mkdir()
    with tenant(db, tenant_id), db.transaction(force_rollback=True):
        loads.work_for(db, loads.NOBODY)  # who sees a district before its first version
        stage.create(db)
        there = [Line(at, key, name or "") for at, (key, name) in enumerate(store.items(), 2)]
        stage.copy_rows(db, Org, [frame(there)])
        merge = Merge(db, tenant_id, 1)
        merge.first(Org)
        db.execute(SQL("delete from {}").format(staged(Org)))
        db.execute("update orgs set status = 'tobedeleted', digest = %s where name = ''", [GONE])
        batches = [frame(file[at : at + 7]) for at in range(0, len(file), 7)]
        compare.stage_differences(db, Org, tenant_id, batches, folder=folder, partitions=3)
        return told(db, file)


def told(db: Connection, file: Sequence[Line]) -> tuple[list[Line], list[str]]:
    """What is staged: in every value what the file says."""
    columns = SQL(", ").join(map(SQL, ["line", *names(Org)]))
    found = db.execute(SQL("select {} from {} order by line").format(columns, staged(Org)))
    rows = found.fetchall()
    expected: Mapping[int, bytes] = dict(frame(file).select("line", "digest").rows())
    at = [column.name for column in found.description or ()].index
    for row in rows:
        assert row[at("digest")].bytes == expected[row[0]]
        assert (row[at("status")], row[at("metadata")]) == ("active", {"a": "b"})
    went = db.execute(SQL("select sourced_id from {} order by 1").format(gone(Org))).fetchall()
    keys = [key for (key,) in went]
    return [Line(row[0], row[at("sourced_id")], row[at("name")]) for row in rows], keys


def hold(db: Connection, district: "District", folder: Path) -> None:
    """Hold both against each other."""
    for number in range(ROUNDS):
        store, file = drawn(random.Random(number))
        found = quickly(db, district.tenant_id, store, file, folder / str(number))
        assert found == slowly(store, file), f"round {number}"


@pytest.mark.usefixtures("at_hand")
def test_what_differs_is_what_a_slow_comparison_tells(
    db: Connection, district: "District", tmp_path: Path
) -> None:
    hold(db, district, tmp_path)


def once(met: Met) -> Met:
    return Met(met.missing, NONE)


PLANTED: Mapping[str, tuple[type, str, object]] = {
    "a record that stands twice is there once": (
        Index,
        "met",
        lambda self, met=Index.met: once(met(self)),
    ),
    "a record that changed is gone": (Stored, "of_staged", lambda _: NONE),
    "nothing is gone": (Stored, "stage_gone", lambda *_: None),
    "every digest is found": (
        Index,
        "look",
        lambda self, *of, look=Index.look: look(self, *of)._replace(same=of[1] == of[1]),
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(
    db: Connection,
    district: "District",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bug: str,
) -> None:
    kind, name, instead = PLANTED[bug]
    monkeypatch.setattr(kind, name, instead)
    with pytest.raises(AssertionError):
        hold(db, district, tmp_path)
