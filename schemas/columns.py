"""The closed set of column kinds of the OneRoster CSV binding.

A kind says what a value *is*. How it looks in Polars, PostgreSQL, JSON or OpenAPI is answered
once per layer, by a `match` over `AnyColumn` that the type checker proves total.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What every kind shares. Blank names are filled in by the entity that declares the column.

    `required` is the mandatory mark of the binding, equal in bulk and delta (CSV binding 8).
    `json` is the property of the entity's REST class that the value feeds, with dots for nesting;
    `None` where the value has no place there.
    """

    entity: str = ""
    name: str = ""
    csv: str = ""
    json: str | None = ""
    required: bool = False
    personal: bool = False
    stored: bool = True
    doc: str = ""

    @property
    def extension(self) -> bool:
        """Whether it stands to the right of the defined columns, as `metadata.…` (binding 3)."""
        return self.csv.startswith("metadata.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key(Column):
    """A GUID: the identifier that the source system gave the record (binding 4).

    `to` names the file whose record it must equal (demographics describe a user).
    """

    to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Column):
    """A String or an ID: free text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts(Column):
    """A List of Strings: comma separated inside one cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Column):
    """A List of Strings of `{left:right}` items; `left` and `right` name the halves in JSON."""

    left: str
    right: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Column):
    """An Enumeration: one word of a vocabulary, or an `ext:` token where it is `extensible`."""

    words: tuple[str, ...]
    extensible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices(Column):
    """An Enumeration List."""

    words: tuple[str, ...]
    extensible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Column):
    """The Enumeration `true` / `false`. JSON sends the two words as strings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day(Column):
    """A Date, `YYYY-MM-DD`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant(Column):
    """A DateTime in UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Year(Column):
    """A Year, `YYYY`, kept as it was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole(Column):
    """An Integer, base 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decimal(Column):
    """A Float: a finite decimal number, kept exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref(Column):
    """A GUID Reference: the sourcedId of one record of the file `to`; `kind` narrows its type."""

    to: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refs(Column):
    """A List of GUID References into the file `to`."""

    to: str


AnyColumn: TypeAlias = (
    Key
    | Text
    | Texts
    | Pairs
    | Choice
    | Choices
    | Flag
    | Day
    | Instant
    | Year
    | Whole
    | Decimal
    | Ref
    | Refs
)
