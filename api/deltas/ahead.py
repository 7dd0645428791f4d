"""Versions whose events a worker has written ahead, and who is to get more of them.

A page takes a version from its package where that begins at the consumer's place and fits; whatever
has no package is computed, and is the same bytes. Whoever follows is written down, for packages are
made for those who ask and for nobody else.
"""

import hashlib
import time
from collections.abc import Callable

import structlog
from obstore.exceptions import BaseError

from api.database import Database
from api.deltas.reading import SQL, Reading, View
from api.deltas.sharing import Source
from api.uploads import NoSuchObject, Objects
from schemas.roster.people import Demographics

OFTEN = 3600.0  # seconds; somebody who asks again is not written down again before
KNOWN_MAX = 10_000

log = structlog.get_logger()


class Ahead:
    """The packages of the feed, as its pages need them."""

    def __init__(
        self, database: Database, objects: Objects, base: str, told: Callable[[Source], None]
    ) -> None:
        self._database = database
        self._objects = objects
        self._base = base
        self.told = told
        self._known: dict[tuple[int, str, bool, str], float] = {}

    async def of(self, reading: Reading, version: int, room: int) -> list[bytes] | None:
        """All events of a version; None where there is no package, or it does not fit."""
        view = reading.view
        if view.entities != view.allowed:
            return None
        cursor = await reading.connection.execute(
            SQL["package"],
            {**key_of(reading.tenant_id, view), "version": version, "base": self._base},
        )
        row = await cursor.fetchone()
        if row is None or row["entries"] > room:
            return None
        data = await self._read(row["object_key"], row["bytes"])
        if data is None or hashlib.sha256(data).digest() != row["sha256"]:
            return None
        return data.split(b"\n")[:-1]

    async def _read(self, key: str, size: int) -> bytes | None:
        """The file; None where it is not to be had, for whatever reason: there is another way."""
        try:
            return b"".join([piece async for piece in await self._objects.read(key, 0, size)])
        except NoSuchObject:
            return None  # it has just served its time
        except (BaseError, OSError) as error:
            log.warning("package_not_read", error=type(error).__name__)
            return None

    async def follow(
        self, tenant_id: int, view: View, version: int, profile: str = "", *, anew: bool = False
    ) -> None:
        """Somebody who has all up to a version wants what comes next; `anew`: write it down."""
        key = key_of(tenant_id, view)
        name = (tenant_id, view.tag, key["demographics"] is True, profile)
        now = time.monotonic()
        if not anew and self._known.get(name, -OFTEN) + OFTEN > now:
            return
        async with self._database.tenant(tenant_id) as connection:
            facts = {**key, "profile": profile, "version": version}
            await connection.execute(SQL["follow"], facts)
            await connection.execute(SQL["follows"], facts)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[name] = now


def key_of(tenant_id: int, view: View) -> dict[str, object]:
    """What names those who see the same in a statement."""
    return {
        "tenant_id": tenant_id,
        "lens": view.tag,
        "demographics": Demographics in view.allowed,
    }
