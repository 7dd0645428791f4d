"""What a request may weigh before anybody reads it; bodies are measured where they are read.

The server has limits of its own above these (`deploy/gunicorn.conf.py`), for it reads a request
before there is anybody to answer in the words of the interface.
"""

from falcon.asgi import Request, Response

from schemas.errors import TooLargeHeaders, TooLongAddress

OVERHEAD = 4  # bytes of a header beside its name and value


class Limits:
    """Middleware."""

    def __init__(self, query_max: int, headers_max: int) -> None:
        self._query_max = query_max
        self._headers_max = headers_max

    async def process_request(self, req: Request, _resp: Response) -> None:
        """Refuse what is too much."""
        if len(req.scope["query_string"]) > self._query_max:
            raise TooLongAddress(limit=self._query_max)
        headers = req.scope["headers"]
        if sum(len(name) + len(value) + OVERHEAD for name, value in headers) > self._headers_max:
            raise TooLargeHeaders(limit=self._headers_max)
