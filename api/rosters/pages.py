"""Answers that were made once, and stand as long as the version of the roster does.

An answer is known by its tag: the district, its version, what the caller sees, and the address. So
a commit leaves the old ones unasked for, and nothing has to be told to forget them. The version is
looked up with the credential of each request, after it came: nobody who was told of a version is
given an older one. Who asks while an answer is being made waits for that one.

Answers are kept in this process, up to a number of bytes, and those of an older version are dropped
with the first look at a newer one. What is asked for again goes to Redis, for other processes, for
a minute at most: sealed under a key that follows from the configured secrets, bounded in bytes, and
never waited for longer than a tenth of a second. Redis may be away.
"""

import asyncio
import gzip
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from redis.exceptions import RedisError

from api.coalesce import Coalesced
from api.redis import Redis
from api.rosters.laid import Laid

MIB = 1 << 20
LIVES = 60  # seconds in Redis
DEADLINE = 0.1  # seconds for an answer of Redis
PAUSE = 1.0  # seconds without Redis after it did not answer
SHARED = 32 * MIB  # what a process puts into Redis in a minute
SHARED_EACH = MIB
EIGHTH = 8  # no answer takes more of the room
PACKED_FROM = 1400  # bytes; below, an answer is one packet either way
LEVEL = 1  # of gzip: a fifth of the bytes for a hundredth of a second per megabyte
NAME = "rosterhub:page:"
SEPARATOR = "\n"

Outcome: TypeAlias = Literal["unchanged", "process", "redis", "made"]
Tell: TypeAlias = Callable[[Outcome], None]
Put: TypeAlias = tuple[str, bytes, int]
Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Kept:
    """An answer: of which version, how many records it has, and the key of the last one.

    `last` is None where no page follows, or the order is another than that of the identifiers. A
    large answer is `laid` down and has no `body`; it is sent and not kept.
    """

    tag: str
    tenant_id: int
    version: int
    records: int
    headers: Headers
    body: bytes
    last: str | None = None
    laid: Laid | None = None
    asked: int = 0
    _packed: bytes | None = field(default=None, init=False)

    def pack(self) -> bytes | None:
        """The same bytes compressed, once; None where it does not pay."""
        if len(self.body) < PACKED_FROM:
            return None
        if self._packed is None:
            self._packed = gzip.compress(self.body, LEVEL, mtime=0)
        return self._packed

    def as_sent(self, *, packed: bool) -> bytes | None:
        """The bytes of an answer that was sent like this before; None: not by this one."""
        return self._packed if packed else self.body

    @property
    def size(self) -> int:
        """The bytes that are kept."""
        return len(self.body) + len(self._packed or b"") + OVERHEAD

    def dump(self) -> bytes:
        """The answer as bytes."""
        head = orjson.dumps([self.version, self.records, self.headers, self.last])
        return len(head).to_bytes(4, "big") + head + self.body


@dataclass(frozen=True, slots=True)
class Repeatable:
    """An answer of which nothing but its tag has to be known to give it again.

    `packed`: as which of its bytes; None: none, for the client has them.
    """

    tag: str
    packed: bool | None


OVERHEAD = 1024  # bytes of an answer beside its body


def loaded(tag: str, tenant_id: int, dumped: bytes) -> Kept:
    """The answer that was dumped."""
    end = 4 + int.from_bytes(dumped[:4], "big")
    version, records, headers, last = orjson.loads(dumped[4:end])
    headers = tuple((name, value) for name, value in headers)
    return Kept(tag, tenant_id, version, records, headers, dumped[end:], last)


class Store:
    """Small sealed values in Redis, all that wait in one round trip.

    A Redis that is away is asked again a second later.
    """

    def __init__(self, redis: Redis, secret: bytes) -> None:
        self._redis = redis
        self._cipher = AESSIV(secret)
        self._away_until = 0.0
        self._getting = Coalesced(self._get)
        self._putting = Coalesced(self._put)

    async def get(self, name: str) -> bytes | None:
        """The value of that name."""
        sealed = None if self._is_away else await self._getting.get(name)
        if not sealed:
            return None
        try:
            return self._cipher.decrypt(sealed, [name.encode()])
        except InvalidTag:
            return None

    async def put(self, name: str, value: bytes, lives: int) -> None:
        """Keep the value for so many seconds."""
        if not self._is_away:
            sealed = self._cipher.encrypt(value, [name.encode()])
            await self._putting.get((name, sealed, lives))

    @property
    def _is_away(self) -> bool:
        return time.monotonic() < self._away_until

    async def _get(self, asked: Mapping[str, int]) -> dict[str, bytes]:
        names = [*asked]
        found = await self._answered(self._redis.mget(names))
        return {name: value for name, value in zip(names, found or [], strict=False) if value}

    async def _put(self, asked: Mapping[Put, int]) -> dict[Put, None]:
        pipeline = self._redis.pipeline(transaction=False)
        for name, sealed, lives in asked:
            pipeline.set(name, sealed, ex=lives)
        await self._answered(pipeline.execute())
        return {}

    async def _answered(self, answer: Awaitable[list[Any]]) -> list[Any] | None:
        """What Redis says; None: it is away."""
        try:
            async with asyncio.timeout(DEADLINE):
                return await answer
        except (RedisError, OSError):  # being too late is one of the latter
            self._away_until = time.monotonic() + PAUSE
            return None


