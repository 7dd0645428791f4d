"""Districts: made, listed and deleted by administrators.

A deleted district is gone at once: its keys stop working and nobody lists it. Its rows go when a
worker has answered the bell.
"""

from http import HTTPStatus

from falcon.asgi import Request, Response
from psycopg import errors
from pydantic import BaseModel, ConfigDict

from api.bell import Bell
from api.bodies import Line, read_json
from api.caller import HUB
from api.database import Database
from api.form import send
from api.openapi import answers
from api.openapi.described import Listed, described
from schemas.errors import Conflict, Missing, Rejected
from schemas.jobs import PurgeDistrict
from schemas.statements import load

SQL = load("api", "districts.sql")


class NewDistrict(BaseModel):
    """What an administrator says about a new district."""

    model_config = ConfigDict(extra="forbid")

    id: Line
    name: Line


class Districts:
    """`/api/v1/districts`."""

    needs = HUB

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(Listed(answers.DistrictShown))
    async def on_get(self, _req: Request, resp: Response) -> None:
        """Every living district."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(SQL["all"])
            send(resp, {"items": await cursor.fetchall(), "next": None})

    @described(
        answers.DistrictShown, status=201, body=NewDistrict, refusals=(409,), headers=("Location",)
    )
    async def on_post(self, req: Request, resp: Response) -> None:
        """Make a district."""
        new = await read_json(req, NewDistrict, self._json_max)
        try:
            async with self._database.lookup() as connection:
                cursor = await connection.execute(SQL["create"], [new.id, new.name])
                row = await cursor.fetchone()
        except errors.UniqueViolation as error:
            raise Conflict("There is a district with this id.", field="id") from error
        except errors.CheckViolation as error:
            raise Rejected(
                "The id of a district has 1 to 63 of the signs a-z, 0-9 and -, and starts with "
                "a letter or a digit.",
                errors=[{"field": "id", "detail": "does not look like an id"}],
            ) from error
        resp.location = f"/api/v1/districts/{new.id}"
        send(resp, row, HTTPStatus.CREATED)


class District:
    """`/api/v1/districts/{district_id}`."""

    needs = HUB

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database = database
        self._bell = bell

    @described(answers.DistrictShown)
    async def on_get(self, _req: Request, resp: Response, district_id: str) -> None:
        """One living district."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(SQL["one"], [searchable(district_id)])
            row = await cursor.fetchone()
        if row is None:
            raise Missing("There is no district with this id.")
        send(resp, row)

    @described(status=202)
    async def on_delete(self, _req: Request, resp: Response, district_id: str) -> None:
        """Delete a district: at once for everybody, soon from the tables."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(SQL["delete"], [searchable(district_id)])
            row = await cursor.fetchone()
        if row is None:
            raise Missing("There is no district with this id.")
        self._bell.ring(PurgeDistrict(tenant_id=row["tenant_id"]))
        resp.status = HTTPStatus.ACCEPTED


def searchable(text: str) -> str:
    """Text that PostgreSQL can compare: it has no NUL."""
    if "\0" in text:
        raise Missing
    return text
