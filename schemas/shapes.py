"""The shape of a text: what kind of sign stands where, and none of the signs.

`佐藤 Taro2` becomes `漢漢 Aaaa9`. Punctuation and blanks stay, for they are what is often wrong. A
district that keeps its findings masked (schemas/policy.py) sees values and rows like this.
"""

import unicodedata
from collections.abc import Mapping

PUBLIC = frozenset(
    {
        *("entity", "expected", "guess", "guess_ja", "org", "profile", "role"),
        *("source", "target", "template", "version"),
    }
)
"""Facts of a finding that come from the rule book or from a header, or name no person."""

KINDS: tuple[tuple[str, str], ...] = (
    ("HIRAGANA", "あ"),
    ("KATAKANA", "ア"),
    ("HALFWIDTH KATAKANA", "ｱ"),
    ("CJK", "漢"),
    ("IDEOGRAPHIC", "漢"),
    ("FULLWIDTH LATIN CAPITAL", "Ａ"),
    ("FULLWIDTH LATIN SMALL", "ａ"),
    ("FULLWIDTH DIGIT", "９"),
)


class _Shapes(dict[int, str]):
    """A translation table that learns each sign when it is first seen."""

    def __missing__(self, code: int) -> str:
        self[code] = found = sign(chr(code))
        return found


_SHAPES = _Shapes()


def sign(one: str) -> str:
    """The kind of one sign; an accent of its own, or a variant selector, is left out."""
    category = unicodedata.category(one)
    name = unicodedata.name(one, "")
    match category[0]:
        case "L" | "N":
            other = "9" if category[0] == "N" else "A" if category == "Lu" else "a"
            return next((kind for start, kind in KINDS if name.startswith(start)), other)
        case "M":
            return ""
        case "C" if category in ("Co", "Cn"):  # a sign of somebody's own is part of a name
            return "漢"
        case _:
            return one


def shape(text: str) -> str:
    """The shape of a text."""
    return text.translate(_SHAPES)


def shape_of_row(row: str, sourced_id: str | None) -> str:
    """The shape of a CSV row; the identifier of the record stays readable."""
    first, comma, rest = row.partition(",")
    if sourced_id and first.strip('"') == sourced_id:
        return first + comma + shape(rest)
    return shape(row)


def shape_of_facts(facts: Mapping[str, str | int | None]) -> dict[str, str | int | None]:
    """The facts, those from the row as their shape."""
    return {
        name: shape(fact) if isinstance(fact, str) and name not in PUBLIC else fact
        for name, fact in facts.items()
    }
