"""Bells as a process hears them: all actors of its queues are the same ear.

Dramatiq delivers them, and its own retries and limits stay out: what a bell says does not matter,
for whoever hears one asks PostgreSQL.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq
import structlog
from dramatiq.brokers.redis import RedisBroker

from schemas.jobs import JOBS, PROCESSES, ProcessKind
from workers.port import NAMESPACE, impatient

HEARING = 100  # milliseconds between two looks for a bell; the default would cost a second

log = structlog.get_logger()


@contextmanager
def heard(redis_url: str, kind: ProcessKind, ring: Callable[..., Any]) -> Iterator[None]:
    """Call `ring` for every bell of this kind of process, from a thread of its own."""
    queues = PROCESSES[kind]
    broker = broker_on(redis_url, ring, queues)
    bells = dramatiq.Worker(broker, queues=set(queues), worker_threads=1, worker_timeout=HEARING)
    bells.start()
    log.info("worker_started", kind=kind, queues=queues)
    yield
    log.info("worker_stopped", kind=kind)
    bells.stop(timeout=1000)


def broker_on(redis_url: str, ring: Callable[..., Any], queues: tuple[str, ...]) -> RedisBroker:
    """A broker whose actors are all the same bell."""
    broker = RedisBroker(client=impatient(redis_url), namespace=NAMESPACE, middleware=[])
    dramatiq.set_broker(broker)
    for job in JOBS:
        if job.queue in queues:
            dramatiq.Actor(
                ring,
                broker=broker,
                actor_name=job.kind,
                queue_name=job.queue,
                priority=0,
                options={},
            )
    return broker
