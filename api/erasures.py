"""Erasures: somebody asks that people be erased, sees how far that is, and gets a receipt.

An erasure is a run like an import: its row is written with the request, its turn comes in order,
its events are served where those of imports are. It names ids only. A reference is a number of
somebody's files, so that no name slips in.
"""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from falcon.asgi import Request, Response
from psycopg.rows import DictRow
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from api import runs, versions
from api.bell import Bell
from api.bodies import printable, read_json
from api.caller import Needs, caller_of
from api.cursors import limit_of, next_url
from api.database import Connection, Database
from api.form import send
from api.imports import KeyReused, idempotency_key, newest_before
from api.openapi import answers
from api.openapi.described import ONCE, PAGED, Listed, described
from schemas.errors import Conflict, Missing
from schemas.jobs import ImportRoster
from schemas.statements import load

SQL = load("api", "erasures.sql")
PATH = "/api/v1/erasures"
PEOPLE_MAX = 1000

SourcedId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\s,]+$"),
    AfterValidator(printable),
]


class Erasure(BaseModel):
    """Whom to erase, by sourcedId; `keep_out`: packages do not bring them back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    users: Annotated[list[SourcedId], Field(min_length=1, max_length=PEOPLE_MAX)]
    reference: (
        Annotated[
            str,
            StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9._/#-]*[0-9][A-Za-z0-9._/#-]*$"),
        ]
        | None
    ) = None
    keep_out: bool = True


class NoSuchErasure(Missing):
    """There is no erasure with this id."""


class NotKeptOut(Conflict):
    """The erasure keeps nobody out: there is nothing to release."""

    code = "not_kept_out"


class Resource:
    """What the addresses share. Who decides what a district keeps may erase."""

    needs = Needs("settings")

    def __init__(self, database: Database) -> None:
        self._database = database


class Erasures(Resource):
    """`/api/v1/erasures`."""

    def __init__(self, database: Database, bell: Bell, json_max: int) -> None:
        super().__init__(database)
        self._bell = bell
        self._json_max = json_max

    @described(Listed(answers.ErasureShown), query=PAGED)
    async def on_get(self, req: Request, resp: Response) -> None:
        """Every erasure, newest first."""
        limit, tenant_id = limit_of(req), caller_of(req).tenant
        before, run_id = newest_before(req.get_param("cursor"))
        place = {"tenant_id": tenant_id, "before": before, "id": run_id, "limit": limit + 1}
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            rows = await (await connection.execute(SQL["page"], place)).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        key = None if last is None else [last["created_at"].isoformat(), str(last["run_id"])]
        items = [as_json(row) for row in rows[:limit]]
        kept = {"limit": req.get_param("limit")}
        send(resp, {"items": items, "next": next_url(PATH, key, kept)})

    @described(answers.ErasureShown, status=202, query=(ONCE,), body=Erasure, headers=("Location",))
    async def on_post(self, req: Request, resp: Response) -> None:
        """Erase people; answer with the erasure that does it."""
        asked = await read_json(req, Erasure, self._json_max)
        caller = caller_of(req)
        run_id = uuid4()
        key = {
            "tenant_id": caller.tenant,
            "run_id": run_id,
            "created_by": caller.key_id,
            "idempotency_key": idempotency_key(req),
        }
        async with self._database.tenant(caller.tenant) as connection:
            row = await asked_for(connection, key, asked)
        if row["run_id"] == run_id:
            # It stands in line with imports, and they hear the same bell.
            self._bell.ring(ImportRoster(tenant_id=caller.tenant, run_id=run_id))
        else:
            resp.set_header("Idempotent-Replayed", "true")
        resp.location = path_of(row["run_id"])
        send(resp, as_json(row), HTTPStatus.ACCEPTED)


class OneErasure(Resource):
    """`/api/v1/erasures/{erasure_id}`."""

    @described(answers.ErasureShown)
    async def on_get(self, req: Request, resp: Response, erasure_id: str) -> None:
        """One erasure, with its receipt when it is done."""
        key = key_of(req, erasure_id)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            send(resp, as_json(await one(connection, key)))


class Release(Resource):
    """`/api/v1/erasures/{erasure_id}/release`."""

    @described(answers.ErasureShown, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, erasure_id: str) -> None:
        """Let packages bring the people back; what was erased stays erased."""
        key = key_of(req, erasure_id)
        async with self._database.tenant(key["tenant_id"]) as connection:
            found = await one(connection, key)
            if not found["keep_out"] and found["released_at"] is None:
                raise NotKeptOut
            await connection.execute(SQL["release"], key)
            await connection.execute(SQL["let_in"], key)
            send(resp, as_json(await one(connection, key)))


async def one(connection: Connection, key: dict[str, Any]) -> DictRow:
    """The erasure of this district."""
    cursor = await connection.execute(SQL["one"], key)
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchErasure
    return row


async def asked_for(connection: Connection, key: dict[str, Any], asked: Erasure) -> DictRow:
    """The erasure that the idempotency key has already, or a new one."""
    users = [*dict.fromkeys(asked.users)]
    cursor = await connection.execute(SQL["insert_run"], key)
    if cursor.rowcount:
        own = {"users": users, "reference": asked.reference, "keep_out": asked.keep_out}
        await connection.execute(SQL["insert"], key | own)
        return await one(connection, key)
    cursor = await connection.execute(SQL["by_idempotency_key"], key)
    first = await cursor.fetchone()
    try:
        row = await one(connection, key | {"run_id": first and first["id"]})
    except NoSuchErasure as error:
        raise KeyReused from error
    if (row["users"], row["reference"]) != (users, asked.reference):
        raise KeyReused
    return row


def key_of(req: Request, erasure_id: str) -> dict[str, Any]:
    """The erasure that is asked for, in the caller's district; what is no id is none."""
    try:
        return {"tenant_id": caller_of(req).tenant, "run_id": UUID(erasure_id)}
    except ValueError as error:
        raise NoSuchErasure from error


def path_of(run_id: UUID) -> str:
    """Where the erasure is read."""
    return f"{PATH}/{run_id}"


def as_json(row: DictRow) -> dict[str, Any]:
    """The erasure; `row` is what erasures.sql selects of it."""
    failure, version = row["failure"], row["version"]
    run = f"{runs.PATH}/{row['run_id']}"
    return {
        "id": row["run_id"],
        "state": row["state"],
        "stage": row["stage"],
        "cause": row["cause"],
        "users": row["users"],
        "reference": row["reference"],
        "keep_out": row["keep_out"],
        "released_at": row["released_at"],
        "created_at": row["created_at"],
        "created_by": row["created_by"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "version": version,
        "failure": failure and {"code": failure["code"], "message": runs.languages(failure)},
        "receipt": row["receipt"],
        "links": {
            "run": run,
            "events": f"{run}/events",
            "version": version and versions.path_of(version),
        },
    }
