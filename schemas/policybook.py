"""The policy as a table for people: `python -m schemas.policybook` writes it into the guides.

Keys, values and defaults come from the model; what each decision means is said here, in both
languages. A test compares the guides, and refuses a decision that nobody explained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from schemas.policy import Policy

Language: TypeAlias = Literal["en", "ja"]

GUIDES: Mapping[Language, Path] = {
    "en": Path("docs/en/policy.md"),
    "ja": Path("docs/ja/policy.md"),
}
BEGIN, END = "<!-- policy: begin -->", "<!-- policy: end -->"
HEADINGS: Mapping[Language, tuple[str, ...]] = {
    "en": ("Key", "Values", "Default", "What it decides"),
    "ja": ("項目", "値", "既定値", "決めること"),
}

MEANINGS: Mapping[str, tuple[str, str]] = {
    "reading.profile": (
        "The profile that packages follow; `auto` recognises it by manifest and headers.",
        "パッケージが従うプロファイル。`auto` は manifest とヘッダーから判定します。",
    ),
    "reading.lenient": (
        "Whether the repairs below are made. Otherwise each of them is an error.",
        "下の補正を行うかどうか。行わない場合、それぞれ要修正になります。",
    ),
    "reading.repairs": (
        "What lenient reading puts right; each repair is counted in the report.",
        "寛容な読み込みで補正するもの。補正の件数は結果に表示します。",
    ),
    "reading.faulty_rows": (
        "A row in error rejects the run, or is skipped with the rows that refer to it.",
        "誤りのある行があるとき、取り込み全体を却下するか、参照する行とともに飛ばすか。",
    ),
    "reading.tolerance": (
        "The share of the rows of a file that may be skipped; beyond it the run is rejected.",
        "ファイルごとに飛ばしてよい行の割合。超えると取り込みを却下します。",
    ),
    "reading.cascade": (
        "Whether a stored record that loses its reference by a deletion is deleted too.",
        "削除によって参照先を失う登録済みレコードも削除するかどうか。",
    ),
    "apply": (
        "Whether a clean import is applied at once, or waits for somebody to review it.",
        "問題のない取り込みをすぐ反映するか、確認を待つか。",
    ),
    "guard.on": (
        "Whether conspicuous imports are held until somebody approves them.",
        "目立つ変更を含む取り込みを、承認されるまで保留するかどうか。",
    ),
    "guard.deletions": (
        "Hold when more than this share of the records of an entity or a school would be deleted.",
        "種類別・学校別に、この割合を超えるレコードが削除されるとき保留します。",
    ),
    "guard.updates": (
        "Hold when more than this share of the records of an entity or a school would change.",
        "種類別・学校別に、この割合を超えるレコードが変更されるとき保留します。",
    ),
    "guard.at_least": (
        "Fewer deletions or updates than this never hold an import.",
        "削除や変更がこの件数より少なければ、割合では保留しません。",
    ),
    "guard.absent_files": (
        "Hold when the package declares a required file absent.",
        "必須のファイルが absent と宣言されているとき保留します。",
    ),
    "guard.older_package": (
        "Hold when the package is older than the one applied last.",
        "最後に反映したものより古いパッケージを保留します。",
    ),
    "guard.school_year": (
        "Hold when the package is of another school year.",
        "年度が違うパッケージを保留します。",
    ),
    "guard.rekey": (
        "Hold when many identifiers have changed while the records look alike.",
        "内容が似たまま多くの識別子が変わっているとき保留します。",
    ),
    "guard.rekey_share": (
        "Identifiers have changed when new records look like this share of an entity's records.",
        "種類別に、この割合以上のレコードと似た新しいレコードがあるとき、識別子の変更とみなします。",
    ),
    "newer": (
        "A newer package takes the place of one that waits for an answer, or waits behind it.",
        "回答待ちの取り込みがあるとき、新しいパッケージで置き換えるか、後ろで待つか。",
    ),
    "identifiers": (
        "Whose identifiers exports write after a change of identifiers.",
        "識別子の変更後、書き出しにどちらの識別子を使うか。",
    ),
    "uploads_hours": (
        "Hours that an upload, and what would change, is kept after its run has ended.",
        "取り込みの終了後、送信されたファイルと変更内容を残す時間数。",
    ),
    "exports_hours": (
        "Hours that the file of an export can be fetched after it was made.",
        "書き出したファイルを、作成後に受け取れる時間数。",
    ),
    "runs_days": (
        "Days that a run with its findings, or an export, stays in the history after it has ended.",
        "終了した取り込みと検出結果、書き出しを履歴に残す日数。",
    ),
    "audit_days": (
        "Days that the audit keeps who read or changed what.",
        "誰が何を読み、何を変えたかを監査記録に残す日数。",
    ),
    "feed_days": (
        "Days that a consumer of the feed may stay away, and that packages of the feed are kept.",
        "差分フィードの利用側が、最初からやり直さずに離れていられる日数。差分パッケージもこの間残す。",
    ),
    "deleted_days": (
        "Days after which deleted people and deleted records of people are erased; `null`: never.",
        "削除された人と人のレコードを何日後に消去するか。`null` は消去しません。",
    ),
    "history_days": (
        "Days after which earlier values of people's records are erased; `null`: never.",
        "人のレコードの以前の値を、何日後に履歴から消去するか。`null` は消去しません。",
    ),
    "finding_values": (
        "Whether findings show values and rows as they came, or only their shape.",
        "検出結果に値や行をそのまま表示するか、形だけを表示するか。",
    ),
    "time_zone": (
        "The time zone that says which day an export is of, and when a new schedule is due.",
        "書き出しの日付と、新しい予定の時刻に使うタイムゾーン。",
    ),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One decision: its dotted key, what it may be, and its default, as they are typed."""

    key: str
    values: str
    default: str


