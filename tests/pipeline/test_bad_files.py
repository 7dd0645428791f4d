"""Bad files by name: each is refused with this verdict and no other.

A bad file is made from the clean town by one deed, and is opened and read as an import does it. The
verdict is every error that is found, in order: rule, file, line, column.
"""

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipInfo
from zlib import crc32

import pytest

from pipeline.claims import Claim, Watch
from pipeline.faults import Findings
from pipeline.limits import MIB, Limits
from pipeline.opening import open_upload
from pipeline.reading import Reader
from schemas.policy import Reading
from schemas.profiles import V1_2, V1_2_1
from schemas.roster import BY_FILE
from schemas.runs import Mode
from tests.pipeline.conftest import TOWN

Place: TypeAlias = tuple[str, str, int | None, str | None]
Bytes: TypeAlias = Callable[[bytes], bytes]

# A zip member's place in the directory, from the beginning of its entry.
FLAGS, METHOD, CRC, PACKED, SIZE, OFFSET = 8, 10, 16, 20, 24, 42
READING = Reading(profile="1.2.1")  # what Japan asks of values is another matter
LIMITS = Limits(
    zip_entries=30, zip_max=8 * MIB, row_max=20_000, field_max=5_000, columns_max=40, piece=MIB
)


@dataclass(frozen=True)
class Bad:
    """A bad upload: its bytes, what must be said of it, and how it is sent."""

    make: Callable[[], bytes]
    verdict: tuple[Place, ...]
    entity: str | None = None
    mode: Mode | None = None


# --- Deeds ---------------------------------------------------------------------------------------


def town(**instead: bytes | None) -> bytes:
    """The town with these files instead."""
    return TOWN.zip(**instead)


def file(name: str, deed: Bytes) -> Callable[[], bytes]:
    """The town with other bytes in one file."""
    text = TOWN.manifest() if name == "manifest" else TOWN.text(name)
    return lambda: town(**{name: deed(text.encode())})


def line(name: str, number: int, new: bytes) -> Callable[[], bytes]:
    """The town with another line in one file, which ends as lines do."""

    def deed(data: bytes) -> bytes:
        lines = data.split(b"\r\n")
        return b"\r\n".join([*lines[: number - 1], new, *lines[number:]])

    return file(name, deed)


def swap(name: str, old: str, new: bytes | str) -> Callable[[], bytes]:
    """The town with one piece of text written otherwise."""
    data = new if isinstance(new, bytes) else new.encode()

    def deed(text: bytes) -> bytes:
        assert old.encode() in text
        return text.replace(old.encode(), data, 1)

    return file(name, deed)


def header(name: str, deed: Callable[[list[str]], list[str]]) -> Callable[[], bytes]:
    """The town with another header in one file; the rows get as many cells."""

    def change(data: bytes) -> bytes:
        head, *rows = data.decode().removesuffix("\r\n").split("\r\n")
        old, new = head.split(","), deed(head.split(","))
        lines = [",".join(new)]
        for row in rows:
            cells = row.split('","')[: len(new)]
            missing = len(new) - len(old)
            lines.append('","'.join(cells).rstrip('"') + '"' + ',""' * max(missing, 0))
        return "\r\n".join([*lines, ""]).encode()

    return file(name, change)


def property_(name: str) -> int:
    """The line of the manifest that names it."""
    return next(
        number
        for number, text in enumerate(TOWN.manifest().split("\r\n"), start=1)
        if text.startswith(f'"{name}"')
    )


def zipped(deed: Callable[[zipfile.ZipFile], None]) -> Callable[[], bytes]:
    """The town with something more in its zip."""

    def make() -> bytes:
        out = io.BytesIO(town())
        with zipfile.ZipFile(out, "a", ZIP_DEFLATED) as archive:
            deed(archive)
        return out.getvalue()

    return make


def added(name: str | ZipInfo, data: bytes = b"x") -> Callable[[], bytes]:
    return zipped(lambda archive: archive.writestr(name, data))


