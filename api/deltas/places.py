"""Where a consumer stands in the feed, and the cursor that says so.

A cursor is encrypted and authenticated with a key of the hub, for identifiers in it may be such as
the client knows only by pseudonyms. It opens for the client that it was given to and nobody else.
"""

import base64
import binascii
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from api.caller import Caller
from api.cursors import BadCursor
from schemas.secrets import Vault

Mode: TypeAlias = Literal["all", "log", "lens"]
"""`all`: every record of one version, `log`: version by version, `lens`: from one lens to
another."""

Phase: TypeAlias = Literal[0, 1, 2]
COMING, GOING, MARKER = 0, 1, 2
"""Within a version: what is there, then what is not any more, then the marker."""

PURPOSE = "deltas.cursor"


@dataclass(frozen=True, slots=True)
class Place:
    """Behind `sourced_id` in the part of a version that `phase` and `rank` name; None: before it.

    `since` and `partly`, of a change of lenses: the last version that was read to its end with the
    lens of revision `former`, and the one that was begun.
    """

    mode: Mode
    version: int
    phase: int = COMING
    rank: int = 0
    depth: int = 0
    sourced_id: str | None = None
    since: int = 0
    partly: int = 0
    former: int = 0

    @property
    def begun(self) -> bool:
        """Whether some of the version was read."""
        return (self.phase, self.rank, self.sourced_id) != (COMING, 0, None)

    def behind(self, sourced_id: str, depth: int = 0) -> "Place":
        """Further on in the same part."""
        return replace(self, sourced_id=sourced_id, depth=depth)

    def part(self, phase: int, rank: int) -> "Place":
        """The beginning of another part of the same version."""
        return replace(self, phase=phase, rank=rank, sourced_id=None, depth=0)


def begin(version: int) -> Place:
    """Before the first event of a version."""
    return Place("log", version)


@dataclass(frozen=True, slots=True)
class Stand:
    """A place, with the epoch of the district and the revision of the lens it belongs to."""

    place: Place
    epoch: str
    revision: int

    @property
    def of_anybody(self) -> "Stand":
        """The same, whichever revision of a lens led there."""
        return replace(self, revision=0)


class Cursors:
    """Seals places into cursors, and opens them."""

    def __init__(self, vault: Vault) -> None:
        self._keys = [AESSIV(key) for key in vault.derive(PURPOSE)]

    def sealed(self, caller: Caller, stand: Stand) -> str:
        """The cursor for a place."""
        at = stand.place
        said = [
            *(stand.epoch, stand.revision, at.mode, at.version, at.phase, at.rank, at.depth),
            *(at.sourced_id, at.since, at.partly, at.former),
        ]
        sealed = self._keys[0].encrypt(orjson.dumps(said), whose(caller))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def opened(self, caller: Caller, cursor: str) -> Stand:
        """The place again; raises BadCursor for what was not given to this client."""
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise BadCursor from error
        for key in self._keys:
            try:
                epoch, revision, *place = orjson.loads(key.decrypt(sealed, whose(caller)))
            except (InvalidTag, ValueError):
                continue
            return Stand(placed(place), epoch, revision)
        raise BadCursor


def placed(said: list[Any]) -> Place:
    """What the hub itself has sealed."""
    mode, version, phase, rank, depth, sourced_id, since, partly, former = said
    return Place(mode, version, phase, rank, depth, sourced_id, since, partly, former)


def whose(caller: Caller) -> list[bytes]:
    """Whom a cursor is for."""
    return [str(caller.tenant).encode(), (caller.client or "").encode()]
