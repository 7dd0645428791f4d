"""Why a lens shows a record or does not: a sentence for each kind of rule, in both languages.

Administrators read them; a client is never told why something is not there.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from schemas.visibility import Kind

Said: TypeAlias = dict[str, str]


class Sentence(NamedTuple):
    """A sentence; `{names}` are filled in when it is said."""

    en: str
    ja: str

    def say(self, **facts: object) -> Said:
        """The sentence in both languages."""
        return {"ja": self.ja.format(**facts), "en": self.en.format(**facts)}


HOLDS: Mapping[Kind, Sentence] = {
    "school": Sentence(
        "One of its schools is in the lens. Its schools: {schools}.",
        "この記録の学校のひとつが、レンズの学校に含まれています。この記録の学校: {schools}。",
    ),
    "role": Sentence(
        "It has one of the roles of the lens. Its roles: {roles}.",
        "この記録の役割のひとつが、レンズの役割に含まれています。この記録の役割: {roles}。",
    ),
    "grade": Sentence(
        "Its grades do not keep it out. Its grades: {grades}.",
        "学年による制限にはかかりません。この記録の学年: {grades}。",
    ),
    "reference": Sentence(
        "{property} refers to {target}, which is visible.",
        "{property} が参照する {target} は見えています。",
    ),
}
"""A rule of the entity itself is only ever named where it does not hold."""

FAILS: Mapping[Kind, Sentence] = {
    "entity": Sentence(
        "The lens names entities, and {entity} is not among them.",
        "レンズが指定する種類に {entity} は含まれていません。",
    ),
    "grant": Sentence(
        "{entity} are shown only where they are granted: add demographics to the fields.",
        "{entity} は許可された場合だけ見えます。fields に demographics を加えてください。",
    ),
    "school": Sentence(
        "None of its schools is in the lens. Its schools: {schools}.",
        "この記録の学校は、どれもレンズの学校に含まれていません。この記録の学校: {schools}。",
    ),
    "role": Sentence(
        "It has none of the roles of the lens at a school of the lens. Its roles: {roles}.",
        "レンズの学校で、レンズの役割を持っていません。この記録の役割: {roles}。",
    ),
    "grade": Sentence(
        "None of its grades is in the lens; a student without grades is not shown either."
        " Its grades: {grades}.",
        "この記録の学年は、どれもレンズの学年に含まれていません。学年のない児童生徒も見えません。"
        "この記録の学年: {grades}。",
    ),
    "reference": Sentence(
        "{property} refers to {target}, which is not visible, and the record cannot do without it.",
        "{property} が参照する {target} が見えません。この参照は必須のため、この記録も見えません。",
    ),
}

UNLIMITED = Sentence(
    "Nothing in the lens limits {entity}.", "このレンズは {entity} を制限していません。"
)
NOT_THERE = Sentence("The roster has no such record.", "名簿にこの記録はありません。")
NOT_GRANTED = Sentence(
    "Left out: the field group {group} is not granted.",
    "項目グループ {group} が許可されていないため、含まれません。",
)
NO_METADATA = Sentence(
    "Left out beside pseudonyms: metadata of people may name them.",
    "仮名化しているため、人の metadata は含まれません。",
)
NOT_VISIBLE = Sentence(
    "Left out: {targets} cannot be seen through the lens.",
    "レンズを通して {targets} が見えないため、含まれません。",
)
NONE = "-"


def listed(words: Iterable[str]) -> str:
    """Words in one line, or a sign that there are none."""
    return ", ".join(sorted(words)) or NONE
