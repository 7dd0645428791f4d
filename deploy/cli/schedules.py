"""`rosterhub schedules`: exports that the hub makes by itself, again and again."""

from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import click

from deploy.cli.exports import for_client, wanted, what
from deploy.cli.hub import talks_to_hub
from deploy.cli.runs import at_most
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import SCHEDULE_DELETED, SCHEDULE_OFF, SCHEDULE_SAVED

if TYPE_CHECKING:
    from deploy.client import Client

SCHEDULES = "/api/v1/schedules"
COLUMNS = ("id", "name", "cron", "time_zone", "next_at", "last_at")

Json = dict[str, Any]
Switch = Literal["on", "off"]

a_schedule = click.argument("schedule", metavar="ID")
time_zone = click.option("--time-zone", metavar="ZONE", help="Such as Asia/Tokyo.")


@click.group
def schedules() -> None:
    """Let the hub export again and again."""


@schedules.command
@click.argument("name")
@click.argument("cron")
@time_zone
@what
@for_client
@click.option("--delta", is_flag=True, help="Each time what changed since the time before.")
@as_json
@talks_to_hub()
@pass_screen
def create(
    screen: Screen,
    /,
    client: "Client",
    name: str,
    cron: str,
    *,
    time_zone: str | None,
    reader: str | None,
    delta: bool,
    as_json: bool,
    **asked: Any,  # noqa: ANN401  # the options of `what`
) -> None:
    """Export at the times of CRON: minute, hour, day of the month, month, day of the week.

    The time zone is that of the district unless another is named.
    """
    body: Json = {"name": name, "cron": cron, "export": wanted(**asked)}
    if delta:
        body["export"]["mode"] = "delta"
    if time_zone:
        body["time_zone"] = time_zone
    if reader:
        body["client"] = reader
    told(screen, client.post(SCHEDULES, body), as_json=as_json)


@schedules.command("list")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def list_schedules(screen: Screen, client: "Client", limit: int, *, as_json: bool) -> None:
    """List the schedules."""
    found = list(islice(client.items(SCHEDULES, limit), limit))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [[each[name] for name in COLUMNS] for each in found])


@schedules.command("set")
@a_schedule
@click.option("--name", help="Call it otherwise.")
@click.option("--cron", help="At other times.")
@time_zone
@click.option("--switch", type=click.Choice(["on", "off"]), help="Switch it on or off.")
@as_json
@talks_to_hub()
@pass_screen
def change(
    screen: Screen,
    /,
    client: "Client",
    schedule: str,
    *,
    switch: Switch | None,
    as_json: bool,
    **changes: str | None,
) -> None:
    """Change when a schedule exports, or switch it on or off."""
    body: Json = {name: value for name, value in changes.items() if value}
    if switch:
        body["enabled"] = switch == "on"
    told(screen, client.patch(f"{SCHEDULES}/{schedule}", body), as_json=as_json)


@schedules.command
@a_schedule
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", schedule: str, *, as_json: bool) -> None:
    """Show one schedule."""
    found = client.get(f"{SCHEDULES}/{schedule}")
    if as_json:
        screen.json(found)
        return
    screen.table(COLUMNS, [[found[name] for name in COLUMNS]])
    said = {name: value for name, value in found["export"].items() if value not in (None, [])}
    screen.result("  ".join(f"{name}={value}" for name, value in said.items()))


@schedules.command
@a_schedule
@talks_to_hub()
@pass_screen
def delete(screen: Screen, client: "Client", schedule: str) -> None:
    """Delete a schedule; the exports that it made stay."""
    client.delete(f"{SCHEDULES}/{schedule}")
    screen.note(SCHEDULE_DELETED, schedule=schedule)


def told(screen: Screen, found: Json, *, as_json: bool) -> None:
    """How the schedule stands."""
    if as_json:
        screen.json(found)
    elif found["next_at"]:
        screen.result(found["id"])
        screen.note(SCHEDULE_SAVED, schedule=found["id"], next=found["next_at"])
    else:
        screen.note(SCHEDULE_OFF, schedule=found["id"])
