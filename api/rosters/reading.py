"""GET for every operation of the table: a collection, a sub-collection or a single record.

One answer is one version: version, parents, total, page, parts and children are read in one
snapshot. The entity tag is the version and the address, so a client that has it is answered before
the page. With `asOf` the same is read of an earlier version.
"""

import asyncio
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib import metadata
from typing import Any

from falcon.asgi import Request, Response
from psycopg.rows import DictRow

from api.caller import Needs, caller_of
from api.database import Connection, Database
from api.form import counted, send
from api.rosters import selects
from api.rosters.asof import SQL, version_at
from api.rosters.binding import resolved
from api.rosters.collation import SortKeys
from api.rosters.operations import FIRST, Operation
from api.rosters.paging import announce
from api.rosters.questions import Asking, Question
from api.rosters.remarks import remarks
from api.rosters.selection import selected
from api.rosters.sight import Sight, sight_of
from api.rosters.totals import total_of
from schemas.errors import Missing
from schemas.rest.editions import ONE_TWO
from schemas.rest.records import Records, Related, Row
from schemas.roster import AnyEntity
from schemas.roster.people import Role, UserProfile
from schemas.scopes import CLIENT_SCOPES

REVALIDATE = "private, no-cache"
TURN = 250  # records written at a stretch


def needs_of(operation: Operation) -> Needs:
    """What an operation asks of its caller. 1.1 takes the scopes of either edition."""
    if operation.edition is ONE_TWO:
        return Needs(any_of=frozenset(operation.scopes))
    words = {scope.rpartition("/")[2] for scope in operation.scopes}
    return Needs(
        any_of=frozenset(scope for scope in CLIENT_SCOPES if scope.rpartition("/")[2] in words)
    )


def version_of_the_code() -> str:
    """Another release may write other bytes for the same version of a roster."""
    try:
        return metadata.version("rosterhub")
    except metadata.PackageNotFoundError:
        return "source"


CODE = version_of_the_code()


