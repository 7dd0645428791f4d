"""What can be wrong with a package: one fault, one declaration, one place.

Every fault says in a sentence what it is, where a checker must point, and how the bytes get
there. All work on a stream of lines, an open entry or an archive that is about to be closed, so
a faulty package of any size needs no more memory than a clean one.
"""

import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import TypeAlias
from warnings import catch_warnings, simplefilter
from zipfile import ZIP_STORED, ZipFile, ZipInfo
from zlib import crc32

from loadtests.sheets import LINE_END, MANIFEST, PROPERTIES
from schemas.entity import Entity
from schemas.profiles import MANIFEST_HEADER, V1_2
from schemas.roster.orgs import Org
from schemas.roster.people import Demographics, User
from schemas.roster.resources import Resource, UserResource
from schemas.roster.teaching import Class, Enrollment

Lines: TypeAlias = Iterator[str]

NOBODY = "00000000-0000-4000-8000-000000000000"
MEBIBYTE = 1 << 20
BOMB = 1 << 30
"""What the bomb inflates to: about a megabyte on disk, so a thousand times as much."""

VERSION = "oneroster.version"
PROMISE = f"file.{Demographics.file}"
VALUE = MANIFEST_HEADER[1]


def as_it_is(lines: Lines) -> Lines:
    """Change no line."""
    return lines


def untouched(_: ZipInfo) -> None:
    """Change no entry."""


def complete(_: ZipFile) -> None:
    """Add nothing to the archive."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """A fault: `why` it is one, where it lies, and how it comes about.

    `file` is the name in the archive, blank for the archive as a whole. The header is line 1;
    line 0 is the file as a whole. `column` is a name of the header, or, in the manifest, the name
    of the property; blank for the whole line. `spoils` is the file that is written wrongly, where
    the fault shows in another.
    """

    why: str
    file: str = ""
    line: int = 0
    column: str = ""
    spoils: str = ""
    lines: Callable[[Lines], Lines] = as_it_is
    encoding: str = ""
    left_out: bool = False
    entry: Callable[[ZipInfo], None] = untouched
    archive: Callable[[ZipFile], None] = complete
    instead: bytes | None = None


def csv(entity: type[Entity]) -> str:
    """The name of the entity's file in the archive."""
    return f"{entity.file}.csv"


def property_line(name: str) -> int:
    """The line of a manifest property."""
    return PROPERTIES.index(name) + 2


def cell(line: int, column: str, raw: str) -> Callable[[Lines], Lines]:
    """Write `raw` as that cell, quotation marks and all; `{}` is the old value."""

    def change(lines: Lines) -> Lines:
        head = list(islice(lines, line))
        at = head[0].strip().split(",").index(column)
        cells = values(head[-1])
        texts = [f'"{value}"' for value in cells]
        texts[at] = raw.format(cells[at])
        return chain(head[:-1], [",".join(texts) + LINE_END], lines)

    return change


def values(line: str) -> list[str]:
    """The values of a line that `quoted` has written."""
    return line.strip()[1:-1].split('","')


def cut(lines: Lines) -> Lines:
    """Take the last cell from line 3."""
    head = list(islice(lines, 3))
    return chain(head[:-1], [head[-1].rpartition(",")[0] + LINE_END], lines)


def same_id(lines: Lines) -> Lines:
    """Give line 3 the sourcedId of line 2."""
    head = list(islice(lines, 3))
    (known, _, _), (_, comma, rest) = head[1].partition(","), head[2].partition(",")
    return chain(head[:-1], [known + comma + rest], lines)


def misspelt(lines: Lines) -> Lines:
    """Two letters of a column name swapped, as real exports have had it."""
    column = User.user_master_identifier.csv
    yield next(lines).replace(column, column.replace("tifi", "fiti"))
    yield from lines


def twice(line: int) -> Callable[[Lines], Lines]:
    """Repeat a line."""

    def change(lines: Lines) -> Lines:
        head = list(islice(lines, line))
        return chain(head, head[-1:], lines)

    return change


def carriage_returns(lines: Lines) -> Lines:
    """End lines as computers did before 2001."""
    return (line.replace(LINE_END, "\r") for line in lines)


def marked(lines: Lines) -> Lines:
    """Begin with a byte order mark."""
    return chain(["\ufeff"], lines)


def first(lines: Lines) -> Lines:
    """Keep the header only."""
    return islice(lines, 1)


