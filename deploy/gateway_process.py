"""A process of the gateway that leaves as soon as everybody has been answered.

gunicorn waits for every open connection before a process ends, also for one that its client keeps
for a later request: that cost each restart the five seconds of `keepalive`. Here such a connection
is closed at once, as it may be at any time, and a client that was about to ask opens another one.
"""

from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol  # type: ignore[import-untyped]  # ships no types
from gunicorn.workers import gasgi  # type: ignore[import-untyped]  # same

SOON = 1.0  # seconds for who has just connected to say what is wanted


class Connection(ASGIProtocol):  # type: ignore[misc]  # an untyped class
    """A connection that its process knows of."""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 -- as asyncio has it
        """Be one of those that are open."""
        super().connection_made(transport)
        self.worker.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be open no more."""
        self.worker.open.discard(self)
        super().connection_lost(exc)

    @property
    def rests(self) -> bool:
        """Whether its last request was answered, and there is no other yet."""
        return self.is_silent and self.req_count > 1

    @property
    def is_silent(self) -> bool:
        """Whether nobody waits for an answer."""
        return bool(self._awaiting_request) and not self._finishing_calls

    def leave(self) -> None:
        """Close it, as it would be after `keepalive` seconds."""
        self._keepalive_timeout()


class Process(gasgi.ASGIWorker):  # type: ignore[misc]  # same
    """gunicorn's own, but for how it leaves."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- handed on
        super().__init__(*args, **kwargs)
        self.open: set[Connection] = set()

    def init_process(self) -> None:
        """Serve with connections that are known; gunicorn leaves no other way to choose them."""
        gasgi.ASGIProtocol = Connection
        super().init_process()

    async def _shutdown(self) -> None:
        for connection in [each for each in self.open if each.rests]:
            connection.leave()
        self.loop.call_later(SOON, self._leave_the_silent)
        await super()._shutdown()

    def _leave_the_silent(self) -> None:
        for connection in [each for each in self.open if each.is_silent]:
            connection.leave()
