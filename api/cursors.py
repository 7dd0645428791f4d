"""Opaque cursors of the lists under /api/v1: where the next page begins."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import orjson
from falcon.asgi import Request

from schemas.errors import BadRequest

LIMIT = 100
LIMIT_MAX = 1000


class BadCursor(BadRequest):
    """The cursor is not one that this list gave."""

    code = "bad_cursor"


def encode(key: Sequence[object]) -> str:
    """A cursor from the key of the last item."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode(cursor: str) -> list[object]:
    """The key again."""
    try:
        key = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise BadCursor from error
    if not isinstance(key, list):
        raise BadCursor
    return key


def limit_of(req: Request) -> int:
    """How many items the client wants on a page; more than the hub gives is cut."""
    text = req.get_param("limit")
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdigit() and text.strip("0")):
        raise BadRequest("limit is a whole number from 1.", field="limit")
    return LIMIT_MAX if len(text) > len(str(LIMIT_MAX)) else min(int(text), LIMIT_MAX)


def next_url(path: str, key: Sequence[object] | None, kept: Mapping[str, object]) -> str | None:
    """The address of the next page, filters kept; None: there is none."""
    if key is None:
        return None
    query = {name: value for name, value in kept.items() if value is not None}
    return f"{path}?{urlencode(query | {'cursor': encode(key)})}"
