"""`rosterhub work`: the worker processes of a machine, replaced when they die.

Dramatiq's own master stops everybody when one of its workers is killed (reliability 1.3). Here a
process that dies is replaced within two seconds while the others go on, and all of them end with
their supervisor. They are copies of it (`workers.forking`), so it loads what they need and begins
no thread. Their metrics are collected in one place and served on one port, by a process of its own.
"""

# ruff: noqa: PLC0415 -- metrics are loaded once it is settled where they are collected

import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, TypeAlias

import structlog

from schemas.jobs import ProcessKind
from schemas.settings import Settings
from workers.forking import Copy, fork, settle, tune
from workers.signals import asked_to_stop, waited

LOOK = 0.2  # seconds between looks
PAUSE = 1.0  # seconds before a process that died is replaced
GRACE = 30.0  # seconds to end in good order
# Both allocators of a worker (Python's and Polars') give memory back within seconds. At once would
# cost more in page faults than reading costs: of an unchanged push of 240 MB once 737,000 of them.
FRUGAL = {
    "MALLOC_ARENA_MAX": 2,
    "MALLOC_MMAP_THRESHOLD_": 16 << 20,
    "MALLOC_TRIM_THRESHOLD_": 32 << 20,
}
FRAMES = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:5000,muzzy_decay_ms:0,narenas:2"}
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

PostKind: TypeAlias = ProcessKind | Literal["metrics"]
Program: TypeAlias = Callable[[Settings], None]

log = structlog.get_logger()


@dataclass(slots=True)
class Post:
    """A place that is always filled by a process of its kind."""

    kind: PostKind
    work: Callable[[], None]
    process: Copy | None = None
    fill_at: float = field(default_factory=time.monotonic)

    def fill(self) -> None:
        """Start a process where there is none, a moment after the last one died."""
        if self.process is None and time.monotonic() >= self.fill_at:
            self.process = fork(self.work, ("rosterhub", "work", "--process", self.kind))

    def look(self) -> int | None:
        """The exit status of a process that has died since the last look."""
        from prometheus_client.multiprocess import mark_process_dead

        if self.process is None or (status := self.process.poll()) is None:
            return None
        mark_process_dead(self.process.pid)
        self.process, self.fill_at = None, time.monotonic() + PAUSE
        return status

    def tell(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        if self.process is not None:
            self.process.send_signal(number)


def main(
    settings: Settings, load: Callable[[], None], program: Callable[[ProcessKind], Program]
) -> int:
    """Keep every post filled until SIGTERM or SIGINT; answer the exit status.

    `load` brings in what several kinds of process need, before the first is begun.
    """
    stopping = asked_to_stop()
    tune(FRUGAL)
    with tempfile.TemporaryDirectory(prefix="rosterhub-metrics-") as folder:
        os.environ.update({METRICS_FOLDER: folder, **FRAMES, **os.environ})
        load()
        settle()
        posts = staffed(settings, program)
        supervise(posts, stopping)
        stop(posts)
    return 0


def staffed(settings: Settings, program: Callable[[ProcessKind], Program]) -> list[Post]:
    """The posts of this machine."""
    kinds: list[ProcessKind] = ["service", "webhooks", "deltas"]
    kinds += ["imports"] * settings.import_processes
    kinds += ["exports"] * settings.export_processes
    posts = [Post(kind, partial(begun, program, kind, settings)) for kind in kinds]
    return [Post("metrics", partial(serve_metrics, settings)), *posts]


def begun(program: Callable[[ProcessKind], Program], kind: ProcessKind, settings: Settings) -> None:
    """The whole life of a process; what its kind alone needs it loads now."""
    program(kind)(settings)


def supervise(posts: Sequence[Post], stopping: threading.Event) -> None:
    """Fill, look, fill again."""
    from workers.metrics import RESTARTS

    while True:
        for post in posts:
            post.fill()
            status = post.look()
            if status is not None:
                log.warning("worker_died", kind=post.kind, status=status)
                RESTARTS.labels(kind=post.kind).inc()
        if stopping.wait(LOOK):
            return


def stop(posts: Sequence[Post]) -> None:
    """End every process in good order, and the stubborn without it."""
    for post in posts:
        post.tell(signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while left := [post for post in posts if post.process and post.process.poll() is None]:
        if time.monotonic() >= deadline:
            for post in left:
                post.tell(signal.SIGKILL)
        time.sleep(LOOK / 10)


def serve_metrics(settings: Settings) -> None:
    """The metrics of all processes of this machine, on a port of their own."""
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    stopping = asked_to_stop()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=os.environ[METRICS_FOLDER])
    try:
        server, _ = start_http_server(
            settings.metrics_port, addr=settings.metrics_host, registry=registry
        )
    except OSError as error:
        log.warning("metrics_not_served", port=settings.metrics_port, error=error.strerror)
    else:
        log.info("metrics_served", port=server.server_port)
    waited(stopping, math.inf)