def kind(mode: int) -> ZipInfo:
    """An entry that is no file."""
    entry = ZipInfo("demographics.csv")
    entry.external_attr = (mode | 0o777) << 16
    return entry


def patched(what: int, form: str, value: int) -> Callable[[], bytes]:
    """The town with one number changed in the directory, where it speaks of orgs.csv."""

    def make() -> bytes:
        data = town()
        at = data.rindex(b"PK\x01\x02", 0, data.rindex(b"orgs.csv"))
        new = struct.pack(form, value)
        return data[: at + what] + new + data[at + what + len(new) :]

    return make


def spoilt(place: bytes, instead: bytes) -> Callable[[], bytes]:
    """The town, not compressed, with bytes of orgs.csv that another made of it on the way."""

    def make() -> bytes:
        data = packed(ZIP_STORED)()
        at = data.index(place, data.index(HEAD))
        return data[:at] + instead + data[at + len(instead) :]

    return make


def packed(method: int) -> Callable[[], bytes]:
    """The town, packed by another method."""

    def make() -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(town())) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                way = method if name == "orgs.csv" else ZIP_STORED
                new.writestr(name, old.read(name), compress_type=way)
        return out.getvalue()

    return make


def renamed(new: bytes) -> Callable[[], bytes]:
    """The town with demographics.csv under another name of as many bytes."""
    return lambda: town().replace(b"demographics.csv", new)


def nested(archive: zipfile.ZipFile) -> None:
    """One entry lies inside another."""
    data = b"sourcedId\r\n"
    inner, outer = ZipInfo("resources.csv"), ZipInfo("userResources.csv")
    inner.CRC = crc32(data)
    inner.file_size = inner.compress_size = len(data)
    archive.writestr(outer, inner.FileHeader() + data)
    inner.header_offset = outer.header_offset + len(outer.FileHeader())
    archive.infolist().append(inner)


def crowded(archive: zipfile.ZipFile) -> None:
    for number in range(30):
        archive.writestr(f"x{number}", b"")


def doubled(archive: zipfile.ZipFile) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("orgs.csv", b"x")


def absent(*files: str) -> bytes:
    """A manifest that says absent for these."""
    text = TOWN.manifest()
    for name in files:
        text = text.replace(f'"file.{name}","bulk"', f'"file.{name}","absent"')
    return text.encode()


ORGS = TOWN.text("orgs").encode()
HEAD = ORGS.split(b"\r\n")[0]
MANY = "x" * 5_001


def orgs(rule: str, number: int | None, column: str | None = None) -> tuple[Place, ...]:
    return ((rule, "orgs.csv", number, column),)


def lacking(*columns: str) -> tuple[Place, ...]:
    return tuple(("header.missing", "orgs.csv", 1, column) for column in columns)


COLUMNS = V1_2_1.header(BY_FILE["orgs"])

# --- The table -----------------------------------------------------------------------------------

