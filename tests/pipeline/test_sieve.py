"""What is noted of a first load's rows: only what holds of all of them is taken for proven."""

import re
from pathlib import Path

import polars as pl
import pytest

from pipeline.records.checks import CHECKS, KINDS, Single
from pipeline.records.sieve import Sieve
from pipeline.records.state import SOUGHT, Loose
from schemas.roster import AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.people import Role, User
from schemas.roster.teaching import Class, Enrollment


def frame(entity: AnyEntity, *rows: dict[str, str | None]) -> pl.DataFrame:
    """Typed rows, blank where nothing is said."""
    names = [column.name for column in entity.stored()]
    blank = dict.fromkeys(names) | {"status": "active"}
    return pl.DataFrame([blank | row for row in rows], schema=dict.fromkeys(names, pl.String))


def seen(*files: tuple[AnyEntity, list[dict[str, str | None]]]) -> Sieve:
    """A sieve that the files went through, row by row, as if each came with another piece."""
    sieve = Sieve()
    for entity, rows in files:
        for row in rows:
            sieve.add(entity, frame(entity, row))
        sieve.settle(entity)
    return sieve


ORGS: list[dict[str, str | None]] = [
    {"sourced_id": "north", "type": "school"},
    {"sourced_id": "all", "type": "district"},
    {"sourced_id": "own", "type": "ext:academy"},
    {"sourced_id": "gone", "type": "school", "status": "tobedeleted"},
]


def kinds_of(sieve: Sieve, entity: AnyEntity) -> set[str]:
    """The columns of which it is proven that they name records of the right type."""
    return {kind.column.name for kind in KINDS if kind in sieve.proven and kind.entity is entity}


def test_classes_of_schools_need_no_look() -> None:
    """All that is named is of the type that is wanted."""
    sieve = seen((Org, ORGS), (Class, [{"school_sourced_id": "north"}] * 2))
    assert kinds_of(sieve, Class) == {"school_sourced_id"}


@pytest.mark.parametrize("other", ["all", "own", "gone", "nowhere"])
def test_whatever_else_is_named_is_left_to_the_rules(other: str) -> None:
    """Also a type of one's own, which only some profiles allow, and what is not there."""
    rows: list[dict[str, str | None]] = [{"school_sourced_id": who} for who in ("north", other)]
    assert kinds_of(seen((Org, ORGS), (Class, rows)), Class) == set()
    assert kinds_of(seen((Org, ORGS), (Class, rows[::-1])), Class) == set()


def test_a_file_that_points_at_itself_is_left_to_the_rules() -> None:
    """What it names may come later."""
    assert kinds_of(seen((Org, [*ORGS, {"parent_sourced_id": "all"}])), Org) == set()


SINGLES = [check.single for check in CHECKS if check.single]


@pytest.mark.parametrize("single", SINGLES, ids=lambda each: each.column.name)
def test_a_value_that_stands_twice_is_left_to_the_rules(single: Single) -> None:
    """Twice among the rows that count: beside others, and blank, it may stand at will."""
    column, meant = single.column.name, dict(single.where)
    once: list[dict[str, str | None]] = [
        {column: "a", **meant},
        {column: "b", **meant},
        {column: None, **meant},
        {column: None, **meant},
        {column: "a", **meant, "status": "tobedeleted"},
    ]
    if meant:
        once.append({column: "a", **dict.fromkeys(meant, "other")})
    assert single in seen((single.entity, once)).proven
    assert single not in seen((single.entity, [*once, {column: "b", **meant}])).proven


@pytest.mark.parametrize("single", SINGLES, ids=lambda each: each.column.name)
def test_of_too_many_values_none_is_remembered(
    single: Single, monkeypatch: pytest.MonkeyPatch
) -> None:
    column, meant = single.column.name, dict(single.where)
    once: list[dict[str, str | None]] = [{column: "a", **meant}, {column: "b", **meant}]
    assert single in seen((single.entity, once)).proven
    monkeypatch.setattr("pipeline.records.sieve.MOST", 1)
    assert single not in seen((single.entity, once)).proven


def test_the_days_between_which_all_rows_lie() -> None:
    """Of all pieces together; null where no row has a day."""
    rows: list[dict[str, str | None]] = [
        {"begin_date": "2026-04-01"},
        {"begin_date": None},
        {"begin_date": "2025-04-01"},
        {"begin_date": "2030-01-01", "status": "tobedeleted"},
    ]
    extents = seen((Enrollment, rows)).extents["enrollments"]
    assert extents["begin_date"] == ("2025-04-01", "2026-04-01")
    assert extents["end_date"] == (None, None)


def test_what_was_not_there_is_not_proven() -> None:
    """A file that did not come says nothing."""
    assert not Sieve().proven
    assert not Sieve().extents
    assert not seen((User, [])).proven & {kind for kind in KINDS if kind.entity is Role}


def test_few_rows_are_found_by_an_index() -> None:
    """Or a million of them would be looked through for each."""
    for check in CHECKS:
        for few in check.few.values():
            assert few.column in SOUGHT.get(few.entity.table, ("sourced_id",))


def test_between_which_days_rows_lie_is_looked_up_once(tmp_path: Path) -> None:
    """Not again for every class: that took minutes."""
    state = Loose(tmp_path / "records.sqlite")
    asked = [check for check in CHECKS if "extent_" in check.text]
    assert asked
    for check in asked:
        text = state.compose(check, "select * from found").as_string(None)
        assert re.search(r'"extent_\w+" as materialized', text)
    state.close()
