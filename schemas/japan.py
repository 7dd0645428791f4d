"""What the Japan profiles ask of values, beyond the binding; each fact once.

The published profiles differ in their columns and in what they require (`schemas.profiles`); what
a value may be is the same in all of them. Errors are what the profile fixes, prohibits or always
asks for; warnings are what it recommends and what only some receivers refuse. Source: Japan
profile 3 and 5 to 9.
"""

from collections.abc import Iterator, Mapping

from schemas.checks import (
    AnyCheck,
    Form,
    FormWhere,
    Items,
    OnlyWith,
    SchoolCode,
    SchoolYear,
    Signs,
    Without,
)
from schemas.columns import Column, Pairs, Text, Texts
from schemas.roster import ROSTERING
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, Role, User
from schemas.roster.teaching import Class, Course, Enrollment
from schemas.rules import values

# Which values there are ----------------------------------------------------------------------

REQUIRED = frozenset[Column](
    {
        User.user_master_identifier,
        User.preferred_given_name,
        User.preferred_family_name,
        User.kana_given_name,
        User.kana_family_name,
        Enrollment.primary,
    }
)
"""What the e-portal and interoperability standards require; K12-1.0 is not known to."""

PROHIBITED = frozenset[Column]({Course.course_code, AcademicSession.parent_sourced_id})

NULLS = frozenset[Column]({AcademicSession.parent_sourced_id, Org.parent_sourced_id})
"""Where receivers once demanded the word NULL for a record at the top; it is read as no value."""

WORDS: Mapping[Column, tuple[str, ...]] = {
    Enrollment.role: ("guardian",)  # the Japan Profile's list; JSON sends ext:guardian
}
"""Words on top of the binding's."""

ONLY: Mapping[Column, tuple[str, ...]] = {
    AcademicSession.type: ("schoolYear",),
    Org.type: ("district", "school"),
    Class.class_type: ("homeroom", "scheduled"),
    Enrollment.role: ("administrator", "guardian", "proctor", "student", "teacher"),
    Demographics.sex: ("male", "female", "unspecified", "other"),
    User.enabled_user: ("true",),
}
"""Vocabularies that Japan closes or narrows; no `ext:` token is among them."""

# What the values look like -------------------------------------------------------------------

UUID_V4 = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
ANY_CASE = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-4[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}"
UTC = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z"
SESSION_TITLE = "[0-9]{4}年度"
COURSE_TITLE = r"[0-9]{4}年度.*\S"
BOARD_CODE = "(?:0[1-9]|[1-3][0-9]|4[0-7])[0-9]{4}"
SCHOOL_CODE = "[A-H][12][0-4][0-9][123][0-9]{8}"
KANA = "[ァ-ヶー ]*[ァ-ヶー][ァ-ヶー ]*"
KANA_AND_DOTS = "[ァ-ヶー・ \u3000]*[ァ-ヶー][ァ-ヶー・ \u3000]*"

GRADES = (
    *(f"P{year}" for year in range(1, 7)),
    *(f"{school}{year}" for school in "JHE" for year in range(1, 4)),
)
UNUSUAL_GRADES = ("H4", "zz", *(f"{year:02}" for year in range(1, 11)))
SUBJECTS = (
    *(f"P{number:03}" for number in range(10, 101, 10)),
    *(f"J{number:03}" for number in range(10, 91, 10)),
)
UNUSUAL_SUBJECTS = tuple(f"T{number:02}" for number in (*range(1, 14), *range(50, 63)))

ROLES = (
    "districtAdministrator",
    "guardian",
    "principal",
    "proctor",
    "siteAdministrator",
    "student",
    "systemAdministrator",
    "teacher",
)
SECONDARY = ("districtAdministrator", "principal", "siteAdministrator", "systemAdministrator")
CLASS_ROLES = ("administrator", "student", "teacher")

GRADED = (User.grades, Class.grades, Course.grades)
CODED = (Class.subject_codes, Course.subject_codes)
KANA_NAMES = tuple(column for column in User.columns if column.name.startswith("kana_"))
FORMED = frozenset[Column](
    {
        *GRADED,
        *CODED,
        *KANA_NAMES,
        AcademicSession.title,
        User.user_master_identifier,
    }
)
"""Text that has a form of its own, which no strange sign passes."""


def of_jis() -> Iterator[str]:
    """Every sign of JIS X 0213, as Shift_JIS writes it: Python's EUC knows those of 0212 too."""
    for lead in (*range(0x81, 0xA0), *range(0xE0, 0xFD)):
        for trail in range(0x40, 0xFD):
            yield from bytes((lead, trail)).decode("shift_jis_2004", errors="ignore")


