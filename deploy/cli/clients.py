"""`rosterhub clients`: the systems that read a district's roster."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.districts import agreed
from deploy.cli.hub import talks_to_hub
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import (
    CLIENT_CHANGED,
    CLIENT_DELETED,
    CLIENT_KEPT,
    CONFIRM_DELETE_CLIENT,
    ORIGINS_CHANGED,
    SECRET_ONCE,
    SECRET_REVOKED,
    SECRET_ROTATED,
    Failure,
)
from schemas.scopes import CLIENT_SCOPES

if TYPE_CHECKING:
    from deploy.client import Client

CLIENTS = "/api/v1/clients"
ORIGINS = "/api/v1/origins"
PAGE = 100
COLUMNS = ("id", "name", "enabled", "scopes", "networks", "rate_limit", "last_used_at")
SECRETS = ("id", "created_at", "expires_at", "last_used_at", "revoked_at")

Json = dict[str, Any]


def short(scope: str) -> str:
    """What people type for a scope: its last part, with 1.1 in front if it is of that version."""
    _, version, name = scope.replace("/scope/", "/").rsplit("/", 2)
    return name if version == "v1p2" else f"1.1:{name}"


SHORT = {short(scope): scope for scope in CLIENT_SCOPES}

client_id = click.argument("client_id", metavar="ID")
expires_in_days = click.option(
    "--expires-in-days", "days", type=click.IntRange(1, 365), help="Until the secret expires."
)
scopes_option = click.option(
    "--scope",
    "scopes",
    type=click.Choice(list(SHORT)),
    multiple=True,
    help="What it may read; repeat for more (default: all but demographics).",
)
networks_option = click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="CIDR",
    help="From where it may ask; repeat for more (default: everywhere).",
)
limit_option = click.option(
    "--rate-limit", type=click.IntRange(1), help="Requests a minute (default: as the hub is set)."
)


@click.group
def clients() -> None:
    """Manage the systems that read the roster of a district."""


@clients.command("list")
@as_json
@talks_to_hub(as_admin=True)
@pass_screen
def list_clients(screen: Screen, client: "Client", *, as_json: bool) -> None:
    """List the clients of the district."""
    found = list(client.items(CLIENTS, PAGE))
    if as_json:
        screen.json({"items": found})
    else:
        screen.table(COLUMNS, map(row_of, found))


@clients.command
@click.argument("name")
@scopes_option
@networks_option
@limit_option
@expires_in_days
@as_json
@talks_to_hub(as_admin=True)
@pass_screen
def create(  # noqa: PLR0917 -- the options
    screen: Screen,
    client: "Client",
    name: str,
    scopes: tuple[str, ...],
    networks: tuple[str, ...],
    rate_limit: int | None,
    days: int | None,
    *,
    as_json: bool,
) -> None:
    """Create the client NAME and print its id, its secret and where to ask for tokens, once."""
    wanted = named(scopes, networks, rate_limit) | {"name": name}
    made = client.post(CLIENTS, wanted | ({"expires_in_days": days} if days else {}))
    shown_once(screen, made, made["client_secret_expires_at"], as_json=as_json)


@clients.command
@client_id
@as_json
@talks_to_hub(as_admin=True)
@pass_screen
def show(screen: Screen, client: "Client", client_id: str, *, as_json: bool) -> None:
    """Show a client and its secrets, never the secrets themselves."""
    found = client.get(at(client_id))
    secrets = list(client.items(f"{at(client_id)}/secrets", PAGE))
    if as_json:
        screen.json(found | {"secrets": secrets})
    else:
        screen.table(COLUMNS, [row_of(found)])
        screen.table(SECRETS, [[secret[name] for name in SECRETS] for secret in secrets])


@clients.command
@client_id
@click.option("--name", help="Its name for people.")
@scopes_option
@networks_option
@limit_option
@click.option("--everywhere", is_flag=True, help="It may ask from everywhere again.")
@talks_to_hub(as_admin=True)
@pass_screen
def change(  # noqa: PLR0917 -- the options
    screen: Screen,
    client: "Client",
    client_id: str,
    name: str | None,
    scopes: tuple[str, ...],
    networks: tuple[str, ...],
    rate_limit: int | None,
    *,
    everywhere: bool,
) -> None:
    """Change what is named; what is not named stays. It holds from the next request on."""
    changes = named(scopes, networks, rate_limit)
    changes |= {"name": name} if name else {}
    changes |= {"networks": []} if everywhere else {}
    client.patch(at(client_id), changes)
    screen.note(CLIENT_CHANGED, id=client_id)


@clients.command
@client_id
@talks_to_hub(as_admin=True)
@pass_screen
def disable(screen: Screen, client: "Client", client_id: str) -> None:
    """Keep a client out: its tokens end now, its keys and secrets rest."""
    client.patch(at(client_id), {"enabled": False})
    screen.note(CLIENT_CHANGED, id=client_id)


@clients.command
@client_id
@talks_to_hub(as_admin=True)
@pass_screen
def enable(screen: Screen, client: "Client", client_id: str) -> None:
    """Let a client in again, with the secrets and keys that it had."""
    client.patch(at(client_id), {"enabled": True})
    screen.note(CLIENT_CHANGED, id=client_id)


@clients.command
@client_id
@expires_in_days
@as_json
@talks_to_hub(as_admin=True)
@pass_screen
def rotate(
    screen: Screen, client: "Client", client_id: str, days: int | None, *, as_json: bool
) -> None:
    """Make another secret and print it, once. The old one goes on until it is revoked."""
    made = client.post(f"{at(client_id)}/secrets", {"expires_in_days": days} if days else {})
    shown_once(screen, made, made["expires_at"], as_json=as_json)
    if not as_json:
        screen.note(SECRET_ROTATED, id=client_id)


@clients.command
@client_id
@click.argument("secret_id", metavar="SECRET")
@talks_to_hub(as_admin=True)
@pass_screen
def revoke(screen: Screen, client: "Client", client_id: str, secret_id: str) -> None:
    """End a secret, and with it every token that was asked for with it."""
    client.delete(f"{at(client_id)}/secrets/{secret_id}")
    screen.note(SECRET_REVOKED, id=secret_id)


@clients.command
@client_id
@click.option("--yes", is_flag=True, help="Do not ask.")
@talks_to_hub(as_admin=True)
@pass_screen
def delete(screen: Screen, client: "Client", client_id: str, *, yes: bool) -> None:
    """Delete a client with its secrets and keys."""
    if not yes and not agreed(screen.say(CONFIRM_DELETE_CLIENT, id=client_id)):
        raise Failure(CLIENT_KEPT, client=client_id)
    client.delete(at(client_id))
    screen.note(CLIENT_DELETED, id=client_id)


@clients.command
@click.option("--allow", multiple=True, metavar="ORIGIN", help="One more; repeat for several.")
@click.option("--remove", multiple=True, metavar="ORIGIN", help="One less; repeat for several.")
@as_json
@talks_to_hub(as_admin=True)
@pass_screen
def origins(
    screen: Screen,
    client: "Client",
    allow: tuple[str, ...],
    remove: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Show the web sites whose pages may ask about the district (CORS), or change them."""
    found = client.get(ORIGINS)
    if allow or remove:
        wanted = {*found["origins"], *allow} - {*remove}
        found = client.put(ORIGINS, {"origins": sorted(wanted)})
        screen.note(ORIGINS_CHANGED)
    if as_json:
        screen.json(found)
    else:
        screen.table(("origin",), [[origin] for origin in found["origins"]])


def at(client_id: str) -> str:
    """The address of a client."""
    from urllib.parse import quote

    return f"{CLIENTS}/{quote(client_id, safe='')}"


def named(scopes: Iterable[str], networks: tuple[str, ...], rate_limit: int | None) -> Json:
    """What the options say."""
    wanted = {
        "scopes": [SHORT[scope] for scope in scopes],
        "networks": list(networks),
        "rate_limit": rate_limit,
    }
    return {name: value for name, value in wanted.items() if value}


def row_of(found: Json) -> list[object]:
    """A client in a table."""
    shown = found | {"scopes": [short(scope) for scope in found["scopes"]]}
    return [shown[name] for name in COLUMNS]


def shown_once(screen: Screen, made: Json, expires_at: str, *, as_json: bool) -> None:
    """A secret alone on standard output, after what belongs to it."""
    if as_json:
        screen.json(made)
        return
    if "token_url" in made:
        screen.result(f"client_id      {made['id']}")
        screen.result(f"token_url      {made['token_url']}")
    screen.note(SECRET_ONCE, expires_at=expires_at)
    screen.result(f"client_secret  {made['client_secret']}")
