"""Imports: a package comes in, becomes a run, and can be watched and read.

The body is stored first; then one transaction writes the upload and the run; then the bell is rung.
An `Idempotency-Key` makes sending again harmless: the same content answers with the same run.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime
from http import HTTPStatus
from typing import cast
from uuid import UUID, uuid4

import psycopg
from falcon.asgi import Request, Response
from psycopg.rows import DictRow
from psycopg_pool import PoolTimeout

from api.bell import Bell
from api.caller import Caller, Needs, caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Database
from api.form import send
from api.history import FILES, KINDS, STATES, kept, wanted
from api.openapi import answers
from api.openapi.described import (
    DAY,
    ONCE,
    PAGED,
    Body,
    Listed,
    Parameter,
    a_text,
    a_word,
    an_instant,
    described,
    some_words,
)
from api.runs import PATH, SQL, Row, as_json, one, parsed_id, path_of
from api.uploads import CSV, FORM, Intake, Received, media_type
from api.words import among, not_among
from schemas.errors import BadRequest, Rejected, RosterHubError
from schemas.jobs import ImportRoster
from schemas.proposals import APPLIES, day_of
from schemas.runs import SINGLE_MODES

KEY_MAX = 255


WHICH = (
    some_words("state", STATES, "In these states."),
    a_word("kind", KINDS, "Of this kind alone."),
    a_word("entity", FILES, "Of a single CSV of this file."),
    a_text("created_by", "Made with this key."),
    an_instant("since", "Made from then on."),
    an_instant("until", "Made before."),
    a_text("file", "Whose upload has this in its name."),
)
ENTITY = a_word("entity", FILES, "The file that a single CSV is.")
MODE = a_word("mode", SINGLE_MODES, "How a single CSV is meant.")
APPLY = a_word("apply", APPLIES, "At once, or after review; else as the policy says.")
AS_OF = Parameter("as_of", "The day that the package speaks of.", DAY)
MEANT = (
    *(ENTITY, MODE, APPLY, AS_OF),
    a_text("X-Filename", "The name of the file, percent-encoded.", place="header"),
)
BINARY = {"type": "string", "format": "binary", "minLength": 1}
PACKAGE = Body(
    {
        "application/zip": BINARY,
        CSV: {"type": "string", "minLength": 1},
        FORM: {
            "type": "object",
            "properties": {
                "file": BINARY,
                **{each.name: each.schema for each in (ENTITY, MODE, APPLY, AS_OF)},
            },
            "required": ["file"],
        },
    }
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A package (both None), or one CSV and how it is meant.

    `apply`: at once or after review, None as the district decides; `as_of`: the day it speaks of.
    """

    entity: str | None
    mode: str | None
    apply: str | None = None
    as_of: date | None = None


class KeyReused(Rejected):
    """The Idempotency-Key was used for another upload."""

    code = "idempotency_key_reused"


