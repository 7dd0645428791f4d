"""The closed set of checks on one row that go beyond the kind of each column.

A check is declared beside the columns it is about: in the body of the entity where the binding
asks for it, in `schemas.japan` where the Japan profiles do. It names its rule and the column that
a finding shows; how it is applied is answered by a `match` of `pipeline.frames`. A blank cell
breaks no check but `Paired`.
"""

from dataclasses import dataclass
from typing import TypeAlias

from schemas.columns import Column
from schemas.rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What every check shares.

    `expected` is what a message names as right. `narrows`: nothing passes that the check or the
    kind declared just before refuses, so one look is enough where all is well.
    """

    rule: Rule
    column: Column
    expected: str = ""
    narrows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Form(Check):
    """The whole cell has this form, a regular expression that Python and Rust read alike."""

    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Items(Check):
    """Each item of the cell is one of these words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs(Check):
    """The cell has no sign but these: the inside of a character class."""

    allowed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Without(Check):
    """The cell is none of these words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormWhere(Check):
    """In rows where `other` is `word`, the cell has this form; the empty form is no value."""

    other: Column
    word: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlyWith(Check):
    """These words stand only in rows whose `other` has one of `others` (or an `ext:` token)."""

    words: tuple[str, ...]
    other: Column
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired(Check):
    """The cell has as many items as `other`."""

    other: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class NotBefore(Check):
    """The value does not lie below that of `begin`; `apart`: it is not equal either."""

    begin: Column
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolCode(Check):
    """In rows where `other` is `word`, the cell has this form and ends with its check digit.

    The letter counts as its number in two digits; the weights are 1 and 2 in turn, and the digits
    of each product are added: what is lacking to a multiple of ten is the check digit.
    """

    other: Column
    word: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolYear(Check):
    """Of a session that is a school year, title, year and days tell the same year.

    The year is what most of title, `school_year` and `start` say, so that the odd one is found.
    `column` is the title.
    """

    type: Column
    school_year: Column
    start: Column
    end: Column


AnyCheck: TypeAlias = (
    Form
    | Items
    | Signs
    | Without
    | FormWhere
    | OnlyWith
    | Paired
    | NotBefore
    | SchoolCode
    | SchoolYear
)
