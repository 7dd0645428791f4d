"""GET for every operation of the table: a collection, a sub-collection or a single record.

One answer is one version: version, parents, total, page, parts and children are read in one
snapshot. Its tag is the version, the sight and the address; so a client that has it, or a process
that has kept it (`pages`), is answered without the database. With `asOf` the same is read of an
earlier version.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha512
from http import HTTPStatus
from importlib import metadata
from pathlib import Path
from typing import Any

import falcon
import psycopg
from falcon.asgi import Request, Response
from psycopg import AsyncCursor
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from api.caller import Caller, Needs, caller_of
from api.cursors import BadCursor
from api.database import Connection, Database
from api.form import counted, dump
from api.redis import Redis
from api.rosters import selects
from api.rosters.asof import SQL, version_at
from api.rosters.binding import resolved
from api.rosters.collation import SortKeys
from api.rosters.laid import Laid
from api.rosters.operations import FIRST, Operation
from api.rosters.pages import LEVEL, Headers, Kept, Pages, Repeatable, Store, Tell
from api.rosters.paging import CURSOR, Page, kept, links, page_of
from api.rosters.parts import Awaited, array_of
from api.rosters.places import ANCHORED, STEP, Cursors, Learned, Memory, Resumed, Start
from api.rosters.questions import Asking, Question
from api.rosters.remarks import remarks
from api.rosters.selection import selected
from api.rosters.sight import Sight, sight_of
from api.rosters.totals import total_of
from schemas.errors import Missing
from schemas.rest.editions import ONE_TWO
from schemas.rest.records import Records, Related, Row
from schemas.roster import AnyEntity
from schemas.roster.people import Role, UserProfile
from schemas.scopes import CLIENT_SCOPES
from schemas.secrets import Vault

REVALIDATE = "private, no-cache"
TURN = 250  # records written at a stretch
QUERIES = 1000  # texts that are remembered
AT_ONCE = 1000  # records that are fetched at once; more come by turns
PACKED = "-gzip"  # behind the tag of compressed bytes, for a strong tag means these very bytes
OF_ITS_OWN = 1 << 18  # bytes that are compressed beside other requests


def needs_of(operation: Operation) -> Needs:
    """What an operation asks of its caller. 1.1 takes the scopes of either edition."""
    if operation.edition is ONE_TWO:
        return Needs(any_of=frozenset(operation.scopes))
    words = {scope.rpartition("/")[2] for scope in operation.scopes}
    return Needs(
        any_of=frozenset(scope for scope in CLIENT_SCOPES if scope.rpartition("/")[2] in words)
    )


def version_of_the_code() -> str:
    """Another release may write other bytes for the same version of a roster."""
    try:
        return metadata.version("rosterhub")
    except metadata.PackageNotFoundError:
        return "source"


CODE = version_of_the_code()


@dataclass(frozen=True, slots=True)
class Places:
    """Where pages begin, and what was learned of versions."""

    cursors: Cursors
    memory: Memory
    learned: Learned = field(default_factory=Learned)


def shared(vault: Vault, redis: Redis, room: int, tell: Tell) -> tuple[Pages, Places]:
    """Those of a gateway process, with the way to what others have found."""
    # Of all configured secrets: whichever changes, what was kept under the others is not read.
    secret = sha512(b"".join(vault.derive("pages"))).digest()
    store = Store(redis, secret)
    return Pages(room, store, secret, tell), Places(Cursors(secret), Memory(store, secret))


def alone() -> Places:
    """Those of a process that shares nothing."""
    return Places(Cursors(ALONE), Memory(None, ALONE))


ALONE = b"nobody else reads this".ljust(64)


@dataclass(frozen=True, slots=True)
class Reader:
    """What every read of rosters works with.

    `patience` is for what has to be made first, `folder` for large answers that wait to be sent.
    """

    database: Database
    sort_keys: SortKeys
    base: str
    page_default: int
    page_max: int
    patience: float
    sight_of: Callable[[Request], Sight] = sight_of
    pages: Pages = field(default_factory=Pages)
    places: Places = field(default_factory=alone)
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a district that is read; `key` holds what SELECTs ask for."""

    connection: Connection
    version: int
    mark: tuple[object, ...]
    key: Mapping[str, object]
    total: int


