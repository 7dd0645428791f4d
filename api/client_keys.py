"""What a client comes in with: secrets, to be traded for tokens, and keys. Each is shown once.

Two of a kind live at a time: the old one and the new one while the client changes over. Revoking
one ends it with the next request, and with a secret all tokens that were asked for with it.
"""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any

from falcon.asgi import Request, Response
from psycopg.rows import DictRow
from pydantic import BaseModel, ConfigDict, Field

from api.bodies import Line, read_json
from api.caller import SETTINGS, caller_of, permit_to_grant
from api.database import Connection, Database
from api.districts import searchable
from api.form import send
from api.openapi import answers
from api.openapi.described import Listed, described
from schemas.errors import Conflict, Missing, Rejected
from schemas.scopes import ClientScope, opened
from schemas.secrets import Vault, new_key
from schemas.statements import load

SQL = load("api", "clients.sql")
LIVE = 2

Days = Annotated[int, Field(ge=1, le=365, strict=True)]


class TwoLive(Conflict):
    """Two of them live already: revoke one, then make another."""

    code = "two_live"


class NewSecret(BaseModel):
    """What is said about a new secret."""

    model_config = ConfigDict(extra="forbid")

    expires_in_days: Days = 365


class NewClientKey(BaseModel):
    """What is said about a new key; without scopes it has those of its client."""

    model_config = ConfigDict(extra="forbid")

    label: Line = "key"
    scopes: list[ClientScope] | None = Field(default=None, min_length=1)
    expires_in_days: Days = 365


class Resource:
    """What the addresses share."""

    needs = SETTINGS

    def __init__(self, database: Database, vault: Vault, json_max: int) -> None:
        self._database = database
        self._vault = vault
        self._json_max = json_max


class ClientSecrets(Resource):
    """`/api/v1/clients/{client_id}/secrets`."""

    @described(Listed(answers.SecretShown))
    async def on_get(self, req: Request, resp: Response, client_id: str) -> None:
        """The secrets of a client, without themselves."""
        await listed(self._database, "secrets", req, resp, client_id)

    @described(answers.MadeSecret, status=201, body=NewSecret, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, client_id: str) -> None:
        """Make another secret; this answer is the only one that shows it. The old one goes on."""
        new = await read_json(req, NewSecret, self._json_max)
        tenant_id = caller_of(req).tenant
        async with self._database.control() as connection:
            client = await held(connection, tenant_id, client_id)
            permit_to_grant(caller_of(req), client["scopes"])
            await refuse_third(connection, "live_secrets", tenant_id, client_id)
            made = await create_secret(
                connection, self._vault, tenant_id, client_id, new.expires_in_days
            )
        send(resp, made, HTTPStatus.CREATED)


class ClientSecret:
    """`/api/v1/clients/{client_id}/secrets/{secret_id}`."""

    needs = SETTINGS

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(status=204)
    async def on_delete(self, req: Request, resp: Response, client_id: str, secret_id: str) -> None:
        """Revoke a secret and every token of it."""
        await revoke(self._database, "revoke_secret", req, client_id, secret_id)
        resp.status = HTTPStatus.NO_CONTENT


class ClientKeys(Resource):
    """`/api/v1/clients/{client_id}/keys`."""

    @described(Listed(answers.ClientKeyShown))
    async def on_get(self, req: Request, resp: Response, client_id: str) -> None:
        """The keys of a client, without themselves."""
        await listed(self._database, "keys", req, resp, client_id)

    @described(answers.MadeClientKey, status=201, body=NewClientKey, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, client_id: str) -> None:
        """Make a key; this answer is the only one that shows it."""
        new = await read_json(req, NewClientKey, self._json_max)
        caller = caller_of(req)
        async with self._database.control() as connection:
            client = await held(connection, caller.tenant, client_id)
            scopes = list(dict.fromkeys(new.scopes or client["scopes"]))
            refuse_beyond(scopes, client["scopes"])
            permit_to_grant(caller, scopes)
            await refuse_third(connection, "live_keys", caller.tenant, client_id)
            key = new_key("live")
            values = {
                "tenant_id": caller.tenant,
                "client_id": client_id,
                "id": key.id,
                "hash": self._vault.hash(key),
                "label": new.label,
                "scopes": scopes,
                "lifetime": timedelta(days=new.expires_in_days),
            }
            made = await first(connection, "create_key", values)
        send(resp, made | {"client": client_id, "key": str(key)}, HTTPStatus.CREATED)


class ClientKey:
    """`/api/v1/clients/{client_id}/keys/{key_id}`."""

    needs = SETTINGS

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(status=204)
    async def on_delete(self, req: Request, resp: Response, client_id: str, key_id: str) -> None:
        """Revoke a key, from the next request on."""
        await revoke(self._database, "revoke_key", req, client_id, key_id)
        resp.status = HTTPStatus.NO_CONTENT


async def client_of(connection: Connection, tenant_id: int, client_id: str) -> DictRow:
    """A client of the district, as it is shown."""
    return await first(connection, "one", [tenant_id, searchable(client_id)])


async def held(connection: Connection, tenant_id: int, client_id: str) -> DictRow:
    """A client as it stands; nobody else changes it meanwhile, nor makes it a secret or a key."""
    return await first(connection, "hold", [tenant_id, searchable(client_id)])


async def create_secret(
    connection: Connection, vault: Vault, tenant_id: int, client_id: str, days: int
) -> DictRow:
    """A new secret, shown."""
    key = new_key("secret")
    values = {
        "tenant_id": tenant_id,
        "client_id": client_id,
        "id": key.id,
        "hash": vault.hash(key),
        "lifetime": timedelta(days=days),
    }
    return await first(connection, "create_secret", values) | {"client_secret": str(key)}


async def first(connection: Connection, statement: str, values: Any) -> DictRow:  # noqa: ANN401 -- goes to psycopg
    """The only row of a statement about a client."""
    cursor = await connection.execute(SQL[statement], values)
    row = await cursor.fetchone()
    if row is None:
        raise Missing("There is no client with this id.")
    return row


async def listed(
    database: Database, statement: str, req: Request, resp: Response, client_id: str
) -> None:
    """Answer with what a client has of a kind."""
    tenant_id = caller_of(req).tenant
    async with database.lookup() as connection:
        await client_of(connection, tenant_id, client_id)
        cursor = await connection.execute(SQL[statement], [tenant_id, client_id])
        send(resp, {"items": await cursor.fetchall(), "next": None})


async def revoke(
    database: Database, statement: str, req: Request, client_id: str, name: str
) -> None:
    """End one of them."""
    named = [caller_of(req).tenant, searchable(client_id), searchable(name)]
    async with database.lookup() as connection:
        cursor = await connection.execute(SQL[statement], named)
        if cursor.rowcount == 0:
            raise Missing("This client has nothing with this id.")


async def refuse_third(
    connection: Connection, statement: str, tenant_id: int, client_id: str
) -> None:
    """Two live at a time."""
    row = await first(connection, statement, [tenant_id, client_id])
    if row["live"] >= LIVE:
        raise TwoLive


def refuse_beyond(scopes: list[str], owned: list[str]) -> None:
    """A key does nothing that its client does not."""
    if beyond := sorted({*scopes} - opened(owned)):
        raise Rejected(
            f"Not acceptable: scopes. The client lacks {', '.join(beyond)}.",
            errors=[{"field": "scopes", "detail": "beyond those of the client"}],
        )
