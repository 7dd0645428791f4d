"""Lenient imports: what is put right is counted exactly, also where most lines are known."""

import json

import pytest

from tests.pipeline.conftest import District, Package

LENIENT = {"reading": {"profile": "1.2.1", "lenient": True}}


@pytest.fixture
def lenient(district: District) -> District:
    """A district that lets pass what may pass."""
    return chosen(district, LENIENT)


def chosen(district: District, policy: object) -> District:
    district.hub.admin.execute(
        "update districts set policy = %s where tenant_id = %s",
        [json.dumps(policy), district.tenant_id],
    )
    return district


def told(done: object) -> dict[tuple[str, str], object]:
    """How often each repair was made in each file."""
    findings = getattr(done, "findings")  # noqa: B009  # a Push
    return {
        (found.file, found.rule.removeprefix("repair.")): found.facts["count"]
        for found in findings
        if found.rule.startswith("repair.")
    }


def test_what_is_put_right_is_the_same_roster(
    lenient: District, other: District, town: Package
) -> None:
    strict = other.push(town)
    half = {"metadata.jp.kanaGivenName": "ﾀﾛｳ", "status": "active", "enabledUser": "TRUE"}
    kana = town.change("users", "taro", half).change("users", "father", {"grades": "NULL"})
    done = lenient.push(
        kana.change("orgs", "north", {"name": "北小学校 ", "parentSourcedId": " board"})
    )
    assert (done.state, strict.state) == ("applied", "applied")
    assert lenient.roster() == other.roster()
    assert told(done) == {
        ("orgs.csv", "trailing_blanks"): 2,
        ("users.csv", "half_width_kana"): 1,
        ("users.csv", "status_in_bulk"): 1,
        ("users.csv", "boolean_case"): 1,
        ("users.csv", "null_text"): 1,
    }


def test_strict_reading_refuses_the_same(district: District, town: Package) -> None:
    done = district.push(town.change("users", "taro", {"enabledUser": "TRUE"}))
    assert (done.state, done.rules) == ("rejected", {"value.boolean"})


def test_a_line_that_was_put_right_is_counted_again_though_the_others_are_known(
    lenient: District, town: Package
) -> None:
    rows = tuple({"sourcedId": f"o{n}", "name": f"学校{n}", "type": "school"} for n in range(60))
    package = town.put("orgs", *rows).change("orgs", "o7", {"identifier": "NULL"})
    package = package.change("orgs", "o9", {"identifier": "NULL", "parentSourcedId": "null"})
    for _ in range(3):
        done = lenient.push(package)
        assert told(done) == {("orgs.csv", "null_text"): 3}
    assert done.counts["orgs"]["unchanged"] == done.counts["orgs"]["rows"] == 63
    done = lenient.push(package.change("orgs", "o7", {"identifier": ""}))
    assert told(done) == {("orgs.csv", "null_text"): 2}
    assert done.counts["orgs"]["unchanged"] == 63


def test_a_file_in_cp932_is_imported_where_the_policy_names_it(
    district: District, other: District, town: Package
) -> None:
    chosen(district, {"reading": {"profile": "1.2.1", "lenient": True, "repairs": ["cp932"]}})
    data = town.text("users").encode("cp932")
    done = district.push(town.zip(users=data))
    other.has(town)
    assert (done.state, told(done)) == ("applied", {("users.csv", "cp932"): 5})
    assert district.roster() == other.roster()
    again = district.push(town.zip(users=data))
    assert told(again) == {("users.csv", "cp932"): 5}
    assert again.counts["users"]["unchanged"] == 5
    assert other.push(town.zip(users=data)).rules >= {"csv.encoding"}


def test_the_chosen_profile_is_the_one_that_the_run_remembers(
    district: District, town: Package
) -> None:
    chosen(district, {"reading": {"profile": "1.2"}})
    done = district.push(town)
    assert (done.state, done.run["profile"]) == ("applied", "1.2")
    assert done.rules == {"header.lacks_of_profile"}


def test_null_at_the_top_is_no_value_in_japan_whatever_the_policy(
    district: District, other: District, town: Package
) -> None:
    top = town.change("orgs", "board", {"parentSourcedId": "NULL"})
    for year in ("y2026", "y2027"):
        top = top.change("academicSessions", year, {"parentSourcedId": "NULL"})
    done = district.push(top)
    assert (done.state, told(done)) == (
        "applied",
        {("orgs.csv", "null_text"): 1, ("academicSessions.csv", "null_text"): 2},
    )
    other.has(town)
    assert district.roster() == other.roster()
    elsewhere = other.push(town.change("users", "taro", {"primaryOrgSourcedId": "NULL"}))
    assert elsewhere.rules >= {"reference.missing"}
    assert other.push(top.bare()).rules == {"reference.missing"}
