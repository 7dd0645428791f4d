"""The Polars face of a column: how a cell becomes a value, and what the value must satisfy.

Values stay text in the form that PostgreSQL's COPY reads (a list becomes an array literal), for
text that has passed its rule converts there without loss. A rule is an expression over the raw
cell that is true where the cell breaks it; a blank cell breaks nothing but `required`.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple, assert_never

import polars as pl

from pipeline.faults import cut
from pipeline.header import METADATA, Layout
from schemas import rules
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
from schemas.roster import AnyEntity
from schemas.rules import Finding, Rule
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


class Broken(NamedTuple):
    """A rule of a column, and the expression that is true where a cell breaks it."""

    column: Column
    rule: Rule
    where: pl.Expr
    expected: str = ""


def value(column: AnyColumn) -> pl.Expr:
    """The cell as COPY reads it."""
    raw = pl.col(column.name)
    match column:
        case Key() | Text() | Choice() | Flag() | Ref():
            return raw
        case Day() | Instant() | Year() | Whole() | Decimal():
            return raw
        case Texts() | Pairs() | Choices() | Refs():
            return array(raw).alias(column.name)
        case _:
            assert_never(column)


def array(raw: pl.Expr) -> pl.Expr:
    """A comma list as an array literal; items are trimmed."""
    items = raw.str.strip_chars().str.replace_all(SEPARATOR, ",")
    escaped = items.str.replace_all("\\", "\\\\", literal=True).str.replace_all(
        '"', '\\"', literal=True
    )
    quoted = escaped.str.replace_all(",", '","', literal=True)
    return pl.concat_str(pl.lit('{"'), quoted, pl.lit('"}'))


def broken(column: AnyColumn, profile: Profile) -> Iterator[Broken]:
    """The rules of the column's kind."""
    raw = pl.col(column.name)
    match column:
        case Key() | Ref():
            yield Broken(column, rules.values.GUID, ~raw.str.contains(f"^{GUID}$"))
        case Refs():
            yield Broken(column, rules.values.GUID, ~raw.str.contains(listed(GUID)))
        case Text():
            pass
        case Texts():
            yield Broken(column, rules.values.LIST, raw.str.contains(r"(^|,)\s*(,|$)"))
        case Pairs():
            yield Broken(column, rules.values.PAIRS, ~raw.str.contains(listed(PAIR)))
        case Choice(words=words, extensible=extensible):
            words = (*words, *profile.words.get(column, ()))
            known = raw.is_in(words)
            if extensible:
                known |= raw.str.contains(f"^{EXT}$")
            yield Broken(
                column, rules.values.VOCABULARY, ~known, vocabulary(words, extensible=extensible)
            )
        case Choices(words=words, extensible=extensible):
            item = "|".join([*map(re.escape, words), *([EXT] if extensible else [])])
            expected = vocabulary(words, extensible=extensible)
            yield Broken(column, rules.values.VOCABULARY, ~raw.str.contains(listed(item)), expected)
        case Flag():
            yield Broken(column, rules.values.BOOLEAN, ~raw.is_in(["true", "false"]))
        case Day():
            yield Broken(column, rules.values.DATE, ~raw.str.contains(f"^{DATE}$") | no_day(raw))
        case Instant():
            yield Broken(
                column,
                rules.values.DATETIME,
                ~raw.str.contains(f"^{DATE}T{TIME}$") | no_day(raw.str.slice(0, 10)),
            )
        case Year():
            yield Broken(column, rules.values.YEAR, ~raw.str.contains(f"^{YEAR}$"))
        case Whole():
            yield Broken(column, rules.values.INTEGER, ~raw.str.contains(f"^({INTEGER})$"))
        case Decimal():
            yield Broken(column, rules.values.FLOAT, ~raw.str.contains(f"^{FLOAT}$"))
        case _:
            assert_never(column)


def listed(item: str) -> str:
    """The pattern of a comma list of items; blanks around an item are allowed."""
    return rf"^\s*(?:{item})(?:{SEPARATOR}(?:{item}))*\s*$"


def vocabulary(words: tuple[str, ...], *, extensible: bool) -> str:
    """The words as a message names them."""
    return ", ".join([*words, *(["ext:…"] if extensible else [])])


