"""`rosterhub erasures`: erase people, see what is left of that, and let them come back."""

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.receipt import judge
from deploy.cli.runs import at_most, last_part
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.watching import watched
from deploy.messages import (
    CONFIRM_ERASE,
    ERASE_HOW,
    ERASED_FILES,
    ERASED_RECEIPT,
    ERASED_UNKNOWN,
    ERASURE_RELEASED,
    ERASURE_WAITS,
    NOT_ERASED,
    STATES,
    Failure,
)

if TYPE_CHECKING:
    from deploy.client import Client

ERASURES = "/api/v1/erasures"
COLUMNS = ("id", "created_at", "state", "cause", "people", "reference", "version", "released_at")

Json = dict[str, Any]

an_erasure = click.argument("erasure", metavar="ID", callback=last_part)


@click.group
def erasures() -> None:
    """Erase people wherever the hub keeps something of them."""


@erasures.command
@click.argument("users", metavar="SOURCEDID...", nargs=-1, required=True)
@click.option("--reference", metavar="NUMBER", help="A number of your files; never a name.")
@click.option("--may-return", is_flag=True, help="Let packages bring them back.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Follow the erasure to its end, and show the receipt.")
@as_json
@talks_to_hub()
@pass_screen
def request(
    screen: Screen,
    /,
    client: "Client",
    users: tuple[str, ...],
    reference: str | None,
    *,
    may_return: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Erase people by their sourcedIds. It cannot be taken back.

    With --wait the exit status tells the outcome.
    """
    if not (yes or click.confirm(screen.say(CONFIRM_ERASE, count=len(users)), err=True)):
        raise Failure(NOT_ERASED, users=" ".join(users))
    body = {"users": [*users], "reference": reference, "keep_out": not may_return}
    found = client.post(ERASURES, body)
    click.echo(f"{client.url}{ERASURES}/{found['id']}", err=as_json)
    if wait:
        run = watched(screen, client, found["id"])
        shown(screen, client.get(f"{ERASURES}/{found['id']}"), as_json=as_json)
        judge(screen, run)
    elif as_json:
        screen.json(found)
    else:
        screen.note(ERASURE_WAITS, erasure=found["id"])


@erasures.command("list")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def list_erasures(screen: Screen, client: "Client", limit: int, *, as_json: bool) -> None:
    """List the newest erasures."""
    found = list(islice(client.items(ERASURES, limit), limit))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [line(screen, erasure) for erasure in found])


def line(screen: Screen, erasure: Json) -> list[object]:
    """An erasure as a line of the list."""
    own = {
        **erasure,
        "state": screen.say(STATES[erasure["state"]]),
        "people": (erasure["receipt"] or {}).get("rows", {}).get("users"),
    }
    return [own[name] for name in COLUMNS]


@erasures.command
@an_erasure
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", erasure: str, *, as_json: bool) -> None:
    """Show one erasure, and its receipt when it is done."""
    shown(screen, client.get(f"{ERASURES}/{erasure}"), as_json=as_json)


@erasures.command
@an_erasure
@as_json
@talks_to_hub()
@pass_screen
def release(screen: Screen, client: "Client", erasure: str, *, as_json: bool) -> None:
    """Let packages bring back the people of an erasure; what was erased stays erased."""
    found = client.post(f"{ERASURES}/{erasure}/release", {})
    if as_json:
        screen.json(found)
    else:
        screen.note(ERASURE_RELEASED)


def shown(screen: Screen, erasure: Json, *, as_json: bool) -> None:
    """State and receipt: where something was wiped, and how much."""
    if as_json:
        screen.json(erasure)
        return
    state = screen.say(STATES[erasure["state"]])
    screen.result(f"{erasure['id']}  {state}  {' '.join(erasure['users'])}".rstrip())
    if (receipt := erasure["receipt"]) is None:
        screen.note(ERASE_HOW, erasure=erasure["id"])
        return
    facts = {name: receipt[name] for name in ("version", "erased_at", "sha256")}
    screen.result(screen.say(ERASED_RECEIPT, **facts))
    wiped = [(store, rows) for store, rows in receipt["rows"].items() if rows]
    screen.table(("store", "rows"), wiped)
    for store, files in receipt["files"].items():
        screen.result(screen.say(ERASED_FILES, store=store, files=files))
    if unknown := receipt["without_record"]:
        screen.result(screen.say(ERASED_UNKNOWN, users=" ".join(unknown)))