def fields(model: type[BaseModel] = Policy, above: str = "") -> Iterator[Field]:
    """Every decision of the model, in its order."""
    properties: dict[str, Any] = model.model_json_schema(mode="serialization")["properties"]
    defaults = model().model_dump(mode="json")
    for name, field in model.model_fields.items():
        key, part = f"{above}{name}", field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from fields(part, f"{key}.")
        else:
            yield Field(key, allowed(properties[name]), typed(defaults[name]))


def allowed(schema: Mapping[str, Any]) -> str:
    """The values of a decision: its words, or its range."""
    match schema:
        case {"enum": words}:
            return " · ".join(f"`{word}`" for word in words)
        case {"type": "array", "items": items}:
            return allowed(items)
        case {"format": "time-zone"}:
            return "IANA"
        case {"type": "boolean"}:
            return "`true` · `false`"
        case {"anyOf": [given, {"type": "null"}]}:
            return f"{allowed(given)} · `null`"
        case {"minimum": least, "maximum": most}:
            return f"{least:g}–{most:g}"
        case {"minimum": least}:
            return f"≥ {least:g}"
        case _:
            raise NotImplementedError(schema)


def typed(value: object) -> str:
    """A value as it is typed at the command line."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "null"
        case list():
            return ",".join(sorted(value))
        case _:
            return str(value)


FIELDS: tuple[Field, ...] = tuple(fields())


def table(language: Language) -> str:
    """All decisions in one language, as a Markdown table."""
    head = HEADINGS[language]
    rows = [head, tuple("---" for _ in head), *(row(field, language) for field in FIELDS)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def row(field: Field, language: Language) -> tuple[str, ...]:
    """A decision as the cells of its row."""
    english, japanese = MEANINGS[field.key]
    default = " ".join(f"`{word}`" for word in field.default.split(","))
    return f"`{field.key}`", field.values, default, english if language == "en" else japanese


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