@dataclass(slots=True)
class Read:
    """A page on its way: the bytes of its parts, but for the one that was read last."""

    version: int
    total: int
    records: int = 0
    last: str = ""
    follows: bool = False
    pieces: list[bytes] | Laid = field(default_factory=list)
    part: tuple[Sequence[DictRow], Awaited] | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, who makes it, and what they see."""

    req: Request
    caller: Caller
    sight: Sight
    identifiers: Mapping[str, str]


class Roster(ABC):
    """What collections and single records share."""

    def __init__(self, operation: Operation, reader: Reader) -> None:
        self.needs = needs_of(operation)
        self.operation = operation
        self._reader = reader
        self._pages = reader.pages
        self._queries: dict[tuple[object, ...], bytes] = {}
        self._records = Records(operation.entity, reader.base, operation.edition)
        self._asking = Asking(
            operation, reader.base, reader.page_default, reader.page_max, reader.sight_of
        )

    async def on_get(self, req: Request, resp: Response, **identifiers: str) -> None:
        """What is asked for, from wherever it can be had."""
        asked = Asked(req, caller_of(req), self._reader.sight_of(req), identifiers)
        tag = self._tag(asked, asked.caller.version)
        found = None if has(req, tag) else await self._found(asked, tag)
        await self._answer(req, resp, tag, found, again=True)

    async def _answer(
        self, req: Request, resp: Response, tag: str, found: Kept | None, *, again: bool
    ) -> None:
        """Send what was found, or say that the client has it; `again`: any number of times."""
        tag = tag if found is None else found.tag
        packed = None
        if has(req, tag):
            self._pages.told("unchanged")
            unchanged(req, resp, tag)
        elif found is not None:
            packed = await deliver(req, resp, found)
        if again and (found is None or found.asked):
            req.context.repeatable = Repeatable(tag, packed)

    async def _found(self, asked: Asked, tag: str) -> Kept:
        """The answer of the version that stood when the request came, or of a later one."""
        caller = asked.caller

        async def make() -> Kept:
            try:
                return await self._made(asked)
            except psycopg.OperationalError as error:
                if isinstance(error, psycopg.errors.QueryCanceled | PoolTimeout):
                    raise
                return await self._made(asked)  # on another connection; that one has died

        return await self._pages.get(tag, caller.tenant, caller.version, make)

    @abstractmethod
    async def _made(self, asked: Asked) -> Kept:
        """The answer, from the database."""

    def _tag(self, asked: Asked, version: int, *more: object) -> str:
        """The name of the answer that this version gives."""
        req, tenant_id = asked.req, asked.caller.tenant
        where = (req.path, req.query_string)
        return self._pages.tag(
            CODE, self._reader.base, tenant_id, version, asked.sight.tag, *where, *more
        )

    async def _snapshot(
        self, connection: Connection, tenant_id: int, question: Question
    ) -> Snapshot:
        """The roster as it stands, or as it was at the moment that is asked for."""
        state = await state_of(connection, tenant_id, self.operation.entity)
        # The newest version is in the mark: an erasure is one, and reaches back.
        mark: tuple[object, ...] = (
            tenant_id,
            state["version"],
            question.rows.sight.tag,
            self.operation.edition.name,
        )
        key = await resolved(connection, tenant_id, question.parameters)
        key |= {"tenant_id": tenant_id, **question.identifiers}
        if question.moment is not None:
            version = await version_at(connection, tenant_id, question.moment, state["version"])
            mark, key["as_of"] = (*mark, version), version
        return Snapshot(connection, state["version"], mark, key, state["total"])

    async def _bodies(
        self, rows: Sequence[DictRow], related: Related, question: Question
    ) -> list[dict[str, Any]]:
        """The objects of the rows; a large page lets other requests have their turn."""
        veil, wanted = question.rows.sight.veil, question.wanted
        if veil is not None:
            related = veil.related(related)
        bodies: list[dict[str, Any]] = []
        for start in range(0, len(rows), TURN):
            part: Sequence[Row] = rows[start : start + TURN]
            if veil is not None:
                part = veil.rows(self.operation.entity, part)
            written = [self._records.write(row, related) for row in part]
            bodies += (
                [selected(body, wanted) for body in written] if wanted is not None else written
            )
            if len(rows) > TURN:
                await asyncio.sleep(0)
        return bodies

    async def _related(
        self, snapshot: Snapshot, question: Question, records: Sequence[DictRow]
    ) -> Awaited:
        """Children and parts of all records at once, where they are wanted: asked for, no more."""
        owners = array_of(record["sourced_id"] for record in records)
        key = {**snapshot.key, "owners": owners}
        children = None
        if self._records.has_children and question.asks("children"):
            query = selects.children(self.operation.entity, question.rows)
            children = await snapshot.connection.execute(query, key)
        if not self._records.has_parts:
            return Awaited(children)
        one = self.operation.edition.one_role
        names = (("role", "orgs"), ()) if one else (("roles",), ("userProfiles",))
        roles, profiles = [
            await self._parts(snapshot, question, part, shown, key)
            for part, shown in zip((Role, UserProfile), names, strict=True)
        ]
        return Awaited(children, roles, profiles)

    async def _parts(
        self,
        snapshot: Snapshot,
        question: Question,
        part: AnyEntity,
        names: tuple[str, ...],
        key: Mapping[str, object],
    ) -> AsyncCursor[DictRow] | None:
        """The parts of one kind, if they are shown under any of the names."""
        if not any(question.asks(name) for name in names):
            return None
        query = self._composed(
            (*names, question.rows.past, question.rows.sight.tag),
            snapshot.connection,
            lambda: selects.parts(part, question.rows),
        )
        return await snapshot.connection.execute(query, key)

    def _composed(
        self,
        name: tuple[object, ...],
        connection: Connection,
        compose: Callable[[], selects.Query],
    ) -> bytes:
        """The text of a query, which is the same for all who see the same."""
        known = self._queries.get(name)
        if known is None:
            if len(self._queries) >= QUERIES:
                self._queries.clear()
            known = self._queries[name] = compose().as_bytes(connection)
        return known


class Collection(Roster):
    """A page of records, the deleted ones included."""

    async def on_get(self, req: Request, resp: Response, **identifiers: str) -> None:
        """The page; one that follows another by offset begins where that ended."""
        asked = Asked(req, caller_of(req), self._reader.sight_of(req), identifiers)
        resumed = await self._resumed(asked)
        tag = self._tag(asked, asked.caller.version)
        found = self._pages.known(tag) if has(req, tag) else await self._found(asked, tag)
        version = asked.caller.version if found is None else found.version
        drifted = resumed is not None and (resumed.drifted or resumed.version != version)
        if drifted:
            found = await self._made(asked, resumed)
        if found is not None:
            await self._remember(asked, found, drifted=drifted)
        await self._answer(req, resp, tag, found, again=not goes_on(req))

    async def _made(self, asked: Asked, resumed: Resumed | None = None) -> Kept:
        """Texts that are compared for the first time get their sort keys before the page."""
        question = self._asking.collection(asked.req, asked.identifiers)
        tenant_id = asked.caller.tenant
        behind = resumed.key if resumed else self._behind(asked, question)
        until = time.monotonic() + self._reader.patience
        piped = question.page.limit < AT_ONCE  # cursors of the server go with no pipeline
        while True:
            async with self._reader.database.tenant(
                tenant_id, snapshot=True, piped=piped
            ) as connection:
                snapshot = await self._snapshot(connection, tenant_id, question)
                await self._look_for_parents(snapshot, question)
                missing = await self._without_keys(snapshot, question)
                read = None if missing else await self._read(snapshot, question, behind)
            if read is not None:
                return await self._written(asked, question, read, behind)
            await self._reader.sort_keys.add(tenant_id, missing, until)

    def _behind(self, asked: Asked, question: Question) -> str | None:
        """The key that the cursor of the request tells, where there is one."""
        if question.page.cursor is None:
            return None
        if not question.order.is_default:
            raise BadCursor
        return self._reader.places.cursors.key(question.page.cursor, *self._bound(asked, question))

    def _bound(self, asked: Asked, question: Question) -> tuple[object, ...]:
        """What a cursor of this question is good for."""
        whose = (asked.caller.tenant, question.rows.sight.tag, question.moment)
        return (*whose, asked.req.path, question.filter)

    async def _read(self, snapshot: Snapshot, question: Question, behind: str | None) -> Read:
        """The page behind a key, or at its offset; of one version."""
        page, resumes = question.page, question.order.is_default
        total = await self._total(snapshot, question)
        if behind is not None:
            start = Start(key=behind)
        elif resumes and ANCHORED <= page.offset < total:
            start = await self._anchored(snapshot, question)
        else:
            start = Start(skip=page.offset)
        read = Read(snapshot.version, total)
        if page.limit > AT_ONCE:
            read.pieces = Laid(self._reader.folder)
        read.follows = not resumes and page.offset + page.limit < total
        async for rows in self._rows(snapshot, question, start, more=int(resumes)):
            await self._write(read, question)
            shown = rows[: page.limit - read.records]
            read.follows = read.follows or len(shown) < len(rows)
            if shown:
                read.records, read.last = read.records + len(shown), shown[-1]["sourced_id"]
                read.part = shown, await self._related(snapshot, question, shown)
        return read

    async def _write(self, read: Read, question: Question) -> None:
        """Make bytes of the part that was read last."""
        if read.part is not None:
            (rows, related), read.part = read.part, None
            bodies = await self._bodies(rows, await related.fetched(), question)
            read.pieces.append(dump(bodies)[1:-1])

    async def _written(
        self, asked: Asked, question: Question, read: Read, behind: str | None
    ) -> Kept:
        """The answer, when the connection is somebody else's already."""
        await self._write(read, question)
        page, following, cursor = question.page, None, None
        if read.follows:
            if question.order.is_default:
                bound = self._bound(asked, question)
                cursor = self._reader.places.cursors.given(read.last, *bound)
            following = Page(page.limit, page.offset + page.limit, cursor)
        headers = (
            ("X-Total-Count", str(read.total)),
            ("Link", links(asked.req, page, read.total, self._reader.base, following)),
        )
        said = remarks(asked.req, question)
        head = b'{"%s":[' % self.operation.key.encode()
        tail = b"]," + dump(said)[1:] if said else b"]}"
        body, laid = b"", None
        if isinstance(read.pieces, Laid):
            laid = read.pieces
            laid.head, laid.tail = head, tail
        else:
            body = head + b",".join(read.pieces) + tail
        return Kept(
            self._tag(asked, read.version, *(() if behind is None else (behind,))),
            asked.caller.tenant,
            read.version,
            read.records,
            headers,
            body,
            read.last if cursor else None,
            laid,
        )

    async def _look_for_parents(self, snapshot: Snapshot, question: Question) -> None:
        """Raises Missing where a record that the address names is not there."""
        for parent in self.operation.parents:
            conditions = [
                condition(question.rows)
                for condition in (*parent.view.conditions, *parent.conditions)
            ]
            query = selects.there(parent.view.entity, question.rows, parent.parameter, conditions)
            if not await fetched(snapshot.connection, query, snapshot.key):
                raise Missing

    async def _without_keys(self, snapshot: Snapshot, question: Question) -> list[str]:
        """Texts that the question compares and that have no sort key yet."""
        return await self._reader.sort_keys.missing(
            snapshot.connection, snapshot.mark, question.needed, question.rows, snapshot.key
        )

    def _mark(self, snapshot: Snapshot, question: Question) -> tuple[object, ...]:
        """What totals and anchors depend on."""
        return (
            *(snapshot.mark, self.operation.id, question.filter),
            *question.identifiers.values(),
        )

    async def _total(self, snapshot: Snapshot, question: Question) -> int:
        """How many records there are to be read; counted once, where the number is not kept."""
        if question.whole and not question.rows.past:
            return snapshot.total
        return await self._reader.places.learned.total(
            self._mark(snapshot, question),
            lambda: total_of(snapshot.connection, question, snapshot.key, snapshot.total),
        )

    async def _anchored(self, snapshot: Snapshot, question: Question) -> Start:
        """The nearest anchor before the offset."""

        async def look() -> list[str]:
            query = selects.anchors(self.operation.entity, question.rows, question.conditions, STEP)
            rows = await fetched(snapshot.connection, query, snapshot.key)
            return [row["sourced_id"] for row in rows]

        mark = self._mark(snapshot, question)
        return await self._reader.places.learned.start(mark, question.page.offset, look)

    async def _rows(
        self, snapshot: Snapshot, question: Question, start: Start, more: int
    ) -> AsyncIterator[list[DictRow]]:
        """The rows of the page and so many more; a large page comes in parts, never as a whole."""
        entity, rows, limit = self.operation.entity, question.rows, question.page.limit + more
        query: bytes | selects.Query
        if question.whole and question.order.is_default and not (rows.past and rows.masked):
            shape = (bool(start.skip), start.key is None, start.included)
            query = self._composed(
                ("page", rows.past, rows.sight.tag, *shape),
                snapshot.connection,
                lambda: selects.plain_page(entity, rows, start),
            )
        else:
            query = selects.page(entity, rows, question.conditions, question.order, start)
        key = {**snapshot.key, "limit": limit, "offset": start.skip, "begin": start.key}
        if limit <= AT_ONCE:
            yield await fetched(snapshot.connection, query, key)
            return
        async with snapshot.connection.cursor(name="page") as cursor:
            await cursor.execute(query, key)
            while part := await cursor.fetchmany(TURN):
                yield part

    async def _resumed(self, asked: Asked) -> Resumed | None:
        """Where the page of this client ended that is asked on from, by offset alone."""
        if not goes_on(asked.req):
            return None
        page = page_of(asked.req, self._reader.page_default, self._reader.page_max)
        if not page.offset:
            return None
        return await self._reader.places.memory.find(self._ends(asked, page.offset))

    async def _remember(self, asked: Asked, found: Kept, *, drifted: bool) -> None:
        """Remember where a page that was asked for by offset ended."""
        if found.last is None or f"{CURSOR}=" in asked.req.query_string:
            return
        caller, memory = asked.caller, self._reader.places.memory
        whose = (caller.tenant, caller.client or caller.key_id, found.tag)
        if memory.is_fresh(whose):
            return
        page = page_of(asked.req, self._reader.page_default, self._reader.page_max)
        resumed = Resumed(found.last, found.version, drifted)
        await memory.remember(whose, self._ends(asked, page.offset + page.limit), resumed)

    def _ends(self, asked: Asked, offset: int) -> str:
        """The name of the page of this client that ended before the offset."""
        caller, req = asked.caller, asked.req
        whose = (caller.tenant, caller.client or caller.key_id, asked.sight.tag)
        return self._reader.places.memory.name(*whose, req.path, kept(req.query_string), offset)


