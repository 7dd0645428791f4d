"""What people do to a run: take it back before it has changed anything, or try it again.

Cancelling ends the row; a worker that is at it finds its claim gone and takes its transaction back.
Trying again makes a new run of the same upload, as long as the upload is kept.
"""

from functools import partial
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID, uuid4

from falcon.asgi import Request, Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.bell import Bell
from api.caller import Caller, Needs, caller_of
from api.database import Database
from api.emitting import import_failed
from api.form import send
from api.imports import KeyReused, idempotency_key
from api.openapi import answers
from api.openapi.described import ONCE, described
from api.runs import SQL, Row, as_json, one, parsed_id, path_of
from api.telling import Tell
from schemas.errors import Conflict, Gone
from schemas.events import RunEnded
from schemas.jobs import ImportRoster
from schemas.runs import State

AGAIN: tuple[State, ...] = ("rejected", "failed", "cancelled")
"""Runs that have ended without changing anything."""


class AlreadyEnded(Conflict):
    """The run has ended; there is nothing to cancel any more."""

    code = "already_ended"


class NotToRetry(Conflict):
    """Only a run that was rejected, has failed or was cancelled is tried again."""

    code = "not_to_retry"


class UploadDeleted(Gone):
    """The upload of this run is deleted: send the package again."""

    code = "upload_deleted"


class Cancel:
    """`/api/v1/imports/{run_id}/cancel`."""

    needs = Needs("imports")

    def __init__(self, database: Database, tell: Tell) -> None:
        self._database = database
        self._tell = tell

    @described(answers.Run, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, run_id: str) -> None:
        """End a run that has applied nothing yet; to cancel it again changes nothing."""
        caller = caller_of(req)
        key = {"tenant_id": caller.tenant, "run_id": parsed_id(run_id)}
        async with self._database.tenant(caller.tenant) as connection:
            cursor = await connection.execute(SQL["cancel"], key | {"cancelled_by": caller.key_id})
            row = await one(connection, caller.tenant, key["run_id"])
            if cursor.rowcount:
                await import_failed(connection, caller.tenant, row)
        if row["state"] != "cancelled":
            raise AlreadyEnded(f"The run has ended already: {row['state']}.", state=row["state"])
        if cursor.rowcount:
            resp.schedule(partial(self._tell, end_of(row)))
        send(resp, as_json(row))


class Retry:
    """`/api/v1/imports/{run_id}/retry`."""

    needs = Needs("imports")

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell

    @described(
        answers.Run, status=202, query=(ONCE,), refusals=(409, 410, 422), headers=("Location",)
    )
    async def on_post(self, req: Request, resp: Response, run_id: str) -> None:
        """Import the same upload once more; answer with the new run."""
        caller = caller_of(req)
        parameters = {
            "tenant_id": caller.tenant,
            "run_id": parsed_id(run_id),
            "new_id": uuid4(),
            "created_by": caller.key_id,
            "idempotency_key": idempotency_key(req),
        }
        async with self._database.tenant(caller.tenant) as connection:
            row = await repeated(connection, caller, parameters)
        if row["id"] == parameters["new_id"]:
            self._bell.ring(ImportRoster(tenant_id=caller.tenant, run_id=row["id"]))
        elif row["retry_of"] != parameters["run_id"]:
            raise KeyReused
        else:
            resp.set_header("Idempotent-Replayed", "true")
        resp.location = path_of(row)
        send(resp, as_json(row), HTTPStatus.ACCEPTED)


async def repeated(
    connection: AsyncConnection[DictRow], caller: Caller, parameters: dict[str, Any]
) -> DictRow:
    """The run that the idempotency key has already, or a new one of the same upload."""
    first = await one(connection, caller.tenant, parameters["run_id"])
    known = await keyed(connection, parameters)
    if known is not None:
        return known
    await refuse(connection, first)
    cursor = await connection.execute(SQL["retry"], parameters)
    if cursor.rowcount == 0:  # somebody with the same key was faster
        return cast("DictRow", await keyed(connection, parameters))
    return await one(connection, caller.tenant, parameters["new_id"])


async def keyed(connection: AsyncConnection[DictRow], parameters: dict[str, Any]) -> DictRow | None:
    """The run with this idempotency key."""
    cursor = await connection.execute(SQL["by_idempotency_key"], parameters)
    return await cursor.fetchone()


async def refuse(connection: AsyncConnection[DictRow], row: Row) -> None:
    """Refuse what cannot be tried again; otherwise the upload stays from here on."""
    if row["state"] not in AGAIN:
        raise NotToRetry(
            "Only a run that was rejected, has failed or was cancelled is tried again;"
            f" this one is {row['state']}.",
            state=row["state"],
        )
    if row["upload_id"] is None:
        raise NotToRetry("This run had no upload: ask for it anew.")
    cursor = await connection.execute(SQL["keep_upload"], row)
    upload = await cursor.fetchone()
    if upload is None or upload["deleted_at"] is not None:
        raise UploadDeleted


def end_of(row: Row) -> RunEnded:
    """What followers are told."""
    return RunEnded(
        run_id=cast("UUID", row["id"]),
        state=row["state"],
        counts=row["counts"],
        findings=row["findings"],
    )