def no_day(raw: pl.Expr) -> pl.Expr:
    """Text of the right shape that is no day of the calendar; the year 0 does not exist."""
    day = raw.str.to_date("%Y-%m-%d", strict=False)
    return raw.is_not_null() & (day.is_null() | (day.dt.year() < 1))


def presence(column: AnyColumn, mode: Mode, profile: Profile) -> Iterator[Broken]:
    """Whether the cell may, must, or must not have a value (CSV binding 6 and 8)."""
    raw = pl.col(column.name)
    state = column.name in ("status", "date_last_modified")
    if state and mode != "delta":
        yield Broken(column, rules.values.BLANK_IN_BULK, raw.is_not_null())
    elif column.required or state:
        yield Broken(column, rules.values.REQUIRED, raw.is_null())
    elif column in profile.required:
        yield Broken(column, rules.values.PROFILE_REQUIRED, raw.is_null(), profile.name)
    elif column in profile.prohibited:
        yield Broken(column, rules.values.PROFILE_PROHIBITED, raw.is_not_null(), profile.name)


class Checker:
    """The rules of one file in one mode, ready to be applied to its pieces."""

    def __init__(
        self, entity: AnyEntity, layout: Layout, mode: Mode, profile: Profile, field_max: int
    ) -> None:
        self.file = f"{entity.file}.csv"
        self.spelled = dict(zip(layout.names, layout.header, strict=True))
        self.field_max = field_max
        self.names = layout.names
        self.rules = [
            found
            for column in layout.columns
            for found in (*presence(column, mode, profile), *broken(column, profile))
        ]

    def findings(self, rows: pl.DataFrame) -> list[Finding]:
        """What is wrong with the values of these rows, by line."""
        flags = rows.select(
            rule.where.fill_null(value=False).alias(str(number))
            for number, rule in enumerate(self.rules)
        )
        hits = flags.select(pl.all().sum()).row(0)
        found = [
            finding
            for number, rule in enumerate(self.rules)
            if hits[number]
            for finding in self._at(rows.filter(flags[str(number)]), rule)
        ]
        found += self._too_long(rows)
        return sorted(found, key=lambda finding: finding.line or 0)

    def _at(self, rows: pl.DataFrame, broken: Broken) -> Iterator[Finding]:
        name = broken.column.name
        facts = {"expected": broken.expected, "profile": broken.expected} if broken.expected else {}
        for line, key, text in rows.select("line", "sourced_id", pl.col(name).alias("text")).rows():
            yield Finding(
                rule=broken.rule,
                file=self.file,
                line=line,
                column=self.spelled[name],
                sourced_id=cut(key),
                value=cut(text),
                facts=facts,
            )

    def _too_long(self, rows: pl.DataFrame) -> Iterator[Finding]:
        longest = rows.select(pl.col(self.names).str.len_bytes().max()).row(0)
        for name, length in zip(self.names, longest, strict=True):
            if (length or 0) > self.field_max:
                long = rows.filter(pl.col(name).str.len_bytes() > self.field_max)
                for line in long["line"]:
                    yield Finding(
                        rule=rules.text.FIELD_SIZE,
                        file=self.file,
                        line=line,
                        column=self.spelled[name],
                        facts={"limit": self.field_max},
                    )


def typed(entity: AnyEntity, layout: Layout, mode: Mode, rows: pl.DataFrame) -> pl.DataFrame:
    """Checked rows in the shape of the entity's staging table: line, columns, metadata."""
    present = {column.name for column in layout.columns}
    values = [
        value(column) if column.name in present else pl.lit(None, pl.String).alias(column.name)
        for column in entity.stored()
        if column.name != "status"
    ]
    status = pl.col("status") if mode == "delta" else pl.lit("active")
    shaped = rows.select("line", *values, status.alias("status"), metadata(layout.unknown))
    return shaped.select("line", *(column.name for column in entity.stored()), "metadata")


def metadata(unknown: tuple[str, ...]) -> pl.Expr:
    """The unknown `metadata.*` cells as one JSON object, as they came; null where all are blank."""
    if not unknown:
        return pl.lit(None, pl.String).alias("metadata")
    cells = [pl.col(name).alias(name.removeprefix(METADATA)) for name in unknown]
    empty = pl.all_horizontal(pl.col(name).is_null() for name in unknown)
    return pl.when(~empty).then(pl.struct(cells).struct.json_encode()).alias("metadata")
