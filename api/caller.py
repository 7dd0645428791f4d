"""Who is asking: a key becomes a caller before any resource is reached.

A resource says what it needs; one that says nothing cannot be routed. A district's key speaks for
its district only. An administrator's key speaks for the district that `X-RosterHub-District` names.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol, cast

import structlog
from falcon.asgi import Request, Response
from psycopg import AsyncConnection, Error
from psycopg.rows import DictRow

from api.database import Database
from schemas.errors import BadRequest, Forbidden, Missing, Unauthorised
from schemas.scopes import SCOPES, Scope
from schemas.secrets import ApiKey, Vault, parse_key
from schemas.statements import load

SQL = load("api", "caller.sql")
DISTRICT = "X-RosterHub-District"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a resource asks of its caller."""

    scope: Scope | None = None
    administrator: bool = False
    district: bool = True


HUB = Needs(administrator=True, district=False)
"""An administrator, for the installation as a whole."""

KEYS = Needs(administrator=True)
"""An administrator, for one district."""


class Guarded(Protocol):
    """A resource that says who may reach it."""

    @property
    def needs(self) -> Needs | None:
        """What it asks of its caller; None: nothing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, and what its holder may do."""

    key_id: str
    scopes: frozenset[str]
    tenant_id: int | None = None
    district: str | None = None
    administrator: bool = False

    @property
    def tenant(self) -> int:
        """The district the caller speaks for."""
        if self.tenant_id is None:
            raise DistrictNotNamed
        return self.tenant_id


class DistrictNotNamed(BadRequest):
    """An administrator names the district with the header X-RosterHub-District."""

    code = "district_not_named"


def caller_of(req: Request) -> Caller:
    """The caller of a guarded request."""
    return cast("Caller", req.context.caller)


class Door:
    """Middleware: nobody reaches a guarded resource without a key that may."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._touches: set[asyncio.Task[None]] = set()

    async def process_shutdown(self, _scope: object, _event: object) -> None:
        """Finish writing down who was here."""
        await asyncio.gather(*self._touches, return_exceptions=True)

    async def process_resource(
        self, req: Request, _resp: Response, resource: object, _params: object
    ) -> None:
        """Identify the caller, then compare with what the resource needs."""
        needs = cast("Guarded", resource).needs
        if needs is not None:
            caller = req.context.caller = await self._identify(presented(req), req)
            permit(caller, needs)

    async def _identify(self, key: ApiKey, req: Request) -> Caller:
        async with self._database.lookup() as connection:
            match key.kind:
                case "live":
                    return await self._district_key(connection, key, req.get_header(DISTRICT))
                case "admin":
                    return await self._admin_key(connection, key, req.get_header(DISTRICT))

    async def _district_key(
        self, connection: AsyncConnection[DictRow], key: ApiKey, named: str | None
    ) -> Caller:
        row = await self._verified(connection, "district_keys", key)
        if named not in (None, row["district"]):
            raise Forbidden("This key speaks for its own district only.")
        self._touch(row, "touch_key", [row["tenant_id"], key.id])
        return Caller(key.id, frozenset(row["scopes"]), row["tenant_id"], row["district"])

    async def _admin_key(
        self, connection: AsyncConnection[DictRow], key: ApiKey, named: str | None
    ) -> Caller:
        row = await self._verified(connection, "admin_keys", key)
        self._touch(row, "touch_admin_key", [key.id])
        if named is None:
            return Caller(key.id, frozenset(SCOPES), administrator=True)
        tenant_id = await district_named(connection, named)
        return Caller(key.id, frozenset(SCOPES), tenant_id, named, administrator=True)

    async def _verified(
        self, connection: AsyncConnection[DictRow], statement: str, key: ApiKey
    ) -> DictRow:
        """The usable key of this id whose secret was presented."""
        async with await connection.execute(SQL[statement], [key.id]) as cursor:
            async for row in cursor:
                if self._vault.verifies(key, row["hash"]):
                    return row
        raise Unauthorised

    def _touch(self, row: DictRow, statement: str, parameters: list[object]) -> None:
        """Remember when the key was used last, behind the request's back."""
        if row["untouched"]:
            task = asyncio.create_task(self._write(statement, parameters))
            self._touches.add(task)
            task.add_done_callback(self._touches.discard)

    async def _write(self, statement: str, parameters: list[object]) -> None:
        try:
            async with self._database.lookup() as connection:
                await connection.execute(SQL[statement], parameters)
        except Error as error:
            log.warning("last_use_not_written", error=type(error).__name__)


def presented(req: Request) -> ApiKey:
    """The key in the request: `Authorization: Bearer`, or `X-API-Key`."""
    scheme, _, token = (req.get_header("Authorization") or "").partition(" ")
    text = token.strip() if scheme.lower() == "bearer" else req.get_header("X-API-Key")
    key = parse_key(text or "")
    if key is None:
        raise Unauthorised
    return key


def permit(caller: Caller, needs: Needs) -> None:
    """Refuse a caller who may not."""
    if needs.administrator and not caller.administrator:
        raise Forbidden("Only an administrator's key may do that.")
    if needs.scope is not None and needs.scope not in caller.scopes:
        raise Forbidden(f"The key lacks the scope {needs.scope}.", scope=needs.scope)
    if needs.district and caller.tenant_id is None:
        raise DistrictNotNamed


async def district_named(connection: AsyncConnection[DictRow], named: str) -> int:
    """The tenant of a living district."""
    async with await connection.execute(SQL["district"], [named]) as cursor:
        row = await cursor.fetchone()
    if row is None:
        raise Missing("There is no district with this id.", field=DISTRICT)
    return int(row["tenant_id"])
