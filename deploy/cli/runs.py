"""`rosterhub runs`: what was imported, what is being imported, and what is wrong with it."""

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.receipt import findings as show_findings
from deploy.cli.receipt import found_text, receipt, summary
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.watching import watched
from deploy.messages import STAGES, STATES

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


@click.group
def runs() -> None:
    """See imports and their findings."""


@runs.command("list")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def list_runs(screen: Screen, client: "Client", limit: int, *, as_json: bool) -> None:
    """List the newest runs."""
    found = list(islice(client.items(IMPORTS, limit), limit))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(
            ["id", "state", "stage", "version", "findings"], [line(screen, r) for r in found]
        )


def line(screen: Screen, run: dict[str, Any]) -> list[object]:
    """A run as a line of the list."""
    found = found_text(screen, run["findings"])
    return [run["id"], screen.say(STATES[run["state"]]), stage(screen, run), run["version"], found]


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
    if found["failure"]:
        screen.result(f"{found['failure']['code']}: {found['failure']['message'][screen.lang]}")


@runs.command
@a_run
@at_most
@as_json
@talks_to_hub()
@pass_screen
def findings(screen: Screen, client: "Client", run: str, limit: int, *, as_json: bool) -> None:
    """List what is wrong in the package of a run, with line and column."""
    found = list(islice(client.items(f"{IMPORTS}/{run}/findings", limit), limit))
    if as_json:
        screen.json({"items": found})
    else:
        show_findings(screen, found)


@runs.command
@a_run
@as_json
@talks_to_hub()
@pass_screen
def watch(screen: Screen, client: "Client", run: str, *, as_json: bool) -> None:
    """Follow a run to its end; the exit status tells the outcome."""
    receipt(screen, client, watched(screen, client, run), as_json=as_json)
