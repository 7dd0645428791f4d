"""The least that a gateway could do: a Falcon handler that answers with bytes it has at hand.

`make bench` runs it under the same server as the hub, with the same bytes.
"""

import os
from pathlib import Path

import falcon.asgi
from falcon.asgi import Request, Response

BODY = "BARE_BODY"
"""The file with the bytes."""


class Bytes:
    """`/`."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def on_get(self, _req: Request, resp: Response) -> None:
        """The bytes."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = self._body


app: "falcon.asgi.App[Request, Response]" = falcon.asgi.App()
app.add_route("/", Bytes(Path(os.environ[BODY]).read_bytes()))
