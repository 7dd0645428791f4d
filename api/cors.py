"""Which web pages may read answers (CORS): each district lists their origins.

A preflight bears no credential, so nobody knows yet which district it is about: an origin that any
district lists may go on and ask. The answer then is readable for the origins of the caller's own
district; one that is about no district (health, tokens, a refusal) for those of any. Cookies play
no part: nothing here is authorised by one.
"""

from collections.abc import Mapping
from http import HTTPStatus

import psycopg
import structlog
from falcon.asgi import Request, Response

from api.coalesce import Coalesced
from api.database import Database
from schemas.errors import Forbidden
from schemas.statements import load

SQL = load("api", "cors.sql")
HOUR = "3600"

ALLOWED = ", ".join(
    (
        *("Authorization", "X-API-Key", "X-RosterHub-District", "X-Request-ID", "X-Filename"),
        *("Accept-Language", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"),
        *("Last-Event-ID", "Range"),
    )
)
"""The headers with which a page may ask."""

EXPOSED = ", ".join(
    (
        *("Link", "X-Total-Count", "ETag", "Location", "Retry-After", "X-Request-ID"),
        *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "Content-Disposition"),
    )
)
"""The headers of an answer that a page may read."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

log = structlog.get_logger()


class OriginNotAllowed(Forbidden):
    """No district lists this origin."""

    code = "origin_not_allowed"


class Cors:
    """Middleware, in front of the door."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listing = Coalesced(self._find)

    async def process_resource(
        self, req: Request, resp: Response, resource: object, _params: object
    ) -> None:
        """Answer a preflight; everything else goes on."""
        origin = req.get_header("Origin")
        if req.method != "OPTIONS" or not origin or not asks_first(req):
            return
        if not await self._listing.get(origin):
            raise OriginNotAllowed
        resp.status = HTTPStatus.NO_CONTENT
        resp.complete = True
        resp.set_headers(
            [
                ("Access-Control-Allow-Methods", ", ".join(methods_of(resource))),
                ("Access-Control-Allow-Headers", ALLOWED),
                ("Access-Control-Max-Age", HOUR),
            ]
        )

    async def process_response(
        self, req: Request, resp: Response, _resource: object, _succeeded: object
    ) -> None:
        """Let a page read the answer where its origin may."""
        origin = req.get_header("Origin")
        if not origin:
            return
        resp.append_header("Vary", "Origin")
        if await self._may_read(origin, req):
            resp.set_header("Access-Control-Allow-Origin", origin)
            resp.set_header("Access-Control-Expose-Headers", EXPOSED)

    async def _may_read(self, origin: str, req: Request) -> bool:
        caller = req.context.caller
        try:
            tenants = await self._listing.get(origin) or frozenset()
        except psycopg.Error as error:
            log.warning("origin_not_looked_up", error=type(error).__name__)
            return False
        if caller is None or caller.tenant_id is None:
            return bool(tenants)
        return caller.tenant_id in tenants

    async def _find(self, asked: Mapping[str, int]) -> dict[str, frozenset[int]]:
        """The districts that list each origin."""
        # What a client wrote there may hold anything; PostgreSQL compares no NUL.
        origins = [origin for origin in asked if origin.isprintable()]
        rows = await self._database.look(SQL["listing"], [origins])
        return {row["origin"]: frozenset(row["tenants"]) for row in rows}


def asks_first(req: Request) -> bool:
    """Whether a browser asks before it asks."""
    return req.get_header("Access-Control-Request-Method") is not None


def methods_of(resource: object) -> list[str]:
    """What a resource can be asked."""
    return [method for method in METHODS if hasattr(resource, f"on_{method.lower()}")]
