"""A page of the feed: from a place on, part by part, until the page is full or nothing is left."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, LiteralString, NamedTuple, Protocol

from api.database import Connection
from api.deltas import log
from api.deltas.log import Found, Part
from api.deltas.objects import Objects
from api.deltas.places import COMING, GOING, MARKER, Place, begin
from api.form import dump
from api.rosters.parts import Cursor
from api.rosters.sight import Sight
from schemas.lens import Lens
from schemas.moments import SERVED
from schemas.rest.instants import instant
from schemas.roster import AnyEntity
from schemas.roster.people import Demographics
from schemas.statements import load

SQL = load("api", "deltas.sql")
BUSY = log.busy(SERVED)

Json = dict[str, Any]
GONE = {"status": "tobedeleted"}


class About(NamedTuple):
    """A record that an event is about, and its entity."""

    entity: AnyEntity
    record: Found


@dataclass(frozen=True, slots=True)
class View:
    """What the consumer sees: its lens now, the lens of its cursor, and the entities it wants."""

    tag: str
    lens: Lens | None
    sight: Sight
    entities: tuple[AnyEntity, ...]
    allowed: tuple[AnyEntity, ...]
    former: Lens | None = None


def allowed(lens: Lens | None, *, demographics: bool) -> tuple[AnyEntity, ...]:
    """The entities that a lens shows, in load order."""
    return tuple(
        entity
        for entity in SERVED
        if (lens is None or lens.includes(entity)) and (demographics or entity is not Demographics)
    )


class Packed(Protocol):
    """Versions whose events were written ahead."""

    async def of(self, reading: "Reading", version: int, room: int, /) -> list[bytes] | None:
        """All events of a version; None where there is no package, or it does not fit."""


@dataclass(slots=True)
class Reading:
    """Reads pages in one snapshot, whose statements go to the server together where they can.

    `newest` is the last version that is prepared, `standing` the district's. `computed`: whether
    an event had to be made, since no package had it.
    """

    connection: Connection
    tenant_id: int
    objects: Objects
    view: View
    newest: int
    standing: int = field(kw_only=True)
    packed: Packed | None = None
    computed: bool = False
    _busy: dict[int, frozenset[str]] = field(default_factory=dict)
    _published: dict[int, str | None] = field(default_factory=dict)

    async def page(self, place: Place, limit: int) -> tuple[list[bytes], Place]:
        """At most so many events as they are sent, and the place behind them."""
        events: list[bytes] = []
        while len(events) < limit:
            if place.phase == MARKER:
                self.computed = True
                events.append(dump(await self._marker(place.version)))
                place = begin(place.version + 1)
                continue
            if place.mode == "log" and place.version > self.newest:
                break
            if whole := await self._packed(place, limit - len(events)):
                events += whole
                place = begin(place.version + 1)
                continue
            if not await self._worth(place):
                place = following(place)
                continue
            found, place = await self._read(place, limit - len(events))
            events += map(dump, await self._events(place.version, found))
        return events, place

    async def _packed(self, place: Place, room: int) -> list[bytes] | None:
        """The events of a version that begins here, if they were written ahead and fit."""
        if self.packed is None or place != begin(place.version):
            return None
        return await self.packed.of(self, place.version, room)

    async def _worth(self, place: Place) -> bool:
        """Whether the part can have events."""
        entity = SERVED[place.rank]
        if entity not in self.view.entities or (place.mode == "all" and place.phase == GOING):
            return False
        if place.mode != "log":
            return True
        if place.version not in self._busy:
            key = {"after": place.version, "lens": self.view.tag, **self._key}
            cursor = await self._planned(BUSY, key)
            rows = await cursor.fetchall()
            self._busy[place.version] = frozenset(row["entity"] for row in rows)
        return entity.file in self._busy[place.version]

    async def _read(self, place: Place, limit: int) -> tuple[list[About], Place]:
        """The records of some parts, and the place behind them."""
        self.computed = True
        first = self._part(place, limit)
        if place.mode == "log" and not first.is_tree:
            return await self._together(first)
        cursor = await self._planned(first.query, {**self._key, **first.parameters})
        found = log.in_order(first, await cursor.fetchall())
        about = [About(first.entity, each) for each in found]
        if len(found) < limit:
            return about, following(place)
        return about, place.behind(found[-1].sourced_id, found[-1].depth)

    async def _together(self, first: Part) -> tuple[list[About], Place]:
        """The same of all parts that come next, for a version is small more often than not."""
        parts = [first]
        place = following(first.place)
        while place.phase != MARKER and SERVED[place.rank] not in log.TREES:
            if await self._worth(place):
                parts.append(self._part(place, first.limit))
            place = following(place)
        await self.connection.execute(SQL["in_order"])
        cursor = await self._planned(log.at_once(parts), {**self._key, **first.parameters})
        rows = await cursor.fetchall()
        about = [
            About(parts[row["part"]].entity, Found(row["sourced_id"], row["action"]))
            for row in rows
        ]
        if len(rows) < first.limit:
            return about, place
        last = rows[-1]
        return about, parts[last["part"]].place.behind(last["sourced_id"])

    async def _planned(self, query: LiteralString, key: Mapping[str, object]) -> Cursor:
        """Ask with a plan for these very values.

        One plan for all versions expects each to have changed a share of everything, and reads a
        million records in their order for the thousand that a version changed: 4 s instead of 5 ms.
        """
        return await self.connection.execute(query, key, prepare=False)

    def _part(self, place: Place, limit: int) -> Part:
        view, stands = self.view, place.version == self.standing
        entity = SERVED[place.rank]
        return Part(entity, place, view.lens, view.former, view.tag, limit, stands)

    async def _events(self, version: int, found: list[About]) -> list[Json]:
        """The events about some records; all of their objects are asked for before any is read."""
        ids: dict[AnyEntity, list[str]] = defaultdict(list)
        for entity, record in found:
            ids[entity].append(record.sourced_id)
        key, past = {**self._key, "as_of": version}, version != self.standing
        asked = [
            await self.objects.ask(self.connection, entity, self.view.sight, key, some, past=past)
            for entity, some in ids.items()
        ]
        objects = {each.entity: await self.objects.written(each) for each in asked}
        said = [
            event(version, entity, record, objects[entity].get(record.sourced_id))
            for entity, record in found
        ]
        return [
            each or await self._gone(version, about)
            for each, about in zip(said, found, strict=True)
        ]

    async def _gone(self, version: int, about: About) -> Json:
        """Of a record that can no longer be seen no more is said than which it was."""
        veil, (entity, record) = self.view.sight.veil, about
        known = record.sourced_id if veil is None else veil.shown(entity, record.sourced_id)
        body = {"sourcedId": known, "dateLastModified": await self._instant(version)}
        return told(version, entity, record, body | GONE)

    async def _marker(self, version: int) -> Json:
        """The end of a version, with the sums that a consumer's copy must have."""
        cursor = await self.connection.execute(
            SQL["marker"], {**self._key, "lens": self.view.tag, "version": version}
        )
        row = await cursor.fetchone()
        sums = None if row is None else row["sums"]
        return {
            "version": version,
            "entity": None,
            "action": "published",
            "sourcedId": None,
            "object": {
                "publishedAt": await self._instant(version),
                "checksums": None
                if sums is None
                else {entity.file: said(sums.get(entity.file)) for entity in self.view.allowed},
            },
        }

    async def _instant(self, version: int) -> str | None:
        if version not in self._published:
            cursor = await self.connection.execute(
                SQL["published"], {**self._key, "version": version}
            )
            row = await cursor.fetchone()
            moment: datetime | None = None if row is None else row["published_at"]
            self._published[version] = None if moment is None else instant(moment)
        return self._published[version]

    @property
    def _key(self) -> Mapping[str, object]:
        return {"tenant_id": self.tenant_id}


def event(version: int, entity: AnyEntity, record: Found, body: Json | None) -> Json | None:
    """The event about a record; None: its object can no longer be seen."""
    if body is None:
        return None
    return told(version, entity, record, body | GONE if record.action == "deleted" else body)


def told(version: int, entity: AnyEntity, record: Found, body: Json) -> Json:
    """An event."""
    return {
        "version": version,
        "entity": entity.file,
        "action": record.action,
        "sourcedId": body["sourcedId"],
        "object": body,
    }


def said(kept: list[int | str] | None) -> Json:
    """A sum as consumers read it."""
    records, digest = kept or (0, f"{0:064x}")
    return {"records": records, "digest": digest}


def following(place: Place) -> Place:
    """The part behind this one; entities come in load order and go the other way."""
    last = len(SERVED) - 1
    if place.phase == COMING:
        rank = place.rank + 1
        return place.part(COMING, rank) if rank <= last else place.part(GOING, last)
    rank = place.rank - 1
    return place.part(GOING, rank) if rank >= 0 else replace(place.part(MARKER, 0))
