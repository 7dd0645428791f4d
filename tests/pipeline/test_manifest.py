"""manifest.csv: every way to be wrong, and that it agrees with the zip."""

import re
from collections.abc import Callable
from typing import TypeAlias

import pytest

from pipeline import manifest
from pipeline.archive import Source
from schemas.roster import BINDING

Place: TypeAlias = tuple[str, int | None, str | None]
Finder: TypeAlias = Callable[[str], tuple[manifest.Manifest, list[Place]]]
FILES = [f"file.{entity.file}" for entity in BINDING]
TEXT = "\r\n".join(
    [
        "propertyName,value",
        "manifest.version,1.0",
        "oneroster.version,1.2",
        *(f"{name},absent" for name in FILES),
        "source.systemName,",
        "source.systemCode,x",
        "",
    ]
)
LINE = {name: at for at, name in enumerate(["oneroster.version", *FILES], start=3)}


@pytest.fixture
def read(source: Callable[..., Source]) -> Finder:
    """The manifest of a package that holds orgs.csv and users.csv, and what is wrong."""

    def found(text: str) -> tuple[manifest.Manifest, list[Place]]:
        own = source(text.encode(), name="manifest.csv")
        sources = {"manifest.csv": own, "orgs.csv": own, "users.csv": own}
        result, findings = manifest.read(sources)
        for finding in findings:
            assert not re.search(r"\{|…", finding.message()["en"].replace("metadata.…", ""))
        return result, [(f.rule.id, f.line, f.column) for f in findings]

    return found


def bulk(*files: str, text: str = TEXT) -> str:
    for file in files:
        text = text.replace(f"file.{file},absent", f"file.{file},bulk")
    return text


GOOD = bulk("orgs", "users")


def test_a_good_one_says_version_and_modes(read: Finder) -> None:
    found, findings = read(GOOD.replace("file.users,bulk", "file.users,delta"))
    assert findings == []
    assert (found.version, found.modes) == ("1.2", {"orgs": "bulk", "users": "delta"})


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\r\n", "\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip(),
        re.sub(r"([^,\r\n]+),([^\r\n]*)", r'"\1","\2"', GOOD),
        "\r\n".join([GOOD.split("\r\n")[0], *reversed(GOOD.split("\r\n")[1:-1])]),
    ],
    ids=["LF", "BOM", "no last line end", "quoted", "another order"],
)
def test_how_it_is_written_does_not_matter(read: Finder, text: str) -> None:
    found, findings = read(text)
    assert findings == []
    assert found.modes == {"orgs": "bulk", "users": "bulk"}


@pytest.mark.parametrize("version", ["1.2", "1.2.1", "1.2_JP"])
def test_known_versions_are_accepted(read: Finder, version: str) -> None:
    found, findings = read(GOOD.replace("version,1.2", f"version,{version}"))
    assert findings == []
    assert found.version == version


@pytest.mark.parametrize("version", ["1.1", "1.0", "", "v1.2", "1.2 ", "2"])
def test_another_version_is_refused(read: Finder, version: str) -> None:
    text = GOOD.replace("oneroster.version,1.2", f"oneroster.version,{version}")
    assert read(text)[1] == [("manifest.version", 3, "oneroster.version")]


def test_the_version_of_the_manifest_itself_is_1_0(read: Finder) -> None:
    text = GOOD.replace("manifest.version,1.0", "manifest.version,1.1")
    assert read(text)[1] == [("manifest.version", 2, "manifest.version")]


@pytest.mark.parametrize("mode", ["full", "Bulk", "", "BULK", "bulk "])
def test_a_mode_that_is_none_is_refused(read: Finder, mode: str) -> None:
    text = GOOD.replace("file.roles,absent", f"file.roles,{mode}")
    assert read(text)[1] == [("manifest.mode", LINE["file.roles"], "file.roles")]


@pytest.mark.parametrize("name", ["manifest.version", "oneroster.version", *FILES])
def test_every_property_is_required(read: Finder, name: str) -> None:
    text = re.sub(rf"{re.escape(name)},[^\r]*\r\n", "", GOOD)
    assert ("manifest.missing_property", None, name) in read(text)[1]


