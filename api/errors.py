"""The one translation from what went wrong to what the client reads.

Under /ims the standard's status object, at /token the words of RFC 6749, everywhere else problem
details (RFC 9457). A service that did not answer is "busy, come back"; a fault of ours is logged
and says nothing about itself.
"""

from http import HTTPStatus
from typing import Any, TypeAlias

import falcon
import falcon.asgi
import falcon.errors
import orjson
import psycopg
import structlog
from falcon.asgi import Request, Response
from obstore.exceptions import BaseError as ObjectStoreError
from redis.exceptions import RedisError

from schemas.errors import (
    BadRequest,
    Missing,
    OAuthRefused,
    RateLimited,
    RosterHubError,
    TooLarge,
    Unauthorised,
    Unavailable,
)

STANDARD = "/ims/"
ROOT_1P1 = "/ims/oneroster/v1p1"
TOKEN = "/token"  # noqa: S105 -- the address at which clients ask for one
RETRY_AFTER = "5"  # seconds

AnyApp: TypeAlias = "falcon.asgi.App[Request, Response]"

log = structlog.get_logger()

IMSX_CODES = frozenset(
    {
        "invalid_filter_field",
        "invalid_selection_field",
        "invaliddata",
        "unauthorisedrequest",
        "forbidden",
        "unknownobject",
        "server_busy",
        "internal_server_error",
    }
)
"""The minor codes of the rostering service; other errors say `invaliddata` there."""

CODES_1P1 = {
    "invaliddata": "invalid data",
    "unauthorisedrequest": "unauthorized",
    "unknownobject": "unknown object",
    # 1.1 has no word for a fault of ours; whoever waits and asks again does right.
    "internal_server_error": "server_busy",
}
"""The minor codes that 1.1 spells otherwise."""


BLANK = "invalid_blank_selection_field"
SORT = "invalid_sort_field"

MINOR_1P1 = (
    *sorted({CODES_1P1.get(code, code) for code in IMSX_CODES}),
    *(BLANK, SORT),
)
"""All that 1.1 says of failures, and of what was passed over."""


class UnknownRoute(Missing):
    """There is nothing at this address."""

    code = "unknown_route"


class WrongMethod(RosterHubError):
    """There is no such method at this address."""

    status = 405
    code = "method_not_allowed"


class Refused(BadRequest):
    """The request is malformed."""


def install(app: AnyApp) -> None:
    """Every error of the app goes through here."""
    for kind in (Exception, falcon.HTTPError):
        app.add_error_handler(kind, answer)


async def answer(req: Request, resp: Response, error: Exception, _params: object) -> None:
    """Turn an error into the response."""
    ours = translated(error)
    req.context.code = ours.code
    if ours.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # The type and the place, not the message: a database quotes values in its messages.
        log.error("unexpected", error=type(error).__name__, where=place(error))
    elif isinstance(ours, Unavailable):
        log.warning("service_away", error=type(error).__name__)
    headers(resp, ours, error)
    if req.path.startswith(f"{ROOT_1P1}/"):
        imsx_1p1(resp, ours)
    elif req.path.startswith(STANDARD):
        imsx(resp, ours)
    elif req.path == TOKEN:
        oauth(resp, ours)
    else:
        problem(resp, ours)


def translated(error: Exception) -> RosterHubError:
    """The error in our own words."""
    match error:
        case RosterHubError():
            return error
        case (
            psycopg.OperationalError()
            | psycopg.InterfaceError()
            | RedisError()
            | ObjectStoreError()
            | ConnectionError()
        ):
            return Unavailable()
        case falcon.HTTPRouteNotFound():
            return UnknownRoute()
        case falcon.HTTPMethodNotAllowed():
            return WrongMethod()
        case falcon.errors.HTTPPayloadTooLarge():
            return TooLarge()
        case falcon.HTTPError(status_code=status) if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return Refused(error.description or error.title or "")
        case _:
            return RosterHubError()


def headers(resp: Response, ours: RosterHubError, error: Exception) -> None:
    """What the status needs beside its body; what spoke of a success is taken back."""
    resp.status = ours.status
    for name in ("ETag", "Cache-Control", "Location"):
        resp.delete_header(name)
    if isinstance(ours, Unauthorised):
        resp.set_header("WWW-Authenticate", "Bearer")
    if isinstance(ours, Unavailable):
        resp.set_header("Retry-After", RETRY_AFTER)
    if isinstance(ours, RateLimited):
        resp.set_header("Retry-After", str(ours.retry_after))
    if isinstance(error, falcon.HTTPMethodNotAllowed):
        resp.set_headers(error.headers or {})


def problem(resp: Response, ours: RosterHubError) -> None:
    """Problem details; the facts of the error are its extension members."""
    resp.content_type = "application/problem+json"
    resp.data = orjson.dumps(
        ours.facts
        | {
            "type": f"urn:rosterhub:problem:{ours.code}",
            "title": HTTPStatus(ours.status).phrase,
            "status": ours.status,
            "detail": ours.message,
            "code": ours.code,
        },
        default=str,
    )


def oauth(resp: Response, ours: RosterHubError) -> None:
    """The refusal of a token (RFC 6749, 5.2); what it has no word for borrows those of 4.1.2.1."""
    match ours:
        case OAuthRefused():
            code = ours.code
        case RosterHubError(status=HTTPStatus.TOO_MANY_REQUESTS):
            code = "temporarily_unavailable"
        case RosterHubError(status=HTTPStatus.INTERNAL_SERVER_ERROR):
            code = "server_error"
        case _:
            code = "invalid_request"
    if ours.status == HTTPStatus.UNAUTHORIZED:
        resp.set_header("WWW-Authenticate", "Basic")
    resp.set_headers([("Cache-Control", "no-store"), ("Pragma", "no-cache")])
    resp.content_type = "application/json;charset=UTF-8"
    resp.data = orjson.dumps({"error": code, "error_description": ours.message})


def imsx(resp: Response, ours: RosterHubError) -> None:
    """The status object of the binding, bare."""
    code = minor_code(resp, ours)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = orjson.dumps(
        {
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_description": ours.message,
            "imsx_CodeMinor": {
                "imsx_codeMinorField": [
                    {
                        "imsx_codeMinorFieldName": "TargetEndSystem",
                        "imsx_codeMinorFieldValue": code,
                    }
                ]
            },
        }
    )


def minor_code(resp: Response, ours: RosterHubError) -> str:
    """The code of the binding for it."""
    if isinstance(ours, UnknownRoute | WrongMethod):
        # The rostering service has no word for a wrong method: nothing is at that address.
        resp.status = HTTPStatus.NOT_FOUND
        return "unknownobject"
    if isinstance(ours, RateLimited):
        return "server_busy"
    return ours.code if ours.code in IMSX_CODES else "invaliddata"


def imsx_1p1(resp: Response, ours: RosterHubError) -> None:
    """What 1.1 says of a failure: a set of one."""
    code = minor_code(resp, ours)
    code = ours.code if ours.code == BLANK else CODES_1P1.get(code, code)
    resp.content_type = falcon.MEDIA_JSON
    resp.data = orjson.dumps(
        {"statusInfoSet": [status_1p1("failure", "error", code, ours.message)]}
    )


def status_1p1(major: str, severity: str, minor: str, text: str) -> dict[str, str]:
    """One status of 1.1."""
    return {
        "imsx_codeMajor": major,
        "imsx_severity": severity,
        "imsx_description": text,
        "imsx_codeMinor": minor,
    }


def place(error: BaseException) -> list[str]:
    """File, line and function of each step that led to the error."""
    steps = []
    trace: Any = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        steps.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return steps
