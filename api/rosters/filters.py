"""The `filter` of the binding, read in one pass: clauses, AND and OR.

    filter    = clause *( SP ( "AND" / "OR" ) SP clause )
    clause    = field predicate ( "'" value "'" / bare value )
    predicate = "=" / "!=" / ">" / ">=" / "<" / "<=" / "~"

The binding foresees one AND or one OR. More are understood, AND before OR. A quote inside a value
is written twice. A single one is understood too where the clause cannot end there, as in O'Brien;
not in a value that holds a predicate, for that is a clause gone wrong.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

from schemas.errors import BadRequest

LENGTH = 4096  # characters
CLAUSES = 20

Predicate: TypeAlias = Literal["=", "!=", ">", ">=", "<", "<=", "~"]

# Each is anchored where the last one ended, and none can match the same text in two ways.
FIELD = re.compile(r" *([^ '=!<>~]{1,255}) *")
PREDICATE = re.compile(r"(!=|>=|<=|[=><~]) *")
BARE = re.compile(r"(-?[0-9]{1,30}(?:\.[0-9]{1,30})?|true|false)(?= |$)", re.IGNORECASE)
LOGICAL = re.compile(r" +(AND|OR) +", re.IGNORECASE)
SIGNS = frozenset("=!<>~")
END = re.compile(r" *$")


class InvalidFilterField(BadRequest):
    """The filter cannot be read."""

    code = "invalid_filter_field"


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison."""

    path: str
    predicate: Predicate
    value: str


Filter: TypeAlias = tuple[tuple[Clause, ...], ...]
"""Any of these groups, of each group all clauses."""


def parse(text: str) -> Filter:
    """Read a filter; raises InvalidFilterField."""
    if len(text) > LENGTH:
        raise InvalidFilterField(f"filter: more than {LENGTH} characters.")
    if "\0" in text:
        raise InvalidFilterField("filter: a NUL is part of no value.")
    groups: list[list[Clause]] = [[]]
    for number, (logical, clause) in enumerate(clauses(text), start=1):
        if number > CLAUSES:
            raise InvalidFilterField(f"filter: more than {CLAUSES} clauses.")
        if logical == "OR":
            groups.append([])
        groups[-1].append(clause)
    return tuple(map(tuple, groups))


def clauses(text: str) -> Iterator[tuple[str, Clause]]:
    """Each clause with the word before it; the first has none."""
    logical, place = "", 0
    while True:
        clause, place = clause_at(text, place)
        yield logical, clause
        if END.match(text, place):
            return
        word = LOGICAL.match(text, place)
        if word is None:
            raise wrong(place, "AND or OR, with blanks around it")
        logical, place = word[1].upper(), word.end()


def clause_at(text: str, place: int) -> tuple[Clause, int]:
    """The clause that begins here, and where it ends."""
    field = FIELD.match(text, place)
    if field is None:
        raise wrong(place, "the name of a field")
    predicate = PREDICATE.match(text, field.end())
    if predicate is None:
        raise wrong(field.end(), "one of = != > >= < <= ~")
    value, end = value_at(text, predicate.end())
    return Clause(field[1], cast("Predicate", predicate[1]), value), end


def value_at(text: str, place: int) -> tuple[str, int]:
    """The value that begins here, and where it ends."""
    if text.startswith("'", place):
        return quoted_at(text, place + 1)
    bare = BARE.match(text, place)
    if bare is None:
        raise wrong(place, "a value in single quotes")
    return bare[1], bare.end()


def quoted_at(text: str, place: int) -> tuple[str, int]:
    """What stands until the quote that ends the clause, read in time that grows with its length."""
    parts: list[str] = []
    single = -1
    while (quote := text.find("'", place)) >= 0:
        parts.append(text[place:quote])
        place = quote + 1
        if text.startswith("'", place):
            place += 1
        elif END.match(text, place) or LOGICAL.match(text, place):
            value = "".join(parts)
            if single >= 0 and not SIGNS.isdisjoint(value):
                raise wrong(single, "AND, OR or the end; a quote inside a value is written twice")
            return value, place
        else:
            single = place
        parts.append("'")
    raise wrong(len(text), "the quote that ends the value")


def wrong(place: int, expected: str) -> InvalidFilterField:
    """The refusal says where, and never what stands there: it may be about a person."""
    return InvalidFilterField(f"filter: at character {place + 1} there should be {expected}.")
