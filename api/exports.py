"""Exports: a package is asked for, becomes a run, and can be watched and fetched.

What is asked for is checked and kept here; a worker writes the package (`pipeline.exporting`). Who
may read the roster may export it; demographics need their own right, to ask for and to fetch.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, TypeAlias, cast
from uuid import UUID, uuid4

from falcon.asgi import Request, Response, SSEvent
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from api.bell import Bell
from api.bodies import read_json
from api.caller import Caller, Needs, caller_of
from api.cursors import limit_of, next_url
from api.database import Connection, Database
from api.form import send
from api.imports import KeyReused, idempotency_key, newest_before
from api.openapi import answers
from api.openapi.described import (
    ONCE,
    PAGED,
    RESUMED,
    Listed,
    Stream,
    a_text,
    a_word,
    described,
)
from api.progress import Events
from api.runs import Json, languages, pace
from api.telling import Tell
from api.words import among
from schemas.errors import BadRequest, Conflict, Forbidden, Gone, Missing, Rejected
from schemas.events import EVENT, ExportEnded
from schemas.exports import ENDED, FILES, STATES, Wanted
from schemas.jobs import WriteExport
from schemas.roster.people import Demographics
from schemas.secrets import Vault
from schemas.statements import load
from schemas.tickets import Ticket, issue

SQL = load("api", "exports.sql")
PATH = "/api/v1/exports"
DOWNLOADS = "/api/v1/downloads"
OPEN = timedelta(hours=24)  # how long a signed address leads to the file
READ = Needs("roster.read")

Key: TypeAlias = dict[str, Any]
Row: TypeAlias = Mapping[str, Any]


class NoSuchExport(Missing):
    """There is no export with this id."""


class AlreadyEnded(Conflict):
    """The export has ended; there is nothing to cancel any more."""

    code = "already_ended"


class NotReady(Conflict):
    """The export is not completed: there is no file yet."""

    code = "not_completed"


class FileDeleted(Gone):
    """The file of this export is deleted: export again."""

    code = "export_deleted"


class LensChanged(Gone):
    """The lens of the client was edited since, or the client is gone: export again."""

    code = "lens_changed"


class Asked(Wanted):
    """What is to be exported, and for which client; None: for the district, which sees all."""

    client: str | None = None


class NoSuchVersion(BadRequest):
    """since is the number of a version, or an instant at which one stood."""


class Exports:
    """`/api/v1/exports`."""

    needs = READ

    def __init__(self, database: Database, bell: Bell, json_max: int) -> None:
        self._database = database
        self._bell = bell
        self._json_max = json_max

    @described(
        Listed(answers.ExportShown),
        query=(
            *PAGED,
            a_word("state", STATES, "Exports in this state."),
            a_text("schedule", "Exports that this schedule asked for."),
        ),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """The exports of the district, newest first."""
        limit = limit_of(req)
        before, export_id = newest_before(req.get_param("cursor"))
        tenant_id = caller_of(req).tenant
        place = {
            "tenant_id": tenant_id,
            "client": caller_of(req).client,
            "before": before,
            "id": export_id,
            "limit": limit + 1,
            "state": among(req, "state", STATES),
            "schedule": schedule_of(req),
        }
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            rows = await (await connection.execute(SQL["page"], place)).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        key = None if last is None else [last["created_at"].isoformat(), str(last["id"])]
        kept = {name: req.get_param(name) for name in ("limit", "state", "schedule")}
        items = [as_json(row) for row in rows[:limit]]
        send(resp, {"items": items, "next": next_url(PATH, key, kept)})

    @described(
        answers.ExportShown,
        status=202,
        query=(ONCE,),
        body=Asked,
        refusals=(409,),
        headers=("Location", "Idempotent-Replayed"),
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Ask for a package; answer with its run."""
        caller, once = caller_of(req), idempotency_key(req)
        asked = await read_json(req, Asked, self._json_max)
        if asked.mode == "delta" and asked.since is None:
            raise Rejected("A delta goes on from a version: name it with since.", field="since")
        async with self._database.tenant(caller.tenant) as connection:
            wanted = await settled(connection, caller, wanted_of(asked))
            facts = {
                "tenant_id": caller.tenant,
                "id": uuid4(),
                "wanted": kept_of(wanted),
                "client": await reader_of(connection, caller, asked.client),
                "created_by": caller.key_id,
                "idempotency_key": once,
            }
            cursor = await connection.execute(SQL["insert"], facts)
            known = "one" if cursor.rowcount else "by_idempotency_key"
            cursor = await connection.execute(SQL[known], facts)
            row = await cursor.fetchone()
        if row is None:  # the key is another client's
            raise KeyReused
        if row["id"] == facts["id"]:
            self._bell.ring(WriteExport(tenant_id=caller.tenant, export_id=row["id"]))
        elif (Wanted.model_validate(row["wanted"]), row["client"]) != (wanted, facts["client"]):
            raise KeyReused
        else:
            resp.set_header("Idempotent-Replayed", "true")
        resp.location = path_of(row)
        send(resp, as_json(row), HTTPStatus.ACCEPTED)


