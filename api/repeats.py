"""What was answered a moment ago, asked for again in the same words by the same caller.

Most reads of rosters are such repetitions, and what they are answered is known: the bytes are kept
(`api/rosters/pages.py`), and every decision on the way to them follows from the request, the caller
and the version. So a request that is the same to the byte is answered here, in front of Falcon, if
the caller is the very one of before: looked up again, after the request came, with nothing of what
is stored about the credential, its client, the lens and the version being other than it was. It is
counted, taken down and measured like every other one, by those who do so there.

Whatever is not exactly so goes the long way, which is the one that decides and refuses. What it
has answered is noted here when it is about to be sent, if it says that it may be repeated.
"""

import marshal
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from secrets import token_bytes
from typing import Any, TypeAlias, cast

from falcon.asgi import Request, Response

from api.answers import ID, Answers, id_of
from api.audit_book import Book
from api.audit_entries import Seen
from api.caller import DISTRICT
from api.credentials import Identified, Proven
from api.door import REFUSED, Door
from api.rates import HEADERS
from api.rosters.pages import Pages, Repeatable
from api.tokens import Claims

Scope: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
RawHeaders: TypeAlias = Sequence[tuple[bytes, bytes]]

ROOT = "/ims/"
LIVES = 30.0  # seconds; then the long way is gone once more, for what it does beside (`places`)
MOST = 5000  # of a few KB each
NAME = "rosterhub.repeats.name"
NOTE = "rosterhub.repeats.note"
START, BODY = "http.response.start", "http.response.body"


REQUEST_ID = ID.lower().encode()
RATES = [name.lower().encode() for name in HEADERS]
EACH_ITS_OWN = frozenset({REQUEST_ID, b"content-length", *RATES})
"""Headers of an answer that are not those of the one before."""
NEVER = frozenset({b"origin", b"content-length", b"transfer-encoding"})
"""A page of another origin is looked up, and a body is read, on the long way."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of an answer when it is about to be sent."""

    what: Repeatable
    found: Identified
    by: Proven | Claims
    named: str | None
    seen: Seen


@dataclass(frozen=True, slots=True)
class Repeat:
    """An answer that was noted; `headers` without those that each has of its own."""

    note: Note
    until: float
    headers: RawHeaders


class Repeats:
    """Middleware around everything else, and what stands in front of it."""

    def __init__(self, door: Door, pages: Pages, book: Book, answers: Answers) -> None:
        self._door = door
        self._pages = pages
        self._book = book
        self._answers = answers
        self._secret = token_bytes(32)
        self._known: dict[bytes, Repeat] = {}
        pages.when_newer(self._known.clear)

    async def answered(self, scope: Scope, send: Send) -> bool:
        """Answer a request that was answered before; False: it goes the long way."""
        began = time.perf_counter()
        name, given = self._name(scope)
        if name is None:
            return False
        scope[NAME] = name
        repeat = self._known.get(name)
        if repeat is None or repeat.until < time.monotonic():
            return False
        note = repeat.note
        try:
            found = await self._door.again(note.by, note.named)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the long way ends with it
            scope[REFUSED] = error
            return False
        if found is not note.found:
            if self._known.get(name) is repeat:
                del self._known[name]  # a new version, lens or limit, or a scope less
            return False
        body = self._body(note.what)
        if body is None:
            return False
        left = await self._door.count(found)
        if left is not None and not left.allowed:
            return False
        request_id = id_of(given)
        self._take_down(note, request_id, time.perf_counter() - began)
        headers = [*repeat.headers, (REQUEST_ID, request_id.encode())]
        if left is not None:
            headers += [
                (lowered, text.encode())
                for lowered, text in zip(RATES, map(str, left[1:]), strict=True)
            ]
        if note.what.packed is not None:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": START, "status": note.seen.status, "headers": headers})
        await send({"type": BODY, "body": body})
        return True

    def _name(self, scope: Scope) -> tuple[bytes | None, str]:
        """What all requests have in common that are the same, and the id that this one brings."""
        if scope["method"] != "GET" or not scope["path"].startswith(ROOT):
            return None, ""
        given = b""
        said: list[bytes] = []
        for name, value in headers_of(scope):
            if name in NEVER or (name == REQUEST_ID and given):
                return None, ""
            if name == REQUEST_ID:
                given = value
            else:
                said += (name, value)
        where = scope["path"], scope.get("raw_path"), scope["query_string"], host_of(scope)
        # Of the second version, which writes equal values equally. Credentials are not kept as
        # they are.
        text = marshal.dumps((where, said), 2)
        return blake2b(text, key=self._secret, digest_size=32).digest(), given.decode("latin-1")

    def _body(self, what: Repeatable) -> bytes | None:
        """The bytes to be sent; None: they are not kept any more."""
        if what.packed is None:
            return b""
        kept = self._pages.known(what.tag)
        return None if kept is None else kept.as_sent(packed=what.packed)

    def _take_down(self, note: Note, request_id: str, seconds: float) -> None:
        """What is written down of every request."""
        seen = note.seen
        self._book.take(seen._replace(at=datetime.now(UTC), request_id=request_id))
        self._pages.told("unchanged" if note.what.packed is None else "process")
        self._answers.tell(
            seen.method,
            seen.route,
            seen.status,
            seconds=seconds,
            caller=note.found.caller,
            request_id=request_id,
        )

    async def process_response(
        self, req: Request, _resp: Response, _resource: object, _succeeded: object
    ) -> None:
        """Note what may be repeated, once everything is known of it."""
        what = getattr(req.context, "repeatable", None)
        if what is None or NAME not in req.scope:
            return
        found = req.context.found
        if found.by is not None:
            named = req.get_header(DISTRICT)
            req.scope[NOTE] = Note(what, found, found.by, named, req.context.seen)

    def noting(self, scope: Scope, send: Send) -> Send:
        """The way out for an answer that came the long way."""
        if NAME not in scope:
            return send

        async def noted(message: Message) -> None:
            if message["type"] == START and NOTE in scope:
                self._keep(scope[NAME], scope[NOTE], message)
            await send(message)

        return noted

    def _keep(self, name: bytes, note: Note, start: Message) -> None:
        if start["status"] != note.seen.status:
            return  # it went wrong behind the audit
        if len(self._known) >= MOST:
            self._known.clear()
        headers = tuple(each for each in start["headers"] if each[0] not in EACH_ITS_OWN)
        self._known[name] = Repeat(note, time.monotonic() + LIVES, headers)


def headers_of(scope: Scope) -> RawHeaders:
    """The headers of a request, which servers may tell once only."""
    headers = scope["headers"]
    if not isinstance(headers, list):
        headers = scope["headers"] = [(name, value) for name, value in headers]
    return cast("RawHeaders", headers)


def host_of(scope: Scope) -> str | None:
    """Who is connected, which servers may tell once only."""
    client = scope.get("client")
    if client is None:
        return None
    if not isinstance(client, tuple):
        client = scope["client"] = tuple(client)
    return str(client[0])
