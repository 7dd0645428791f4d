"""The records that events are about, as their version left them and as the client sees them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg.sql import SQL

from api.database import Connection
from api.rosters import selects
from api.rosters.sight import Rows, Sight
from schemas.moments import SERVED
from schemas.rest.records import Records, Related, Row
from schemas.roster import AnyEntity
from schemas.roster.people import Role, User, UserProfile

Json = dict[str, Any]
WANTED = SQL("live.sourced_id = any(%(owners)s)")


class Objects:
    """Writes the same JSON as the standard's reads."""

    def __init__(self, base: str) -> None:
        self._records = {entity: Records(entity, base) for entity in SERVED}

    async def of(
        self,
        connection: Connection,
        entity: AnyEntity,
        sight: Sight,
        key: Mapping[str, object],
        ids: Sequence[str],
    ) -> dict[str, Json]:
        """The objects by their real identifiers; what cannot be seen is not among them.

        `key` has the district and the version, as `as_of`.
        """
        key = {**key, **sight.parameters, "owners": list(ids)}
        rows = Rows(sight, past=True)
        found = await fetched(connection, selects.single(entity, rows, [WANTED]), key)
        related = await self._related(connection, entity, rows, key)
        shown: Sequence[Row] = found
        if sight.veil is not None:
            related, shown = sight.veil.related(related), sight.veil.rows(entity, found)
        write = self._records[entity].write
        return {
            row["sourced_id"]: write(veiled, related)
            for row, veiled in zip(found, shown, strict=True)
        }

    async def _related(
        self, connection: Connection, entity: AnyEntity, rows: Rows, key: Mapping[str, object]
    ) -> Related:
        children: dict[str, list[str]] = defaultdict(list)
        if self._records[entity].has_children:
            for row in await fetched(connection, selects.children(entity, rows), key):
                children[row["parent_sourced_id"]].append(row["sourced_id"])
        if entity is not User:
            return Related(children, {}, {})
        return Related(
            children,
            await parts(connection, Role, rows, key),
            await parts(connection, UserProfile, rows, key),
        )


async def parts(
    connection: Connection, part: AnyEntity, rows: Rows, key: Mapping[str, object]
) -> dict[str, list[Json]]:
    """The parts of one kind, by their user."""
    found: dict[str, list[Json]] = defaultdict(list)
    for row in await fetched(connection, selects.parts(part, rows), key):
        found[row["user_sourced_id"]].append(row)
    return found


async def fetched(
    connection: Connection, query: selects.Query, key: Mapping[str, object]
) -> list[Json]:
    """Every row of a composed query."""
    cursor = await connection.execute(query, key)
    return await cursor.fetchall()
