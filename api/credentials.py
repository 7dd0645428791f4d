"""From a key or a token to who is asking.

Every look-up is shared by all requests that wait for one (`api/coalesce.py`) and begun after the
request arrived, so what was revoked a moment ago is refused. Of a client's key or token counts what
both it and the client may do by now.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from falcon.asgi import Request
from psycopg import Error
from psycopg.rows import DictRow

from api.addresses import Network, networks_of
from api.caller import DISTRICT, Caller
from api.coalesce import Coalesced
from api.database import Database
from api.tokens import Claims, Tokens
from schemas.errors import Forbidden, Missing, Unauthorised
from schemas.scopes import SCOPES, opened
from schemas.secrets import ApiKey, Vault, parse_key
from schemas.statements import load

SQL = load("api", "caller.sql")
EVERYTHING = opened(SCOPES)
NOWHERE: DictRow = {"tenant_id": None, "version": 0}

Holder: TypeAlias = tuple[int, str, str, int]
"""What a token says of who asked for it: tenant, client, secret, epoch."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Identified:
    """A caller; from where they may ask (no network: from everywhere), and how often."""

    caller: Caller
    counted_as: str
    networks: tuple[Network, ...] = ()
    rate_limit: int | None = None


class Credentials:
    """What the credentials of requests are compared with."""

    def __init__(self, database: Database, vault: Vault, tokens: Tokens) -> None:
        self._database = database
        self._vault = vault
        self._tokens = tokens
        self._keys = Coalesced(self._find_keys)
        self._admin_keys = Coalesced(self._find_admin_keys)
        self._holders = Coalesced(self._find_holders)
        self._districts = Coalesced(self._find_districts)
        self._touching: dict[object, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Finish writing down who was here."""
        await asyncio.gather(*self._touching.values(), return_exceptions=True)

    async def identify(self, req: Request) -> Identified:
        """Who asks, by what they present; a credential that is not good is refused."""
        named = req.get_header(DISTRICT)
        match presented(req):
            case ApiKey(kind="live") as key:
                return await self._district_key(key, named)
            case ApiKey(kind="admin") as key:
                return await self._admin_key(key, named)
            case str() as token:
                return await self._token(self._tokens.read(token), named)
            case _:
                raise Unauthorised

    async def _district_key(self, key: ApiKey, named: str | None) -> Identified:
        row = self._verified(key, await self._keys.get(key.id))
        own_district(row, named)
        self._touch("touch_key", row, key.id)
        if row["client"] is not None:
            return of_client(key.id, row["scopes"], row)
        scopes = opened(row["scopes"])
        caller = Caller(key.id, scopes, row["tenant_id"], row["district"], version=row["version"])
        return Identified(caller, counted_as=key.id)

    async def _admin_key(self, key: ApiKey, named: str | None) -> Identified:
        row = self._verified(key, await self._admin_keys.get(key.id))
        self._touch("touch_admin_key", row, key.id)
        district = NOWHERE if named is None else await self._district_named(named)
        caller = Caller(
            key.id,
            EVERYTHING,
            district["tenant_id"],
            named,
            administrator=True,
            version=district["version"],
        )
        return Identified(caller, counted_as=key.id)

    async def _token(self, claims: Claims, named: str | None) -> Identified:
        holder: Holder = (claims.tenant_id, claims.client, claims.secret, claims.epoch)
        row = await self._holders.get(holder)
        if row is None:
            raise Unauthorised
        own_district(row, named)
        self._touch("touch_client", row, holder)
        return of_client(claims.secret, claims.scopes, row)

    async def _district_named(self, named: str) -> DictRow:
        """A living district."""
        row = None if "\0" in named else await self._districts.get(named)
        if row is None:
            raise Missing("There is no district with this id.", field=DISTRICT)
        return row

    def _verified(self, key: ApiKey, rows: Iterable[DictRow] | None) -> DictRow:
        """The usable key of this id whose secret was presented."""
        for row in rows or ():
            if self._vault.verifies(key, row["hash"]):
                return row
        raise Unauthorised

    async def _find_keys(self, asked: Mapping[str, int]) -> dict[str, list[DictRow]]:
        return by_id(await self._database.look(SQL["district_keys"], [list(asked)]))

    async def _find_admin_keys(self, asked: Mapping[str, int]) -> dict[str, list[DictRow]]:
        return by_id(await self._database.look(SQL["admin_keys"], [list(asked)]))

    async def _find_holders(self, asked: Mapping[Holder, int]) -> dict[Holder, DictRow]:
        rows = await self._database.look(
            SQL["token_holders"], [list(column) for column in zip(*asked, strict=True)]
        )
        return {(row["tenant_id"], row["client"], row["secret"], row["epoch"]): row for row in rows}

    async def _find_districts(self, asked: Mapping[str, int]) -> dict[str, DictRow]:
        rows = await self._database.look(SQL["districts"], [list(asked)])
        return {row["id"]: row for row in rows}

    def _touch(self, statement: str, row: DictRow, name: object) -> None:
        """Remember when a credential was used last, behind the request's back and once."""
        if row["untouched"] and (statement, name) not in self._touching:
            task = asyncio.create_task(self._write(statement, row))
            self._touching[statement, name] = task
            task.add_done_callback(lambda _: self._touching.pop((statement, name), None))

    async def _write(self, statement: str, row: DictRow) -> None:
        try:
            async with self._database.lookup() as connection:
                await connection.execute(SQL[statement], row)
        except Error as error:
            log.warning("last_use_not_written", error=type(error).__name__)


def presented(req: Request) -> ApiKey | str | None:
    """The key in the request (`Authorization: Bearer`, or `X-API-Key`), or the token."""
    scheme, _, credential = (req.get_header("Authorization") or "").partition(" ")
    if scheme.lower() != "bearer":
        return parse_key(req.get_header("X-API-Key") or "")
    text = credential.strip()
    return text if text.count(".") == DOTS else parse_key(text)


DOTS = 2
"""A token has three parts; a key has no dot."""


def own_district(row: DictRow, named: str | None) -> None:
    """Refuse a credential that should speak for another district."""
    if named not in (None, row["district"]):
        raise Forbidden("This key speaks for its own district only.")


def of_client(key_id: str, scopes: Iterable[str], row: DictRow) -> Identified:
    """A client, by one of its keys or tokens."""
    caller = Caller(
        key_id,
        opened(scopes) & opened(row["client_scopes"]),
        row["tenant_id"],
        row["district"],
        client=row["client"],
        lens=row["lens"],
        lens_revision=row["lens_revision"],
        version=row["version"],
    )
    return Identified(
        caller,
        counted_as=counted_as(row),
        networks=networks_of(tuple(row["networks"])),
        rate_limit=row["rate_limit"],
    )


def counted_as(row: DictRow) -> str:
    """By what name all requests of a client are counted together."""
    return f"{row['tenant_id']}:{row['client']}"


def by_id(rows: Iterable[DictRow]) -> dict[str, list[DictRow]]:
    """The rows of each id: it is unique within a district only."""
    found: dict[str, list[DictRow]] = defaultdict(list)
    for row in rows:
        found[row["id"]].append(row)
    return found
