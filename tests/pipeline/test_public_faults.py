"""The public list of faults: each is found with its file, line, column and rule, first of all.

Every fault is put into both clean samples, and each package is checked as `rosterhub check` does
it. What is found is the fault, in the first group; what else is found follows from it.
"""

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from loadtests.rosters import District, write_package
from pipeline import checking
from pipeline.checking import Checked
from pipeline.limits import Limits
from schemas.policy import Reading
from schemas.profiles import PROFILES
from schemas.rules import RULES

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
FOLDERS = ("jp-1.2.1", "k12-1.0")
needs_samples = pytest.mark.skipif(
    not SAMPLES.exists(), reason="needs ../shared/samples, which is not part of the repository"
)

OURS = {
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
    "required for students": "record.student_without_grades",
    "reference": "reference.missing",
    "mode value": "manifest.mode",
    "version": "manifest.version",
    "header": "header.missing",
    "encoding": "csv.encoding",
}
"""What the public list calls a rule, and what we call it."""

OF_A_FILE = {"header": "pronouns", "file": None}
"""What the list does not call by the name of a column."""


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
    match mutation["change"]:
        case "re-encoded as CP932":
            return data.decode().encode("cp932")
        case "column pronouns removed":
            at = rows[0].index("pronouns")
            rows = [row[:at] + row[at + 1 :] for row in rows]
        case change if mutation["file"] == "manifest.csv":
            value = change.removeprefix("set to ")
            rows = [[n, value if n == mutation["column"] else old] for n, old in rows]
        case change:
            names = [name.lower() for name in rows[0]]
            rows[mutation["line"] - 1][names.index(mutation["column"].lower())] = change
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue().encode()


def check(data: bytes, folder: Path) -> Checked:
    path = folder / "package.zip"
    path.write_bytes(data)
    return checking.check(path, folder, Limits(), lambda _: None, reading=Reading(), mappings={})


@needs_samples
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_samples_are_clean(folder: str, tmp_path: Path) -> None:
    found = check(zipped(folder), tmp_path)
    assert (found.profile.lower(), found.findings, found.unknown) == (folder, [], [])


@needs_samples
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize(
    "mutation", mutations(), ids=lambda each: f"{each['file']} {each['column']} {each['rule']}"
)
def test_a_fault_is_found_where_it_is_and_all_else_follows(
    mutation: dict[str, Any], folder: str, tmp_path: Path
) -> None:
    found = check(zipped(folder, mutation), tmp_path)
    (cause,) = (each for each in found.findings if each.caused_by is None)
    assert cause is found.findings[found.groups[0].first - 1]
    assert cause.rule.id == OURS[mutation["rule"]]
    assert cause.file == mutation["file"]
    if mutation["line"]:  # 0 and null are the file as a whole; ours is a line of it
        assert cause.line == mutation["line"]
    column = OF_A_FILE.get(mutation["column"], mutation["column"])
    assert (cause.column or "").lower() == (column or "").lower()
    assert len(found.groups) == sum(found.counts.values()) == 1


@needs_samples
def test_every_public_fault_has_a_rule_that_is_an_error() -> None:
    assert {each["rule"] for each in mutations()} == {*OURS}
    assert all(RULES[rule].severity == "error" for rule in OURS.values())


@pytest.mark.parametrize("profile", PROFILES)
def test_generated_districts_are_clean(profile: str, tmp_path: Path) -> None:
    path = tmp_path / "district.zip"
    write_package(path, District(users=400, schools=4, profile=profile, guardians=0.5))
    assert check(path.read_bytes(), tmp_path).findings == []
