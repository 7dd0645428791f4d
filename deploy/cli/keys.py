"""`rosterhub keys`: who may read and write the roster of a district."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

from typing import TYPE_CHECKING, Any

import click

from deploy.cli.clients import SHORT, at
from deploy.cli.hub import connect, district_option, key_option, talks_to_hub, url_option
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.serve import settings_with
from deploy.messages import (
    ADMIN_HAS_NO_SCOPE,
    BAD_USAGE,
    KEY_ONCE,
    NOT_A_CLIENTS_SCOPE,
    REVOKED,
    SETTING_WRONG,
    Failure,
)
from schemas.scopes import SCOPES

if TYPE_CHECKING:
    from deploy.client import Client

KEYS = "/api/v1/keys"
ADMIN_KEYS = "/api/v1/admin-keys"
PAGE = 100
COLUMNS = (
    "id",
    "label",
    "client",
    "scopes",
    "created_at",
    "expires_at",
    "last_used_at",
    "revoked_at",
)


@click.group
def keys() -> None:
    """Manage keys, with an administrator's key."""


@keys.command
@click.argument("label")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice((*SCOPES, *SHORT)),
    multiple=True,
    help="What it may do; repeat for more (default: all).",
)
@click.option("--client", "client_id", metavar="ID", help="The client whose key it is to be.")
@click.option("--expires-in-days", "days", type=click.IntRange(1, 365), help="Until it expires.")
@click.option("--admin", is_flag=True, help="An administrator's key, made in the database itself.")
@as_json
@url_option
@key_option
@district_option
@pass_screen
def create(
    screen: Screen,
    /,
    label: str,
    scopes: tuple[str, ...],
    client_id: str | None,
    days: int | None,
    *,
    admin: bool,
    as_json: bool,
    **hub: str | None,
) -> None:
    """Create a key named LABEL and print it, once.

    The first administrator's key of an installation is made with --admin on the server, where
    ROSTERHUB_DATABASE_URL and ROSTERHUB_SECRET_KEY are set.
    """
    if admin:
        if scopes:
            reason = screen.say(ADMIN_HAS_NO_SCOPE)
            raise Failure(BAD_USAGE, reason=reason, command="rosterhub keys create")
        made = made_in_database(label, days)
    else:
        words = list(scopes) if client_id is None else of_client(screen, scopes)
        path = KEYS if client_id is None else f"{at(client_id)}/keys"
        wanted = {"label": label, "scopes": words, "expires_in_days": days}
        with connect(**hub, as_admin=True) as client:
            made = client.post(path, {name: value for name, value in wanted.items() if value})
    if as_json:
        screen.json(made)
    else:
        screen.note(KEY_ONCE, expires_at=made["expires_at"])
        screen.result(made["key"])


def of_client(screen: Screen, scopes: tuple[str, ...]) -> list[str]:
    """The scopes of OneRoster that are meant."""
    if others := [scope for scope in scopes if scope not in SHORT]:
        reason = screen.say(NOT_A_CLIENTS_SCOPE, scope=others[0])
        raise Failure(BAD_USAGE, reason=reason, command="rosterhub keys create")
    return [SHORT[scope] for scope in scopes]


def made_in_database(label: str, days: int | None) -> dict[str, Any]:
    """An administrator's key, described as the hub describes a district's."""
    from deploy.admin_keys import DAYS, create_admin_key
    from deploy.database import reached
    from schemas.secrets import WeakSecret
    from schemas.settings import plain

    settings = settings_with("database_url", "secret_key")
    try:
        with reached(plain(settings.database_url)) as connection:
            key, expires_at = create_admin_key(
                connection, plain(settings.secret_key), label=label, days=days or DAYS
            )
    except WeakSecret as error:
        raise Failure(SETTING_WRONG, reason=(error.__doc__ or "").strip()) from error
    return {"id": key.id, "key": str(key), "expires_at": expires_at.isoformat()}


of_administrators = click.option(
    "--admin", is_flag=True, help="Keys of administrators, which belong to no district."
)


@keys.command("list")
@of_administrators
@as_json
@talks_to_hub(as_admin=True)
@pass_screen
def list_keys(screen: Screen, client: "Client", *, admin: bool, as_json: bool) -> None:
    """List the keys of a district; never the keys themselves."""
    found = list(client.items(where(client, admin=admin), PAGE))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, [[key.get(name) for name in COLUMNS] for key in found])


@keys.command
@click.argument("key_id", metavar="ID")
@of_administrators
@talks_to_hub(as_admin=True)
@pass_screen
def revoke(screen: Screen, client: "Client", key_id: str, *, admin: bool) -> None:
    """End a key: it is refused from now on. The last administrator's key stays."""
    client.delete(f"{where(client, admin=admin)}/{key_id}")
    screen.note(REVOKED, id=key_id)


def where(client: "Client", *, admin: bool) -> str:
    """The address of the keys that are meant."""
    if admin:
        client.speak_for(None)
    return ADMIN_KEYS if admin else KEYS
