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


def counted(resp: Response, records: int) -> None:
    """So many records are in the answer, or in the next part of it: the audit wants to know."""
    resp.context.records = getattr(resp.context, "records", 0) + records


def send(resp: Response, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
    """Answer with a JSON body; the items of a list are counted."""
    resp.status = status
    match value:
        case {"items": list(items)}:
            counted(resp, len(items))
        case _:
            pass
    resp.content_type = falcon.MEDIA_JSON
    resp.data = dump(value)
