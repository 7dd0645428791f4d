"""manifest.csv: which version, and how each file is meant (CSV binding 5)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.archive import MANIFEST, Source, damage
from pipeline.faults import Broken, cut
from pipeline.header import split
from pipeline.text import FIELD, controlled, fault, pieces
from schemas import rules
from schemas.profiles import MANIFEST_HEADER, MANIFEST_VERSION, MODES, VERSIONS, Profile
from schemas.roster import BINDING, BY_FILE
from schemas.rules import Finding
from schemas.runs import Mode

VERSION = "oneroster.version"
FIXED = ("manifest.version", VERSION)
FILES = tuple(f"file.{entity.file}" for entity in BINDING)
OPTIONAL = ("source.systemName", "source.systemCode")


@dataclass(frozen=True, slots=True)
class Property:
    """A row of the manifest."""

    line: int
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The version, the mode of every file that is not absent, and the rows these come from."""

    version: str = ""
    modes: Mapping[str, Mode] = field(default_factory=dict)
    rows: tuple[Property, ...] = ()


EMPTY = Manifest()


def read(sources: Mapping[str, Source]) -> tuple[Manifest, list[Finding]]:
    """The manifest of a package, compared with what the zip holds."""
    source = sources.get(MANIFEST)
    if source is None:
        return EMPTY, [Finding(rule=rules.manifest.MANIFEST_MISSING, file=MANIFEST)]
    try:
        rows, findings = properties(source)
    except Broken as broken:
        return EMPTY, [damage(source) or broken.finding]
    values = {row.name: row.value for row in rows}
    findings += [*unknown(rows), *missing(values), *wrong(rows), *mismatched(rows, sources)]
    return Manifest(values.get(VERSION, ""), modes(values), tuple(rows)), findings


def properties(source: Source) -> tuple[list[Property], list[Finding]]:
    """The rows, and what is wrong with their shape."""
    if source.size > source.limits.row_max:
        limit = f"{source.limits.row_max} bytes"
        raise Broken(Finding(rule=rules.package.TOO_LARGE, file=MANIFEST, facts={"limit": limit}))
    lines = [line or "" for piece in pieces(source) for line in piece.lines()]
    if finding := controlled(1, lines[0], MANIFEST):
        raise Broken(finding)
    rows: list[Property] = []
    findings = [*header(split(lines[0]))]
    for number, line in enumerate(lines[1:], start=2):
        if re.fullmatch(f"{FIELD},{FIELD}", line):
            rows.append(Property(number, *split(line)))
        else:
            findings.append(fault(number, line, MANIFEST, len(MANIFEST_HEADER), source.limits))
    return rows, findings


def header(cells: tuple[str, ...]) -> Iterator[Finding]:
    """The header is `propertyName,value`."""
    for name in MANIFEST_HEADER:
        if name not in cells:
            yield Finding(rule=rules.header.HEADER_MISSING, file=MANIFEST, line=1, column=name)
    for name in cells:
        if name not in MANIFEST_HEADER:
            yield Finding(rule=rules.header.HEADER_UNKNOWN, file=MANIFEST, line=1, column=cut(name))
    if set(cells) == set(MANIFEST_HEADER) and cells != MANIFEST_HEADER:
        facts = {"found": 2, "expected": 1}
        yield Finding(
            rule=rules.header.HEADER_ORDER,
            file=MANIFEST,
            line=1,
            column=MANIFEST_HEADER[0],
            facts=facts,
        )


def unknown(rows: list[Property]) -> Iterator[Finding]:
    """Properties that are doubled, or that the binding does not know."""
    seen: set[str] = set()
    for row in rows:
        if row.name in seen:
            yield at(row, rules.manifest.MANIFEST_DUPLICATE, row.name)
        elif row.name not in (*FIXED, *FILES, *OPTIONAL):
            yield at(row, rules.manifest.MANIFEST_UNKNOWN, row.name)
        seen.add(row.name)


def at(row: Property, rule: rules.Rule, value: str, **facts: str) -> Finding:
    """A finding about a row."""
    return Finding(
        rule=rule, file=MANIFEST, line=row.line, column=cut(row.name), value=cut(value), facts=facts
    )


def missing(values: Mapping[str, str]) -> Iterator[Finding]:
    """Properties that every manifest has."""
    for name in (*FIXED, *FILES):
        if name not in values:
            yield Finding(rule=rules.manifest.MANIFEST_PROPERTY, file=MANIFEST, column=name)


def wrong(rows: list[Property]) -> Iterator[Finding]:
    """Versions this hub does not read, and modes that are none."""
    accepted = {FIXED[0]: {MANIFEST_VERSION}, VERSION: VERSIONS}
    for row in rows:
        if row.name in accepted and row.value not in accepted[row.name]:
            expected = ", ".join(sorted(accepted[row.name]))
            yield at(row, rules.manifest.MANIFEST_VERSION, row.value, expected=expected)
        if row.name in FILES and row.value not in MODES:
            yield at(row, rules.manifest.MANIFEST_MODE, row.value)


def mismatched(rows: list[Property], sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Files that are there though absent, or missing though announced (binding 2)."""
    for row in rows:
        target = f"{row.name.removeprefix('file.')}.csv"
        there = target in sources
        if row.name in FILES and row.value == "absent" and there:
            yield at(row, rules.manifest.FILE_UNEXPECTED, row.value, target=target)
        if row.name in FILES and row.value in ("bulk", "delta") and not there:
            yield at(row, rules.manifest.FILE_MISSING, row.value, target=target)


def modes(values: Mapping[str, str]) -> dict[str, Mode]:
    """The mode of each file that the package brings, in load order."""
    found: dict[str, Mode] = {}
    for file in BY_FILE:
        match values.get(f"file.{file}"):
            case "bulk":
                found[file] = "bulk"
            case "delta":
                found[file] = "delta"
            case _:
                pass
    return found


def against(manifest: Manifest, profile: Profile) -> Iterator[Finding]:
    """Where a manifest is not as the profile has it; nothing of it hinders reading."""
    full = "bulk" in manifest.modes.values()
    for row in manifest.rows:
        file = row.name.removeprefix("file.")
        facts = {"profile": profile.name, "target": f"{file}.csv"}
        if row.name == VERSION and row.value in VERSIONS and row.value not in profile.accepts:
            facts = {"profile": profile.name, "expected": ", ".join(profile.accepts)}
            yield at(row, rules.manifest.OTHER_VERSION, row.value, **facts)
        if row.name in FILES and row.value == "absent" and full and file in profile.required_files:
            yield at(row, rules.manifest.REQUIRED_FILE, row.value, **facts)
        if row.name in FILES and row.value in MODES[1:] and file in profile.unused_files:
            yield at(row, rules.manifest.UNUSED_FILE, row.value, **facts)
