"""Tell the followers of a run what the gateway did to it.

Best effort, behind the answer: who follows a run also looks at its row (`api/progress.py`).
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog
from redis.exceptions import RedisError

from api.redis import Redis
from schemas.events import EVENT, STREAM_LENGTH, STREAM_SECONDS, Event, stream

Tell: TypeAlias = Callable[[Event], Awaitable[None]]

log = structlog.get_logger()


def teller(redis: Redis) -> Tell:
    """Append to the run's stream, as the workers do."""

    async def tell(event: Event) -> None:
        name = stream(event.run_id)
        try:
            async with redis.pipeline(transaction=False) as pipe:
                fields = {"event": EVENT.dump_json(event)}
                pipe.xadd(name, fields, maxlen=STREAM_LENGTH, approximate=True)  # type: ignore[arg-type]  # a dict of bytes is one
                pipe.expire(name, STREAM_SECONDS)
                await pipe.execute()
        except (RedisError, OSError) as error:
            log.warning("event_not_told", kind=event.kind, error=type(error).__name__)

    return tell
