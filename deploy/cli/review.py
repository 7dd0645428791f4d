"""`rosterhub runs diff|rekey|approve|reject`: look at what a run would change, and answer it."""

import sys
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.receipt import receipt
from deploy.cli.runs import IMPORTS, a_run, at_most
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.versions import lines
from deploy.cli.watching import watched
from deploy.messages import (
    ACCEPT_REKEY,
    APPROVE_REST,
    CHANGES,
    DIFF_HASH,
    FOLLOWS,
    LEFT_OUT,
    REKEY_HOW,
    REKEYED,
    RUN_APPROVED,
    RUN_DROPPED,
    VALUES_HIDDEN,
    WOULD_STILL_CHANGE,
)

if TYPE_CHECKING:
    from deploy.client import Client

Json = dict[str, Any]


@click.command
@a_run
@click.option("--entity", help="Of this file only, such as users.")
@click.option("--change", type=click.Choice(list(CHANGES)), help="Of this kind only.")
@click.option("--school", help="Of this school only, by its sourcedId.")
@click.option("--show-values", is_flag=True, help="Show what the fields say and would say.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all of it as a file for Excel.")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def diff(
    screen: Screen,
    /,
    client: "Client",
    run: str,
    limit: int,
    *,
    show_values: bool,
    as_csv: bool,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List what a run that waits would change, field by field.

    Values are hidden on the screen unless they are asked for; --json and --csv have them.
    """
    path = f"{IMPORTS}/{run}/diff"
    asked = {name: value for name, value in filters.items() if value is not None}
    if as_csv:
        client.download(f"{path}.csv", sys.stdout.buffer, lang=screen.lang, **asked)
        return
    shown = client.get(path, limit=1)
    found = list(islice(client.items(path, limit, **asked), limit))
    if as_json:
        screen.json({"diff": shown["diff"], "items": found})
        return
    rows = [row for change in found for row in lines(screen, change, show_values=show_values)]
    screen.table(("file", "sourced_id", "change", "field", "before", "after"), rows)
    screen.result(screen.say(DIFF_HASH, diff=shown["diff"]))
    if rows and not show_values:
        screen.note(VALUES_HIDDEN)


@click.command
@a_run
@click.option("--diff", "seen", metavar="HASH", help="What you have seen; refused if it changed.")
@click.option(
    "--except-school", "schools", multiple=True, metavar="ID", help="Leave a school out; repeat."
)
@click.option(
    "--except-entity", "entities", multiple=True, metavar="FILE", help="Leave a file out; repeat."
)
@click.option("--rekey", is_flag=True, help="Keep the hub's sourcedIds, as the map proposes.")
@click.option("--yes", is_flag=True, help="Do not ask before leaving out or accepting the map.")
@click.option("--wait", is_flag=True, help="Follow the run to its end.")
@as_json
@talks_to_hub()
@pass_screen
def approve(
    screen: Screen,
    /,
    client: "Client",
    run: str,
    *,
    seen: str | None,
    schools: tuple[str, ...],
    entities: tuple[str, ...],
    rekey: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Apply exactly what a run that waits has shown.

    Schools and files can be left out; what depends on them is left out too, and is shown first.
    With --rekey records that only have another sourcedId keep the one that the hub knows.
    """
    if rekey and (schools or entities):
        raise click.UsageError("--rekey is for the whole run: leave --except-… away.")
    body: Json = {"diff": seen or client.get(f"{IMPORTS}/{run}")["diff"] or ""}
    if rekey:
        rest = rekeyed(screen, client, run)
        if not yes:
            click.confirm(screen.say(ACCEPT_REKEY), abort=True, err=True)
        body = {"diff": rest["diff"], "rekey": True}
    elif schools or entities:
        given = {"schools": list(schools), "entities": list(entities)}
        rest = without(screen, client, run, given)
        if not yes:
            click.confirm(screen.say(APPROVE_REST), abort=True, err=True)
        body = {"diff": rest["diff"], "except": given}
    found = client.post(f"{IMPORTS}/{run}/approve", body)
    if wait:
        receipt(screen, client, watched(screen, client, run), as_json=as_json)
    elif as_json:
        screen.json(found)
    else:
        screen.note(RUN_APPROVED, run=run)


def without(screen: Screen, client: "Client", run: str, given: Json) -> Json:
    """What leaving these out comes to, shown; raises where it comes to nothing that holds."""
    client.post(f"{IMPORTS}/{run}/exclusions", given)
    found = watched(screen, client, run)
    rest: Json | None = found["exclusions"]
    said = {name: sorted(set(keys)) for name, keys in given.items()}
    if rest is None or rest["except"] != said:
        receipt(screen, client, found, as_json=False)
        raise click.Abort
    for file, counts in rest["excluded"].items():
        total = sum(counts.values())
        screen.note(LEFT_OUT, file=file, count=total)
    for each in rest["examples"]:
        screen.note(FOLLOWS, **each)
    return rest


def rekeyed(screen: Screen, client: "Client", run: str) -> Json:
    """What accepting the map comes to, shown; raises where it comes to nothing that holds."""
    client.post(f"{IMPORTS}/{run}/rekey", {})
    found = watched(screen, client, run)
    rest: Json | None = found["rekey"]
    if rest is None or found["failure"]:
        receipt(screen, client, found, as_json=False)
        raise click.Abort
    for file, count in rest["rekeyed"].items():
        screen.note(REKEYED, file=file, count=count)
    for file, counts in rest["counts"].items():
        if total := sum(counts.values()):
            screen.note(WOULD_STILL_CHANGE, file=file, count=total)
    return rest


@click.command("rekey")
@a_run
@click.option("--entity", help="Of this file only, such as users.")
@click.option("--csv", "as_csv", is_flag=True, help="Print all of it as a file for Excel.")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def rekey_map(
    screen: Screen,
    /,
    client: "Client",
    run: str,
    limit: int,
    *,
    as_csv: bool,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List which new sourcedIds seem to stand for records that the hub knows by others."""
    path = f"{IMPORTS}/{run}/rekey"
    asked = {name: value for name, value in filters.items() if value is not None}
    if as_csv:
        client.download(f"{path}.csv", sys.stdout.buffer, lang=screen.lang, **asked)
        return
    found = list(islice(client.items(path, limit, **asked), limit))
    if as_json:
        screen.json({"items": found})
        return
    rows = [[e["entity"], e["sourcedId"], e["hubSourcedId"], ", ".join(e["alike"])] for e in found]
    screen.table(("file", "sourced_id", "hub_id", "alike"), rows)
    screen.note(REKEY_HOW, run=run)


@click.command
@a_run
@as_json
@talks_to_hub()
@pass_screen
def reject(screen: Screen, client: "Client", run: str, *, as_json: bool) -> None:
    """Drop what a run that waits would have changed."""
    found = client.post(f"{IMPORTS}/{run}/reject", {})
    if as_json:
        screen.json(found)
    else:
        screen.note(RUN_DROPPED, run=run)
