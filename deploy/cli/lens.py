"""`rosterhub clients lens`: what a client sees of the roster, and why."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.screen import Screen, as_json, pass_screen, printable
from deploy.messages import (
    EVERYTHING,
    IS_NOT_VISIBLE,
    IS_VISIBLE,
    LENS_CHANGED,
    NOT_A_LIMIT,
    SEEN_AS,
    UNKNOWN_SCHOOLS,
    Failure,
)
from schemas.roster import ROSTERING

if TYPE_CHECKING:
    from deploy.client import Client

Json: TypeAlias = dict[str, Any]

FILES = [entity.file for entity in ROSTERING]
LIMITS = ("schools", "grades", "roles", "entities")
GRANTS = ("fields", "pseudonyms")
COLUMNS = ("limit", "value")
INDENT = "  "

a_client = click.argument("client_id", metavar="CLIENT")


@click.group
def lens() -> None:
    """See, change and explain what a client sees of the roster."""


@lens.command
@a_client
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", client_id: str, *, as_json: bool) -> None:
    """Show what CLIENT sees."""
    shown(screen, client.get(path(client_id)), as_json=as_json)


@lens.command("set")
@a_client
@click.argument("limits", metavar="KEY=VALUE...", nargs=-1, required=True)
@as_json
@talks_to_hub()
@pass_screen
def set_limits(
    screen: Screen, client: "Client", client_id: str, limits: tuple[str, ...], *, as_json: bool
) -> None:
    """Change what CLIENT sees: schools=s1,s2 grades=P1 fields=email,phone pseudonyms=names.

    A list has commas between its words; with nothing behind the sign, schools=, the limit or the
    grant is taken away.
    """
    stands = client.get(path(client_id))
    changes: Json = {}
    for given in limits:
        key, equals, text = given.partition("=")
        if not equals or key not in (*LIMITS, *GRANTS):
            raise Failure(NOT_A_LIMIT, given=given, client=client_id)
        words = [word for word in text.split(",") if word]
        changes[key] = words or ([] if key in GRANTS else None)
    changed = client.put(path(client_id), stands | changes)
    screen.note(LENS_CHANGED, revision=changed["revision"])
    shown(screen, changed, as_json=as_json)


@lens.command
@a_client
@click.argument("sourced_id", metavar="SOURCEDID")
@click.option("--entity", type=click.Choice(FILES), help="Of this entity only.")
@as_json
@talks_to_hub()
@pass_screen
def explain(
    screen: Screen,
    /,
    client: "Client",
    client_id: str,
    sourced_id: str,
    *,
    entity: str | None,
    as_json: bool,
) -> None:
    """Say why CLIENT sees the record SOURCEDID, or why not."""
    asked = {"sourcedId": sourced_id} | ({"entity": entity} if entity else {})
    found = client.get(f"{path(client_id)}/explain", **asked)
    if as_json:
        screen.json(found)
        return
    for item in found["items"]:
        for line in told(screen, item):
            screen.result(printable(line))


def path(client_id: str) -> str:
    """The address of the lens of a client."""
    return f"/api/v1/clients/{quote(client_id, safe='')}/lens"


def shown(screen: Screen, found: Json, *, as_json: bool) -> None:
    """The lens, a limit or a grant a line."""
    if found["unknown_schools"]:
        screen.note(UNKNOWN_SCHOOLS, schools=", ".join(found["unknown_schools"]))
    if as_json:
        screen.json(found)
        return
    rows = [(key, said(screen, found[key])) for key in (*LIMITS, *GRANTS)]
    screen.table(COLUMNS, rows)


def said(screen: Screen, value: list[str] | None) -> str:
    """A list as it is typed; no limit says so."""
    return screen.say(EVERYTHING) if value is None else ",".join(value)


def told(screen: Screen, item: Json, indent: str = "") -> Iterator[str]:
    """What an explanation says, what it rests on further in."""
    facts = {"entity": item["entity"], "id": item["sourcedId"]}
    if not item["visible"]:
        yield indent + screen.say(IS_NOT_VISIBLE, **facts)
    elif item["seen_as"] == item["sourcedId"]:
        yield indent + screen.say(IS_VISIBLE, **facts)
    else:
        yield indent + screen.say(SEEN_AS, name=item["seen_as"], **facts)
    inner = indent + INDENT
    for reason in item["reasons"]:
        sign = "✓" if reason["holds"] else "✗"
        yield f"{inner}{sign} {reason['message'][screen.lang]}"
        because = reason.get("because")
        if because and "entity" in because:
            yield from told(screen, because, inner + INDENT)
        elif because:
            yield f"{inner}{INDENT}{because['message'][screen.lang]}"
    for left in item["left_out"]:
        yield f"{inner}- {left['property']}: {left['message'][screen.lang]}"
