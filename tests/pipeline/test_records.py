"""Rules across records: found where they lie, offline, in a first load and in a later one."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from pipeline import checking
from pipeline.checking import Checked
from pipeline.limits import Limits
from pipeline.records.checks import CHECKS, KINDS
from pipeline.records.state import SOUGHT
from schemas.policy import Reading
from schemas.profiles import JP_1_2_1, K12_1_0, V1_2_1
from schemas.rules import Finding

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Hub, Package

Place: TypeAlias = tuple[str, int | None, str | None, str]
Change: TypeAlias = Callable[["Package"], "Package"]
BETWEEN = ("record.", "reference.")


def offline(package: "Package | bytes", folder: Path, reading: Reading | None = None) -> Checked:
    """What `rosterhub check` finds."""
    path = folder / "package.zip"
    path.write_bytes(package if isinstance(package, bytes) else package.zip())
    return checking.check(
        path, folder, Limits(), lambda _: None, reading=reading or Reading(), mappings={}
    )


def between(found: list[Finding]) -> list[Place]:
    return sorted(
        (
            (each.file, each.line, each.column, each.rule.id)
            for each in found
            if each.rule.id.startswith(BETWEEN)
        ),
        key=str,
    )


BOARD = {"type": "district", "parentSourcedId": ""}
HOME = "metadata.jp.homeClass"
BROKEN: dict[str, tuple[Change, list[Place]]] = {
    "the school of a class is a district": (
        lambda t: t.change("classes", "c1", {"schoolSourcedId": "board"}),
        [("classes.csv", 2, "schoolSourcedId", "reference.kind")],
    ),
    "the school of an enrollment is a district": (
        lambda t: t.change("enrollments", "e1", {"schoolSourcedId": "board"}),
        [("enrollments.csv", 2, "schoolSourcedId", "reference.kind")],
    ),
    "the school year of a course is a term": (
        lambda t: t.in_terms().change("courses", "hr", {"schoolYearSourcedId": "t1"}),
        [("courses.csv", 2, "schoolYearSourcedId", "reference.kind")],
    ),
    "the main org is a district, and without a role": (
        lambda t: t.change("users", "taro", {"primaryOrgSourcedId": "board"}),
        [
            ("users.csv", 2, "primaryOrgSourcedId", "record.primary_org_without_role"),
            ("users.csv", 2, "primaryOrgSourcedId", "reference.kind_by_profile"),
        ],
    ),
    "the parent of a school is a school": (
        lambda t: t.change("orgs", "south", {"parentSourcedId": "north"}),
        [("orgs.csv", 4, "parentSourcedId", "reference.kind_by_profile")],
    ),
    "the home class is a lesson": (
        lambda t: t.change("users", "taro", {HOME: "c3"}),
        [("users.csv", 2, HOME, "reference.kind_by_profile")],
    ),
    "orgs form a circle": (
        lambda t: t.bare().change("orgs", "board", {"parentSourcedId": "north"}),
        [("orgs.csv", 2, "parentSourcedId", "reference.cycle")],
    ),
    "an org is its own parent": (
        lambda t: t.bare().change("orgs", "board", {"parentSourcedId": "board"}),
        [("orgs.csv", 2, "parentSourcedId", "reference.cycle")],
    ),
    "sessions form a circle": (
        lambda t: (
            t.in_terms()
            .change("academicSessions", "t1", {"parentSourcedId": "t2"})
            .change("academicSessions", "t2", {"parentSourcedId": "t1"})
        ),
        [
            ("academicSessions.csv", 4, "parentSourcedId", "reference.cycle"),
            ("academicSessions.csv", 4, "startDate", "record.session_outside_parent"),
            ("academicSessions.csv", 5, "startDate", "record.session_outside_parent"),
        ],
    ),
    "two primary roles at one org": (
        lambda t: t.put("roles", {**t.row("roles", "r-taro"), "sourcedId": "r-again"}),
        [("roles.csv", 8, "roleType", "record.primary_role")],
    ),
    "the profile of somebody else": (
        lambda t: t.change("roles", "r-hana", {"userProfileSourcedId": "p-taro"}),
        [("roles.csv", 3, "userProfileSourcedId", "reference.other_user")],
    ),
    "a main org without a role": (
        lambda t: t.change("users", "hana", {"primaryOrgSourcedId": "south"}),
        [("users.csv", 3, "primaryOrgSourcedId", "record.primary_org_without_role")],
    ),
    "two primary teachers": (
        lambda t: t.put(
            "enrollments",
            {**t.row("enrollments", "e4"), "sourcedId": "e5", "userSourcedId": "mother"},
        ),
        [("enrollments.csv", 6, "primary", "record.primary_teacher")],
    ),
    "a term that begins before its year": (
        lambda t: t.in_terms().change("academicSessions", "t1", {"startDate": "2026-03-01"}),
        [("academicSessions.csv", 4, "startDate", "record.session_outside_parent")],
    ),
    "an enrollment that begins after the term": (
        lambda t: t.in_terms().change("enrollments", "e2", {"beginDate": "2026-10-01"}),
        [("enrollments.csv", 3, "beginDate", "record.enrollment_outside_sessions")],
    ),
    "a student without a grade": (
        lambda t: t.change("users", "taro", {"grades": ""}),
        [("users.csv", 2, "grades", "record.student_without_grades")],
    ),
    "a secondary role alone": (
        lambda t: t.change("roles", "r-mother", {"roleType": "secondary"}),
        [("roles.csv", 4, "roleType", "record.secondary_without_primary")],
    ),
    "a principal who does not teach": (
        lambda t: t.put(
            "roles",
            {
                **t.row("roles", "r-mother"),
                "sourcedId": "r-head",
                "roleType": "secondary",
                "role": "principal",
            },
        ),
        [("roles.csv", 8, "role", "record.admin_without_teacher")],
    ),
    "a school above which is nothing": (
        lambda t: t.change("orgs", "south", {"parentSourcedId": ""}),
        [("orgs.csv", 4, "parentSourcedId", "record.school_without_district")],
    ),
    "a school year twice": (
        lambda t: t.put(
            "academicSessions", {**t.row("academicSessions", "y2026"), "sourcedId": "again"}
        ),
        [("academicSessions.csv", 4, "schoolYear", "record.school_year_twice")],
    ),
    "a master identifier twice": (
        lambda t: t.change(
            "users",
            "hana",
            {"userMasterIdentifier": t.row("users", "taro")["userMasterIdentifier"]},
        ),
        [("users.csv", 3, "userMasterIdentifier", "record.master_identifier_twice")],
    ),
    "a login name twice": (
        lambda t: t.change("users", "hana", {"username": "taro"}),
        [("users.csv", 3, "username", "record.username_twice")],
    ),
    "a home class without enrollment": (
        lambda t: t.change("users", "hana", {HOME: "c1"}),
        [("users.csv", 3, HOME, "record.home_class_without_enrollment")],
    ),
    "a student in lessons only": (
        lambda t: t.change("users", "hana", {HOME: ""}).change(
            "enrollments", "e3", {"classSourcedId": "c3"}
        ),
        [("users.csv", 3, None, "record.student_without_homeroom")],
    ),
    "a new user without a role": (
        lambda t: t.put(
            "users",
            {
                **t.row("users", "mother"),
                "sourcedId": "aunt",
                "username": "aunt",
                "userMasterIdentifier": "00000000-0000-4000-8000-00000000000a",
            },
        ),
        [("users.csv", 7, None, "record.user_without_role")],
    ),
}
each_rule = pytest.mark.parametrize("name", BROKEN)


def test_every_rule_is_tried() -> None:
    tried = {rule for _, places in BROKEN.values() for *_, rule in places}
    assert {check.rule.id for check in CHECKS} | {kind.rule.id for kind in KINDS} == tried


def test_a_clean_package_has_none(town: "Package", tmp_path: Path) -> None:
    assert between([*offline(town, tmp_path).findings]) == []


@each_rule
def test_offline_it_is_found_where_it_lies(town: "Package", tmp_path: Path, name: str) -> None:
    change, places = BROKEN[name]
    assert between([*offline(change(town), tmp_path).findings]) == places


@each_rule
def test_a_first_load_finds_the_same(district: "District", town: "Package", name: str) -> None:
    change, places = BROKEN[name]
    done = district.push(change(town))
    assert sorted((p for p in done.places if p[3].startswith(BETWEEN)), key=str) == places
    assert done.state == (
        "rejected" if "error" in {f.severity for f in done.findings} else "applied"
    )


def test_what_is_looked_up_has_an_index(hub: "Hub") -> None:
    """An array of keys is compared one by one where there is none."""
    for table, columns in SOUGHT.items():
        found = hub.admin.execute(
            "select indexdef from pg_indexes where schemaname = 'rosterhub' and tablename = %s",
            [table],
        )
        definitions = [text for (text,) in found]
        for column in columns:
            begins = re.compile(rf"\(tenant_id, {column}\b")
            assert any(begins.search(text) for text in definitions), (table, column)


@each_rule
def test_a_later_import_finds_the_same_with_what_is_stored(
    hub_district: "District", town: "Package", name: str
) -> None:
    """A row that is not the changed one has no line in the change set."""
    change, places = BROKEN[name]
    done = hub_district.push(change(town))
    found = {(file, column, rule) for file, _, column, rule in done.places}
    assert {place for place in found if place[2].startswith(BETWEEN)} == {
        (file, column, rule) for file, _, column, rule in places
    }


@pytest.mark.parametrize(
    "name", ["a student without a grade", "a secondary role alone", "a master identifier twice"]
)
def test_what_k12_is_not_known_to_require_is_a_warning_there(
    town: "Package", tmp_path: Path, name: str
) -> None:
    change, ((*_, rule),) = BROKEN[name]
    for profile, severity in ((JP_1_2_1, "error"), (K12_1_0, "warning"), (V1_2_1, None)):
        reading = Reading.model_validate({"profile": profile.name})
        (folder := tmp_path / profile.name).mkdir()
        found = offline(change(town.without("enrollments")), folder, reading)
        told = {each.rule.severity for each in found.findings if each.rule.id == rule}
        assert told == ({severity} if severity else set())


@pytest.fixture
def hub_district(district: "District", town: "Package") -> "District":
    """A district of its own with the town in it."""
    district.has(town)
    return district


def test_what_has_not_changed_is_not_told_again(hub_district: "District", town: "Package") -> None:
    change, _ = BROKEN["a main org without a role"]
    assert hub_district.push(change(town)).rules == {"record.primary_org_without_role"}
    assert hub_district.push(change(town)).rules == set()


class TestWhatOfficialValidPackagesForbid:
    """Rules that are not there (conformance 2)."""

    def test_a_type_of_ones_own_may_stand_for_a_school(
        self, town: "Package", tmp_path: Path
    ) -> None:
        campus = town.bare().change("orgs", "south", {"type": "ext:campus"})
        found = offline(campus, tmp_path)
        assert "reference.kind" not in {each.rule.id for each in found.findings}

    def test_a_term_of_another_year_and_a_role_that_is_not_in_roles(
        self, town: "Package", tmp_path: Path
    ) -> None:
        odd = town.change("classes", "c3", {"termSourcedIds": "y2027"})
        odd = odd.change("enrollments", "e4", {"role": "proctor", "primary": "false"})
        assert between([*offline(odd, tmp_path).findings]) == []


class TestStoredRowsThatAChangeBreaks:
    def test_a_school_that_becomes_something_else(
        self, hub_district: "District", town: "Package"
    ) -> None:
        changed = town.only("orgs").change("orgs", "south", BOARD)
        done = hub_district.push(changed)
        assert done.state == "rejected"
        assert {
            (f.file, f.line, f.sourced_id) for f in done.findings if f.rule == "reference.kind"
        } == {("classes.csv", None, "c3"), ("enrollments.csv", None, "e2")}

    def test_a_role_that_makes_somebody_a_student(
        self, hub_district: "District", town: "Package", nothing: "Package"
    ) -> None:
        """The users file names the profile; the user itself is not in it."""
        row = {**town.row("roles", "r-mother"), "role": "student"}
        delta = nothing.delta("roles", row).delta("users", town.row("users", "teacher"))
        done = hub_district.push(delta)
        assert [(f.rule, f.sourced_id, f.line) for f in done.findings] == [
            ("record.student_without_grades", "mother", None)
        ]


class TestWhatOnlyTheStoredRosterKnows:
    """Offline, references into files that are not there in bulk are left open, and that is said."""

    def test_one_file(self, town: "Package", tmp_path: Path) -> None:
        found = offline(town.only("roles"), tmp_path)
        assert between([*found.findings]) == []
        assert found.unknown == ["orgs", "userProfiles", "users"]

    def test_a_delta(self, town: "Package", nothing: "Package", tmp_path: Path) -> None:
        found = offline(nothing.delta("users", town.row("users", "taro")), tmp_path)
        assert between([*found.findings]) == []
        assert found.unknown == ["classes", "orgs", "users"]
