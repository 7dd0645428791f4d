"""Every decision of the policy is explained, in both languages, as it is."""

import re
from pathlib import Path
from typing import get_args

import pytest

from schemas import policybook
from schemas.policy import Policy, Repair
from schemas.policybook import FIELDS, GUIDES, MEANINGS, Language

PROJECT = Path(__file__).parents[2]
JAPANESE = re.compile(r"[ぁ-んァ-ヶ一-龠]")

any_language = pytest.mark.parametrize("language", ["en", "ja"])


def guide(language: Language) -> str:
    return (PROJECT / GUIDES[language]).read_text(encoding="utf-8")


@any_language
def test_the_table_of_the_guide_is_the_model(language: Language) -> None:
    text = guide(language)
    assert text.count(policybook.BEGIN) == text.count(policybook.END) == 1
    assert policybook.rewritten(text, language) == text, "run python -m schemas.policybook"
    assert policybook.table(language).count("\n") == len(FIELDS) + 2


@any_language
def test_every_repair_is_explained(language: Language) -> None:
    _, _, table = guide(language).partition(policybook.END)
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(get_args(Repair))


def test_every_decision_is_explained_once() -> None:
    assert [field.key for field in FIELDS] == list(MEANINGS)
    for english, japanese in MEANINGS.values():
        assert english.isascii()
        assert JAPANESE.search(japanese)


def test_a_default_is_typed_as_the_model_reads_it() -> None:
    groups = {name: value for name, value in Policy() if not isinstance(value, str | int | float)}
    for field in FIELDS:
        *above, name = field.key.split(".")
        stands = getattr(groups[above[0]] if above else Policy(), name)
        if isinstance(stands, frozenset):
            assert set(field.default.split(",")) == stands
        else:
            plain = "null" if stands is None else str(stands)
            assert field.default == (plain.lower() if isinstance(stands, bool) else plain)
