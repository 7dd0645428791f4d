"""What only follows from something else is told with its cause and not counted."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from pipeline import checking
from pipeline.checking import Checked
from pipeline.faults import Findings
from pipeline.limits import Limits
from schemas import rules
from schemas.policy import Reading
from schemas.roster.teaching import Enrollment
from schemas.rules import Finding

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Package

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"


def offline(data: bytes, folder: Path) -> Checked:
    path = folder / "package.zip"
    path.write_bytes(data)
    return checking.check(path, folder, Limits(), lambda _: None, reading=Reading(), mappings={})


NAMES = "value.uuid"  # the town's identifiers are readable; that is no cause of anything


def causes(found: Checked) -> list[tuple[str, int | None, str]]:
    """What is counted."""
    return [
        (f.file, f.line, f.rule.id)
        for f in found.findings
        if f.caused_by is None and f.rule.id != NAMES
    ]


def followers(found: Checked) -> set[tuple[str, int | None, str | None]]:
    """What follows from the first error."""
    severities = [f.rule.severity for f in found.findings]
    number = severities.index("error") + 1
    return {(f.file, f.line, f.column) for f in found.findings if f.caused_by == number}


class TestARowWithAnError:
    def test_what_refers_to_it_follows(self, town: "Package", tmp_path: Path) -> None:
        found = offline(town.change("classes", "c1", {"title": ""}).zip(), tmp_path)
        assert causes(found) == [("classes.csv", 2, "value.required")]
        assert followers(found) == {
            ("users.csv", 2, "metadata.jp.homeClass"),
            ("enrollments.csv", 2, "classSourcedId"),
            ("enrollments.csv", 5, "classSourcedId"),
        }
        assert found.counts["error"] == 1
        first = found.groups[0]
        assert found.findings[first.first - 1].rule.id == "value.required"
        assert (first.findings, first.followers) == (1, 3)

    def test_a_misshapen_row_is_known_by_its_first_cell(
        self, town: "Package", tmp_path: Path
    ) -> None:
        lines = town.text("users").split("\r\n")
        lines[2] = lines[2].rpartition(",")[0]
        found = offline(town.zip(users="\r\n".join(lines).encode()), tmp_path)
        assert causes(found) == [("users.csv", 3, "csv.row_width")]
        assert followers(found) >= {("roles.csv", 3, "userSourcedId")}

    def test_a_rule_that_looks_for_what_is_not_there_follows_too(
        self, town: "Package", tmp_path: Path
    ) -> None:
        found = offline(town.change("roles", "r-mother", {"role": "mum"}).zip(), tmp_path)
        assert causes(found) == [("roles.csv", 4, "value.vocabulary")]
        assert [f.rule.id for f in found.findings if f.rule.id != NAMES] == [
            "value.vocabulary",
            "record.user_without_role",
        ]

    @pytest.mark.parametrize("key", ["", "c 1"], ids=["none", "no identifier"])
    def test_what_is_missing_follows_from_a_row_that_nobody_can_name(
        self, town: "Package", tmp_path: Path, key: str
    ) -> None:
        found = offline(town.change("classes", "c1", {"sourcedId": key}).zip(), tmp_path)
        assert [(file, line) for file, line, _ in causes(found)] == [("classes.csv", 2)]
        assert len(followers(found)) == 3

    def test_an_error_of_its_own_stays_one(self, town: "Package", tmp_path: Path) -> None:
        bad = town.change("classes", "c1", {"title": ""})
        bad = bad.change("enrollments", "e3", {"classSourcedId": "nowhere"})
        found = offline(bad.zip(), tmp_path)
        assert ("enrollments.csv", 4, "reference.missing") in causes(found)

    def test_in_an_import_the_same_follows(self, district: "District", town: "Package") -> None:
        done = district.push(town.change("classes", "c1", {"title": ""}))
        assert done.state == "rejected"
        assert done.end.findings["error"] == 1
        (cause,) = (f.seq for f in done.findings if f.caused_by is None)
        assert {(f.file, f.line, f.caused_by) for f in done.findings} == {
            ("classes.csv", 2, None),
            ("users.csv", 2, cause),
            ("enrollments.csv", 2, cause),
            ("enrollments.csv", 5, cause),
        }

    def test_where_the_record_is_stored_nothing_follows(
        self, loaded: "District", town: "Package"
    ) -> None:
        done = loaded.push(town.change("classes", "c1", {"title": ""}))
        assert [(f.file, f.line) for f in done.findings] == [("classes.csv", 2)]


class TestAFileThatCannotBeRead:
    def test_its_header_is_wrong(self, town: "Package", tmp_path: Path) -> None:
        header, rest = town.text("users").split("\r\n", 1)
        text = header.replace("pronouns", "pronoun") + "\r\n" + rest
        found = offline(town.zip(users=text.encode()), tmp_path)
        assert {rule for _, _, rule in causes(found)} == {"header.missing", "header.unknown"}
        assert {file for file, _, _ in followers(found)} == {
            "userProfiles.csv",
            "roles.csv",
            "demographics.csv",
            "enrollments.csv",
        }

    @pytest.mark.parametrize("encoding", ["cp932", "utf-16"])
    def test_it_is_in_another_encoding(
        self, town: "Package", tmp_path: Path, encoding: str
    ) -> None:
        found = offline(town.zip(orgs=town.text("orgs").encode(encoding)), tmp_path)
        assert len(causes(found)) == 1
        assert {("courses.csv", 2, "orgSourcedId")} <= followers(found)

    def test_it_is_announced_and_not_there(self, town: "Package", tmp_path: Path) -> None:
        found = offline(town.zip(orgs=None), tmp_path)
        assert [rule for _, _, rule in causes(found)] == ["manifest.file_missing"]

    def test_nothing_is_deleted_for_it(self, loaded: "District", town: "Package") -> None:
        """Neither what was not read nor what points at it is a fault of the package."""
        done = loaded.push(town.zip(users=town.text("users").encode("cp932")))
        assert {f.rule for f in done.findings} == {"csv.encoding"}


class TestAWarningFromWhichAnErrorFollows:
    def test_is_an_error(self) -> None:
        findings = Findings(10)
        kind = rules.Rule("x.kind", "warning", "", "", "", "")
        cause = findings.take(Finding(rule=kind, file="orgs.csv", line=2))
        findings.take(Finding(rule=rules.records.KIND, file="classes.csv", line=2, caused_by=cause))
        assert findings.counts == {"error": 1}
        assert findings.all[0].rule.severity == "error"
        assert findings.fatal


class TestThePile:
    def test_followers_beyond_what_is_kept_are_counted(self) -> None:
        findings = Findings(3)
        findings.take(Finding(rule=rules.values.REQUIRED, file="users.csv", line=2))
        follower = Finding(rule=rules.records.REFERENCE, file="roles.csv", line=2, caused_by=1)
        findings.add([follower] * 10)
        findings.more(1, 5)
        assert (len(findings.all), findings.followers[1]) == (4, 15)

    def test_of_rows_with_errors_only_what_they_point_at_is_kept(self) -> None:
        findings = Findings(10)
        findings.take(
            Finding(rule=rules.values.DATE, file="enrollments.csv", line=3, sourced_id="e2")
        )
        rows = pl.DataFrame(
            {"line": [2, 3], "sourced_id": ["e1", "e2"], "user_sourced_id": ["u1", "u2"]}
        )
        assert findings.sift(Enrollment, rows)["sourced_id"].to_list() == ["e1"]
        (left,) = findings.rows["enrollments"]
        assert left.to_dicts() == [
            {
                "finding": 1,
                "class_sourced_id": None,
                "school_sourced_id": None,
                "user_sourced_id": "u2",
            }
        ]


# The shared variants of the shared sample ---------------------------------------------------


def mutations() -> list[dict[str, Any]]:
    path = SAMPLES / "mutations.json"
    if not path.exists():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["mutations"]
    return found


@pytest.mark.parametrize(
    "mutation", mutations(), ids=lambda m: f"{m['file']} {m['column']} {m['rule']}"
)
def test_a_shared_variant_has_one_cause(
    mutation: dict[str, Any], mutated: Callable[[dict[str, Any]], bytes], tmp_path: Path
) -> None:
    """Whatever is found between records lies where the fault was put, or follows from it."""
    found = offline(mutated(mutation), tmp_path)
    elsewhere = [
        (f.file, f.line, f.column, f.rule.id)
        for f in found.findings
        if f.caused_by is None
        and f.rule.id.startswith(("record.", "reference."))
        and (f.file, f.line) != (mutation["file"], mutation["line"])
    ]
    assert elsewhere == []


@pytest.fixture
def mutated() -> Callable[[dict[str, Any]], bytes]:
    """The sample with one fault, put in by Python's csv."""

    def make(mutation: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for path in (SAMPLES / "jp-1.2.1").glob("*.csv"):
                data = path.read_bytes()
                here = path.name == mutation["file"]
                archive.writestr(path.name, changed(data, mutation) if here else data)
        return out.getvalue()

    return make


def changed(data: bytes, mutation: dict[str, Any]) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    match mutation["change"]:
        case "re-encoded as CP932":
            return data.decode().encode("cp932")
        case "column pronouns removed":
            at = rows[0].index("pronouns")
            rows = [row[:at] + row[at + 1 :] for row in rows]
        case change if mutation["file"] == "manifest.csv":
            value = change.removeprefix("set to ")
            rows = [[n, value if n == mutation["column"] else v] for n, v in rows]
        case change:
            rows[mutation["line"] - 1][rows[0].index(mutation["column"])] = change
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows[1:])
    return (",".join(rows[0]) + "\r\n" + out.getvalue()).encode()
