"""A large answer on its way: laid down in a file without a name, part by part, until it is sent.

So a page of ten thousand records takes as much memory as two hundred and fifty of them, its
connection to PostgreSQL is free before a slow client has read the first byte, and its length and
its links are known when it begins. The file is gone with the last who reads it, however they end.
"""

import asyncio
import os
import tempfile
import weakref
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

AT_A_TIME = 1 << 17
GZIP = 16 + zlib.MAX_WBITS


class Laid:
    """The items of a list, between a head and a tail."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # by the next
        weakref.finalize(self, self._file.close)
        self._size = 0
        self.head = self.tail = b""

    def append(self, items: bytes) -> None:
        """Lay down some more items, separated by commas among themselves."""
        for piece in (b"," if self._size else b"", items):
            self._size += self._file.write(piece)  # all of it, or an error

    def __len__(self) -> int:
        return len(self.head) + self._size + len(self.tail)

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of it; several may read at once."""
        self._file.flush()
        yield self.head
        for at in range(0, self._size, AT_A_TIME):
            size = min(AT_A_TIME, self._size - at)
            yield await asyncio.to_thread(os.pread, self._file.fileno(), size, at)
        yield self.tail

    async def packed(self, level: int) -> AsyncIterator[bytes]:
        """All of it, compressed by gzip as it goes."""
        packer = zlib.compressobj(level, zlib.DEFLATED, GZIP)
        async for chunk in self.chunks():
            if some := await asyncio.to_thread(packer.compress, chunk):
                yield some
        yield packer.flush()
