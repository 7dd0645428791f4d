"""What a district decides about faulty rows and deletions: skip up to a tolerance, cascade."""

from typing import TYPE_CHECKING, Any

import pytest
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Package


def decide(district: "District", **reading: object) -> None:
    """Give the district a policy."""
    district.hub.admin.execute(
        "update districts set policy = %s where tenant_id = %s",
        [Jsonb({"reading": reading, "guard": {"on": False}}), district.tenant_id],
    )


@pytest.fixture
def skipping(district: "District") -> "District":
    """An empty district that skips at most half of the rows of a file."""
    decide(district, faulty_rows="skip", tolerance=0.5)
    return district


def taken(district: "District", file: str) -> set[str]:
    rows = district.records(file).values()
    return {row["sourced_id"] for row in rows if row["status"] == "active"}


class TestSkip:
    @pytest.fixture
    def town(self, town: "Package") -> "Package":
        """The town under the binding alone: nothing is said of its identifiers."""
        return town.bare()

    @pytest.mark.parametrize("later", [False, True], ids=["first load", "later"])
    def test_a_faulty_row_is_left_out_with_all_that_refers_to_it(
        self, skipping: "District", town: "Package", *, later: bool
    ) -> None:
        if later:
            skipping.push(town.only("orgs", "academicSessions"))
        done = skipping.push(town.change("courses", "ja", {"title": ""}))
        assert done.state == "applied", done.findings
        assert taken(skipping, "courses") == {"hr"}
        assert taken(skipping, "classes") == {"c1", "c2"}
        assert taken(skipping, "enrollments") == {"e1", "e3", "e4"}
        assert [(f.file, f.line, f.rule, f.caused_by) for f in done.findings] == [
            ("courses.csv", 3, "value.required", None),
            ("classes.csv", 4, "reference.missing", 1),
            ("enrollments.csv", 3, "reference.missing", 2),
        ]
        assert done.end.findings == {"error": 1}
        counts: Any = done.end.counts
        for file, rejected in (("courses", 1), ("classes", 1), ("enrollments", 1), ("users", 0)):
            assert counts[file]["rejected"] == rejected
            assert counts[file]["rows"] == len(town.rows[file])

    def test_an_optional_reference_takes_its_row_along_too(
        self, skipping: "District", town: "Package"
    ) -> None:
        decide(skipping, faulty_rows="skip", tolerance=0.8)
        done = skipping.push(town.change("userProfiles", "p-hana", {"vendorId": ""}))
        assert done.state == "applied", done.findings
        assert "r-hana" not in taken(skipping, "roles")
        assert "hana" in taken(skipping, "users")

    def test_what_is_stored_stays_and_holds_what_refers_to_it(
        self, skipping: "District", town: "Package"
    ) -> None:
        skipping.push(town)
        bad = town.change("classes", "c3", {"title": ""}).change("users", "taro", {"sms": "1"})
        done = skipping.push(bad)
        assert done.state == "applied", done.findings
        assert skipping.records("classes")["c3"]["title"] == "国語"
        assert skipping.records("classes")["c3"]["status"] == "active"
        assert skipping.records("users")["taro"]["sms"] == "1"
        assert [f.file for f in done.findings] == ["classes.csv"]
        assert done.counts["classes"] == {"rows": 3, "unchanged": 2, "rejected": 1}

    def test_a_row_whose_owner_nobody_can_tell_withholds_deletions(
        self, skipping: "District", town: "Package"
    ) -> None:
        skipping.push(town)
        bad = town.only("demographics").drop("demographics", "hana")
        bad = bad.put("demographics", {"sourcedId": "not one!", "sex": "male"})
        done = skipping.push(bad)
        assert done.state == "applied", done.findings
        assert taken(skipping, "demographics") == {"taro", "hana"}
        assert "record.deletions_withheld" in done.rules

    def test_what_a_skipped_row_still_points_at_is_not_deleted(
        self, skipping: "District", town: "Package"
    ) -> None:
        skipping.push(town)
        moved = town.change("enrollments", "e2", {"classSourcedId": "c1", "role": "pupil"})
        done = skipping.push(moved.drop("classes", "c3").only("classes", "enrollments"))
        assert done.state == "applied", done.findings
        assert "c3" in taken(skipping, "classes")
        assert [(f.rule, f.value, f.caused_by) for f in done.findings] == [
            ("value.vocabulary", "pupil", None),
            ("record.deletion_withheld", "c3", 6),
        ]

    def test_beyond_the_tolerance_the_run_is_rejected(
        self, skipping: "District", town: "Package"
    ) -> None:
        decide(skipping, faulty_rows="skip", tolerance=0.2)
        done = skipping.push(town.change("enrollments", "e2", {"role": "pupil"}))
        assert done.state == "rejected"
        assert ("enrollments.csv", None, None, "record.tolerance") in done.places
        assert skipping.versions() == []

    def test_a_file_that_cannot_be_read_is_no_row(
        self, skipping: "District", town: "Package"
    ) -> None:
        done = skipping.push(town.zip(demographics=town.text("demographics").encode("utf-16")))
        assert done.state == "rejected"

    def test_a_doubled_row_is_left_out_once(self, skipping: "District", town: "Package") -> None:
        again = {**town.row("enrollments", "e1"), "primary": "false", "endDate": ""}
        done = skipping.push(town.put("enrollments", again))
        assert done.state == "applied", done.findings
        assert done.counts["enrollments"] == {"rows": 5, "created": 4, "rejected": 1}

    def test_the_corrected_row_is_taken_the_next_day(
        self, skipping: "District", town: "Package"
    ) -> None:
        skipping.push(town.change("courses", "ja", {"title": ""}))
        done = skipping.push(town)
        assert (done.state, done.findings) == ("applied", [])
        assert taken(skipping, "enrollments") == {"e1", "e2", "e3", "e4"}


class TestCascade:
    def test_records_that_need_what_goes_go_too(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, cascade=True)
        done = district.push(town.only("courses").drop("courses", "ja"))
        assert done.state == "applied", done.findings
        assert (taken(district, "classes"), taken(district, "enrollments")) == (
            {"c1", "c2"},
            {"e1", "e3", "e4"},
        )
        assert [(f.file, f.sourced_id, f.value, f.severity) for f in done.findings] == [
            ("classes.csv", "c3", "ja", "info"),
            ("enrollments.csv", "e2", "c3", "info"),
        ]
        assert done.counts["enrollments"]["deleted"] == 1

    def test_what_could_do_without_is_still_a_finding(
        self, district: "District", town: "Package"
    ) -> None:
        """Nobody is deleted because the home class is."""
        district.has(town)
        decide(district, cascade=True)
        done = district.push(town.only("classes").drop("classes", "c2"))
        assert done.state == "rejected"
        assert {(f.file, f.sourced_id) for f in done.findings if f.severity == "error"} == {
            ("users.csv", "hana")
        }

    def test_a_list_needs_one_of_its_records(self, district: "District", town: "Package") -> None:
        town = town.in_terms()
        district.has(town)
        decide(district, cascade=True)
        done = district.push(town.only("academicSessions").drop("academicSessions", "t1"))
        assert {(f.file, f.sourced_id) for f in done.findings if f.severity == "error"} == {
            ("classes.csv", "c1")
        }

    def test_by_default_it_is_an_error(self, district: "District", town: "Package") -> None:
        district.has(town)
        done = district.push(town.only("courses").drop("courses", "ja"))
        assert done.rules == {"reference.vanished"}
