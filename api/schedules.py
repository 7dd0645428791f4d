"""Schedules: exports that are asked for again and again, at times that a cron expression names.

A schedule in mode delta tells what has changed since its last export; the first one is a bulk.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any, cast
from uuid import UUID, uuid4

from falcon.asgi import Request, Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict

from api.bodies import Line, read_json
from api.caller import Caller, Needs, caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Connection, Database
from api.exports import SQL as EXPORTS
from api.exports import kept_of, reader_of, settled
from api.form import send
from api.openapi import answers
from api.openapi.described import PAGED, Listed, described
from api.runs import Json
from schemas.errors import Missing, Rejected
from schemas.exports import Wanted
from schemas.schedules import Cron, TimeZone, upcoming
from schemas.statements import load

SQL = load("api", "schedules.sql")
PATH = "/api/v1/schedules"


class NoSuchSchedule(Missing):
    """There is no schedule with this id."""


class NewSchedule(BaseModel):
    """A schedule as it is asked for; `time_zone` None: that of the district's policy.

    `client`: by whose lens it is seen; None: the district's own.
    """

    model_config = ConfigDict(extra="forbid")

    name: Line
    cron: Cron
    time_zone: TimeZone | None = None
    export: Wanted = Wanted()
    client: Line | None = None
    enabled: bool = True


class Change(BaseModel):
    """What is to be different from now on."""

    model_config = ConfigDict(extra="forbid")

    name: Line | None = None
    cron: Cron | None = None
    time_zone: TimeZone | None = None
    export: Wanted | None = None
    enabled: bool | None = None


class Schedules:
    """`/api/v1/schedules`."""

    needs = Needs("settings")

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(Listed(answers.ScheduleShown), query=PAGED)
    async def on_get(self, req: Request, resp: Response) -> None:
        """The schedules of the district, oldest first."""
        limit = limit_of(req)
        after, schedule_id = older(req.get_param("cursor"))
        tenant_id = caller_of(req).tenant
        place = {"tenant_id": tenant_id, "after": after, "id": schedule_id, "limit": limit + 1}
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            rows = await (await connection.execute(SQL["page"], place)).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        key = None if last is None else [last["created_at"].isoformat(), str(last["id"])]
        items = [as_json(row) for row in rows[:limit]]
        kept = {"limit": req.get_param("limit")}
        send(resp, {"items": items, "next": next_url(PATH, key, kept)})

    @described(answers.ScheduleShown, status=201, body=NewSchedule, headers=("Location",))
    async def on_post(self, req: Request, resp: Response) -> None:
        """Make a schedule."""
        caller = caller_of(req)
        asked = await read_json(req, NewSchedule, self._json_max)
        async with self._database.tenant(caller.tenant) as connection:
            wanted = await acceptable(connection, caller, asked.export)
            zone = asked.time_zone or await zone_of(connection, caller)
            facts = {
                "tenant_id": caller.tenant,
                "id": uuid4(),
                "name": asked.name,
                "client": await reader_of(connection, caller, asked.client),
                "cron": asked.cron,
                "time_zone": zone,
                "wanted": kept_of(wanted),
                "next_at": await next_of(connection, asked.cron, zone) if asked.enabled else None,
                "created_by": caller.key_id,
            }
            row = await row_of(connection, "insert", facts)
        resp.location = f"{PATH}/{row['id']}"
        send(resp, as_json(row), HTTPStatus.CREATED)


class Schedule:
    """`/api/v1/schedules/{schedule_id}`."""

    needs = Needs("settings")

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(answers.ScheduleShown)
    async def on_get(self, req: Request, resp: Response, schedule_id: str) -> None:
        """One schedule."""
        key = key_of(req, schedule_id)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            send(resp, as_json(await row_of(connection, "one", key)))

    @described(answers.ScheduleShown, body=Change)
    async def on_patch(self, req: Request, resp: Response, schedule_id: str) -> None:
        """Change what the body names. Another export begins anew, with a bulk."""
        caller, key = caller_of(req), key_of(req, schedule_id)
        change = await read_json(req, Change, self._json_max)
        async with self._database.tenant(caller.tenant) as connection:
            row = await row_of(connection, "hold", key)
            wanted = Wanted.model_validate(row["wanted"])
            if change.export is not None:
                wanted = await acceptable(connection, caller, change.export)
            stands = row["next_at"] is not None
            facts = key | {
                "name": change.name or row["name"],
                "cron": change.cron or row["cron"],
                "time_zone": change.time_zone or row["time_zone"],
                "wanted": kept_of(wanted),
                "next_at": row["next_at"],
            }
            enabled = stands if change.enabled is None else change.enabled
            if not enabled:
                facts["next_at"] = None
            elif change.cron or change.time_zone or not stands:
                facts["next_at"] = await next_of(connection, facts["cron"], facts["time_zone"])
            send(resp, as_json(await row_of(connection, "change", facts)))

    @described(status=204)
    async def on_delete(self, req: Request, resp: Response, schedule_id: str) -> None:
        """Ask no more; the exports that it asked for stay."""
        key = key_of(req, schedule_id)
        async with self._database.tenant(key["tenant_id"]) as connection:
            cursor = await connection.execute(SQL["delete"], key)
        if cursor.rowcount == 0:
            raise NoSuchSchedule
        resp.status = HTTPStatus.NO_CONTENT


async def acceptable(connection: Connection, caller: Caller, asked: Wanted) -> Wanted:
    """What the caller may ask for again and again."""
    if asked.since is not None:
        raise Rejected(
            "A schedule goes on from its last export: leave out since.", field="export.since"
        )
    return await settled(connection, caller, asked)


async def zone_of(connection: Connection, caller: Caller) -> str:
    """The time zone of the district."""
    cursor = await connection.execute(EXPORTS["time_zone"], {"tenant_id": caller.tenant})
    return str(cast("DictRow", await cursor.fetchone())["time_zone"])


async def next_of(connection: Connection, cron: str, zone: str) -> datetime:
    """The next time, by the database's clock."""
    row = cast("DictRow", await (await connection.execute(SQL["now"])).fetchone())
    return upcoming(cron, zone, row["now"])


async def row_of(connection: Connection, statement: str, facts: dict[str, Any]) -> DictRow:
    """The one row that a statement answers; raises NoSuchSchedule where there is none."""
    row = await (await connection.execute(SQL[statement], facts)).fetchone()
    if row is None:
        raise NoSuchSchedule
    return row


def key_of(req: Request, schedule_id: str) -> dict[str, Any]:
    """What names the schedule; what is no id is none."""
    try:
        return {"tenant_id": caller_of(req).tenant, "id": UUID(schedule_id)}
    except ValueError as error:
        raise NoSuchSchedule from error


def older(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    """The key of the last schedule on the page before."""
    if cursor is None:
        return None, None
    match decode(cursor):
        case [str(moment), str(schedule_id)]:
            try:
                return datetime.fromisoformat(moment), UUID(schedule_id)
            except ValueError as error:
                raise BadCursor from error
        case _:
            raise BadCursor


def as_json(row: DictRow) -> Json:
    """The schedule, as its row has it."""
    return {
        "id": row["id"],
        "name": row["name"],
        "cron": row["cron"],
        "time_zone": row["time_zone"],
        "export": row["wanted"],
        "client": row["client"],
        "enabled": row["next_at"] is not None,
        "next_at": row["next_at"],
        "last_at": row["last_at"],
        "created_at": row["created_at"],
        "created_by": row["created_by"],
        "updated_at": row["updated_at"],
        "links": {"exports": f"/api/v1/exports?schedule={row['id']}"},
    }