def bomb(lines: Lines) -> Lines:
    """After the header, one line of zeros that does not end."""
    return chain(first(lines), repeat("0" * MEBIBYTE, BOMB // MEBIBYTE))


def target(_: Lines) -> Lines:
    """What a symlink holds."""
    return iter(["/etc/passwd"])


def link(entry: ZipInfo) -> None:
    """Say that the entry is a symlink."""
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16


def locked(entry: ZipInfo) -> None:
    """Say that the entry is encrypted."""
    entry.flag_bits |= 0x1


def header(entity: type[Entity]) -> str:
    """A file with no records."""
    return ",".join(V1_2.header(entity)) + LINE_END


def extra(name: str, entity: type[Entity]) -> Callable[[ZipFile], None]:
    """Add an entry that does not belong."""

    def add(archive: ZipFile) -> None:
        with catch_warnings():
            simplefilter("ignore", UserWarning)  # a duplicate name is the point here
            archive.writestr(ZipInfo(name), header(entity))

    return add


def quoted_entry(archive: ZipFile) -> None:
    """Hide a whole entry in the data of another, and list both."""
    data = header(Resource).encode()
    inner, outer = ZipInfo(csv(Resource)), ZipInfo(csv(UserResource))
    inner.compress_type, inner.CRC = ZIP_STORED, crc32(data)
    inner.file_size = inner.compress_size = len(data)
    archive.writestr(outer, inner.FileHeader() + data)
    inner.header_offset = outer.header_offset + len(outer.FileHeader())
    archive.infolist().append(inner)


FAULTS: Mapping[str, Expectation] = {
    "not_a_zip": Expectation(
        why="The upload is text, not a zip.",
        instead=header(User).encode(),
    ),
    "no_manifest": Expectation(
        why="The package has no manifest.csv.",
        file=MANIFEST,
        left_out=True,
    ),
    "wrong_file_name": Expectation(
        why="The package holds a file that the binding does not know.",
        file="students.csv",
        archive=extra("students.csv", User),
    ),
    "path_traversal": Expectation(
        why="An entry would be unpacked outside of its folder.",
        file=f"../{csv(User)}",
        archive=extra(f"../{csv(User)}", User),
    ),
    "zip_bomb": Expectation(
        why="An entry is small on disk and huge when inflated.",
        file=csv(Demographics),
        lines=bomb,
    ),
    "wrong_header": Expectation(
        why="A column name is misspelt.",
        file=csv(User),
        line=1,
        column=User.user_master_identifier.csv,
        lines=misspelt,
    ),
    "ragged_row": Expectation(
        why="A row has one cell less than the header.",
        file=csv(User),
        line=3,
        lines=cut,
    ),
    "cr_only": Expectation(
        why="Lines end with a carriage return alone.",
        file=csv(Org),
        lines=carriage_returns,
    ),
    "utf16": Expectation(
        why="The file is UTF-16, as a spreadsheet saves Unicode text.",
        file=csv(Org),
        lines=marked,
        encoding="utf-16-le",
    ),
    "nul": Expectation(
        why="A cell holds a NUL, which PostgreSQL cannot store.",
        file=csv(Org),
        line=3,
        column=Org.name.csv,
        lines=cell(3, Org.name.csv, '"{}\0"'),
    ),
    "cp932": Expectation(
        why="The file is CP932, as a Japanese spreadsheet saves CSV.",
        file=csv(Org),
        encoding="cp932",
    ),
    "header_only": Expectation(
        why="The manifest promises records and the file has none.",
        file=csv(Demographics),
        lines=first,
    ),
    "unknown_reference": Expectation(
        why="A reference points at a record that is not there.",
        file=csv(User),
        line=2,
        column=User.primary_org_sourced_id.csv,
        lines=cell(2, User.primary_org_sourced_id.csv, f'"{NOBODY}"'),
    ),
    "duplicate_sourced_id": Expectation(
        why="A record has the sourcedId of the record above it.",
        file=csv(Enrollment),
        line=3,
        column=Enrollment.sourced_id.csv,
        lines=same_id,
    ),
    "bad_date": Expectation(
        why="A date is written with slashes.",
        file=csv(Demographics),
        line=2,
        column=Demographics.birth_date.csv,
        lines=cell(2, Demographics.birth_date.csv, '"2015/05/05"'),
    ),
    "bad_vocabulary": Expectation(
        why="A word of a vocabulary is written with a capital.",
        file=csv(Class),
        line=2,
        column=Class.class_type.csv,
        lines=cell(2, Class.class_type.csv, '"Homeroom"'),
    ),
    "missing_value": Expectation(
        why="A mandatory value is empty.",
        file=csv(User),
        line=2,
        column=User.given_name.csv,
        lines=cell(2, User.given_name.csv, '""'),
    ),
    "unclosed_quote": Expectation(
        why="A quoted cell does not end.",
        file=csv(Org),
        line=3,
        column=Org.name.csv,
        lines=cell(3, Org.name.csv, '"{}'),
    ),
    "line_break_in_field": Expectation(
        why="A cell holds a line break.",
        file=csv(Org),
        line=3,
        column=Org.name.csv,
        lines=cell(3, Org.name.csv, '"{}\n"'),
    ),
    "status_in_bulk": Expectation(
        why="A status is given, which bulk forbids.",
        file=csv(User),
        line=2,
        column=User.status.csv,
        lines=cell(2, User.status.csv, '"active"'),
    ),
    "encrypted_entry": Expectation(
        why="An entry says that it is encrypted.",
        file=csv(Demographics),
        entry=locked,
    ),
    "symlink_entry": Expectation(
        why="An entry is a symlink to a file of the reader.",
        file=csv(Demographics),
        lines=target,
        entry=link,
    ),
    "duplicate_entry": Expectation(
        why="Two entries have one name.",
        file=csv(Org),
        archive=extra(csv(Org), Org),
    ),
    "overlapping_entries": Expectation(
        why="An entry lies inside the data of another.",
        file=csv(Resource),
        archive=quoted_entry,
    ),
    "manifest_mismatch": Expectation(
        why="The manifest says bulk and the file is not there.",
        file=MANIFEST,
        line=property_line(PROMISE),
        column=PROMISE,
        spoils=csv(Demographics),
        left_out=True,
    ),
    "wrong_version": Expectation(
        why="The manifest names a version that is not 1.2.",
        file=MANIFEST,
        line=property_line(VERSION),
        column=VERSION,
        lines=cell(property_line(VERSION), VALUE, '"1.1"'),
    ),
    "duplicate_manifest_property": Expectation(
        why="The manifest has the same property twice.",
        file=MANIFEST,
        line=property_line(VERSION) + 1,
        column=VERSION,
        lines=twice(property_line(VERSION)),
    ),
}
