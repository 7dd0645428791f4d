"""What Prometheus may know: requests by route, and how far behind the work is.

Requests are counted by this process, and added up over all of them where gunicorn runs several.
Queues and runs are looked up when they are asked for; a service that is away leaves its own out.
How many rows became what is counted where they are merged, by the workers.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, get_args

import psycopg
import structlog
from falcon.asgi import Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from psycopg.rows import DictRow
from redis.exceptions import RedisError

from api.caller import HUB
from api.database import Database
from api.deltas.sharing import Source
from api.openapi.described import Stream, described
from api.rates import Outcome as Limited
from api.redis import Redis
from api.rosters.pages import Outcome
from schemas.jobs import QUEUES
from schemas.statements import load
from workers.port import NAMESPACE

SQL = load("api", "metrics.sql")
SHARED = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROUTE = ("method", "route", "status")

Sample: TypeAlias = tuple[Sequence[str], float]

log = structlog.get_logger()


class Requests:
    """Counts and times of the answers of this process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count = Counter(
            "rosterhub_http_requests", "Answered requests.", ROUTE, registry=self.registry
        )
        self._seconds = Histogram(
            "rosterhub_http_request_duration_seconds",
            "Seconds until the answer was ready to be sent.",
            ROUTE,
            buckets=BUCKETS,
            registry=self.registry,
        )
        # Looking a child up by its labels costs more than counting. There are as many as routes.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._limits = Counter(
            "rosterhub_rate_limits",
            "Requests that were refused for being too many, or passed without being counted.",
            ("outcome",),
            registry=self.registry,
        )

        self._pages = Counter(
            "rosterhub_roster_answers",
            "Reads of rosters, by where their answers came from.",
            ("source",),
            registry=self.registry,
        )
        self._deltas = Counter(
            "rosterhub_feed_answers",
            "Answers of the delta feed with events, by where these came from.",
            ("source",),
            registry=self.registry,
        )
        self._sources = {source: self._pages.labels(source) for source in get_args(Outcome)}

    def paged(self, source: Outcome) -> None:
        """A read was answered."""
        self._sources[source].inc()

    def fed(self, source: Source) -> None:
        """Somebody got events of the feed."""
        self._deltas.labels(source).inc()

    def limited(self, outcome: Limited) -> None:
        """A request met its rate limit, or no Redis to ask about it."""
        self._limits.labels(outcome).inc()

    def observe(self, method: str, route: str, status: int, seconds: float, /) -> None:
        """A request was answered."""
        name = (method, route, status)
        known = self._known.get(name)
        if known is None:
            labels = (method, route, str(status))
            known = (self._count.labels(*labels), self._seconds.labels(*labels))
            self._known[name] = known
        count, duration = known
        count.inc()
        duration.observe(seconds)

    def text(self) -> bytes:
        """The measurements of every process that shares them."""
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)


class Looked:
    """What was looked up for one scrape."""

    def __init__(self) -> None:
        self._gauges: list[GaugeMetricFamily] = []

    def collect(self) -> Iterable[Metric]:
        """What a registry asks for."""
        return self._gauges

    def add(self, name: str, text: str, labels: Sequence[str], rows: Iterable[Sample]) -> None:
        """One gauge with its samples."""
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for values, number in rows:
            gauge.add_metric(values, number)
        self._gauges.append(gauge)


class Metrics:
    """`/metrics`."""

    needs = HUB

    def __init__(self, requests: Requests, database: Database, redis: Redis) -> None:
        self._requests = requests
        self._database = database
        self._redis = redis

    @described(Stream("text/plain"))
    async def on_get(self, _req: Request, resp: Response) -> None:
        """Everything, in Prometheus' text."""
        looked = Looked()
        await self._queues(looked)
        await self._runs(looked)
        registry = CollectorRegistry()
        registry.register(looked)
        resp.content_type = CONTENT_TYPE_LATEST
        resp.data = self._requests.text() + generate_latest(registry)

    async def _queues(self, looked: Looked) -> None:
        try:
            depths = [(queue, await self._redis.llen(f"{NAMESPACE}:{queue}")) for queue in QUEUES]
        except (RedisError, OSError) as error:
            log.warning("queues_not_measured", error=type(error).__name__)
            return
        looked.add(
            "rosterhub_queue_depth",
            "Bells that no worker has heard yet.",
            ["queue"],
            [([queue], depth) for queue, depth in depths],
        )

    async def _runs(self, looked: Looked) -> None:
        try:
            async with self._database.control() as connection:
                for gauge in RUNS:
                    cursor = await connection.execute(SQL[gauge.statement])
                    rows = await cursor.fetchall()
                    looked.add(gauge.name, gauge.text, gauge.labels, samples(gauge, rows))
        except psycopg.Error as error:
            log.warning("runs_not_measured", error=type(error).__name__)


@dataclass(frozen=True, slots=True)
class RunGauge:
    """A measurement of what waits: a statement whose columns are the labels and a number."""

    statement: str
    name: str
    text: str
    labels: tuple[str, ...]


RUNS = (
    RunGauge("states", "rosterhub_runs", "Runs by state.", ("kind", "state")),
    RunGauge(
        "waiting",
        "rosterhub_oldest_waiting_run_seconds",
        "Age of the oldest run that is due and that no worker has taken.",
        ("kind",),
    ),
    RunGauge(
        "deliveries",
        "rosterhub_webhook_deliveries",
        "Deliveries of webhooks that wait or are under way.",
        ("state",),
    ),
    RunGauge(
        "undelivered",
        "rosterhub_oldest_waiting_delivery_seconds",
        "How long the oldest delivery that is due has waited.",
        (),
    ),
)


def samples(gauge: RunGauge, rows: list[DictRow]) -> list[Sample]:
    """The rows of a measurement."""
    return [([row[label] for label in gauge.labels], float(row["number"])) for row in rows]
