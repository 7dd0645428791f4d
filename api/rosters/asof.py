"""A roster as it was: `asOf` names a version, or the instant at which one stood."""

from datetime import datetime
from typing import TypeAlias

from falcon.asgi import Request
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.history import instant
from schemas.errors import BadRequest
from schemas.statements import load

SQL = load("api", "rosters.sql")
PARAMETER = "asOf"
DIGITS = 18  # more than any version has

Moment: TypeAlias = int | datetime
"""A version by its number, or whichever stood at an instant."""


class NoSuchMoment(BadRequest):
    """asOf is the number of a version, or an instant at which one stood."""


def as_of(req: Request) -> Moment | None:
    """The moment that is asked for; None: now."""
    text = req.get_param(PARAMETER)
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text.lstrip("0")[:DIGITS] or "0")
    return instant(req, PARAMETER)


async def version_at(
    connection: AsyncConnection[DictRow], tenant_id: int, moment: Moment, current: int
) -> int:
    """The version that stood then; raises NoSuchMoment where none did, or none does yet."""
    if isinstance(moment, int):
        if not 1 <= moment <= current:
            raise NoSuchMoment(f"asOf: there is no version {moment}; the newest is {current}.")
        return moment
    cursor = await connection.execute(SQL["at"], {"tenant_id": tenant_id, "moment": moment})
    row = await cursor.fetchone()
    if row is None or row["future"]:
        raise NoSuchMoment("asOf: this instant is still to come.")
    if row["version"] is None:
        raise NoSuchMoment("asOf: this instant is before the first version of the roster.")
    return int(row["version"])
