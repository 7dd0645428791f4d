"""Files behind signed addresses: no key is needed, for the address is one (`schemas.tickets`).

A download that broke is taken up again: `Range`, guarded by `If-Range`, gives the rest of the same
bytes. The entity tag is the SHA-256 of the file, so a client can also see that it has it whole.
"""

import base64
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from falcon import ETag
from falcon.asgi import Request, Response
from psycopg.rows import DictRow

from api.caller import Caller
from api.database import Database
from api.deltas.reading import SQL as DELTAS
from api.exports import SQL, FileDeleted, LensChanged, whole
from api.findings_downloads import NDJSON
from api.openapi.described import IF_NONE_MATCH, Parameter, Stream, described
from api.uploads import NoSuchObject, Objects
from schemas.errors import Gone, Missing, RosterHubError
from schemas.lens import Lens
from schemas.moments import tag_of
from schemas.secrets import Vault
from schemas.tickets import Ticket, read

ZIP = "application/zip"
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
DIGITS = 18


RANGES = {"type": "string", "pattern": r"^bytes=(\d{1,18}-\d{0,18}|-\d{1,18})$"}
ASKED = (
    Parameter("Range", "The part that is wanted, in bytes.", RANGES, "header"),
    Parameter("If-Range", "The ETag of the bytes that are there.", {"type": "string"}, "header"),
    IF_NONE_MATCH,
)
REFUSALS = (404, 409, 410, 416)
SENT = ("ETag", "Content-Disposition", "Content-Range", "Repr-Digest")


class NoSuchFile(Missing):
    """The address leads nowhere."""


class Ended(Gone):
    """The address has expired: ask the export for another one."""

    code = "address_expired"


class Beyond(RosterHubError):
    """The file does not reach that far."""

    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    code = "range_not_satisfiable"


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes that are wanted, from `begin` to before `end`."""

    begin: int
    end: int


class Download:
    """`/api/v1/downloads/{ticket}`."""

    needs: Final = None

    def __init__(self, database: Database, vault: Vault, objects: Objects) -> None:
        self._database = database
        self._vault = vault
        self._objects = objects

    @described(
        Stream(ZIP),
        also={206: Stream(ZIP), 304: None},
        query=ASKED,
        refusals=REFUSALS,
        headers=SENT,
    )
    async def on_get(self, req: Request, resp: Response, ticket: str) -> None:
        """The file, or the part of it that is asked for."""
        row = await self._row(req, ticket)
        if describe(req, resp, row):
            return
        span = wanted(req, resp, row)
        try:
            resp.stream = await self._objects.read(row["object_key"], span.begin, span.end)
        except NoSuchObject as error:
            raise FileDeleted from error
        resp.content_length = span.end - span.begin

    @described(also={206: None, 304: None}, query=ASKED, refusals=REFUSALS, headers=SENT)
    async def on_head(self, req: Request, resp: Response, ticket: str) -> None:
        """The same without the bytes."""
        row = await self._row(req, ticket)
        if not describe(req, resp, row):
            span = wanted(req, resp, row)
            resp.content_length = span.end - span.begin

    async def _row(self, req: Request, text: str) -> DictRow:
        ticket = read(self._vault, text)
        if ticket is None:
            raise NoSuchFile
        put_down(req, ticket)
        key = {"tenant_id": ticket.tenant_id, "id": ticket.id, "client": None}
        async with self._database.tenant(ticket.tenant_id, snapshot=True) as connection:
            row = await (await connection.execute(SQL["one"], key)).fetchone()
            package = row is None
            if package:
                asking = key | {"client": ticket.client}
                row = await (await connection.execute(DELTAS["package_file"], asking)).fetchone()
        if row is None:
            raise NoSuchFile
        if ticket.until <= row["now"]:
            raise Ended
        if not package:
            whole(row)
        elif row["lens"] != seen_by(ticket.client, row["seen"]):
            raise LensChanged
        return row


def put_down(req: Request, ticket: Ticket) -> None:
    """Let logs and audit know whose address it is and which file, and never the address."""
    req.context.named = {"export_id": str(ticket.id)}
    req.context.caller = Caller(
        ticket.key_id,
        frozenset(),
        ticket.tenant_id,
        administrator=ticket.administrator,
        client=ticket.client,
    )


def seen_by(client: str | None, lens: object) -> str | None:
    """The name of what a client sees now; None: it is gone."""
    if client is None:
        return tag_of(None, "")
    return None if lens is None else tag_of(Lens.model_validate(lens), client)


def describe(req: Request, resp: Response, row: DictRow) -> bool:
    """Say what the file is; answer whether the client has it already."""
    resp.etag = row["sha256"].hex()
    resp.content_type = ZIP if row["name"].endswith(".zip") else NDJSON
    resp.downloadable_as = row["name"]
    resp.set_header("Accept-Ranges", "bytes")
    digest = base64.b64encode(row["sha256"]).decode()
    resp.set_header("Repr-Digest", f"sha-256=:{digest}:")
    known = req.if_none_match or []
    if any(each == "*" or each == row["sha256"].hex() for each in known):
        resp.status = HTTPStatus.NOT_MODIFIED
        return True
    return False


def wanted(req: Request, resp: Response, row: DictRow) -> Span:
    """The part that is asked for, with its headers; the whole where none is, or of other bytes."""
    size = row["bytes"]
    span = asked(req.get_header("Range"), size)
    if span is None or not same(req.get_header("If-Range"), row["sha256"].hex()):
        return Span(0, size)
    if span.begin >= span.end:
        resp.set_header("Content-Range", f"bytes */{size}")
        raise Beyond
    resp.status = HTTPStatus.PARTIAL_CONTENT
    resp.set_header("Content-Range", f"bytes {span.begin}-{span.end - 1}/{size}")
    return span


def asked(header: str | None, size: int) -> Span | None:
    """The one range of a header; any other header is passed over (RFC 9110, 14.2)."""
    match = RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None or match[0] == "bytes=-" or max(map(len, match.groups())) > DIGITS:
        return None
    first, last = match.groups()
    if not first:
        return Span(max(size - int(last), 0), size) if int(last) else Span(size, size)
    if last and int(last) < int(first):
        return None
    return Span(int(first), min(int(last) + 1, size) if last else size)


def same(condition: str | None, tag: str) -> bool:
    """Whether the client means these bytes; a weak tag or a date never does."""
    return condition is None or condition == ETag(tag).dumps()
