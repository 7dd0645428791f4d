"""Progress on a terminal. Imported only there, because Rich takes its time."""

import sys
from typing import Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text as Drawn

from deploy.cli.progress import stages
from deploy.cli.screen import Screen, console
from deploy.messages import SENDING


class Bars:
    """A bar for the upload, then one for each file of the stage, with rate and time left."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._stage: str | None = None
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=console(sys.stderr),
            transient=True,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def sent(self, done: int, total: int, /) -> None:
        """Move the bar of the upload."""
        self._move(self._screen.say(SENDING), done, total)

    def shows(self, run: dict[str, Any], /) -> None:
        """Move the bars of the files."""
        if run.get("stage") != self._stage:
            self._begin(run.get("stage"))
        for label, done, total in stages(self._screen, run):
            self._move(label, done, total)

    def _begin(self, stage: str | None) -> None:
        self._stage = stage
        for bar in self._bars.values():
            self._progress.remove_task(bar)
        self._bars.clear()

    def _move(self, label: str, done: int, total: int) -> None:
        if label not in self._bars:
            self._bars[label] = self._progress.add_task(label, total=total)
        self._progress.update(self._bars[label], completed=done, total=total)


class Rate(ProgressColumn):
    """So many a second."""

    def render(self, task: Task) -> Drawn:
        """The rate, once there is one."""
        return Drawn(f"{task.speed:,.0f}/s" if task.speed else "")
