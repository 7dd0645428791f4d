"""A JSON body: measured before it is read, counted before it is parsed, checked by a model."""

import re
from http import HTTPStatus
from typing import Annotated, TypeVar

import orjson
from falcon.asgi import Request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    StringConstraints,
    ValidationError,
)

from schemas.errors import BadRequest, LengthRequired, Rejected, RosterHubError, TooLarge

DEPTH = 64
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T")
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)

Model = TypeVar("Model", bound=BaseModel)


class NotJson(RosterHubError):
    """The body is JSON: send Content-Type: application/json."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"


def printable(text: str) -> str:
    """A line that a person can read."""
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    AfterValidator(printable),
]
"""One line of text that a person gave."""


def written_out(value: object) -> object:
    """An instant is a text that begins with its day; a number of seconds is none."""
    if not (isinstance(value, str) and DAY.match(value)):
        raise ValueError("must be an instant such as 2026-04-01T00:00:00+09:00")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(written_out)]
"""An instant with its offset."""


async def read_json(req: Request, model: type[Model], limit: int) -> Model:
    """The body as the model; a value that does not fit is named."""
    try:
        return model.model_validate(parsed(await read(req, limit)))
    except ValidationError as error:
        raise refusal(error) from error


def refusal(error: ValidationError) -> Rejected:
    """What does not fit, by field; never the value."""
    faults = [
        {"field": ".".join(map(str, fault["loc"])), "detail": fault["msg"]}
        for fault in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    names = ", ".join(fault["field"] or "body" for fault in faults)
    return Rejected(f"Not acceptable: {names}.", errors=faults)


async def read(req: Request, limit: int) -> bytes:
    """The whole body, no longer than the limit."""
    if (req.content_type or "").partition(";")[0].strip().lower() != "application/json":
        raise NotJson
    if req.content_length is None:
        raise LengthRequired("Send the body with Content-Length, not chunked.")
    if req.content_length > limit:
        raise TooLarge(limit=limit)
    body = await req.stream.read()
    if len(body) != req.content_length:
        raise BadRequest("The body ended before its announced length.")
    return body


def parsed(body: bytes) -> object:
    """The value of a body that is not too deep."""
    if deeper_than(DEPTH, body):
        raise BadRequest(f"The body nests deeper than {DEPTH} levels.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest("The body is not valid JSON.") from error


def deeper_than(limit: int, body: bytes) -> bool:
    """Whether brackets nest deeper, those inside strings aside."""
    depth = 0
    for token in TOKEN.finditer(body):
        match token.group():
            case b"[" | b"{":
                depth += 1
                if depth > limit:
                    return True
            case b"]" | b"}":
                depth -= 1
            case _:
                pass
    return False
