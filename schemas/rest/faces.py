"""The JSON face of a stored value: how each kind of column looks to a REST client.

The binding's peculiarities live in one `match`: booleans are the words "true" and "false", a
reference is an object with an address, an unforeseen word of an extensible vocabulary gets `ext:`.
"""

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal as Number
from functools import lru_cache, partial
from typing import Any, TypeAlias, assert_never
from urllib.parse import quote

from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
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
from schemas.rest.editions import EXTENSION, ONE_TWO, Edition
from schemas.rest.instants import instant
from schemas.roster import BY_FILE
from schemas.roster.people import UserProfile

Json: TypeAlias = Any
Face: TypeAlias = Callable[[Any], Json]

UUID_FORM = "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
UUID_URI = "urn:uuid:"
PROFILE_URI = "urn:rosterhub:profile:"

_is_uuid = re.compile(UUID_FORM).fullmatch


def face(column: AnyColumn, base: str, edition: Edition = ONE_TWO) -> Face:
    """How a value of the column looks; `base` is the address that hrefs begin with."""
    if (closed := edition.vocabularies.get(column)) is not None:
        return closed.of
    match column:
        case Key() | Text() | Year():
            return str
        case Choice(extensible=True, words=words):
            return partial(word, words)
        case Choices(extensible=True, words=words):
            return partial(each, partial(word, words))
        case Choice():
            return str
        case Texts() | Choices():
            return list
        case Pairs(left=left, right=right):
            return partial(each, partial(pair, left, right))
        case Flag():
            return flag
        case Day():
            return date.isoformat
        case Instant():
            return instant
        case Whole():
            return int
        case Decimal():
            return number
        case Ref() if column.extension:
            return str  # metadata has values, not objects of the binding
        case Ref(to=UserProfile.file):
            return profile_uri
        case Ref(to=to):
            return partial(reference, *target(to, base, edition))
        case Refs(to=to):
            return partial(each, partial(reference, *target(to, base, edition)))
        case _:
            assert_never(column)


def word(words: tuple[str, ...], value: str) -> str:
    """A word of the vocabulary as it is, any other as an extension."""
    return value if value in words or value.startswith(EXTENSION) else EXTENSION + value


def each(one: Face, values: list[Any]) -> list[Json]:
    """The face of every item."""
    return [one(value) for value in values]


def pair(left: str, right: str, item: str) -> dict[str, str]:
    """`{LDAP:hanako}` in its halves; the first colon divides."""
    first, _, second = item.removeprefix("{").removesuffix("}").partition(":")
    return {left: first, right: second}


def flag(value: bool) -> str:  # noqa: FBT001 - the value itself, not a switch
    """The word for it."""
    return "true" if value else "false"


def number(value: Number) -> int | float:
    """A JSON number."""
    return int(value) if value == value.to_integral_value() else float(value)


def target(file: str, base: str, edition: Edition = ONE_TWO) -> tuple[str, str]:
    """Where records of the file are read, and what a reference calls one."""
    entity = BY_FILE[file]
    return f"{base}{edition.address(entity.service)}/{file}/", entity.noun


def reference(address: str, noun: str, sourced_id: str) -> dict[str, str]:
    """A reference: exactly href, sourcedId and type."""
    return {"href": address + quoted(sourced_id), "sourcedId": sourced_id, "type": noun}


@lru_cache(maxsize=1 << 16)
def quoted(sourced_id: str) -> str:
    """An identifier in an address. A page refers to the same few schools and classes all over."""
    return quote(sourced_id, safe="")


def profile_uri(sourced_id: str) -> str:
    """A profile's identifier as the URI that REST wants."""
    if _is_uuid(sourced_id):
        return UUID_URI + sourced_id
    return PROFILE_URI + quoted(sourced_id)
