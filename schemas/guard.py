"""Why a run is held: the reasons of the guard, each a sentence in both languages."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a reason says; `{names}` are its facts."""

    ja: str
    en: str

    def say(self, facts: Mapping[str, object]) -> dict[str, str]:
        """The sentence in both languages."""
        return {"ja": self.ja.format(**facts), "en": self.en.format(**facts)}


REASONS: Mapping[str, Sentence] = {
    "deletions": Sentence(
        "{entity} {stored} 件のうち {count} 件({percent} %)が削除されます(上限 {limit} %)。",
        "{count} of {stored} records of {entity} ({percent} %) would be deleted;"
        " the limit is {limit} %.",
    ),
    "school_deletions": Sentence(
        "学校 {school} の {entity} {stored} 件のうち {count} 件({percent} %)が削除されます"
        "(上限 {limit} %)。",
        "{count} of {stored} records of {entity} ({percent} %) of the school {school}"
        " would be deleted; the limit is {limit} %.",
    ),
    "updates": Sentence(
        "{entity} {stored} 件のうち {count} 件({percent} %)が変更されます(上限 {limit} %)。",
        "{count} of {stored} records of {entity} ({percent} %) would be changed;"
        " the limit is {limit} %.",
    ),
    "school_updates": Sentence(
        "学校 {school} の {entity} {stored} 件のうち {count} 件({percent} %)が変更されます"
        "(上限 {limit} %)。",
        "{count} of {stored} records of {entity} ({percent} %) of the school {school}"
        " would be changed; the limit is {limit} %.",
    ),
    "absent_file": Sentence(
        "全件のパッケージに必須のファイル {entity}.csv がありません。",
        "{entity}.csv is required in a full package and is not there.",
    ),
    "older_package": Sentence(
        "このパッケージ({as_of})は、最後に反映したもの({newest})より古い日付です。",
        "This package ({as_of}) is older than the newest that was applied ({newest}).",
    ),
    "school_year": Sentence(
        "パッケージの日付 {as_of} は、どの年度(schoolYear)の期間にも入りません。",
        "The day of the package, {as_of}, lies in none of its school years.",
    ),
    "redoes": Sentence(
        "版 {undo} で取り消した版 {undone} の変更({entity} {count} 件)を再び行います。",
        "{count} changes of {entity} in version {undone}, which version {undo} took back,"
        " would be made again.",
    ),
    "rekey": Sentence(
        "{entity} の sourcedId が付け替えられたようです。"
        "なくなった {vanished} 件と新しい {new} 件のうち、{count} 件は同じ内容です"
        "(対応を決められないもの {ambiguous} 件)。",
        "The sourcedIds of {entity} seem to have been changed: of {vanished} records that vanish"
        " and {new} that are new, {count} are alike; {ambiguous} more cannot be told apart.",
    ),
}

SKIPPED: Mapping[str, Sentence] = {
    "older_package": Sentence(
        "パッケージの日付が分からないため、前回より古いかどうかは調べていません。",
        "Whether the package is older than the last one was not looked at, for its day is unknown.",
    ),
    "school_year": Sentence(
        "パッケージの日付が分からないため、年度は調べていません。",
        "The school year was not looked at, for the day of the package is unknown.",
    ),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a run is held; what does not apply is None.

    `share` is `count` of the `stored` active records, `threshold` what it may be at most.
    """

    code: str
    entity: str | None = None
    school: str | None = None
    count: int | None = None
    stored: int | None = None
    share: float | None = None
    threshold: float | None = None
    facts: Mapping[str, Any] | None = None

    def json(self) -> dict[str, Any]:
        """The reason with its sentence."""
        own = {
            "entity": self.entity,
            "school": self.school,
            "count": self.count,
            "stored": self.stored,
            "share": None if self.share is None else round(self.share, 4),
            "threshold": self.threshold,
        }
        facts = dict(self.facts or {})
        rounded = {"percent": percent(self.share), "limit": percent(self.threshold)}
        name = f"school_{self.code}" if self.school is not None else self.code
        message = REASONS[name].say({**own, **facts, **rounded})
        return {"code": self.code, **own, **facts, "message": message}


def skipped(code: str) -> dict[str, Any]:
    """What the guard did not look at, and why."""
    return {"code": code, "message": SKIPPED[code].say({})}


def percent(share: float | None) -> str:
    """A share as people write it."""
    return "" if share is None else f"{share * 100:.1f}".removesuffix(".0")
