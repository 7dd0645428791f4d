"""A page of the feed: from a place on, part by part, until the page is full or nothing is left."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from api.database import Connection
from api.deltas import log
from api.deltas.log import Found, Part
from api.deltas.objects import Objects
from api.deltas.places import COMING, GOING, MARKER, Place, begin
from api.form import dump
from api.rosters.sight import Sight
from schemas.lens import Lens
from schemas.moments import SERVED
from schemas.rest.instants import instant
from schemas.roster import AnyEntity
from schemas.roster.people import Demographics
from schemas.statements import load
from schemas.sums import ALL, Stored

SQL = load("api", "deltas.sql")
BUSY = log.busy(SERVED)

Json = dict[str, Any]


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
    """Reads pages in one snapshot; `newest` is the last version that is prepared.

    `computed`: whether an event had to be made, since no package had it.
    """

    connection: Connection
    tenant_id: int
    objects: Objects
    view: View
    newest: int
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
            events += map(dump, found)
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
            cursor = await self.connection.execute(BUSY, key)
            rows = await cursor.fetchall()
            self._busy[place.version] = frozenset(row["entity"] for row in rows)
        return entity.file in self._busy[place.version]

    async def _read(self, place: Place, limit: int) -> tuple[list[Json], Place]:
        """The events of one part, and where it goes on."""
        self.computed = True
        view, entity = self.view, SERVED[place.rank]
        part = Part(entity, place, view.lens, view.former, view.tag, limit)
        cursor = await self.connection.execute(part.query, {**self._key, **part.parameters})
        found = log.in_order(part, await cursor.fetchall())
        events = await self._events(entity, place.version, found)
        if len(found) < limit:
            return events, following(place)
        return events, place.behind(found[-1].sourced_id, found[-1].depth)

    async def _events(self, entity: AnyEntity, version: int, found: list[Found]) -> list[Json]:
        if not found:
            return []
        objects = await self.objects.of(
            self.connection,
            entity,
            self.view.sight,
            {**self._key, "as_of": version},
            [each.sourced_id for each in found],
        )
        return [
            await self._event(entity, version, each, objects.get(each.sourced_id)) for each in found
        ]

    async def _event(
        self, entity: AnyEntity, version: int, found: Found, body: Json | None
    ) -> Json:
        if body is None or found.action == "deleted":
            body = (body or await self._gone(entity, version, found)) | {"status": "tobedeleted"}
        return {
            "version": version,
            "entity": entity.file,
            "action": found.action,
            "sourcedId": body["sourcedId"],
            "object": body,
        }

    async def _gone(self, entity: AnyEntity, version: int, found: Found) -> Json:
        """Of a record that can no longer be seen no more is said than which it was."""
        veil = self.view.sight.veil
        known = found.sourced_id if veil is None else veil.shown(entity, found.sourced_id)
        return {"sourcedId": known, "dateLastModified": await self._instant(version)}

    async def _marker(self, version: int) -> Json:
        """The end of a version, with the sums that a consumer's copy must have."""
        sums = await self.sums(version)
        return {
            "version": version,
            "entity": None,
            "action": "published",
            "sourcedId": None,
            "object": {
                "publishedAt": await self._instant(version),
                "checksums": None
                if sums is None
                else {
                    entity.file: said(sums.get(entity.file, {}).get(ALL))
                    for entity in self.view.allowed
                },
            },
        }

    async def sums(self, version: int) -> Stored | None:
        """What was kept of a version; None: nothing is, any more."""
        cursor = await self.connection.execute(
            SQL["sums"], {**self._key, "lens": self.view.tag, "version": version}
        )
        row = await cursor.fetchone()
        return None if row is None else row["sums"]

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
