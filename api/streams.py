"""The event streams of one process: one connection to Redis, fanned out to whoever watches.

Four times a second one XREAD asks for everything that any watcher has not seen. A watcher keeps its
own place, so replay and live are the same thing, and one that is slow is simply asked for later:
Redis holds the events, no queue grows. Without Redis the watchers stay, and hear of nothing.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import structlog
from redis.exceptions import RedisError

from api.redis import Redis

TICK = 0.25  # seconds between two looks, also at whether the process is to end
BATCH = 200  # events of one stream in one look
ROOM = 400  # events that may wait for one watcher

Place: TypeAlias = tuple[int, int]
Entry: TypeAlias = tuple[Place, bytes]
START: Place = (0, 0)
ID = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")

log = structlog.get_logger()


def place(text: str | None) -> Place:
    """A stream id as a place; what is none is the beginning.

    Redis refuses numbers beyond 64 bits, and one refusal would silence every watcher.
    """
    match = ID.fullmatch(text or "")
    return (int(match[1]), int(match[2])) if match else START


def name_of(at: Place) -> str:
    """The id again."""
    return f"{at[0]}-{at[1]}"


@dataclass(eq=False, slots=True)
class Watcher:
    """Somebody who reads one stream from a place on."""

    stream: str
    at: Place
    waiting: list[Entry] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self, patience: float) -> list[Entry]:
        """What has come; nothing, after so many seconds or when the streams end."""
        try:
            async with asyncio.timeout(patience):
                await self.news.wait()
        except TimeoutError:
            return []
        entries, self.waiting = self.waiting, []
        self.news.clear()
        return entries

    def take(self, entries: Iterable[Entry]) -> None:
        """Entries beyond the place of this watcher, as many as there is room for."""
        fresh = [entry for entry in entries if entry[0] > self.at][: ROOM - len(self.waiting)]
        if fresh:
            self.waiting += fresh
            self.at = fresh[-1][0]
            self.news.set()


class Streams:
    """All watchers of the process."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._watchers: set[Watcher] = set()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leaving: Callable[[], bool] = lambda: False
        self._away = False
        self._ended = False

    def leave_when(self, leaving: Callable[[], bool]) -> None:
        """End every stream as soon as this says so: the server waits for open connections."""
        self._leaving = leaving

    async def process_startup(self, _scope: object, _event: object) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._look())

    async def process_shutdown(self, _scope: object, _event: object) -> None:
        """End what still runs."""
        self._end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._redis.aclose()

    def ended(self) -> bool:
        """Whether the process is about to end."""
        return self._ended

    @asynccontextmanager
    async def watch(self, stream: str, at: Place) -> AsyncIterator[Watcher]:
        """Be one of the watchers."""
        watcher = Watcher(stream, at)
        self._watchers.add(watcher)
        self._wanted.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def _look(self) -> None:
        while not self._ended:
            try:
                async with asyncio.timeout(TICK):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            if self._leaving():
                self._end()
            elif self._watchers:
                await self._fan_out()

    async def _fan_out(self) -> None:
        groups: dict[str, list[Watcher]] = defaultdict(list)
        for watcher in self._watchers:
            if len(watcher.waiting) < ROOM:
                groups[watcher.stream].append(watcher)
        for stream, entries in (await self._read(groups)).items():
            for watcher in groups[stream]:
                watcher.take(entries)
            if len(entries) == BATCH:
                self._wanted.set()  # there is more: do not wait for the next tick

    async def _read(self, groups: dict[str, list[Watcher]]) -> dict[str, list[Entry]]:
        places = {stream: name_of(min(w.at for w in group)) for stream, group in groups.items()}
        if not places:
            return {}
        try:
            found = await self._redis.xread(cast("Any", places), count=BATCH)
        except (RedisError, OSError) as error:
            self._say(away=True, error=type(error).__name__)
            return {}
        self._say(away=False)
        return {
            cast("bytes", stream).decode(): [
                (place(entry.decode()), values.get(b"event", b"")) for entry, values in entries
            ]
            for stream, entries in cast("list[Any]", found)
        }

    def _say(self, *, away: bool, **facts: str) -> None:
        """Once when Redis goes, once when it is back."""
        if away != self._away:
            self._away = away
            log.warning("streams_without_redis" if away else "streams_with_redis", **facts)

    def _end(self) -> None:
        self._ended = True
        for watcher in self._watchers:
            watcher.news.set()
