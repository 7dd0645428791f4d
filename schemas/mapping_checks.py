"""What is wrong with a mapping, found when it is saved and not in the night of an import.

Every required column is mapped, a chain begins with what takes text from the row, and what a chain
is sure to produce fits its column: its known words the vocabulary, its dates a date column. What
comes from the source's cells is unknown here and is checked row by row.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple, TypeAlias, assert_never

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
from schemas.mappings import (
    AnyTransformation,
    Concatenate,
    Conditional,
    Constant,
    DateFormat,
    Default,
    Direct,
    EraDate,
    FileMapping,
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
    read,
)
from schemas.profiles import JAPAN_WORDS, SPELLINGS
from schemas.roster import AnyEntity

METADATA = "metadata."

Shape: TypeAlias = Literal["any", "text", "date", "datetime", "grade"]
"""`any`: cells as they came; `text`: cells that were cut or joined; the others are made here."""


class Fault(NamedTuple):
    """What is wrong, and the path of the field."""

    field: str
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a chain may produce: words that are known, and values of these shapes."""

    words: frozenset[str] = frozenset()
    shapes: frozenset[Shape] = frozenset()

    def __or__(self, other: "Outcome") -> "Outcome":
        """Either the one or the other."""
        return Outcome(self.words | other.words, self.shapes | other.shapes)


def column_of(entity: AnyEntity, name: str) -> AnyColumn | None:
    """The declared column of a name in the CSV, in any spelling that a profile gives it."""
    known: Column | None = SPELLINGS.get(name.lower())
    return next((own for own in entity.columns if own.csv == name or own == known), None)


def faults(entity: AnyEntity, mapping: FileMapping, tables: Tables) -> Iterator[Fault]:
    """Everything that is wrong with the mapping; nothing means that it can be used."""
    found = {name: column_of(entity, name) for name in mapping.columns}
    yield from named(entity, found)
    for name, chain in mapping.columns.items():
        path = f"columns.{name}"
        steps = list(misplaced(path, chain)) + list(unknown_tables(path, chain, tables))
        yield from steps
        if (column := found[name]) and not steps:
            yield from unfit(path, column, chain, tables)


def named(entity: AnyEntity, found: dict[str, AnyColumn | None]) -> Iterator[Fault]:
    """Columns that do not exist, that are mapped twice, and required ones that are not mapped."""
    seen: set[AnyColumn] = set()
    for name, column in found.items():
        if column is None and not (name.startswith(METADATA) and name != METADATA):
            yield Fault(f"columns.{name}", f"is no column of {entity.file}.csv")
        elif column in seen:
            yield Fault(f"columns.{name}", "is mapped twice, in two spellings")
        if column is not None:
            seen.add(column)
    for column in entity.columns:
        if column.required and column not in seen:
            yield Fault(f"columns.{column.csv}", "is required and not mapped")


def misplaced(path: str, chain: tuple[AnyTransformation, ...]) -> Iterator[Fault]:
    """A chain begins with one that takes text from the row, and has no second one."""
    for place, step in enumerate(chain):
        first = takes(step) or (isinstance(step, Conditional) and step.source is not None)
        if place == 0 and not first:
            yield Fault(
                f"{path}.0",
                f"{step.kind} changes a value: begin with direct, constant, concatenate,"
                " or a conditional that names its source",
            )
        if place > 0 and takes(step):
            yield Fault(f"{path}.{place}", f"{step.kind} begins a chain, it cannot follow")


def takes(step: AnyTransformation) -> bool:
    """Whether it takes text from the row and forgets what came before."""
    return isinstance(step, Direct | Constant | Concatenate)


def unknown_tables(
    path: str, chain: tuple[AnyTransformation, ...], tables: Tables
) -> Iterator[Fault]:
    """Lookups in tables that the district does not have."""
    for place, step in enumerate(chain):
        if isinstance(step, Lookup | SchoolCode) and step.table not in (None, *tables):
            yield Fault(f"{path}.{place}.table", f"there is no lookup table {step.table}")


def unfit(
    path: str, column: AnyColumn, chain: tuple[AnyTransformation, ...], tables: Tables
) -> Iterator[Fault]:
    """A chain whose values cannot be right in the column."""
    made = outcome(chain, tables)
    for shape in sorted(made.shapes - fitting(column)):
        yield Fault(path, UNFIT[shape].format(column=column.csv, wanted=wanted(column)))
    for word in sorted(made.words):
        if not fits(column, word):
            yield Fault(path, f"may give {word!r}, and {column.csv} takes {wanted(column)}")
    if isinstance(column, Key) and not read(chain):
        yield Fault(path, "gives every record the same identifier")


UNFIT = {
    "any": "cannot be used for {column}, which takes {wanted}",
    "text": "{column} takes {wanted}: use direct, or end with date_format or era_date",
    "date": "gives a date, and {column} takes {wanted}",
    "datetime": "gives a time, and {column} takes {wanted}",
    "grade": "gives a grade, and {column} takes {wanted}",
}


def outcome(chain: tuple[AnyTransformation, ...], tables: Tables) -> Outcome:
    """What a chain may produce."""
    so_far = Outcome()
    for step in chain:
        so_far = after(so_far, step, tables)
    return so_far


