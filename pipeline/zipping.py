"""A zip, written from front to back in constant memory, the same bytes for the same files.

Each entry is deflated with ISA-L before its header is written, so that the header knows its sizes
and a reader needs no data descriptor; what waits lies in memory as long as it is small, else on
disk. No entry has a time of its own: a package made again is the same package.

ISA-L may deflate otherwise when the same bytes come in other pieces: cut them alike each time.
"""

import struct
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from isal import isal_zlib

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")
EXTRA64 = struct.Struct("<2H")

DEFLATED = 8
PLAIN, LARGE = 20, 45  # the version of the format that a reader needs
UNIX = 3 << 8
READABLE = 0o100644 << 16
NO_TIME, FIRST_DAY = 0, 1 << 5 | 1  # 1 January 1980, which is where zips begin
LEVEL = 1
RAW = -15  # Deflate without a header
PIECE = 1 << 20
ROOM = 4 << 20  # bytes of an entry that may wait in memory
TOO_LARGE = 0xFFFFFFFF
SIGNED = TOO_LARGE  # stands where the true number is in the extra field


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the zip, as the directory tells of it."""

    name: bytes
    crc: int
    size: int
    packed: int
    at: int


@dataclass(slots=True)
class Archive:
    """A zip in the making: `write` takes its bytes, `folder` is where an entry may wait.

    Sizes and places from `ceiling` on are written as zip64.
    """

    write: Callable[[bytes], object]
    folder: Path
    ceiling: int = TOO_LARGE
    entries: list[Entry] = field(default_factory=list)
    done: int = 0

    def add(self, name: str, pieces: Iterable[bytes]) -> Entry:
        """Write a file; names are ASCII."""
        with tempfile.SpooledTemporaryFile(ROOM, "w+b", dir=str(self.folder)) as waiting:
            crc, size = deflated(pieces, waiting)
            entry = Entry(name.encode("ascii"), crc, size, waiting.tell(), self.done)
            self._put(self._local(entry))
            waiting.seek(0)
            while data := waiting.read(PIECE):
                self._put(data)
        self.entries.append(entry)
        return entry

    def close(self) -> int:
        """Write the directory; answer how many bytes there are in all."""
        begin = self.done
        for entry in self.entries:
            self._put(self._central(entry))
        size, count = self.done - begin, len(self.entries)
        if begin >= self.ceiling or self.done >= self.ceiling:
            self._put(self._end64(begin, size, count))
            begin = SIGNED
        self._put(END.pack(b"PK\x05\x06", 0, 0, count, count, size, begin, 0))
        return self.done

    def _put(self, data: bytes) -> None:
        self.write(data)
        self.done += len(data)

    def _local(self, entry: Entry) -> bytes:
        large = max(entry.size, entry.packed) >= self.ceiling
        extra = extra64([entry.size, entry.packed]) if large else b""
        sizes = (SIGNED, SIGNED) if large else (entry.packed, entry.size)
        head = (LARGE if large else PLAIN, 0, DEFLATED, NO_TIME, FIRST_DAY, entry.crc, *sizes)
        return LOCAL.pack(b"PK\x03\x04", *head, len(entry.name), len(extra)) + entry.name + extra

    def _central(self, entry: Entry) -> bytes:
        told = (entry.size, entry.packed, entry.at)
        size, packed, at = (SIGNED if each >= self.ceiling else each for each in told)
        extra = extra64([each for each in told if each >= self.ceiling])
        version = LARGE if extra else PLAIN
        head = (UNIX | version, version, 0, DEFLATED, NO_TIME, FIRST_DAY, entry.crc, packed, size)
        tail = (len(entry.name), len(extra), 0, 0, 0, READABLE, at)
        return CENTRAL.pack(b"PK\x01\x02", *head, *tail) + entry.name + extra

    def _end64(self, begin: int, size: int, count: int) -> bytes:
        rest = END64.size - 12  # behind the field that tells it
        record = (rest, UNIX | LARGE, LARGE, 0, 0, count, count, size, begin)
        locator = LOCATOR64.pack(b"PK\x06\x07", 0, self.done, 1)
        return END64.pack(b"PK\x06\x06", *record) + locator


def extra64(numbers: list[int]) -> bytes:
    """The extra field with the numbers that have no room in a header; nothing where all have."""
    if not numbers:
        return b""
    return EXTRA64.pack(1, 8 * len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers)


def deflated(pieces: Iterable[bytes], into: IO[bytes]) -> tuple[int, int]:
    """Write the pieces deflated; answer their checksum and how many bytes they were."""
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
    crc = size = 0
    for piece in pieces:
        crc = isal_zlib.crc32(piece, crc)
        size += len(piece)
        into.write(packer.compress(piece))
    into.write(packer.flush())
    return crc, size
