"""The audit on its way into the tables: taken down at once, written in batches behind the answers.

Whoever takes down waits for nothing. One task writes what has come, every 250 ms and for all
districts in one statement. While the database is away entries wait, up to a bound; what comes
beyond it is lost, which is counted, and the next entry of the chain says so itself.
"""

import asyncio
import os
import socket
from collections import Counter, deque
from contextlib import suppress
from uuid import uuid4

import prometheus_client
import psycopg
import structlog
from prometheus_client import CollectorRegistry, Gauge

from api.audit_entries import Seen, entries_of
from api.database import Database
from schemas.audit import SQL, Chains

PAUSE = 0.25  # seconds between two batches
MOST = 500  # requests in a batch; more would hold up other requests
ROOM = 20_000  # requests that may wait, some 20 MB
LAST = 5.0  # seconds that a process which ends waits for the database
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, OSError)

Rows = list[dict[str, object]]

log = structlog.get_logger()


class Book:
    """Middleware: the entries of one process."""

    def __init__(self, database: Database, registry: CollectorRegistry) -> None:
        self._database = database
        self._chains = Chains("", "")
        self._waiting: deque[Seen] = deque()
        self._taken: list[Seen] = []  # what the batch is made of
        self._batch: Rows = []
        self._lost: Counter[int] = Counter()  # that no entry has told of
        self._told: Counter[int] = Counter()  # that entries of the batch tell of
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._away = False
        self._written = prometheus_client.Counter(
            "rosterhub_audit_entries", "Entries written into the audit.", registry=registry
        )
        self._given_up = prometheus_client.Counter(
            "rosterhub_audit_lost", "Entries that were given up.", registry=registry
        )
        self._open = Gauge(
            "rosterhub_audit_waiting",
            "Entries that wait for the database.",
            registry=registry,
            multiprocess_mode="livesum",
        )

    def take(self, seen: Seen) -> None:
        """Take a request down."""
        if len(self._waiting) >= ROOM:
            self._lose(seen.speaker.tenant_id)
            return
        self._waiting.append(seen)
        self._news.set()

    async def process_startup(self, _scope: object, _event: object) -> None:
        """Begin chains of this process's own."""
        self._chains = Chains(str(uuid4()), f"gateway {socket.gethostname()}:{os.getpid()}")
        self._task = asyncio.create_task(self._work())

    async def process_shutdown(self, _scope: object, _event: object) -> None:
        """Write the rest; nobody takes down any more."""
        self._leaving.set()
        self._news.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=LAST)
            self._task.cancel()
        if left := len(self._batch) + len(self._waiting):
            log.error("audit_lost", entries=left)

    async def _work(self) -> None:
        while self._news.is_set() or not self._leaving.is_set():
            await self._news.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._leaving.wait()
            self._news.clear()
            try:
                await self._write()
            except Exception as error:  # noqa: BLE001 -- whatever it is, the audit goes on
                self._give_up(error)
            self._open.set(len(self._batch) + len(self._waiting))
            if self._batch or self._waiting:
                self._news.set()

    async def _write(self) -> None:
        """Everything that waits; a batch that the database did not take is the next one again."""
        while self._batch or self._waiting:
            self._batch = self._batch or self._next()
            try:
                async with self._database.lookup() as connection:
                    await connection.execute(SQL["append"], self._chains.batch(self._batch))
            except AWAY as error:
                self._say(away=True, error=type(error).__name__)
                return
            self._say(away=False)
            self._written.inc(len(self._batch))
            self._taken, self._batch = [], []

    def _next(self) -> Rows:
        """The oldest entries, chained."""
        self._chains.mark()
        self._told.clear()
        self._taken = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
        rows = []
        for tenant_id, entry in entries_of(self._taken):
            self._told[tenant_id] += (lost := self._lost.pop(tenant_id, 0))
            rows.append(self._chains.add(tenant_id, entry | {"lost": lost or None}))
        return rows

    def _give_up(self, error: Exception) -> None:
        """The database will never take this batch: go on without it, and say so."""
        log.error("audit_given_up", entries=len(self._taken), error=type(error).__name__)
        self._chains.back()
        self._lost.update(self._told)
        for seen in self._taken:
            self._lose(seen.speaker.tenant_id)
        self._taken, self._batch = [], []

    def _lose(self, tenant_id: int) -> None:
        self._lost[tenant_id] += 1
        self._given_up.inc()

    def _say(self, *, away: bool, **facts: str) -> None:
        """Once when the database goes, once when it is back."""
        if away != self._away:
            self._away = away
            log.warning("audit_waits" if away else "audit_goes_on", **facts)
