"""Who listens to a run: its Redis stream and that of its district, the metrics, the log.

An event is told after the fact and may be lost: Redis being away slows no run down. After a
failure the stream is left alone for some seconds, so that an outage costs one timeout, not one per
event.
"""

import time
from collections.abc import Callable
from typing import TypeAlias

import structlog
from redis import Redis
from redis.exceptions import RedisError

from schemas.events import (
    EVENT,
    STREAM_LENGTH,
    STREAM_SECONDS,
    Emit,
    Event,
    ExportEnded,
    RunEnded,
    RunStarted,
    stream,
)
from schemas.jobs import SendWebhooks
from schemas.webhooks import STREAM_LENGTH as DISTRICT_LENGTH
from schemas.webhooks import stream as district_stream
from workers import metrics
from workers.port import Ring, impatient

PAUSE = 5.0  # seconds

OfDistrict: TypeAlias = Callable[[int], Emit]
"""Who listens to the runs of one district."""

log = structlog.get_logger()


def all_of(*listeners: Emit) -> Emit:
    """One listener that tells several."""

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return emit


def to_stream(redis_url: str) -> Emit:
    """Append to the run's stream, which expires a day after its last event."""
    client = impatient(redis_url)
    silent_until = 0.0

    def emit(event: Event) -> None:
        nonlocal silent_until
        if time.monotonic() < silent_until and not isinstance(event, RunEnded | ExportEnded):
            return
        try:
            append(client, stream(event.run_id), event, length=STREAM_LENGTH)
        except RedisError as error:
            silent_until = time.monotonic() + PAUSE
            log.warning("event_not_told", kind=event.kind, error=type(error).__name__)

    return emit


def district_on(redis_url: str, ring: Ring) -> OfDistrict:
    """Append to the stream of a district; where a run begins or ends, ring for its webhooks.

    What is told there was committed before, so whoever hears it finds the events in PostgreSQL.
    """
    client = impatient(redis_url)
    silent_until = 0.0

    def of_district(tenant_id: int) -> Emit:
        def emit(event: Event) -> None:
            nonlocal silent_until
            if time.monotonic() < silent_until:
                return
            if isinstance(event, RunStarted | RunEnded | ExportEnded):
                ring(SendWebhooks(tenant_id=tenant_id))
            try:
                append(client, district_stream(tenant_id), event, length=DISTRICT_LENGTH)
            except RedisError as error:
                silent_until = time.monotonic() + PAUSE
                log.warning("district_not_told", kind=event.kind, error=type(error).__name__)

        return emit

    return of_district


def append(client: Redis, name: str, event: Event, *, length: int) -> None:
    """One more event at the end of a stream, which is kept for a day after its last one."""
    with client.pipeline(transaction=False) as pipe:
        fields = {"event": EVENT.dump_json(event)}
        pipe.xadd(name, fields, maxlen=length, approximate=True)  # type: ignore[arg-type]  # a dict of bytes is one
        pipe.expire(name, STREAM_SECONDS)
        pipe.execute()


def to_metrics(event: Event) -> None:
    """Count what ended."""
    if isinstance(event, RunEnded):
        metrics.RUNS.labels(kind="import", state=event.state).inc()
        for file, counts in event.counts.items():
            for outcome in metrics.OUTCOMES:
                metrics.ROWS.labels(file=file, outcome=outcome).inc(counts.get(outcome, 0))
    elif isinstance(event, ExportEnded):
        metrics.RUNS.labels(kind="export", state=event.state).inc()
        for file, rows in event.counts.items():
            metrics.EXPORTED.labels(file=file).inc(rows)


def to_log(event: Event) -> None:
    """One line per step; rows are progress, not news."""
    match event.kind:
        case "file_advanced" | "export_advanced":
            return
        case "export_ended":
            log.info(
                event.kind,
                run_id=str(event.run_id),
                state=event.state,
                version=event.version,
                bytes=event.bytes,
            )
        case "run_ended":
            log.info(
                event.kind,
                run_id=str(event.run_id),
                state=event.state,
                version=event.version,
                findings=event.findings,
            )
        case _:
            log.info(event.kind, **event.model_dump(mode="json", exclude={"kind"}))
