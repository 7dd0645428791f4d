"""One worker process: bells from Redis, looks at PostgreSQL, one import at a time.

Dramatiq delivers the bells; a lost, doubled or late one changes nothing, for the process also asks
PostgreSQL what is due, and a claim decides who works. One import at a time means that a file that
brings its process down takes nothing else with it; the supervisor replaces the process. Exports
have processes of their own, for they take long and nobody else should wait for them. A process
loads what its kind needs, so only those that read files carry data frames.
"""

# ruff: noqa: PLC0415 -- a kind of process loads what it needs, and no data frames for a bell

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, assert_never

import psycopg
import structlog

from schemas.settings import Settings, plain
from workers.bells import heard
from workers.signals import asked_to_stop, waited

if TYPE_CHECKING:
    from pipeline.packages import Lines

SWEEP = 60.0  # seconds

DeskKind: TypeAlias = Literal["imports", "exports", "deltas", "service"]
"""The kinds of process that do one thing after the other; webhooks are sent by another program."""

LinesOf: TypeAlias = "Callable[[Settings], Lines]"

log = structlog.get_logger()


@dataclass(slots=True)
class Desk:
    """The work of one process: bells and looks both end here, one at a time."""

    name: str
    work: Callable[[], None]
    stopping: threading.Event
    last: Callable[[], None] | None = None
    free: threading.Lock = field(default_factory=threading.Lock)

    def ring(self, **_facts: Any) -> None:  # noqa: ANN401  # what a bell says does not matter
        """Somebody says that there is something to do."""
        with self.free:
            self.look()

    def look(self) -> None:
        """Do what is due. An outage is said once and ends by itself."""
        if not self.stopping.is_set():
            self._do(self.work)

    def leave(self) -> None:
        """Do what is to be done last."""
        if self.last is not None:
            self._do(self.last)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except psycopg.Error as error:
            log.warning("database_away", desk=self.name, error=type(error).__name__)

    def watch(self, every: float) -> None:
        """Look again and again, whoever rings or does not."""
        while not waited(self.stopping, every):
            if self.free.acquire(blocking=False):
                try:
                    self.look()
                finally:
                    self.free.release()


def duty(
    settings: Settings, kind: DeskKind, stopping: threading.Event, lines: LinesOf
) -> tuple[Desk, float]:
    """What a kind of process does, and after how many seconds it looks though nobody rings."""
    match kind:
        case "imports":
            from workers.imports import imports

            return Desk(kind, imports(settings, stopping), stopping), settings.poll
        case "exports":
            from workers.exports import exports

            return Desk(kind, exports(settings, stopping), stopping), settings.poll
        case "deltas":
            from workers.deltas import deltas

            return Desk(kind, deltas(settings, stopping, lines(settings)), stopping), settings.poll
        case "service":
            from workers.service import keeper_of, service

            keeper = keeper_of(settings)
            return Desk(kind, service(settings, keeper), stopping, keeper.leave), SWEEP
        case _:
            assert_never(kind)


def run(settings: Settings, kind: DeskKind, lines: LinesOf) -> None:
    """Work until told to stop; `lines` writes events as the gateway tells them."""
    stopping = asked_to_stop()
    desk, every = duty(settings, kind, stopping, lines)
    with heard(plain(settings.redis_url), kind, desk.ring):
        desk.watch(every)
        with desk.free:  # the work at hand ends first; it has seen the sign
            desk.leave()
