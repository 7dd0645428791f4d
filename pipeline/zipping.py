"""A zip, written from front to back in constant memory, the same bytes for the same files.

Each entry is deflated with ISA-L on its way out; its sizes and checksum follow it in a data
descriptor, and stand in the directory. So nothing waits for its place, and what carries the bytes
away works while more are made. No entry has a time of its own: a package made again is the same.

ISA-L may deflate otherwise when the same bytes come in other pieces: cut them alike each time.
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from isal import isal_zlib

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
END64 = struct.Struct("<4sQ2H2I4Q")
LOCATOR64 = struct.Struct("<4sIQI")
EXTRA64 = struct.Struct("<2H")
BEHIND = struct.Struct("<4s3I")
BEHIND64 = struct.Struct("<4sI2Q")

DEFLATED = 8
PLAIN, LARGE = 20, 45  # the version of the format that a reader needs
UNIX = 3 << 8
READABLE = 0o100644 << 16
NO_TIME, FIRST_DAY = 0, 1 << 5 | 1  # 1 January 1980, which is where zips begin
LEVEL = 1
RAW = -15  # Deflate without a header
FOLLOWS = 1 << 3  # the flag that says: sizes and checksum follow the entry
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
    """A zip in the making: `write` takes its bytes.

    Sizes and places from `ceiling` on are written as zip64.
    """

    write: Callable[[bytes], object]
    ceiling: int = TOO_LARGE
    entries: list[Entry] = field(default_factory=list)
    done: int = 0

    def add(self, name: str, pieces: Iterable[bytes]) -> Entry:
        """Write a file; names are ASCII."""
        at, crc, size = self.done, 0, 0
        self._put(local(name.encode("ascii")))
        begin, packer = self.done, isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, RAW)
        for piece in pieces:
            crc = isal_zlib.crc32(piece, crc)
            size += len(piece)
            self._put(packer.compress(piece))
        self._put(packer.flush())
        entry = Entry(name.encode("ascii"), crc, size, self.done - begin, at)
        self._put(self._behind(entry))
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

    def _behind(self, entry: Entry) -> bytes:
        # Readers from front to back tell the wide numbers by the size that they have read.
        large = max(entry.size, entry.packed) >= self.ceiling
        sizes = (entry.packed, entry.size)
        return (BEHIND64 if large else BEHIND).pack(b"PK\x07\x08", entry.crc, *sizes)

    def _central(self, entry: Entry) -> bytes:
        told = (entry.size, entry.packed, entry.at)
        size, packed, at = (SIGNED if each >= self.ceiling else each for each in told)
        extra = extra64([each for each in told if each >= self.ceiling])
        version = LARGE if extra else PLAIN
        head = (UNIX | version, version, FOLLOWS, DEFLATED, NO_TIME, FIRST_DAY)
        sizes = (entry.crc, packed, size)
        tail = (len(entry.name), len(extra), 0, 0, 0, READABLE, at)
        return CENTRAL.pack(b"PK\x01\x02", *head, *sizes, *tail) + entry.name + extra

    def _end64(self, begin: int, size: int, count: int) -> bytes:
        rest = END64.size - 12  # behind the field that tells it
        record = (rest, UNIX | LARGE, LARGE, 0, 0, count, count, size, begin)
        locator = LOCATOR64.pack(b"PK\x06\x07", 0, self.done, 1)
        return END64.pack(b"PK\x06\x06", *record) + locator


def local(name: bytes) -> bytes:
    """What stands before an entry."""
    head = (PLAIN, FOLLOWS, DEFLATED, NO_TIME, FIRST_DAY, 0, 0, 0)
    return LOCAL.pack(b"PK\x03\x04", *head, len(name), 0) + name


def extra64(numbers: list[int]) -> bytes:
    """The extra field with the numbers that have no room in a header; nothing where all have."""
    if not numbers:
        return b""
    return EXTRA64.pack(1, 8 * len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers)
