"""Errors: each has a sentence, a status and a code."""

import pytest

from schemas import errors
from schemas.errors import Conflict, RosterHubError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, RosterHubError)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_has_a_sentence_a_status_and_a_code(kind: type[RosterHubError]) -> None:
    error = kind()
    assert str(error) == error.message
    assert error.message.endswith((".", ">."))
    assert 400 <= error.status < 600
    assert error.code.isascii()


def test_own_words_and_facts_are_kept() -> None:
    error = Conflict("There is a district demo.", district="demo")
    assert (error.message, error.facts) == ("There is a district demo.", {"district": "demo"})
