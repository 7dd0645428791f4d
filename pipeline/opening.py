"""Open an upload: which files it brings, how each is meant and read, and which profile they follow.

All of it is decided from the zip's directory, the manifest and the header rows; no row is read. A
file that has not the layout of OneRoster is read with the district's mapping, if it has one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import polars as pl

from pipeline import archive, header, manifest, mapping, repairs, text
from pipeline.archive import Source
from pipeline.claims import Claim
from pipeline.faults import Broken, Findings
from pipeline.header import Layout
from pipeline.limits import Limits
from pipeline.manifest import Manifest
from pipeline.mapping import UNMAPPED, Mappings, Plan, Saved, Used
from schemas import rules
from schemas.policy import Reading
from schemas.profiles import PROFILES, V1_2_1, Profile, detect
from schemas.roster import BINDING, BY_FILE, AnyEntity
from schemas.rules import Finding
from schemas.runs import Mode

HEAD = 64 * 1024  # bytes that are read for a header, or more where that is longer
AUTOMATIC = Reading()
NO_MAPPINGS: Mappings = {}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the package that can be read; `plan` where it is read with a mapping."""

    entity: AnyEntity
    source: Source
    mode: Mode
    header: tuple[str, ...]
    plan: Plan | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """What the cells of a line are called while they are as they came."""
        return self.plan.columns if self.plan else self.layout.names

    @property
    def layout(self) -> Layout:
        """What the rows hold when they are checked."""
        return self.plan.layout if self.plan else header.layout(self.entity, self.header)

    def mapped(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with `columns` as rows with `layout`."""
        return self.plan.apply(rows) if self.plan else rows

    @property
    def fingerprint(self) -> str | None:
        """What decides, with the header, what a line becomes: None where nothing is mapped."""
        return self.plan.saved.fingerprint if self.plan else None


Opened: TypeAlias = tuple[File | None, list[Finding]]
"""A file, if it can be read, and what there is to say about its header."""


@dataclass(frozen=True, slots=True)
class Package:
    """The readable files in load order, the profile they follow, and what maps which file."""

    profile: Profile = V1_2_1
    files: tuple[File, ...] = ()
    mappings: Mapping[str, Used] = field(default_factory=dict)

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
    path: Path,
    claim: Claim,
    limits: Limits,
    findings: Findings,
    *,
    reading: Reading = AUTOMATIC,
    mappings: Mappings = NO_MAPPINGS,
) -> Package:
    """The package of a run, read as the policy says and with the district's mappings.

    What is wrong is added to the findings.
    """
    return Opener(limits, findings, reading, mappings).package(path, claim)


@dataclass(frozen=True, slots=True)
class Opener:
    """What every step of opening asks for. `used` is what it found to map each file with."""

    limits: Limits
    findings: Findings
    reading: Reading
    mappings: Mappings = field(default_factory=dict)
    used: dict[str, Used] = field(default_factory=dict)

    def package(self, path: Path, claim: Claim) -> Package:
        """The package of a run."""
        contents = (
            self._zipped(path)
            if claim.entity is None or claim.mode is None
            else self._single(path, claim.entity, claim.mode)
        )
        if self.findings.fatal:
            return Package()
        brought = {
            name: file
            for name, source in contents.sources.items()
            if (file := self.file(BY_FILE[name], source, contents.modes[name]))
        }
        files = [brought[entity.file] for entity in BINDING if entity.file in brought]
        version = contents.manifest.version if contents.manifest else V1_2_1.manifest
        profile = self.profile(version, files)
        if contents.manifest:
            self.findings.add(manifest.against(contents.manifest, profile))
        for file in files:
            self.findings.add(remarks(file, profile))
        return Package(profile, tuple(files), self.used)

    def file(self, entity: AnyEntity, source: Source, mode: Mode) -> File | None:
        """The file with its header row, and the plan of its mapping, if it can be read."""
        try:
            first = next(iter(text.pieces(source.in_pieces_of(HEAD))))
            head, _ = text.split_header(first, source.name)
        except Broken as broken:
            self.findings.add([archive.damage(source) or broken.finding])
            return None
        names = header.split(head)
        file, told = self._read(entity, source, mode, names) if names else unreadable(source, head)
        if file is None and (damaged := archive.damage(source)):
            told = [damaged]
        self.findings.add(told)
        if file and file.plan:
            self.findings.origins[source.name] = file.plan.sourced
        return file

    def profile(self, version: str, files: Iterable[File]) -> Profile:
        """The profile that the district has chosen, else what manifest and headers show.

        A mapped file shows none: a system that cannot write OneRoster follows no profile of it, and
        cannot be asked for what one requires, such as an identifier for life.
        """
        if self.reading.profile != "auto":
            return PROFILES[self.reading.profile]
        return detect(version, {f.entity.file: f.header for f in files if f.plan is None})

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

    def _read(
        self, entity: AnyEntity, source: Source, mode: Mode, names: tuple[str, ...]
    ) -> Opened:
        """With the layout of OneRoster, or with the district's mapping where it has not that."""
        own, told = names, list[Finding]()
        if "header_case" in repairs.allowed(self.reading):
            own, told = repairs.header(entity, names)
        faults = list(header.check(entity, own, self.limits))
        saved = self.mappings.get(entity.file)
        if faults and saved and mapping.closer(saved, names, own):
            self.used[entity.file] = saved.used
            return self._mapped(saved, source, mode, names)
        self.used[entity.file] = UNMAPPED
        if faults and saved is None and mapping.foreign(entity, own):
            return None, [mapping.none(entity, names)]
        if faults:
            return None, [*told, *faults]
        if saved:
            told.append(mapping.not_needed(entity))
        return File(entity, source, mode, own), told

    def _mapped(self, saved: Saved, source: Source, mode: Mode, names: tuple[str, ...]) -> Opened:
        """With a mapping, if the header has what that reads."""
        told = list(mapping.check(saved, names, mode, self.limits))
        if any(finding.rule.severity == "error" for finding in told):
            return None, told
        return File(saved.entity, source, mode, names, mapping.plan(saved, names)), told


def unreadable(source: Source, head: str) -> Opened:
    """The header row is blank, or its quotes are broken."""
    rule = rules.text.QUOTING if head.strip() else rules.text.BLANK_LINE
    return None, [Finding(rule=rule, file=source.name, line=1)]


def remarks(file: File, profile: Profile) -> Iterator[Finding]:
    """What is worth saying about a file that can be read."""
    if file.plan:
        yield from mapping.against(file.plan, profile)
    else:
        yield from header.spelling(file.entity, file.header, profile)
        yield from header.against(file.entity, file.header, profile)
    if not file.entity.kept:
        yield Finding(rule=rules.manifest.NOT_STORED, file=file.source.name)
