"""How far an upload and its run are: bars on a terminal, a line per tenth of a file elsewhere."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import click

from deploy.cli.screen import Screen, printable
from deploy.messages import ROWS, SENDING, STAGES

WRITING = "write"  # what an export does all the time


class Meter(Protocol):
    """Shows how far things are."""

    def sent(self, done: int, total: int, /) -> None:
        """So many bytes of the upload are sent."""

    def shows(self, run: dict[str, Any], /) -> None:
        """The run stands like this now."""


@contextmanager
def meter(screen: Screen) -> Iterator[Meter]:
    """The meter that suits the reader, on standard error."""
    if screen.quiet:
        yield Silence()
    elif sys.stderr.isatty():
        from deploy.cli.bars import Bars

        with Bars(screen) as bars:
            yield bars
    else:
        yield Lines(screen)


class Silence:
    """Shows nothing."""

    def sent(self, done: int, total: int, /) -> None:
        """Be silent."""

    def shows(self, run: dict[str, Any], /) -> None:
        """Be silent."""


class Lines:
    """A line for each tenth of the upload, then of each file in each stage."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._tenths: dict[str, int] = {}

    def sent(self, done: int, total: int, /) -> None:
        """Count bytes."""
        self._line(self._screen.say(SENDING), done, total, "B")

    def shows(self, run: dict[str, Any], /) -> None:
        """Count rows."""
        for label, done, total in stages(self._screen, run):
            self._line(label, done, total, self._screen.say(ROWS))

    def _line(self, label: str, done: int, total: int, unit: str) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > self._tenths.get(label, 0):
            self._tenths[label] = tenth
            click.echo(f"{label} {10 * tenth} %  {done:,}/{total:,} {unit}", err=True)


def stages(screen: Screen, run: dict[str, Any]) -> Iterator[tuple[str, int, int]]:
    """What the run is at, in the reader's language: file by file, so many rows of so many."""
    if run["state"] == "running" and (stage := run.get("stage", WRITING)):
        told = screen.say(STAGES[stage])
        for file, rows in run["files"].items():
            yield f"{told} {printable(file)}", rows["done"], rows["total"]
