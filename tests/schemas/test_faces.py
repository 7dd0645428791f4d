"""How each kind of value looks."""

from datetime import UTC, datetime
from decimal import Decimal as Number
from typing import Any

import pytest

from schemas.columns import AnyColumn, Choice, Choices, Decimal, Flag, Instant, Pairs, Text, Year
from schemas.rest.faces import face
from schemas.rest.records import nested


@pytest.mark.parametrize(
    ("column", "value", "json"),
    [
        (Text(), "太郎", "太郎"),
        (Year(), "2026", "2026"),
        (Flag(), False, "false"),
        (Choice(words=("a",)), "b", "b"),
        (Choice(words=("a",), extensible=True), "a", "a"),
        (Choice(words=("a",), extensible=True), "b", "ext:b"),
        (Choice(words=("a",), extensible=True), "ext:b", "ext:b"),
        (Choices(words=("a",), extensible=True), ["a", "b"], ["a", "ext:b"]),
        (Decimal(), Number("87.5"), 87.5),
        (Decimal(), Number(100), 100),
        (Instant(), datetime(2026, 4, 1, 9, tzinfo=UTC), "2026-04-01T09:00:00.000Z"),
        (Pairs(left="l", right="r"), ["{a:b:c}"], [{"l": "a", "r": "b:c"}]),
    ],
)
def test_a_value_looks_as_its_kind_says(column: AnyColumn, value: object, json: object) -> None:
    assert face(column, "https://hub")(value) == json


@pytest.mark.parametrize(
    ("flat", "tree"),
    [
        ({"a.b": "1", "a.c": "2"}, {"a": {"b": "1", "c": "2"}}),
        ({"a.b": "1", "a": "2"}, {"a": "2", "a.b": "1"}),
        ({"a.b.c": "1", "a.b": "2"}, {"a": {"b": "2"}, "a.b.c": "1"}),
        ({"": "1", "a.": "2"}, {"": "1", "a": {"": "2"}}),
        ({}, {}),
    ],
)
def test_metadata_nests_at_dots_and_keeps_what_collides(
    flat: dict[str, str], tree: dict[str, Any]
) -> None:
    assert nested(flat) == tree
