"""The rule book as a table for people: `python -m schemas.rulebook` writes it into the guides.

The guides hold it between two comments, in both languages; a test compares. What a finding fills
in when it is made stands in the table as a name between ‹ and ›.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from schemas.rules import RULES, Rule, Severity

Language: TypeAlias = Literal["en", "ja"]

GUIDES: Mapping[Language, Path] = {
    "en": Path("docs/en/push-a-package.md"),
    "ja": Path("docs/ja/push-a-package.md"),
}
BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"

HEADINGS: Mapping[Language, tuple[str, ...]] = {
    "en": ("Rule", "Severity", "What is wrong", "What to do"),
    "ja": ("規則", "重さ", "内容", "直し方"),
}
SEVERITIES: Mapping[Language, Mapping[Severity, str]] = {
    "en": {"error": "error", "warning": "warning", "info": "note"},
    "ja": {"error": "要修正", "warning": "警告", "info": "情報"},
}
JAPANESE: Mapping[str, str] = {
    "file": "ファイル",
    "line": "行",
    "column": "列",
    "value": "値",
    "expected": "正しい値",
    "found": "実際",
    "limit": "上限",
    "profile": "プロファイル",
    "target": "参照先",
    "version": "版",
    "since": "後の版",
    "undone_by": "取り消した版",
    "source": "元の列",
    "org": "組織",
    "role": "役割",
    "rows": "行数",
    "count": "件数",
}
GUESSES = ("guess", "guess_ja")
"""Facts that most findings leave empty."""


class Names(dict[str, str]):
    """A fact stands there by its name."""

    def __missing__(self, fact: str) -> str:
        return "" if fact in GUESSES else f"‹{fact}›"


class Translated(Names):
    """By its Japanese name, if it has one."""

    def __missing__(self, fact: str) -> str:
        return super().__missing__(JAPANESE.get(fact, fact))


NAMES: Mapping[Language, Names] = {"en": Names(), "ja": Translated()}


def table(language: Language) -> str:
    """The whole book in one language, as a Markdown table."""
    head = HEADINGS[language]
    rows = [head, tuple("---" for _ in head), *(row(rule, language) for rule in RULES.values())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def row(rule: Rule, language: Language) -> tuple[str, ...]:
    """A rule as the cells of its row."""
    match language:
        case "en":  # a hint begins small, for it follows "Fix:" in a message
            said = rule.en, rule.hint_en[:1].upper() + rule.hint_en[1:]
        case "ja":
            said = rule.ja, rule.hint_ja
    sentence, hint = (text.format_map(NAMES[language]).replace("|", "\\|") for text in said)
    return f'<a id="{rule.id}"></a>`{rule.id}`', SEVERITIES[language][rule.severity], sentence, hint


def rewritten(guide: str, language: Language) -> str:
    """The text of a guide with the table as it is now."""
    before, _, rest = guide.partition(BEGIN)
    _, _, behind = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(language)}\n{END}{behind}"


def main() -> None:
    """Bring the table of every guide up to date."""
    root = Path(__file__).parents[1]
    for language, path in GUIDES.items():
        guide = root / path
        guide.write_text(rewritten(guide.read_text(encoding="utf-8"), language), encoding="utf-8")


if __name__ == "__main__":
    main()
