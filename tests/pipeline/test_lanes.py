"""The lanes of a first load: they work at once, and end together, however that is."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import polars as pl
import pytest
from psycopg.errors import NotNullViolation

from pipeline import loads
from pipeline.claims import Claim, Watch
from pipeline.database import connect
from pipeline.lanes import DOUBLED, LANES, Lanes, Rows, ordered
from schemas.columns import Key, Ref
from schemas.roster.orgs import Org
from schemas.roster.teaching import Enrollment

if TYPE_CHECKING:
    from tests.pipeline.conftest import District

MANY = 40
MOST = 10_000  # nobody takes so many


def schools(*keys: str, name: str | None = "x") -> Rows:
    """Digested rows as the reader hands them on."""
    columns = [column.name for column in Org.stored()]
    rows = [
        {
            "line": number,
            **dict.fromkeys(columns),
            "sourced_id": key,
            "name": name,
            "type": "school",
            "status": "active",
            "metadata": None,
            "digest": UUID(int=number).bytes,
        }
        for number, key in enumerate(keys, start=2)
    ]
    texts = dict.fromkeys([*columns, "metadata"], pl.String)
    schema = {"line": pl.Int64, **texts, "digest": pl.Binary}
    return Org, pl.DataFrame(rows, schema=schema)


@contextmanager
def opened(district: "District") -> Iterator[Lanes]:
    """Lanes of an open load."""
    claim = Claim(district.tenant_id, uuid4(), 1, 1)
    with connect(district.hub.url) as db:
        token = loads.begin(db, claim)
        assert token is not None
        with Lanes(db, claim, token, Watch().check) as lanes:
            yield lanes


def stored(district: "District") -> set[str]:
    return {row["sourced_id"] for row in district.rows("orgs")}


def lanes_at_work() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "lane"]


def test_all_rows_come_in_by_several_transactions(district: "District") -> None:
    keys = [f"s{number}" for number in range(MANY)]
    with opened(district) as lanes:
        created = lanes.load(schools(key) for key in keys)
    assert created == {"orgs": MANY}
    assert stored(district) == {*keys}
    writers = {xmin for _, xmin in district.writes()["orgs"]}
    assert len(writers) == LANES, "all of it was one transaction"


@pytest.mark.parametrize(
    ("faulty", "error"),
    [(schools("s0"), DOUBLED), (schools("new", name=None), NotNullViolation)],
    ids=["a key that stands twice", "a value that is missing"],
)
def test_what_one_lane_meets_ends_all_of_them(
    district: "District", faulty: Rows, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    def batches() -> Iterator[Rows]:
        yield schools("s0")
        yield schools("s1")
        yield faulty
        for number in range(MOST):
            taken.append(number)
            time.sleep(0.001)
            yield schools(f"t{number}")

    taken: list[int] = []
    with pytest.raises(error), opened(district) as lanes:
        lanes.load(batches())
    assert len(taken) < MOST
    assert lanes_at_work() == []


def test_what_the_reader_meets_takes_everything_back(district: "District") -> None:
    def batches() -> Iterator[Rows]:
        for number in range(MANY):
            yield schools(f"s{number}")
        raise EOFError

    with pytest.raises(EOFError), opened(district) as lanes:
        lanes.load(batches())
    assert stored(district) == set()
    assert lanes_at_work() == []


class TestOrder:
    def test_a_file_that_goes_on_person_by_person_keeps_its_order(self) -> None:
        assert self.ordered(users=["b"] * 4 + ["a"] * 4) == [*"hgfedcba"]

    def test_any_other_is_sorted_by_key(self) -> None:
        assert self.ordered(users=[*"abababab"]) == [*"abcdefgh"]

    def ordered(self, users: list[str]) -> list[str]:
        names = [c.name for c in Enrollment.stored() if isinstance(c, Ref)]
        rows = pl.DataFrame(
            {
                "sourced_id": [*"hgfedcba"],
                **{name: [*"stuvwxyz"] for name in names},
                Enrollment.user_sourced_id.name: users,
            }
        )
        assert isinstance(Enrollment.sourced_id, Key)
        return ordered(Enrollment, rows)["sourced_id"].to_list()
