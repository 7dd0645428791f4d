"""GET for every entity: a collection and a single record, made from its declaration.

One answer is one version: version, total, page, parts and children are read in one snapshot. The
entity tag is the version and the address, so a client that has it is answered before the page.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib import metadata
from typing import Any

from falcon.asgi import Request, Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api import select
from api.asked import fields_of, refuse_filter, selected
from api.caller import Needs, caller_of
from api.database import Database
from api.form import send
from api.paging import Page, announce, page_of
from api.records import Records, Related
from api.segments import restored
from schemas.errors import Missing
from schemas.roster import AnyEntity
from schemas.roster.people import Demographics, Role, UserProfile
from schemas.statements import load

SQL = load("api", "rosters.sql")
ROOT = "/ims/oneroster/rostering/v1p2"
REVALIDATE = "private, no-cache"
TURN = 250  # records written at a stretch

READ = Needs("roster.read")
DEMOGRAPHICS = Needs("roster.demographics")


def version_of_the_code() -> str:
    """Another release may write other bytes for the same version of a roster."""
    try:
        return metadata.version("rosterhub")
    except metadata.PackageNotFoundError:
        return "source"


CODE = version_of_the_code()


@dataclass(frozen=True, slots=True)
class Reader:
    """What every read of rosters works with."""

    database: Database
    base: str
    page_default: int
    page_max: int


class Roster:
    """What a collection and a single record share."""

    def __init__(self, entity: AnyEntity, reader: Reader) -> None:
        self.needs = DEMOGRAPHICS if entity is Demographics else READ
        self._entity = entity
        self._reader = reader
        self._records = Records(entity, reader.base)
        self._children = select.children(entity) if self._records.has_children else None

    async def _bodies(
        self, rows: list[DictRow], related: Related, wanted: frozenset[str] | None
    ) -> list[dict[str, Any]]:
        """The objects of the rows; a large page lets other requests have their turn."""
        bodies: list[dict[str, Any]] = []
        for start in range(0, len(rows), TURN):
            part = rows[start : start + TURN]
            bodies += [selected(self._records.write(row, related), wanted) for row in part]
            await asyncio.sleep(0)
        return bodies

    async def _related(
        self,
        connection: AsyncConnection[DictRow],
        tenant_id: int,
        rows: list[DictRow],
        wanted: frozenset[str] | None,
    ) -> Related:
        """Children and parts of all rows at once, where they are wanted."""
        key = {"tenant_id": tenant_id, "owners": [row["sourced_id"] for row in rows]}
        children: dict[str, list[str]] = defaultdict(list)
        roles: dict[str, list[DictRow]] = defaultdict(list)
        profiles: dict[str, list[DictRow]] = defaultdict(list)
        if self._children is not None and asks(wanted, "children"):
            for row in await fetched(connection, self._children, key):
                children[row["parent_sourced_id"]].append(row["sourced_id"])
        if self._records.has_parts and asks(wanted, "roles"):
            for row in await fetched(connection, ROLES, key):
                roles[row["user_sourced_id"]].append(row)
        if self._records.has_parts and asks(wanted, "userProfiles"):
            for row in await fetched(connection, PROFILES, key):
                profiles[row["user_sourced_id"]].append(row)
        return Related(children, roles, profiles)


ROLES = select.parts(Role)
PROFILES = select.parts(UserProfile)


class Collection(Roster):
    """`/ims/oneroster/rostering/v1p2/<plural>`."""

    def __init__(self, entity: AnyEntity, reader: Reader) -> None:
        super().__init__(entity, reader)
        self._page = select.page(entity)

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of records, the deleted ones included."""
        page = page_of(req, self._reader.page_default, self._reader.page_max)
        refuse_filter(req)
        wanted = fields_of(req, self._records.names)
        tenant_id = caller_of(req).tenant
        async with self._reader.database.tenant(tenant_id, snapshot=True) as connection:
            state = await state_of(connection, tenant_id, self._entity)
            if unchanged(req, resp, tenant_id, state["version"], self._reader.base):
                return
            rows = await self._rows(connection, tenant_id, page)
            related = await self._related(connection, tenant_id, rows, wanted)
        announce(req, resp, page, state["total"], self._reader.base)
        send(resp, {self._entity.file: await self._bodies(rows, related, wanted)})

    async def _rows(
        self, connection: AsyncConnection[DictRow], tenant_id: int, page: Page
    ) -> list[DictRow]:
        key = {"tenant_id": tenant_id, "limit": page.limit, "offset": page.offset}
        return await fetched(connection, self._page, key)


class Single(Roster):
    """`/ims/oneroster/rostering/v1p2/<plural>/{sourced_id}`."""

    def __init__(self, entity: AnyEntity, reader: Reader) -> None:
        super().__init__(entity, reader)
        self._single = select.single(entity)

    async def on_get(self, req: Request, resp: Response, sourced_id: str) -> None:
        """One record, also when it is deleted."""
        wanted = fields_of(req, self._records.names)
        tenant_id = caller_of(req).tenant
        key = {"tenant_id": tenant_id, "sourced_id": restored(sourced_id)}
        async with self._reader.database.tenant(tenant_id, snapshot=True) as connection:
            # The district's version, for a new child changes its parent's object and no row of it.
            state = await state_of(connection, tenant_id, self._entity)
            if unchanged(req, resp, tenant_id, state["version"], self._reader.base):
                return
            rows = await fetched(connection, self._single, key)
            if not rows:
                raise Missing
            related = await self._related(connection, tenant_id, rows, wanted)
        (body,) = await self._bodies(rows, related, wanted)
        send(resp, {self._entity.noun: body})


async def fetched(
    connection: AsyncConnection[DictRow], query: select.Query, key: Mapping[str, object]
) -> list[DictRow]:
    """Every row of a composed query."""
    cursor = await connection.execute(query, key)
    return await cursor.fetchall()


async def state_of(
    connection: AsyncConnection[DictRow], tenant_id: int, entity: AnyEntity
) -> DictRow:
    """The version of the district, and how many records of the entity it has."""
    cursor = await connection.execute(SQL["state"], {"tenant_id": tenant_id, "entity": entity.file})
    row = await cursor.fetchone()
    if row is None:
        raise Missing
    return row


def asks(wanted: frozenset[str] | None, name: str) -> bool:
    """Whether a property is to be sent."""
    return wanted is None or name in wanted


def unchanged(req: Request, resp: Response, tenant_id: int, version: int, base: str) -> bool:
    """Tag the answer; whether the client has these very bytes already."""
    text = f"{CODE}\n{base}\n{tenant_id}\n{version}\n{req.path}\n{req.query_string}"
    tag = hashlib.sha256(text.encode()).hexdigest()[:32]
    resp.etag = tag
    resp.cache_control = [REVALIDATE]
    if tag not in (req.if_none_match or []):
        return False
    resp.status = HTTPStatus.NOT_MODIFIED
    return True
