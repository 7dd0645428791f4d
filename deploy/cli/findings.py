"""`rosterhub runs findings`: what is wrong in a package, on the screen or as a file."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.hub import talks_to_hub
from deploy.cli.receipt import findings as show_findings
from deploy.cli.runs import IMPORTS, a_run, at_most
from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import (
    CANNOT_SAVE,
    FINDINGS_WRITTEN,
    ROWS_OF_WHICH_FILE,
    SEVERITIES,
    Failure,
)

if TYPE_CHECKING:
    from deploy.client import Client

a_path = click.Path(dir_okay=False, path_type=Path)


@click.command
@a_run
@at_most
@click.option("--severity", type=click.Choice(list(SEVERITIES)), help="Of this severity only.")
@click.option("--file", help="Of this file only, such as users.csv.")
@click.option("--rule", help="Of this rule only, such as value.date.")
@click.option("--school", help="Of the rows of this school only, by its sourcedId.")
@click.option("--groups", is_flag=True, help="By what to correct first.")
@click.option("--csv", type=a_path, metavar="FILE", help="Write all of them to a file for Excel.")
@click.option("--rows", type=a_path, metavar="FILE", help="Write the rows of --file to correct.")
@as_json
@talks_to_hub()
@pass_screen
def findings(
    screen: Screen,
    /,
    client: "Client",
    run: str,
    limit: int,
    *,
    groups: bool,
    csv: Path | None,
    rows: Path | None,
    as_json: bool,
    **filters: str | None,
) -> None:
    """List what is wrong in the package of a run, with line and column."""
    path = f"{IMPORTS}/{run}/findings"
    asked = {name: value for name, value in filters.items() if value is not None}
    if rows and "file" not in asked:
        raise Failure(ROWS_OF_WHICH_FILE, run=run)
    if csv:
        save(screen, client, f"{path}.csv", csv, asked)
    if rows:
        save(screen, client, f"{path}/rows", rows, asked)
    if csv or rows:
        return
    listed = client.items(f"{path}/groups" if groups else path, limit, **asked)
    found = list(islice(listed, limit))
    if as_json:
        screen.json({"items": found})
    elif groups:
        show_groups(screen, found)
    else:
        show_findings(screen, found)


def save(screen: Screen, client: "Client", path: str, file: Path, asked: Mapping[str, str]) -> None:
    """Write a download to a file; one that does not come whole leaves nothing behind."""
    part = file.with_name(f"{file.name}.part")
    try:
        try:
            with part.open("wb") as opened:
                client.download(path, opened, lang=screen.lang, **asked)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        run = path.removeprefix(f"{IMPORTS}/").partition("/")[0]
        raise Failure(CANNOT_SAVE, file=file, reason=error.strerror, run=run) from error
    screen.note(FINDINGS_WRITTEN, file=file)


def show_groups(screen: Screen, found: list[dict[str, Any]]) -> None:
    """What to correct, and how much that resolves."""
    first = [(group["resolves"], group["first"]) for group in found]
    screen.table(
        ["resolves", "file", "line", "column", "message"],
        [
            [resolves, f["file"], f["line"], f["column"], f["message"][screen.lang]]
            for resolves, f in first
        ],
    )
