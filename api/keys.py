"""The keys of a district: made, listed and revoked by administrators. A secret is shown once.

Those of its clients are listed and revoked here too; they are made where the client is.
"""

from datetime import timedelta
from http import HTTPStatus

from falcon.asgi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.bodies import Line, read_json
from api.caller import KEYS, caller_of
from api.database import Database
from api.districts import searchable
from api.form import send
from api.openapi import answers
from api.openapi.described import Listed, described
from schemas.errors import Conflict, Missing
from schemas.scopes import SCOPES, Scope
from schemas.secrets import Vault, new_key
from schemas.statements import load

SQL = load("api", "keys.sql")
LIVE = 2  # keys with one label: the old one and the new one while a client changes over


class NewKey(BaseModel):
    """What an administrator says about a new key."""

    model_config = ConfigDict(extra="forbid")

    label: Line
    scopes: list[Scope] = Field(default=list(SCOPES), min_length=1)
    expires_in_days: int = Field(default=365, ge=1, le=365, strict=True)


class Keys:
    """`/api/v1/keys`."""

    needs = KEYS

    def __init__(self, database: Database, vault: Vault, json_max: int) -> None:
        self._database = database
        self._vault = vault
        self._json_max = json_max

    @described(Listed(answers.KeyShown))
    async def on_get(self, req: Request, resp: Response) -> None:
        """The keys of the district, without their secrets."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(SQL["all"], [caller_of(req).tenant])
            send(resp, {"items": await cursor.fetchall(), "next": None})

    @described(answers.MadeKey, status=201, body=NewKey, refusals=(409,))
    async def on_post(self, req: Request, resp: Response) -> None:
        """Make a key; this answer is the only one that shows it."""
        new = await read_json(req, NewKey, self._json_max)
        tenant_id = caller_of(req).tenant
        key = new_key("live")
        async with self._database.control() as connection:
            # Two requests with one label take turns, or both would count one live key.
            await connection.execute(SQL["take_turns"], [tenant_id])
            cursor = await connection.execute(SQL["live"], [tenant_id, new.label])
            row = await cursor.fetchone()
            if row is not None and row["live"] >= LIVE:
                raise Conflict(f"There are {LIVE} live keys with this label.", field="label")
            cursor = await connection.execute(
                SQL["create"],
                {
                    "tenant_id": tenant_id,
                    "id": key.id,
                    "hash": self._vault.hash(key),
                    "label": new.label,
                    "scopes": sorted(set(new.scopes), key=SCOPES.index),
                    "lifetime": timedelta(days=new.expires_in_days),
                },
            )
            made = await cursor.fetchone()
        send(resp, (made or {}) | {"key": str(key)}, HTTPStatus.CREATED)


class Key:
    """`/api/v1/keys/{key_id}`."""

    needs = KEYS

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(status=204)
    async def on_delete(self, req: Request, resp: Response, key_id: str) -> None:
        """Revoke a key, from the next request on."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(
                SQL["revoke"], [caller_of(req).tenant, searchable(key_id)]
            )
            if cursor.rowcount == 0:
                raise Missing("There is no key with this id.")
        resp.status = HTTPStatus.NO_CONTENT
