"""`rosterhub push`: send a package, and see what becomes of it."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.progress import Meter, meter
from deploy.cli.receipt import receipt
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.watching import watched
from deploy.messages import NOTHING_SENT, RETRYING, RUN_WAITS, SINGLE_CSV, Failure

if TYPE_CHECKING:
    from deploy.client import Client

MODES = ("bulk", "delta", "upsert")
ATTEMPTS = 3
BACKOFF = 1.0  # seconds, times the number of the attempt
BUSY = frozenset({429, 502, 503, 504})


@click.command
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--wait", is_flag=True, help="Follow the run to its end.")
@click.option("--entity", help="What a single CSV holds, such as users.")
@click.option("--mode", type=click.Choice(MODES), help="How a single CSV is meant.")
@click.option("--review", is_flag=True, help="Show what would change, and wait for approval.")
@click.option("--as-of", metavar="DAY", help="The day it speaks of, such as 2026-04-01.")
@as_json
@talks_to_hub()
@pass_screen
def push(
    screen: Screen,
    client: "Client",
    file: Path,
    *,
    entity: str | None,
    mode: str | None,
    as_of: str | None,
    review: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Send FILE, a OneRoster package (.zip) or a single CSV, to the hub.

    The address of the run is printed first. With --wait the exit status tells the outcome.
    """
    query = single(file, entity, mode)
    query |= {"apply": "review"} if review else {}
    query |= {"as_of": as_of} if as_of else {}
    with meter(screen) as shown:
        run = sent(screen, client, file, query, shown)
    click.echo(f"{client.url}/api/v1/imports/{run['id']}", err=as_json)
    if wait:
        run = watched(screen, client, run["id"])
        receipt(screen, client, run, as_json=as_json)
    elif as_json:
        screen.json(run)
    else:
        screen.note(RUN_WAITS, run=run["id"])


def single(file: Path, entity: str | None, mode: str | None) -> dict[str, str]:
    """The query of a single CSV, nothing for a package; anything between is a mistake."""
    if not file.stat().st_size:
        raise Failure(NOTHING_SENT, file=file)
    given = {"entity": entity, "mode": mode}
    query = {name: value for name, value in given.items() if value}
    if len(query) != (len(given) if file.suffix.lower() == ".csv" else 0):
        raise Failure(SINGLE_CSV, file=file)
    return query


def sent(
    screen: Screen, client: "Client", file: Path, query: dict[str, str], shown: Meter
) -> dict[str, Any]:
    """Upload, again if the line breaks: all attempts have one idempotency key, so one run."""
    from deploy.client import Refused

    once = str(uuid.uuid4())
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return client.upload(file, query, once, shown.sent)
        except Failure as failure:
            final = isinstance(failure, Refused) and failure.status not in BUSY
            if final or attempt == ATTEMPTS:
                raise
            screen.note(RETRYING, reason=failure.problem.code)
            time.sleep(BACKOFF * attempt)
    raise AssertionError  # the last attempt returns or raises
