"""`rosterhub policy`: what a district decides about its imports."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import json
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import NOT_A_DECISION, POLICY_CHANGED, Failure

if TYPE_CHECKING:
    from deploy.client import Client

POLICY = "/api/v1/policy"
COLUMNS = ("decision", "value", "default")

Json = dict[str, Any]


@click.group
def policy() -> None:
    """See and change what a district decides about its imports."""


@policy.command
@as_json
@talks_to_hub()
@pass_screen
def show(screen: Screen, client: "Client", *, as_json: bool) -> None:
    """Show every decision beside its default."""
    shown(screen, client.get(POLICY), as_json=as_json)


@policy.command("set")
@click.argument("decisions", metavar="KEY=VALUE...", nargs=-1, required=True)
@as_json
@talks_to_hub()
@pass_screen
def set_decisions(
    screen: Screen, client: "Client", decisions: tuple[str, ...], *, as_json: bool
) -> None:
    """Decide otherwise: apply=review, guard.deletions=0.2, reading.repairs=cp932,null_text.

    The keys are those of `rosterhub policy show`; a list has commas between its words.
    """
    stands = flat(client.get(POLICY))
    changes: Json = {}
    for given in decisions:
        key, equals, text = given.partition("=")
        if not equals or key not in stands:
            raise Failure(NOT_A_DECISION, given=given)
        put(changes, key, meant(text, stands[key]))
    changed(screen, client.patch(POLICY, changes), as_json=as_json)


@policy.command
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@as_json
@talks_to_hub()
@pass_screen
def reset(screen: Screen, client: "Client", keys: tuple[str, ...], *, as_json: bool) -> None:
    """Go back to the default of each KEY; without one, to every default."""
    if not keys:
        changed(screen, client.put(POLICY, {}), as_json=as_json)
        return
    stands = flat(client.get(POLICY))
    changes: Json = {}
    for key in keys:
        if key not in stands:
            raise Failure(NOT_A_DECISION, given=key)
        put(changes, key, None)
    changed(screen, client.patch(POLICY, changes), as_json=as_json)


def changed(screen: Screen, found: Json, *, as_json: bool) -> None:
    """Say so, and how the policy stands."""
    screen.note(POLICY_CHANGED)
    shown(screen, found, as_json=as_json)


def shown(screen: Screen, found: Json, *, as_json: bool) -> None:
    """The whole policy."""
    if as_json:
        screen.json(found)
        return
    from schemas.policybook import FIELDS, typed

    defaults = {field.key: field.default for field in FIELDS}
    rows = [(key, typed(value), defaults.get(key)) for key, value in flat(found).items()]
    screen.table(COLUMNS, rows)


def flat(found: Json, above: str = "") -> Json:
    """Every decision under its dotted key."""
    leaves: Json = {}
    for name, value in found.items():
        key = f"{above}{name}"
        leaves |= flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return leaves


def put(changes: Json, key: str, value: object) -> None:
    """The change as the hub takes it: one object within another."""
    *groups, name = key.split(".")
    for group in groups:
        changes = changes.setdefault(group, {})
    changes[name] = value


def meant(text: str, stands: object) -> object:
    """The value that was typed, of the kind that stands there; the hub says what does not fit."""
    match stands:
        case str():
            return text
        case list():
            return [word for word in text.split(",") if word]
        case _:
            try:
                return json.loads(text)
            except json.JSONDecodeError:
                return text
