"""How a district's own columns become those of OneRoster: a closed set of transformations.

A mapping belongs to one entity of one district. Each column it fills has a chain: the first
transformation takes text from the row, each further one changes the text that came so far. Nothing
is a script, so what a row means can be read, checked when it is saved, and evaluated for a million
rows at once. A blank value is no value all the way; what a transformation cannot read stays as it
is, so that the rules of the column find it and quote it as it was written.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

REVISION = 1
"""Counted up when a transformation changes its meaning: what was computed before is void then."""

CHAIN_MAX = 16
COLUMNS_MAX = 200
ENTRIES_MAX = 50_000

Tables: TypeAlias = Mapping[str, Mapping[str, str]]
"""The lookup tables of a district, by name."""


def without_controls(text: str) -> str:
    """Text that a line of a CSV file may hold."""
    if any(sign < " " or sign == "\x7f" for sign in text):
        raise ValueError("has a control character")
    return text


Plain = Annotated[str, StringConstraints(max_length=1000), AfterValidator(without_controls)]
Filled = Annotated[
    str, StringConstraints(min_length=1, max_length=1000), AfterValidator(without_controls)
]
Source = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(without_controls)
]
"""A column of the source's file, as its header spells it."""

TableName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Entries = Annotated[dict[Filled, Plain], Field(min_length=1, max_length=ENTRIES_MAX)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Direct(_Part):
    """The value of a source column, as it is."""

    kind: Literal["direct"]
    source: Source


class Constant(_Part):
    """The same value in every row."""

    kind: Literal["constant"]
    value: Filled


Operand: TypeAlias = Annotated[Direct | Constant, Field(discriminator="kind")]


class Concatenate(_Part):
    """Columns and constants behind one another; blank ones are left out with their separator.

    Where every column is blank, so is the result: constants alone make no value.
    """

    kind: Literal["concatenate"]
    parts: Annotated[tuple[Operand, ...], Field(max_length=20)]
    separator: Plain = ""

    @model_validator(mode="after")
    def _has_parts(self) -> Self:
        if not self.parts:
            raise ValueError("has no parts")
        return self


class Conditional(_Part):
    """One of two values, by a test of a column, or of the value so far where none is named.

    `equals`, `contains` and `starts_with` hold for any one of the `values`; `differs` for none of
    them. A branch that is not given keeps the value so far.
    """

    kind: Literal["conditional"]
    source: Source | None = None
    test: Literal["equals", "differs", "contains", "starts_with", "blank", "filled"]
    values: Annotated[tuple[Filled, ...], Field(max_length=1000)] = ()
    then: Operand | None = None
    otherwise: Operand | None = None

    @model_validator(mode="after")
    def _compares(self) -> Self:
        if (self.test in ("blank", "filled")) == bool(self.values):
            raise ValueError("blank and filled take no values, every other test takes some")
        return self


class Split(_Part):
    """One part of the value: the first is 1, the last is -1."""

    kind: Literal["split"]
    separator: Filled
    part: Annotated[int, Field(ge=-100, le=100)]

    @model_validator(mode="after")
    def _counts_from_one(self) -> Self:
        if self.part == 0:
            raise ValueError("parts are counted from 1, or from -1 at the end")
        return self


class Lookup(_Part):
    """What a table says for the value: a table of the district by its name, or one given here."""

    kind: Literal["lookup"]
    table: TableName | None = None
    entries: Entries | None = None
    missing: Literal["keep", "blank"] = "keep"

    @model_validator(mode="after")
    def _one_table(self) -> Self:
        if (self.table is None) == (self.entries is None):
            raise ValueError("name a table, or give entries")
        return self


def readable(pattern: str) -> str:
    """A date pattern with each part once, and its time whole or absent."""
    rest = pattern
    for names in (("YYYY",), ("MM", "M"), ("DD", "D"), ("hh",), ("mm",), ("ss",)):
        name = next((name for name in names if name in rest), None)
        if name is None and names[0] in ("YYYY", "MM", "DD"):
            raise ValueError(f"lacks {names[0]}")
        rest = rest.replace(name or "", "\0", 1) if name else rest
    if any(sign.isascii() and sign.isalpha() and sign not in "TZ" for sign in rest):
        raise ValueError("knows YYYY MM M DD D hh mm ss, each once")
    if ("hh" in pattern) != ("mm" in pattern) or ("ss" in pattern and "hh" not in pattern):
        raise ValueError("has a part of a time only")
    return pattern


class DateFormat(_Part):
    """A date, or a time, that is written as `format` says; it becomes ISO 8601.

    `M` and `D` take one or two digits. `zone` is the offset that a time was written in.
    """

    kind: Literal["date_format"]
    format: Annotated[str, StringConstraints(max_length=40), AfterValidator(readable)]
    zone: Annotated[str, StringConstraints(pattern=r"^(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$")] = (
        "+09:00"
    )

    @property
    def timed(self) -> bool:
        """Whether it has a time of day."""
        return "hh" in self.format


class Trim(_Part):
    """Without the blanks around it, full-width ones included."""

    kind: Literal["trim"]


class Lower(_Part):
    """In lower case."""

    kind: Literal["lower"]


class Upper(_Part):
    """In upper case."""

    kind: Literal["upper"]


class Substring(_Part):
    """`length` characters from the character `start` on, which is counted from 1."""

    kind: Literal["substring"]
    start: Annotated[int, Field(ge=1, le=32768)] = 1
    length: Annotated[int, Field(ge=1, le=32768)] | None = None


class Replace(_Part):
    """Every occurrence of a text by another."""

    kind: Literal["replace"]
    find: Filled
    replacement: Plain = ""


class Default(_Part):
    """A value for where there is none."""

    kind: Literal["default"]
    value: Filled


class Width(_Part):
    """Kana, and letters, digits and signs of ASCII, in full or half width."""

    kind: Literal["width"]
    kana: Literal["full", "half", "keep"] = "full"
    ascii: Literal["full", "half", "keep"] = "keep"


class Katakana(_Part):
    """Hiragana as katakana."""

    kind: Literal["katakana"]


class EraDate(_Part):
    """A date of the Japanese calendar (令和8年4月1日, R8.4.1, R080401, 令和元年…) as ISO 8601.

    The year is counted from the era's first, also where an era had ended by then.
    """

    kind: Literal["era_date"]


class Grade(_Part):
    """The name of a grade (小1, 小学校第1学年, 中２年) as a code of the Japan profile.

    `school` is what a number alone means: elementary, junior high, high or compulsory school.
    """

    kind: Literal["grade"]
    school: Literal["小", "中", "高", "義"] | None = None


class SchoolCode(_Part):
    """The school that has this code, by a table of the district.

    The code is compared in half width and upper case, without blanks and hyphens.
    """

    kind: Literal["school_code"]
    table: TableName = "schools"
    missing: Literal["keep", "blank"] = "keep"


AnyTransformation: TypeAlias = (
    Direct
    | Constant
    | Concatenate
    | Conditional
    | Split
    | Lookup
    | DateFormat
    | Trim
    | Lower
    | Upper
    | Substring
    | Replace
    | Default
    | Width
    | Katakana
    | EraDate
    | Grade
    | SchoolCode
)
Transformation: TypeAlias = Annotated[AnyTransformation, Field(discriminator="kind")]


def some(chain: tuple[AnyTransformation, ...]) -> tuple[AnyTransformation, ...]:
    """A chain that is not empty; said only where each of its transformations is right."""
    if not chain:
        raise ValueError("has no transformation")
    return chain


Chain: TypeAlias = Annotated[
    tuple[Transformation, ...], Field(max_length=CHAIN_MAX), AfterValidator(some)
]


class FileMapping(_Part):
    """How the rows of one entity are made: a chain for each column, by its name in the CSV."""

    columns: Annotated[dict[Filled, Chain], Field(max_length=COLUMNS_MAX)]

    @property
    def sources(self) -> tuple[str, ...]:
        """The source columns it reads, each once, in the order in which they are named."""
        return tuple(dict.fromkeys(name for chain in self.columns.values() for name in read(chain)))

    @property
    def tables(self) -> frozenset[str]:
        """The lookup tables it names."""
        return frozenset(
            step.table
            for chain in self.columns.values()
            for step in chain
            if isinstance(step, Lookup | SchoolCode) and step.table is not None
        )


def read(chain: Iterable[AnyTransformation]) -> tuple[str, ...]:
    """The source columns that a chain reads."""
    return tuple(dict.fromkeys(name for step in chain for name in sources(step)))


def sources(step: AnyTransformation) -> tuple[str, ...]:
    """The source columns of one transformation."""
    match step:
        case Direct(source=source):
            return (source,)
        case Concatenate(parts=parts):
            return tuple(part.source for part in parts if isinstance(part, Direct))
        case Conditional(source=source, then=then, otherwise=otherwise):
            named = [part.source for part in (then, otherwise) if isinstance(part, Direct)]
            return tuple(filter(None, (source, *named)))
        case _:
            return ()


def fingerprint(entity: str, mapping: FileMapping, tables: Tables) -> str:
    """What a row of a given header becomes is a function of the row and this: 64 hex digits.

    It covers what the mapping and the tables it names say, not their versions: a mapping that is
    rolled back has its old fingerprint again.
    """
    said = {
        "revision": REVISION,
        "entity": entity,
        "mapping": mapping.model_dump(mode="json"),
        "tables": {name: dict(tables[name]) for name in mapping.tables if name in tables},
    }
    text = json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
