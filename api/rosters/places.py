"""Where a page begins: behind a key, or at an offset that is reached in a few steps.

In the order of the identifiers a page that follows another begins behind its last key, so that
whatever is imported meanwhile, each record is met once. The key comes from the cursor in
`Link: rel="next"`; who only counts `offset` on has it remembered for a quarter of an hour. Any
other offset is looked for from the nearest anchor, of which there is one for every 200 records.
"""

import asyncio
import base64
import binascii
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from weakref import WeakValueDictionary

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from api.cursors import BadCursor
from api.rosters.pages import Store

CURSOR = "cursor"
REMEMBERED = 900  # seconds
AGAIN = 60.0  # seconds after which what is known to be remembered is said again
KNOWN = 10_000  # pages of which this process knows that they are remembered
NAME = "rosterhub:place:"
STEP = 200  # records between two anchors
ANCHORED = 1000  # offsets from which anchors pay
ANCHORS = 500_000  # of all questions together; 100 bytes each
TOTALS = 10_000


@dataclass(frozen=True, slots=True)
class Start:
    """Where a page begins: `skip` records behind the key, or from it on where it is `included`."""

    skip: int = 0
    key: str | None = None
    included: bool = False


class Cursors:
    """Last keys on their way out and in: sealed, and good for the question they were given for."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESSIV(secret)

    def given(self, key: str, *question: object) -> str:
        """The cursor behind a key."""
        sealed = self._cipher.encrypt(key.encode(), bound(question))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def key(self, cursor: str, *question: object) -> str:
        """The key again; raises BadCursor for what was not given for this question."""
        try:
            text = cursor + "=" * (-len(cursor) % 4)
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            return self._cipher.decrypt(sealed, bound(question)).decode()
        except (binascii.Error, ValueError, InvalidTag) as error:
            raise BadCursor from error


def bound(question: tuple[object, ...]) -> list[bytes]:
    """What a cursor belongs to."""
    return [orjson.dumps([str(part) for part in question])]


@dataclass(frozen=True, slots=True)
class Resumed:
    """What is remembered of a client's page: its last key, and in which version that was.

    `drifted`: the page began behind a remembered key itself, not at the offset it was asked by.
    """

    key: str
    version: int
    drifted: bool


class Memory:
    """The last keys of pages that clients got by offset."""

    def __init__(self, store: Store | None, secret: bytes) -> None:
        self._store = store
        self._secret = secret
        self._own: OrderedDict[str, Resumed] = OrderedDict()
        self._said: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def name(self, *parts: object) -> str:
        """What a page is remembered by: whose, of which question, and where it ended."""
        text = orjson.dumps([str(part) for part in parts])
        return blake2b(text, key=self._secret, digest_size=16).hexdigest()

    def is_fresh(self, whose: tuple[object, ...]) -> bool:
        """Whether this very page of that client was remembered a moment ago."""
        return time.monotonic() < self._said.get(whose, 0.0)

    async def remember(self, whose: tuple[object, ...], name: str, resumed: Resumed) -> None:
        """Remember where a page ended, before its client can ask on."""
        self._said[whose] = time.monotonic() + AGAIN
        self._own[name] = resumed
        if len(self._said) > KNOWN:
            self._said.popitem(last=False)
        if len(self._own) > KNOWN:
            self._own.popitem(last=False)
        if self._store is not None:
            value = orjson.dumps([resumed.key, resumed.version, resumed.drifted])
            await self._store.put(NAME + name, value, REMEMBERED)

    async def find(self, name: str) -> Resumed | None:
        """Where the page ended that this one follows."""
        value = None if self._store is None else await self._store.get(NAME + name)
        if value is not None:
            return Resumed(*orjson.loads(value))
        return self._own.get(name)  # Redis is away, or has forgotten


class Learned:
    """What takes long to find out about a version: totals and anchors, found once by one reader."""

    def __init__(self) -> None:
        self._totals: OrderedDict[tuple[object, ...], int] = OrderedDict()
        self._anchors: OrderedDict[tuple[object, ...], list[str]] = OrderedDict()
        self._count = 0
        self._locks: WeakValueDictionary[tuple[object, ...], asyncio.Lock] = WeakValueDictionary()

    async def total(self, mark: tuple[object, ...], count: Callable[[], Awaitable[int]]) -> int:
        """How many records a question has in one version."""
        if (known := self._totals.get(mark)) is not None:
            return known
        async with self._turn(("total", *mark)):
            if (known := self._totals.get(mark)) is None:
                known = self._totals[mark] = await count()
                if len(self._totals) > TOTALS:
                    self._totals.popitem(last=False)
        return known

    async def start(
        self, mark: tuple[object, ...], offset: int, look: Callable[[], Awaitable[list[str]]]
    ) -> Start:
        """Where the record at an offset is, from the nearest anchor."""
        if (known := self._anchors.get(mark)) is None:
            async with self._turn(("anchors", *mark)):
                if (known := self._anchors.get(mark)) is None:
                    known = await look()
                    self._keep(mark, known)
        else:
            self._anchors.move_to_end(mark)
        place, rest = divmod(offset, STEP)
        if place >= len(known):
            return Start(skip=offset)
        return Start(rest, known[place], included=True)

    def _keep(self, mark: tuple[object, ...], anchors: list[str]) -> None:
        self._anchors[mark] = anchors
        self._count += len(anchors)
        while self._count > ANCHORS and len(self._anchors) > 1:
            _, dropped = self._anchors.popitem(last=False)
            self._count -= len(dropped)

    def _turn(self, name: tuple[object, ...]) -> asyncio.Lock:
        """One reader finds out, others wait; the lock goes with the last of them."""
        return self._locks.setdefault(name, asyncio.Lock())