class Single(Roster):
    """One record, also when it is deleted."""

    async def _made(self, asked: Asked) -> Kept:
        """The record; outside of its view it is not there."""
        question = self._asking.single(asked.req, asked.identifiers)
        tenant_id = asked.caller.tenant
        async with self._reader.database.tenant(tenant_id, snapshot=True, piped=True) as connection:
            # The district's version, for a new child changes its parent's object and no row of it.
            snapshot = await self._snapshot(connection, tenant_id, question)
            conditions = [selects.named(FIRST), *question.conditions]
            query = selects.single(self.operation.entity, question.rows, conditions)
            rows = await fetched(connection, query, snapshot.key)
            if not rows:
                raise Missing
            awaited = await self._related(snapshot, question, rows)
        (body,) = await self._bodies(rows, await awaited.fetched(), question)
        tag = self._tag(asked, snapshot.version)
        text = dump({self.operation.key: body} | remarks(asked.req, question))
        return Kept(tag, tenant_id, snapshot.version, 1, (), text)


def goes_on(req: Request) -> bool:
    """Whether a page may begin where another one ended that its client got before."""
    query = req.query_string
    return "offset=" in query and f"{CURSOR}=" not in query


def has(req: Request, tag: str) -> bool:
    """Whether the client has these very bytes already, plain or compressed."""
    given = req.get_header("If-None-Match")
    return given is not None and tag in given


