"""The header row: every defined column, in order, and what may stand to its right."""

from time import perf_counter

import pytest

from pipeline.header import check, layout, spelling, split
from pipeline.limits import Limits
from schemas.profiles import JP_1_2_1, K12_1_0, PROFILES, V1_2, V1_2_1, Profile
from schemas.roster import BINDING, AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.people import User
from schemas.roster.teaching import Enrollment

ORGS = V1_2_1.header(Org)


def found(header: tuple[str, ...], entity: AnyEntity = Org) -> list[tuple[str, str | None]]:
    findings = [*check(entity, header, Limits())]
    assert all(f.line == 1 and f.file == f"{entity.file}.csv" for f in findings)
    return [(finding.rule.id, finding.column) for finding in findings]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("entity", BINDING, ids=lambda e: e.file)
def test_every_header_of_a_profile_is_right(profile: Profile, entity: AnyEntity) -> None:
    header = profile.header(entity)
    assert found(header, entity) == []
    assert [*spelling(entity, header, profile)] == []
    shape = layout(entity, header)
    assert shape.columns == profile.columns(entity)
    assert shape.names == tuple(column.name for column in shape.columns)
    assert shape.unknown == ()


@pytest.mark.parametrize("at", range(len(ORGS)))
def test_a_missing_column_is_named(at: int) -> None:
    assert found(ORGS[:at] + ORGS[at + 1 :]) == [("header.missing", ORGS[at])]


def test_a_misspelt_column_is_unknown_and_the_right_one_missing() -> None:
    header = tuple(name.replace("identifier", "identifer") for name in ORGS)
    assert found(header) == [("header.unknown", "identifer"), ("header.missing", "identifier")]


def test_the_case_of_a_defined_column_counts() -> None:
    header = tuple(name.replace("sourcedId", "sourcedid", 1) for name in ORGS)
    assert ("header.missing", "sourcedId") in found(header)


def test_columns_in_another_order_are_named_with_both_places() -> None:
    header = (*ORGS[:3], ORGS[4], ORGS[3], *ORGS[5:])
    findings = [*check(Org, header, Limits())]
    assert [(f.rule.id, f.column, dict(f.facts)) for f in findings] == [
        ("header.order", "name", {"found": 5, "expected": 4}),
        ("header.order", "type", {"found": 4, "expected": 5}),
    ]


def test_an_extension_between_the_defined_columns_is_out_of_place() -> None:
    header = (*ORGS[:3], "metadata.x", *ORGS[3:])
    assert found(header) == [("header.order", name) for name in ORGS[3:]]


@pytest.mark.parametrize("name", ["schoolCode", "ext_x", "Metadata.x", "metadata", "", " "])
def test_a_column_that_is_neither_defined_nor_metadata_is_unknown(name: str) -> None:
    assert found((*ORGS, name)) == [("header.unknown", name)]


def test_a_column_named_twice_is_a_duplicate() -> None:
    assert found((*ORGS, "name")) == [("header.duplicate", "name")]
    assert found((*ORGS, "metadata.x", "metadata.x")) == [("header.duplicate", "metadata.x")]


def test_two_spellings_of_one_extension_are_a_duplicate() -> None:
    header = (*K12_1_0.header(Enrollment), "metadata.jp.ShussekiNo")
    assert found(header, Enrollment) == [("header.duplicate", "metadata.jp.ShussekiNo")]


def test_another_separator_misses_every_column() -> None:
    rules = found((";".join(ORGS),))
    assert [rule for rule, _ in rules] == ["header.unknown", *["header.missing"] * len(ORGS)]


def test_more_columns_than_the_limit_are_not_looked_at() -> None:
    start = perf_counter()
    header = (*ORGS, *(f"metadata.{n}" for n in range(100_000)))
    assert found(header) == [("header.columns", None)]
    assert found((*ORGS, *(f"metadata.{n}" for n in range(193)))) == []
    assert perf_counter() - start < 1


def test_unknown_metadata_is_kept_under_its_own_name() -> None:
    shape = layout(Org, (*ORGS, "metadata.colour", "metadata.Colour"))
    assert shape.unknown == ("metadata.colour", "metadata.Colour")
    assert shape.names[-2:] == ("metadata.colour", "metadata.Colour")


def test_an_extension_of_another_file_is_unknown_metadata_here() -> None:
    assert layout(Org, (*ORGS, "metadata.jp.homeClass")).unknown == ("metadata.jp.homeClass",)


@pytest.mark.parametrize("name", ["metadata.jp.ShussekiNo", "metadata.JP.SHUSSEKINO"])
def test_a_known_extension_is_read_in_any_case_and_the_spelling_is_remarked(name: str) -> None:
    header = (*V1_2_1.header(Enrollment), name)
    assert found(header, Enrollment) == []
    assert layout(Enrollment, header).columns[-1] == Enrollment.shusseki_no
    (remark,) = spelling(Enrollment, header, K12_1_0)
    assert (remark.rule.severity, remark.column) == ("info", name)
    assert remark.facts == {"expected": "metadata.jp.shussekiNo"}
    remarks = [*spelling(Enrollment, header, JP_1_2_1)]
    assert len(remarks) == (name != "metadata.jp.ShussekiNo")


def test_extensions_may_stand_in_any_order() -> None:
    header = (*V1_2_1.header(Enrollment), "metadata.z", "metadata.jp.publicFlg", "metadata.a")
    assert found(header, Enrollment) == []
    shape = layout(Enrollment, header)
    assert shape.names[-3:] == ("metadata.z", "public_flg", "metadata.a")


def test_the_resources_of_1_2_are_read_where_1_2_has_them() -> None:
    assert found(V1_2.header(User), User) == []
    header = (*V1_2_1.header(User), "resourceSourcedIds")
    assert ("header.order", "resourceSourcedIds") in found(header, User)


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("a,b", ("a", "b")),
        ('"a","b"', ("a", "b")),
        ('"a,b",c', ("a,b", "c")),
        ("", ()),
        ('"a', ()),
        ('"a"b,c', ()),
    ],
)
def test_a_header_row_is_split_as_csv_or_not_at_all(text: str, cells: tuple[str, ...]) -> None:
    assert split(text) == cells


def test_a_long_name_is_cut_where_it_is_told() -> None:
    ((_, column),) = found((*ORGS, "x" * 5000))
    assert column == "x" * 200
