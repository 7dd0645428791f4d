"""The events of a version as the feed tells them, for packages that are made ahead.

The gateway knows what an event looks like, and workers may not know the gateway; who puts an
installation together knows both. So packages and answers come from the same code, and are the same
bytes. That code awaits its rows; here they are fetched in the transaction that prepares the
version, before anybody else can see it, so it never has to wait and needs no event loop.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

import psycopg
from psycopg.rows import DictRow, dict_row

from api.cursors import LIMIT_MAX
from api.database import Connection as Awaited
from api.deltas.objects import Objects
from api.deltas.places import begin
from api.deltas.reading import Reading, View, allowed
from api.rosters.lenses import seen_through
from api.rosters.sight import EVERYTHING, Sight
from api.rosters.veil import Veil
from pipeline.database import Connection
from pipeline.deltas import View as Prepared
from pipeline.exporting import Sink

T = TypeVar("T")


class FeedLines:
    """Writes them (`pipeline.packages.Lines`), some hundred at a time."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._objects = Objects(base)

    def __call__(
        self,
        db: Connection,
        tenant_id: int,
        view: Prepared,
        version: int,
        write: Sink,
        *,
        demographics: bool,
    ) -> int:
        """Answer how many they are, the marker among them."""
        seen = allowed(view.lens, demographics=demographics)
        asked = View(view.tag, view.lens, sight_of(view), seen, seen)
        # All that is ever asked of it is what `Here` has.
        here = cast("Awaited", Here(db))
        # No version stands for sure: an import may commit between two statements.
        reading = Reading(here, tenant_id, self._objects, asked, version, standing=0)
        events, place = 0, begin(version)
        while place.version == version:
            lines, place = at_once(reading.page(place, LIMIT_MAX))
            write(b"".join(line + b"\n" for line in lines))
            events += len(lines)
        return events


def sight_of(view: Prepared) -> Sight:
    """What these clients see, as the gateway says it."""
    if view.lens is None:
        return EVERYTHING
    if view.names is None or not view.lens.pseudonyms:
        return seen_through(view.lens)
    return seen_through(view.lens, Veil(view.names), view.tag)


class Here:
    """A connection whose rows need not be waited for."""

    def __init__(self, db: Connection) -> None:
        self._db = db

    async def execute(
        self,
        query: Any,  # noqa: ANN401  # as psycopg
        parameters: Any = None,  # noqa: ANN401  # same
        *,
        prepare: bool | None = None,
    ) -> "Rows":
        """The rows of a query."""
        cursor = self._db.cursor(row_factory=dict_row)
        return Rows(cursor.execute(query, parameters, prepare=prepare))


class Rows:
    """The rows of a query, all of which are here."""

    def __init__(self, cursor: psycopg.Cursor[DictRow]) -> None:
        self._cursor = cursor

    async def fetchone(self) -> DictRow | None:
        """The next one."""
        return self._cursor.fetchone()

    async def fetchall(self) -> list[DictRow]:
        """All that are left."""
        return self._cursor.fetchall()


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError(work)  # it has waited for something else than rows
