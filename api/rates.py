"""How often a client may ask: one sliding window of a minute in Redis for all gateway processes.

A process takes requests out of the window in advance: a hundredth of the limit at most, for a
second at most, and fewer the fewer are left. So a request with one at hand waits for nobody, and
the limit holds. No minute has more than it says (what was taken in one second may be used in the
next), and each other process can keep a hundredth from being used. What was not used goes back. Who
is refused is refused without asking again until there can be room, for a second at most.

Without Redis nobody is kept from reading: such requests pass uncounted, and a metric says so.
Writes are counted by each process for itself then, so that a flood stays bounded and no import
depends on Redis. Whether it is back is asked once a second, and no request waits for that: a Redis
that hangs costs a fifth of a second, once.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import structlog
from falcon.asgi import Request, Response
from redis.exceptions import RedisError

from api.coalesce import Coalesced
from api.redis import Redis
from schemas.errors import RateLimited

WINDOW = 60  # seconds; rate.lua has the same
SHARE = 100  # the hundredth of a limit that a process takes in advance
HOLD = 1.0  # seconds for which what was taken is good, and for which an answer of Redis counts
DEADLINE = 0.2  # seconds for an answer; later, and it counts as away
KEY = "rosterhub:rate:"
SCRIPT = (resources.files("api") / "rate.lua").read_text(encoding="utf-8")
READS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")

Outcome: TypeAlias = Literal["refused", "unchecked"]

log = structlog.get_logger()


class Wanted(NamedTuple):
    """Whose requests are counted together, and how many of them a minute holds."""

    holder: str
    limit: int


class Left(NamedTuple):
    """What remains of a limit after a request; `reset` is when more of it will."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The same, as it is told."""
        return tuple(zip(HEADERS, map(str, self[1:]), strict=True))


@dataclass(slots=True)
class Lease:
    """Requests that this process has taken out of a window."""

    limit: int
    until: float
    left: int = 0
    beyond: int = 0  # what the window held when they were taken
    reset: int = 0
    second: int = 0
    is_closed: bool = False  # there were none to take
    is_open: bool = False  # Redis did not answer

    def answers(self, limit: int, wanted: int) -> bool:
        """Whether so many requests can be decided by this."""
        is_good = self.limit == limit and time.monotonic() < self.until
        return is_good and (self.left >= wanted or self.is_closed or self.is_open)


class Rates:
    """The windows as one process sees them."""

    def __init__(self, redis: Redis, tell: Callable[[Outcome], None]) -> None:
        self._redis = redis
        self._tell = tell
        self._leases: dict[str, Lease] = {}
        self._own: dict[str, dict[int, int]] = defaultdict(dict)
        self._taking = Coalesced(self._take)
        self._away = False
        self._asking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def spend(self, req: Request, resp: Response, wanted: Wanted) -> None:
        """Count the request, tell what is left, or refuse it."""
        left = await self.count(req.method, wanted)
        if left is None:
            return
        resp.set_headers(left.headers)
        if not left.allowed:
            self._tell("refused")
            raise RateLimited(left.reset)

    async def count(self, method: str, wanted: Wanted) -> Left | None:
        """Count a request; None: it passes uncounted, and that is told."""
        lease = self._leases.get(wanted.holder)
        while lease is None or not lease.answers(wanted.limit, 1):
            lease = await self._taking.get(wanted)
        if not lease.is_open:
            return use(lease)
        if method not in READS:
            return self._alone(wanted)
        self._tell("unchecked")
        return None

    async def _take(self, asked: Mapping[Wanted, int]) -> dict[Wanted, Lease]:
        """A lease for everybody who waits, in one round trip."""
        found = {wanted: lease for wanted in asked if (lease := self._kept(wanted, asked[wanted]))}
        missing = {wanted: asked[wanted] for wanted in asked if wanted not in found}
        if not missing:
            return found
        taken = None if self._away else await self._granted(missing)
        if taken is None:
            self._listen()
            until = time.monotonic() + HOLD
            taken = {wanted: Lease(wanted.limit, until, is_open=True) for wanted in missing}
        self._leases |= {wanted.holder: lease for wanted, lease in taken.items()}
        return found | taken

    def _kept(self, wanted: Wanted, waiting: int) -> Lease | None:
        """The lease that somebody else has taken meanwhile, if it is enough."""
        lease = self._leases.get(wanted.holder)
        return lease if lease and lease.answers(wanted.limit, waiting) else None

    async def _granted(self, missing: Mapping[Wanted, int]) -> dict[Wanted, Lease] | None:
        """What Redis grants; None: it does not answer."""
        try:
            async with asyncio.timeout(DEADLINE):
                answers = await self._ask(missing)
        except (RedisError, OSError) as error:  # being too late is one of the latter
            self._say(away=True, error=type(error).__name__)
            return None
        return {
            wanted: lease_of(wanted.limit, answer)
            for wanted, answer in zip(missing, answers, strict=True)
        }

    async def _ask(self, missing: Mapping[Wanted, int]) -> list[list[int]]:
        pipeline = self._redis.pipeline(transaction=False)
        for (holder, limit), waiting in missing.items():
            old = self._leases.pop(holder, None)  # nobody may use what is given back
            second, unused = (old.second, old.left) if old else (0, 0)
            arguments = (limit, waiting, limit // SHARE, second, unused)
            pipeline.eval(SCRIPT, 1, KEY + holder, *map(str, arguments))
        return await cast("Awaitable[list[Any]]", pipeline.execute())

    def _listen(self) -> None:
        """Ask whether Redis is back, beside the requests."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        try:
            await self._redis.ping()
        except (RedisError, OSError):
            return
        self._say(away=False)
        self._leases = {who: lease for who, lease in self._leases.items() if not lease.is_open}

    def _alone(self, wanted: Wanted) -> Left:
        """The same window, counted by this process for itself."""
        now = int(time.monotonic())
        buckets = self._own[wanted.holder]
        for second in [second for second in buckets if second < now - WINDOW]:
            del buckets[second]
        left = wanted.limit - sum(buckets.values())
        if left > 0:
            buckets[now] = buckets.get(now, 0) + 1
        reset = min(buckets) + WINDOW + 1 - now
        return Left(left > 0, wanted.limit, max(0, left - 1), reset)

    def _say(self, *, away: bool, **facts: str) -> None:
        """Once when Redis goes, once when it is back."""
        if away != self._away:
            self._away = away
            log.warning("rates_without_redis" if away else "rates_with_redis", **facts)


def use(lease: Lease) -> Left:
    """One request of a lease that answers."""
    if lease.left < 1:
        return Left(allowed=False, limit=lease.limit, remaining=0, reset=lease.reset)
    lease.left -= 1
    return Left(
        allowed=True, limit=lease.limit, remaining=lease.beyond + lease.left, reset=lease.reset
    )


def lease_of(limit: int, answer: list[int]) -> Lease:
    """What Redis has granted."""
    granted, beyond, reset, second = answer
    until = time.monotonic() + HOLD
    return Lease(limit, until, granted, beyond, reset, second, is_closed=granted == 0)
