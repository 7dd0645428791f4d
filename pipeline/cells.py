"""The rules of one row as Polars expressions: where a cell, or a row, breaks its rule.

What a column is, and what else is asked of it, is declared in `schemas`; here each kind of column
and each kind of check is answered once. A blank cell breaks nothing but a requirement.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import TypeAlias, assert_never

import polars as pl

from schemas import rules
from schemas.checks import (
    AnyCheck,
    Form,
    FormWhere,
    Items,
    NotBefore,
    OnlyWith,
    Paired,
    SchoolCode,
    SchoolYear,
    Signs,
    Without,
)
from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Column,
    Day,
    Decimal,
    Flag,
    Instant,
    Key,
    Pairs,
    Ref,
    Refs,
    Text,
    Texts,
    Whole,
    Year,
)
from schemas.profiles import Profile
from schemas.rules import Rule, Value
from schemas.runs import Mode

GUID = r"[0-9A-Za-z./@_\-]{1,255}"
EXT = r"ext:[a-zA-Z0-9.\-_]+"
# Digits are spelled out: for Polars \d is any digit of Unicode, full-width ones included.
YEAR = "[0-9]{4}"
DATE = f"{YEAR}-[0-9]{{2}}-[0-9]{{2}}"
HOUR_MINUTE = "([01][0-9]|2[0-3]):[0-5][0-9]"
TIME = rf"{HOUR_MINUTE}:[0-5][0-9](\.[0-9]{{1,9}})?(Z|[+-]{HOUR_MINUTE})"
INTEGER = "0|-?[1-9][0-9]{0,17}"
FLOAT = r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?"
PAIR = r"\{[^:{},]+:[^:{},]+\}"
SEPARATOR = r"\s*,\s*"
FLAGS = ("true", "false")
LETTERS = "ABCDEFGH"
WEIGHTS = (1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 1)

Wrong: TypeAlias = Callable[[pl.Expr], pl.Expr]
"""From the cells of a column to where they are wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A rule that asks the column `name` for a value, or for none, and the facts of a finding."""

    name: str
    rule: Rule
    given: bool
    facts: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellBreach:
    """A rule of the column `name` that looks at one cell, and the facts of a finding.

    `narrows`: it is broken wherever the one before it is. `ascii`: no cell of ASCII breaks it.
    """

    name: str
    rule: Rule
    wrong: Wrong
    facts: Mapping[str, Value] = field(default_factory=dict)
    narrows: bool = False
    ascii: bool = False


@dataclass(frozen=True, slots=True)
class RowBreach:
    """A rule of the column `name` that looks at a row, where it is broken, and the facts.

    `only`: where that counts; it is looked at in the few rows that are left.
    """

    name: str
    rule: Rule
    where: pl.Expr
    facts: Mapping[str, Value] = field(default_factory=dict)
    only: pl.Expr | None = None


def of_column(
    column: AnyColumn, profile: Profile, checks: Iterable[AnyCheck]
) -> Iterator[CellBreach]:
    """What can be wrong with a cell of the column, beyond its size."""
    words = (*getattr(column, "words", ()), *profile.words.get(column, ()))
    if kind := of_kind(column, words):
        rule, wrong, expected = kind
        yield CellBreach(column.name, rule, wrong, naming(expected))
    if left := profile.only.get(column):
        facts = {"expected": ", ".join(left), "profile": profile.name}
        rule = rules.values.PROFILE_VOCABULARY
        yield CellBreach(column.name, rule, none_of(left), facts, narrows=True)
    for check in checks:
        if check.column == column and (found := of_cell(check)):
            yield CellBreach(
                column.name,
                check.rule,
                found,
                naming(check.expected),
                narrows=check.narrows,
                ascii=isinstance(check, Signs),
            )


def naming(expected: str) -> Mapping[str, Value]:
    """The facts of a finding that names what is right."""
    return {"expected": expected} if expected else {}


def of_kind(column: AnyColumn, words: tuple[str, ...]) -> tuple[Rule, Wrong, str] | None:
    """The rule of the column's kind, what breaks it, and what is expected."""
    values = rules.values
    match column:
        case Key() | Ref():
            return values.GUID, unlike(GUID), ""
        case Refs():
            return values.GUID, unlike(listed(GUID)), ""
        case Text():
            return None
        case Texts():
            return values.LIST, lambda raw: raw.str.contains(r"(^|,)\s*(,|$)"), ""
        case Pairs():
            return values.PAIRS, unlike(listed(PAIR)), ""
        case Choice(extensible=extensible):
            expected = ", ".join([*words, *(["ext:…"] if extensible else [])])
            return values.VOCABULARY, none_of(words, extensible=extensible), expected
        case Choices(extensible=extensible):
            item = "|".join([*map(re.escape, words), *([EXT] if extensible else [])])
            expected = ", ".join([*words, *(["ext:…"] if extensible else [])])
            return values.VOCABULARY, unlike(listed(item)), expected
        case Flag():
            return values.BOOLEAN, none_of(FLAGS), ""
        case Day():
            return values.DATE, lambda raw: unlike(DATE)(raw) | no_day(raw), ""
        case Instant():
            return values.DATETIME, no_instant, ""
        case Year():
            return values.YEAR, unlike(YEAR), ""
        case Whole():
            return values.INTEGER, unlike(INTEGER), ""
        case Decimal():
            return values.FLOAT, unlike(FLOAT), ""
        case _:
            assert_never(column)


