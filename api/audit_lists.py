"""The audit as a list, and as files for Excel or for programs: the newest first.

A look goes through a bounded number of entries, so a page may hold fewer than asked for and still
have a next one. An administrator who names no district sees what belongs to none.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from falcon.asgi import Request, Response

from api import spreadsheets
from api.caller import Needs, caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Database
from api.findings_downloads import CSV, NDJSON, as_file
from api.form import counted, dump, send
from api.history import instant, text
from api.language import language_of
from api.openapi import answers
from api.openapi.described import (
    LANGUAGE,
    PAGED,
    Listed,
    Stream,
    a_number,
    a_text,
    a_word,
    an_instant,
    described,
)
from api.segments import SLASH
from api.words import among
from schemas.audit import INSTALLATION, OPERATIONS, PARTIES
from schemas.errors import BadRequest
from schemas.rulebook import Language
from schemas.statements import load

SQL = load("api", "audit.sql")
PATH = "/api/v1/audit"
WINDOW = 20_000  # entries that one look goes through
PAGE = 1000  # entries of a file at a time
DIGITS = 18  # of a bigint, whatever they are
OUTCOMES = ("answered", "refused", "failed")
FILTERS = (
    *("from", "to", "who", "party", "operation", "method", "route", "target", "address"),
    *("request_id", "records", "outcome"),
)
HEADINGS: Mapping[Language, tuple[str, ...]] = {
    "ja": (
        *("日時", "主体", "ID", "鍵", "操作", "メソッド", "経路", "対象", "条件", "項目", "範囲"),
        *("件数", "接続元", "状態", "コード", "要求 ID", "回数", "失われた記録", "連鎖", "番号"),
        "ハッシュ",
    ),
    "en": (
        *("at", "party", "who", "credential", "operation", "method", "route", "target", "filter"),
        *("fields", "page", "records", "address", "status", "code", "request", "times", "lost"),
        *("chain", "seq", "hash"),
    ),
}

WHICH = (
    an_instant("from", "From then on."),
    an_instant("to", "Before."),
    a_text("who", "A key or a client."),
    a_word("party", PARTIES, "Of this party."),
    a_word("operation", OPERATIONS, "What was done."),
    a_text("method", "The method."),
    a_text("route", "The template of the address."),
    a_text("target", "The ids in the address."),
    a_text("address", "From where."),
    a_text("request_id", "The id of the request."),
    a_number("records", "So many records.", most=10**DIGITS - 1),
    a_word("outcome", OUTCOMES, "How it went."),
)


Asked = dict[str, Any]


class Place(NamedTuple):
    """An entry, by what the list is ordered by."""

    at: datetime | None = None
    chain: UUID | None = None
    seq: int | None = None


class Look(NamedTuple):
    """What one look has found, and where the next one begins; None: there is no more."""

    rows: list[dict[str, Any]]
    then: Place | None


class Resource:
    """What the addresses share."""

    needs = Needs("settings", district=False)

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _look(self, key: Asked, place: Place, limit: int) -> Look:
        """The next entries that match, behind a place."""
        here = {**key, **place._asdict(), "window": WINDOW, "limit": limit}
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            cursor = await connection.execute(SQL["edge"], here)
            row = await cursor.fetchone()
            edge = Place(**row) if row else None
            last = {f"edge_{name}": each for name, each in (edge or Place())._asdict().items()}
            cursor = await connection.execute(SQL["page"], here | last)
            rows = await cursor.fetchall()
        if len(rows) == limit:
            return Look(rows, place_of(rows[-1]))
        return Look(rows, edge)


class Entries(Resource):
    """`/api/v1/audit`."""

    @described(Listed(answers.AuditEntry), query=(*PAGED, *WHICH))
    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of entries."""
        key, limit = asked(req), limit_of(req)
        look = await self._look(key, behind(req.get_param("cursor")), limit)
        kept = {name: req.get_param(name) for name in (*FILTERS, "limit")}
        then = None if look.then is None else cursor_of(look.then)
        send(resp, {"items": [item(row) for row in look.rows], "next": next_url(PATH, then, kept)})


