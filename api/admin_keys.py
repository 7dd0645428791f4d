"""The keys of administrators: listed and revoked. They are made on the server (`rosterhub keys`).

The last key that works cannot be revoked: nobody could manage the installation after that.
"""

from http import HTTPStatus

from falcon.asgi import Request, Response

from api.caller import HUB
from api.database import Database
from api.districts import searchable
from api.form import send
from api.openapi import answers
from api.openapi.described import Listed, described
from schemas.errors import Conflict, Missing
from schemas.statements import load

SQL = load("api", "admin_keys.sql")


class LastKey(Conflict):
    """No other administrator's key works: make one before this one is revoked."""

    code = "last_key"


class AdminKeys:
    """`/api/v1/admin-keys`."""

    needs = HUB

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(Listed(answers.AdminKeyShown))
    async def on_get(self, _req: Request, resp: Response) -> None:
        """Every administrator's key, without its secret."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(SQL["all"])
            send(resp, {"items": await cursor.fetchall(), "next": None})


class AdminKey:
    """`/api/v1/admin-keys/{key_id}`."""

    needs = HUB

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(status=204, refusals=(409,))
    async def on_delete(self, _req: Request, resp: Response, key_id: str) -> None:
        """Revoke a key, from the next request on."""
        named = searchable(key_id)
        async with self._database.control() as connection:
            # Two administrators who revoke each other's keys take turns, or none would be left.
            await connection.execute(SQL["take_turns"])
            cursor = await connection.execute(SQL["living"])
            living = {row["id"] for row in await cursor.fetchall()}
            if living == {named}:
                raise LastKey
            cursor = await connection.execute(SQL["revoke"], [named])
            if cursor.rowcount == 0:
                raise Missing("There is no administrator's key with this id.")
        resp.status = HTTPStatus.NO_CONTENT