class Imports:
    """`/api/v1/imports`."""

    needs = Needs("imports")

    def __init__(self, database: Database, intake: Intake, bell: Bell) -> None:
        self._database = database
        self._intake = intake
        self._bell = bell

    @described(Listed(answers.Run), query=(*PAGED, *WHICH))
    async def on_get(self, req: Request, resp: Response) -> None:
        """The history of the district, newest first."""
        limit = limit_of(req)
        before, run_id = newest_before(req.get_param("cursor"))
        tenant_id = caller_of(req).tenant
        place = {"tenant_id": tenant_id, "before": before, "id": run_id, "limit": limit + 1}
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            cursor = await connection.execute(SQL["page"], place | wanted(req))
            rows = await cursor.fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        key = None if last is None else [last["created_at"].isoformat(), str(last["id"])]
        send(
            resp,
            {
                "items": [as_json(row) for row in rows[:limit]],
                "next": next_url(PATH, key, kept(req)),
            },
        )

    @described(
        answers.Run,
        status=202,
        query=(ONCE, *MEANT),
        body=PACKAGE,
        refusals=(409,),
        headers=("Location",),
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Take a package or a CSV; answer with its run."""
        caller = caller_of(req)
        once = idempotency_key(req)
        early_refusal(req)
        received = await self._intake.receive(req, caller.tenant)
        try:
            kind = kind_of(req, received)
            row = await self._create(caller, received, kind, once)
        except (RosterHubError, PoolTimeout, psycopg.DatabaseError) as error:
            # A connection lost at the commit may have committed: then the run needs its object.
            if not isinstance(error, psycopg.OperationalError) or isinstance(error, PoolTimeout):
                await self._intake.discard(received.upload)
            raise
        if row["upload_id"] == received.upload.id:
            self._bell.ring(ImportRoster(tenant_id=caller.tenant, run_id=row["id"]))
        else:
            await self._intake.discard(received.upload)
            same_or_refused(row, received, kind)
            resp.set_header("Idempotent-Replayed", "true")
        resp.location = path_of(row)
        send(resp, as_json(row), HTTPStatus.ACCEPTED)

    async def _create(
        self, caller: Caller, received: Received, kind: Kind, once: str | None
    ) -> DictRow:
        """The new run, or the one that the idempotency key has already."""
        upload = received.upload
        parameters = {
            "tenant_id": caller.tenant,
            "upload_id": upload.id,
            "object_key": upload.key,
            "name": upload.name,
            "bytes": upload.length,
            "sha256": upload.sha256,
            "run_id": uuid4(),
            "entity": kind.entity,
            "mode": kind.mode,
            "created_by": caller.key_id,
            "idempotency_key": once,
            "apply": kind.apply,
            "as_of": kind.as_of or day_of(upload.name),
        }
        async with self._database.tenant(caller.tenant) as connection:
            await connection.execute(SQL["insert_upload"], parameters)
            cursor = await connection.execute(SQL["insert_run"], parameters)
            if cursor.rowcount == 0:
                await connection.execute(SQL["delete_upload"], parameters)
                cursor = await connection.execute(SQL["by_idempotency_key"], parameters)
            else:
                cursor = await connection.execute(SQL["one"], [caller.tenant, parameters["run_id"]])
            return cast("DictRow", await cursor.fetchone())


class Import:
    """`/api/v1/imports/{run_id}`."""

    needs = Needs("imports")

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(answers.Run)
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """One run."""
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            send(resp, as_json(await one(connection, tenant_id, parsed_id(run_id))))


def early_refusal(req: Request) -> None:
    """Refuse what the address already shows to be wrong, before the body is read."""
    entity = among(req, "entity", FILES)
    mode = among(req, "mode", SINGLE_MODES)
    among(req, "apply", APPLIES)
    day(req.get_param("as_of"))
    if media_type(req) == CSV:
        complete_kind(entity, mode, csv=True)


def kind_of(req: Request, received: Received) -> Kind:
    """What was sent, by the address or else by the form."""
    entity = among(req, "entity", FILES, received.fields)
    mode = among(req, "mode", SINGLE_MODES, received.fields)
    kind = complete_kind(entity, mode, csv=received.csv)
    as_of = req.get_param("as_of") or received.fields.get("as_of")
    apply = among(req, "apply", APPLIES, received.fields)
    return replace(kind, apply=apply, as_of=day(as_of))


def day(text: str | None) -> date | None:
    """A day that was given."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  # a day has no zone
    except ValueError as error:
        raise BadRequest("as_of is a day: YYYY-MM-DD.", field="as_of") from error


def complete_kind(entity: str | None, mode: str | None, *, csv: bool) -> Kind:
    """Both or none: how a single CSV is meant is never guessed."""
    if entity is None and (csv or mode is not None):
        raise not_among("entity", FILES)
    if mode is None and entity is not None:
        raise not_among("mode", SINGLE_MODES)
    return Kind(entity, mode)


def idempotency_key(req: Request) -> str | None:
    """The client's name for this attempt."""
    key = req.get_header("Idempotency-Key")
    if key is None:
        return None
    if not (0 < len(key) <= KEY_MAX and key.isascii() and key.isprintable()):
        raise BadRequest(
            f"Idempotency-Key has 1 to {KEY_MAX} printable ASCII characters.",
            field="Idempotency-Key",
        )
    return key


def same_or_refused(row: Row, received: Received, kind: Kind) -> None:
    """The same key means the same content, to be treated the same, or it is a mistake."""
    first = (row["sha256"], row["entity"], row["mode"], row["apply"])
    if first != (received.upload.sha256, kind.entity, kind.mode, kind.apply):
        raise KeyReused


def newest_before(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    """The key of the last run on the page before."""
    if cursor is None:
        return None, None
    match decode(cursor):
        case [str(moment), str(run_id)]:
            try:
                return datetime.fromisoformat(moment), UUID(run_id)
            except ValueError as error:
                raise BadCursor from error
        case _:
            raise BadCursor
