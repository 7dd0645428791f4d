"""From a key or a token to who is asking.

Every look-up is shared by all requests that wait for one (`api/coalesce.py`) and begun after the
request arrived, so what was revoked a moment ago is refused. Of a client's key or token counts what
both it and the client may do by now.

As long as the same is looked up, the same object says it: who is told of a caller twice knows by
that whether anything is other than before (`api/repeats.py`).
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import structlog
from falcon.asgi import Request
from psycopg import Error
from psycopg.rows import DictRow

from api.addresses import Network, networks_of
from api.caller import DISTRICT, Caller
from api.coalesce import Coalesced
from api.database import Database
from api.tokens import Claims, Tokens, living
from schemas.errors import Forbidden, Missing, Unauthorised
from schemas.scopes import SCOPES, opened
from schemas.secrets import ApiKey, Vault, parse_key
from schemas.statements import load

SQL = load("api", "caller.sql")
EVERYTHING = opened(SCOPES)
NOWHERE: DictRow = {"tenant_id": None, "version": 0}

Holder: TypeAlias = tuple[int, str, str, int]
"""What a token says of who asked for it: tenant, client, secret, epoch."""

REMEMBERED = 10_000  # rows, and callers made of them

K = TypeVar("K")
V = TypeVar("V")

log = structlog.get_logger()


class Proven(NamedTuple):
    """A district's key that was compared with what is stored of it, and fits."""

    id: str
    hash: bytes


Credential: TypeAlias = ApiKey | Proven | Claims
"""What somebody is identified by."""


@dataclass(frozen=True, slots=True)
class Identified:
    """A caller; from where they may ask (no network: from everywhere), and how often.

    `by` identifies the same caller again, without the secret; None: nothing does.
    """

    caller: Caller
    counted_as: str
    by: Proven | Claims | None = None
    networks: tuple[Network, ...] = ()
    rate_limit: int | None = None


class Found(NamedTuple):
    """A row that was looked up, and whether its last use is a while ago."""

    row: DictRow
    untouched: bool


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
        self._rows: dict[tuple[object, ...], DictRow] = {}
        self._callers: dict[tuple[object, ...], tuple[DictRow, Identified]] = {}

    async def close(self) -> None:
        """Finish writing down who was here."""
        await asyncio.gather(*self._touching.values(), return_exceptions=True)

    def presented(self, req: Request) -> Credential:
        """What a request presents; what cannot be a credential of ours is refused."""
        given = presented(req)
        if isinstance(given, str):
            return self._tokens.read(given)
        if given is None:
            raise Unauthorised
        return given

    async def identify(self, credential: Credential, named: str | None) -> Identified:
        """Whose credential it is, for the district that is named; what is not good is refused."""
        match credential:
            case Proven() | ApiKey(kind="live"):
                return await self._district_key(credential, named)
            case ApiKey(kind="admin"):
                return await self._admin_key(credential, named)
            case Claims():
                return await self._token(living(credential), named)
            case _:
                raise Unauthorised

    async def _district_key(self, key: ApiKey | Proven, named: str | None) -> Identified:
        row, untouched = self._verified(key, await self._keys.get(key.id))
        own_district(row, named)
        if untouched:
            self._touch("touch_key", row, key.id)
        return self._identified((key.id, row["tenant_id"]), row, Proven(key.id, row["hash"]))

    async def _admin_key(self, key: ApiKey, named: str | None) -> Identified:
        row, untouched = self._verified(key, await self._admin_keys.get(key.id))
        if untouched:
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
        found = await self._holders.get(holder)
        if found is None:
            raise Unauthorised
        own_district(found.row, named)
        if found.untouched:
            self._touch("touch_client", found.row, holder)
        return self._identified(claims, found.row, claims)

    def _identified(
        self, name: tuple[object, ...], row: DictRow, by: Proven | Claims
    ) -> Identified:
        """Whose a key or a token is: the same object as long as it is the same row."""
        known, found = self._callers.get(name, (None, None))
        if found is None or known is not row:
            found = of_client(row, by) if row["client"] is not None else of_district(row, by)
            remember(self._callers, name, (row, found))
        return found

    def _found(self, name: tuple[object, ...], row: DictRow) -> Found:
        """What was looked up, in the words of before where nothing is other than it was."""
        untouched = row.pop("untouched")
        known = self._rows.get(name)
        if known != row:
            known = remember(self._rows, name, row)
        return Found(known, untouched)

    async def _district_named(self, named: str) -> DictRow:
        """A living district."""
        row = None if "\0" in named else await self._districts.get(named)
        if row is None:
            raise Missing("There is no district with this id.", field=DISTRICT)
        return row

    def _verified(self, key: ApiKey | Proven, found: Iterable[Found] | None) -> Found:
        """The usable key of this id whose secret was presented."""
        for each in found or ():
            stored = each.row["hash"]
            if stored == key.hash if isinstance(key, Proven) else self._vault.verifies(key, stored):
                return each
        raise Unauthorised

    async def _find_keys(self, asked: Mapping[str, int]) -> dict[str, list[Found]]:
        return self._by_id(await self._database.look(SQL["district_keys"], [list(asked)]))

    async def _find_admin_keys(self, asked: Mapping[str, int]) -> dict[str, list[Found]]:
        return self._by_id(await self._database.look(SQL["admin_keys"], [list(asked)]))

    def _by_id(self, rows: Iterable[DictRow]) -> dict[str, list[Found]]:
        """The keys of each id: it is unique within a district only."""
        found: dict[str, list[Found]] = defaultdict(list)
        for row in rows:
            name = (row["id"], row.get("tenant_id"))
            found[row["id"]].append(self._found(name, row))
        return found

    async def _find_holders(self, asked: Mapping[Holder, int]) -> dict[Holder, Found]:
        rows = await self._database.look(
            SQL["token_holders"], [list(column) for column in zip(*asked, strict=True)]
        )
        holders = [(row["tenant_id"], row["client"], row["secret"], row["epoch"]) for row in rows]
        return {holder: self._found(holder, row) for holder, row in zip(holders, rows, strict=True)}

    async def _find_districts(self, asked: Mapping[str, int]) -> dict[str, DictRow]:
        rows = await self._database.look(SQL["districts"], [list(asked)])
        return {row["id"]: row for row in rows}

    def _touch(self, statement: str, row: DictRow, name: object) -> None:
        """Remember when a credential was used last, behind the request's back and once."""
        if (statement, name) not in self._touching:
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


def of_district(row: DictRow, by: Proven | Claims) -> Identified:
    """The district itself, by one of its keys."""
    scopes = opened(row["scopes"])
    caller = Caller(row["id"], scopes, row["tenant_id"], row["district"], version=row["version"])
    return Identified(caller, counted_as=row["id"], by=by)


def of_client(row: DictRow, by: Proven | Claims) -> Identified:
    """A client, by one of its keys or tokens."""
    key_id, scopes = (by.secret, by.scopes) if isinstance(by, Claims) else (by.id, row["scopes"])
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
        by=by,
        networks=networks_of(tuple(row["networks"])),
        rate_limit=row["rate_limit"],
    )


def counted_as(row: DictRow) -> str:
    """By what name all requests of a client are counted together."""
    return f"{row['tenant_id']}:{row['client']}"


def remember(known: dict[K, V], name: K, value: V) -> V:
    """Keep a value; when there are too many, none of those before."""
    if len(known) >= REMEMBERED:
        known.clear()
    known[name] = value
    return value
