"""How a value looks in JSON: instants in UTC to the millisecond, one way to send a body."""

from datetime import datetime
from http import HTTPStatus
from uuid import UUID

import falcon
import orjson
from falcon.asgi import Response

from schemas.rest.instants import instant


def plain(value: object) -> str:
    """What orjson should do with what it is told not to know."""
    match value:
        case datetime():
            return instant(value)
        case UUID():
            return str(value)
        case _:
            raise TypeError(type(value).__name__)


def dump(value: object) -> bytes:
    """The JSON of a value."""
    return orjson.dumps(value, default=plain, option=orjson.OPT_PASSTHROUGH_DATETIME)


def send(resp: Response, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
    """Answer with a JSON body."""
    resp.status = status
    resp.content_type = falcon.MEDIA_JSON
    resp.data = dump(value)
