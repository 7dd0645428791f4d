"""Those who wait for something new: they hold a future, and no connection.

One question for all of them, twice a second while anybody waits, so five thousand of them cost the
database what one does. It is asked of PostgreSQL, so it needs no Redis.
"""

import asyncio
from collections import defaultdict
from typing import TypeAlias

import psycopg
import structlog
from psycopg_pool import PoolTimeout

from api.database import Database
from api.streams import Streams
from schemas.statements import load

SQL = load("api", "deltas.sql")
TICK = 0.5  # seconds between two looks

Whose: TypeAlias = tuple[int, str]
"""A district, and the name of a lens."""

log = structlog.get_logger()


class Waiting:
    """Everybody in this process who waits for a version to be prepared."""

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._streams = streams
        self._waiting: dict[Whose, dict[asyncio.Future[None], int]] = defaultdict(dict)
        self._task: asyncio.Task[None] | None = None

    async def version(self, whose: Whose, version: int, seconds: float) -> None:
        """Come back when the version is prepared, after so many seconds, or when we are to end."""
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[whose][news] = version
        if self._task is None:
            self._task = asyncio.create_task(self._look())
        try:
            await asyncio.wait({news}, timeout=seconds)
        finally:
            waiting = self._waiting[whose]
            waiting.pop(news, None)
            if not waiting:
                del self._waiting[whose]

    async def _look(self) -> None:
        try:
            while self._waiting:
                await self._tell()
                await asyncio.sleep(TICK)
        finally:
            self._task = None

    async def _tell(self) -> None:
        if self._streams.ended():
            newest: dict[Whose, int] = {}
        else:
            try:
                newest = await self._newest([*self._waiting])
            except (psycopg.Error, PoolTimeout) as error:
                log.warning("waiting_without_database", error=type(error).__name__)
                return
        for whose, waiting in self._waiting.items():
            for news, version in waiting.items():
                if not news.done() and (self._streams.ended() or newest.get(whose, -1) >= version):
                    news.set_result(None)

    async def _newest(self, asked: list[Whose]) -> dict[Whose, int]:
        tenants, lenses = [tenant for tenant, _ in asked], [lens for _, lens in asked]
        rows = await self._database.look(SQL["newest"], [tenants, lenses])
        return {(row["tenant_id"], row["lens"]): row["version"] for row in rows}
