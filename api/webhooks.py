"""Webhooks of a district: who is rung for what, with which secret, and how that goes.

A secret is shown by the answer that makes it and never again. Whoever changes a subscription takes
a turn among the events of the district, so that an event meets it either before or after. A client
sees its own subscriptions; the keys of the district and administrators see all.
"""

import secrets
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID, uuid4

from falcon.asgi import Request, Response
from psycopg.errors import ForeignKeyViolation, LockNotAvailable
from psycopg.rows import DictRow
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from api.bell import Bell
from api.bodies import Line, printable, read_json
from api.caller import Caller, Needs, caller_of
from api.database import Connection, Database
from api.emitting import SQL as EVENTS_SQL
from api.emitting import emit
from api.form import send
from api.openapi import answers
from api.openapi.described import Body, Listed, described
from schemas.errors import Conflict, Missing, Rejected, Unavailable
from schemas.jobs import SendWebhooks
from schemas.sealing import Seal
from schemas.statements import load
from schemas.wall import BadTarget, Wall, target
from schemas.webhooks import (
    NOTICES,
    OVERLAP,
    SECRET_BYTES,
    WEBHOOKS_MAX,
    WEBHOOKS_OF_CLIENT_MAX,
    EventType,
    message_id,
    shown_secret,
)

SQL = load("api", "webhooks.sql")
PATH = "/api/v1/webhooks"
APART = 0.05  # seconds between deliveries that are sent again

Json: TypeAlias = dict[str, Any]
Description = Annotated[str, StringConstraints(max_length=255), AfterValidator(printable)]
Events = Annotated[list[EventType], Field(min_length=1)]


class NoSuchWebhook(Missing):
    """There is no webhook with this id."""


class UrlRefused(Rejected):
    """Nothing may be sent to this URL."""

    code = "url_refused"


class TooManyWebhooks(Conflict):
    """The district has as many webhooks as it may have."""

    code = "too_many_webhooks"


class Rotating(Conflict):
    """The secret before the last still signs: rotate when that has ended, or without an overlap."""

    code = "rotation_under_way"


class EventsUnderWay(Unavailable):
    """An event of the district is being written: try again in a moment."""


class NewWebhook(BaseModel):
    """A subscription as somebody asks for it."""

    model_config = ConfigDict(extra="forbid")

    url: str
    events: Events | None = None
    description: Description = ""
    enabled: bool = Field(default=True, strict=True)
    ordered: bool = Field(default=False, strict=True)
    client: Line | None = None


class ChangedWebhook(BaseModel):
    """What of it is to be different; `backlog`: what to do with what waits, when it is enabled."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = Field(default=None, strict=True)
    ordered: bool | None = Field(default=None, strict=True)
    backlog: Literal["send", "drop"] = "send"


class Rotation(BaseModel):
    """How long the secret that is replaced goes on signing."""

    model_config = ConfigDict(extra="forbid")

    overlap_hours: float = Field(default=OVERLAP.total_seconds() / 3600, ge=0, le=24)


class Resource:
    """What the resources of webhooks have in common."""

    needs = Needs("settings", own="roster.read")

    def __init__(self, database: Database, bell: Bell, json_max: int) -> None:
        self._database = database
        self._bell = bell
        self._json_max = json_max

    def _ring(self, tenant_id: int) -> None:
        self._bell.ring(SendWebhooks(tenant_id=tenant_id))


class Webhooks(Resource):
    """`/api/v1/webhooks`."""

    def __init__(
        self, database: Database, bell: Bell, json_max: int, wall: Wall, seal: Seal
    ) -> None:
        super().__init__(database, bell, json_max)
        self._wall = wall
        self._seal = seal

    @described(Listed(answers.WebhookShown))
    async def on_get(self, req: Request, resp: Response) -> None:
        """Every subscription, without its secret."""
        caller = caller_of(req)
        key = {"tenant_id": caller.tenant, "client": caller.client}
        async with self._database.tenant(caller.tenant, snapshot=True) as connection:
            cursor = await connection.execute(SQL["all"], key)
            rows = await cursor.fetchall()
        send(resp, {"items": [as_json(row) for row in rows], "next": None})

    @described(
        answers.MadeWebhook, status=201, body=NewWebhook, refusals=(409,), headers=("Location",)
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Subscribe; this answer is the only one that shows the secret."""
        caller = caller_of(req)
        new = await read_json(req, NewWebhook, self._json_max)
        allowed(self._wall, new.url)
        secret, webhook_id = secrets.token_bytes(SECRET_BYTES), uuid4()
        owner = caller.client or new.client
        values = new.model_dump() | {
            "tenant_id": caller.tenant,
            "webhook_id": webhook_id,
            "client": owner,
            "secret": self._seal.close(webhook_id, secret),
            "created_by": caller.key_id,
        }
        async with self._database.tenant(caller.tenant) as connection:
            await take_turn(connection, caller.tenant)
            cursor = await connection.execute(SQL["number"], values)
            row = await cursor.fetchone()
            most = WEBHOOKS_MAX if owner is None else WEBHOOKS_OF_CLIENT_MAX
            if row is None or row["number"] >= most:
                whose = "district" if owner is None else "client"
                raise TooManyWebhooks(f"A {whose} has {most} webhooks at most.")
            try:
                await connection.execute(SQL["create"], values)
            except ForeignKeyViolation as error:
                raise Rejected("There is no client with this id.", field="client") from error
            made = await one(connection, values | {"client": caller.client})
        resp.location = f"{PATH}/{webhook_id}"
        send(resp, as_json(made) | {"secret": shown_secret(secret)}, HTTPStatus.CREATED)


