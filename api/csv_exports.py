"""One file of the roster, streamed straight from the database: `/ims/oneroster/v1p2/csv/export/`.

All of a file is one version. It is read page by page, each in a transaction of its own, and when a
newer version is published meanwhile the rest is read as it was: memory is bounded by a page, and a
slow reader holds neither a connection nor a snapshot. A file that cannot be finished ends without
its last chunk, and a client knows that it is not whole.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from falcon.asgi import Request, Response
from psycopg import sql
from psycopg.rows import DictRow
from pydantic import ValidationError

from api.bodies import refusal
from api.caller import Caller, caller_of
from api.database import Connection, Database
from api.exports import READ, SQL, permit, settled
from api.history import instant
from api.openapi.described import INSTANT, Parameter, Stream, a_word, described
from api.words import not_among
from schemas.errors import BadRequest, Missing, Rejected
from schemas.exports import FILES, IDENTIFIERS, PROFILES, SCHOOL, Wanted
from schemas.lens import Lens
from schemas.planning import NAMED, Known, facts, identifiers_of, planned
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.roster import AnyEntity
from schemas.secrets import Vault
from schemas.veiling import veiled
from schemas.view import EVERYTHING, View, of_lens
from schemas.writing import SETTLED, Plan, Sheet, sheet, unknown_of

ROWS = 5000  # of a page
CSV = "text/csv; charset=utf-8; header=present"
BOM = b"\xef\xbb\xbf"
VERSION = "X-RosterHub-Version"
ENCODINGS = ("utf-8", "utf-8-bom")
WORDS = ("true", "false")
DIGITS = 18


class NoSuchFile(Missing):
    """There is no such file: it is one of the nine of rostering, such as users."""


class NoDelta(Rejected):
    """Sources have come to call records otherwise since then: export the whole file."""

    code = "renamed_since"


@dataclass(frozen=True, slots=True)
class Written:
    """A file at one version: what it is made of, and how it begins."""

    plan: Plan
    entity: AnyEntity
    unknown: tuple[str, ...]
    mark: bytes
    veil: Pseudonyms | None = None

    def page(self, version: int) -> Sheet:
        """A page, when that version stands."""
        plan = replace(self.plan, past=version != self.plan.version)
        return sheet(plan, self.entity, self.unknown, keyed=True)


ASKED = (
    a_word("profile", PROFILES, "Whose layout the file has; else that of the policy."),
    a_word("encoding", ENCODINGS, "How it is written; the first if nothing is said."),
    a_word("identifiers", IDENTIFIERS, "Whose identifiers it has; else the policy says."),
    Parameter(
        "schools",
        "sourcedIds of orgs, with commas between: these and what is below; else all.",
        {"type": "array", "items": {"type": "string", "pattern": SCHOOL}, "minItems": 1},
        explode=False,
    ),
    a_word("metadata", WORDS, "Whether columns come along that the profile does not know."),
)
SINCE = Parameter(
    "since",
    "A version, or an instant: what changed behind it.",
    {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10**DIGITS - 1}, INSTANT]},
    required=True,
)
SENT = (VERSION, "Content-Disposition")


class CsvExport:
    """`/ims/oneroster/v1p2/csv/export/{entity}`."""

    needs = READ

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    @described(Stream("text/csv"), query=ASKED, refusals=(422,), headers=SENT)
    async def on_get(self, req: Request, resp: Response, entity: str) -> None:
        """The active records of one file."""
        if req.get_param("since") is not None:
            raise BadRequest("since is for /delta.", field="since")
        await self._answer(req, resp, entity, asked(req, entity))

    async def _answer(self, req: Request, resp: Response, name: str, wanted: Wanted) -> None:
        caller = caller_of(req)
        permit(caller, wanted)
        view, veil = sight_of(caller, self._vault)
        if veil:
            wanted = wanted.model_copy(update={"identifiers": "hub"})
        async with self._database.tenant(caller.tenant, snapshot=True) as connection:
            wanted = await settled(connection, caller, wanted)
            written = replace(await begun(connection, caller.tenant, wanted, view), veil=veil)
        first, key = await self._page(written, "")
        resp.content_type = CSV
        resp.downloadable_as = f"{name}.csv"
        resp.set_header(VERSION, str(written.plan.version))
        resp.stream = self._stream(written, first, key)

    async def _stream(self, written: Written, page: bytes, key: str | None) -> AsyncIterator[bytes]:
        yield written.mark + written.page(written.plan.version).header.encode() + page
        while key is not None:
            page, key = await self._page(written, key)
            yield page

    async def _page(self, written: Written, after: str) -> tuple[bytes, str | None]:
        """Some lines, and the key of the last of them if there may be more."""
        tenant_id = written.plan.tenant_id
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            row = await (
                await connection.execute(SQL["version"], {"tenant_id": tenant_id})
            ).fetchone()
            if row is None:
                raise Missing
            part = written.page(row["version"])
            await connection.execute(SETTLED)
            statement = composed(part, {**part.facts, "after": after, "limit": ROWS})
            text, key = await lines(connection, statement)
        if written.veil is not None and text:  # takes a while, so not where others wait
            text = await asyncio.to_thread(veiled, text, part, written.veil)
        return text, key


class CsvDelta(CsvExport):
    """`/ims/oneroster/v1p2/csv/export/{entity}/delta`."""

    @described(Stream("text/csv"), query=(*ASKED, SINCE), refusals=(422,), headers=SENT)
    async def on_get(self, req: Request, resp: Response, entity: str) -> None:
        """What changed in one file behind a version, deletions included."""
        wanted = asked(req, entity)
        if wanted.since is None:
            raise BadRequest(
                "since names the version, or the instant, from which the delta goes on.",
                field="since",
            )
        await self._answer(req, resp, entity, wanted)


def sight_of(caller: Caller, vault: Vault) -> tuple[View, Pseudonyms | None]:
    """What the caller sees, and what stands in for the rest."""
    if caller.client is None:
        return EVERYTHING, None
    lens = Lens.model_validate(caller.lens or {})
    veil = Pseudonyms(keys_of(vault, caller.tenant, caller.client), lens)
    return of_lens(lens), veil if lens.pseudonyms else None


async def begun(connection: Connection, tenant_id: int, wanted: Wanted, view: View) -> Written:
    """What the file is made of, as of one transaction."""
    cursor = await connection.execute(NAMED["known"], facts(tenant_id, wanted))
    known = Known.of(tuple(cast("DictRow", await cursor.fetchone()).values()))
    if wanted.base is not None and identifiers_of(wanted, known) == "source":
        asking = {"tenant_id": tenant_id, "since": wanted.base}
        cursor = await connection.execute(NAMED["renamed_since"], asking)
        if cast("DictRow", await cursor.fetchone())["renamed"]:
            raise NoDelta
    plan = planned(tenant_id, wanted, known, since=wanted.base, view=view)
    (entity,) = wanted.chosen
    unknown: list[str] = []
    if wanted.metadata and entity not in view.bare:
        query = sql.SQL(unknown_of(plan, entity)).format(**literals(plan.facts))
        unknown = sorted(row["key"] for row in await (await connection.execute(query)).fetchall())
    mark = BOM if wanted.encoding == "utf-8-bom" else b""
    return Written(plan, entity, tuple(unknown), mark)


async def lines(connection: Connection, statement: sql.Composed) -> tuple[bytes, str | None]:
    """The lines of a page without the keys before them, and the last key of a full one."""
    found: list[bytes] = []
    key = b""
    async with connection.cursor() as cursor, cursor.copy(statement) as copy:
        async for row in copy:
            key, _, line = bytes(row).partition(b",")
            found.append(line[:-1])
    text = b"".join(line + b"\r\n" for line in found)
    return text, key.strip(b'"').decode() if len(found) == ROWS else None


def composed(part: Sheet, known: Mapping[str, object]) -> sql.Composed:
    """The statement that writes a page."""
    return sql.SQL(part.copy).format(**literals(known))


def literals(known: Mapping[str, object]) -> dict[str, sql.Literal]:
    """The facts as literals."""
    return {name: sql.Literal(value) for name, value in known.items()}


# --- What is asked for ----------------------------------------------------------------------


def asked(req: Request, entity: str) -> Wanted:
    """What the address asks for."""
    if entity not in FILES:
        raise NoSuchFile
    said: dict[str, object] = {"entities": [entity]}
    for name in ("profile", "encoding", "identifiers"):
        if (word := req.get_param(name)) is not None:
            said[name] = word
    if said.get("encoding", ENCODINGS[0]) not in ENCODINGS:
        raise not_among("encoding", ENCODINGS)
    if (schools := req.get_param("schools")) is not None:
        said["schools"] = schools.split(",")
    if (metadata := req.get_param("metadata")) is not None:
        if metadata not in WORDS:
            raise not_among("metadata", WORDS)
        said["metadata"] = metadata == "true"
    if (since := req.get_param("since")) is not None:
        number = since.isascii() and since.isdigit()
        said |= {"mode": "delta", "since": int(since[:DIGITS]) if number else instant(req, "since")}
    try:
        return Wanted.model_validate(said)
    except ValidationError as error:
        raise refusal(error) from error
