"""What was sent to a webhook, what came back, and sending again.

The log has every delivery with every attempt; an attempt without an end was interrupted. What is
sent again keeps its id, so a receiver that has it already can tell. A range is sent at a pace of
its own, for what comes now is not to wait behind it.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal, Self
from uuid import UUID

from falcon.asgi import Request, Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.bodies import Instant, read_json
from api.caller import caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.form import send
from api.history import instant
from api.openapi import answers
from api.openapi.described import PAGED, Listed, a_word, an_instant, described, some_words
from api.webhooks import APART, PATH, SQL, Json, Resource, key_of, one, take_turn
from api.words import among, not_among
from schemas.errors import Conflict, Missing
from schemas.told import as_seen
from schemas.webhooks import (
    DELIVERY_STATES,
    EVENTS,
    FAILURES,
    message_id,
    parsed_message_id,
)

RESEND_MAX = 10_000
FILTERS = ("state", "type", "since", "until", "limit")
BIGINT = (1 << 63) - 1


class NoSuchDelivery(Missing):
    """The webhook has no delivery with this id."""


class Disabled(Conflict):
    """The webhook is disabled: enable it first."""

    code = "webhook_disabled"


class Again(BaseModel):
    """Which events are to be sent again: of a time, from a version on, or after a number.

    `undelivered`: those that never arrived, or came before the subscription; `everything`: all.
    """

    model_config = ConfigDict(extra="forbid")

    since: Instant | None = None
    until: Instant | None = None
    version: int | None = Field(default=None, ge=1, le=BIGINT, strict=True)
    after: int | None = Field(default=None, ge=0, le=BIGINT, strict=True)
    which: Literal["undelivered", "everything"] = "undelivered"

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        if (self.since or self.until, self.version, self.after).count(None) != 2:  # noqa: PLR2004  # of three
            raise ValueError("give since and until, or version, or after")
        return self


class Deliveries(Resource):
    """`/api/v1/webhooks/{webhook_id}/deliveries`."""

    @described(
        Listed(answers.DeliveryShown),
        query=(
            *PAGED,
            some_words("state", DELIVERY_STATES, "In these states."),
            a_word("type", EVENTS, "Of this type alone."),
            an_instant("since", "Of events from then on."),
            an_instant("until", "Of events before."),
        ),
    )
    async def on_get(self, req: Request, resp: Response, webhook_id: str) -> None:
        """The log, newest first."""
        caller, limit = caller_of(req), limit_of(req)
        key = key_of(caller, webhook_id)
        asked = {
            "state": states(req),
            "type": among(req, "type", EVENTS),
            "since": instant(req, "since"),
            "until": instant(req, "until"),
            "before": before(req.get_param("cursor")),
            "limit": limit + 1,
        }
        async with self._database.tenant(caller.tenant, snapshot=True) as connection:
            await one(connection, key)
            cursor = await connection.execute(SQL["deliveries"], key | asked)
            rows = await cursor.fetchall()
        more = [rows[limit - 1]["sequence"]] if len(rows) > limit else None
        kept = {name: req.get_param(name) for name in FILTERS}
        path = f"{PATH}/{key['webhook_id']}/deliveries"
        items = [as_json(row) for row in rows[:limit]]
        send(resp, {"items": items, "next": next_url(path, more, kept)})


class Delivery(Resource):
    """`/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}`."""

    @described(answers.DeliveryWithBody)
    async def on_get(self, req: Request, resp: Response, webhook_id: str, delivery_id: str) -> None:
        """One delivery, with the body as it was sent."""
        caller = caller_of(req)
        key = key_of(caller, webhook_id)
        async with self._database.tenant(caller.tenant, snapshot=True) as connection:
            await one(connection, key)
            row = await delivery(connection, key | {"event_id": event_of(delivery_id)})
        send(resp, as_json(row) | {"body": as_seen(row["body"], row["lens"])})


class Resend(Resource):
    """`/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend`."""

    @described(answers.DeliveryShown, status=202, refusals=(409,))
    async def on_post(
        self, req: Request, resp: Response, webhook_id: str, delivery_id: str
    ) -> None:
        """Send it once more from the beginning, whatever became of it."""
        caller = caller_of(req)
        key = key_of(caller, webhook_id) | {"event_id": event_of(delivery_id)}
        async with self._database.tenant(caller.tenant) as connection:
            await take_turn(connection, caller.tenant)
            webhook = await one(connection, key)
            row = await delivery(connection, key)
            if not webhook["enabled"] and row["type"] != "webhook.test":
                raise Disabled
            await connection.execute(SQL["resend"], key)
            row = await delivery(connection, key)
        self._ring(caller.tenant)
        send(resp, as_json(row), HTTPStatus.ACCEPTED)


class ResendMany(Resource):
    """`/api/v1/webhooks/{webhook_id}/resend`."""

    @described(answers.Resent, status=202, body=Again, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, webhook_id: str) -> None:
        """Send the events of a range; answer how many, and the number of the last."""
        caller = caller_of(req)
        again = await read_json(req, Again, self._json_max)
        key = key_of(caller, webhook_id)
        asked = again.model_dump(exclude={"which"})
        asked |= {"everything": again.which == "everything", "limit": RESEND_MAX, "apart": APART}
        async with self._database.tenant(caller.tenant) as connection:
            await take_turn(connection, caller.tenant)
            if not (await one(connection, key))["enabled"]:
                raise Disabled
            cursor = await connection.execute(SQL["resend_range"], key | asked)
            row = await cursor.fetchone() or {"number": 0, "last": None}
        self._ring(caller.tenant)
        said = {"deliveries": row["number"], "last": row["last"]}
        send(resp, said | {"more": row["number"] == RESEND_MAX}, HTTPStatus.ACCEPTED)


# --- Steps ---------------------------------------------------------------------------------


async def delivery(connection: Any, key: Json) -> DictRow:  # noqa: ANN401  # of psycopg
    """The delivery of this webhook."""
    cursor = await connection.execute(SQL["delivery"], key)
    row: DictRow | None = await cursor.fetchone()
    if row is None:
        raise NoSuchDelivery
    return row


def event_of(text: str) -> UUID:
    """What is no identifier of a delivery is no delivery."""
    try:
        return parsed_message_id(text)
    except ValueError as error:
        raise NoSuchDelivery from error


def states(req: Request) -> list[str] | None:
    """One state, or several with commas between."""
    given = req.get_param("state")
    if given is None:
        return None
    named = given.split(",")
    if not set(named) <= set(DELIVERY_STATES):
        raise not_among("state", DELIVERY_STATES)
    return named


def before(cursor: str | None) -> int | None:
    """The number of the last delivery on the page before."""
    if cursor is None:
        return None
    match decode(cursor):
        case [int(number)] if 0 <= number <= BIGINT:
            return number
        case _:
            raise BadCursor


# --- What is shown -------------------------------------------------------------------------


def as_json(row: DictRow) -> Json:
    """The delivery with its attempts."""
    return {
        "id": message_id(row["event_id"]),
        "type": row["type"],
        "sequence": row["sequence"],
        "version": row["version"],
        "state": row["state"],
        "created_at": row["event_at"],
        "next_attempt_at": row["next_at"] if row["state"] == "waiting" else None,
        "resent_at": row["resent_at"],
        "finished_at": row["finished_at"],
        "attempts": [attempt(each) for each in row["log"]],
    }


def attempt(row: Json) -> Json:
    """One attempt; without seconds it is under way, or was interrupted."""
    failure = row["failure"]
    return {
        "number": row["number"],
        "at": datetime.fromisoformat(row["began_at"]),
        "seconds": row["seconds"],
        "status": row["status"],
        "failure": failure and {"code": failure, "message": FAILURES[failure]},
        "response": row["response"],
    }