def unchanged(req: Request, resp: Response, tag: str) -> None:
    """Nothing new, under the tag that the client knows."""
    resp.status = HTTPStatus.NOT_MODIFIED
    packed = f"{tag}{PACKED}" in (req.get_header("If-None-Match") or "")
    resp.set_headers(described(f"{tag}{PACKED}" if packed else tag))


def described(tag: str) -> Headers:
    """The headers of an answer that may be kept, by whoever asks each time whether it stands."""
    return (("ETag", f'"{tag}"'), ("Cache-Control", REVALIDATE), ("Vary", "Accept-Encoding"))


async def deliver(req: Request, resp: Response, found: Kept) -> bool:
    """Send the answer, compressed if the client likes; tells whether."""
    counted(resp, found.records)
    resp.content_type = falcon.MEDIA_JSON
    takes = takes_gzip(req.get_header("Accept-Encoding") or "")
    if found.laid is not None:
        return stream(resp, found, found.laid, packed=takes)
    packed = None
    if takes:
        if len(found.body) > OF_ITS_OWN:
            packed = await asyncio.to_thread(found.pack)
        else:
            packed = found.pack()
    if packed is None:
        resp.data = found.body
        resp.set_headers((*described(found.tag), *found.headers))
        return False
    resp.data = packed
    coding = ("Content-Encoding", "gzip")
    resp.set_headers((*described(f"{found.tag}{PACKED}"), coding, *found.headers))
    return True