ZIPS: dict[str, Bad] = {
    "no bytes": Bad(lambda: b"", (("package.not_zip", "package", None, None),)),
    "a CSV instead of a zip": Bad(lambda: ORGS, (("package.not_zip", "package", None, None),)),
    "a gzip": Bad(
        lambda: b"\x1f\x8b\x08" + b"\0" * 90, (("package.not_zip", "package", None, None),)
    ),
    "half a zip": Bad(
        lambda: town()[: len(town()) // 2], (("package.not_zip", "package", None, None),)
    ),
    "an empty zip": Bad(
        lambda: b"PK\x05\x06" + b"\0" * 18, (("manifest.missing", "manifest.csv", None, None),)
    ),
    "a foreign file": Bad(added("students.csv"), (("package.entry_name", "package", None, None),)),
    "a file in a folder": Bad(
        added("data/resources.csv"), (("package.entry_name", "package", None, None),)
    ),
    "a way out of the folder": Bad(
        added("../resources.csv"), (("package.entry_name", "package", None, None),)
    ),
    "a name in capitals": Bad(
        added("Resources.csv"), (("package.entry_name", "package", None, None),)
    ),
    "a Macintosh's shadow": Bad(
        added("__MACOSX/._orgs.csv"), (("package.entry_name", "package", None, None),)
    ),
    "a zip in the zip": Bad(
        added("roster.zip", town()), (("package.entry_name", "package", None, None),)
    ),
    "a name behind a NUL": Bad(
        renamed(b"demograph.csv\0\0x"), (("package.entry_name", "package", None, None),)
    ),
    "a folder": Bad(
        added("resources.csv/", b""),
        (
            ("package.entry_name", "package", None, None),
            ("package.not_a_file", "resources.csv/", None, None),
        ),
    ),
    "a link": Bad(
        lambda: zip_of(kind(stat.S_IFLNK), b"/etc/passwd"),
        (("package.not_a_file", "demographics.csv", None, None),),
    ),
    "a pipe": Bad(
        lambda: zip_of(kind(stat.S_IFIFO), b""),
        (("package.not_a_file", "demographics.csv", None, None),),
    ),
    "a name twice": Bad(zipped(doubled), (("package.duplicate_entry", "orgs.csv", None, None),)),
    "an entry inside another": Bad(
        zipped(nested), (("package.overlap", "resources.csv", None, None),)
    ),
    "an entry that reaches into the directory": Bad(
        patched(PACKED, "<L", 60_000),
        tuple(
            ("package.overlap", f"{name}.csv", None, None)
            for name in ("orgs", *[each for each in TOWN.rows if each != "orgs"], "manifest")
        ),
    ),
    "a password": Bad(patched(FLAGS, "<H", 0x1), (("package.encrypted", "orgs.csv", None, None),)),
    "a strong password": Bad(
        patched(FLAGS, "<H", 0x41), (("package.encrypted", "orgs.csv", None, None),)
    ),
    "a hidden directory": Bad(
        patched(FLAGS, "<H", 0x2000), (("package.encrypted", "orgs.csv", None, None),)
    ),
    "bzip2": Bad(packed(ZIP_BZIP2), (("package.compression", "orgs.csv", None, None),)),
    "LZMA": Bad(packed(ZIP_LZMA), (("package.compression", "orgs.csv", None, None),)),
    "another checksum": Bad(patched(CRC, "<L", 7), (("package.corrupt", "orgs.csv", None, None),)),
    "a damaged byte that is no text": Bad(
        spoilt(b"board", b"\xff"), (("package.corrupt", "orgs.csv", None, None),)
    ),
    "a damaged byte of the header": Bad(
        spoilt(b"sourcedId", b"S"), (("package.corrupt", "orgs.csv", None, None),)
    ),
    "a size too small": Bad(patched(SIZE, "<L", 9), (("package.corrupt", "orgs.csv", None, None),)),
    "a size too large": Bad(
        patched(SIZE, "<L", 999), (("package.corrupt", "orgs.csv", None, None),)
    ),
    "a bomb": Bad(
        lambda: town(demographics=b"0" * (2 * MIB)),
        (("package.too_large", "demographics.csv", None, None),),
    ),
    "more than fits": Bad(
        patched(SIZE, "<L", 9 * MIB),
        (
            ("package.too_large", "package", None, None),
            ("package.too_large", "orgs.csv", None, None),
        ),
    ),
    "more entries than files exist": Bad(
        zipped(crowded),
        (("package.too_large", "package", None, None),),
    ),
}
MANIFESTS: dict[str, Bad] = {
    "no manifest": Bad(
        lambda: town(manifest=None), (("manifest.missing", "manifest.csv", None, None),)
    ),
    "an empty manifest": Bad(
        lambda: town(manifest=b""), (("csv.empty", "manifest.csv", None, None),)
    ),
    "a manifest in UTF-16": Bad(
        file("manifest", lambda data: data.decode().encode("utf-16")),
        (("csv.utf16", "manifest.csv", None, None),),
    ),
    "a manifest in CP932": Bad(
        file("manifest", lambda data: data + '"source.systemName","校務"\r\n'.encode("cp932")),
        (("csv.encoding", "manifest.csv", 25, None),),
    ),
    "a manifest of OneRoster 1.1": Bad(
        swap("manifest", '"oneroster.version","1.2"', '"oneroster.version","1.1"'),
        (("manifest.version", "manifest.csv", 3, "oneroster.version"),),
    ),
    "another version of the manifest": Bad(
        swap("manifest", '"manifest.version","1.0"', '"manifest.version","1"'),
        (("manifest.version", "manifest.csv", 2, "manifest.version"),),
    ),
    "a mode that is none": Bad(
        swap("manifest", '"file.orgs","bulk"', '"file.orgs","full"'),
        (("manifest.mode", "manifest.csv", 4, "file.orgs"),),
    ),
    "a mode in capitals": Bad(
        swap("manifest", '"file.orgs","bulk"', '"file.orgs","Bulk"'),
        (("manifest.mode", "manifest.csv", 4, "file.orgs"),),
    ),
    "a file that is announced and missing": Bad(
        lambda: town(demographics=None),
        (
            (
                "manifest.file_missing",
                "manifest.csv",
                property_("file.demographics"),
                "file.demographics",
            ),
        ),
    ),
    "a file that is there though absent": Bad(
        lambda: town(manifest=absent("demographics")),
        (
            (
                "manifest.file_unexpected",
                "manifest.csv",
                property_("file.demographics"),
                "file.demographics",
            ),
        ),
    ),
    "a property missing": Bad(
        swap("manifest", '"file.results","absent"\r\n', ""),
        (("manifest.missing_property", "manifest.csv", None, "file.results"),),
    ),
    "a property misspelt as the standard once did": Bad(
        swap("manifest", "file.courseResources", "file.courseResourses"),
        (("manifest.missing_property", "manifest.csv", None, "file.courseResources"),),
    ),
    "a property twice": Bad(
        file("manifest", lambda data: data + b'"file.orgs","bulk"\r\n'),
        (("manifest.duplicate_property", "manifest.csv", 25, "file.orgs"),),
    ),
    "a manifest with another header": Bad(
        swap("manifest", "propertyName,value", "property,value"),
        (
            ("header.missing", "manifest.csv", 1, "propertyName"),
            ("header.unknown", "manifest.csv", 1, "property"),
        ),
    ),
    "a manifest with its columns swapped": Bad(
        swap("manifest", "propertyName,value", "value,propertyName"),
        (("header.order", "manifest.csv", 1, "propertyName"),),
    ),
    "a manifest with a third cell": Bad(
        swap("manifest", '"file.results","absent"', '"file.results","absent",""'),
        (
            ("csv.row_width", "manifest.csv", property_("file.results"), None),
            ("manifest.missing_property", "manifest.csv", None, "file.results"),
        ),
    ),
    "a manifest with a blank line": Bad(
        file("manifest", lambda data: data + b"\r\n"),
        (("csv.blank_line", "manifest.csv", 25, None),),
    ),
    "a manifest with a quote that is not closed": Bad(
        swap("manifest", '"file.results","absent"', '"file.results","absent'),
        (
            ("csv.quoting", "manifest.csv", property_("file.results"), None),
            ("manifest.missing_property", "manifest.csv", None, "file.results"),
        ),
    ),
    "a manifest that is too long": Bad(
        file("manifest", lambda data: data + b'"x","y"\r\n' * 3_000),
        (("package.too_large", "manifest.csv", None, None),),
    ),
}
ENCODINGS: dict[str, Bad] = {
    "CP932": Bad(file("orgs", lambda data: data.decode().encode("cp932")), orgs("csv.encoding", 2)),
    "CP932 in one line": Bad(
        swap("orgs", "南小学校", "南小学校".encode("cp932")), orgs("csv.encoding", 4)
    ),
    "EUC-JP": Bad(
        file("orgs", lambda data: data.decode().encode("euc_jp")), orgs("csv.encoding", 2)
    ),
    "ISO-2022-JP": Bad(
        file("orgs", lambda data: data.decode().encode("iso2022_jp")),
        tuple(("csv.control_character", "orgs.csv", number, None) for number in (2, 3, 4)),
    ),
    "Latin-1": Bad(swap("orgs", "南", "é".encode("latin-1")), orgs("csv.encoding", 4)),
    "UTF-16 with a mark": Bad(
        file("orgs", lambda data: data.decode().encode("utf-16")), orgs("csv.utf16", None)
    ),
    "UTF-16 without a mark, little end first": Bad(
        file("orgs", lambda data: data.decode().encode("utf-16-le")), orgs("csv.utf16", None)
    ),
    "UTF-16 without a mark, big end first": Bad(
        file("orgs", lambda data: data.decode().encode("utf-16-be")), orgs("csv.utf16", None)
    ),
    "UTF-32": Bad(
        file("orgs", lambda data: data.decode().encode("utf-32")), orgs("csv.utf16", None)
    ),
    "a sign cut in two": Bad(swap("orgs", "校", "校".encode()[:2]), orgs("csv.encoding", 3)),
    "an overlong slash": Bad(swap("orgs", "南", b"\xc0\xaf"), orgs("csv.encoding", 4)),
    "half of a pair of surrogates": Bad(
        swap("orgs", "南", b"\xed\xa0\x80"), orgs("csv.encoding", 4)
    ),
    "a sign beyond Unicode": Bad(swap("orgs", "南", b"\xf4\x90\x80\x80"), orgs("csv.encoding", 4)),
    "a byte order mark twice": Bad(
        file("orgs", lambda data: b"\xef\xbb\xbf" * 2 + data),
        (("header.unknown", "orgs.csv", 1, "\ufeffsourcedId"), *lacking("sourcedId")),
    ),
}
LINES: dict[str, Bad] = {
    "an empty file": Bad(lambda: town(orgs=b""), orgs("csv.empty", None)),
    "only a mark": Bad(lambda: town(orgs=b"\xef\xbb\xbf"), orgs("csv.empty", None)),
    "only a header": Bad(lambda: town(orgs=HEAD + b"\r\n"), orgs("csv.no_rows", None)),
    "only a header without its end": Bad(lambda: town(orgs=HEAD), orgs("csv.no_rows", None)),
    "a cell too few": Bad(swap("orgs", '"北小学校",', ""), orgs("csv.row_width", 3)),
    "a cell too many": Bad(swap("orgs", '"北小学校",', '"北小学校","",'), orgs("csv.row_width", 3)),
    "a comma without quotes": Bad(
        line("orgs", 3, "north,,,北,小学校,school,,board".encode()), orgs("csv.row_width", 3)
    ),
    "semicolons": Bad(line("orgs", 3, b"north;;;x;school;;board"), orgs("csv.row_width", 3)),
    "tabs": Bad(
        line("orgs", 3, b"north\t\t\tx\tschool\t\tboard"), orgs("csv.control_character", 3)
    ),
    "a quote that is not closed": Bad(
        swap("orgs", '"北小学校"', '"北小学校'), orgs("csv.quoting", 3)
    ),
    "a quote inside a quoted value": Bad(
        swap("orgs", "北小学校", '北"小"学校'), orgs("csv.quoting", 3)
    ),
    "a quote inside a bare value": Bad(
        swap("orgs", '"北小学校"', '北"小学校'), orgs("csv.quoting", 3)
    ),
    "text behind a quote": Bad(swap("orgs", '"北小学校"', '"北"小学校'), orgs("csv.quoting", 3)),
    "a blank in front of a quote": Bad(
        swap("orgs", '"北小学校"', ' "北小学校"'), orgs("csv.quoting", 3)
    ),
    "a quote escaped by a backslash": Bad(
        swap("orgs", "北小学校", '北\\"小学校'), orgs("csv.quoting", 3)
    ),
    "single quotes around a comma": Bad(
        swap("orgs", '"北小学校"', "'北,小学校'"), orgs("csv.row_width", 3)
    ),
    "a line feed in a value": Bad(
        swap("orgs", "北小学校", "北\n小学校"),
        (*orgs("csv.quoting", 3), *orgs("csv.quoting", 4)),
    ),
    "a line end in a value": Bad(
        swap("orgs", "北小学校", "北\r\n小学校"),
        (*orgs("csv.quoting", 3), *orgs("csv.quoting", 4)),
    ),
    "a carriage return in a value": Bad(
        swap("orgs", "北小学校", "北\r小学校"), orgs("csv.carriage_return", 3)
    ),
    "carriage returns alone": Bad(
        file("orgs", lambda data: data.replace(b"\r\n", b"\r")), orgs("csv.carriage_return", 1)
    ),
    "two carriage returns": Bad(
        swap("orgs", '"school","","board"\r\n', '"school","","board"\r\r\n'),
        orgs("csv.carriage_return", 3),
    ),
    "a NUL": Bad(swap("orgs", "北", "\0"), orgs("csv.control_character", 3)),
    "NULs behind the end": Bad(
        file("orgs", lambda data: data + b"\0" * 100), orgs("csv.control_character", 5)
    ),
    "an old end of file": Bad(
        file("orgs", lambda data: data + b"\x1a"), orgs("csv.control_character", 5)
    ),
    "an escape sequence": Bad(swap("orgs", "北", "\x1b[31m"), orgs("csv.control_character", 3)),
    "a delete": Bad(swap("orgs", "北", "\x7f"), orgs("csv.control_character", 3)),
    "a form feed": Bad(swap("orgs", "北", "\f"), orgs("csv.control_character", 3)),
    "a blank line": Bad(swap("orgs", '"north"', '\r\n"north"'), orgs("csv.blank_line", 3)),
    "a line of blanks": Bad(swap("orgs", '"north"', '   \r\n"north"'), orgs("csv.blank_line", 3)),
    "a line of commas": Bad(
        swap("orgs", '"north"', ',,,,,,\r\n"north"'),
        tuple(
            ("value.required", "orgs.csv", 3, column) for column in ("sourcedId", "name", "type")
        ),
    ),
    "a comment": Bad(swap("orgs", '"north"', '# x\r\n"north"'), orgs("csv.row_width", 3)),
    "a total at the end": Bad(
        file("orgs", lambda data: data + "合計 3 件\r\n".encode()), orgs("csv.row_width", 5)
    ),
    "a row too long": Bad(swap("orgs", "北小学校", "x" * 20_001), orgs("csv.row_size", 3)),
    "a value too long": Bad(swap("orgs", "北小学校", MANY), orgs("csv.field_size", 3, "name")),
}
HEADERS: dict[str, Bad] = {
    "no header": Bad(
        file("orgs", lambda data: data.partition(b"\r\n")[2]), orgs("mapping.none", 1)
    ),
    "a column missing": Bad(header("orgs", lambda h: h[:-1]), lacking("parentSourcedId")),
    "a column too many": Bad(
        header("orgs", lambda h: [*h, "schoolCode"]),
        orgs("header.unknown", 1, "schoolCode"),
    ),
    "a column misspelt": Bad(
        header("orgs", lambda h: [*h[:5], "identifer", h[6]]),
        (*orgs("header.unknown", 1, "identifer"), *lacking("identifier")),
    ),
    "a column in capitals": Bad(
        header("orgs", lambda h: ["SourcedId", *h[1:]]),
        (*orgs("header.unknown", 1, "SourcedId"), *lacking("sourcedId")),
    ),
    "a column with a blank behind it": Bad(
        header("orgs", lambda h: ["sourcedId ", *h[1:]]),
        (*orgs("header.unknown", 1, "sourcedId "), *lacking("sourcedId")),
    ),
    "two columns swapped": Bad(
        header("orgs", lambda h: [*h[:3], h[4], h[3], *h[5:]]),
        (*orgs("header.order", 1, "name"), *orgs("header.order", 1, "type")),
    ),
    "a column twice": Bad(
        header("orgs", lambda h: [*h, "name"]), orgs("header.duplicate", 1, "name")
    ),
    "a metadata column twice": Bad(
        header("orgs", lambda h: [*h, "metadata.x", "metadata.x"]),
        orgs("header.duplicate", 1, "metadata.x"),
    ),
    "a column without a name": Bad(
        header("orgs", lambda h: [*h, ""]), orgs("header.unknown", 1, "")
    ),
    "metadata between the columns": Bad(
        header("orgs", lambda h: [*h[:6], "metadata.x", h[6]]),
        orgs("header.order", 1, "parentSourcedId"),
    ),
    "metadata in capitals": Bad(
        header("orgs", lambda h: [*h, "Metadata.x"]), orgs("header.unknown", 1, "Metadata.x")
    ),
    "both spellings of an enrolment column": Bad(
        header("enrollments", lambda h: [*h, "metadata.jp.shussekiNo"]),
        (("header.duplicate", "enrollments.csv", 1, "metadata.jp.shussekiNo"),),
    ),
    "users as in the candidate of 2021": Bad(
        header("users", lambda h: [name for name in h if name != "pronouns"]),
        (("header.missing", "users.csv", 1, "pronouns"),),
    ),
    "users with the resources of 1.2 in another place": Bad(
        header("users", lambda h: [*h, "resourceSourcedIds"]),
        tuple(
            ("header.order", "users.csv", 1, column)
            for column in V1_2.header(BY_FILE["users"])[17:]
        ),
    ),
    "users as in 1.1": Bad(
        header("users", lambda h: [*h[:4], "orgSourcedIds", "role", *h[4:]]),
        (
            ("header.unknown", "users.csv", 1, "orgSourcedIds"),
            ("header.unknown", "users.csv", 1, "role"),
            *(
                ("header.order", "users.csv", 1, column)
                for column in V1_2_1.header(BY_FILE["users"])[4:]
            ),
        ),
    ),
    "semicolons in the header": Bad(
        file("orgs", lambda data: data.replace(HEAD, HEAD.replace(b",", b";"))),
        orgs("mapping.none", 1),
    ),
    "Excel's hint in front of the header": Bad(
        file("orgs", lambda data: b"sep=,\r\n" + data),
        orgs("mapping.none", 1),
    ),
    "a blank line in front of the header": Bad(
        file("orgs", lambda data: b"\r\n" + data), orgs("csv.blank_line", 1)
    ),
    "a quote in the header that is not closed": Bad(
        file("orgs", lambda data: b'"' + data), orgs("csv.quoting", 1)
    ),
    "a NUL in the header": Bad(
        file("orgs", lambda data: data.replace(b"name", b"na\0me", 1)),
        orgs("csv.control_character", 1),
    ),
    "more columns than are read": Bad(
        header("orgs", lambda h: [*h, *(f"metadata.{n}" for n in range(34))]),
        orgs("header.columns", 1),
    ),
    "a header too long": Bad(
        file("orgs", lambda data: data.replace(HEAD, HEAD + b",metadata." + b"x" * (2 * MIB), 1)),
        (("package.too_large", "orgs.csv", None, None),),
    ),
    "the header of another file": Bad(
        lambda: town(orgs=TOWN.text("courses").encode()),
        (
            *(
                ("header.unknown", "orgs.csv", 1, column)
                for column in V1_2_1.header(BY_FILE["courses"])[3:]
            ),
            *lacking("name", "type", "identifier", "parentSourcedId"),
        ),
    ),
}
SINGLE: dict[str, Bad] = {
    "a zip sent as one CSV": Bad(
        # The bytes behind the first depend on the clock and on zlib.
        lambda: b"PK\x03\x04\x8f" + town(),
        (("csv.encoding", "orgs.csv", 1, None),),
        entity="orgs",
        mode="bulk",
    ),
    "one CSV without a row": Bad(
        lambda: HEAD, orgs("csv.no_rows", None), entity="orgs", mode="upsert"
    ),
    "one CSV of another file": Bad(
        lambda: TOWN.text("academicSessions").encode(),
        (
            *(
                ("header.unknown", "orgs.csv", 1, column)
                for column in ("title", "startDate", "endDate", "schoolYear")
            ),
            *lacking("name", "identifier"),
        ),
        entity="orgs",
        mode="bulk",
    ),
    "one CSV in bulk with a status": Bad(
        lambda: ORGS.replace(b'"north",""', b'"north","active"'),
        orgs("value.blank_in_bulk", 3, "status"),
        entity="orgs",
        mode="bulk",
    ),
    "one CSV as a delta without a status": Bad(
        lambda: HEAD + b"\r\nx,,2026-04-01T00:00:00.000Z,name,school,,\r\n",
        orgs("value.required", 2, "status"),
        entity="orgs",
        mode="delta",
    ),
}
BAD = {**ZIPS, **MANIFESTS, **ENCODINGS, **LINES, **HEADERS, **SINGLE}


def zip_of(entry: ZipInfo, data: bytes) -> bytes:
    """The town with this as its demographics."""
    out = io.BytesIO(town(demographics=None))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(entry, data)
    return out.getvalue()


# --- The verdict ---------------------------------------------------------------------------------

Judge: TypeAlias = Callable[[Bad], Reader]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """Open and read an upload as an import does."""

    def read(bad: Bad) -> Reader:
        path = tmp_path / "upload"
        path.write_bytes(bad.make())
        claim = Claim(0, uuid4(), attempt=1, fence=1, entity=bad.entity, mode=bad.mode)
        findings = Findings(LIMITS.findings_max)
        package = open_upload(path, claim, LIMITS, findings, reading=READING)
        reader = Reader(package, Watch(), findings, LIMITS)
        for _ in reader.batches():
            pass
        return reader

    return read


def errors(found: Reader) -> tuple[Place, ...]:
    """Every error, in order."""
    return tuple(
        (each.rule.id, each.file, each.line, each.column)
        for each in found.findings.all
        if each.rule.severity == "error"
    )


def test_there_are_more_than_sixty() -> None:
    parts = (ZIPS, MANIFESTS, ENCODINGS, LINES, HEADERS, SINGLE)
    assert sum(map(len, parts)) == len(BAD) > 60


def test_the_town_itself_is_good(judge: Judge) -> None:
    found = judge(Bad(town, ()))
    assert errors(found) == ()
    assert found.rows == {file: len(rows) for file, rows in TOWN.rows.items()}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gets_its_verdict(judge: Judge, name: str) -> None:
    assert errors(judge(BAD[name])) == BAD[name].verdict


ROWS = [
    name for name, bad in LINES.items() if all((line or 0) > 1 for _, _, line, _ in bad.verdict)
]


@pytest.mark.parametrize("name", ROWS)
def test_every_line_is_counted_and_the_bad_ones_are_rejected(judge: Judge, name: str) -> None:
    found, data = judge(BAD[name]), BAD[name].make()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        lines = archive.read("orgs.csv").removesuffix(b"\n").count(b"\n")
    assert found.rows["orgs"] == lines
    assert found.faulty["orgs"] == {line for _, _, line, _ in BAD[name].verdict}
