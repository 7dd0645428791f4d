"""Look-ups that every request needs, shared by all requests that wait at the same instant.

One fetch runs at a time and answers for every key that was asked for before it began; whoever comes
while it runs waits for the next. So a thousand requests cost a few round trips, and no answer is
older than its request: what was revoked or committed before a request arrived is seen by it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeAlias, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

Fetch: TypeAlias = Callable[[Mapping[Key, int]], Awaitable[Mapping[Key, Value]]]
"""Asked for keys, each with the number of those who wait for it; a key without a value is none."""

TURNS = 4
"""Of the loop, before a fetch: who has come by then, but has not got this far, shares it."""


class Coalesced(Generic[Key, Value]):
    """Look-ups of one kind in one process."""

    def __init__(self, fetch: Fetch[Key, Value]) -> None:
        self._fetch = fetch
        self._waiting: dict[Key, list[asyncio.Future[Value | None]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value | None:
        """The value as it is now or later, never as it was before; None: there is none."""
        answer: asyncio.Future[Value | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                asked, self._waiting = self._waiting, {}
                await self._answer(asked)
        finally:
            self._running = None

    async def _answer(self, asked: dict[Key, list["asyncio.Future[Value | None]"]]) -> None:
        try:
            found = await self._fetch({key: len(answers) for key, answers in asked.items()})
        except Exception as error:  # noqa: BLE001 -- whoever waits is told, whatever it is
            for answers in asked.values():
                for answer in answers:
                    if not answer.done():
                        answer.set_exception(error)
        else:
            for key, answers in asked.items():
                value = found.get(key)
                for answer in answers:
                    if not answer.done():  # somebody whose connection broke waits no more
                        answer.set_result(value)
