"""Text without regard to case, the same in Python and in SQL whatever the server's locale.

A letter counts as its other case if each is one character. A Kelvin sign is no k and a long s no s,
so that ASCII folds to ASCII only: then `lower` under the collation "C", which has indexes, is right
for every value without other letters that have two cases.
"""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache

from psycopg.sql import SQL, Composable

from api.rosters.binding import Bind

LAST = 0x1FFFF  # no letter beyond has two cases


def fold(text: str) -> str:
    """Text as all its spellings in upper and lower case compare."""
    return text.lower() if text.isascii() else "".join(map(fold_letter, text))


def fold_letter(letter: str) -> str:
    """One letter of them."""
    if letter.isascii():
        return letter.lower()
    for form in (letter.casefold(), letter.lower()):
        if len(form) == 1:
            return letter if form.isascii() else form
    return letter


@cache
def variants() -> Mapping[str, str]:
    """Folded letter beyond ASCII -> the letters that fold to it."""
    found: dict[str, str] = defaultdict(str)
    for code in range(0x80, LAST + 1):
        letter = chr(code)
        if (folded := fold_letter(letter)) != letter:
            found[folded] += letter
    return dict(found)


def spellings(text: str) -> list[list[str]]:
    """The text in steps: what has no case at a stretch, every other letter in each of its cases."""
    steps: list[list[str]] = []
    for letter in fold(text):
        cases = (
            {letter, letter.upper()} if letter.isascii() else {letter, *variants().get(letter, "")}
        )
        if len(cases) == 1 and steps and len(steps[-1]) == 1:
            steps[-1][0] += letter
        else:
            steps.append(sorted(cases))
    return steps


def folded(expression: Composable, values: str, bind: Bind) -> Composable:
    """The expression, comparable with folded values: they say which letters matter."""
    lowered = SQL('lower({} collate "C")').format(expression)
    letters = sorted({letter for letter in values if letter > "\x7f"} & variants().keys())
    if not letters:
        return lowered
    others = "".join(variants()[letter] for letter in letters)
    same = "".join(letter * len(variants()[letter]) for letter in letters)
    return SQL("translate({}, {}, {})").format(lowered, bind(others), bind(same))
