"""Pages that many consumers ask for: read once, and kept for those who come later.

Everybody who follows a district under the same lens passes the same places, so a thousand pollers
cost the database what one does. A page is kept for the version that was newest when it was read: a
later version, an erasure among them, finds none of the old ones.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from api.deltas.places import Place

ROOM = 32 << 20  # bytes of events that are kept in a process

Key: TypeAlias = Hashable
Source: TypeAlias = Literal["package", "computed"]
"""Whether all of a page was written ahead, or some of it had to be made."""


@dataclass(frozen=True, slots=True)
class Page:
    """Events as they are sent, and the place behind them."""

    events: tuple[bytes, ...]
    place: Place
    source: Source = "computed"

    @property
    def size(self) -> int:
        """What it weighs."""
        return sum(map(len, self.events))


class Pages:
    """The pages of one process, those read last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, Page] = OrderedDict()
        self._size = 0

    def get(self, key: Key) -> Page | None:
        """The page, if somebody has read it."""
        page = self._kept.get(key)
        if page is not None:
            self._kept.move_to_end(key)
        return page

    def keep(self, key: Key, page: Page) -> None:
        """Keep it, and let go of those that nobody has asked for longest."""
        if key in self._kept or not page.events:
            return
        self._kept[key] = page
        self._size += page.size
        while self._size > ROOM:
            _, old = self._kept.popitem(last=False)
            self._size -= old.size


class Together:
    """Whoever asks the same at the same time gets the same answer, found once.

    An answer may have been begun a moment before the request: it says of which version it is.
    """

    def __init__(self) -> None:
        self._running: dict[Key, asyncio.Task[Any]] = {}

    async def get(self, key: Key, find: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401  # whatever is found
        """The answer; whose connection breaks does not take it from the others."""
        task = self._running.get(key)
        if task is None:

            async def found() -> object:
                try:
                    return await find()
                finally:
                    del self._running[key]

            task = self._running[key] = asyncio.create_task(found())
        return await asyncio.shield(task)