def of_cell(check: AnyCheck) -> Wrong | None:
    """What breaks a check on one cell; None where the check is about more than the cell."""
    match check:
        case Form(pattern=pattern):
            return unlike(pattern)
        case Items(words=words):
            return lambda raw: none_of(words)(raw) & unlike(listed("|".join(words)))(raw)
        case Signs(allowed=allowed):
            return lambda raw: raw.str.contains(f"[^{allowed}]")
        case Without(words=words):
            return lambda raw: raw.is_in(words)
        case FormWhere() | OnlyWith() | Paired() | NotBefore() | SchoolCode() | SchoolYear():
            return None
        case _:
            assert_never(check)


def unlike(pattern: str) -> Wrong:
    """Cells that have another form as a whole."""
    return lambda raw: ~raw.str.contains(f"^(?:{pattern})$")


def listed(item: str) -> str:
    """The pattern of a comma list of items; blanks around an item are allowed."""
    return rf"\s*(?:{item})(?:{SEPARATOR}(?:{item}))*\s*"


def none_of(words: tuple[str, ...], *, extensible: bool = False) -> Wrong:
    """Cells that are none of the words."""
    if extensible:
        return lambda raw: ~(raw.is_in(words) | raw.str.contains(f"^{EXT}$"))
    return lambda raw: ~raw.is_in(words)


def no_day(raw: pl.Expr) -> pl.Expr:
    """Text of the right shape that is no day of the calendar; the year 0 does not exist."""
    day = raw.str.to_date("%Y-%m-%d", strict=False)
    return raw.is_not_null() & (day.is_null() | (day.dt.year() < 1))


def no_instant(raw: pl.Expr) -> pl.Expr:
    """Text that is no instant with its offset."""
    return unlike(f"{DATE}T{TIME}")(raw) | no_day(raw.str.slice(0, 10))


def of_row(check: AnyCheck) -> Iterator[RowBreach]:
    """What can be wrong between the cells of a row."""
    column, rule, raw = check.column, check.rule, pl.col(check.column.name)
    match check:
        case Form() | Items() | Signs() | Without():
            pass
        case FormWhere(other=other, word=word, pattern=pattern):
            where = (pl.col(other.name) == word) & unlike(pattern)(raw)
            yield RowBreach(column.name, rule, where)
        case OnlyWith(words=words, other=other, others=others):
            beside = pl.col(other.name)
            where = among(raw, words) & ~among(beside, others)
            yield RowBreach(column.name, rule, where, only=~beside.str.starts_with("ext:"))
        case Paired(other=other):
            yield from unpaired(check, pl.col(other.name))
        case NotBefore(begin=begin, apart=apart):
            low, high = comparable(begin), comparable(column)
            where = (high <= low) if apart else (high < low)
            yield RowBreach(column.name, rule, where, only=whole(begin) & whole(column))
        case SchoolCode(other=other, word=word, pattern=pattern):
            wrong = unlike(pattern)(raw) | (check_sum(raw) % 10 != 0)
            yield RowBreach(column.name, rule, (pl.col(other.name) == word) & wrong)
        case SchoolYear():
            yield from other_year(check)
        case _:
            assert_never(check)


