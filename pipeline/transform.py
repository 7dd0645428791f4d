"""The Polars face of a transformation: an expression over the text that came so far.

A chain is computed in stages, one transformation of every chain at a time, for an expression that
names its own input several times would otherwise grow with the power of its steps. A blank result
is null. What a transformation cannot read comes out as it went in.
"""

import re
from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import assert_never

import polars as pl

from schemas.japanese import (
    ASCII_TO_FULL,
    ASCII_TO_HALF,
    DIGITS,
    ERAS,
    FIRST_YEAR,
    GRADES,
    KANA_TO_FULL,
    KANA_TO_HALF,
    SCHOOLS,
    TO_KATAKANA,
)
from schemas.mappings import (
    AnyTransformation,
    Concatenate,
    Conditional,
    Constant,
    DateFormat,
    Default,
    Direct,
    EraDate,
    Grade,
    Katakana,
    Lookup,
    Lower,
    Replace,
    SchoolCode,
    Split,
    Substring,
    Tables,
    Trim,
    Upper,
    Width,
)

Names = Mapping[str, str]
"""The frame's column of each source column."""

NOTHING = pl.lit(None, pl.String)
BETWEEN = r"\s*[./\-]\s*"
ERA_DATE = (
    rf"^\s*(?P<era>{'|'.join(ERAS)})\.?\s*(?P<year>{FIRST_YEAR}|[1-9][0-9]?|0[1-9])"
    rf"(?:\s*年\s*|{BETWEEN})(?P<month>[0-9]{{1,2}})(?:\s*月\s*|{BETWEEN})(?P<day>[0-9]{{1,2}})\s*日?\s*$"
)
COMPACT = r"^\s*(?P<era>[RHSTM])(?P<year>[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})\s*$"
LONGEST_FIRST = sorted(SCHOOLS, key=len, reverse=True)
GRADE = rf"^(?P<school>{'|'.join(LONGEST_FIRST)})?第?(?P<year>[1-9])(?:学年|年生|年次|年)?$"
PARTS = {
    "YYYY": "(?P<year>[0-9]{4})",
    "MM": "(?P<month>[0-9]{2})",
    "M": "(?P<month>[0-9]{1,2})",
    "DD": "(?P<day>[0-9]{2})",
    "D": "(?P<day>[0-9]{1,2})",
    "hh": "(?P<hour>[01][0-9]|2[0-3])",
    "mm": "(?P<minute>[0-5][0-9])",
    "ss": "(?P<second>[0-5][0-9])",
}


def transformed(step: AnyTransformation, value: pl.Expr, names: Names, tables: Tables) -> pl.Expr:
    """The value after one transformation; a blank one is null."""
    return filled(raw(step, value, names, tables))


def raw(step: AnyTransformation, value: pl.Expr, names: Names, tables: Tables) -> pl.Expr:
    """The value after one transformation."""
    match step:
        case Direct(source=source):
            return pl.col(names[source])
        case Constant(value=text):
            return pl.lit(text)
        case Concatenate():
            return joined(step, names)
        case Conditional():
            return chosen(step, value, names)
        case Split(separator=separator, part=part):
            parts = value.str.split(separator)
            return parts.list.get(part - 1 if part > 0 else part, null_on_oob=True)
        case Lookup(table=table, entries=entries, missing=missing):
            found = entries if entries is not None else tables[table or ""]
            return looked_up(value, found, value if missing == "keep" else NOTHING)
        case DateFormat():
            return dated(step, value)
        case Trim():
            return value.str.strip_chars()
        case Lower():
            return value.str.to_lowercase()
        case Upper():
            return value.str.to_uppercase()
        case Substring(start=start, length=length):
            return value.str.slice(start - 1, length)
        case Replace(find=find, replacement=replacement):
            return value.str.replace_all(find, replacement, literal=True)
        case Default(value=text):
            return value.fill_null(text)
        case Width():
            return widened(step, value)
        case Katakana():
            return signs(value, TO_KATAKANA)
        case EraDate():
            return of_era(value)
        case Grade(school=school):
            return graded(value, school)
        case SchoolCode(table=table, missing=missing):
            code = half(value).str.to_uppercase().str.replace_all(r"[\s\-]", "")
            return looked_up(code, tables[table], value if missing == "keep" else NOTHING)
        case _:
            assert_never(step)


def filled(value: pl.Expr) -> pl.Expr:
    """The value, or null where it is blank."""
    return pl.when(value != "").then(value)


def operand(part: Direct | Constant, names: Names) -> pl.Expr:
    """What a part of a transformation stands for."""
    match part:
        case Direct(source=source):
            return pl.col(names[source])
        case Constant(value=text):
            return pl.lit(text)
        case _:
            assert_never(part)


def joined(step: Concatenate, names: Names) -> pl.Expr:
    """The parts behind one another; nothing where every column among them is blank."""
    parts = [operand(part, names) for part in step.parts]
    text = pl.concat_str(parts, separator=step.separator, ignore_nulls=True)
    columns = [operand(part, names) for part in step.parts if isinstance(part, Direct)]
    if not columns:
        return text
    return pl.when(pl.any_horizontal(column.is_not_null() for column in columns)).then(text)


