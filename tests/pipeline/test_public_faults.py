"""The public list of faults in one row: each is found with its file, line, column and rule.

Every fault is put into the clean sample, the package is opened and read as an import does it, and
what is found is the fault and nothing else, so it is the first of its group. What lies between
records is found elsewhere; the table says by which rule.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from loadtests.rosters import District, write_package
from pipeline.claims import Claim, Watch
from pipeline.faults import Findings
from pipeline.limits import Limits
from pipeline.opening import open_upload
from pipeline.reading import Reader
from schemas.profiles import PROFILES
from schemas.rules import RULES, Finding

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
needs_samples = pytest.mark.skipif(
    not SAMPLES.exists(), reason="needs ../shared/samples, which is not part of the repository"
)

OF_A_ROW = {
    "must be blank in bulk": "value.blank_in_bulk",
    "uuid v4": "value.uuid_v4",
    "full-width katakana": "value.kana",
    "userIds form": "value.pairs",
    "schoolYear only": "value.vocabulary_of_profile",
    "must be empty": "value.prohibited_by_profile",
    "pairing": "value.pairing",
    "enum / case": "value.vocabulary",
    "required": "value.required",
    "primary only for teacher": "value.primary",
    "integer": "value.integer",
    "school code check digit": "value.school_code",
    "district or school": "value.vocabulary_of_profile",
    "parent/relative": "value.guardian",
    "must be secondary": "value.secondary_role",
    "enum": "value.boolean",
}
"""What the public list calls a rule, and what we call it."""

BETWEEN_RECORDS = {"required for students": "record.student_without_grades"}
BETWEEN_RECORDS["reference"] = "reference.missing"
OF_THE_FILE = {
    "mode value": "manifest.mode",
    "version": "manifest.version",
    "header": "header.missing",
    "encoding": "csv.encoding",
}


def mutations() -> list[dict[str, Any]]:
    if not SAMPLES.exists():
        return []
    text = (SAMPLES / "mutations.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text)["mutations"]
    return found


def zipped(folder: str, mutation: dict[str, Any] | None = None) -> bytes:
    """A sample, with one fault where it is wanted."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in (SAMPLES / folder).glob("*.csv"):
            data = path.read_bytes()
            if mutation and path.name == mutation["file"]:
                data = changed(data, mutation)
            archive.writestr(path.name, data)
    return out.getvalue()


def changed(data: bytes, mutation: dict[str, Any]) -> bytes:
    """The file with the fault in it, every cell quoted as in the sample."""
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    rows[mutation["line"] - 1][rows[0].index(mutation["column"])] = mutation["change"]
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows[1:])
    return (",".join(rows[0]) + "\r\n" + out.getvalue()).encode()


def read(path: Path) -> list[Finding]:
    """What opening and reading a package finds, as an import does both."""
    limits = Limits()
    findings = Findings(limits.findings_max)
    package = open_upload(path, Claim(0, uuid4(), attempt=1, fence=1), limits, findings)
    for _ in Reader(package, Watch(), findings, limits).batches():
        pass
    return findings.all


def places(found: Iterable[Finding]) -> list[tuple[str, int | None, str | None, str]]:
    return [(each.file, each.line, each.column, each.rule.id) for each in found]


@needs_samples
@pytest.mark.parametrize("folder", ["jp-1.2.1", "k12-1.0"])
def test_the_samples_are_clean(folder: str, tmp_path: Path) -> None:
    (tmp_path / "sample.zip").write_bytes(zipped(folder))
    assert places(read(tmp_path / "sample.zip")) == []


@needs_samples
@pytest.mark.parametrize(
    "mutation",
    [each for each in mutations() if each["rule"] in OF_A_ROW],
    ids=lambda each: f"{each['file']} {each['column']} {each['rule']}",
)
def test_a_fault_of_one_row_is_found_where_it_is_and_alone(
    mutation: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "sample.zip").write_bytes(zipped("jp-1.2.1", mutation))
    found = places(read(tmp_path / "sample.zip"))
    expected = [(file, line, column) for file, line, column, _ in mutation["found"]]
    assert [place[:3] for place in found] == expected
    assert [place[3] for place in found] == [OF_A_ROW[mutation["rule"]]]


@needs_samples
def test_every_public_fault_has_a_rule() -> None:
    known = {**OF_A_ROW, **BETWEEN_RECORDS, **OF_THE_FILE}
    assert {each["rule"] for each in mutations()} == {*known}
    assert all(RULES[rule].severity == "error" for rule in OF_A_ROW.values())
    assert {*known.values()} <= {*RULES}


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_districts_are_clean(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "district.zip"
    write_package(path, District(users=400, schools=4, profile=profile, guardians=0.5))
    assert places(read(path)) == []