def among(raw: pl.Expr, words: tuple[str, ...]) -> pl.Expr:
    """Cells that are one of the words; a single one is compared faster."""
    return raw == words[0] if len(words) == 1 else raw.is_in(words)


def unpaired(check: Paired, its: pl.Expr) -> Iterator[RowBreach]:
    """Lists of different length; where one is empty, that is the one to fill in."""
    mine = pl.col(check.column.name)
    commas = mine.str.count_matches(",", literal=True), its.str.count_matches(",", literal=True)
    yield RowBreach(check.other.name, check.rule, its.is_null() & mine.is_not_null())
    differing = (mine.is_null() & its.is_not_null()) | (commas[0] != commas[1])
    yield RowBreach(check.column.name, check.rule, differing)


def comparable(column: Column) -> pl.Expr:
    """What is compared of a cell: days are in order as text."""
    raw = pl.col(column.name)
    return raw if isinstance(column, Day) else raw.cast(pl.Float64, strict=False)


def whole(column: Column) -> pl.Expr:
    """Whether a cell is what its kind says, so that it can be compared."""
    return ~unlike(DATE if isinstance(column, Day) else FLOAT)(pl.col(column.name))


def check_sum(code: pl.Expr) -> pl.Expr:
    """The weighted digits of a school code, check digit included: a multiple of ten if right."""
    numbers = {letter: f"{at:02}" for at, letter in enumerate(LETTERS, start=1)}
    digits = code.str.slice(0, 1).replace_strict(numbers, default=None) + code.str.slice(1)
    products = (
        digits.str.slice(at, 1).cast(pl.Int32, strict=False) * weight
        for at, weight in enumerate(WEIGHTS)
    )
    return reduce(add, (product // 10 + product % 10 for product in products))


def other_year(check: SchoolYear) -> Iterator[RowBreach]:
    """Cells of a session that tell another year than most of title, year and first day."""
    title, said = pl.col(check.column.name), pl.col(check.school_year.name)
    start, end = pl.col(check.start.name), pl.col(check.end.name)
    named, begun = title.str.extract(f"^({YEAR})年度$"), start.str.extract(f"^({YEAR})-")
    year = (
        pl.when((named == said) | (named == begun))
        .then(named)
        .when(said == begun)
        .then(said)
        .otherwise(pl.coalesce(said, named, begun))
    )
    following = (year.cast(pl.Int32, strict=False) + 1).cast(pl.String).str.zfill(4)
    of_year = pl.col(check.type.name) == "schoolYear"
    for column, wrong in (
        (check.column, named != year),
        (check.school_year, said != year),
        (check.start, start != year + "-04-01"),
        (check.end, end != following + "-03-31"),
    ):
        yield RowBreach(column.name, check.rule, of_year & wrong)


def presence(column: AnyColumn, mode: Mode, profile: Profile) -> Iterator[Presence]:
    """Whether the cell must, or must not, have a value (CSV binding 6 and 8)."""
    name = column.name
    state = name in ("status", "date_last_modified")
    facts: Mapping[str, Value] = {"profile": profile.name}
    if state and mode != "delta":
        yield Presence(name=name, rule=rules.values.BLANK_IN_BULK, given=False)
    elif column.required or state:
        yield Presence(name=name, rule=rules.values.REQUIRED, given=True)
    elif column in profile.required:
        yield Presence(name=name, rule=rules.values.PROFILE_REQUIRED, given=True, facts=facts)
    elif column in profile.prohibited:
        yield Presence(name=name, rule=rules.values.PROFILE_PROHIBITED, given=False, facts=facts)


def size(name: str, limit: int) -> CellBreach:
    """How long a cell may be, in bytes."""
    return CellBreach(
        name, rules.text.FIELD_SIZE, lambda raw: raw.str.len_bytes() > limit, {"limit": limit}
    )