def chosen(step: Conditional, value: pl.Expr, names: Names) -> pl.Expr:
    """The branch that the test chooses."""
    tested = value if step.source is None else pl.col(names[step.source])
    then, otherwise = (
        value if part is None else operand(part, names) for part in (step.then, step.otherwise)
    )
    return pl.when(holds(step, tested)).then(then).otherwise(otherwise)


def holds(step: Conditional, tested: pl.Expr) -> pl.Expr:
    """Whether the test holds; a blank value equals, contains and starts with nothing."""
    match step.test:
        case "blank":
            return tested.is_null()
        case "filled":
            return tested.is_not_null()
        case "equals":
            return tested.is_in(step.values).fill_null(value=False)
        case "differs":
            return ~tested.is_in(step.values).fill_null(value=False)
        case "contains":
            found = (tested.str.contains(text, literal=True) for text in step.values)
            return reduce(or_, found).fill_null(value=False)
        case "starts_with":
            found = (tested.str.starts_with(text) for text in step.values)
            return reduce(or_, found).fill_null(value=False)
        case _:
            assert_never(step.test)


def looked_up(value: pl.Expr, entries: Mapping[str, str], missing: pl.Expr) -> pl.Expr:
    """What the table says for the value."""
    keys, values = list(entries), list(entries.values())
    return value.replace_strict(keys, values, default=missing, return_dtype=pl.String)


def signs(value: pl.Expr, table: Mapping[str, str]) -> pl.Expr:
    """Signs replaced by the table; where two entries begin alike, the first counts."""
    return value.str.replace_many(list(table), list(table.values()), leftmost=True)


def half(value: pl.Expr) -> pl.Expr:
    """Letters, digits and signs in half width."""
    return signs(value, ASCII_TO_HALF)


def widened(step: Width, value: pl.Expr) -> pl.Expr:
    """Kana and ASCII in the widths that are asked for."""
    match step.kana:
        case "full":
            value = signs(value, KANA_TO_FULL)
        case "half":
            value = signs(value, KANA_TO_HALF)
        case "keep":
            pass
    match step.ascii:
        case "full":
            return signs(value, ASCII_TO_FULL)
        case "half":
            return half(value)
        case "keep":
            return value


def dated(step: DateFormat, value: pl.Expr) -> pl.Expr:
    """A date by its pattern; what is no day of the calendar stays as it is."""
    found = half(value).str.extract_groups(pattern(step.format)).struct
    day = iso(found.field("year"), found.field("month"), found.field("day"))
    if not step.timed:
        return existing(day, day, value)
    seconds = found.field("second") if "ss" in step.format else pl.lit("00")
    time = pl.concat_str(found.field("hour"), found.field("minute"), seconds, separator=":")
    return existing(day, pl.concat_str(day, pl.lit("T"), time, pl.lit(f".000{step.zone}")), value)


def pattern(text: str) -> str:
    """A date pattern as a regular expression; what is no part of it stands for itself."""
    pieces = re.split("(YYYY|MM|M|DD|D|hh|mm|ss)", text)
    return f"^{''.join(PARTS.get(piece) or re.escape(half_text(piece)) for piece in pieces)}$"


def half_text(text: str) -> str:
    """The text as `half` leaves it."""
    return "".join(ASCII_TO_HALF.get(sign, sign) for sign in text)


def of_era(value: pl.Expr) -> pl.Expr:
    """A date of the Japanese calendar in any of its forms."""
    text = half(value).str.to_uppercase()
    return pl.coalesce(era_form(text, ERA_DATE), era_form(text, COMPACT), value)


def era_form(text: pl.Expr, form: str) -> pl.Expr:
    """A date of the Japanese calendar in one form, null where it is not."""
    found = text.str.extract_groups(form).struct
    offset = found.field("era").replace_strict(
        list(ERAS), list(ERAS.values()), default=None, return_dtype=pl.Int64
    )
    years = found.field("year").replace(FIRST_YEAR, "1").cast(pl.Int64, strict=False)
    year = pl.when(years > 0).then((offset + years).cast(pl.String))
    day = iso(year, found.field("month"), found.field("day"))
    return existing(day, day, NOTHING)


def iso(year: pl.Expr, month: pl.Expr, day: pl.Expr) -> pl.Expr:
    """Year, month and day as `YYYY-MM-DD`; null where one is missing."""
    return pl.concat_str(year, month.str.zfill(2), day.str.zfill(2), separator="-")


def existing(day: pl.Expr, then: pl.Expr, otherwise: pl.Expr) -> pl.Expr:
    """One value where the day is in the calendar, the other where it is not."""
    is_day = day.str.to_date("%Y-%m-%d", strict=False).is_not_null()
    return pl.when(is_day).then(then).otherwise(otherwise)


def graded(value: pl.Expr, school: str | None) -> pl.Expr:
    """The code of a grade by its name."""
    text = signs(half(value).str.replace_all(r"\s", ""), DIGITS)
    found = text.str.extract_groups(GRADE).struct
    kind = looked_up(found.field("school"), SCHOOLS, NOTHING).fill_null(pl.lit(school, pl.String))
    name = pl.concat_str(kind, found.field("year"))
    return pl.coalesce(looked_up(name, GRADES, NOTHING), value)
