"""`rosterhub versions`: what each import changed, and the way back."""

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.receipt import receipt
from deploy.cli.runs import IMPORTS, at_most
from deploy.cli.screen import Screen, as_json, cell, pass_screen
from deploy.cli.watching import watched
from deploy.messages import CHANGES, COUNTS, RELEASED, RUN_WAITS, UNDONE_BY, VALUES_HIDDEN

if TYPE_CHECKING:
    from deploy.client import Client

VERSIONS = "/api/v1/versions"
COLUMNS = ("version", "published_at", "kind", "changes", "undoes", "undone_by", "released_at")
HIDDEN = "•••"

Json = dict[str, Any]

a_version = click.argument("version", type=click.IntRange(min=1))


@click.group
def versions() -> None:
    """See what each import changed; take one back."""


@versions.command("list")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def list_versions(screen: Screen, client: "Client", limit: int, *, as_json: bool) -> None:
    """List the newest versions of the roster."""
    found = list(islice(client.items(VERSIONS, limit), limit))
    if as_json:
        screen.json({"items": found})
    else:
        rows = [{**version, "changes": totals(screen, version)} for version in found]
        screen.table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])


def totals(screen: Screen, version: Json) -> str:
    """How many records were created, updated and deleted, over all files."""
    sums = {
        name: sum(counts.get(name, 0) for counts in version["counts"].values()) for name in CHANGES
    }
    return ", ".join(f"{screen.say(CHANGES[name])} {sums[name]}" for name in CHANGES if sums[name])


@versions.command
@a_version
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", version: int, *, as_json: bool) -> None:
    """Show one version: its run, its counts, and whether it is undone."""
    found = client.get(f"{VERSIONS}/{version}")
    if as_json:
        screen.json(found)
        return
    screen.result(f"{found['version']}  {found['published_at']}  {found['kind']}  {found['run']}")
    rows = [[file, *(of.get(name, 0) for name in COUNTS)] for file, of in found["counts"].items()]
    screen.table(["file", *(screen.say(text) for text in COUNTS.values())], rows)
    if found["undone_by"]:
        screen.result(screen.say(UNDONE_BY, version=found["undone_by"]))


@versions.command
@a_version
@click.option("--entity", help="Of this file only, such as users.")
@click.option("--change", type=click.Choice(list(CHANGES)), help="Of this kind only.")
@click.option("--school", help="Of this school only, by its sourcedId.")
@click.option("--show-values", is_flag=True, help="Show what the fields said and say.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all of it as a file for Excel.")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def diff(
    screen: Screen,
    /,
    client: "Client",
    version: int,
    limit: int,
    *,
    show_values: bool,
    as_csv: bool,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List the records that VERSION changed, field by field.

    Values are hidden on the screen unless they are asked for; --json and --csv have them.
    """
    path = f"{VERSIONS}/{version}/diff"
    asked = {name: value for name, value in filters.items() if value is not None}
    if as_csv:
        client.download(f"{path}.csv", sys.stdout.buffer, lang=screen.lang, **asked)
        return
    found = list(islice(client.items(path, limit, **asked), limit))
    if as_json:
        screen.json({"items": found})
        return
    rows = [row for change in found for row in lines(screen, change, show_values=show_values)]
    screen.table(("file", "sourced_id", "change", "field", "before", "after"), rows)
    if rows and not show_values:
        screen.note(VALUES_HIDDEN)


def lines(screen: Screen, change: Json, *, show_values: bool) -> list[list[object]]:
    """A change as lines of a table, one for each field."""
    word = screen.say(CHANGES[change["change"]])
    return [
        [
            *(change["entity"], change["sourcedId"], word, field),
            *(shown(values[when], show_values=show_values) for when in ("before", "after")),
        ]
        for field, values in change["fields"].items()
    ]


def shown(value: object, *, show_values: bool) -> str:
    """A value, or only that there is one."""
    return cell(value) if value is None or show_values else HIDDEN


@versions.command
@a_version
@click.option("--wait", is_flag=True, help="Follow the run to its end.")
@as_json
@talks_to_hub()
@pass_screen
def undo(screen: Screen, client: "Client", version: int, *, wait: bool, as_json: bool) -> None:
    """Take VERSION back; what was changed since is listed and left.

    That makes a new version, which can be undone as well. The address of the run is printed first.
    With --wait the exit status tells the outcome.
    """
    run = client.post(f"{VERSIONS}/{version}/undo", {})
    click.echo(f"{client.url}{IMPORTS}/{run['id']}", err=as_json)
    if wait:
        receipt(screen, client, watched(screen, client, run["id"]), as_json=as_json)
    elif as_json:
        screen.json(run)
    else:
        screen.note(RUN_WAITS, run=run["id"])


@versions.command
@a_version
@as_json
@talks_to_hub()
@pass_screen
def release(screen: Screen, client: "Client", version: int, *, as_json: bool) -> None:
    """Let packages bring back what the undo of VERSION took back."""
    found = client.post(f"{VERSIONS}/{version}/release", {})
    if as_json:
        screen.json(found)
    else:
        screen.note(RELEASED, version=found["undoes"])
