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
from schemas.columns import Column
from schemas.entity import Entity
from schemas.profiles import MANIFEST_HEADER, V1_2
from schemas.roster import BY_TABLE
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User
from schemas.roster.resources import Resource, UserResource
from schemas.roster.teaching import Class, Course, Enrollment
from schemas.rules import Rule
from schemas.rules import records as between
from schemas.rules import values as said

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
    the fault shows in another. `breaks` is the rule of the book, where a cell breaks one, and
    `becomes` what is in the cell.
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
    breaks: Rule | None = None
    becomes: str = ""


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
        at = head[0].strip().lower().split(",").index(column.lower())
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


def spoilt(rule: Rule, column: Column, becomes: str, why: str, line: int = 2) -> Expectation:
    """One cell that breaks a rule."""
    return Expectation(
        why=why,
        file=csv(BY_TABLE[column.entity]),
        line=line,
        column=column.csv,
        lines=cell(line, column.csv, f'"{becomes}"'),
        breaks=rule,
        becomes=becomes,
    )


def copied(rule: Rule, column: Column, why: str) -> Expectation:
    """Line 3 has the value of line 2."""

    def change(lines: Lines) -> Lines:
        head = list(islice(lines, 2))
        at = head[0].strip().split(",").index(column.csv)
        return cell(3, column.csv, f'"{values(head[1])[at]}"')(chain(head, lines))

    return Expectation(
        why=why,
        file=csv(BY_TABLE[column.entity]),
        line=3,
        column=column.csv,
        lines=change,
        breaks=rule,
    )


SCHOOL = SUBJECT = 3
"""The line of the first school, and of the first course that has a subject."""

OF_CELLS: Mapping[str, Expectation] = {
    "bad_identifier": spoilt(said.GUID, Enrollment.sourced_id, "1 2", "A sourcedId holds a blank."),
    "bad_year": spoilt(said.YEAR, AcademicSession.school_year, "令和8", "A year is one of an era."),
    "bad_number": spoilt(
        said.INTEGER, Enrollment.shusseki_no, "一", "A number is written in kanji."
    ),
    "bad_flag": spoilt(said.BOOLEAN, Demographics.asian, "1", "A flag is a digit."),
    "bad_list": spoilt(said.LIST, Class.grades, "P1,,P2", "An item of a list is empty."),
    "bad_pairs": spoilt(said.PAIRS, User.user_ids, "Koumu:1", "An item lacks its braces."),
    "unpaired_subject": spoilt(
        said.PAIRING, Course.subject_codes, "", "A subject has no code.", SUBJECT
    ),
    "ends_before_it_begins": spoilt(
        said.ORDER, Role.end_date, "2020-03-31", "A role ends before it begins."
    ),
    "primary_pupil": spoilt(
        said.PRIMARY, Enrollment.primary, "true", "A pupil is the primary teacher."
    ),
    "no_master_identifier": spoilt(
        said.PROFILE_REQUIRED,
        User.user_master_identifier,
        "",
        "A value that Japan requires is empty.",
    ),
    "course_code": spoilt(
        said.PROFILE_PROHIBITED, Course.course_code, "HR", "A value that Japan prohibits is given."
    ),
    "session_parent": spoilt(
        said.PROFILE_PROHIBITED,
        AcademicSession.parent_sourced_id,
        NOBODY,
        "A school year has a parent.",
    ),
    "term": spoilt(
        said.PROFILE_VOCABULARY, AcademicSession.type, "term", "A session is a term, not a year."
    ),
    "local_org": spoilt(
        said.PROFILE_VOCABULARY, Org.type, "local", "An org is neither district nor school."
    ),
    "own_class_type": spoilt(
        said.PROFILE_VOCABULARY, Class.class_type, "ext:club", "A kind of class is one's own."
    ),
    "disabled_user": spoilt(
        said.PROFILE_VOCABULARY, User.enabled_user, "false", "A user is not enabled."
    ),
    "own_sex": spoilt(
        said.PROFILE_VOCABULARY, Demographics.sex, "ext:x", "A word of a closed list is one's own."
    ),
    "plain_identifier": spoilt(
        said.UUID, Enrollment.sourced_id, "enrollment-1", "A sourcedId is no UUID."
    ),
    "bad_master_identifier": spoilt(
        said.UUID_V4, User.user_master_identifier, "0001", "A master identifier is no UUID."
    ),
    "session_in_an_era": spoilt(
        said.SESSION_TITLE, AcademicSession.title, "令和8年度", "A school year is one of an era."
    ),
    "year_too_long": spoilt(
        said.SCHOOL_YEAR, AcademicSession.end_date, "2030-03-31", "A school year is years long."
    ),
    "course_without_year": spoilt(
        said.COURSE_TITLE, Course.title, "国語", "A course does not name its year."
    ),
    "bad_grade": spoilt(said.GRADE, Class.grades, "小1", "A grade is written in kanji."),
    "bad_subject_code": spoilt(
        said.SUBJECT_CODE, Course.subject_codes, "国語", "A subject code is a name.", SUBJECT
    ),
    "hiragana": spoilt(
        said.KANA, User.kana_given_name, "さくら", "A reading is written in hiragana."
    ),
    "half_width_name": spoilt(
        said.HALF_WIDTH_KANA, User.given_name, "ﾀﾛｳ", "A name is in half-width katakana."
    ),
    "wide_blank": spoilt(
        said.KANA_SIGNS, User.kana_given_name, "ジャン・ポール", "A reading has a middle dot."
    ),
    "rare_character": spoilt(
        said.CHARACTERS, User.family_name, "髙橋", "A name has a sign outside of JIS X 0213."
    ),
    "district_below_another": spoilt(
        said.DISTRICT_PARENT, Org.parent_sourced_id, NOBODY, "A district has a parent."
    ),
    "bad_school_code": spoilt(
        said.SCHOOL_CODE,
        Org.identifier,
        "B113299999019",
        "The check digit of a school code is wrong.",
        SCHOOL,
    ),
    "bad_board_code": spoilt(
        said.BOARD_CODE, Org.identifier, "990001", "A board of education is in no prefecture."
    ),
    "parent": spoilt(said.GUARDIAN, Role.role, "parent", "A guardian is called a parent."),
    "primary_principal": spoilt(
        said.SECONDARY_ROLE, Role.role, "principal", "A principal is nothing besides."
    ),
    "unusual_role": spoilt(said.UNUSUAL, Role.role, "aide", "A role is one that few read."),
    "several_grades": spoilt(said.SEVERAL, User.grades, "P1,P2", "A pupil is in two grades."),
    "pupil_without_grade": spoilt(
        between.STUDENT_GRADES, User.grades, "", "A pupil is in no grade."
    ),
    "secondary_only": spoilt(
        between.NO_PRIMARY_ROLE, Role.role_type, "secondary", "A person has no primary role."
    ),
    "school_without_district": spoilt(
        between.SCHOOL_WITHOUT_DISTRICT,
        Org.parent_sourced_id,
        "",
        "A school has no parent.",
        SCHOOL,
    ),
    "enrolled_too_early": spoilt(
        between.ENROLLMENT_OUTSIDE,
        Enrollment.begin_date,
        "2020-04-01",
        "An enrollment begins before the school year.",
    ),
    "same_person": copied(
        between.MASTER_IDENTIFIER_TWICE,
        User.user_master_identifier,
        "Two users have one master identifier.",
    ),
    "same_login": copied(between.USERNAME_TWICE, User.username, "Two users have one login name."),
}
"""One for each rule about a cell, and for those between records that a cell can break."""

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
    **OF_CELLS,
}
