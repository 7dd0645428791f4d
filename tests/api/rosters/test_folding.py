"""Text without regard to case: the same in Python and in SQL, for every letter there is."""

import sys
from itertools import product

import psycopg
from psycopg.sql import SQL

from api.rosters.binding import Bind
from api.rosters.folding import LAST, fold, fold_letter, folded, spellings, variants

LETTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def test_what_is_folded_stays_as_it_is_and_keeps_its_length() -> None:
    for letter in LETTERS:
        once = fold_letter(letter)
        assert len(once) == 1
        assert fold_letter(once) == once
    assert all(fold_letter(letter) == letter for letter in LETTERS if ord(letter) > LAST)


def test_both_cases_of_a_letter_are_the_same() -> None:
    apart = {
        letter
        for letter in LETTERS
        if len(letter.upper()) == len(letter.lower()) == 1
        and fold(letter.upper()) != fold(letter.lower())
    }
    assert apart == {"ı", "ſ", "\u212a"}, "whose other case is ASCII and has another one itself"


def test_ascii_is_the_case_of_ascii_only() -> None:
    assert [letter for letter in LETTERS if fold(letter).isascii()] == LETTERS[:128]


def test_spellings_are_those_that_fold_to_the_text() -> None:
    assert spellings("u-1É") == [["U", "u"], ["-1"], ["É", "é"]]
    assert spellings("2026") == [["2026"]]
    assert spellings("") == []
    for text in ("Müller", "ΣΊΣΥΦΟΣ", "ß", "ＡＢ-c"):
        for step in product(*spellings(text)):
            assert fold("".join(step)) == fold(text)
        assert text in map("".join, product(*spellings(text)))


def test_the_server_folds_as_python_does(database_url: str) -> None:
    """A column of every letter that has two cases, compared with a value of any other."""
    cased = [letter for letter in LETTERS[1:] if fold(letter) != letter or letter in variants()]
    with psycopg.connect(database_url) as connection:
        for value in ("k", "σ", "É", "ａ", "ß", "Ⅷ", "".join(cased[::7])):
            bind = Bind()
            wanted = fold(value)
            query = SQL(
                "select letter from unnest(%(letters)s::text[]) as letter where strpos({}, {}) > 0"
            ).format(folded(bind(wanted), wanted, bind), folded(SQL("letter"), wanted, bind))
            rows = connection.execute(query, {"letters": cased, **bind.parameters}).fetchall()
            assert [letter for (letter,) in rows] == [c for c in cased if fold(c) in wanted]
