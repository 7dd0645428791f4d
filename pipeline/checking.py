"""Check a package without a hub: the same reading, mappings and rules, no database, no account.

What a package says about itself is checked completely. What only the stored roster could answer is
left open: into files that the package does not bring in bulk, references are not looked up.
"""

import zipfile
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pipeline.archive import MANIFEST
from pipeline.claims import Claim, Watch
from pipeline.faults import Findings, TooMany
from pipeline.found import Group, grouped
from pipeline.limits import Limits
from pipeline.mapping import Mappings, Used
from pipeline.opening import Package, open_upload
from pipeline.reading import Reader
from pipeline.records.asking import Asking
from pipeline.records.state import Loose
from schemas.policy import Reading
from schemas.profiles import MANIFEST_HEADER, MANIFEST_VERSION, V1_2_1, Profile
from schemas.roster import BINDING, BY_FILE
from schemas.rules import Finding
from schemas.runs import Mode

SHOWN = 1000  # findings of one kind between records

Told = Callable[[Watch], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found. `unknown` are files into which references could not be looked up."""

    profile: str
    mappings: Mapping[str, Used]
    rows: Mapping[str, int]
    findings: Sequence[Finding]
    groups: Sequence[Group]
    counts: Mapping[str, int]
    unknown: Sequence[str]


def check(
    path: Path, folder: Path, limits: Limits, told: Told, *, reading: Reading, mappings: Mappings
) -> Checked:
    """Check a zip. `folder` is for what does not fit in memory; `told` hears how far it is."""
    findings = Findings(limits.findings_max)
    reader = Reader(Package(), Watch(), findings, limits, reading=reading)
    unknown: list[str] = []
    try:
        claim = Claim(0, uuid4(), attempt=1, fence=1)
        reader.package = open_upload(
            path, claim, limits, findings, reading=reading, mappings=mappings
        )
        findings.opened(reader.package.modes)
        if reader.package.files:
            unknown = read(reader, folder, told)
    except TooMany:
        pass  # the last finding says so
    reader.kept.complete(findings, reader.package.files)
    groups, _ = grouped(findings)
    return Checked(
        profile=reader.package.profile.name,
        mappings=reader.package.mappings,
        rows=dict(reader.rows),
        findings=findings.all,
        groups=groups,
        counts=dict(findings.counts),
        unknown=unknown,
    )


def read(reader: Reader, folder: Path, told: Told) -> list[str]:
    """Read every file, then look at what concerns several records; answer what stays open."""
    package, findings = reader.package, reader.findings
    bulk = frozenset(file for file, mode in package.modes.items() if mode == "bulk")
    state = Loose(folder / "records.sqlite")
    try:
        for file, rows in reader.batches():
            if file.entity.kept:
                state.fill(file.entity, rows)
            told(reader.watch)
        state.index()
        asking = Asking(state, findings, package.profile, SHOWN, complete=bulk)
        asking.learn()
        findings.add(asking.errors())
        findings.add(asking.remarks())
    finally:
        state.close()
    needed = {
        column.to
        for file in package.files
        if file.entity.kept
        for column in file.entity.references()
        if BY_FILE[column.to].kept
    }
    return sorted(needed - bulk - {*findings.unreadable})


def bundle(files: Mapping[str, Path], out: Path, mode: Mode, profile: Profile = V1_2_1) -> None:
    """Loose CSV files, by their names in it, as a package.

    Without a manifest, it gets one that says `mode` for each of them.
    """
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, path in files.items():
            archive.write(path, name)
        if MANIFEST not in files:
            archive.writestr(MANIFEST, manifest(files, mode, profile))


def manifest(names: Container[str], mode: Mode, profile: Profile) -> str:
    """The manifest of these files."""
    values = {
        "manifest.version": MANIFEST_VERSION,
        "oneroster.version": profile.manifest,
        **{
            f"file.{entity.file}": mode if f"{entity.file}.csv" in names else "absent"
            for entity in BINDING
        },
    }
    rows = [MANIFEST_HEADER, *values.items()]
    return "".join(f"{name},{value}\r\n" for name, value in rows)
