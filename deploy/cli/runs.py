"""`rosterhub runs`: what was imported and what is being imported; taking back, trying again."""

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.receipt import found_text, receipt, summary
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.watching import watched
from deploy.messages import RUN_CANCELLED, RUN_WAITS, STAGES, STATES

if TYPE_CHECKING:
    from deploy.client import Client

IMPORTS = "/api/v1/imports"


def last_part(_: click.Context, __: click.Parameter, run: str) -> str:
    """A run by its id, or by the address that `push` printed."""
    return run.rstrip("/").rpartition("/")[2]


a_run = click.argument("run", metavar="ID", callback=last_part)
at_most = click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most."
)


KINDS = ("import", "undo", "erasure")
COLUMNS = ("id", "created_at", "state", "stage", "version", "findings", "upload")


def instant(_: click.Context, __: click.Parameter, given: datetime | None) -> str | None:
    """A day or a time of the reader's clock, as an instant that the hub understands."""
    return given.astimezone().isoformat() if given else None


a_moment = click.DateTime(
    ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
)


@click.group
def runs() -> None:
    """See imports and their findings; cancel one, or try it again."""


@runs.command("list")
@click.option(
    "--state", "states", type=click.Choice(list(STATES)), multiple=True, help="Repeat for more."
)
@click.option("--kind", type=click.Choice(KINDS), help="Imports, what was taken back, or erasures.")
@click.option("--entity", help="What a single CSV holds, such as users.")
@click.option("--created-by", metavar="KEY", help="Id of the key that pushed.")
@click.option("--since", type=a_moment, callback=instant, help="Not before this day or time.")
@click.option("--until", type=a_moment, callback=instant, help="Before this day or time.")
@click.option("--file", help="A part of the name of the uploaded file.")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def list_runs(
    screen: Screen,
    /,
    client: "Client",
    states: tuple[str, ...],
    limit: int,
    *,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List the newest runs, or those that the options name."""
    query = {name: value for name, value in filters.items() if value}
    if states:
        query["state"] = ",".join(states)
    found = list(islice(client.items(IMPORTS, limit, **query), limit))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [line(screen, run) for run in found])


def line(screen: Screen, run: dict[str, Any]) -> list[object]:
    """A run as a line of the list."""
    found = found_text(screen, run["findings"])
    state = screen.say(STATES[run["state"]])
    name = (run.get("upload") or {}).get("name")  # an undo has none
    made = run.get("created_at")
    return [run["id"], made, state, stage(screen, run), run["version"], found, name]


def stage(screen: Screen, run: dict[str, Any]) -> str:
    """How far the run is, or where it ended."""
    return screen.say(STAGES[run["stage"]]) if run["stage"] else ""


@runs.command
@a_run
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", run: str, *, as_json: bool) -> None:
    """Show one run: state, counts and number of findings."""
    found = client.get(f"{IMPORTS}/{run}")
    if as_json:
        screen.json(found)
        return
    screen.result(f"{found['id']}  {screen.say(STATES[found['state']])}  {stage(screen, found)}")
    summary(screen, found)
    if found["failure"] and found["state"] == "failed":
        screen.result(f"{found['failure']['code']}: {found['failure']['message'][screen.lang]}")


@runs.command
@a_run
@as_json
@talks_to_hub()
@pass_screen
def watch(screen: Screen, client: "Client", run: str, *, as_json: bool) -> None:
    """Follow a run to its end; the exit status tells the outcome."""
    receipt(screen, client, watched(screen, client, run), as_json=as_json)


@runs.command
@a_run
@as_json
@talks_to_hub()
@pass_screen
def cancel(screen: Screen, client: "Client", run: str, *, as_json: bool) -> None:
    """Take back a run that has applied nothing yet."""
    found = client.post(f"{IMPORTS}/{run}/cancel", {})
    if as_json:
        screen.json(found)
    else:
        screen.note(RUN_CANCELLED, run=run)


@runs.command
@a_run
@click.option("--wait", is_flag=True, help="Follow the new run to its end.")
@as_json
@talks_to_hub()
@pass_screen
def retry(screen: Screen, client: "Client", run: str, *, wait: bool, as_json: bool) -> None:
    """Import the upload of a run once more, after it was rejected, has failed or was cancelled.

    The address of the new run is printed first. With --wait the exit status tells the outcome.
    """
    again = client.post(f"{IMPORTS}/{run}/retry", {})
    click.echo(f"{client.url}{IMPORTS}/{again['id']}", err=as_json)
    if wait:
        receipt(screen, client, watched(screen, client, again["id"]), as_json=as_json)
    elif as_json:
        screen.json(again)
    else:
        screen.note(RUN_WAITS, run=again["id"])