class Webhook(Resource):
    """`/api/v1/webhooks/{webhook_id}`."""

    def __init__(self, database: Database, bell: Bell, json_max: int, wall: Wall) -> None:
        super().__init__(database, bell, json_max)
        self._wall = wall

    @described(answers.WebhookShown)
    async def on_get(self, req: Request, resp: Response, webhook_id: str) -> None:
        """One subscription."""
        caller = caller_of(req)
        async with self._database.tenant(caller.tenant, snapshot=True) as connection:
            send(resp, as_json(await one(connection, key_of(caller, webhook_id))))

    @described(answers.WebhookShown, body=ChangedWebhook)
    async def on_patch(self, req: Request, resp: Response, webhook_id: str) -> None:
        """Change what the body names; `events: null` means all of them."""
        caller = caller_of(req)
        change = await read_json(req, ChangedWebhook, self._json_max)
        given = change.model_dump(exclude_unset=True, exclude={"enabled", "backlog"})
        if nothing := sorted(name for name in given if given[name] is None and name != "events"):
            raise Rejected(
                f"Not acceptable: {', '.join(nothing)}.",
                errors=[{"field": name, "detail": "has no null"} for name in nothing],
            )
        if change.url is not None:
            allowed(self._wall, change.url)
        key = key_of(caller, webhook_id)
        async with self._database.tenant(caller.tenant) as connection:
            await take_turn(connection, caller.tenant)
            row = await one(connection, key)
            kept = {name: row[name] for name in ("url", "events", "description", "ordered")}
            await connection.execute(SQL["change"], key | kept | given)
            await switched(connection, row, change, key)
            row = await one(connection, key)
        self._ring(caller.tenant)
        send(resp, as_json(row))

    @described(status=204)
    async def on_delete(self, req: Request, resp: Response, webhook_id: str) -> None:
        """End the subscription, with its log."""
        caller = caller_of(req)
        key = key_of(caller, webhook_id)
        async with self._database.tenant(caller.tenant) as connection:
            await take_turn(connection, caller.tenant)
            await one(connection, key)
            await connection.execute(SQL["remove"], key)
        resp.status = HTTPStatus.NO_CONTENT


class Rotate(Resource):
    """`/api/v1/webhooks/{webhook_id}/secret/rotate`."""

    def __init__(self, database: Database, bell: Bell, json_max: int, seal: Seal) -> None:
        super().__init__(database, bell, json_max)
        self._seal = seal

    @described(
        answers.MadeWebhook,
        body=Body({"application/json": Rotation}, required=False),
        refusals=(409,),
    )
    async def on_post(self, req: Request, resp: Response, webhook_id: str) -> None:
        """Make a new secret, which this answer alone shows; the old one signs beside it."""
        caller = caller_of(req)
        asked = Rotation()
        if req.content_length:
            asked = await read_json(req, Rotation, self._json_max)
        overlap = timedelta(hours=asked.overlap_hours)
        secret = secrets.token_bytes(SECRET_BYTES)
        key = key_of(caller, webhook_id)
        async with self._database.tenant(caller.tenant) as connection:
            await take_turn(connection, caller.tenant)
            row = await one(connection, key)
            if overlap and row["previous_until"] and row["previous_until"] > row["now"]:
                raise Rotating(previous_until=previous(row))
            sealed = self._seal.close(key["webhook_id"], secret)
            await connection.execute(SQL["rotate"], key | {"secret": sealed, "overlap": overlap})
            row = await one(connection, key)
        send(resp, as_json(row) | {"secret": shown_secret(secret)})


class Trial(Resource):
    """`/api/v1/webhooks/{webhook_id}/test`."""

    @described(answers.Ringing, status=202, headers=("Location",))
    async def on_post(self, req: Request, resp: Response, webhook_id: str) -> None:
        """Ring once, whatever the subscription is rung for; answer where the delivery is read."""
        caller = caller_of(req)
        key = key_of(caller, webhook_id)
        wanted: UUID = key["webhook_id"]
        async with self._database.tenant(caller.tenant) as connection:
            await one(connection, key)
            told = {"webhookId": str(wanted)}
            event_id = await emit(connection, caller.tenant, "webhook.test", told, only=wanted)
        self._ring(caller.tenant)
        name = message_id(event_id)
        resp.location = f"{PATH}/{wanted}/deliveries/{name}"
        send(resp, {"id": name, "state": "waiting"}, HTTPStatus.ACCEPTED)


