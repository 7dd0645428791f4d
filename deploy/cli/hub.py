"""Which hub a command talks to: its options, else RH_* variables, else the hub of this folder.

`rosterhub dev` leaves `.rosterhub/run.json` behind while it runs. Its keys are for its own address:
they are never sent to a hub that was named otherwise.
"""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from deploy.messages import NO_HUB, NO_KEY, Failure

if TYPE_CHECKING:
    from deploy.client import Client

RUN_FILE = Path(".rosterhub/run.json")

Command: TypeAlias = Callable[..., Any]


url_option = click.option("--url", envvar="RH_URL", help="Address of the hub.  [env: RH_URL]")
key_option = click.option(
    "--key", envvar="RH_KEY", help="API key; safer in the variable.  [env: RH_KEY]"
)
district_option = click.option(
    "--district",
    envvar="RH_DISTRICT",
    help="District, with an administrator's key.  [env: RH_DISTRICT]",
)


def talks_to_hub(
    *, as_admin: bool = False, for_district: bool = True
) -> Callable[[Command], Command]:
    """Give a command the options that name a hub, and a `client` of it."""

    def decorate(command: Command) -> Command:
        @url_option
        @key_option
        @functools.wraps(command)
        def with_client(
            *given: object,
            url: str | None,
            key: str | None,
            district: str | None = None,
            **options: object,
        ) -> object:
            with connect(url, key, district, as_admin=as_admin) as client:
                if not for_district:
                    client.speak_for(None)
                return command(*given, client=client, **options)

        return district_option(with_client) if for_district else with_client

    return decorate


def connect(url: str | None, key: str | None, district: str | None, *, as_admin: bool) -> "Client":
    """A client of the hub that is meant."""
    from deploy.client import Client

    here = running_here()
    if url is None and here is None:
        raise Failure(NO_HUB)
    if here and url in (None, here["base_url"]):
        url = here["base_url"]
        key = key or here["admin_key" if as_admin else "api_key"]
        district = district or here["district"]
    if not url or not key:
        raise Failure(NO_KEY)
    return Client(url, key, district)


def running_here() -> dict[str, str] | None:
    """What the hub of this folder says about itself, while it runs."""
    try:
        found: dict[str, str] = json.loads(RUN_FILE.read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None
    return found
