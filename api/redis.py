"""The way to Redis: one client per process that gives up soon, for Redis is never waited for."""

from typing import TypeAlias

import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.port import PATIENCE

Redis: TypeAlias = "redis.asyncio.Redis"


def client(url: str) -> Redis:
    """A client without patience. RESP2, for the shape of an answer depends on the protocol."""
    return redis.asyncio.Redis.from_url(
        url,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        max_connections=8,
    )
