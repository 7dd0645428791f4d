"""What serves the documents: `/openapi.json`, the discovery of the standard, and `/docs`.

Nobody needs a credential for them, for they say nothing of a district. The page is Swagger UI from
the files of an installed package; its content security policy lets it load nothing from elsewhere.
All of it is made once, when it is first asked for, and cached by whoever wants to.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import falcon
import orjson
from falcon.asgi import Request, Response

from api.caller import Guarded
from api.language import weight
from api.openapi.described import IF_NONE_MATCH, Stream, described
from api.openapi.document import Site, discovery, document
from api.rosters.operations import ROOT
from schemas.errors import Missing

POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; object-src 'none'"
)
OWN: Final = Path(__file__).parent / "site"
HTML: Final = "text/html; charset=utf-8"
KINDS: Final[Mapping[str, str]] = {
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
"""The files of the page; what is not listed is not served."""

SHORT, LONG = "public, max-age=300", "public, max-age=86400"
SERVICE = f"{ROOT}/discovery"
DISCOVERY: Final = (
    f"{SERVICE}/onerosterv1p2rostersservice_openapi3_v1p0.json",
    f"{SERVICE}/imsorv1p2_rostering_openapi3_v1p0.json",
)
"""The names of the binding and of the certification guide. The other services are not served, so
nothing is discovered of them: 404."""


@dataclass(frozen=True)
class Kept:
    """Bytes that never change while the process lives, in both forms."""

    make: Callable[[], bytes]
    media_type: str
    lifetime: str

    @cached_property
    def plain(self) -> bytes:
        """As they are."""
        return self.make()

    @cached_property
    def packed(self) -> bytes:
        """The same in gzip."""
        return gzip.compress(self.plain, mtime=0)

    def form(self, *, packed: bool) -> bytes:
        """One of the two."""
        return self.packed if packed else self.plain

    @cached_property
    def tag(self) -> str:
        """What they are known by."""
        return hashlib.sha256(self.plain).hexdigest()[:32]


class Page:
    """One of them, to be read by anybody."""

    needs = None

    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def _send(self, req: Request, resp: Response) -> None:
        await send(req, resp, self._kept)


READ = described({"type": "object"}, also={304: None}, query=(IF_NONE_MATCH,), headers=("ETag",))


class Everything(Page):
    """`/openapi.json`."""

    @READ
    async def on_get(self, req: Request, resp: Response) -> None:
        """OpenAPI 3.1 of everything the hub serves."""
        await self._send(req, resp)


class Discovery(Page):
    """The rostering service, by both names of the standard."""

    @READ
    async def on_get(self, req: Request, resp: Response) -> None:
        """OpenAPI 3.1 of the rostering service: what of it this hub serves, and where."""
        await self._send(req, resp)


class Docs(Page):
    """`/docs`."""

    @described(Stream(HTML), also={304: None}, query=(IF_NONE_MATCH,), headers=("ETag",))
    async def on_get(self, req: Request, resp: Response) -> None:
        """The API reference for people."""
        await self._send(req, resp)


class Files:
    """`/docs/{name}`."""

    needs = None

    def __init__(self) -> None:
        self._files = {
            name: Kept(place_of(name).read_bytes, kind, LONG) for name, kind in KINDS.items()
        }

    @described(
        Stream("text/*"),
        also={304: None},
        query=(IF_NONE_MATCH,),
        headers=("ETag",),
    )
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        """A file of the API reference."""
        kept = self._files.get(name)
        if kept is None:
            raise Missing("There is no such file.")
        await send(req, resp, kept)


async def send(req: Request, resp: Response, kept: Kept) -> None:
    """Answer with the bytes, unless the client has them."""
    packed = takes_gzip(req.get_header("Accept-Encoding") or "")
    data = await asyncio.to_thread(kept.form, packed=packed)
    resp.set_headers([("Content-Security-Policy", POLICY), ("Vary", "Accept-Encoding")])
    resp.cache_control = [kept.lifetime]
    # Two forms are two representations, and a strong tag names one of them.
    tag = f"{kept.tag}-gzip" if packed else kept.tag
    resp.etag = tag
    if tag in (req.if_none_match or []):
        resp.status = HTTPStatus.NOT_MODIFIED
        return
    resp.content_type = kept.media_type
    resp.data = data
    if packed:
        resp.set_header("Content-Encoding", "gzip")


def takes_gzip(accepted: str) -> bool:
    """Whether a client wants it packed."""
    weighed = {part.partition(";")[0].strip().lower(): weight(part) for part in accepted.split(",")}
    return weighed.get("gzip", weighed.get("*", 0.0)) > 0


def place_of(name: str) -> Path:
    """Where a file of the page lies: beside this module, or in the package of Swagger UI."""
    own = OWN / name
    return own if own.exists() else swagger_ui() / name


def swagger_ui() -> Path:
    """The static files of the package, whose code is not needed."""
    found = find_spec("swagger_ui")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("swagger_ui")
    return Path(found.origin).parent / "static"


def documenting(routes: Mapping[str, Guarded], site: Site) -> dict[str, Guarded]:
    """The addresses of the documents; `routes` has all addresses when they are made."""

    def whole() -> bytes:
        return orjson.dumps(document(routes, site))

    def service() -> bytes:
        return orjson.dumps(discovery(routes, site))

    found = Discovery(Kept(service, falcon.MEDIA_JSON, SHORT))
    return {
        "/openapi.json": Everything(Kept(whole, falcon.MEDIA_JSON, SHORT)),
        "/docs": Docs(Kept((OWN / "docs.html").read_bytes, HTML, SHORT)),
        "/docs/{name}": Files(),
        **dict.fromkeys(DISCOVERY, found),
    }
