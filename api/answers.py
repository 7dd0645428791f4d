"""What every answer has: safe headers, an id to ask about, a line in the log, a measurement.

The line holds the template of the route and ids; never a query, a body or a personal value.
"""

import re
import time
from secrets import token_hex
from typing import Any, Protocol

import structlog
from falcon.asgi import Request, Response

from api.caller import Caller

ID = "X-Request-ID"
WELL_FORMED = re.compile(r"[0-9A-Fa-f-]{16,64}")  # a name or an address is none
UNMATCHED = "unmatched"

log = structlog.get_logger("rosterhub.access")


class Observe(Protocol):
    """Be told of an answer."""

    def __call__(self, method: str, route: str, status: int, seconds: float, /) -> None:
        """A request was answered."""


class Answers:
    """Middleware around everything else."""

    def __init__(self, observe: Observe, public_url: str) -> None:
        self._observe = observe
        self._log: Any = None
        self._always = [*ALWAYS, STRICT] if public_url.startswith("https:") else [*ALWAYS]

    async def process_request(self, req: Request, resp: Response) -> None:
        """Take or give an id, and start the clock."""
        req.context.id = id_of(req.get_header(ID) or "")
        req.context.caller = None
        req.context.address = None
        req.context.began = time.perf_counter()
        resp.set_header(ID, req.context.id)

    async def process_response(
        self, req: Request, resp: Response, _resource: object, _succeeded: object
    ) -> None:
        """Add the headers, then write down what happened."""
        resp.set_headers(self._always)
        secure(resp)
        self.tell(
            known(req.method),
            req.uri_template or UNMATCHED,
            resp.status_code,
            seconds=time.perf_counter() - req.context.began,
            caller=req.context.caller,
            request_id=req.context.id,
        )

    def tell(
        self,
        method: str,
        route: str,
        status: int,
        *,
        seconds: float,
        caller: Caller | None,
        request_id: str,
    ) -> None:
        """Write down what happened."""
        self._observe(method, route, status, seconds)
        if self._log is None:
            self._log = log.bind()  # as it is configured by now, which takes longer than the line
        self._log.info(
            "request",
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            key=caller and caller.key_id,
            client=caller and caller.client,
            request_id=request_id,
        )


def id_of(given: str) -> str:
    """The id of a request: what came with it, if it looks like one, or a new one."""
    return given if WELL_FORMED.fullmatch(given) else token_hex(16)


ALWAYS = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))
STRICT = ("Strict-Transport-Security", "max-age=31536000")
"""Where clients know the hub by https, a browser speaks nothing else with it for a year."""
NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""What an answer may load or be shown in, unless it says so itself as a page does."""


def secure(resp: Response) -> None:
    """Headers for browsers and caches; roster data is kept by nobody who was not told how."""
    if resp.get_header("Content-Security-Policy") is None:
        resp.set_header("Content-Security-Policy", NOTHING)
    if resp.get_header("Cache-Control") is None:
        resp.set_header("Cache-Control", "no-store")


def known(method: str) -> str:
    """A method a client made up is no label."""
    return method if method in METHODS else "other"


METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
