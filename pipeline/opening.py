"""Open an upload: which files it brings, how each is meant, and which profile they follow.

All of it is decided from the zip's directory, the manifest and the header rows; no row is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import archive, header, manifest, repairs, text
from pipeline.archive import Source
from pipeline.claims import Claim
from pipeline.faults import Broken, Findings
from pipeline.limits import Limits
from pipeline.manifest import Manifest
from schemas import rules
from schemas.policy import Reading
from schemas.profiles import PROFILES, V1_2_1, Profile, detect
from schemas.roster import BINDING, BY_FILE, AnyEntity
from schemas.rules import Finding
from schemas.runs import Mode

AUTOMATIC = Reading()


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
    """What an upload says it holds, before its headers are read; a single CSV has no manifest."""

    modes: Mapping[str, Mode] = field(default_factory=dict)
    sources: Mapping[str, Source] = field(default_factory=dict)
    manifest: Manifest | None = None


def open_upload(
    path: Path, claim: Claim, limits: Limits, findings: Findings, reading: Reading = AUTOMATIC
) -> Package:
    """The package of a run, read as the policy says; what is wrong is added to the findings."""
    return Opener(limits, findings, reading).package(path, claim)


@dataclass(frozen=True, slots=True)
class Opener:
    """What every step of opening asks for."""

    limits: Limits
    findings: Findings
    reading: Reading

    def package(self, path: Path, claim: Claim) -> Package:
        """The package of a run."""
        contents = (
            self._zipped(path)
            if claim.entity is None or claim.mode is None
            else self._single(path, claim.entity, claim.mode)
        )
        if self.findings.fatal:
            return Package()
        headers = {
            file: names
            for file, source in contents.sources.items()
            if (names := self._header(BY_FILE[file], source))
        }
        profile = self._profile(contents, headers)
        files = [
            File(entity, contents.sources[entity.file], contents.modes[entity.file], names)
            for entity in BINDING
            if (names := headers.get(entity.file))
        ]
        if contents.manifest:
            self.findings.add(manifest.against(contents.manifest, profile))
        for file in files:
            self.findings.add(remarks(file, profile))
        return Package(profile, tuple(files))

    def _zipped(self, path: Path) -> Contents:
        """A package with its manifest."""
        sources, faults = archive.package(path, self.limits)
        self.findings.add(faults)
        if self.findings.fatal:
            return Contents()
        sources = {name: self._settled(source) for name, source in sources.items()}
        found, faults = manifest.read(sources)
        self.findings.add(faults)
        brought = {file: sources[f"{file}.csv"] for file in found.modes if f"{file}.csv" in sources}
        return Contents(found.modes, brought, found)

    def _single(self, path: Path, entity: str, mode: Mode) -> Contents:
        """One CSV, whose meaning came with the request."""
        size = path.stat().st_size
        source = Source(f"{entity}.csv", size, path, zipped=False, limits=self.limits)
        return Contents({entity: mode}, {entity: self._settled(source)})

    def _settled(self, source: Source) -> Source:
        """The source with its encoding, where another than UTF-8 may be one."""
        if "cp932" not in repairs.allowed(self.reading):
            return source
        source, told = repairs.settle(source)
        self.findings.add(told)
        return source

    def _header(self, entity: AnyEntity, source: Source) -> tuple[str, ...] | None:
        """The header row as the binding spells it, if the file can be read with it."""
        try:
            head, _ = text.split_header(next(iter(text.pieces(source))), source.name)
        except Broken as broken:
            self.findings.add([archive.damage(source) or broken.finding])
            return None
        names = header.split(head)
        if "header_case" in repairs.allowed(self.reading):
            names, told = repairs.header(entity, names)
            self.findings.add(told)
        faults = (
            list(header.check(entity, names, self.limits)) if names else [unreadable(source, head)]
        )
        if faults and (damaged := archive.damage(source)):
            faults = [damaged]
        self.findings.add(faults)
        return None if faults else names

    def _profile(self, contents: Contents, headers: Mapping[str, tuple[str, ...]]) -> Profile:
        """The profile that the district has chosen, else what manifest and headers show."""
        if self.reading.profile != "auto":
            return PROFILES[self.reading.profile]
        version = contents.manifest.version if contents.manifest else V1_2_1.manifest
        return detect(version, headers)


def unreadable(source: Source, head: str) -> Finding:
    """The header row is blank, or its quotes are broken."""
    rule = rules.text.QUOTING if head.strip() else rules.text.BLANK_LINE
    return Finding(rule=rule, file=source.name, line=1)


def remarks(file: File, profile: Profile) -> Iterator[Finding]:
    """What is worth saying about a file that can be read."""
    yield from header.spelling(file.entity, file.header, profile)
    yield from header.against(file.entity, file.header, profile)
    if not file.entity.kept:
        yield Finding(rule=rules.manifest.NOT_STORED, file=file.source.name)
