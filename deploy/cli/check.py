"""`rosterhub check`: what a hub would say about a package, without a hub and without an account."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.mappings import read
from deploy.cli.progress import Meter, meter
from deploy.cli.receipt import found_text, mapped_text
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import (
    BAD_MAPPING,
    BAD_POLICY,
    CHECK_FOUND,
    CHECK_OPEN,
    CHECK_SIZE,
    MIXED_FILES,
    MORE_FINDINGS,
    NO_WORKERS,
    Failure,
)

if TYPE_CHECKING:
    from pipeline.checking import Checked
    from pipeline.claims import Watch
    from pipeline.found import Group
    from pipeline.mapping import Saved
    from schemas.policy import Reading
    from schemas.rules import Finding

FIRST = 20  # groups that fit on a screen
NAMES = ("auto", "1.2", "1.2.1", "JP-1.2.1", "PSE-6.00", "K12-1.0")
ZIP = ".zip"
SHOWN = 5  # faults of a mapping in one sentence

a_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILES…"
)
@click.option("--profile", type=click.Choice(NAMES), help="Instead of what the files show.")
@click.option("--lenient", is_flag=True, help="Put right what a lenient district would.")
@click.option("--policy", type=a_file, help="Read as `rosterhub policy show --json` says.")
@click.option(
    "--mapping",
    "mappings",
    type=a_file,
    multiple=True,
    help="A mapping as `rosterhub mappings show --json` prints it; once for each entity.",
)
@click.option("--entity", help="What a single CSV holds, such as users, if not its name says so.")
@click.option(
    "--mode",
    type=click.Choice(["bulk", "delta"]),
    default="bulk",
    show_default=True,
    help="How CSV files without a manifest are meant.",
)
@click.option("--show-values", is_flag=True, help="Show personal values, not only their shape.")
@as_json
@pass_screen
def check(
    screen: Screen,
    /,
    files: tuple[Path, ...],
    *,
    profile: str | None,
    lenient: bool,
    policy: Path | None,
    mappings: tuple[Path, ...],
    entity: str | None,
    mode: str,
    show_values: bool,
    as_json: bool,
) -> None:
    """Check FILES: a package (.zip), a folder, or CSV files. Nothing leaves this machine.

    The exit status is 1 where a hub would reject the package, and 0 otherwise.
    """
    try:
        from pipeline import checking
    except ImportError as error:
        raise Failure(NO_WORKERS, reason=error.name) from error
    from pipeline.limits import Limits
    from schemas.profiles import PROFILES

    reading = reading_of(policy, profile, lenient=lenient)
    used = {saved.entity.file: saved for path in mappings if (saved := mapping_of(path))}
    with tempfile.TemporaryDirectory(prefix="rosterhub-check-") as name, meter(screen) as shown:
        folder = Path(name)
        package = files[0]
        if not packed(files):
            package = folder / "package.zip"
            written = PROFILES.get(reading.profile, PROFILES["1.2.1"])
            brought = named(loose(files), entity, list(used))
            checking.bundle(brought, package, "delta" if mode == "delta" else "bulk", written)
        found = checking.check(
            package, folder, Limits(), Progress(shown), reading=reading, mappings=used
        )
    if as_json:
        screen.json(told(found, show_values=show_values))
    else:
        report(screen, found, show_values=show_values)
    if errors := found.counts.get("error", 0):
        raise Failure(CHECK_FOUND, errors=errors, files=" ".join(map(str, files)))


def reading_of(policy: Path | None, profile: str | None, *, lenient: bool) -> "Reading":
    """How the files are read: as a policy says, but for what the command line says."""
    from pydantic import ValidationError

    from schemas.policy import Policy

    try:
        said = Policy.model_validate(read(policy)) if policy else Policy()
    except ValidationError as error:
        fields = (".".join(map(str, each["loc"])) for each in error.errors())
        raise Failure(BAD_POLICY, file=policy, fields=", ".join(fields)) from error
    asked = ({"profile": profile} if profile else {}) | ({"lenient": True} if lenient else {})
    return said.reading.model_copy(update=asked)


def mapping_of(path: Path) -> "Saved | None":
    """A mapping as the hub gives it, or a template; None for one that is the default."""
    from pydantic import TypeAdapter, ValidationError

    from pipeline import mapping
    from schemas.mapping_checks import faults
    from schemas.mappings import Tables
    from schemas.roster import BY_FILE

    said = read(path)
    if said.get("default"):
        return None
    entity = BY_FILE.get(str(said.get("entity")))
    if entity is None:
        raise Failure(BAD_MAPPING, file=path, fields="entity")
    try:
        tables = TypeAdapter(Tables).validate_python(said.get("tables") or {})
        version = said.get("version")
        version = version if isinstance(version, int) else None
        saved = mapping.saved(entity.file, version, said.get("mapping"), tables)
        wrong = [f"{field} {detail}" for field, detail in faults(entity, saved.mapping, tables)]
    except ValidationError as error:
        wrong = [".".join(map(str, each["loc"])) or "mapping" for each in error.errors()]
    except KeyError as error:
        wrong = [f"tables.{error.args[0]}"]
    if wrong:
        raise Failure(BAD_MAPPING, file=path, fields="; ".join(wrong[:SHOWN]))
    return saved


class Progress:
    """Shows the meter how far the reading is."""

    def __init__(self, shown: Meter) -> None:
        self._shown = shown

    def __call__(self, watch: "Watch") -> None:
        """Move on."""
        self._shown.shows({"state": "running", "stage": "read", "files": watch.progress})


def packed(files: Sequence[Path]) -> bool:
    """Whether FILES is one package; raises Failure where it is neither that nor CSV files."""
    several = len(files) > 1
    if any(path.is_dir() or path.suffix.lower() == ZIP for path in files) and several:
        raise Failure(MIXED_FILES)
    return not several and files[0].is_file() and files[0].suffix.lower() != ".csv"


def loose(files: Sequence[Path]) -> list[Path]:
    """CSV files: those that are named, or those of the folder."""
    found = sorted(files[0].glob("*.csv")) if files[0].is_dir() else list(files)
    if not found or len({path.name for path in found}) < len(found):
        raise Failure(MIXED_FILES)
    return found


def named(files: Sequence[Path], entity: str | None, mapped: Sequence[str]) -> Mapping[str, Path]:
    """CSV files by their names in a package.

    A single one is what is said of it; one that is named otherwise by its school information
    system is what the only mapping is for.
    """
    from schemas.roster import BY_FILE

    first = files[0]
    if entity is None and len(files) == len(mapped) == 1 and first.stem not in BY_FILE:
        (entity,) = mapped
    if entity is None:
        return {path.name: path for path in files}
    if len(files) > 1 or entity not in BY_FILE:
        raise click.UsageError("--entity says what a single CSV holds, such as users.")
    return {f"{entity}.csv": first}


def report(screen: Screen, found: "Checked", *, show_values: bool) -> None:
    """What to correct first, then how much there is."""
    groups = found.groups[:FIRST]
    if groups:
        screen.table(
            ["severity", "resolves", "file", "line", "column", "message"],
            [line(screen, found, group, show_values=show_values) for group in groups],
        )
    if (more := len(found.groups) - len(groups)) > 0:
        screen.note(MORE_FINDINGS, more=more)
    if found.unknown:
        screen.note(CHECK_OPEN, list=", ".join(f"{file}.csv" for file in found.unknown))
    screen.result(
        screen.say(CHECK_SIZE, profile=found.profile, rows=f"{sum(found.rows.values()):,}")
    )
    if mapped := mapped_text(screen, dict(found.mappings)):
        screen.result(mapped)
    screen.result(found_text(screen, dict(found.counts)))


def line(screen: Screen, found: "Checked", group: "Group", *, show_values: bool) -> list[object]:
    """A group as a row: its first finding, and what goes away with it."""
    first = shown(found.findings[group.first - 1], show_values=show_values)
    return [
        first.rule.severity,
        group.findings + group.followers,
        first.file,
        first.line,
        first.column,
        first.message()[screen.lang],
    ]


def shown(finding: "Finding", *, show_values: bool) -> "Finding":
    """A finding as it may be shown: a personal value as its shape."""
    from schemas.roster import BY_FILE
    from schemas.shapes import shape

    entity = BY_FILE.get(finding.file.removesuffix(".csv"))
    columns = entity.columns if entity else ()
    personal = any(c.personal for c in columns if c.csv == finding.column)
    if show_values or not personal or finding.value is None:
        return finding
    return replace(finding, value=shape(finding.value))


def told(found: "Checked", *, show_values: bool) -> dict[str, Any]:
    """The whole result for programs; findings are named as in the API."""
    findings = [
        {
            "number": number,
            "file": finding.file,
            "line": finding.line,
            "column": finding.column,
            "source": finding.facts.get("source"),
            "sourcedId": finding.sourced_id,
            "rule": finding.rule.id,
            "severity": finding.rule.severity,
            "value": finding.value,
            "school": finding.school,
            "causedBy": finding.caused_by,
            "message": finding.message(),
        }
        for number, finding in enumerate(
            (shown(each, show_values=show_values) for each in found.findings), start=1
        )
    ]
    return {
        "profile": found.profile,
        "mappings": found.mappings,
        "rows": found.rows,
        "counts": found.counts,
        "groups": [
            {
                "first": group.first,
                "cause": group.cause,
                "severity": group.severity,
                "findings": group.findings,
                "resolves": group.findings + group.followers,
            }
            for group in found.groups
        ],
        "findings": findings,
        "notLookedUp": list(found.unknown),
    }
