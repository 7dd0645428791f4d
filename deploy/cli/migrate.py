"""`rosterhub migrate`: bring the database to this version, or say how far it is."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

from typing import TYPE_CHECKING, Literal

import click

from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.cli.serve import settings_with
from deploy.messages import MIGRATED, MIGRATIONS_MISSING, NOTHING_TO_MIGRATE, Failure

if TYPE_CHECKING:
    from migrations.runner import Status


@click.command
@click.argument("what", type=click.Choice(["up", "status", "check"]), default="up")
@as_json
@pass_screen
def migrate(screen: Screen, what: Literal["up", "status", "check"], *, as_json: bool) -> None:
    """Migrate the database of ROSTERHUB_DATABASE_URL.

    `up` (the default) applies what is missing, `status` lists all migrations, `check` ends with
    status 1 if one is missing.
    """
    from deploy.database import translated
    from migrations import runner
    from schemas.settings import plain

    url = plain(settings_with("database_url").database_url)
    with translated():
        match what:
            case "up":
                show_applied(screen, runner.up(url), as_json=as_json)
            case "status":
                show_all(screen, runner.status(url), as_json=as_json)
            case "check":
                check(screen, runner.status(url), as_json=as_json)


def show_applied(screen: Screen, applied: list[str], *, as_json: bool) -> None:
    """What `up` did."""
    if as_json:
        screen.json({"applied": applied})
    elif applied:
        screen.result(screen.say(MIGRATED, list=", ".join(applied)))
    else:
        screen.note(NOTHING_TO_MIGRATE)


def show_all(screen: Screen, found: "list[Status]", *, as_json: bool) -> None:
    """Every migration, and whether it is applied."""
    if as_json:
        screen.json({"migrations": [each._asdict() for each in found]})
    else:
        screen.table(["migration", "applied"], found)


def check(screen: Screen, found: "list[Status]", *, as_json: bool) -> None:
    """Fail if a migration is missing."""
    missing = [each.id for each in found if not each.applied]
    if as_json:
        screen.json({"missing": missing})
    if missing:
        raise Failure(MIGRATIONS_MISSING, list=", ".join(missing))
    if not as_json:
        screen.note(NOTHING_TO_MIGRATE)
