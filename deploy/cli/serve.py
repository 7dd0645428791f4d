"""`rosterhub serve` and `rosterhub work`: the processes of an installation."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import os
import sys
from functools import partial
from importlib import import_module, resources
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from deploy.messages import NO_WORKERS, SETTING_MISSING, SETTING_WRONG, Failure

if TYPE_CHECKING:
    from pipeline.packages import Lines
    from schemas.jobs import ProcessKind
    from schemas.settings import Settings
    from workers.supervisor import Program

KINDS = ("imports", "exports", "webhooks", "deltas", "service")
PARTS = ("process", "webhooks", "exports", "deltas", "service")
"""Of `workers`: those that can be loaded without data frames."""
NEEDED = ("database_url", "redis_url", "secret_key")


@click.command
def serve() -> None:
    """Run the gateway, as the ROSTERHUB_* variables say."""
    settings_with(*NEEDED)
    configuration = resources.files("deploy") / "gunicorn.conf.py"
    gunicorn = [sys.executable, "-m", "gunicorn", "-c", str(configuration), "api.main:app"]
    os.execv(sys.executable, gunicorn)  # noqa: S606 -- it takes this process's place


@click.command
@click.option("--process", "kind", type=click.Choice(KINDS), hidden=True)
@click.pass_context
def work(context: click.Context, kind: "ProcessKind | None") -> None:
    """Run the workers, as the ROSTERHUB_* variables say."""
    from deploy import logs

    settings = settings_with(*NEEDED)
    logs.configure(settings.log_format, settings.log_level)
    try:
        from workers import supervisor

        if kind is None:
            context.exit(supervisor.main(settings, load, program))
        run = program(kind)
    except ModuleNotFoundError as error:
        raise Failure(NO_WORKERS, reason=error.name) from error
    run(settings)


def load() -> None:
    """Bring in what worker processes need, but for data frames, which begin threads."""
    if find_spec("polars") is None:
        raise ModuleNotFoundError(name="polars")
    for name in ("deploy.feed_lines", *(f"workers.{part}" for part in PARTS)):
        import_module(name)


def program(kind: "ProcessKind") -> "Program":
    """What a worker process does; it loads what its kind needs, and no data frames for a bell."""
    if kind == "webhooks":
        from workers import webhooks

        return webhooks.run
    from workers import process

    return partial(process.run, kind=kind, lines=lines_of)


def lines_of(settings: "Settings") -> "Lines":
    """What writes the events of the feed for packages; only one kind of process asks."""
    from deploy.feed_lines import FeedLines

    return FeedLines(settings.base)


def settings_with(*needed: str) -> "Settings":
    """The settings of this process, the needed ones among them."""
    from pydantic import ValidationError

    from schemas.settings import PREFIX, Settings, UnknownSetting

    try:
        settings = Settings.from_env()
    except UnknownSetting as error:
        raise Failure(SETTING_WRONG, reason=error) from error
    except ValidationError as error:
        wrong = ", ".join(
            f"{PREFIX}{'.'.join(map(str, each['loc'])).upper()}: {each['msg']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        raise Failure(SETTING_WRONG, reason=wrong) from None  # its text may hold a secret
    missing = [PREFIX + name.upper() for name in needed if not getattr(settings, name)]
    if missing:
        raise Failure(SETTING_MISSING, names=", ".join(missing))
    return settings
