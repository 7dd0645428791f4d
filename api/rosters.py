"""GET for every entity: a collection and a single record, made from its declaration.

One answer is one version: version, total, page, parts and children are read in one snapshot. The
entity tag is the version and the address, so a client that has it is answered before the page. With
`asOf` the same is read of an earlier version.
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
from api.asof import SQL, Moment, as_of, version_at
from api.caller import Needs, caller_of
from api.database import Database
from api.form import counted, send
from api.paging import announce, page_of
from api.records import PARENTS, Records, Related
from api.segments import restored
from schemas.errors import Missing
from schemas.roster import AnyEntity
from schemas.roster.people import Demographics, Role, UserProfile

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


@dataclass(frozen=True, slots=True)
class Selects:
    """Every SELECT of an entity."""

    page: select.Query
    single: select.Query
    children: select.Query | None
    roles: select.Query
    profiles: select.Query


def selects(entity: AnyEntity, *, past: bool) -> Selects:
    """The SELECTs of the roster as it stands, or as it was."""
    return Selects(
        page=select.page(entity, past=past),
        single=select.single(entity, past=past),
        children=select.children(entity, past=past) if entity in PARENTS else None,
        roles=select.parts(Role, past=past),
        profiles=select.parts(UserProfile, past=past),
    )


@dataclass(frozen=True, slots=True)
class View:
    """A district's records of one entity at one version.

    `tag` names the version in entity tags, `key` holds what every SELECT asks for.
    """

    selects: Selects
    key: Mapping[str, int]
    tag: str
    total: int


class Roster:
    """What a collection and a single record share."""

    def __init__(self, entity: AnyEntity, reader: Reader) -> None:
        self.needs = DEMOGRAPHICS if entity is Demographics else READ
        self._entity = entity
        self._reader = reader
        self._records = Records(entity, reader.base)
        self._now = selects(entity, past=False)
        self._then = selects(entity, past=True)

    async def _view(
        self, connection: AsyncConnection[DictRow], tenant_id: int, moment: Moment | None
    ) -> View:
        """The roster as it stands, or as it was at a moment."""
        state = await state_of(connection, tenant_id, self._entity)
        key, tag = {"tenant_id": tenant_id}, str(state["version"])
        if moment is None:
            return View(self._now, key, tag, state["total"])
        # The newest version stays in the tag: an erasure is one, and reaches back.
        version = await version_at(connection, tenant_id, moment, state["version"])
        return View(self._then, key | {"as_of": version}, f"{tag}/{version}", state["total"])

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
        view: View,
        rows: list[DictRow],
        wanted: frozenset[str] | None,
    ) -> Related:
        """Children and parts of all rows at once, where they are wanted."""
        key = {**view.key, "owners": [row["sourced_id"] for row in rows]}
        children: dict[str, list[str]] = defaultdict(list)
        roles: dict[str, list[DictRow]] = defaultdict(list)
        profiles: dict[str, list[DictRow]] = defaultdict(list)
        if view.selects.children is not None and asks(wanted, "children"):
            for row in await fetched(connection, view.selects.children, key):
                children[row["parent_sourced_id"]].append(row["sourced_id"])
        if self._records.has_parts and asks(wanted, "roles"):
            for row in await fetched(connection, view.selects.roles, key):
                roles[row["user_sourced_id"]].append(row)
        if self._records.has_parts and asks(wanted, "userProfiles"):
            for row in await fetched(connection, view.selects.profiles, key):
                profiles[row["user_sourced_id"]].append(row)
        return Related(children, roles, profiles)


class Collection(Roster):
    """`/ims/oneroster/rostering/v1p2/<plural>`."""

    def __init__(self, entity: AnyEntity, reader: Reader) -> None:
        super().__init__(entity, reader)
        self._younger = select.younger(entity)

    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of records, the deleted ones included."""
        page = page_of(req, self._reader.page_default, self._reader.page_max)
        refuse_filter(req)
        wanted = fields_of(req, self._records.names)
        tenant_id, moment = caller_of(req).tenant, as_of(req)
        async with self._reader.database.tenant(tenant_id, snapshot=True) as connection:
            view = await self._view(connection, tenant_id, moment)
            if unchanged(req, resp, tenant_id, view.tag, self._reader.base):
                return
            total = await self._total(connection, view)
            place = {"limit": page.limit, "offset": page.offset}
            rows = await fetched(connection, view.selects.page, {**view.key, **place})
            related = await self._related(connection, view, rows, wanted)
        announce(req, resp, page, total, self._reader.base)
        counted(resp, len(rows))
        send(resp, {self._entity.file: await self._bodies(rows, related, wanted)})

    async def _total(self, connection: AsyncConnection[DictRow], view: View) -> int:
        """How many records there are; of an earlier version, those that were there."""
        if view.selects is self._now:
            return view.total
        (row,) = await fetched(connection, self._younger, view.key)
        return view.total - int(row["records"])


class Single(Roster):
    """`/ims/oneroster/rostering/v1p2/<plural>/{sourced_id}`."""

    async def on_get(self, req: Request, resp: Response, sourced_id: str) -> None:
        """One record, also when it is deleted."""
        wanted = fields_of(req, self._records.names)
        tenant_id, moment = caller_of(req).tenant, as_of(req)
        named = restored(sourced_id)
        async with self._reader.database.tenant(tenant_id, snapshot=True) as connection:
            # The district's version, for a new child changes its parent's object and no row of it.
            view = await self._view(connection, tenant_id, moment)
            if unchanged(req, resp, tenant_id, view.tag, self._reader.base):
                return
            key = {**view.key, "sourced_id": named}
            rows = await fetched(connection, view.selects.single, key)
            if not rows:
                raise Missing
            related = await self._related(connection, view, rows, wanted)
        counted(resp, 1)
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


def unchanged(req: Request, resp: Response, tenant_id: int, version: str, base: str) -> bool:
    """Tag the answer; whether the client has these very bytes already."""
    text = f"{CODE}\n{base}\n{tenant_id}\n{version}\n{req.path}\n{req.query_string}"
    tag = hashlib.sha256(text.encode()).hexdigest()[:32]
    resp.etag = tag
    resp.cache_control = [REVALIDATE]
    if tag not in (req.if_none_match or []):
        return False
    resp.status = HTTPStatus.NOT_MODIFIED
    return True
