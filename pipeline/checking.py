"""Check a package without a hub: the same reading and the same rules, no database and no account.

What a package says about itself is checked completely. What only the stored roster could answer is
left open: into files that the package does not bring in bulk, references are not looked up.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from pipeline.archive import MANIFEST
from pipeline.claims import Claim, Watch
from pipeline.faults import Findings, TooMany
from pipeline.found import Group, Rows, grouped
from pipeline.limits import Limits
from pipeline.opening import Package, open_upload
from pipeline.reading import Reader
from pipeline.records.asking import Asking
from pipeline.records.state import Loose
from schemas.policy import Reading
from schemas.profiles import MANIFEST_HEADER, MANIFEST_VERSION, PROFILES, V1_2_1, Profile
from schemas.roster import BINDING, BY_FILE
from schemas.rules import Finding
from schemas.runs import Mode

SHOWN = 1000  # findings of one kind between records

Told = Callable[[Watch], None]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found. `unknown` are files into which references could not be looked up."""

    profile: str
    rows: Mapping[str, int]
    findings: Sequence[Finding]
    groups: Sequence[Group]
    counts: Mapping[str, int]
    unknown: Sequence[str]


def check(path: Path, folder: Path, reading: Reading, limits: Limits, told: Told) -> Checked:
    """Check a zip. `folder` is for what does not fit in memory; `told` hears how far it is."""
    findings, watch = Findings(limits.findings_max), Watch()
    reader = Reader(Package(), watch, findings, limits)
    unknown: list[str] = []
    try:
        reader.package = opened(path, reading, limits, findings)
        if reader.package.files:
            unknown = read(reader, folder, told)
    except TooMany:
        pass  # the last finding says so
    rows = Rows()
    rows.complete(findings, reader.package.files)
    groups, _ = grouped(findings)
    return Checked(
        profile=reader.package.profile.name,
        rows=dict(reader.rows),
        findings=findings.all,
        groups=groups,
        counts=dict(findings.counts),
        unknown=unknown,
    )


def opened(path: Path, reading: Reading, limits: Limits, findings: Findings) -> Package:
    """The package, under the profile that was asked for."""
    package = open_upload(path, Claim(0, uuid4(), attempt=1, fence=1), limits, findings)
    if reading.profile != "auto":
        package = replace(package, profile=PROFILES[reading.profile])
    findings.opened(package.modes)
    return package


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


def bundle(files: Sequence[Path], out: Path, mode: Mode, profile: Profile = V1_2_1) -> None:
    """Loose CSV files as a package; without a manifest, one that says `mode` for each of them."""
    names = {path.name for path in files}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            archive.write(path, path.name)
        if MANIFEST not in names:
            archive.writestr(MANIFEST, manifest(names, mode, profile))


def manifest(names: set[str], mode: Mode, profile: Profile) -> str:
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
