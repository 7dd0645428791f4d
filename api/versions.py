"""The versions of a district: what each came from, what it changed, and the way back.

Whoever may import may see what imports did, personal values included, for every one of them came
through an import. So all of this asks for the scope `imports`, and none of it for another.
"""

from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

from falcon.asgi import Request, Response
from psycopg.rows import DictRow

from api import runs
from api.bell import Bell
from api.caller import Needs, caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Connection, Database
from api.form import send
from api.imports import KeyReused, idempotency_key
from api.openapi import answers
from api.openapi.described import ONCE, PAGED, Listed, described
from schemas.errors import Conflict, Missing
from schemas.jobs import ImportRoster
from schemas.statements import load

SQL = load("api", "versions.sql")
PATH = "/api/v1/versions"
DIGITS = 18  # of a bigint, whatever they are


class NoSuchVersion(Missing):
    """There is no version with this number."""


class AlreadyUndone(Conflict):
    """The version is undone already."""

    code = "already_undone"


class ErasureStands(Conflict):
    """An erasure cannot be taken back: nothing is left of what it has erased."""

    code = "erasure_stands"


class NotUndone(Conflict):
    """The version is neither undone nor an undo: there is nothing to release."""

    code = "not_undone"


class Resource:
    """What the addresses share."""

    needs = Needs("imports")

    def __init__(self, database: Database) -> None:
        self._database = database


class RosterVersions(Resource):
    """`/api/v1/versions`."""

    @described(Listed(answers.VersionShown), query=PAGED)
    async def on_get(self, req: Request, resp: Response) -> None:
        """Every version, newest first."""
        limit = limit_of(req)
        place = {"before": older_than(req.get_param("cursor")), "limit": limit + 1}
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            cursor = await connection.execute(SQL["page"], place | {"tenant_id": tenant_id})
            rows = await cursor.fetchall()
        last = [rows[limit - 1]["version"]] if len(rows) > limit else None
        kept = {"limit": req.get_param("limit")}
        items = [as_json(row) for row in rows[:limit]]
        send(resp, {"items": items, "next": next_url(PATH, last, kept)})


class RosterVersion(Resource):
    """`/api/v1/versions/{version}`."""

    @described(answers.VersionShown)
    async def on_get(self, req: Request, resp: Response, version: str) -> None:
        """One version."""
        key = key_of(req, version)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            send(resp, as_json(await one(connection, key)))


class Undo(Resource):
    """`/api/v1/versions/{version}/undo`."""

    def __init__(self, database: Database, bell: Bell) -> None:
        super().__init__(database)
        self._bell = bell

    @described(answers.Run, status=202, query=(ONCE,), refusals=(409, 422), headers=("Location",))
    async def on_post(self, req: Request, resp: Response, version: str) -> None:
        """Take a version back; answer with the run that does it."""
        key = key_of(req, version) | {
            "run_id": uuid4(),
            "created_by": caller_of(req).key_id,
            "idempotency_key": idempotency_key(req),
        }
        async with self._database.tenant(key["tenant_id"]) as connection:
            row = await asked_for(connection, key)
        if row["id"] == key["run_id"]:
            # Every kind of run has the same bell: there is something to write.
            self._bell.ring(ImportRoster(tenant_id=key["tenant_id"], run_id=row["id"]))
        elif row["undoes"] != key["version"]:
            raise KeyReused
        else:
            resp.set_header("Idempotent-Replayed", "true")
        resp.location = runs.path_of(row)
        send(resp, runs.as_json(row), HTTPStatus.ACCEPTED)


class Release(Resource):
    """`/api/v1/versions/{version}/release`."""

    @described(answers.VersionShown, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, version: str) -> None:
        """Let packages bring back what was undone; answer with the undo that is released."""
        key = key_of(req, version)
        async with self._database.tenant(key["tenant_id"]) as connection:
            found = await one(connection, key)
            undo = found["undone_by"] or (found["version"] if found["kind"] == "undo" else None)
            if undo is None:
                raise NotUndone
            cursor = await connection.execute(SQL["release"], key | {"undo": undo})
            send(resp, as_json(cast("DictRow", await cursor.fetchone())))


async def one(connection: Connection, key: dict[str, Any]) -> DictRow:
    """The version of this district."""
    cursor = await connection.execute(SQL["one"], key)
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchVersion
    return row


async def asked_for(connection: Connection, key: dict[str, Any]) -> DictRow:
    """The run that the idempotency key has already, or a new one."""
    known = await keyed(connection, key)
    if known is not None:
        return known
    found = await one(connection, key)
    if found["kind"] == "erasure":
        raise ErasureStands
    if found["undone_by"] is not None:
        by = found["undone_by"]
        raise AlreadyUndone(f"The version is undone already, by version {by}.", undone_by=by)
    cursor = await connection.execute(SQL["insert_undo"], key)
    if cursor.rowcount == 0:  # somebody with the same key was faster
        return cast("DictRow", await keyed(connection, key))
    return await runs.one(connection, key["tenant_id"], key["run_id"])


async def keyed(connection: Connection, key: dict[str, Any]) -> DictRow | None:
    """The run with this idempotency key."""
    cursor = await connection.execute(runs.SQL["by_idempotency_key"], key)
    return await cursor.fetchone()


def key_of(req: Request, version: str) -> dict[str, Any]:
    """The version that is asked for, in the caller's district."""
    return {"tenant_id": caller_of(req).tenant, "version": parsed(version)}


def parsed(text: str) -> int:
    """What is no number is no version."""
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise NoSuchVersion
    return int(text)


def older_than(cursor: str | None) -> int | None:
    """The last version on the page before."""
    if cursor is None:
        return None
    match decode(cursor):
        case [int(version)] if 0 <= version < 10**DIGITS:
            return version
        case _:
            raise BadCursor


def path_of(version: int) -> str:
    """Where the version is read."""
    return f"{PATH}/{version}"


def as_json(row: DictRow) -> dict[str, Any]:
    """The version; `row` is what versions.sql selects of it."""
    path = path_of(row["version"])
    return {
        "version": row["version"],
        "kind": row["kind"],
        "run": row["run_id"],
        "published_at": row["published_at"],
        "counts": row["counts"],
        "undoes": row["undoes"],
        "undone_by": row["undone_by"],
        "released_at": row["released_at"],
        "links": {
            "run": f"{runs.PATH}/{row['run_id']}",
            "diff": f"{path}/diff",
            "csv": f"{path}/diff.csv",
            "ndjson": f"{path}/diff.ndjson",
        },
    }
