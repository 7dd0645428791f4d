"""A run as server-sent events: what it is now, everything it said, and what it says from here on.

The first event is the run itself, from PostgreSQL. Events follow from the run's stream in Redis, so
`Last-Event-ID` resumes where a client was cut off. While the stream is silent the row is looked at
every second: with Redis away or wiped, progress arrives as `snapshot` and the end from the row.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import UUID

import psycopg
from falcon.asgi import Request, Response, SSEvent
from pydantic import ValidationError

from api.caller import Needs, caller_of
from api.database import Database
from api.form import dump
from api.openapi.described import RESUMED, Stream, described
from api.runs import as_json, one, parsed_id, settled
from api.streams import Place, Streams, name_of, place
from schemas.errors import Missing
from schemas.events import EVENT, ExportEnded, RunEnded, stream
from schemas.proposals import WAITING

RETRY = 3000  # milliseconds
SILENCE = 15.0  # seconds until a ping
QUIET = 1.0  # seconds until the row is looked at
ENDED = frozenset(kind.model_fields["kind"].default for kind in (RunEnded, ExportEnded))
MOVING = ("rows_per_second", "eta_seconds")


class Events:
    """`/api/v1/imports/{run_id}/events`."""

    needs = Needs("imports")

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._streams = streams

    @described(Stream("text/event-stream"), query=(RESUMED,))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """Stream the run until it ends, or waits for an answer."""
        tenant_id = caller_of(req).tenant
        self._follow(req, resp, tenant_id, await self._run(tenant_id, parsed_id(run_id)))

    def _follow(self, req: Request, resp: Response, tenant_id: int, run: dict[str, Any]) -> None:
        """Answer with the events of a run of whatever kind."""
        resp.cache_control = ["no-cache", "no-transform"]
        resp.set_header("X-Accel-Buffering", "no")
        resp.set_header("Incremental", "?1")  # RFC 10036: do not hold this response back
        resp.sse = with_pings(self._events(tenant_id, run, req.get_header("Last-Event-ID")))

    async def _run(self, tenant_id: int, run_id: UUID) -> dict[str, Any]:
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            return as_json(await one(connection, tenant_id, run_id))

    async def _events(
        self, tenant_id: int, run: dict[str, Any], last: str | None
    ) -> AsyncGenerator[SSEvent, None]:
        yield snapshot(run, retry=RETRY)
        async with self._streams.watch(stream(run["id"]), place(last)) as watcher:
            while not self._streams.ended():
                entries = await watcher.next(QUIET)
                if entries:
                    events = [event for entry in entries for event in said(*entry)]
                    if any(map(waits, events)):
                        run, events = await self._waiting(tenant_id, run, events)
                elif self._streams.ended():
                    return
                else:
                    run, events = await self._looked(tenant_id, run)
                for event in events:
                    yield event
                    if event.event in ENDED:
                        return

    async def _waiting(
        self, tenant_id: int, run: dict[str, Any], events: list[SSEvent]
    ) -> tuple[dict[str, Any], list[SSEvent]]:
        """Who waited once may have been answered since: then that was no end."""
        try:
            run = await self._run(tenant_id, run["id"])
        except (psycopg.Error, Missing):
            return run, events
        if run["state"] in WAITING:
            return run, events
        return run, [event for event in events if not waits(event)]

    async def _looked(
        self, tenant_id: int, before: dict[str, Any]
    ) -> tuple[dict[str, Any], list[SSEvent]]:
        """The row as it is now; as an event if it has changed, and the end if it has one."""
        try:
            run = await self._run(tenant_id, before["id"])
        except (psycopg.Error, Missing):
            return before, []  # the moment will pass, or the district is being purged
        changed = [snapshot(run)] if still(run) != still(before) else []
        end = self._end_of(run)
        return run, changed + ([end] if end else [])

    def _end_of(self, run: dict[str, Any]) -> SSEvent | None:
        """The last event, made from the row; None as long as something may happen."""
        return end_of(run) if settled(run) else None


def said(at: Place, data: bytes) -> list[SSEvent]:
    """An event as the worker told it; one that this gateway does not know is passed over."""
    try:
        event = EVENT.validate_json(data)
    except ValidationError:
        return []
    return [SSEvent(event=event.kind, event_id=name_of(at), data=data)]


def waits(event: SSEvent) -> bool:
    """Whether the event says that the run waits for an answer."""
    if event.event not in ENDED or event.data is None:
        return False
    told = EVENT.validate_json(event.data)
    return isinstance(told, RunEnded) and told.state in WAITING


def snapshot(run: dict[str, Any], retry: int | None = None) -> SSEvent:
    """The run as it is."""
    return SSEvent(event="snapshot", data=dump(run), retry=retry)


def end_of(run: dict[str, Any]) -> SSEvent:
    """The last event, made from the row."""
    event = RunEnded(
        run_id=run["id"],
        state=run["state"],
        version=run["version"],
        counts=run["counts"],
        findings=run["findings"],
    )
    return SSEvent(event=event.kind, data=EVENT.dump_json(event))


def still(run: dict[str, Any]) -> dict[str, Any]:
    """The run without what moves with the clock alone."""
    return {name: value for name, value in run.items() if name not in MOVING}


async def with_pings(
    events: AsyncGenerator[SSEvent, None], silence: float = SILENCE
) -> AsyncGenerator[SSEvent | None, None]:
    """The events, and a comment whenever there was none for a while."""
    async with aclosing(events):
        waiting: asyncio.Future[SSEvent] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(events))
                done, _ = await asyncio.wait({waiting}, timeout=silence)
                if not done:
                    yield None
                    continue
                try:
                    event = waiting.result()
                except StopAsyncIteration:
                    return
                waiting = None
                yield event
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
