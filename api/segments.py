"""Identifiers with a slash in an address.

A GUID may hold `/`, which a client sends as %2F. Servers decode it before anybody routes, so the
segments are taken from the raw path, and the slash inside one travels as %2F to the resource. No
GUID holds a per cent sign, so nothing else can look like it.
"""

from urllib.parse import unquote

from falcon.asgi import Request, Response

from schemas.errors import Missing

SLASH = "%2F"


class Segments:
    """Middleware: route by segments as the client wrote them."""

    async def process_request(self, req: Request, _resp: Response) -> None:
        """Only an address with an encoded slash is touched."""
        raw: bytes = req.scope.get("raw_path", b"")
        if b"%" in raw and SLASH in (path := raw.decode("latin-1")).upper():
            req.path = "/".join(unquote(part).replace("/", SLASH) for part in path.split("/"))


def restored(sourced_id: str) -> str:
    """The identifier as the record has it."""
    if "\0" in sourced_id:
        raise Missing  # PostgreSQL stores no NUL
    return sourced_id.replace(SLASH, "/")
