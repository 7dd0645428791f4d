"""Open an upload: which files it brings, how each is meant, and which profile they follow.

All of it is decided from the zip's directory, the manifest and the header rows; no row is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import archive, header, manifest, text
from pipeline.archive import Source
from pipeline.claims import Claim
from pipeline.faults import Broken, Findings
from pipeline.limits import Limits
from schemas import rules
from schemas.profiles import V1_2_1, Profile, detect
from schemas.roster import BINDING, BY_FILE, AnyEntity
from schemas.rules import Finding
from schemas.runs import Mode


@dataclass(frozen=True, slots=True)
class File:
    """A file of the package that can be read."""

    entity: AnyEntity
    source: Source
    mode: Mode
    header: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """The readable files in load order, and the profile they follow."""

    profile: Profile = V1_2_1
    files: tuple[File, ...] = ()

    @property
    def modes(self) -> Mapping[str, Mode]:
        """How each file is meant."""
        return {file.entity.file: file.mode for file in self.files}


@dataclass(frozen=True, slots=True)
class Contents:
    """What an upload says it holds, before its headers are read."""

    version: str = ""
    modes: Mapping[str, Mode] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)


def open_upload(path: Path, claim: Claim, limits: Limits, findings: Findings) -> Package:
    """The package of a run; what is wrong with it is added to the findings."""
    contents = (
        zipped(path, limits, findings)
        if claim.entity is None or claim.mode is None
        else single(path, claim.entity, claim.mode, limits)
    )
    if findings.fatal:
        return Package()
    headers = {
        file: names
        for file, source in contents.sources.items()
        if (names := read_header(BY_FILE[file], source, limits, findings))
    }
    profile = detect(contents.version, headers)
    files = [
        File(entity, contents.sources[entity.file], contents.modes[entity.file], names)
        for entity in BINDING
        if (names := headers.get(entity.file))
    ]
    for file in files:
        findings.add(remarks(file, profile))
    return Package(profile, tuple(files))


def zipped(path: Path, limits: Limits, findings: Findings) -> Contents:
    """A package with its manifest."""
    sources, faults = archive.package(path, limits)
    findings.add(faults)
    if findings.fatal:
        return Contents()
    found, faults = manifest.read(sources)
    findings.add(faults)
    brought = {file: sources[f"{file}.csv"] for file in found.modes if f"{file}.csv" in sources}
    return Contents(found.version, found.modes, brought)


def single(path: Path, entity: str, mode: Mode, limits: Limits) -> Contents:
    """One CSV, whose meaning came with the request."""
    source = Source(f"{entity}.csv", path.stat().st_size, path, zipped=False, limits=limits)
    return Contents(V1_2_1.manifest, {entity: mode}, {entity: source})


def read_header(
    entity: AnyEntity, source: Source, limits: Limits, findings: Findings
) -> tuple[str, ...] | None:
    """The header row, if the file can be read with it."""
    try:
        head, _ = text.split_header(next(iter(text.pieces(source))), source.name)
    except Broken as broken:
        findings.add([broken.finding])
        return None
    names = header.split(head)
    faults = list(header.check(entity, names, limits)) if names else [unreadable(source)]
    findings.add(faults)
    return None if faults else names


def unreadable(source: Source) -> Finding:
    """The quotes of the header row are broken."""
    return Finding(rule=rules.text.QUOTING, file=source.name, line=1)


def remarks(file: File, profile: Profile) -> Iterator[Finding]:
    """What is worth saying about a file that can be read."""
    yield from header.spelling(file.entity, file.header, profile)
    if not file.entity.kept:
        yield Finding(rule=rules.manifest.NOT_STORED, file=file.source.name)