class Statistics(Resource):
    """`/api/v1/webhooks/{webhook_id}/statistics`."""

    @described(answers.WebhookStatistics)
    async def on_get(self, req: Request, resp: Response, webhook_id: str) -> None:
        """What waits, and how the attempts of the last 24 hours went."""
        caller = caller_of(req)
        key = key_of(caller, webhook_id)
        async with self._database.tenant(caller.tenant, snapshot=True) as connection:
            await one(connection, key)
            found = {
                name: await (await connection.execute(SQL[name], key)).fetchall()
                for name in ("states", "lately", "failures", "statuses")
            }
        send(resp, statistics(found))


# --- Steps ---------------------------------------------------------------------------------


def allowed(wall: Wall, url: str) -> None:
    """Refuse a URL to which nothing could be sent; a name is judged when it is looked up."""
    try:
        wanted = target(url)
    except BadTarget as error:
        raise UrlRefused(errors=[{"field": "url", "detail": str(error)}]) from error
    if not wall.lets_target(wanted):
        detail = "is neither https on the port 443 of the internet, nor allowed by the operator"
        raise UrlRefused(errors=[{"field": "url", "detail": detail}])


async def take_turn(connection: Connection, tenant_id: int) -> None:
    """Hold the events of the district until the end of the transaction."""
    await connection.execute("select set_config('lock_timeout', '2s', true)")
    try:
        await connection.execute(EVENTS_SQL["hold_events"], {"tenant_id": tenant_id})
    except LockNotAvailable as error:
        raise EventsUnderWay from error


def key_of(caller: Caller, webhook_id: str) -> Json:
    """What names a subscription in a statement; what is no identifier of one is none."""
    try:
        wanted = UUID(webhook_id)
    except ValueError as error:
        raise NoSuchWebhook from error
    return {"tenant_id": caller.tenant, "webhook_id": wanted, "client": caller.client}


async def one(connection: Connection, key: Json) -> DictRow:
    """The subscription, if the caller may see it."""
    cursor = await connection.execute(SQL["one"], key)
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchWebhook
    return row


async def switched(connection: Connection, row: DictRow, change: ChangedWebhook, key: Json) -> None:
    """Switch the subscription on or off, if that is asked for."""
    if change.enabled is None or change.enabled == row["enabled"]:
        return
    if change.enabled:
        await connection.execute(SQL["enable"], key)
        if change.backlog == "send":
            await connection.execute(SQL["release_held"], key | {"apart": APART})
        else:
            await connection.execute(SQL["drop_held"], key)
    else:
        await connection.execute(EVENTS_SQL["disable"], key | {"because": "asked"})
        await connection.execute(EVENTS_SQL["hold_deliveries"], key)


# --- What is shown -------------------------------------------------------------------------

SHOWN = (
    *("id", "client", "url", "events", "description", "enabled", "ordered"),
    *("created_at", "created_by", "updated_at"),
    *("last_success_at", "last_failure_at", "failing_since"),
)


def as_json(row: DictRow) -> Json:
    """The subscription without its secret."""
    paused = row["paused_until"]
    return {name: row[name] for name in SHOWN} | {
        "paused_until": paused if paused and paused > row["now"] else None,
        "disabled": None
        if row["enabled"]
        else {"because": row["disabled_because"], "at": row["disabled_at"]},
        "notices": [
            {"kind": each["kind"], "at": each["at"], "message": NOTICES[each["kind"]]}
            for each in row["notices"]
        ],
        "previous_secret_until": previous(row),
    }


def previous(row: DictRow) -> object:
    """Until when the secret before this one signs, too."""
    until = row["previous_until"]
    return until if until and until > row["now"] else None


def statistics(found: dict[str, list[DictRow]]) -> Json:
    """The numbers as they are read."""
    lately = found["lately"][0]
    ended = lately["delivered"] + lately["failed"]
    seconds = lately["seconds"] or [None, None, None]
    return {
        "deliveries": {row["state"]: row["number"] for row in found["states"]},
        "oldest_undelivered_at": min(
            (row["oldest_at"] for row in found["states"] if row["oldest_at"]), default=None
        ),
        "last_24_hours": {
            **{name: lately[name] for name in ("attempts", "delivered", "failed", "interrupted")},
            "success_rate": round(lately["delivered"] / ended, 4) if ended else None,
            "seconds": dict(zip(("p50", "p95", "p99"), seconds, strict=True)),
            "failures": {row["failure"]: row["number"] for row in found["failures"]},
            "statuses": {str(row["status"]): row["number"] for row in found["statuses"]},
        },
    }