class Export:
    """`/api/v1/exports/{export_id}`."""

    needs = READ

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(answers.ExportShown)
    async def on_get(self, req: Request, resp: Response, export_id: str) -> None:
        """One export."""
        key = key_of(req, export_id)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            send(resp, as_json(await one(connection, key)))


class CancelExport:
    """`/api/v1/exports/{export_id}/cancel`."""

    needs = READ

    def __init__(self, database: Database, tell: Tell) -> None:
        self._database = database
        self._tell = tell

    @described(answers.ExportShown, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, export_id: str) -> None:
        """End an export that is not there yet; to cancel it again changes nothing."""
        key = key_of(req, export_id)
        facts = key | {"cancelled_by": caller_of(req).key_id}
        async with self._database.tenant(key["tenant_id"]) as connection:
            cursor = await connection.execute(SQL["cancel"], facts)
            row = await one(connection, key)
        if row["state"] != "cancelled":
            raise AlreadyEnded(f"The export has ended already: {row['state']}.", state=row["state"])
        if cursor.rowcount:
            event = ExportEnded(run_id=row["id"], state="cancelled")
            resp.schedule(partial(self._tell, event))
        send(resp, as_json(row))


class ExportEvents(Events):
    """`/api/v1/exports/{export_id}/events`."""

    needs = READ

    @described(Stream("text/event-stream"), query=(RESUMED,))
    async def on_get(self, req: Request, resp: Response, export_id: str) -> None:
        """Stream the export until it ends."""
        key = key_of(req, export_id)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            run = as_json(await one(connection, key))
        self._follow(req, resp, key["tenant_id"], run)

    async def _run(self, tenant_id: int, run_id: UUID) -> Json:
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            key = {"tenant_id": tenant_id, "id": run_id, "client": None}  # looked at once already
            return as_json(await one(connection, key))

    def _end_of(self, run: Json) -> SSEvent | None:
        if run["state"] not in ENDED:
            return None
        event = end_of(run)
        return SSEvent(event=event.kind, data=EVENT.dump_json(event))


class DownloadAddress:
    """`/api/v1/exports/{export_id}/download`."""

    needs = READ

    def __init__(self, database: Database, vault: Vault, base: str) -> None:
        self._database = database
        self._vault = vault
        self._base = base

    @described(answers.Fetched, refusals=(409, 410))
    async def on_get(self, req: Request, resp: Response, export_id: str) -> None:
        """An address at which the file can be fetched without a key, for a day."""
        key = key_of(req, export_id)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            row = await one(connection, key)
        whole(row)
        permit(caller_of(req), Wanted.model_validate(row["wanted"]))
        ticket = ticket_for(caller_of(req), row["id"], row["now"] + OPEN)
        url = f"{self._base}{DOWNLOADS}/{issue(self._vault, ticket)}"
        send(resp, {"url": url, "expires_at": ticket.until, **file_of(row)})


# --- What is asked for ----------------------------------------------------------------------


def wanted_of(asked: Asked) -> Wanted:
    """The same without whose it is."""
    return Wanted.model_validate(asked.model_dump(exclude={"client"}))


async def reader_of(connection: Connection, caller: Caller, named: str | None) -> str | None:
    """Who will see it: a client asks for itself, the district for whom it names."""
    if caller.client is not None:
        if named not in (None, caller.client):
            raise Forbidden("A client exports for itself.")
        return caller.client
    if named is None:
        return None
    facts = {"tenant_id": caller.tenant, "client": named}
    if await (await connection.execute(SQL["client"], facts)).fetchone() is None:
        raise Rejected("There is no client with this id.", field="client")
    return named


async def settled(connection: Connection, caller: Caller, asked: Wanted) -> Wanted:
    """What the caller may ask for, with a version for the instant, and orgs that there are."""
    wanted = for_caller(caller, asked)
    facts = {"tenant_id": caller.tenant, "schools": list(wanted.schools)}
    if wanted.schools:
        rows = await (await connection.execute(SQL["orgs"], facts)).fetchall()
        known = {row["sourced_id"] for row in rows}
        if unknown := [each for each in wanted.schools if each not in known]:
            raise Rejected(f"There is no org {unknown[0]}.", field="schools")
    if wanted.since is None:
        return wanted
    return wanted.model_copy(update={"since": await since_of(connection, caller, wanted.since)})


