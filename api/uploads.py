"""The body of an upload on its way to the object store: counted, hashed, never held in memory.

Nothing is parsed here. A body is complete when it has as many bytes as it announced; Falcon ends a
vanished client's body silently, so the two are compared. What is not complete is not stored.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from urllib.parse import unquote
from uuid import UUID, uuid4

import falcon
import obstore
from falcon.asgi import Request
from falcon.asgi.multipart import BodyPart
from falcon.asgi.reader import BufferedReader
from falcon.media import MultipartFormHandler
from obstore.exceptions import BaseError as ObjectStoreError
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from schemas.errors import BadRequest, LengthRequired, Rejected, RosterHubError, TooLarge
from schemas.objects import upload_key

PIECE = 5 * 1024 * 1024  # what S3 takes as the smallest piece
PIECES = 2  # on their way at a time
BLOCK = 1024 * 1024  # bytes that are hashed and written at a time
READ = 1024 * 1024  # bytes at a time that go out
FIELD_MAX = 1024  # bytes of a form field
ENVELOPE = 64 * 1024  # what a form may add to its file
NAME_MAX = 255
LET_GO = 0.1  # seconds

RAW = frozenset({"application/zip", "application/x-zip-compressed", "application/octet-stream"})
CSV = "text/csv"
FORM = "multipart/form-data"


class UnknownBody(RosterHubError):
    """Send a zip (application/zip), one CSV (text/csv), or a form with one file."""

    status = 415
    code = "unsupported_media_type"


@dataclass(frozen=True, slots=True)
class Upload:
    """A body in the object store."""

    id: UUID
    key: str
    length: int
    sha256: bytes
    name: str | None


@dataclass(slots=True)
class Received:
    """An upload, whether it says that it is one CSV, and the fields that a form had beside it."""

    upload: Upload
    csv: bool = False
    fields: dict[str, str] = field(default_factory=dict)


class NoSuchObject(Exception):
    """The object is not there."""


class Objects:
    """Where files lie: a folder, or a bucket by its URL."""

    def __init__(self, where: str) -> None:
        self._store: ObjectStore = (
            from_url(where) if "://" in where else LocalStore(Path(where).absolute(), mkdir=True)
        )

    async def write(self, key: str, pieces: AsyncIterable[bytes], limit: int) -> tuple[int, bytes]:
        """Store the pieces as one object; answer their length and SHA-256.

        A writer that is not closed leaves no object behind.
        """
        digest, hashing, length = hashlib.sha256(), None, 0
        writer = obstore.open_writer_async(
            self._store, key, buffer_size=PIECE, max_concurrency=PIECES
        )
        async for block in together(pieces):
            length += len(block)
            if length > limit:
                raise TooLarge(limit=limit)
            if hashing:
                await hashing
            # Beside the loop, which receives the next block meanwhile.
            hashing = asyncio.ensure_future(asyncio.to_thread(digest.update, block))
            await writer.write(block)
        if hashing is None:
            raise Rejected("The upload is empty.")
        await hashing
        await writer.close()
        return length, digest.digest()

    async def read(self, key: str, begin: int, end: int) -> AsyncIterator[bytes]:
        """The bytes of an object from one place to before another; raises NoSuchObject at once."""
        try:
            found = await obstore.get_async(self._store, key, options={"range": (begin, end)})
        except (NotFoundError, FileNotFoundError) as error:
            raise NoSuchObject from error
        return aiter(found.stream(min_chunk_size=READ))

    async def delete(self, key: str) -> None:
        """Take an object back; one that is not there is not missed."""
        with suppress(ObjectStoreError, OSError):
            await obstore.delete_async(self._store, key)

    async def process_shutdown(self, _scope: object, _event: object) -> None:
        """The store's threads release buffers a moment later; an interpreter gone first aborts."""
        await asyncio.sleep(LET_GO)


