"""The clients of a district: the systems that read its roster.

Each has scopes, networks it may ask from, a rate limit, and a lens through which it sees. It comes
in with tokens, for which it has secrets, or with keys of its own (`api/client_keys.py`). A change
holds from the next request on. Nobody gives a client more than they may do themselves.
"""

from http import HTTPStatus
from typing import Annotated

from falcon.asgi import Request, Response
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PlainSerializer,
    WithJsonSchema,
)

from api.bodies import Line, read_json
from api.caller import SETTINGS, caller_of, permit_to_grant
from api.client_keys import SQL, Days, client_of, create_secret, held
from api.database import Database
from api.districts import searchable
from api.form import send
from api.openapi import answers
from api.openapi.described import Listed, described
from schemas.errors import Missing
from schemas.scopes import CLIENT_SCOPES, CORE, ROSTER, ClientScope
from schemas.secrets import Vault, random_text

PATH = "/api/v1/clients"
ID = 16  # signs
MOST_NETWORKS = 100
MOST_REQUESTS = 10_000_000  # a minute


def in_order(scopes: list[ClientScope]) -> list[ClientScope]:
    """Each once, in the order in which they are declared."""
    return sorted({*scopes}, key=CLIENT_SCOPES.index)


Scopes = Annotated[list[ClientScope], Field(min_length=1), AfterValidator(in_order)]
Networks = Annotated[
    list[Annotated[IPvAnyNetwork, PlainSerializer(str), WithJsonSchema({"type": "string"})]],
    Field(max_length=MOST_NETWORKS),
]
Limit = Annotated[int, Field(ge=1, le=MOST_REQUESTS, strict=True)]


class Client(BaseModel):
    """What is said about a client."""

    model_config = ConfigDict(extra="forbid")

    name: Line
    enabled: bool = Field(default=True, strict=True)
    scopes: Scopes = [CORE, ROSTER]
    networks: Networks = []
    rate_limit: Limit | None = None


class NewClient(Client):
    """What is said about a new one, and how long its first secret lives."""

    expires_in_days: Days = 365


class Change(Client):
    """What is to be otherwise; what is left out stays."""

    name: Line = Field(default_factory=str)


class Clients:
    """`/api/v1/clients`."""

    needs = SETTINGS

    def __init__(self, database: Database, vault: Vault, token_url: str, json_max: int) -> None:
        self._database = database
        self._vault = vault
        self._token_url = token_url
        self._json_max = json_max

    @described(Listed(answers.ClientShown))
    async def on_get(self, req: Request, resp: Response) -> None:
        """The clients of the district, in the order in which they were made."""
        async with self._database.lookup() as connection:
            cursor = await connection.execute(SQL["all"], [caller_of(req).tenant])
            send(resp, {"items": await cursor.fetchall(), "next": None})

    @described(answers.MadeClient, status=201, body=NewClient, headers=("Location",))
    async def on_post(self, req: Request, resp: Response) -> None:
        """Make a client with its first secret; this answer is the only one that shows it."""
        new = await read_json(req, NewClient, self._json_max)
        caller = caller_of(req)
        permit_to_grant(caller, new.scopes)
        client_id = random_text(ID)
        async with self._database.control() as connection:
            values = new.model_dump() | {"tenant_id": caller.tenant, "id": client_id}
            await connection.execute(SQL["create"], values)
            secret = await create_secret(
                connection, self._vault, caller.tenant, client_id, new.expires_in_days
            )
            row = await client_of(connection, caller.tenant, client_id)
        resp.location = f"{PATH}/{client_id}"
        shown = {
            "client_secret": secret["client_secret"],
            "client_secret_expires_at": secret["expires_at"],
            "token_url": self._token_url,
        }
        send(resp, row | shown, HTTPStatus.CREATED)


class OneClient:
    """`/api/v1/clients/{client_id}`."""

    needs = SETTINGS

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(answers.ClientShown)
    async def on_get(self, req: Request, resp: Response, client_id: str) -> None:
        """One client."""
        async with self._database.lookup() as connection:
            send(resp, await client_of(connection, caller_of(req).tenant, client_id))

    @described(answers.ClientShown, body=Change)
    async def on_patch(self, req: Request, resp: Response, client_id: str) -> None:
        """Change what the body names; `rate_limit` null: as the settings say."""
        change = await read_json(req, Change, self._json_max)
        caller = caller_of(req)
        changes = change.model_dump(exclude_unset=True)
        permit_to_grant(caller, changes.get("scopes", ()))
        async with self._database.control() as connection:
            stands = await held(connection, caller.tenant, client_id)
            values = stands | changes | {"tenant_id": caller.tenant}
            await connection.execute(SQL["change"], values)
            row = await client_of(connection, caller.tenant, client_id)
        send(resp, row)

    @described(status=204)
    async def on_delete(self, req: Request, resp: Response, client_id: str) -> None:
        """Delete a client with its secrets and keys, from the next request on."""
        async with self._database.lookup() as connection:
            named = [caller_of(req).tenant, searchable(client_id)]
            cursor = await connection.execute(SQL["delete"], named)
            if cursor.rowcount == 0:
                raise Missing("There is no client with this id.")
        resp.status = HTTPStatus.NO_CONTENT
