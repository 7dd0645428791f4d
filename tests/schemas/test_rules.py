"""The rule book: complete, in both languages, with the same facts in both."""

import re
from string import Formatter

import pytest

from schemas import rules
from schemas.rules import RULES, Finding, Rule

OWN = {"file", "line", "column", "sourced_id", "value"}
FACTS = {
    *("count", "expected", "found", "guess", "guess_ja", "hub", "limit", "org", "profile", "role"),
    *("entity", "rows", "since", "target", "template", "undone_by", "version"),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)


def placeholders(*texts: str) -> set[str]:
    return {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}


def test_ids_occur_once() -> None:
    declared = [
        value
        for section in rules.SECTIONS
        for value in vars(section).values()
        if isinstance(value, Rule)
    ]
    assert len({rule.id for rule in declared}) == len(declared) == len(RULES)


@every_rule
def test_an_id_has_one_shape(rule: Rule) -> None:
    assert re.fullmatch(
        r"(package|manifest|csv|header|mapping|repair|value|record|reference|undo)\.[a-z0-9_]+",
        rule.id,
    )


@every_rule
def test_everything_is_said_in_both_languages(rule: Rule) -> None:
    assert rule.severity in ("error", "warning", "info")
    for text in (rule.en, rule.hint_en):
        assert text.endswith(".")
        assert text.isascii() or "…" in text
    for text in (rule.ja, rule.hint_ja):
        assert re.search("[ぁ-んァ-ヶ一-龠]", text)
    assert rule.en[0].isupper() or rule.en.startswith("{")


@every_rule
def test_both_languages_use_the_same_facts(rule: Rule) -> None:
    # A guess is worded in its own language.
    japanese = {name.removesuffix("_ja") for name in placeholders(rule.ja)}
    assert placeholders(rule.en) == japanese
    assert placeholders(rule.hint_en) == placeholders(rule.hint_ja)


@every_rule
def test_every_sentence_asks_for_known_facts_and_formats(rule: Rule) -> None:
    texts = (rule.en, rule.ja, rule.hint_en, rule.hint_ja)
    assert placeholders(*texts) <= OWN | FACTS
    for text in texts:
        assert text.format(**dict.fromkeys(OWN | FACTS, "fact"))


def test_a_message_is_sentence_and_hint() -> None:
    finding = Finding(
        rule=rules.records.REFERENCE,
        file="users.csv",
        line=2,
        column="primaryOrgSourcedId",
        value="nobody",
        facts={"target": "orgs.csv"},
    )
    assert finding.message() == {
        "en": "primaryOrgSourcedId refers to nobody, which is not in orgs.csv."
        " Fix: add the record to orgs.csv, or correct the reference.",
        "ja": "primaryOrgSourcedId の nobody が orgs.csv にありません。"
        " 直し方: orgs.csv にその記録を入れるか、参照を直してください。",
    }


def test_braces_that_are_no_placeholder_survive() -> None:
    finding = Finding(rule=rules.values.PAIRS, file="users.csv", column="userIds", value="{x}")
    assert "userIds is {x}: each item has the form {left:right}." in finding.message()["en"]


def test_a_fact_that_an_older_finding_lacks_reads_as_an_ellipsis() -> None:
    finding = Finding(rule=rules.text.ROW_WIDTH, file="users.csv", line=2)
    assert finding.message()["en"].startswith("Line 2 of users.csv has … values")
