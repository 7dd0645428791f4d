"""`rosterhub webhooks`: who is rung when something happens in a district, and how that goes."""

import time
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.runs import a_moment, at_most, instant
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import (
    BAD_USAGE,
    RESEND_WHICH,
    RESENDING,
    SECRET_OVERLAPS,
    SIGNING_SECRET_ONCE,
    TRIAL_FAILED,
    TRIAL_LATE,
    TRIAL_RINGS,
    WEBHOOK_DELETED,
    WEBHOOK_DISABLED,
    WEBHOOK_ENABLED,
    Failure,
)
from schemas.webhooks import DELIVERY_STATES, EVENTS

if TYPE_CHECKING:
    from deploy.client import Client

WEBHOOKS = "/api/v1/webhooks"
COLUMNS = ("id", "enabled", "url", "events", "description", "failing_since")
LOG = ("id", "created_at", "type", "state", "attempts", "status", "failure")
PAGE = 100
PAUSE = 0.5  # seconds between two looks at a trial
PATIENCE = 20.0  # seconds; an attempt takes 15 at most

Json: TypeAlias = dict[str, Any]

a_webhook = click.argument("webhook", metavar="ID")
of_events = click.option(
    "--event",
    "events",
    type=click.Choice(EVENTS),
    multiple=True,
    help="What to be rung for; repeat for more (default: all).",
)


@click.group
def webhooks() -> None:
    """Be rung when something happens: subscribe, test, look at deliveries, send again."""


@webhooks.command("list")
@as_json
@talks_to_hub()
@pass_screen
def list_webhooks(screen: Screen, client: "Client", *, as_json: bool) -> None:
    """List the webhooks of the district."""
    found = list(client.items(WEBHOOKS, PAGE))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [[each[name] for name in COLUMNS] for each in found])


@webhooks.command
@click.argument("receiver", metavar="URL")
@of_events
@click.option("--description", default="", help="What it is for.")
@click.option("--ordered", is_flag=True, help="One at a time, none before an older one.")
@click.option("--client", "owner", metavar="ID", help="The client that it belongs to.")
@click.option("--disabled", is_flag=True, help="Begin switched off; what happens waits.")
@as_json
@talks_to_hub()
@pass_screen
def create(
    screen: Screen,
    /,
    client: "Client",
    receiver: str,
    events: tuple[str, ...],
    owner: str | None,
    *,
    description: str,
    ordered: bool,
    disabled: bool,
    as_json: bool,
) -> None:
    """Ring URL when something happens, and print the secret of the signatures, once."""
    new = {"url": receiver, "description": description, "ordered": ordered, "enabled": not disabled}
    named = {"events": list(events) or None, "client": owner}
    made = client.post(WEBHOOKS, new | {name: v for name, v in named.items() if v is not None})
    with_secret(screen, made, as_json=as_json)


@webhooks.command
@a_webhook
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", webhook: str, *, as_json: bool) -> None:
    """Show one webhook, and what there is to say about it."""
    shown(screen, client.get(f"{WEBHOOKS}/{webhook}"), as_json=as_json)


@webhooks.command("set")
@a_webhook
@click.option("--to", metavar="URL", help="Ring this URL from now on.")
@of_events
@click.option("--all-events", is_flag=True, help="Ring for everything.")
@click.option("--description", help="What it is for.")
@click.option("--ordered/--any-order", default=None, help="Whether to keep the order of events.")
@as_json
@talks_to_hub()
@pass_screen
def change(
    screen: Screen,
    /,
    client: "Client",
    webhook: str,
    events: tuple[str, ...],
    *,
    to: str | None,
    all_events: bool,
    as_json: bool,
    **values: object,
) -> None:
    """Change what the options name."""
    given = {name: value for name, value in (values | {"url": to}).items() if value is not None}
    given |= {"events": list(events)} if events else {}
    given |= {"events": None} if all_events else {}
    shown(screen, client.patch(f"{WEBHOOKS}/{webhook}", given), as_json=as_json)


