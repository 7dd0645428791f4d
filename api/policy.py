"""The policy of a district: what it decides about its imports, read and changed as one document.

Kept is only what differs from the defaults, so that a better default reaches every district that
did not decide otherwise. The tag of what was read, sent back as `If-Match`, refuses a change that
would undo somebody else's.
"""

import hashlib
from typing import Any, TypeAlias

import orjson
from falcon import ETag
from falcon.asgi import Request, Response
from psycopg.errors import LockNotAvailable
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from api.bodies import parsed, read, refusal
from api.caller import Needs, caller_of
from api.database import Connection, Database
from api.form import dump, send
from api.openapi.described import IF_MATCH, described
from schemas.errors import Outdated, Rejected, Unavailable
from schemas.policy import Policy
from schemas.statements import load

SQL = load("api", "policy.sql")

Json: TypeAlias = dict[str, Any]


class ImportUnderWay(Unavailable):
    """An import of the district is under way: change its policy when that has ended."""


class DistrictPolicy:
    """`/api/v1/policy`."""

    needs = Needs("settings")

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(Policy, headers=("ETag",))
    async def on_get(self, req: Request, resp: Response) -> None:
        """The whole policy, defaults included."""
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            show(resp, await stored(connection, "read", tenant_id))

    @described(Policy, query=(IF_MATCH,), body=Policy, refusals=(412,), headers=("ETag",))
    async def on_put(self, req: Request, resp: Response) -> None:
        """Decide everything anew; what the body leaves out goes back to its default."""
        policy = valid(await self._body(req))
        async with self._database.tenant(caller_of(req).tenant) as connection:
            await held(connection, req)
            await write(connection, req, policy)
        show(resp, policy)

    @described(
        Policy, query=(IF_MATCH,), body={"type": "object"}, refusals=(412,), headers=("ETag",)
    )
    async def on_patch(self, req: Request, resp: Response) -> None:
        """Change what the body names; null: back to the default (RFC 7396)."""
        changes = await self._body(req)
        async with self._database.tenant(caller_of(req).tenant) as connection:
            policy = valid(patched(kept(await held(connection, req)), changes))
            await write(connection, req, policy)
        show(resp, policy)

    async def _body(self, req: Request) -> Json:
        value = parsed(await read(req, self._json_max))
        if not isinstance(value, dict):
            raise Rejected("The body is an object.")
        return value


async def stored(connection: Connection, statement: str, tenant_id: int) -> Policy:
    """The policy of the district."""
    cursor = await connection.execute(SQL[statement], [tenant_id])
    row = await cursor.fetchone()
    return Policy.model_validate(row["policy"] if row else {})


async def held(connection: Connection, req: Request) -> Policy:
    """The policy that is to be changed, which nobody else changes meanwhile."""
    await connection.execute(SQL["be_brief"])
    try:
        policy = await stored(connection, "hold", caller_of(req).tenant)
    except LockNotAvailable as error:
        raise ImportUnderWay from error
    wanted = req.if_match
    if wanted is not None and "*" not in wanted and tag(policy) not in map(dumped, wanted):
        raise Outdated
    return policy


async def write(connection: Connection, req: Request, policy: Policy) -> None:
    """Keep what differs from the defaults."""
    await connection.execute(SQL["write"], [Jsonb(kept(policy)), caller_of(req).tenant])


def valid(value: Json) -> Policy:
    """The policy that a client means; a value that does not fit is named."""
    try:
        return Policy.model_validate_json(orjson.dumps(value), strict=True)
    except ValidationError as error:
        raise refusal(error) from error


def kept(policy: Policy) -> Json:
    """What differs from the defaults."""
    return ordered(policy.model_dump(mode="json", exclude_defaults=True))


def show(resp: Response, policy: Policy) -> None:
    """Answer with the whole policy and its tag."""
    resp.etag = tag(policy)
    send(resp, ordered(policy.model_dump(mode="json")))


def tag(policy: Policy) -> str:
    """A strong tag: equal if and only if every decision is."""
    return hashlib.sha256(dump(ordered(policy.model_dump(mode="json")))).hexdigest()[:32]


def dumped(given: ETag | str) -> str | None:
    """What a client took for the tag; a weak one matches nothing (RFC 9110, 13.1.1)."""
    return None if isinstance(given, ETag) and given.is_weak else str(given)


def ordered(said: Json) -> Json:
    """The same with the words of every set in one order."""
    return {name: settled(part) for name, part in said.items()}


def settled(part: object) -> object:
    """A part of it."""
    match part:
        case dict():
            return ordered(part)
        case list():
            return sorted(part)
        case _:
            return part


def patched(value: Json, changes: Json) -> Json:
    """A JSON merge patch, applied (RFC 7396)."""
    left = {name: part for name, part in value.items() if name not in changes}
    return left | {
        name: patched(within(value.get(name)), change) if isinstance(change, dict) else change
        for name, change in changes.items()
        if change is not None
    }


def within(part: object) -> Json:
    """What a patch of an object finds there."""
    return part if isinstance(part, dict) else {}