OF_WINDOWS = "\uff5e\uff0d\u2225\uffe0\uffe1\uffe2\u2014\u2015"
"""What Windows writes for signs of JIS X 0208 that the standard maps elsewhere."""


def ranges(signs: set[str]) -> str:
    """The inside of a character class."""
    found: list[list[int]] = []
    for code in sorted(map(ord, signs)):
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return "".join(f"\\x{{{first:X}}}-\\x{{{last:X}}}" for first, last in found)


FULL_WIDTH = r"\x{0}-\x{FF65}\x{FFA0}-\x{10FFFF}"
PLAIN = {*map(chr, range(0x20, 0x7F)), *map(chr, range(0xFF61, 0xFF66))}
JIS_X_0213 = ranges({*of_jis(), *OF_WINDOWS, *PLAIN} - {*map(chr, range(0xFF66, 0xFFA0))})
"""What a value is written with; half-width katakana, which Japan does not use, is left out."""


def identifiers() -> Iterator[AnyCheck]:
    """Each record has an UUID of its own; the demographics have that of their user."""
    for entity in ROSTERING:
        if entity is not Demographics:
            yield Form(rule=values.UUID, column=entity.sourced_id, pattern=UUID_V4, narrows=True)
        yield Form(rule=values.UTC, column=entity.date_last_modified, pattern=UTC)
    yield Form(rule=values.UUID_V4, column=User.user_master_identifier, pattern=ANY_CASE)


def texts() -> Iterator[AnyCheck]:
    """Text is written with full-width katakana and the signs of JIS X 0213."""
    for column in KANA_NAMES:
        yield Form(rule=values.KANA, column=column, pattern=KANA_AND_DOTS)
        yield Form(rule=values.KANA_SIGNS, column=column, pattern=KANA, narrows=True)
    for entity in ROSTERING:
        for own in entity.columns:
            if isinstance(own, Text | Texts | Pairs) and own.stored and own not in FORMED:
                yield Signs(rule=values.HALF_WIDTH_KANA, column=own, allowed=FULL_WIDTH)
                yield Signs(rule=values.CHARACTERS, column=own, allowed=JIS_X_0213, narrows=True)


def lists() -> Iterator[AnyCheck]:
    """Grades and subject codes; a pupil is in one grade, a class in one school year."""
    for column in GRADED:
        yield Items(
            rule=values.GRADE,
            column=column,
            words=(*GRADES, *UNUSUAL_GRADES),
            expected="P1-P6, J1-J3, H1-H3, E1-E3",
            narrows=True,
        )
        yield Items(rule=values.UNUSUAL, column=column, words=GRADES, narrows=True)
    for column in CODED:
        yield Items(
            rule=values.SUBJECT_CODE,
            column=column,
            words=(*SUBJECTS, *UNUSUAL_SUBJECTS),
            expected="P010-P100, J010-J090",
            narrows=True,
        )
        yield Items(rule=values.UNUSUAL, column=column, words=SUBJECTS, narrows=True)
    for single in (User.grades, Class.term_sourced_ids):
        yield Form(rule=values.SEVERAL, column=single, pattern="[^,]*")


CHECKS: tuple[AnyCheck, ...] = (
    *identifiers(),
    *texts(),
    *lists(),
    Form(rule=values.SESSION_TITLE, column=AcademicSession.title, pattern=SESSION_TITLE),
    SchoolYear(
        rule=values.SCHOOL_YEAR,
        column=AcademicSession.title,
        type=AcademicSession.type,
        school_year=AcademicSession.school_year,
        start=AcademicSession.start_date,
        end=AcademicSession.end_date,
    ),
    Form(rule=values.COURSE_TITLE, column=Course.title, pattern=COURSE_TITLE),
    SchoolCode(
        rule=values.SCHOOL_CODE,
        column=Org.identifier,
        other=Org.type,
        word="school",
        pattern=SCHOOL_CODE,
    ),
    FormWhere(
        rule=values.BOARD_CODE,
        column=Org.identifier,
        other=Org.type,
        word="district",
        pattern=BOARD_CODE,
    ),
    FormWhere(
        rule=values.DISTRICT_PARENT,
        column=Org.parent_sourced_id,
        other=Org.type,
        word="district",
        pattern="",
    ),
    Without(rule=values.GUARDIAN, column=Role.role, words=("parent", "relative")),
    OnlyWith(
        rule=values.SECONDARY_ROLE,
        column=Role.role,
        words=SECONDARY,
        other=Role.role_type,
        others=("secondary",),
    ),
    Items(rule=values.UNUSUAL, column=Role.role, words=ROLES, narrows=True),
    Items(rule=values.UNUSUAL, column=Enrollment.role, words=CLASS_ROLES, narrows=True),
)