def stream(resp: Response, found: Kept, laid: Laid, *, packed: bool) -> bool:
    """Send a large answer as it lies there; tells whether compressed."""
    tag = f"{found.tag}{PACKED}" if packed else found.tag
    resp.set_headers((*described(tag), *found.headers))
    if packed:
        resp.set_header("Content-Encoding", "gzip")
        resp.stream = laid.packed(LEVEL)
    else:
        resp.content_length = len(laid)
        resp.stream = laid.chunks()
    return packed


@lru_cache(maxsize=1024)
def takes_gzip(accepted: str) -> bool:
    """Whether `Accept-Encoding` names gzip, and not to refuse it."""
    for each in accepted.lower().split(","):
        coding, _, weight = each.replace(" ", "").partition(";q=")
        if coding == "gzip":
            return not weight or weight.strip("0.") != ""
    return False


async def fetched(
    connection: Connection, query: bytes | selects.Query, key: Mapping[str, object]
) -> list[DictRow]:
    """Every row of a composed query."""
    cursor = await connection.execute(query, key)
    return await cursor.fetchall()


async def state_of(connection: Connection, tenant_id: int, entity: AnyEntity) -> DictRow:
    """The version of the district, and how many records of the entity it has."""
    cursor = await connection.execute(SQL["state"], {"tenant_id": tenant_id, "entity": entity.file})
    row = await cursor.fetchone()
    if row is None:
        raise Missing
    return row