def for_caller(caller: Caller, asked: Wanted) -> Wanted:
    """All files that the caller may read, or those that are named."""
    if asked.entities is None and Demographics.file not in rights(caller):
        return asked.model_copy(update={"entities": rights(caller)})
    permit(caller, asked)
    return asked


def rights(caller: Caller) -> tuple[str, ...]:
    """The files that the caller may read."""
    may = "roster.demographics" in caller.scopes
    return tuple(file for file in FILES if may or file != Demographics.file)


def permit(caller: Caller, wanted: Wanted) -> None:
    """Refuse demographics to a caller who may not read them."""
    if wanted.has_demographics and Demographics.file not in rights(caller):
        scope = "roster.demographics"
        raise Forbidden(f"The key lacks the scope {scope}.", scope=scope)


async def since_of(connection: Connection, caller: Caller, since: int | datetime) -> int:
    """The version from which a delta goes on; raises NoSuchVersion where there was none."""
    key = {"tenant_id": caller.tenant}
    if isinstance(since, int):
        row = cast("DictRow", await (await connection.execute(SQL["version"], key)).fetchone())
        if since > row["version"]:
            raise NoSuchVersion(
                f"since: there is no version {since}; the newest is {row['version']}.",
                field="since",
            )
        return since
    cursor = await connection.execute(SQL["at"], key | {"moment": since})
    found = cast("DictRow", await cursor.fetchone())
    if found["future"]:
        raise NoSuchVersion("since: this instant is still to come.", field="since")
    return int(found["version"] or 0)


def kept_of(wanted: Wanted) -> Jsonb:
    """What was asked for, as it is kept."""
    return Jsonb(wanted.model_dump(mode="json"))


# --- What is told ---------------------------------------------------------------------------


def key_of(req: Request, export_id: str) -> Key:
    """What names the export; what is no id is none."""
    try:
        caller = caller_of(req)
        return {"tenant_id": caller.tenant, "id": UUID(export_id), "client": caller.client}
    except ValueError as error:
        raise NoSuchExport from error


def schedule_of(req: Request) -> UUID | None:
    """The schedule whose exports are wanted."""
    text = req.get_param("schedule")
    try:
        return None if text is None else UUID(text)
    except ValueError as error:
        raise BadRequest("schedule is the id of a schedule.", field="schedule") from error


async def one(connection: Connection, key: Key) -> DictRow:
    """The export of this district."""
    row = await (await connection.execute(SQL["one"], key)).fetchone()
    if row is None:
        raise NoSuchExport
    return row


def whole(row: Row) -> None:
    """Refuse an export whose file is not there, or shows what its client may see no more."""
    if row["state"] != "completed":
        raise NotReady(f"The export is {row['state']}: there is no file.", state=row["state"])
    if row["deleted_at"] is not None:
        raise FileDeleted
    if not row["fits"]:
        raise LensChanged


def ticket_for(caller: Caller, name: UUID, until: datetime) -> Ticket:
    """A ticket that tells the audit who asked for it."""
    return Ticket(caller.tenant, name, until, caller.key_id, caller.client, caller.administrator)


def path_of(row: Row) -> str:
    """Where the export is read."""
    return f"{PATH}/{row['id']}"


def as_json(row: Row) -> Json:
    """The export, as its row has it."""
    failure = row["failure"]
    return {
        "id": row["id"],
        "kind": "export",
        "state": row["state"],
        "wanted": row["wanted"],
        "client": row["client"],
        "schedule": row["schedule_id"],
        "due_at": row["due_at"],
        "attempts": row["attempts"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "created_by": row["created_by"],
        "cancelled_by": row["cancelled_by"],
        "version": row["version"],
        "since": row["since"],
        "profile": row["profile"],
        "identifiers": row["identifiers"],
        "files": row["progress"],
        **pace(row),
        "counts": row["counts"],
        "replaced": row["replaced"],
        "failure": failure and {"code": failure["code"], "message": languages(failure)},
        "package": None if row["object_key"] is None else file_of(row),
        "links": {name: f"{path_of(row)}/{name}" for name in ("events", "download")},
    }


def file_of(row: Row) -> Json:
    """The file of a completed export."""
    return {
        "name": row["name"],
        "bytes": row["bytes"],
        "sha256": row["sha256"].hex(),
        "deleted_at": row["deleted_at"],
    }


def end_of(export: Json) -> ExportEnded:
    """The last event, made from the row."""
    package = export["package"]
    return ExportEnded(
        run_id=export["id"],
        state=export["state"],
        version=export["version"],
        counts=export["counts"],
        bytes=package and package["bytes"],
    )
