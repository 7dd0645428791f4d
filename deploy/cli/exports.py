"""`rosterhub exports`: get a package of the roster out, and fetch it."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.runs import at_most, last_part
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.watching import watched
from deploy.messages import (
    CANCELLED_BY,
    CANNOT_KEEP,
    DOWNLOAD_DAMAGED,
    EXPORT_CANCELLED,
    EXPORT_ENDED,
    EXPORT_FILE_GONE,
    EXPORT_SHOWS,
    EXPORT_SINCE,
    EXPORT_STATES,
    EXPORT_WAITS,
    FINDINGS_WRITTEN,
    NO_REASON,
    RETRYING,
    SIGNS_REPLACED,
    UNREACHABLE,
    Failure,
)

if TYPE_CHECKING:
    from deploy.client import Client

EXPORTS = "/api/v1/exports"
COLUMNS = ("id", "created_at", "state", "version", "since", "profile", "rows", "bytes", "name")
PROFILES = ("1.2", "1.2.1", "JP-1.2.1", "PSE-6.00", "K12-1.0")
ENCODINGS = ("utf-8", "utf-8-bom", "cp932")
IDENTIFIERS = ("hub", "source")
ATTEMPTS = 5
PAUSE = 0.5  # seconds, times the number of the attempt
PIECE = 1 << 20

Json = dict[str, Any]
Command = TypeVar("Command", bound=Callable[..., Any])

an_export = click.argument("export", metavar="ID", callback=last_part)
for_client = click.option("--client", "reader", metavar="ID", help="As this client sees it.")
into = click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Where to put it (a file or a folder)."
)


def what(command: Command) -> Command:
    """The options that say what an export holds."""
    for option in reversed(
        (
            click.option("--entity", "entities", multiple=True, help="This file; repeat for more."),
            click.option("--school", "schools", multiple=True, help="This org; repeat for more."),
            click.option("--profile", type=click.Choice(PROFILES), help="How it is written."),
            click.option("--encoding", type=click.Choice(ENCODINGS), help="For spreadsheets."),
            click.option("--identifiers", type=click.Choice(IDENTIFIERS), help="Whose ids."),
            click.option(
                "--no-metadata",
                "metadata",
                is_flag=True,
                default=True,
                flag_value=False,
                help="Without columns that no profile has.",
            ),
        )
    ):
        command = option(command)
    return command


def wanted(
    entities: Sequence[str], schools: Sequence[str], *, metadata: bool, **words: str | None
) -> Json:
    """The body that asks for it; what nobody named is left to the hub."""
    body: Json = {name: word for name, word in words.items() if word}
    if entities:
        body["entities"] = list(entities)
    if schools:
        body["schools"] = list(schools)
    return body if metadata else {**body, "metadata": False}


@click.group
def exports() -> None:
    """Get packages of the roster out."""


@exports.command
@what
@click.option("--since", help="Only what changed since this version, or since this instant.")
@for_client
@click.option("--wait", is_flag=True, help="Follow the export to its end.")
@into
@as_json
@talks_to_hub()
@pass_screen
def create(
    screen: Screen,
    /,
    client: "Client",
    *,
    since: str | None,
    reader: str | None,
    wait: bool,
    output: Path | None,
    as_json: bool,
    **asked: Any,  # noqa: ANN401  # the options of `what`
) -> None:
    """Export the roster: all of it, or what the options name.

    With --wait the exit status tells the outcome; with -o the package is fetched too.
    """
    body = wanted(**asked)
    if since is not None:
        body |= {"mode": "delta", "since": int(since) if since.isdecimal() else since}
    if reader:
        body["client"] = reader
    found = client.post(EXPORTS, body)
    if not (wait or output):
        if as_json:
            screen.json(found)
        else:
            screen.result(found["id"])
            screen.note(EXPORT_WAITS, export=found["id"])
        return
    found = watched(screen, client, found["id"], EXPORTS)
    judge(screen, found)
    if as_json:
        screen.json(found)
    else:
        told(screen, found)
    if output:
        fetched(screen, client, found, output)


@exports.command("list")
@click.option("--state", type=click.Choice(list(EXPORT_STATES)), help="In this state only.")
@click.option("--schedule", help="Of this schedule only.")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def list_exports(
    screen: Screen, /, client: "Client", limit: int, *, as_json: bool, **filters: str | None
) -> None:
    """List the newest exports."""
    query = {name: value for name, value in filters.items() if value}
    found = list(islice(client.items(EXPORTS, limit, **query), limit))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [line(screen, each) for each in found])


def line(screen: Screen, found: Json) -> list[object]:
    """An export as a line of the list."""
    package = found["package"] or {}
    rows = sum(found["counts"].values()) if found["package"] else None
    name = None if package.get("deleted_at") else package.get("name")
    return [
        *(found["id"], found["created_at"], screen.say(EXPORT_STATES[found["state"]])),
        *(found["version"], found["since"], found["profile"], rows, package.get("bytes"), name),
    ]


@exports.command
@an_export
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", export: str, *, as_json: bool) -> None:
    """Show one export: state, rows and file."""
    found = client.get(f"{EXPORTS}/{export}")
    if as_json:
        screen.json(found)
        return
    screen.result(f"{found['id']}  {screen.say(EXPORT_STATES[found['state']])}")
    if found["package"]:
        told(screen, found)
    elif found["failure"]:
        screen.result(f"{found['failure']['code']}: {found['failure']['message'][screen.lang]}")


@exports.command
@an_export
@into
@talks_to_hub()
@pass_screen
def download(screen: Screen, client: "Client", export: str, *, output: Path | None) -> None:
    """Fetch the package of an export; what a broken line left is gone on with."""
    fetched(screen, client, watched(screen, client, export, EXPORTS), output)


@exports.command
@an_export
@as_json
@talks_to_hub()
@pass_screen
def cancel(screen: Screen, client: "Client", export: str, *, as_json: bool) -> None:
    """End an export that is not completed yet."""
    found = client.post(f"{EXPORTS}/{export}/cancel", {})
    if as_json:
        screen.json(found)
    else:
        screen.note(EXPORT_CANCELLED, export=export)


def told(screen: Screen, found: Json) -> None:
    """What the package holds."""
    facts = {name: found[name] for name in ("profile", "version")}
    screen.result(screen.say(EXPORT_SHOWS, **facts, rows=f"{sum(found['counts'].values()):,}"))
    if found["since"] is not None:
        screen.result(screen.say(EXPORT_SINCE, since=found["since"]))
    for file, replaced in found["replaced"].items():
        lines = ", ".join(map(str, replaced["lines"]))
        screen.note(SIGNS_REPLACED, file=f"{file}.csv", signs=replaced["signs"], lines=lines)
    package = found["package"]
    if package["deleted_at"]:
        screen.note(EXPORT_FILE_GONE)
    else:
        screen.result(f"{package['name']}  {package['bytes']:,}  sha256:{package['sha256']}")


def judge(screen: Screen, found: Json) -> None:
    """Fail unless the export is completed: the exit status is the outcome."""
    if found["state"] == "completed":
        return
    reason = screen.say(NO_REASON)
    if found["failure"]:
        reason = found["failure"]["message"][screen.lang]
    elif found["cancelled_by"]:
        reason = screen.say(CANCELLED_BY, by=found["cancelled_by"])
    state = screen.say(EXPORT_STATES[found["state"]])
    raise Failure(EXPORT_ENDED, export=found["id"], state=state, reason=reason)


def fetched(screen: Screen, client: "Client", found: Json, output: Path | None) -> None:
    """Put the package where it is wanted, whole or not at all."""
    judge(screen, found)
    answer = client.get(f"{EXPORTS}/{found['id']}/download")
    target = placed(output, answer["name"])
    part = target.with_name(f"{target.name}.part")
    try:
        if part.exists() and part.stat().st_size >= answer["bytes"]:
            part.unlink()  # of another package
        arrive(screen, client, answer, part)
        if digest(part) != answer["sha256"]:
            part.unlink()
            raise Failure(DOWNLOAD_DAMAGED, file=target, export=found["id"])
        part.replace(target)
    except OSError as error:
        facts = {"file": target, "reason": error.strerror, "export": found["id"]}
        raise Failure(CANNOT_KEEP, **facts) from error
    screen.note(FINDINGS_WRITTEN, file=target)


def placed(output: Path | None, name: str) -> Path:
    """Where the package goes; its name is its own unless another is given."""
    if output is None:
        return Path(name)
    return output / name if output.is_dir() else output


def arrive(screen: Screen, client: "Client", answer: Json, part: Path) -> None:
    """Fetch what is missing, again where the line breaks."""
    from urllib.parse import urlsplit

    # The path only: the hub is where the command found it, whatever its public address is.
    path = urlsplit(answer["url"]).path
    for attempt in range(1, ATTEMPTS + 1):
        try:
            client.resume(path, part, answer["sha256"])
        except Failure as failure:
            if failure.problem is not UNREACHABLE or attempt == ATTEMPTS:
                raise
            screen.note(RETRYING, reason=failure.problem.code)
            time.sleep(PAUSE * attempt)
        else:
            return


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    import hashlib

    found = hashlib.sha256()
    with file.open("rb") as opened:
        while piece := opened.read(PIECE):
            found.update(piece)
    return found.hexdigest()
