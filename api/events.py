"""The events of a district as one stream, for consoles and integrators; and the same to read again.

What has a number comes from PostgreSQL, in order and without a gap; Redis only says when to look,
and carries how far runs are, which is of the moment. An id of the stream holds both places, so
`Last-Event-ID` resumes where a client was cut off. Without Redis the numbered events still come,
after a look every two seconds.
"""

import re
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any, NamedTuple, TypeAlias

import orjson
import psycopg
from falcon.asgi import Request, Response, SSEvent
from psycopg.rows import DictRow

from api.caller import Caller, Needs, caller_of
from api.cursors import limit_of
from api.database import Database
from api.form import dump, send
from api.openapi import answers
from api.openapi.described import PAGED, RESUMED, Listed, Stream, a_number, a_word, described
from api.progress import RETRY, said, with_pings
from api.streams import Place, Streams, name_of, place
from api.words import among
from schemas.errors import BadRequest, Forbidden
from schemas.statements import load
from schemas.told import as_seen
from schemas.webhooks import EVENTS, EventType, message_id, stream

SQL = load("api", "events.sql")
PATH = "/api/v1/events/history"
QUIET = 2.0  # seconds until the events are looked at without a bell
PAGE = 200
RESUME = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}-[0-9]{1,18}))?")

Json: TypeAlias = dict[str, Any]


class At(NamedTuple):
    """A place in the stream: behind this event, and behind what was said of runs by then."""

    sequence: int
    said: Place

    @property
    def name(self) -> str:
        """The id that a client sends back."""
        return f"{self.sequence}-{name_of(self.said)}"


class Sees(NamedTuple):
    """What a caller is told: the types of events, and whether how far runs are."""

    types: list[EventType]
    runs: bool
    lens: Mapping[str, Any] | None


def seen_by(caller: Caller) -> Sees:
    """Each scope sees what it is about; a key with none of them sees nothing."""
    about = {"csv": "imports", "roster": "roster.read", "webhook": "settings"}
    types = [each for each in EVENTS if about[each.partition(".")[0]] in caller.scopes]
    if not types:
        raise Forbidden("The key lacks the scopes imports, roster.read and settings.")
    return Sees(types, "imports" in caller.scopes, caller.lens)


class Events:
    """`/api/v1/events`."""

    needs = Needs()

    def __init__(self, database: Database, streams: Streams) -> None:
        self._database = database
        self._streams = streams

    @described(Stream("text/event-stream"), query=(RESUMED,))
    async def on_get(self, req: Request, resp: Response) -> None:
        """Stream what happens in the district from here on, or from where a client was."""
        caller = caller_of(req)
        sees = seen_by(caller)
        head = await self._head(caller.tenant)
        at = resumed(req.get_header("Last-Event-ID"), head)
        resp.cache_control = ["no-cache", "no-transform"]
        resp.set_header("X-Accel-Buffering", "no")
        resp.set_header("Incremental", "?1")  # RFC 10036: do not hold this response back
        resp.sse = with_pings(self._events(caller.tenant, sees, at, head))

    async def _events(
        self, tenant_id: int, sees: Sees, at: At, head: DictRow
    ) -> AsyncGenerator[SSEvent, None]:
        yield snapshot(at, head)
        async with self._streams.watch(stream(tenant_id), at.said) as watcher:
            entries: list[tuple[Place, bytes]] = []
            while not self._streams.ended():
                async for row in self._behind(tenant_id, sees, at):
                    at = at._replace(sequence=row["sequence"])
                    yield SSEvent(
                        event=row["type"], event_id=at.name, text=as_seen(row["body"], sees.lens)
                    )
                for where, data in entries:
                    at = at._replace(said=where)
                    if sees.runs:
                        for event in said(where, data):
                            event.event_id = at.name
                            yield event
                entries = await watcher.next(QUIET)

    async def _behind(self, tenant_id: int, sees: Sees, at: At) -> AsyncGenerator[DictRow, None]:
        """The numbered events that follow; none, while the database is away."""
        after, more = at.sequence, True
        while more:
            try:
                rows = await page(self._database, tenant_id, sees.types, after, PAGE)
            except psycopg.Error:
                return
            for row in rows:
                after = row["sequence"]
                yield row
            more = len(rows) == PAGE

    async def _head(self, tenant_id: int) -> DictRow:
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            cursor = await connection.execute(SQL["head"], {"tenant_id": tenant_id})
            row = await cursor.fetchone()
        if row is None:
            raise LookupError("head")
        return row


class History:
    """`/api/v1/events/history`."""

    needs = Needs()

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(
        Listed(answers.EventShown),
        query=(
            PAGED[0],
            a_number("after", "Behind this sequence.", most=10**18 - 1),
            a_word("type", EVENTS, "Of this type alone."),
        ),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """The events behind a number, oldest first; as they were sent."""
        caller, limit = caller_of(req), limit_of(req)
        types = seen_by(caller).types
        wanted = among(req, "type", EVENTS)
        if wanted is not None:
            types = [each for each in types if each == wanted]
        after = number(req)
        rows = await page(self._database, caller.tenant, types, after, limit)
        items = [
            {"id": message_id(row["id"])} | orjson.loads(as_seen(row["body"], caller.lens))
            for row in rows
        ]
        following = None
        if len(rows) == limit:
            kind = f"&type={wanted}" if wanted else ""
            following = f"{PATH}?after={rows[-1]['sequence']}&limit={limit}{kind}"
        send(resp, {"items": items, "next": following})


async def page(
    database: Database, tenant_id: int, types: list[EventType], after: int, limit: int
) -> list[DictRow]:
    """Some events behind a number."""
    facts = {"tenant_id": tenant_id, "types": types, "after": after, "limit": limit}
    async with database.tenant(tenant_id, snapshot=True) as connection:
        cursor = await connection.execute(SQL["behind"], facts)
        return await cursor.fetchall()


def number(req: Request) -> int:
    """The number behind which a reader wants to begin."""
    text = req.get_param("after", default="0")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadRequest("after is the sequence of an event.", field="after")
    return int(text)


def resumed(last: str | None, head: DictRow) -> At:
    """Where a client was; the number of an event alone will do. Anything else is here and now."""
    now = (int(time.time() * 1000), 0)
    match = RESUME.fullmatch(last or "")
    if match is None:
        return At(head["newest"], now)
    sequence = min(int(match[1]), head["newest"])
    return At(sequence, place(match[2]) if match[2] else now)


def snapshot(at: At, head: DictRow) -> SSEvent:
    """Where the stream begins; `missed`: events between that and the client are no longer kept."""
    oldest = head["oldest"]
    begins = head["newest"] if oldest is None else oldest - 1
    told = {
        "sequence": at.sequence,
        "version": head["version"],
        "published_at": head["published_at"],
        "missed": at.sequence < begins,
    }
    return SSEvent(event="snapshot", event_id=at.name, data=dump(told), retry=RETRY)