def after(before: Outcome, step: AnyTransformation, tables: Tables) -> Outcome:
    """What may come out of a transformation, from what may go in."""
    match step:
        case Direct():
            return Outcome(shapes=frozenset({"any"}))
        case Constant(value=value):
            return Outcome(frozenset({value}))
        case Default(value=value):
            return before | Outcome(frozenset({value}))
        case Conditional(then=then, otherwise=otherwise):
            first = before if then is None else after(before, then, tables)
            return first | (before if otherwise is None else after(before, otherwise, tables))
        case Lookup(table=table, entries=entries, missing=missing):
            found = entries if entries is not None else tables.get(table or "", {})
            return said(found.values()) | (before if missing == "keep" else Outcome())
        case SchoolCode(table=table, missing=missing):
            return said(tables.get(table, {}).values()) | (
                before if missing == "keep" else Outcome()
            )
        case DateFormat(timed=timed):
            return Outcome(shapes=frozenset({"datetime" if timed else "date"}))
        case EraDate():
            # A chain may read eras first and other dates next, in either order.
            return Outcome(shapes=frozenset({"date"}))
        case Grade():
            return Outcome(shapes=frozenset({"grade"}))
        case Trim():
            return Outcome(shapes=before.shapes or frozenset({"text"}))
        case Concatenate() | Split() | Lower() | Upper() | Substring() | Replace():
            return Outcome(shapes=frozenset({"text"}))
        case Width() | Katakana():
            return Outcome(shapes=frozenset({"text"}))
        case _:
            assert_never(step)


def said(words: Iterable[str]) -> Outcome:
    """The words of a table; a blank one is no value."""
    return Outcome(frozenset(word for word in words if word))


def fitting(column: AnyColumn) -> frozenset[Shape]:
    """The shapes that a column can take."""
    match column:
        case Day():
            return frozenset({"any", "date"})
        case Instant():
            return frozenset({"any", "datetime"})
        case Text() | Texts() | Pairs():
            return frozenset({"any", "text", "date", "datetime", "grade"})
        case Key() | Ref() | Refs() | Choice() | Choices() | Flag() | Year() | Whole() | Decimal():
            return frozenset({"any", "text"})
        case _:
            assert_never(column)


GUID = re.compile(r"[0-9A-Za-z./@_\-]{1,255}")
EXT = re.compile(r"ext:[a-zA-Z0-9.\-_]+")
INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2})")
YEAR = re.compile(r"[0-9]{4}")
WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")
PAIR = re.compile(r"\{[^:{},]+:[^:{},]+\}")


def fits(column: AnyColumn, word: str) -> bool:
    """Whether a word can stand in the column."""
    match column:
        case Text():
            return True
        case Key() | Ref():
            return bool(GUID.fullmatch(word))
        case Refs():
            return all(GUID.fullmatch(item) for item in listed(word))
        case Texts():
            return all(listed(word))
        case Pairs():
            return all(PAIR.fullmatch(item) for item in listed(word))
        case Choice(extensible=extensible):
            return among(word, vocabulary(column), extensible=extensible)
        case Choices(words=words, extensible=extensible):
            return all(among(item, words, extensible=extensible) for item in listed(word))
        case Flag():
            return word in ("true", "false")
        case Day():
            return is_day(word)
        case Instant():
            return bool(INSTANT.fullmatch(word)) and is_day(word[:10])
        case Year():
            return bool(YEAR.fullmatch(word))
        case Whole():
            return bool(WHOLE.fullmatch(word))
        case Decimal():
            return bool(DECIMAL.fullmatch(word))
        case _:
            assert_never(column)


def wanted(column: AnyColumn) -> str:
    """What a column takes, in words."""
    match column:
        case Choice(extensible=extensible):
            words = vocabulary(column)
        case Choices(words=words, extensible=extensible):
            pass
        case Key() | Ref() | Refs():
            return "identifiers"
        case Text() | Texts():
            return "text"
        case Pairs():
            return "items of the form {left:right}"
        case Flag():
            return "true or false"
        case Day():
            return "dates, YYYY-MM-DD"
        case Instant():
            return "times, YYYY-MM-DDThh:mm:ss.sssZ"
        case Year():
            return "years of four digits"
        case Whole() | Decimal():
            return "numbers"
        case _:
            assert_never(column)
    return f"one of {', '.join([*words, *(['ext:…'] if extensible else [])])}"


def vocabulary(column: Choice) -> tuple[str, ...]:
    """The words of a column, those of the Japan profiles included."""
    return (*column.words, *JAPAN_WORDS.get(column, ()))


def among(word: str, words: tuple[str, ...], *, extensible: bool) -> bool:
    """Whether it is one of the words, or an extension where that is allowed."""
    return word in words or (extensible and bool(EXT.fullmatch(word)))


def listed(word: str) -> list[str]:
    """The items of a comma list."""
    return [item.strip() for item in word.split(",")]


def is_day(word: str) -> bool:
    """Whether it is a day of the calendar."""
    try:
        return date.fromisoformat(word).isoformat() == word
    except ValueError:
        return False
