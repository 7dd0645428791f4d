"""`rosterhub districts`: the tenants of an installation."""

import sys
from typing import TYPE_CHECKING

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import (
    CONFIRM_DELETE,
    DISTRICT_CREATED,
    DISTRICT_DELETED,
    NOT_CONFIRMED,
    Failure,
)

if TYPE_CHECKING:
    from deploy.client import Client

DISTRICTS = "/api/v1/districts"
PAGE = 100
COLUMNS = ("id", "name", "created_at")


@click.group
def districts() -> None:
    """Manage districts, with an administrator's key."""


@districts.command
@click.argument("district_id", metavar="ID")
@click.option("--name", help="Its name for people (default: ID).")
@as_json
@talks_to_hub(as_admin=True, for_district=False)
@pass_screen
def create(
    screen: Screen, client: "Client", district_id: str, name: str | None, *, as_json: bool
) -> None:
    """Create the district ID: lower-case letters, digits and hyphens."""
    made = client.post(DISTRICTS, {"id": district_id, "name": name or district_id})
    if as_json:
        screen.json(made)
    else:
        screen.note(DISTRICT_CREATED, id=district_id)


@districts.command("list")
@as_json
@talks_to_hub(as_admin=True, for_district=False)
@pass_screen
def list_districts(screen: Screen, client: "Client", *, as_json: bool) -> None:
    """List the districts."""
    found = list(client.items(DISTRICTS, PAGE))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [[district.get(name) for name in COLUMNS] for district in found])


@districts.command
@click.argument("district_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@talks_to_hub(as_admin=True, for_district=False)
@pass_screen
def delete(screen: Screen, client: "Client", district_id: str, *, yes: bool) -> None:
    """Delete the district ID with all its data."""
    if not yes and not agreed(screen.say(CONFIRM_DELETE, id=district_id)):
        raise Failure(NOT_CONFIRMED, district=district_id)
    client.delete(f"{DISTRICTS}/{district_id}")
    screen.note(DISTRICT_DELETED, id=district_id)


def agreed(question: str) -> bool:
    """Whether somebody is there and says yes."""
    return sys.stdin.isatty() and click.confirm(question, err=True)