@webhooks.command
@a_webhook
@click.option("--drop", is_flag=True, help="Drop what has waited instead of sending it.")
@talks_to_hub()
@pass_screen
def enable(screen: Screen, client: "Client", webhook: str, *, drop: bool) -> None:
    """Switch a webhook on, and send what has waited."""
    backlog = "drop" if drop else "send"
    client.patch(f"{WEBHOOKS}/{webhook}", {"enabled": True, "backlog": backlog})
    screen.note(WEBHOOK_ENABLED, id=webhook)


@webhooks.command
@a_webhook
@talks_to_hub()
@pass_screen
def disable(screen: Screen, client: "Client", webhook: str) -> None:
    """Switch a webhook off; what happens meanwhile waits."""
    client.patch(f"{WEBHOOKS}/{webhook}", {"enabled": False})
    screen.note(WEBHOOK_DISABLED, id=webhook)


@webhooks.command
@a_webhook
@talks_to_hub()
@pass_screen
def delete(screen: Screen, client: "Client", webhook: str) -> None:
    """Delete a webhook with its log."""
    client.delete(f"{WEBHOOKS}/{webhook}")
    screen.note(WEBHOOK_DELETED, id=webhook)


@webhooks.command
@a_webhook
@click.option("--now", is_flag=True, help="The old secret signs no longer: it is not safe.")
@as_json
@talks_to_hub()
@pass_screen
def rotate(screen: Screen, client: "Client", webhook: str, *, now: bool, as_json: bool) -> None:
    """Make a new secret and print it, once; for 24 hours the old one signs, too."""
    body = {"overlap_hours": 0} if now else {}
    made = client.post(f"{WEBHOOKS}/{webhook}/secret/rotate", body)
    with_secret(screen, made, as_json=as_json)
    if made["previous_secret_until"] and not as_json:
        screen.note(SECRET_OVERLAPS, until=made["previous_secret_until"])


@webhooks.command("test")
@a_webhook
@click.option("--wait", is_flag=True, help="Wait for the answer of the receiver.")
@as_json
@talks_to_hub()
@pass_screen
def trial(screen: Screen, client: "Client", webhook: str, *, wait: bool, as_json: bool) -> None:
    """Ring once. With --wait the exit status tells whether the receiver has taken it."""
    path = f"{WEBHOOKS}/{webhook}"
    made = client.post(f"{path}/test", {})
    screen.note(TRIAL_RINGS, id=made["id"])
    if wait:
        made = attempted(client, f"{path}/deliveries/{made['id']}", webhook)
    if as_json:
        screen.json(made)
    elif wait:
        screen.table(LOG, [line(made)])
    if wait and made["state"] != "delivered":
        last = made["attempts"][-1]["failure"]
        raise Failure(TRIAL_FAILED, reason=last["message"][screen.lang], webhook=webhook)


def attempted(client: "Client", path: str, webhook: str) -> Json:
    """The delivery after its first attempt."""
    until = time.monotonic() + PATIENCE
    while True:
        found = client.get(path)
        if any(each["seconds"] is not None for each in found["attempts"]):
            return found
        if time.monotonic() > until:
            raise Failure(TRIAL_LATE, webhook=webhook)
        time.sleep(PAUSE)


@webhooks.command
@a_webhook
@click.option("--state", "states", type=click.Choice(DELIVERY_STATES), multiple=True)
@click.option("--type", "kind", type=click.Choice(EVENTS), help="Of this type of event only.")
@click.option("--since", type=a_moment, callback=instant, help="Not before this day or time.")
@click.option("--until", type=a_moment, callback=instant, help="Before this day or time.")
@at_most
@as_json
@talks_to_hub()
@pass_screen
def deliveries(
    screen: Screen,
    /,
    client: "Client",
    webhook: str,
    limit: int,
    *,
    states: tuple[str, ...],
    kind: str | None,
    as_json: bool,
    **times: str | None,
) -> None:
    """List what was sent, newest first, and what came back."""
    asked = {"state": ",".join(states) or None, "type": kind} | times
    query = {name: value for name, value in asked.items() if value}
    path = f"{WEBHOOKS}/{webhook}/deliveries"
    found = list(islice(client.items(path, limit, **query), limit))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(LOG, [line(each) for each in found])


