"""The package: a zip whose directory is checked before a byte of it is inflated.

Python's zipfile reads what hostile zips declare (reliability 3.2): overlapping entries, links,
folders, doubled and foreign names, sizes that lie, directories without end. Each is refused here
by name, and what is inflated is counted while it is.
"""

import io
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

from pipeline.faults import Broken
from pipeline.inflate import DAMAGED, inflated
from pipeline.limits import Limits
from schemas import rules
from schemas.roster import BY_FILE
from schemas.rules import Finding

MANIFEST = "manifest.csv"
NAMES = frozenset({MANIFEST, *(f"{file}.csv" for file in BY_FILE)})
PACKAGE = "package"
ENCRYPTED_BITS = 0x1 | 0x40 | 0x2000  # the data, the data strongly, the directory
RATIO_FLOOR = 1024 * 1024
LOCAL_HEADER = 30
DIRECTORY_ENTRY = 4096  # bytes, many times what an entry takes
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@dataclass(frozen=True, slots=True)
class Source:
    """One CSV to read: its name, how many bytes it claims to have, and how it is encoded."""

    name: str
    size: int
    path: Path
    zipped: bool
    limits: Limits
    encoding: Literal["utf-8", "cp932"] = "utf-8"

    def in_pieces_of(self, size: int) -> "Source":
        """The same, for who reads other pieces."""
        return replace(self, limits=replace(self.limits, piece=min(size, self.limits.piece)))

    def chunks(self) -> Iterator[list[bytes]]:
        """The bytes in blocks, a piece of them at a time, not put together yet.

        Raises Broken where they are not what the zip says.
        """
        return self._inflated() if self.zipped else read(self.path.open("rb"), self.limits.piece)

    def _inflated(self) -> Iterator[list[bytes]]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                entry = archive.getinfo(self.name)
            yield from inflated(self.path, entry, self.limits.piece)
        except DAMAGED as error:
            raise Broken(Finding(rule=rules.package.CORRUPT, file=self.name)) from error


def damage(source: Source) -> Finding | None:
    """Whether the zip is damaged where a file lies: what its bytes seem to say is then no fault."""
    if not source.zipped:
        return None
    try:
        for _ in source.chunks():
            pass
    except Broken as broken:
        return broken.finding
    return None


def read(stream: IO[bytes], size: int) -> Iterator[list[bytes]]:
    """The stream in blocks of at most `size` bytes; closes it."""
    with stream:
        while block := stream.read(size):
            yield [block]


class Endless(Exception):
    """The directory of a zip is longer than its ceiling."""


class Thrifty(io.FileIO):
    """A zip on disk whose directory is read in one go, and not beyond its ceiling."""

    ceiling = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """What zipfile asks for; raises Endless where that is too much."""
        if size is not None and size > self.ceiling:
            raise Endless
        return super().read(size)


def entries_of(path: Path, limits: Limits) -> tuple[list[zipfile.ZipInfo], int]:
    """The directory of a zip, and where it begins."""
    with Thrifty(path) as file:
        file.ceiling = limits.zip_entries * DIRECTORY_ENTRY
        with zipfile.ZipFile(file) as archive:
            return archive.infolist(), archive.start_dir


def package(path: Path, limits: Limits) -> tuple[dict[str, Source], list[Finding]]:
    """The CSV files of a zip by name, and what is wrong with its directory."""
    try:
        entries, end = entries_of(path, limits)
    except Endless:
        return {}, [too_large(PACKAGE, f"{limits.zip_entries} files")]
    except (*DAMAGED, OSError):
        return {}, [Finding(rule=rules.package.NOT_A_ZIP, file=PACKAGE)]
    findings = [*directory(entries, limits, end)]
    sources = {
        entry.filename: Source(entry.filename, entry.file_size, path, zipped=True, limits=limits)
        for entry in entries
    }
    return sources, findings


def directory(entries: list[zipfile.ZipInfo], limits: Limits, end: int) -> Iterator[Finding]:
    """What the directory of the zip already gives away; it begins at `end`."""
    if len(entries) > limits.zip_entries:
        yield too_large(PACKAGE, f"{limits.zip_entries} files")
        return
    for entry in entries:
        yield from inspected(entry)
    for name, count in Counter(entry.orig_filename for entry in entries).items():
        if count > 1:
            yield Finding(rule=rules.package.DUPLICATE_ENTRY, file=printable(name))
    for entry in overlapping(entries, end):
        yield Finding(rule=rules.package.OVERLAP, file=printable(entry.orig_filename))
    if sum(entry.file_size for entry in entries) > limits.zip_max:
        yield too_large(PACKAGE, f"{limits.zip_max} bytes")
    for entry in entries:
        if bomb(entry, limits):
            name = printable(entry.orig_filename)
            yield too_large(name, f"{limits.zip_ratio} times its compressed size")


def inspected(entry: zipfile.ZipInfo) -> Iterator[Finding]:
    """What is wrong with one entry: its name, its kind, how it is packed."""
    # orig_filename is the name as stored; filename ends at a NUL, or comes from an extra field.
    if entry.orig_filename not in NAMES or entry.filename != entry.orig_filename:
        name = printable(entry.orig_filename)
        yield Finding(rule=rules.package.ENTRY_NAME, file=PACKAGE, value=name)
    mode = entry.external_attr >> 16
    if entry.orig_filename.endswith("/") or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
        yield Finding(rule=rules.package.NOT_A_FILE, file=printable(entry.orig_filename))
    if entry.flag_bits & ENCRYPTED_BITS:
        yield Finding(rule=rules.package.ENCRYPTED, file=printable(entry.orig_filename))
    if entry.compress_type not in METHODS:
        yield Finding(rule=rules.package.COMPRESSION, file=printable(entry.orig_filename))


def overlapping(entries: list[zipfile.ZipInfo], end: int) -> Iterator[zipfile.ZipInfo]:
    """Entries that begin inside the one before them, or reach into the directory."""
    ends = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        begins = entry.header_offset
        name = len(entry.orig_filename.encode())
        if begins < ends or begins + LOCAL_HEADER + name + entry.compress_size > end:
            yield entry
        ends = max(ends, begins + LOCAL_HEADER + name + entry.compress_size)


def bomb(entry: zipfile.ZipInfo, limits: Limits) -> bool:
    """Whether the entry grows more than any roster does. Small files may repeat themselves."""
    return entry.file_size > RATIO_FLOOR and entry.file_size > limits.zip_ratio * max(
        entry.compress_size, 1
    )


def too_large(file: str, limit: str) -> Finding:
    """The package, or a file of it, passes a ceiling."""
    return Finding(rule=rules.package.TOO_LARGE, file=file, facts={"limit": limit})


def printable(name: str) -> str:
    """A name from the zip, safe to store and show."""
    return "".join(sign if sign.isprintable() else "�" for sign in name)[:200]
