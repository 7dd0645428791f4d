"""Filters against a slow reader in Python, which looks at the JSON that everybody gets."""

import re
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.rosters.filters import Clause
from api.rosters.operations import COLLECTIONS, Operation
from schemas.roster import AnyEntity
from tests.api.rosters.conftest import Json, Town
from tests.api.rosters.slow_reader import (
    PLAIN_LISTS,
    PREDICATES,
    expected,
    paths_of,
    values_at,
    written,
)

ODD = ("", "x", "'", "2026-05-01", "true", "7", "ext:captain", "A,b", "org", "%", "\\", "user")
MILLISECOND = timedelta(milliseconds=1)


def nearby(draw: st.DrawFn, value: str) -> str:
    """The value, or one beside it."""
    match draw(st.integers(0, 6)):
        case 0:
            return value.swapcase()
        case 1:
            return value[: len(value) // 2]
        case 2:
            return value[1:]
        case 3 if re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", value):
            step = draw(st.sampled_from([-1, 1])) * MILLISECOND
            return (datetime.fromisoformat(value) + step).isoformat()
        case 4 if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            return f"{value}T00:00:00.{draw(st.sampled_from(['000', '001']))}Z"
        case _:
            return value


@st.composite
def clauses(draw: st.DrawFn, entity: AnyEntity, records: list[Json]) -> Clause:
    path = draw(st.sampled_from(paths_of(entity)))
    there = sorted({str(value) for record in records for value in values_at(record, path)})
    if path in PLAIN_LISTS:
        there = sorted({",".join(record.get(path, [])) for record in records})
    value = draw(st.sampled_from(ODD if not there or draw(st.integers(0, 7)) == 0 else there))
    return Clause(path, draw(st.sampled_from(PREDICATES)), nearby(draw, value))


@settings(max_examples=250, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    data=st.data(),
    operation=st.sampled_from(COLLECTIONS),
    moment=st.sampled_from([{}, {"asOf": 1}]),
)
def test_a_filter_answers_what_a_slow_reader_answers(
    town: Town, data: st.DataObject, operation: Operation, moment: dict[str, int]
) -> None:
    records = everything(town, operation.path, moment)
    clause = clauses(operation.entity, records)
    groups = data.draw(st.lists(st.lists(clause, min_size=1, max_size=2), min_size=1, max_size=2))
    right = expected(operation.entity, records, groups)
    answer = town.get(operation.path, filter=written(groups), limit=1000, **moment)
    if right is None:
        assert answer.status_code == 400, answer.text
        assert "invalid_filter_field" in answer.text
        return
    assert answer.status_code == 200, answer.text
    assert [record["sourcedId"] for record in answer.json[operation.key]] == right
    assert answer.headers["X-Total-Count"] == str(len(right))


KEPT: dict[tuple[object, ...], list[Json]] = {}


def everything(town: Town, path: str, moment: dict[str, int]) -> list[Json]:
    """A collection as it is read without a filter, asked for once."""
    place = (id(town), path, *moment)
    if place not in KEPT:
        KEPT[place] = town.records(path, **moment)
    return KEPT[place]


@pytest.mark.parametrize("operation", COLLECTIONS, ids=lambda operation: operation.path)
def test_every_property_is_filtered_by_its_own_values(town: Town, operation: Operation) -> None:
    records = everything(town, operation.path, {})
    for path in paths_of(operation.entity):
        if path in PLAIN_LISTS:
            values = {",".join(reversed(record.get(path, ["none"]))) for record in records}
        else:
            values = {str(value) for record in records for value in values_at(record, path)}
        for value in sorted(values)[:1]:
            groups = [[Clause(path, "=", value)]]
            found = town.ids(operation.path, filter=written(groups))
            assert found == expected(operation.entity, records, groups)


def test_what_was_learned_of_one_entity_does_not_stand_for_another(town: Town) -> None:
    """The last test of the module: the first reader still believes in the keys."""
    town.books.rows(town.district.tenant_id, "delete from sort_keys returning value")
    get = town.mounted("/ims/fresh")
    for operation in COLLECTIONS:
        groups = [[Clause("metadata.vendor", ">", "a")]]
        answer = get(operation.path, filter=written(groups), limit=1000)
        right = expected(operation.entity, everything(town, operation.path, {}), groups)
        assert [record["sourcedId"] for record in answer.json[operation.key]] == right
