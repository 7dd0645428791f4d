"""`rosterhub aliases`: the sourcedIds that a source uses for records the hub knows by others."""

from itertools import islice
from typing import TYPE_CHECKING

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.runs import at_most
from deploy.cli.screen import Screen, as_json, pass_screen

if TYPE_CHECKING:
    from deploy.client import Client

PATH = "/api/v1/aliases"
NAMES = ("entity", "sourcedId", "hubSourcedId", "version")


@click.command
@click.argument("sourced_id", metavar="[SOURCEDID]", required=False)
@click.option("--entity", help="Of this file only, such as users.")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def aliases(
    screen: Screen,
    /,
    client: "Client",
    sourced_id: str | None,
    limit: int,
    *,
    entity: str | None,
    as_json: bool,
) -> None:
    """List the aliases that approved re-keys have made, or find one by either of its ids."""
    asked = {name: v for name, v in (("sourcedId", sourced_id), ("entity", entity)) if v}
    found = list(islice(client.items(PATH, limit, **asked), limit))
    if as_json:
        screen.json({"items": found})
        return
    rows = [
        [each["entity"], each["sourcedId"], each["hubSourcedId"], each["version"]] for each in found
    ]
    screen.table(("file", "sourced_id", "hub_id", "version"), rows)