@dataclass(frozen=True, slots=True)
class Reader:
    """What every read of rosters works with; `patience` is for what has to be made first."""

    database: Database
    sort_keys: SortKeys
    base: str
    page_default: int
    page_max: int
    patience: float
    sight_of: Callable[[Request], Sight] = sight_of


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a district that is read: `tag` names it, `key` holds what SELECTs ask for."""

    connection: Connection
    tag: str
    key: Mapping[str, object]
    total: int


class Roster:
    """What collections and single records share."""

    def __init__(self, operation: Operation, reader: Reader) -> None:
        self.needs = needs_of(operation)
        self.operation = operation
        self._reader = reader
        self._records = Records(operation.entity, reader.base, operation.edition)
        self._asking = Asking(
            operation, reader.base, reader.page_default, reader.page_max, reader.sight_of
        )

    async def _snapshot(
        self, connection: Connection, tenant_id: int, question: Question
    ) -> Snapshot:
        """The roster as it stands, or as it was at the moment that is asked for."""
        state = await state_of(connection, tenant_id, self.operation.entity)
        tag = f"{state['version']}/{self.operation.edition.name}/{question.rows.sight.tag}"
        key = await resolved(connection, tenant_id, question.parameters)
        key |= {"tenant_id": tenant_id, **question.identifiers}
        if question.moment is not None:
            # The newest version stays in the tag: an erasure is one, and reaches back.
            version = await version_at(connection, tenant_id, question.moment, state["version"])
            tag, key["as_of"] = f"{tag}/{version}", version
        return Snapshot(connection, tag, key, state["total"])

    def _unchanged(self, req: Request, resp: Response, tenant_id: int, snapshot: Snapshot) -> bool:
        """Tag the answer; whether the client has these very bytes already."""
        where = f"{req.path}\n{req.query_string}"
        text = f"{CODE}\n{self._reader.base}\n{tenant_id}\n{snapshot.tag}\n{where}"
        tag = hashlib.sha256(text.encode()).hexdigest()[:32]
        resp.etag = tag
        resp.cache_control = [REVALIDATE]
        if tag not in (req.if_none_match or []):
            return False
        resp.status = HTTPStatus.NOT_MODIFIED
        return True

    async def _bodies(
        self, rows: list[DictRow], related: Related, question: Question
    ) -> list[dict[str, Any]]:
        """The objects of the rows; a large page lets other requests have their turn."""
        veil, wanted = question.rows.sight.veil, question.wanted
        if veil is not None:
            related = veil.related(related)
        bodies: list[dict[str, Any]] = []
        for start in range(0, len(rows), TURN):
            part: Sequence[Row] = rows[start : start + TURN]
            if veil is not None:
                part = veil.rows(self.operation.entity, part)
            bodies += [selected(self._records.write(row, related), wanted) for row in part]
            await asyncio.sleep(0)
        return bodies

    async def _related(
        self, snapshot: Snapshot, question: Question, records: list[DictRow]
    ) -> Related:
        """Children and parts of all records at once, where they are wanted."""
        key = {**snapshot.key, "owners": [record["sourced_id"] for record in records]}
        children: dict[str, list[str]] = defaultdict(list)
        if self._records.has_children and question.asks("children"):
            query = selects.children(self.operation.entity, question.rows)
            for row in await fetched(snapshot.connection, query, key):
                children[row["parent_sourced_id"]].append(row["sourced_id"])
        if not self._records.has_parts:
            return Related(children, {}, {})
        if self.operation.edition.one_role:
            return Related(
                children, await self._parts(snapshot, question, Role, ("role", "orgs"), key), {}
            )
        return Related(
            children,
            await self._parts(snapshot, question, Role, ("roles",), key),
            await self._parts(snapshot, question, UserProfile, ("userProfiles",), key),
        )

    async def _parts(
        self,
        snapshot: Snapshot,
        question: Question,
        part: AnyEntity,
        names: tuple[str, ...],
        key: Mapping[str, object],
    ) -> dict[str, list[DictRow]]:
        """The parts of one kind, by their user, if they are shown under any of the names."""
        found: dict[str, list[DictRow]] = defaultdict(list)
        if any(question.asks(name) for name in names):
            query = selects.parts(part, question.rows)
            for row in await fetched(snapshot.connection, query, key):
                found[row["user_sourced_id"]].append(row)
        return found


class Collection(Roster):
    """A page of records, the deleted ones included."""

    async def on_get(self, req: Request, resp: Response, **identifiers: str) -> None:
        """The page; texts that are compared for the first time get their sort keys before."""
        question = self._asking.collection(req, identifiers)
        tenant_id = caller_of(req).tenant
        until = time.monotonic() + self._reader.patience
        while True:
            async with self._reader.database.tenant(tenant_id, snapshot=True) as connection:
                snapshot = await self._snapshot(connection, tenant_id, question)
                if self._unchanged(req, resp, tenant_id, snapshot):
                    return
                await self._look_for_parents(snapshot, question)
                missing = await self._without_keys(snapshot, question)
                if not missing:
                    total = await total_of(connection, question, snapshot.key, snapshot.total)
                    rows = await self._page(snapshot, question)
                    related = await self._related(snapshot, question, rows)
                    break
            await self._reader.sort_keys.add(tenant_id, missing, until)
        announce(req, resp, question.page, total, self._reader.base)
        counted(resp, len(rows))
        bodies = await self._bodies(rows, related, question)
        send(resp, {self.operation.key: bodies} | remarks(req, question))

    async def _look_for_parents(self, snapshot: Snapshot, question: Question) -> None:
        """Raises Missing where a record that the address names is not there."""
        for parent in self.operation.parents:
            conditions = [
                condition(question.rows)
                for condition in (*parent.view.conditions, *parent.conditions)
            ]
            query = selects.there(parent.view.entity, question.rows, parent.parameter, conditions)
            if not await fetched(snapshot.connection, query, snapshot.key):
                raise Missing

    async def _without_keys(self, snapshot: Snapshot, question: Question) -> list[str]:
        """Texts that the question compares and that have no sort key yet."""
        mark = (snapshot.key["tenant_id"], snapshot.tag)
        return await self._reader.sort_keys.missing(
            snapshot.connection, mark, question.needed, question.rows, snapshot.key
        )

    async def _page(self, snapshot: Snapshot, question: Question) -> list[DictRow]:
        """The rows of the page."""
        entity, rows = self.operation.entity, question.rows
        if question.whole and question.order.is_default and not (rows.past and rows.masked):
            query = selects.first_page(entity, rows)
        else:
            query = selects.page(entity, rows, question.conditions, question.order)
        page = {"limit": question.page.limit, "offset": question.page.offset}
        return await fetched(snapshot.connection, query, {**snapshot.key, **page})


class Single(Roster):
    """One record, also when it is deleted."""

    async def on_get(self, req: Request, resp: Response, **identifiers: str) -> None:
        """The record; outside of its view it is not there."""
        question = self._asking.single(req, identifiers)
        tenant_id = caller_of(req).tenant
        async with self._reader.database.tenant(tenant_id, snapshot=True) as connection:
            # The district's version, for a new child changes its parent's object and no row of it.
            snapshot = await self._snapshot(connection, tenant_id, question)
            if self._unchanged(req, resp, tenant_id, snapshot):
                return
            conditions = [selects.named(FIRST), *question.conditions]
            query = selects.single(self.operation.entity, question.rows, conditions)
            rows = await fetched(connection, query, snapshot.key)
            if not rows:
                raise Missing
            related = await self._related(snapshot, question, rows)
        counted(resp, 1)
        (body,) = await self._bodies(rows, related, question)
        send(resp, {self.operation.key: body} | remarks(req, question))


async def fetched(
    connection: Connection, query: selects.Query, key: Mapping[str, object]
) -> list[DictRow]:
    """Every row of a composed query."""
    cursor = await connection.execute(query, key)
    return await cursor.fetchall()


async def state_of(connection: Connection, tenant_id: int, entity: AnyEntity) -> DictRow:
    """The version of the district, and how many records of the entity it has."""
    cursor = await connection.execute(SQL["state"], {"tenant_id": tenant_id, "entity": entity.file})
    row = await cursor.fetchone()
    if row is None:
        raise Missing
    return row
