"""How gunicorn runs the gateway. Every number comes from the settings or says why it is here.

Open event streams are ended before a process leaves: gunicorn waits for its connections, and would
wait for theirs until it kills them (30 s of refused requests at every restart, measured).
"""

# ruff: noqa: N999 -- the name by which gunicorn looks for it

import gc
import os
import shutil
import tempfile
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]  # it ships no types

from deploy import logs
from deploy.gateway_process import Process
from schemas.settings import Settings

SHARED = "PROMETHEUS_MULTIPROC_DIR"
COLLECT = (
    50_000,
    20,
    100,
)  # new objects until a collection, and how seldom one looks at older ones

settings = Settings.from_env()


class Lines(Logger):  # type: ignore[misc]  # the untyped class above
    """gunicorn's own words, in the same lines as everybody's."""

    def setup(self, cfg: Any) -> None:  # noqa: ANN401 -- gunicorn ships no types
        """Leave the handlers to the root logger."""
        super().setup(cfg)
        self.error_log.propagate = True
        logs.configure(settings.log_format, settings.log_level)


bind = [f"{settings.host}:{settings.port}"]
workers = settings.gateway_processes
worker_class = Process
worker_connections = 10_000  # most of them wait for something new, and cost little
# All of them may come back at once, after a restart; who finds the queue full tries again seconds
# later (of 5,000 together 2,300 with the usual 2,048, 800 with 4,096). The system allows as many as
# its net.core.somaxconn says.
backlog = worker_connections
logger_class = Lines
errorlog = None  # not one of its own
accesslog = None  # the gateway writes its own, without queries and personal values
proc_name = "rosterhub-gateway"
control_socket_disable = True  # nobody uses it, and it would lie in the home folder

timeout = 60  # seconds without a heartbeat, and how long a silent upload may pause
graceful_timeout = 30  # for an upload that is on its way when the process should leave
keepalive = 5  # seconds; longer than a proxy pauses between two requests
# A leak, should there be one, ends with its process. That one answers thousands of requests in a
# second from memory, and still lives for minutes.
max_requests = 1_000_000
max_requests_jitter = 100_000  # never all processes at once

# The address of a client is for the gateway to judge, from ROSTERHUB_PROXIES and X-Forwarded-For
# alone (api/addresses.py); the server believes no header of anybody, so that what it says of the
# connection is the connection.
forwarded_allow_ips = ""
forwarder_headers = ""
header_map = "drop"
proxy_protocol = False

# Above what the gateway accepts, so that it can refuse in its own words.
limit_request_line = settings.query_max + 64 * 1024
limit_request_fields = 100
limit_request_field_size = 8190


def on_starting(server: Any) -> None:  # noqa: ANN401 -- same
    """Give the processes a folder of their own to add their measurements up in."""
    if SHARED not in os.environ:
        os.environ[SHARED] = tempfile.mkdtemp(prefix="rosterhub-metrics-")
        server.rosterhub_metrics = os.environ[SHARED]


def on_exit(server: Any) -> None:  # noqa: ANN401 -- same
    """Leave no folder behind that was made here."""
    if folder := getattr(server, "rosterhub_metrics", None):
        shutil.rmtree(folder, ignore_errors=True)


def post_fork(_server: Any, _worker: Any) -> None:  # noqa: ANN401 -- same
    """Search nothing for garbage while the app is loaded: a sixth of the start went there."""
    gc.disable()


def post_worker_init(worker: Any) -> None:  # noqa: ANN401
    """Tell the streams when this process is to leave."""
    from api.main import gateway  # noqa: PLC0415 -- the app belongs to the worker, not to gunicorn

    gateway.streams.leave_when(lambda: not worker.alive)
    # What is loaded by now stays: looking through it again and again for garbage takes a tenth of
    # the time, and 50 ms at a stretch. Requests leave no cycles behind to speak of.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    gc.enable()


def child_exit(_server: Any, worker: Any) -> None:  # noqa: ANN401
    """A process that ended measures nothing any more."""
    from prometheus_client import multiprocess  # noqa: PLC0415 -- reads its folder when imported

    multiprocess.mark_process_dead(worker.pid)