def test_the_source_may_stay_unnamed(read: Finder) -> None:
    assert read(re.sub(r"source\..*\r\n", "", GOOD))[1] == []


def test_a_property_twice_is_refused_at_its_second_line(read: Finder) -> None:
    text = GOOD + "file.orgs,bulk\r\n"
    line = GOOD.count("\r\n") + 1
    assert read(text)[1] == [("manifest.duplicate_property", line, "file.orgs")]


def test_an_unknown_property_is_a_warning(read: Finder) -> None:
    line = GOOD.count("\r\n") + 1
    found = read(GOOD + "digitalkoumu.oneroster.version,1\r\n")[1]
    assert found == [("manifest.unknown_property", line, "digitalkoumu.oneroster.version")]


def test_a_file_that_is_announced_and_not_there_is_named_at_its_row(read: Finder) -> None:
    found = read(bulk("roles", text=GOOD))[1]
    assert found == [("manifest.file_missing", LINE["file.roles"], "file.roles")]


def test_a_file_that_is_there_though_absent_is_named_at_its_row(read: Finder) -> None:
    found = read(bulk("orgs"))[1]
    assert found == [("manifest.file_unexpected", LINE["file.users"], "file.users")]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("file.orgs", ("csv.row_width", 26, None)),
        ("a,b,c", ("csv.row_width", 26, None)),
        ("", ("csv.blank_line", 26, None)),
        ('"a,b', ("csv.quoting", 26, None)),
        ('"a"b,c', ("csv.quoting", 26, None)),
        ('a"b,c', ("csv.quoting", 26, None)),
        ("a\rb,c", ("csv.carriage_return", 26, None)),
    ],
)
def test_a_row_of_another_shape_is_named(
    read: Finder, line: str, place: tuple[str, int, None]
) -> None:
    lines = GOOD.split("\r\n")
    text = "\r\n".join([*lines[:25], line, *lines[25:]])
    assert read(text)[1][:1] == [place]


@pytest.mark.parametrize("name", ["a\0b", "\x1b[31m", "\x01"])
def test_a_control_character_is_named_and_never_stored(read: Finder, name: str) -> None:
    found, places = read(GOOD + f"{name},x\r\n")
    assert places == [("csv.control_character", GOOD.count("\r\n") + 1, None)]
    assert "\0" not in repr(found)


@pytest.mark.parametrize(
    ("header", "rule"),
    [
        ("propertyName,value\0", "csv.control_character"),
        ("propertyName", "header.missing"),
        ("property,value", "header.missing"),
        ("value,propertyName", "header.order"),
        ("propertyname,value", "header.missing"),
        ("", "header.missing"),
        ('"propertyName', "header.missing"),
    ],
)
def test_a_wrong_header_is_named(read: Finder, header: str, rule: str) -> None:
    found = read(GOOD.replace("propertyName,value", header, 1))[1]
    assert (rule, 1) in [(name, line) for name, line, _ in found]


def test_a_header_with_a_third_column_is_refused(read: Finder) -> None:
    found = read(GOOD.replace("propertyName,value", "propertyName,value,x", 1))[1]
    assert found == [("header.unknown", 1, "x")]


@pytest.mark.parametrize(
    ("text", "rule"),
    [(GOOD.encode("utf-16"), "csv.utf16"), (b"", "csv.empty"), (b"a,\xff\r\n", "csv.encoding")],
    ids=["UTF-16", "empty", "no UTF-8"],
)
def test_what_cannot_be_read_is_one_finding(
    source: Callable[..., Source], text: bytes, rule: str
) -> None:
    found, findings = manifest.read({"manifest.csv": source(text, name="manifest.csv")})
    assert [finding.rule.id for finding in findings] == [rule]
    assert not found.modes


def test_a_huge_one_is_not_read(source: Callable[..., Source]) -> None:
    huge = source(GOOD.encode() + b"x,y\r\n" * 400_000, name="manifest.csv")
    _, findings = manifest.read({"manifest.csv": huge})
    assert [finding.rule.id for finding in findings] == ["package.too_large"]


def test_without_a_manifest_nothing_is_known() -> None:
    found, findings = manifest.read({})
    assert [finding.rule.id for finding in findings] == ["manifest.missing"]
    assert (found.version, found.modes) == ("", {})