class Download(Resource):
    """All entries that match."""

    async def _pages(self, resp: Response, key: Asked) -> AsyncIterator[list[dict[str, Any]]]:
        place: Place | None = Place()
        while place is not None:
            rows, place = await self._look(key, place, PAGE)
            counted(resp, len(rows))
            yield [item(row) for row in rows]


class AuditCsv(Download):
    """`/api/v1/audit.csv`."""

    @described(Stream("text/csv"), query=(*WHICH, LANGUAGE))
    async def on_get(self, req: Request, resp: Response) -> None:
        """The entries as a file for Excel."""
        language, key = language_of(req), asked(req)
        as_file(resp, CSV, "audit.csv")
        resp.stream = self._lines(resp, key, language)

    async def _lines(self, resp: Response, key: Asked, language: Language) -> AsyncIterator[bytes]:
        yield spreadsheets.BOM + spreadsheets.line(HEADINGS[language])
        async for page in self._pages(resp, key):
            yield b"".join(spreadsheets.line(cells(entry)) for entry in page)


class AuditNdjson(Download):
    """`/api/v1/audit.ndjson`."""

    @described(Stream("application/x-ndjson"), query=WHICH)
    async def on_get(self, req: Request, resp: Response) -> None:
        """The entries, one JSON object a line."""
        key = asked(req)
        as_file(resp, NDJSON, "audit.ndjson")
        resp.stream = self._lines(resp, key)

    async def _lines(self, resp: Response, key: Asked) -> AsyncIterator[bytes]:
        async for page in self._pages(resp, key):
            yield b"".join(dump(entry) + b"\n" for entry in page)


def asked(req: Request) -> Asked:
    """Whose entries are wanted, and which of them; None: no such filter."""
    tenant_id = caller_of(req).tenant_id
    target = text(req, "target")
    return {
        "tenant_id": INSTALLATION if tenant_id is None else tenant_id,
        "from": instant(req, "from"),
        "to": instant(req, "to"),
        "who": text(req, "who"),
        "party": among(req, "party", PARTIES),
        "operation": among(req, "operation", OPERATIONS),
        "method": text(req, "method"),
        "route": text(req, "route"),
        "target": target and target.replace("/", SLASH),
        "address": text(req, "address"),
        "request_id": text(req, "request_id"),
        "records": whole(req, "records"),
        "outcome": among(req, "outcome", OUTCOMES),
    }


def whole(req: Request, name: str) -> int | None:
    """A whole number of the query."""
    value = req.get_param(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= DIGITS):
        raise BadRequest(f"{name} is a whole number.", field=name)
    return int(value)


def behind(cursor: str | None) -> Place:
    """The last entry that was looked at."""
    if cursor is None:
        return Place()
    match decode(cursor):
        case [str(at), str(chain), int(seq)] if 0 <= seq < 10**DIGITS:
            try:
                return Place(datetime.fromisoformat(at), UUID(chain), seq)
            except ValueError as error:
                raise BadCursor from error
        case _:
            raise BadCursor


def place_of(row: Mapping[str, Any]) -> Place:
    """Where an entry stands."""
    return Place(row["at"], row["chain"], row["seq"])


def cursor_of(place: Place) -> Sequence[object]:
    """The same as a cursor holds it."""
    return [place.at and place.at.isoformat(), str(place.chain), place.seq]


def item(row: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as it is shown."""
    return {
        "at": row["at"],
        "party": row["party"],
        "who": row["who"],
        "credential": row["credential"],
        "operation": row["operation"],
        "method": row["method"],
        "route": row["route"],
        "target": row["target"],
        "filter": row["filter"],
        "fields": row["fields"],
        "page": row["page"],
        "records": row["records"],
        "address": row["address"],
        "status": row["status_code"],
        "code": row["code"],
        "request": row["request_id"],
        "times": row["times"] or 1,
        "lost": row["lost"] or 0,
        "chain": row["chain"],
        "seq": row["seq"],
        "hash": row["hash"].hex(),
    }


def cells(entry: Mapping[str, Any]) -> Sequence[object]:
    """An entry as a row of the file."""
    return [each.isoformat() if isinstance(each, datetime) else each for each in entry.values()]
