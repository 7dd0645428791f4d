"""`rosterhub work`: the worker processes of a machine, replaced when they die.

Dramatiq's own master stops everybody when one of its workers is killed (reliability 1.3). Here a
process that dies is replaced within two seconds while the others go on, and all of them end with
their supervisor. Their metrics are collected in one place and served on one port.
"""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry, Counter, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from schemas.jobs import ProcessKind
from schemas.settings import Settings
from workers import metrics
from workers.signals import asked_to_stop

LOOK = 0.2  # seconds between looks
PAUSE = 1.0  # seconds before a process that died is replaced
GRACE = 30.0  # seconds to end in good order
# Both allocators of a worker (Python's and Polars') give memory back soon. At once would cost more
# in page faults than reading costs: an unchanged push of 240 MB took 737,000 of them, now 60,000.
FRUGAL = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:200,muzzy_decay_ms:0,narenas:2",
}
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

Command = Callable[[ProcessKind], Sequence[str]]

log = structlog.get_logger()


@dataclass(slots=True)
class Post:
    """A place that is always filled by a process of its kind."""

    kind: ProcessKind
    command: Sequence[str]
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    fill_at: float = field(default_factory=time.monotonic)

    def fill(self) -> None:
        """Start a process where there is none, a moment after the last one died."""
        if self.process is None and time.monotonic() >= self.fill_at:
            self.process = subprocess.Popen(self.command, env=self.env, start_new_session=True)  # noqa: S603  # our own command

    def look(self) -> int | None:
        """The exit status of a process that has died since the last look."""
        if self.process is None or (status := self.process.poll()) is None:
            return None
        mark_process_dead(self.process.pid)
        self.process, self.fill_at = None, time.monotonic() + PAUSE
        return status

    def tell(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def main(settings: Settings, command: Command) -> int:
    """Keep every post filled until SIGTERM or SIGINT; answer the exit status."""
    stopping = asked_to_stop()
    with tempfile.TemporaryDirectory(prefix="rosterhub-metrics-") as folder:
        os.environ[METRICS_FOLDER] = folder
        posts = staffed(settings, command, FRUGAL | {**os.environ})
        registry = CollectorRegistry()
        serve_metrics(settings, folder, registry)
        supervise(posts, stopping, metrics.restarts(registry))
        stop(posts)
    return 0


def staffed(settings: Settings, command: Command, env: Mapping[str, str]) -> list[Post]:
    """The posts of this machine."""
    kinds: list[ProcessKind] = ["service", "webhooks", "deltas"]
    kinds += ["imports"] * settings.import_processes
    kinds += ["exports"] * settings.export_processes
    return [Post(kind, command(kind), env) for kind in kinds]


def supervise(posts: Sequence[Post], stopping: threading.Event, restarts: Counter) -> None:
    """Fill, look, fill again."""
    while True:
        for post in posts:
            post.fill()
            status = post.look()
            if status is not None:
                log.warning("worker_died", kind=post.kind, status=status)
                restarts.labels(kind=post.kind).inc()
        if stopping.wait(LOOK):
            return


def stop(posts: Sequence[Post]) -> None:
    """End every process in good order, and the stubborn without it."""
    for post in posts:
        post.tell(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    for post in posts:
        if post.process is not None:
            try:
                post.process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                post.process.kill()
                post.process.wait()


def serve_metrics(settings: Settings, folder: str, registry: CollectorRegistry) -> None:
    """The metrics of all processes of this machine, on a port of their own."""
    MultiProcessCollector(registry, path=str(Path(folder)))
    try:
        server, _ = start_http_server(
            settings.metrics_port, addr=settings.metrics_host, registry=registry
        )
    except OSError as error:
        log.warning("metrics_not_served", port=settings.metrics_port, error=error.strerror)
    else:
        log.info("metrics_served", port=server.server_port)
