"""Previews: a sample and a mapping go to a worker, and what becomes of the rows comes back.

Only workers transform rows, with the code that imports use: an evaluator of the gateway's own would
sooner or later show something else than what an import does. The request waits some seconds for the
answer; who is told 202 asks again.
"""

import asyncio
import time
from http import HTTPStatus
from uuid import UUID, uuid4

from falcon.asgi import Request, Response
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field

from api.bell import Bell
from api.bodies import read_json
from api.caller import caller_of
from api.database import Connection, Database
from api.form import send
from api.mappings import (
    PATH,
    READ,
    SQL,
    Json,
    Row,
    all_tables,
    default,
    entity_of,
    key_of,
    newest,
    one,
    plain,
    refuse_faulty,
    template_of,
)
from api.openapi import answers
from api.openapi.described import Body, a_number, a_text, a_word, described
from api.uploads import CSV, media_type
from api.words import among
from schemas.errors import BadRequest, LengthRequired, Missing, Rejected, TooLarge
from schemas.jobs import PreviewMapping
from schemas.mappings import FileMapping
from schemas.runs import SINGLE_MODES

ROWS, ROWS_MAX, DIGITS = 20, 100, 9
PATIENCE = 8.0  # seconds that a request waits for its answer
LOOK = 0.05  # seconds between two looks


TRIED = (
    a_word("mode", SINGLE_MODES, "How the CSV is meant; bulk unless said."),
    a_text("template", "With the mapping of this template."),
    a_number("version", "With this version of the mapping.", least=1),
    a_number("rows", f"How many rows to show, {ROWS_MAX} at most.", least=1, most=10**8 - 1),
)


class NoSuchPreview(Missing):
    """There is no preview with this id; one is kept for an hour."""


class NotShown(Rejected):
    """The sample cannot be shown; the operator's log says why."""

    code = "preview_failed"


class Sample(BaseModel):
    """A mapping that need not be saved, and the CSV to try it on."""

    model_config = ConfigDict(extra="forbid")

    mapping: FileMapping | None = None
    sample: str = Field(min_length=1)


class Desk:
    """Where previews are asked for and waited for."""

    needs = READ

    def __init__(self, database: Database, bell: Bell, json_max: int, patience: float) -> None:
        self._database = database
        self._bell = bell
        self._json_max = json_max
        self._patience = patience

    async def _answer(self, resp: Response, tenant_id: int, preview_id: UUID) -> bool:
        """Wait for the worker and answer; whether there was something to answer with."""
        self._bell.ring(PreviewMapping(tenant_id=tenant_id, preview_id=preview_id))
        until = time.monotonic() + self._patience
        while (row := await self._row(tenant_id, preview_id))["state"] == "waiting":
            if time.monotonic() > until:
                break
            await asyncio.sleep(LOOK)
        if row["state"] == "failed":
            raise NotShown
        done: bool = row["state"] == "done"
        if not done:
            resp.location = f"{PATH}/previews/{preview_id}"
            resp.set_header("Retry-After", "1")
        status = HTTPStatus.OK if done else HTTPStatus.ACCEPTED
        said = {name: row[name] for name in ("id", "state", "entity")}
        send(resp, said | (row["answer"] or {}), status)
        return done

    async def _row(self, tenant_id: int, preview_id: UUID) -> Row:
        async with self._database.tenant(tenant_id) as connection:
            cursor = await connection.execute(
                SQL["preview"], {"tenant_id": tenant_id, "id": preview_id}
            )
            row = await cursor.fetchone()
        if row is None:
            raise NoSuchPreview
        return row


class Previews(Desk):
    """`/api/v1/mappings/{entity}/preview`."""

    @described(
        answers.SamplePreview,
        also={202: answers.SamplePreview},
        query=TRIED,
        body=Body({"application/json": Sample, CSV: {"type": "string", "minLength": 1}}),
        headers=("Location", "Retry-After"),
    )
    async def on_post(self, req: Request, resp: Response, entity: str) -> None:
        """The first rows of a CSV before and after a mapping, and what is wrong with them.

        The body is the CSV, or JSON with the `sample` and a `mapping` that is not saved yet. The
        mapping is that one, or the `template` or `version` of the address, or the one in use.
        """
        key, rows = key_of(req, entity), rows_of(req)
        mode = among(req, "mode", SINGLE_MODES) or "bulk"
        given, sample = await self._body(req)
        wanted = key | {"id": uuid4(), "mode": mode, "rows": rows}
        async with self._database.tenant(key["tenant_id"]) as connection:
            tables = await all_tables(connection, key["tenant_id"])
            mapping = given or await chosen(connection, req, key)
            refuse_faulty(key["entity"], mapping, tables)
            kept = {
                "mapping": Jsonb(plain(mapping)),
                "tables": Jsonb({name: tables[name] for name in mapping.tables}),
                "sample": beginning(sample, rows),
            }
            await connection.execute(SQL["insert_preview"], wanted | kept)
        if await self._answer(resp, key["tenant_id"], wanted["id"]):
            async with self._database.tenant(key["tenant_id"]) as connection:
                await connection.execute(SQL["delete_preview"], wanted)

    async def _body(self, req: Request) -> tuple[FileMapping | None, bytes]:
        if media_type(req) != CSV:
            given = await read_json(req, Sample, self._json_max)
            return given.mapping, given.sample.encode("utf-8", "replace")
        if req.content_length is None:
            raise LengthRequired
        if req.content_length > self._json_max:
            raise TooLarge(limit=self._json_max)
        body = await req.stream.read()
        if len(body) != req.content_length:
            raise BadRequest("The body ended before its announced length.")
        if not body:
            raise Rejected("The sample is empty.")
        return None, body


class Preview(Desk):
    """`/api/v1/mappings/previews/{preview_id}`."""

    @described(
        answers.SamplePreview,
        also={202: answers.SamplePreview},
        refusals=(422,),
        headers=("Location", "Retry-After"),
    )
    async def on_get(self, req: Request, resp: Response, preview_id: str) -> None:
        """A preview that was not ready at once."""
        try:
            parsed_id = UUID(preview_id)
        except ValueError as error:
            raise NoSuchPreview from error
        await self._answer(resp, caller_of(req).tenant, parsed_id)


async def chosen(connection: Connection, req: Request, key: Json) -> FileMapping:
    """The mapping that the address names: a template, a version, or the one in use."""
    entity = entity_of(key["entity"])
    if template := req.get_param("template"):
        found = template_of(template)
        if found.entity != entity.file:
            raise BadRequest(f"The template is for {found.entity}.", field="template")
        return found.mapping
    version = req.get_param("version")
    row = await one(connection, key, version) if version else await newest(connection, key)
    if row is None or row["mapping"] is None:
        return default(entity)
    return FileMapping.model_validate(row["mapping"])


def rows_of(req: Request) -> int:
    """How many rows to show."""
    text = req.get_param("rows")
    if text is None:
        return ROWS
    if not (text.isascii() and text.isdigit() and 0 < len(text) < DIGITS and int(text) > 0):
        raise BadRequest("rows is a whole number from 1.", field="rows")
    return min(int(text), ROWS_MAX)


def beginning(sample: bytes, rows: int) -> bytes:
    """The header and the first rows: of what a preview does not need, nothing is kept."""
    return b"".join(sample.splitlines(keepends=True)[: rows + 1])