class Intake:
    """Receives the bodies of one process."""

    def __init__(self, objects: Objects, limit: int) -> None:
        self._objects = objects
        self._limit = limit

    async def receive(self, req: Request, tenant_id: int) -> Received:
        """Store the body of the request."""
        kind = media_type(req)
        if kind == FORM:
            return await self._form(req, tenant_id)
        if kind == CSV or kind in RAW:
            return Received(await self._raw(req, tenant_id), csv=kind == CSV)
        raise UnknownBody

    async def discard(self, upload: Upload) -> None:
        """The upload is not needed after all."""
        await self._objects.delete(upload.key)

    async def _raw(self, req: Request, tenant_id: int) -> Upload:
        if req.content_length is None:
            raise LengthRequired
        if req.content_length > self._limit:
            raise TooLarge(limit=self._limit)
        name = file_name(unquote(req.get_header("X-Filename") or ""))
        return await self._stored(body_of(req), tenant_id, name)

    async def _form(self, req: Request, tenant_id: int) -> Received:
        if (req.content_length or 0) > self._limit + ENVELOPE:
            raise TooLarge(limit=self._limit)
        files: list[Received] = []
        fields: dict[str, str] = {}
        try:
            body = BufferedReader(body_of(req))
            await self._parts(req, body, tenant_id, files, fields)
            await body.exhaust()
        except BaseException as error:
            for received in files:
                await self.discard(received.upload)
            if isinstance(error, falcon.MediaMalformedError | UnicodeError):
                raise BadRequest("The form is cut off or malformed.") from error
            raise
        if not files:
            raise Rejected("The form has no file.", field="file")
        return replace(files[0], fields=fields)

    async def _parts(
        self,
        req: Request,
        body: BufferedReader,
        tenant_id: int,
        files: list[Received],
        fields: dict[str, str],
    ) -> None:
        parts = await MultipartFormHandler().deserialize_async(
            body, req.content_type, req.content_length
        )
        async for part in parts:
            if part.filename is None and part.name != "file":
                fields[part.name or ""] = await short(part)
            elif files:
                raise BadRequest("The form has more than one file.", field=part.name)
            else:
                name = file_name(part.filename)
                upload = await self._stored(part.stream, tenant_id, name)
                csv = part.content_type == CSV or (name or "").lower().endswith(".csv")
                files.append(Received(upload, csv=csv))

    async def _stored(
        self, pieces: AsyncIterable[bytes], tenant_id: int, name: str | None
    ) -> Upload:
        upload_id = uuid4()
        key = upload_key(tenant_id, upload_id)
        length, digest = await self._objects.write(key, pieces, self._limit)
        return Upload(upload_id, key, length, digest, name)


async def body_of(req: Request) -> AsyncGenerator[bytes, None]:
    """The pieces of a body; an error follows the last of them if they are too few.

    Counted here, for the stream's own `tell()` counts its first piece twice.
    """
    received = 0
    async for piece in req.stream:
        received += len(piece)
        yield piece
    if req.content_length not in (None, received):
        raise BadRequest(
            "The body ended before its announced length.",
            announced=req.content_length,
            received=received,
        )


async def together(pieces: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in blocks: each has a price of its own, here and in the store."""
    waiting: list[bytes] = []
    room = BLOCK
    async for piece in pieces:
        waiting.append(piece)
        room -= len(piece)
        if room <= 0:
            yield b"".join(waiting)
            waiting, room = [], BLOCK
    if any(waiting):
        yield b"".join(waiting)


async def short(part: BodyPart) -> str:
    """A form field."""
    data = await part.stream.read(FIELD_MAX + 1)
    if len(data) > FIELD_MAX:
        raise BadRequest("A form field is too long.", field=part.name)
    return data.decode(errors="replace").strip()


def media_type(req: Request) -> str:
    """The media type of the body without its parameters."""
    return (req.content_type or "").partition(";")[0].strip().lower()


def file_name(given: str | None) -> str | None:
    """The last part of the name the client gave, for people to recognise the upload by."""
    name = PurePath((given or "").replace("\\", "/")).name
    kept = "".join(sign for sign in name if sign.isprintable())
    return kept[:NAME_MAX] or None
