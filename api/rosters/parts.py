"""What belongs to the records of a page: asked for set-wise, fetched when it is needed.

Whoever asks in a pipeline may fetch behind it, when the connection is somebody else's by then.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from psycopg import AsyncCursor
from psycopg.rows import DictRow

from schemas.rest.records import Related
from schemas.roster.people import Role

Cursor: TypeAlias = AsyncCursor[DictRow]


@dataclass(frozen=True, slots=True)
class Awaited:
    """Children, roles and profiles that were asked for; None: they are not wanted."""

    children: Cursor | None = None
    roles: Cursor | None = None
    profiles: Cursor | None = None

    async def fetched(self) -> Related:
        """What came of it."""
        children = {
            parent: [row["sourced_id"] for row in rows]
            for parent, rows in (await by(self.children, "parent_sourced_id")).items()
        }
        return Related(children, await by(self.roles, USER), await by(self.profiles, USER))


USER = Role.user_sourced_id.name


async def by(cursor: Cursor | None, column: str) -> dict[str, list[dict[str, Any]]]:
    """The rows by the record that they belong to."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in await cursor.fetchall() if cursor else ():
        found[row[column]].append(row)
    return found


def array_of(texts: Iterable[str]) -> str:
    """Texts as PostgreSQL writes an array of them, for `::text[]`.

    The driver looks at each of them several times: a quarter of a millisecond for a page.
    """
    items = [text.replace("\\", r"\\").replace('"', r"\"") for text in texts]
    return '{"' + '","'.join(items) + '"}' if items else "{}"
