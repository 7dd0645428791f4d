"""What is noted of a first load's rows: only what holds of all of them is taken for proven."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import polars as pl
import pytest

from pipeline.records.checks import CHECKS, KINDS, Single
from pipeline.records.proving import CELLS, Proving, Types, marks_together
from pipeline.records.sieve import Sieve
from pipeline.records.state import SOUGHT, Loose
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment


def frame(entity: AnyEntity, *rows: Mapping[str, str | None]) -> pl.DataFrame:
    """Typed rows, blank where nothing is said."""
    names = [column.name for column in entity.stored()]
    blank = dict.fromkeys(names) | {"status": "active"}
    return pl.DataFrame([{**blank, **row} for row in rows], schema=dict.fromkeys(names, pl.String))


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


SINGLES = [check.proof for check in CHECKS if isinstance(check.proof, Single)]


def of_single(single: Single) -> tuple[AnyEntity, str, dict[str, str | None]]:
    """The file and the column that it speaks of, and what its rows say."""
    rows, (column,) = single.cells.rows, single.cells.columns
    return rows.entity, column.name, {where.name: words[0] for where, words in rows.where}


@pytest.mark.parametrize("single", SINGLES, ids=lambda each: each.cells.columns[0].name)
def test_a_value_that_stands_twice_is_left_to_the_rules(single: Single) -> None:
    """Twice among the rows that count: beside others, and blank, it may stand at will."""
    entity, column, meant = of_single(single)
    once: list[dict[str, str | None]] = [
        {column: "a", **meant},
        {column: "b", **meant},
        {column: None, **meant},
        {column: None, **meant},
        {column: "a", **meant, "status": "tobedeleted"},
    ]
    if meant:
        once.append({column: "a", **dict.fromkeys(meant, "other")})
    assert single in seen((entity, once)).proven
    assert single not in seen((entity, [*once, {column: "b", **meant}])).proven


@pytest.mark.parametrize("single", SINGLES, ids=lambda each: each.cells.columns[0].name)
def test_of_too_many_values_none_is_remembered(
    single: Single, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity, column, meant = of_single(single)
    once: list[dict[str, str | None]] = [{column: "a", **meant}, {column: "b", **meant}]
    assert single in seen((entity, once)).proven
    monkeypatch.setattr("pipeline.records.proving.MOST", 1)
    assert single not in seen((entity, once)).proven


# --- What is proven, and what the rules find -----------------------------------------------

Roster: TypeAlias = Mapping[AnyEntity, Sequence[Mapping[str, str | None]]]
Change: TypeAlias = tuple[AnyEntity, int, dict[str, str | None]]
DECLARED = {check.rule.id: check for check in CHECKS if check.proof}
YEAR = {"begin_date": "2026-04-01", "end_date": "2027-03-31"}
SCHOOLS: Roster = {
    Org: [
        {"sourced_id": "north", "type": "school"},
        {"sourced_id": "south", "type": "school"},
    ],
    AcademicSession: [
        {"sourced_id": "spring", "start_date": "2026-04-01", "end_date": "2026-10-01"},
        {"sourced_id": "autumn", "start_date": "2026-10-01", "end_date": "2027-04-01"},
    ],
    Class: [
        {"sourced_id": "1a", "class_type": "homeroom", "term_sourced_ids": '{"spring","autumn"}'},
        {"sourced_id": "2a", "class_type": "homeroom", "term_sourced_ids": '{"autumn","spring"}'},
        {"sourced_id": "art", "class_type": "scheduled", "term_sourced_ids": '{"spring","autumn"}'},
    ],
    User: [
        {"sourced_id": "aoi", "grades": '{"P1"}', "home_class": "1a", "username": "aoi"}
        | {"user_master_identifier": "1", "primary_org_sourced_id": "north"},
        {"sourced_id": "ren", "grades": '{"P2"}', "home_class": "2a", "username": "ren"}
        | {"user_master_identifier": "2", "primary_org_sourced_id": "south"},
        {"sourced_id": "mori", "username": "mori", "primary_org_sourced_id": "north"},
        {"sourced_id": "sato", "username": "sato"},
    ],
    UserProfile: [
        {"sourced_id": "of aoi", "user_sourced_id": "aoi"},
        {"sourced_id": "of ren", "user_sourced_id": "ren"},
    ],
    Role: [
        {"user_sourced_id": "aoi", "role": "student", "role_type": "primary"}
        | {"org_sourced_id": "north", "user_profile_sourced_id": "of aoi"},
        {"user_sourced_id": "ren", "role": "student", "role_type": "primary"}
        | {"org_sourced_id": "south", "user_profile_sourced_id": "of ren"},
        {"user_sourced_id": "mori", "role": "teacher", "role_type": "primary"}
        | {"org_sourced_id": "north"},
        {"user_sourced_id": "mori", "role": "principal", "role_type": "secondary"}
        | {"org_sourced_id": "north"},
        {"user_sourced_id": "sato", "role": "guardian", "role_type": "primary"}
        | {"org_sourced_id": "south"},
        {"user_sourced_id": "ren", "role": "aide", "role_type": "secondary"}
        | {"org_sourced_id": "north"},
    ],
    Enrollment: [
        {"user_sourced_id": "aoi", "class_sourced_id": "1a", "role": "student"} | YEAR,
        {"user_sourced_id": "aoi", "class_sourced_id": "art", "role": "student"} | YEAR,
        {"user_sourced_id": "ren", "class_sourced_id": "2a", "role": "student"}
        | {"begin_date": "2026-11-01", "end_date": "2027-03-31"},
        {"user_sourced_id": "mori", "class_sourced_id": "1a", "role": "teacher", "primary": "true"},
        {"user_sourced_id": "sato", "class_sourced_id": "art", "role": "teacher"},
    ],
}
WRONG: dict[str, list[Change]] = {
    "reference.other_user": [(Role, 0, {"user_profile_sourced_id": "of ren"})],
    "record.user_without_role": [
        (Role, 4, {"user_sourced_id": "mori", "role_type": "secondary"}),
        (Role, 4, {"status": "tobedeleted"}),
    ],
    "record.primary_org_without_role": [
        (User, 0, {"primary_org_sourced_id": "south"}),  # where others have a role
        (Role, 0, {"org_sourced_id": "south"}),
    ],
    "record.primary_role": [(Role, 3, {"role_type": "primary"})],
    "record.primary_teacher": [(Enrollment, 4, {"class_sourced_id": "1a", "primary": "true"})],
    "record.enrollment_outside_sessions": [
        (Enrollment, 0, {"begin_date": "2026-03-31"}),
        (Enrollment, 1, {"begin_date": "2027-04-02", "end_date": None}),
        (Enrollment, 2, {"begin_date": None, "end_date": "2026-03-31"}),
        (Class, 0, {"term_sourced_ids": '{"autumn"}'}),
        (Class, 1, {"term_sourced_ids": '{"spring"}'}),
        (Class, 2, {"term_sourced_ids": '{"autumn"}'}),
        (AcademicSession, 0, {"start_date": "2026-04-02"}),
    ],
    "record.student_without_grades": [
        (User, 0, {"grades": None}),
        (Role, 4, {"role": "student"}),  # of a second one, whose grades are blank
    ],
    "record.secondary_without_primary": [(Role, 1, {"role_type": "secondary"})],
    "record.admin_without_teacher": [
        (Role, 5, {"role": "districtAdministrator"}),
        (Role, 2, {"role": "parent"}),
    ],
    "record.master_identifier_twice": [(User, 1, {"user_master_identifier": "1"})],
    "record.username_twice": [(User, 1, {"username": "aoi"})],
    "record.home_class_without_enrollment": [
        (User, 0, {"home_class": "2a"}),  # where another one is at home
        (Enrollment, 0, {"status": "tobedeleted"}),
        (Enrollment, 0, {"user_sourced_id": "ren"}),
    ],
    "record.student_without_homeroom": [
        (Enrollment, 0, {"class_sourced_id": "art"}),
        (Class, 0, {"class_type": "scheduled"}),
        (Enrollment, 0, {"user_sourced_id": "sato"}),
    ],
}


def changed(roster: Roster, change: Change) -> Roster:
    """With other cells in a row."""
    entity, number, cells = change
    rows = [{**row, **(cells if n == number else {})} for n, row in enumerate(roster[entity])]
    return {**roster, entity: rows}


def framed(roster: Roster) -> list[tuple[AnyEntity, pl.DataFrame]]:
    """The typed rows of each file; who has no sourcedId in the story gets one."""
    return [
        (entity, frame(entity, *({"sourced_id": f"{n}", **row} for n, row in enumerate(rows))))
        for entity, rows in roster.items()
    ]


def sieved(roster: Roster) -> Sieve:
    """What was seen of it, where each file comes in two pieces."""
    sieve = Sieve()
    for entity, rows in framed(roster):
        for piece in (rows[:1], rows[1:]):
            sieve.add(entity, piece)
        sieve.settle(entity)
    return sieve


def proven(roster: Roster) -> set[str]:
    """The rules that need not be asked."""
    shown = sieved(roster).proven
    return {rule for rule, check in DECLARED.items() if check.proof in shown}


def broken(roster: Roster) -> set[str]:
    """The rules among those with a proof that are broken."""
    state = Loose(Path(":memory:"))
    for entity, rows in framed(roster):
        state.fill(entity, rows.with_row_index("line", 2))
    found = {
        rule
        for rule, check in DECLARED.items()
        if state.rows(state.compose(check, "select line from found"))
    }
    state.close()
    return found


def test_of_a_clean_package_all_is_proven_that_can_be() -> None:
    """And nothing is broken."""
    assert proven(SCHOOLS) == set(DECLARED)
    assert not broken(SCHOOLS)


CHANGES = [(rule, change) for rule, changes in WRONG.items() for change in changes]


PLACES = [f"{rule} {entity.file} {row} {cells}" for rule, (entity, row, cells) in CHANGES]


@pytest.mark.parametrize(("rule", "change"), CHANGES, ids=PLACES)
def test_what_is_broken_is_not_proven(rule: str, change: Change) -> None:
    """In whichever of the files that a rule speaks of the fault is."""
    roster = changed(SCHOOLS, change)
    assert rule in broken(roster)
    assert not proven(roster) & broken(roster)


def test_every_proof_is_tried() -> None:
    """With a package that breaks its rule."""
    assert set(WRONG) == set(DECLARED)


@pytest.mark.parametrize("entity", SCHOOLS, ids=lambda entity: entity.file)
def test_whatever_is_changed_what_is_proven_is_not_broken(entity: AnyEntity) -> None:
    """Each cell in turn is blank, or what the next row has there, and each record goes."""
    rows, required = SCHOOLS[entity], {column.name for column in entity.columns if column.required}
    said = dict.fromkeys(name for row in rows for name in row if name != "sourced_id")
    for number, row in enumerate(rows):
        after = {**said, **rows[(number + 1) % len(rows)]}
        cells = [(name, after[name]) for name in said]
        cells += [(name, None) for name in said if name not in required]  # or nothing comes in
        for name, value in {*cells, ("status", "tobedeleted")} - {*row.items()}:
            roster = changed(SCHOOLS, (entity, number, {name: value}))
            assert not proven(roster) & broken(roster), (row, name, value)


def test_without_a_file_what_is_proven_is_not_broken() -> None:
    """What never came is never over."""
    for file in SCHOOLS:
        roster = {entity: rows for entity, rows in SCHOOLS.items() if entity is not file}
        assert not proven(roster) & broken(roster), file


def test_what_is_too_much_to_remember_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for all of it everything is; what is remembered of one file alone shows nothing."""
    for most in range(len(SCHOOLS[Role]) + 1):
        room(monkeypatch, most)
        assert (proven(SCHOOLS) == set(DECLARED)) == (most == len(SCHOOLS[Role]))
    for most in (0, 2):
        room(monkeypatch, most)
        for rule, change in CHANGES:
            assert rule not in proven(changed(SCHOOLS, change))


