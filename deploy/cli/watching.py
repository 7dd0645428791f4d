"""See a run to its settled state."""

# ruff: noqa: PLC0415 -- --help should not wait for what only some commands need

from functools import partial
from typing import TYPE_CHECKING, Any

from deploy.cli.progress import meter
from deploy.cli.screen import Screen
from deploy.messages import POLLING

if TYPE_CHECKING:
    from deploy.client import Client


def watched(
    screen: Screen, client: "Client", run_id: str, root: str = "/api/v1/imports"
) -> dict[str, Any]:
    """Show how far the run is until it is settled; answer how it stands then."""
    from deploy.following import POLL, follow

    polling = partial(screen.note, POLLING, seconds=f"{POLL:.0f}")
    run: dict[str, Any] = {}
    with meter(screen) as shown:
        for run in follow(client, run_id, root=root, polling=polling):
            shown.shows(run)
    return run
