"""A rule, and a finding that names it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "info"]
Value: TypeAlias = str | int | None
NO_FACTS: Mapping[str, Value] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Rule:
    """A sentence and a hint, each in English and Japanese."""

    id: str
    severity: Severity
    en: str
    ja: str
    hint_en: str
    hint_ja: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong where. `line` counts lines of the file, the header is line 1; None: all of it.

    `value` is the offending text as it came, cut to 200 characters; `row` the line as it came.
    `school` is the sourcedId of the school the record belongs to, where the row says so.
    `caused_by` is the number (from 1) of the finding that this one follows from: such a one is
    told, and not counted.
    """

    rule: Rule
    file: str
    line: int | None = None
    column: str | None = None
    sourced_id: str | None = None
    value: str | None = None
    row: str | None = None
    school: str | None = None
    caused_by: int | None = None
    facts: Mapping[str, Value] = field(default_factory=lambda: NO_FACTS)

    def message(self) -> dict[str, str]:
        """Sentence and hint: `{"ja": …, "en": …}`."""
        own = {
            name: getattr(self, name) for name in ("file", "line", "column", "sourced_id", "value")
        }
        names = Gaps({**own, **self.facts})
        ja, en = (
            f"{self.rule.ja} 直し方: {self.rule.hint_ja}",
            f"{self.rule.en} Fix: {self.rule.hint_en}",
        )
        if "source" in self.facts:  # the column as the district's own file calls it
            ja, en = f"{ja} 元の列: {{source}}。", f"{en} Source column: {{source}}."
        return {"ja": ja.format_map(names), "en": en.format_map(names)}


class Gaps(dict[str, Value]):
    """A fact that an older finding does not have reads as an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "…"
