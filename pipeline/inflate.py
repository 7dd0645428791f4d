"""The bytes of one entry of a zip, inflated as fast as the machine can.

Python's zipfile reads the directory; this reads the data behind it, with ISA-L, which inflates
three times as fast as zlib. Local header, size and checksum must agree with the directory, and
never more is inflated at a time than was asked for.
"""

import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from isal import isal_zlib

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
SIGNATURE = b"PK\x03\x04"
RAW = -15  # a Deflate stream without a header, as zips have it
TAKEN = 256 * 1024  # compressed bytes at a time
# Its stubs say that the class is an instance.
INFLATE_ERROR = cast("type[Exception]", isal_zlib.error)
DAMAGED = (zipfile.BadZipFile, INFLATE_ERROR, EOFError, NotImplementedError, ValueError)


def inflated(path: Path, entry: zipfile.ZipInfo, piece: int) -> Iterator[list[bytes]]:
    """The entry in blocks, some at a time: about `piece` bytes, for who puts them together.

    Raises one of DAMAGED where it is not whole.
    """
    crc = done = 0
    with path.open("rb") as stream:
        find(stream, entry)
        for some in gathered(blocks(stream, entry, piece), piece):
            for data in some:
                crc = isal_zlib.crc32(data, crc)
                done += len(data)
            if done > entry.file_size:
                raise EOFError
            yield some
    if done != entry.file_size or crc != entry.CRC:
        raise EOFError


def find(stream: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Go to where the data of the entry begins."""
    stream.seek(entry.header_offset)
    head = stream.read(LOCAL_HEADER.size)
    if len(head) < LOCAL_HEADER.size:
        raise EOFError
    signature, *_, name, extra = LOCAL_HEADER.unpack(head)
    if signature != SIGNATURE or stream.read(name) != entry.orig_filename.encode():
        raise zipfile.BadZipFile
    stream.seek(extra, 1)


def gathered(blocks: Iterator[bytes], piece: int) -> Iterator[list[bytes]]:
    """So many blocks at a time that they are as large as a piece."""
    waiting: list[bytes] = []
    room = piece
    for data in blocks:
        waiting.append(data)
        room -= len(data)
        if room <= 0:
            yield waiting
            waiting = []
            room = piece
    if waiting:
        yield waiting


def blocks(stream: IO[bytes], entry: zipfile.ZipInfo, piece: int) -> Iterator[bytes]:
    """The data, unpacked."""
    left = entry.compress_size
    inflate = isal_zlib.decompressobj(RAW)
    while left and not inflate.eof:
        taken = stream.read(min(left, TAKEN))
        if not taken:
            raise EOFError
        left -= len(taken)
        if entry.compress_type == zipfile.ZIP_STORED:
            yield taken
            continue
        while data := inflate.decompress(taken, piece):
            yield data
            taken = inflate.unconsumed_tail
    if entry.compress_type != zipfile.ZIP_STORED and (left or not inflate.eof):
        raise EOFError
