"""`/api/v1/deltas`: a page of what happened behind a cursor, at once or as soon as there is some.

`next` is always there: it is where the consumer goes on, also when there is nothing new yet. A
cursor that cannot be continued is answered with 410, a reason, and where to start again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias
from urllib.parse import urlencode

import falcon
from falcon.asgi import Request, Response

from api.bell import Bell
from api.caller import Caller, Needs, caller_of
from api.cursors import limit_of
from api.database import Connection, Database
from api.deltas.ahead import Ahead
from api.deltas.objects import Objects
from api.deltas.places import Cursors, Place, Stand, begin
from api.deltas.reading import SQL, Reading, View, allowed
from api.deltas.sharing import Page, Pages, Source, Together
from api.deltas.waiting import Waiting
from api.findings_downloads import NDJSON
from api.form import counted, dump
from api.openapi.described import PAGED, Listed, Parameter, Stream, a_text, a_word, described
from api.openapi.feed import EVENT
from api.rosters.sight import Sight
from api.words import among
from schemas.errors import BadRequest, Gone, Missing, Unavailable
from schemas.jobs import PrepareDeltas
from schemas.lens import Lens
from schemas.moments import SERVED, tag_of
from schemas.policy import Policy
from schemas.rest.instants import instant

ROOT = "/api/v1/deltas"
AS_OF = "X-RosterHub-Data-As-Of"
NOW: Literal["now"] = "now"
BEGINNING: Literal["beginning"] = "beginning"
WAIT_MAX = 30  # seconds
PREPARING = 5.0  # seconds that a request waits for a lens that was never prepared
FILES = tuple(entity.file for entity in SERVED)

Asked: TypeAlias = Literal["now", "beginning"] | Stand
"""Where a client wants to go on."""


class StartAgain(Gone):
    """The feed cannot be continued from this cursor: start again."""

    code = "start_again"


class NotPrepared(Unavailable):
    """The hub is still preparing the feed for this client: come back in a moment."""


@dataclass(frozen=True, slots=True)
class State:
    """How far the district and the feed of a lens are."""

    newest: int
    epoch: str
    version: int | None
    published_at: datetime | None
    oldest: int | None


@dataclass(frozen=True, slots=True)
class Feed:
    """What the resources of the feed share."""

    database: Database
    cursors: Cursors
    waiting: Waiting
    bell: Bell
    sight_of: Callable[[Request], Sight]
    base: str
    ahead: Ahead

    def everything(self, req: Request) -> View:
        """What the caller sees."""
        caller = caller_of(req)
        lens = lens_of(caller)
        shown = allowed(lens, demographics="roster.demographics" in caller.scopes)
        return View(tag_of(lens, caller.client or ""), lens, self.sight_of(req), shown, shown)

    def view(self, req: Request) -> View:
        """The same, and which of it is asked for."""
        view, wanted = self.everything(req), among(req, "entity", FILES)
        asked = tuple(entity for entity in view.allowed if wanted in (None, entity.file))
        return replace(view, entities=asked)

    async def state(self, connection: Connection, tenant_id: int, tag: str) -> State:
        """The state in this snapshot; rings where the feed is behind its district."""
        key = {"tenant_id": tenant_id, "lens": tag, "days": Policy().feed_days}
        cursor = await connection.execute(SQL["state"], key)
        row = await cursor.fetchone()
        if row is None:
            raise Missing
        if row["version"] != row["newest"]:
            self.bell.ring(PrepareDeltas(tenant_id=tenant_id))
        return State(**row)

    async def former(self, connection: Connection, caller: Caller, revision: int) -> Lens:
        """The lens that the client had then."""
        cursor = await connection.execute(
            SQL["former_lens"],
            {"tenant_id": caller.tenant, "client": caller.client, "revision": revision},
        )
        row = await cursor.fetchone()
        if row is None:
            raise self.again("lens_unknown")
        return Lens.model_validate(row["lens"])

    def again(self, reason: str, path: str = f"{ROOT}?cursor={BEGINNING}") -> StartAgain:
        """There is no going on."""
        return StartAgain(reason=reason, start_again=f"{self.base}{path}")


ASKED = (
    PAGED[0],
    a_text("cursor", f"Where to go on: `next` of the page before, {BEGINNING} or {NOW}."),
    a_word("entity", FILES, "Events of this collection alone."),
    Parameter(
        "wait",
        f"Seconds to wait for something new; more than {WAIT_MAX} are cut.",
        {"type": "integer", "minimum": 0, "maximum": 99},
    ),
)


class Deltas:
    """The feed, in JSON or a line per event."""

    needs = Needs("roster.read")

    def __init__(self, feed: Feed, objects: Objects, pages: Pages, *, lines: bool = False) -> None:
        self._feed = feed
        self._objects = objects
        self._pages = pages
        self._together = Together()
        self._lines = lines

    @described(
        Listed(EVENT, ends=False, lines=NDJSON), query=ASKED, refusals=(410,), headers=(AS_OF,)
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of events; with `wait`, as soon as there is one."""
        caller, view, limit = caller_of(req), self._feed.view(req), limit_of(req)
        until = time.monotonic() + wait_of(req)
        given = self._asked(caller, req.get_param("cursor", default=BEGINNING))
        page, state = await self._found(caller, view, given, limit)
        if page is None:
            await self._feed.waiting.version((caller.tenant, view.tag), 0, PREPARING)
            page, state = await self._found(caller, view, given, limit)
        if page is None:
            raise NotPrepared
        left = until - time.monotonic()
        if not page.events and given != NOW and left > 0:
            whose = (caller.tenant, view.tag)
            await self._feed.waiting.version(whose, page.place.version, left)
            stand = Stand(page.place, state.epoch, caller.lens_revision)
            again, state = await self._found(caller, view, stand, limit)
            page = again or page
        if page.events:
            self._feed.ahead.told(page.source)
        if isinstance(given, Stand) and page.place.mode == "log" and view.entities == view.allowed:
            await self._feed.ahead.follow(caller.tenant, view, state.version or 0)
        stand = Stand(page.place, state.epoch, caller.lens_revision)
        self._answer(req, resp, page, self._feed.cursors.sealed(caller, stand), state)

    def _asked(self, caller: Caller, cursor: str) -> Asked:
        """Where the client wants to go on."""
        match cursor:
            case "now" | "beginning":
                return cursor
            case _:
                return self._feed.cursors.opened(caller, cursor)

    async def _found(
        self, caller: Caller, view: View, asked: Asked, limit: int
    ) -> tuple[Page | None, State]:
        """The page, found once for all who ask for it now; None: nothing is prepared yet."""
        other = isinstance(asked, Stand) and asked.revision != caller.lens_revision
        moving = other or (isinstance(asked, Stand) and asked.place.mode == "lens")
        # Only from one lens to another does it matter whose lens it was.
        whose = (caller.client, caller.lens_revision) if moving else None
        at = asked.of_anybody if isinstance(asked, Stand) and not moving else asked
        key = (caller.tenant, view.tag, view.entities, view.allowed, at, limit, whose)
        found: tuple[Page | None, State] = await self._together.get(
            key, lambda: self._page(caller, view, asked, limit)
        )
        return found

    async def _page(
        self, caller: Caller, view: View, asked: Asked, limit: int
    ) -> tuple[Page | None, State]:
        async with self._feed.database.tenant(
            caller.tenant, snapshot=True, piped=True
        ) as connection:
            state = await self._feed.state(connection, caller.tenant, view.tag)
            if state.version is None:
                return None, state
            place, view = await self._place(connection, caller, view, asked, state)
            if asked == NOW:
                return Page((), place), state
            if place.mode == "lens" and place.version < place.partly:
                return None, state  # this lens is not prepared as far as was read already
            seen = (caller.tenant, view.tag, view.entities, view.allowed, view.former)
            key = (*seen, state.epoch, state.newest, state.version, place, limit)
            page = self._pages.get(key)
            if page is None:
                reading = Reading(
                    *(connection, caller.tenant, self._objects, view, state.version),
                    standing=state.newest,
                    packed=self._feed.ahead,
                )
                events, behind = await reading.page(place, limit)
                source: Source = "computed" if reading.computed else "package"
                page = Page(tuple(events), behind, source)
                self._pages.keep(key, page)
        return page, state

    async def _place(
        self, connection: Connection, caller: Caller, view: View, asked: Asked, state: State
    ) -> tuple[Place, View]:
        """Where the consumer stands, under the lens of now."""
        prepared = state.version or 0
        if asked == "now":
            return begin(prepared + 1), view
        if asked == "beginning":
            return (Place("all", prepared) if prepared else begin(1)), view
        stand, place = asked, asked.place
        if stand.epoch != state.epoch or place.version > state.newest + 1:
            raise self._feed.again("restored")
        first = place.version if place.mode == "log" else place.version + 1
        if first <= state.newest and (state.oldest is None or first < state.oldest):
            raise self._feed.again("expired")
        if stand.revision != caller.lens_revision:
            former = await self._feed.former(connection, caller, stand.revision)
            if former != view.lens:
                place = self._turned(place, stand, former, view, prepared)
        if place.mode == "lens":
            view = replace(view, former=await self._feed.former(connection, caller, place.former))
        return place, view

    def _turned(
        self, place: Place, stand: Stand, former: Lens | None, view: View, prepared: int
    ) -> Place:
        """From what was seen with another lens to what is seen now."""
        if (
            place.mode != "log"
            or former is None
            or view.lens is None
            or (former.fields, former.pseudonyms) != (view.lens.fields, view.lens.pseudonyms)
        ):
            # What is in every record, or what it is called, is another: only a full read shows it.
            raise self._feed.again("lens_changed")
        since = place.version - 1
        partly = place.version if place.begun else since
        return Place("lens", prepared, since=since, partly=partly, former=stand.revision)

    def _answer(self, req: Request, resp: Response, page: Page, cursor: str, state: State) -> None:
        kept = {name: req.get_param(name) for name in ("limit", "entity", "wait")}
        query = {name: value for name, value in kept.items() if value is not None}
        following = f"{req.path}?{urlencode({**query, 'cursor': cursor})}"
        say_as_of(resp, state)
        resp.cache_control = ["no-store"]
        counted(resp, len(page.events))
        if self._lines or NDJSON in (req.get_header("Accept") or ""):
            resp.set_header("Link", f'<{self._feed.base}{following}>; rel="next"')
            resp.content_type = NDJSON
            resp.data = b"".join(event + b"\n" for event in page.events)
        else:
            resp.content_type = falcon.MEDIA_JSON
            items = b",".join(page.events)
            resp.data = b'{"items":[' + items + b'],"next":' + dump(following) + b"}"


class DeltaLines(Deltas):
    """The feed, a line per event; where it goes on stands in Link."""

    def __init__(self, feed: Feed, objects: Objects, pages: Pages) -> None:
        super().__init__(feed, objects, pages, lines=True)

    @described(Stream(NDJSON), query=ASKED, refusals=(410,), headers=(AS_OF, "Link"))
    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of events; with `wait`, as soon as there is one."""
        await super().on_get(req, resp)


def say_as_of(resp: Response, state: State) -> None:
    """Which version the answer knows of, and since when that stands."""
    moment = "" if state.published_at is None else f', instant="{instant(state.published_at)}"'
    resp.set_header(AS_OF, f"version={state.version or 0}{moment}")


def lens_of(caller: Caller) -> Lens | None:
    """The lens of a client; the district and administrators have none."""
    if caller.client is None or caller.lens is None:
        return None
    return Lens.model_validate(caller.lens)


def wait_of(req: Request) -> float:
    """How many seconds the client wants to wait for something new."""
    text = req.get_param("wait")
    if text is None:
        return 0.0
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(WAIT_MAX))):
        raise BadRequest(f"wait is a whole number of seconds up to {WAIT_MAX}.", field="wait")
    return float(min(int(text), WAIT_MAX))
