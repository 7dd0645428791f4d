"""`rosterhub dev`: a whole hub in this folder, for trying and developing."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

from pathlib import Path

import click

from deploy.cli.screen import Screen, pass_screen
from deploy.cli.serve import settings_with


@click.command
@click.pass_context
@pass_screen
def dev(screen: Screen, context: click.Context) -> None:
    """Start a hub here, with PostgreSQL, Redis and a demo district; Ctrl-C stops all of it.

    Its files are in .rosterhub/ and are there again the next time. ROSTERHUB_* variables are
    honoured: with ROSTERHUB_DATABASE_URL or ROSTERHUB_REDIS_URL, that server is used.
    """
    from deploy import dev as hub

    context.exit(hub.run(screen, settings_with(), Path.cwd()))