class Pages:
    """The answers of one process, and the way to those of others."""

    def __init__(
        self,
        room: int = 0,
        store: Store | None = None,
        secret: bytes = b"",
        tell: Tell | None = None,
    ) -> None:
        self._room = room
        self._store = store
        self._secret = secret
        self._tell = tell
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0
        self._newest: dict[int, int] = {}
        self._making: dict[str, asyncio.Task[Kept]] = {}
        self._sharing: set[asyncio.Task[None]] = set()
        self._shared = (0.0, 0)  # since when, and how many bytes
        self._forgetting: list[Callable[[], None]] = []

    def when_newer(self, forget: Callable[[], None]) -> None:
        """Have this done whenever what was answered of older versions is let go of."""
        self._forgetting.append(forget)

    def tag(self, *parts: object) -> str:
        """The name of an answer, which nobody else can make."""
        text = SEPARATOR.join(map(str, parts))
        return blake2b(text.encode(), key=self._secret, digest_size=16).hexdigest()

    def told(self, outcome: Outcome) -> None:
        """Count where an answer came from."""
        if self._tell is not None:
            self._tell(outcome)

    def known(self, tag: str) -> Kept | None:
        """The answer, if this process has it."""
        kept = self._kept.get(tag)
        if kept is None:
            return None
        self._kept.move_to_end(tag)
        kept.asked += 1
        if kept.asked == 1:
            self._share(kept)
        return kept

    async def get(
        self, tag: str, tenant_id: int, version: int, make: Callable[[], Awaitable[Kept]]
    ) -> Kept:
        """The answer from wherever it is, or made now: of this version or a later one."""
        if (kept := self.known(tag)) is not None:
            self.told("process")
            return kept
        self._forget(tenant_id, version)
        making = self._making.get(tag)
        if making is None:
            making = self._making[tag] = asyncio.create_task(self._find(tag, tenant_id, make))
            making.add_done_callback(lambda _: self._making.pop(tag, None))
        else:
            self.told("process")
        return await asyncio.shield(making)  # whoever leaves ends it for nobody else

    async def _find(self, tag: str, tenant_id: int, make: Callable[[], Awaitable[Kept]]) -> Kept:
        if self._store is not None:
            dumped = await self._store.get(NAME + tag)
            if dumped is not None:
                self.told("redis")
                return self._keep(loaded(tag, tenant_id, dumped))
        self.told("made")
        return self._keep(await make())

    def _keep(self, kept: Kept) -> Kept:
        """Keep an answer under its own tag, which is a later one than was asked for at times."""
        self._forget(kept.tenant_id, kept.version)
        fits = kept.laid is None and kept.size * EIGHTH <= self._room
        if not fits or kept.version < self._newest[kept.tenant_id]:
            return kept
        self._drop(kept.tag)
        self._kept[kept.tag] = kept
        # With its compressed form, which may come later.
        self._bytes += kept.size + len(kept.body) // 4
        while self._bytes > self._room:
            self._drop(next(iter(self._kept)))
        return kept

    def _drop(self, tag: str) -> None:
        kept = self._kept.pop(tag, None)
        if kept is not None:
            self._bytes -= OVERHEAD + len(kept.body) + len(kept.body) // 4

    def _forget(self, tenant_id: int, version: int) -> None:
        """Let go of what was answered of older versions: after an erasure nothing of it stays."""
        if version <= self._newest.get(tenant_id, -1):
            return
        self._newest[tenant_id] = version
        for tag in [
            tag
            for tag, kept in self._kept.items()
            if kept.tenant_id == tenant_id and kept.version < version
        ]:
            self._drop(tag)
        for forget in self._forgetting:
            forget()

    def _share(self, kept: Kept) -> None:
        """Put what is asked for again where other processes find it, behind the answer."""
        size, (since, spent) = len(kept.body), self._shared
        if self._store is None or size > SHARED_EACH:
            return
        if time.monotonic() - since > LIVES:
            since, spent = time.monotonic(), 0
        if spent + size > SHARED:
            return
        self._shared = (since, spent + size)
        task = asyncio.create_task(self._store.put(NAME + kept.tag, kept.dump(), LIVES))
        self._sharing.add(task)
        task.add_done_callback(self._sharing.discard)
