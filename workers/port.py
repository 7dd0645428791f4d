"""The one door between gateway and workers: ring a bell, and never wait long for it.

The row in PostgreSQL is the promise; a bell that nobody hears costs latency only, because the
reconciler rings again. So a send has half a second, is not retried, and its failure is logged and
not raised (reliability 1.5: a hung Redis otherwise blocks a caller for a minute).
"""

from typing import Protocol

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from schemas.jobs import QUEUES, Job

NAMESPACE = "{rosterhub}:dramatiq"
PATIENCE = 0.5  # seconds

log = structlog.get_logger()


class Ring(Protocol):
    """Tell the workers that there is something to do."""

    def __call__(self, job: Job, /) -> bool:
        """Whether the bell was rung."""


def impatient(redis_url: str) -> Redis:
    """A client that gives up after half a second and does not try again."""
    return Redis.from_url(
        redis_url,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
    )


def ring_on(redis_url: str) -> Ring:
    """The bell, on a Redis server. A job is its own message: no actor needs importing."""
    broker = RedisBroker(client=impatient(redis_url), namespace=NAMESPACE, middleware=[])
    for queue in QUEUES:
        broker.declare_queue(queue)

    def ring(job: Job, /) -> bool:
        try:
            broker.enqueue(message(job))
        except (RedisError, dramatiq.errors.BrokerError) as error:
            log.warning("bell_not_rung", kind=job.kind, error=type(error).__name__)
            return False
        return True

    return ring


def message(job: Job) -> "dramatiq.Message[None]":
    """The job as Dramatiq carries it: ids only."""
    return dramatiq.Message(
        queue_name=job.queue,
        actor_name=job.kind,
        args=(),
        kwargs=job.model_dump(mode="json"),
        options={},
    )
