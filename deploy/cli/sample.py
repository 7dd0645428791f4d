"""`rosterhub sample`: an invented district as a package, to try things with."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

from pathlib import Path
from typing import Any

import click

from deploy.cli.screen import Screen, as_json, pass_screen
from deploy.messages import BAD_SAMPLE, CANNOT_WRITE, SAMPLE_WRITTEN, Failure


@click.command
@click.option("--users", type=int, default=2000, show_default=True, help="Everybody together.")
@click.option("--schools", type=int, default=4, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, other people.")
@click.option("--profile", default="JP-1.2.1", show_default=True, help="Layout of the files.")
@click.option("--order", type=int, default=0, show_default=True, help="Shuffles the rows.")
@click.option("--generation", type=int, default=0, show_default=True, help="How often it changed.")
@click.option("--mutations", type=float, default=0.0, show_default=True, help="Share that changed.")
@click.option("--fault", "faults", multiple=True, help="Something wrong in it; repeat for more.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file.")
@as_json
@pass_screen
def sample(
    screen: Screen,
    /,
    faults: tuple[str, ...],
    output: Path | None,
    *,
    as_json: bool,
    **size: Any,  # noqa: ANN401 -- the options named like the fields of a District
) -> None:
    """Write the package of an invented district: the same options give the same bytes.

    Without -o the file gets the name that Japan asks for, in this folder.
    """
    from loadtests.rosters import FAULTS, District, package_name, write_package

    try:
        district = District(**size)
    except ValueError as error:
        raise Failure(BAD_SAMPLE, reason=error) from error
    if unknown := set(faults) - set(FAULTS):
        known = ", ".join(FAULTS)
        raise Failure(BAD_SAMPLE, reason=f"{', '.join(sorted(unknown))} is none of {known}")
    file = output or Path(package_name(district))
    draft = file.with_name(f"{file.name}.part")
    try:
        counts = write_package(draft, district, faults=faults)
        draft.replace(file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Failure(CANNOT_WRITE, file=file, reason=error.strerror) from error
    if as_json:
        screen.json({"file": str(file), "bytes": file.stat().st_size, "rows": counts})
    else:
        screen.table(["file", "rows"], counts.items())
        screen.note(SAMPLE_WRITTEN, file=file, bytes=f"{file.stat().st_size:,}")
