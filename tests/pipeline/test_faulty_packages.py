"""Every fault that a package can have is rejected where it lies, and nothing has changed.

The district holds a clean roster; that a rejected push leaves every table alone, its conservation
of rows and its findings are looked at by `District.push` itself.
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loadtests import faults
from loadtests.rosters import FAULTS, District, Expectation, write_package
from schemas.rules import RULES as BOOK

if TYPE_CHECKING:
    from tests.pipeline.conftest import District as Pushed
    from tests.pipeline.conftest import Found, Hub

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
SMALL = District(users=40, schools=1, enrollments_per_student=2)
RULES = {
    "not_a_zip": "package.not_zip",
    "no_manifest": "manifest.missing",
    "wrong_file_name": "package.entry_name",
    "path_traversal": "package.entry_name",
    "zip_bomb": "package.too_large",
    "wrong_header": "header.missing",
    "ragged_row": "csv.row_width",
    "cr_only": "csv.carriage_return",
    "utf16": "csv.utf16",
    "nul": "csv.control_character",
    "cp932": "csv.encoding",
    "header_only": "csv.no_rows",
    "unknown_reference": "reference.missing",
    "duplicate_sourced_id": "record.duplicate",
    "bad_date": "value.date",
    "bad_vocabulary": "value.vocabulary",
    "missing_value": "value.required",
    "unclosed_quote": "csv.quoting",
    "line_break_in_field": "csv.quoting",
    "status_in_bulk": "value.blank_in_bulk",
    "encrypted_entry": "package.encrypted",
    "symlink_entry": "package.not_a_file",
    "duplicate_entry": "package.duplicate_entry",
    "overlapping_entries": "package.overlap",
    "manifest_mismatch": "manifest.file_missing",
    "wrong_version": "manifest.version",
    "duplicate_manifest_property": "manifest.duplicate_property",
}
RULES |= {name: fault.breaks.id for name, fault in FAULTS.items() if fault.breaks}
GRAVE = [name for name, rule in RULES.items() if BOOK[rule].severity == "error"]
# Broken quotes and control characters are a matter of the line: where a cell begins is then unsure.
OF_THE_LINE = {"csv.quoting", "csv.control_character"}


SHOWS_ELSEWHERE_TOO = {
    "wrong_header",  # the misspelt name is unknown
    "line_break_in_field",  # the rest of the value is a line of its own
}


def package(fault: str = "") -> bytes:
    out = io.BytesIO()
    write_package(out, SMALL, faults=[fault] if fault else [])
    return out.getvalue()


@pytest.fixture(scope="module")
def filled(hub: "Hub") -> "Pushed":
    """A district with a clean generated roster."""
    district = hub.district()
    assert district.push(package()).state == "applied"
    return district


def lies(found: "Found", declared: Expectation) -> bool:
    """Whether a finding is where the fault was put; line 0 and no column are the whole of it."""
    file = (declared.file or "package") in (found.file, found.value)
    line = declared.line in (0, found.line)
    name = (found.column or "").lower()  # profiles spell the extensions differently
    column = declared.column.lower() in ("", name) or found.rule in OF_THE_LINE
    return file and line and column


def test_every_fault_is_tried() -> None:
    assert {*RULES} == {*FAULTS}


@pytest.mark.parametrize("fault", sorted(RULES.keys() - {*GRAVE, "plain_identifier"}))
def test_what_is_no_error_is_said_where_it_lies(hub: "Hub", fault: str) -> None:
    done = hub.district().push(package(fault))
    assert done.state == "applied"
    (found,) = done.findings
    assert (found.rule, lies(found, FAULTS[fault])) == (RULES[fault], True)


@pytest.mark.parametrize("fault", sorted(GRAVE))
@pytest.mark.parametrize("later", [False, True], ids=["first load", "later"])
def test_a_fault_is_rejected_where_it_lies(
    hub: "Hub", filled: "Pushed", monkeypatch: pytest.MonkeyPatch, fault: str, *, later: bool
) -> None:
    monkeypatch.setattr(faults, "BOMB", 1 << 26)  # a GiB takes seconds to make
    done = (filled if later else hub.district()).push(package(fault))
    assert done.state == "rejected"
    at = [found for found in done.findings if lies(found, FAULTS[fault])]
    assert RULES[fault] in {found.rule for found in at}, done.findings
    if fault not in SHOWS_ELSEWHERE_TOO:
        assert [f for f in done.findings if f.severity == "error" and not f.caused_by] == at


def test_after_all_of_them_the_clean_package_is_applied_and_changes_nothing(
    filled: "Pushed",
) -> None:
    done = filled.push(package())
    assert (done.state, done.end.version, filled.versions()) == ("applied", 1, [1])


# The shared variants of the shared sample ---------------------------------------------------

OURS = {
    "uuid v4": "value.uuid_v4",
    "full-width katakana": "value.kana",
    "required for students": "record.student_without_grades",
    "schoolYear only": "value.vocabulary_of_profile",
    "must be empty": "value.prohibited_by_profile",
    "pairing": "value.pairing",
    "primary only for teacher": "value.primary",
    "school code check digit": "value.school_code",
    "district or school": "value.vocabulary_of_profile",
    "parent/relative": "value.guardian",
    "must be secondary": "value.secondary_role",
    "mode value": "manifest.mode",
    "version": "manifest.version",
    "must be blank in bulk": "value.blank_in_bulk",
    "userIds form": "value.pairs",
    "reference": "reference.missing",
    "enum / case": "value.vocabulary",
    "required": "value.required",
    "integer": "value.integer",
    "enum": "value.boolean",
    "header": "header.missing",
    "encoding": "csv.encoding",
}


def mutations() -> list[Any]:
    path = SAMPLES / "mutations.json"
    if not path.exists():
        return []
    found: list[Any] = json.loads(path.read_text(encoding="utf-8"))["mutations"]
    return found


@pytest.fixture(scope="module")
def sampled(hub: "Hub") -> "Pushed":
    """A district with the shared sample in it."""
    if not SAMPLES.exists():
        pytest.skip("needs ../shared/samples, which is not part of the repository")
    district = hub.district()
    (path,) = (SAMPLES / "jp-1.2.1").glob("*.zip")
    assert district.push(path).state == "applied"
    return district


@pytest.mark.parametrize(
    "mutation", mutations(), ids=lambda m: f"{m['file']} {m['column']} {m['rule']}"
)
def test_a_shared_variant_is_rejected_where_it_lies(
    sampled: "Pushed", mutation: dict[str, Any], mutated: Callable[[dict[str, Any]], bytes]
) -> None:
    done = sampled.push(mutated(mutation))
    assert done.state == "rejected"
    lines = {mutation["line"], None} if not mutation["line"] else {mutation["line"]}
    assert any(
        found.rule == OURS[mutation["rule"]]
        and found.file == mutation["file"]
        and (not mutation["line"] or found.line in lines)
        and (mutation["column"] in ("header", "file") or found.column == mutation["column"])
        for found in done.findings
    ), done.findings


@pytest.fixture
def mutated() -> Callable[[dict[str, Any]], bytes]:
    """The sample with one fault, put in by Python's csv."""

    def make(mutation: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for path in (SAMPLES / "jp-1.2.1").glob("*.csv"):
                data = path.read_bytes()
                archive.writestr(
                    path.name, changed(data, mutation) if path.name == mutation["file"] else data
                )
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
            rows = [
                [n, change.removeprefix("set to ") if n == mutation["column"] else v]
                for n, v in rows
            ]
        case change:
            rows[mutation["line"] - 1][rows[0].index(mutation["column"])] = change
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows[1:])
    return (",".join(rows[0]) + "\r\n" + out.getvalue()).encode()