def line(delivery: Json) -> list[object]:
    """A delivery as a line of the log, with its last attempt."""
    attempts = delivery["attempts"]
    last = attempts[-1] if attempts else {"status": None, "failure": None}
    code = last["failure"] and last["failure"]["code"]
    head = [delivery[name] for name in ("id", "created_at", "type", "state")]
    return [*head, len(attempts), last["status"], code]


@webhooks.command
@a_webhook
@click.argument("delivery", metavar="[DELIVERY]", required=False)
@click.option("--since", type=a_moment, callback=instant, help="Events of this day or time on.")
@click.option("--until", type=a_moment, callback=instant, help="Events before this day or time.")
@click.option("--from-version", "version", type=click.IntRange(min=1), help="Versions from this.")
@click.option("--after", type=click.IntRange(min=0), help="Events behind this number.")
@click.option("--everything", is_flag=True, help="Also what has arrived.")
@as_json
@talks_to_hub()
@pass_screen
def resend(
    screen: Screen,
    /,
    client: "Client",
    webhook: str,
    delivery: str | None,
    *,
    everything: bool,
    as_json: bool,
    **asked: object,
) -> None:
    """Send one DELIVERY again, or the events of a range that have not arrived.

    Every event keeps its id, so that a receiver can tell what it has already.
    """
    chosen = {name: value for name, value in asked.items() if value is not None}
    if bool(chosen) == bool(delivery):
        reason = screen.say(RESEND_WHICH)
        raise Failure(BAD_USAGE, reason=reason, command="rosterhub webhooks resend")
    path = f"{WEBHOOKS}/{webhook}"
    if delivery:
        found = client.post(f"{path}/deliveries/{delivery}/resend", {})
    else:
        which = "everything" if everything else "undelivered"
        found = client.post(f"{path}/resend", chosen | {"which": which})
    if as_json:
        screen.json(found)
    else:
        screen.note(RESENDING, number=found.get("deliveries", 1))


@webhooks.command("statistics")
@a_webhook
@as_json
@talks_to_hub()
@pass_screen
def numbers(screen: Screen, client: "Client", webhook: str, *, as_json: bool) -> None:
    """Show what waits, and how the attempts of the last 24 hours went."""
    found = client.get(f"{WEBHOOKS}/{webhook}/statistics")
    if as_json:
        screen.json(found)
    else:
        screen.table(("name", "value"), [*leaves(found)])


def leaves(found: Json, above: str = "") -> list[list[object]]:
    """Every number under its dotted name."""
    rows: list[list[object]] = []
    for name, value in found.items():
        key = f"{above}{name}"
        rows += leaves(value, f"{key}.") if isinstance(value, dict) else [[key, value]]
    return rows


def with_secret(screen: Screen, made: Json, *, as_json: bool) -> None:
    """Print a secret that is never shown again."""
    if as_json:
        screen.json(made)
    else:
        screen.note(SIGNING_SECRET_ONCE, id=made["id"])
        screen.result(made["secret"])


def shown(screen: Screen, found: Json, *, as_json: bool) -> None:
    """A webhook, and its notices in the reader's language."""
    if as_json:
        screen.json(found)
        return
    rows = [[name, value] for name, value in found.items() if name not in ("notices", "disabled")]
    screen.table(("name", "value"), rows)
    for notice in found["notices"]:
        screen.result(f"{notice['at']}  {notice['message'][screen.lang]}")