def room(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """So many cells are remembered of each kind."""
    for where in ("proving", "spans"):
        monkeypatch.setattr(f"pipeline.records.{where}.MOST", most)


@pytest.mark.parametrize("most", [3, 250_000])
def test_what_no_open_proof_needs_is_forgotten(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last file all of it, and at once what was too much."""
    room(monkeypatch, most)
    proving = Proving(Types())
    for entity, rows in framed(SCHOOLS):
        proving.add(entity, rows)
        assert all(proving.remembered(cells) <= most for cells in CELLS)
        proving.settle(entity)
    assert not any(map(proving.remembered, CELLS))


def test_cells_stand_for_themselves_together_and_in_their_order() -> None:
    """Neither the sum of two, nor the two the other way round."""
    rows = [("a", "b"), ("b", "a"), ("a", "a"), ("b", "b"), ("ab", ""), ("", "ab"), ("a", "c")]
    together = marks_together(pl.DataFrame([*rows, *rows], schema=["one", "two"], orient="row"))
    assert together.n_unique() == len(rows)
    assert together[: len(rows)].equals(together[len(rows) :])


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


def test_it_is_enough_if_all_is_proven_that_can_be() -> None:
    """Not, if a single proof fails, or a kind."""
    assert sieved({**SCHOOLS, Course: []}).enough
    elsewhere: Change = (User, 0, {"home_class": "art"})
    for change in (elsewhere, *(change for _, change in CHANGES)):
        assert not sieved(changed({**SCHOOLS, Course: []}, change)).enough
    assert not sieved(SCHOOLS).enough


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
