"""The records that events are about, as their version left them and as the client sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL

from api.database import Connection
from api.rosters import selects
from api.rosters.parts import Awaited, Cursor, array_of
from api.rosters.sight import Rows, Sight
from schemas.moments import SERVED
from schemas.rest.records import Records, Row
from schemas.roster import AnyEntity
from schemas.roster.people import Role, User, UserProfile

Json = dict[str, Any]
WANTED = SQL("live.sourced_id = any(%(owners)s::text[])")


@dataclass(frozen=True, slots=True)
class Asked:
    """Records that are on their way: what was sent for them, and not waited for."""

    entity: AnyEntity
    sight: Sight
    records: Cursor
    related: Awaited


class Objects:
    """Writes the same JSON as the standard's reads."""

    def __init__(self, base: str) -> None:
        self._records = {entity: Records(entity, base) for entity in SERVED}

    async def ask(
        self,
        connection: Connection,
        entity: AnyEntity,
        sight: Sight,
        key: Mapping[str, object],
        ids: Sequence[str],
        *,
        past: bool,
    ) -> Asked:
        """Ask for records by their real identifiers.

        `key` has the district and the version, as `as_of`; `past`: it is not the newest.
        """
        rows = Rows(sight, past=past)
        key = {**key, **sight.parameters, "owners": array_of(ids)}

        async def sent(query: selects.Query) -> Cursor:
            return await connection.execute(query, key)

        carries = entity is User
        return Asked(
            entity,
            sight,
            records=await sent(selects.single(entity, rows, [WANTED])),
            related=Awaited(
                await sent(selects.children(entity, rows))
                if self._records[entity].has_children
                else None,
                await sent(selects.parts(Role, rows)) if carries else None,
                await sent(selects.parts(UserProfile, rows)) if carries else None,
            ),
        )

    async def written(self, asked: Asked) -> dict[str, Json]:
        """The objects by their real identifiers; what cannot be seen is not among them."""
        found, veil = await asked.records.fetchall(), asked.sight.veil
        related = await asked.related.fetched()
        shown: Sequence[Row] = found
        if veil is not None:
            related, shown = veil.related(related), veil.rows(asked.entity, found)
        write = self._records[asked.entity].write
        return {
            row["sourced_id"]: write(veiled, related)
            for row, veiled in zip(found, shown, strict=True)
        }
