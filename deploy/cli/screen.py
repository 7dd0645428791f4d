"""What a command shows: results on standard output, all else on standard error.

Rich is imported when there is something to draw, and honours NO_COLOR.
"""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from deploy.messages import HEADINGS, NOTHING_YET, Failure, Lang, Text

if TYPE_CHECKING:
    from rich.console import Console

UNBOUNDED = 10_000  # columns; a pipe has no edge at which a table should break


@dataclass(frozen=True, slots=True)
class Screen:
    """The reader's language, and whether they want to be left in peace."""

    lang: Lang
    quiet: bool = False

    def say(self, text: Text, **facts: object) -> str:
        """The text in the reader's language."""
        return text.say(self.lang, **facts)

    def note(self, text: Text, **facts: object) -> None:
        """Tell what happens, unless the reader wants results only."""
        if not self.quiet:
            click.echo(self.say(text, **facts), err=True)

    def result(self, text: str) -> None:
        """Print what was asked for."""
        click.echo(text)

    def json(self, value: object) -> None:
        """Print what was asked for as one JSON object."""
        click.echo(json.dumps(value, ensure_ascii=False))

    def fail(self, failure: Failure) -> int:
        """Say what went wrong and what to try next; answer the exit status."""
        click.echo(printable(failure.say(self.lang)), err=True)
        return failure.problem.exit

    def table(self, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Print records, one a line."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in names:
            table.add_column(self.say(HEADINGS[name]) if name in HEADINGS else name)
        for row in rows:
            table.add_row(*map(cell, row))
        if table.row_count:
            console(sys.stdout).print(table)
        else:
            self.note(NOTHING_YET)


def console(stream: TextIO) -> "Console":
    """A plain drawing board: what comes from data is never read as markup."""
    from rich.console import Console

    width = None if stream.isatty() else UNBOUNDED
    return Console(
        file=stream, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False
    )


def cell(value: object) -> str:
    """A value in a table."""
    match value:
        case None:
            return ""
        case bool():
            return "✓" if value else "-"
        case list():
            return printable(" ".join(map(str, value)))
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """The text without signs that steer a terminal: data may hold anything."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "�" for sign in text)


pass_screen = click.make_pass_decorator(Screen)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

as_json: Decorator = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
