"""Who read or changed what: every request that reaches a guarded resource is taken down.

Middleware around the resources. It costs microseconds and waits for nothing; another task writes
(api/audit_book.py). Health, metrics and what needs no key are not looked at, but for what knows its
caller all the same: downloads, by their address.
"""

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from datetime import UTC, datetime

from falcon.asgi import Request, Response

from api.addresses import peer_of
from api.answers import known
from api.audit_book import Book
from api.audit_entries import Seen, Speaker
from api.caller import Caller
from api.errors import TOKEN
from schemas.audit import INSTALLATION
from schemas.secrets import parse_key

WATCHED = ("/ims/", "/api/v1/")
"""What is guarded there is looked at, and the address at which clients ask for tokens."""

KEY_ID = re.compile(r"[0-9A-Za-z]{12}")


class Audit:
    """Middleware: take down what was asked, by whom, and how it ended."""

    def __init__(self, book: Book) -> None:
        self._book = book

    async def process_resource(
        self, req: Request, _resp: Response, _resource: object, params: Mapping[str, str]
    ) -> None:
        """Remember what the address names."""
        req.context.named = params

    async def process_response(
        self, req: Request, resp: Response, resource: object, _succeeded: object
    ) -> None:
        """Take the request down: at once, or when the stream that answers it has ended."""
        if not is_watched(req, resource):
            return
        if req.method == "OPTIONS":
            return  # a browser asks what it may do; nothing is read
        if resp.stream is None:
            self._take(req, resp)
        else:
            resp.stream = to_its_end(resp.stream, lambda: self._take(req, resp))

    def _take(self, req: Request, resp: Response) -> None:
        context = req.context
        context.seen = Seen(
            speaker=getattr(context, "speaker", None) or speaker(req, context.caller),
            method=known(req.method),
            route=req.uri_template or "",
            address=address_of(req),
            status=resp.status_code,
            code=getattr(context, "code", None),
            at=datetime.now(UTC),
            records=getattr(resp.context, "records", None),
            named=getattr(context, "named", {}),
            query=req.query_string,
            request_id=context.id,
        )
        self._book.take(context.seen)


def is_watched(req: Request, resource: object) -> bool:
    """Whether a request belongs into the audit.

    Who asks for a token says itself who that is; what is fetched by a ticket has a caller, too.
    """
    if req.path == TOKEN:
        return True
    guarded = getattr(resource, "needs", None) is not None or req.context.caller is not None
    return guarded and req.path.startswith(WATCHED)


async def to_its_end(
    stream: AsyncIterable[bytes], then: Callable[[], None]
) -> AsyncIterator[bytes]:
    """A stream that says when it has ended, or when nobody reads it any more."""
    try:
        async for piece in stream:
            yield piece
    finally:
        then()


def speaker(req: Request, caller: Caller | None) -> Speaker:
    """In which district the request was made, by whom."""
    if caller is None:
        return Speaker(INSTALLATION, "anonymous", claimed(req))
    tenant_id = INSTALLATION if caller.tenant_id is None else caller.tenant_id
    if caller.administrator:
        return Speaker(tenant_id, "administrator", caller.key_id)
    if client := getattr(caller, "client", None):
        return Speaker(tenant_id, "client", client, caller.key_id)
    return Speaker(tenant_id, "key", caller.key_id)


def claimed(req: Request) -> str | None:
    """The id of a key that was not let in, if it looks like one."""
    bearer = (req.get_header("Authorization") or "").rpartition(" ")[2]
    key = parse_key(bearer or req.get_header("X-API-Key") or "")
    return key.id if key and KEY_ID.fullmatch(key.id) else None


THIS_MACHINE = "127.0.0.1"  # no network at all: a socket of this machine


def address_of(req: Request) -> str:
    """Where the request came from: what is believed of a proxy's word, else who is connected."""
    believed = getattr(req.context, "address", None)
    # Not `remote_addr`: that reads `Forwarded`, and stumbles over what a client wrote there.
    return str(believed or peer_of(req) or THIS_MACHINE)
