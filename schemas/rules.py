"""The rule book: what can be wrong with a package, in both languages.

A rule has a stable id, a severity, one sentence and one hint in English and Japanese. A finding
names a rule, a place and the facts that the sentence needs; its message is made from the rule.
Sentences may use {file}, {line}, {column}, {value} and the finding's own facts.
"""

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

    `value` is the offending text as it came, cut to 200 characters.
    """

    rule: Rule
    file: str
    line: int | None = None
    column: str | None = None
    sourced_id: str | None = None
    value: str | None = None
    facts: Mapping[str, Value] = field(default_factory=lambda: NO_FACTS)

    def message(self) -> dict[str, str]:
        """Sentence and hint: `{"ja": …, "en": …}`."""
        own = {
            name: getattr(self, name) for name in ("file", "line", "column", "sourced_id", "value")
        }
        names = Gaps({**own, **self.facts})
        return {
            "ja": f"{self.rule.ja} 直し方: {self.rule.hint_ja}".format_map(names),
            "en": f"{self.rule.en} Fix: {self.rule.hint_en}".format_map(names),
        }


class Gaps(dict[str, Value]):
    """A fact that an older finding does not have reads as an ellipsis."""

    def __missing__(self, key: str) -> str:
        return "…"


# --- The package ---------------------------------------------------------------------------

NOT_A_ZIP = Rule(
    "package.not_zip",
    "error",
    "The upload is not a readable zip file.",
    "アップロードされたファイルは ZIP として読めません。",
    "send the zip that the SIS exported, or one CSV with ?entity= and ?mode=.",
    "校務支援システムが出力した ZIP をそのまま送るか、CSV 1 個に ?entity= と ?mode= を付けて送ってください。",
)
ENTRY_NAME = Rule(
    "package.entry_name",
    "error",
    "The zip holds {value}, which is not one of the OneRoster file names.",
    "ZIP に OneRoster のファイル名ではない {value} が入っています。",
    "put only manifest.csv and the data files, with their exact names, at the root of the zip.",
    "ZIP の直下に manifest.csv とデータファイルだけを、決められた名前(大文字小文字も同じ)で入れてください。",
)
DUPLICATE_ENTRY = Rule(
    "package.duplicate_entry",
    "error",
    "The zip holds {file} more than once.",
    "ZIP に {file} が 2 回以上入っています。",
    "keep one copy of each file.",
    "同じ名前のファイルは 1 つだけにしてください。",
)
ENCRYPTED = Rule(
    "package.encrypted",
    "error",
    "{file} is encrypted with a password.",
    "{file} はパスワードで暗号化されています。",
    "make the zip without a password; the connection is encrypted.",
    "パスワードなしの ZIP にしてください(通信は暗号化されています)。",
)
COMPRESSION = Rule(
    "package.compression",
    "error",
    "{file} is compressed by another method than Deflate.",
    "{file} は Deflate 以外の方式で圧縮されています。",
    "make the zip again with an ordinary program.",
    "通常の圧縮ソフトで ZIP を作り直してください。",
)
NOT_A_FILE = Rule(
    "package.not_a_file",
    "error",
    "{file} is a link or a folder, not a file.",
    "{file} はファイルではなくリンクまたはフォルダーです。",
    "put the file itself at the root of the zip.",
    "ファイルそのものを ZIP の直下に入れてください。",
)
OVERLAP = Rule(
    "package.overlap",
    "error",
    "{file} overlaps another file of the zip, or its end.",
    "{file} が ZIP の中の他のファイルまたは終端と重なり合っています。",
    "make the zip again with an ordinary program.",
    "通常の圧縮ソフトで ZIP を作り直してください。",
)
TOO_LARGE = Rule(
    "package.too_large",
    "error",
    "{file} inflates beyond the limit of {limit}.",
    "{file} の展開後の大きさが上限 {limit} を超えています。",
    "send fewer records per package, or ask the operator to raise the limit.",
    "パッケージを分けるか、運用者に上限の引き上げを依頼してください。",
)
CORRUPT = Rule(
    "package.corrupt",
    "error",
    "{file} is damaged: it does not inflate to what the zip says.",
    "{file} は壊れています。ZIP の記録どおりに展開できません。",
    "export and send the package again.",
    "もう一度出力して送ってください。",
)

# --- The manifest --------------------------------------------------------------------------

MANIFEST_MISSING = Rule(
    "manifest.missing",
    "error",
    "The package has no manifest.csv.",
    "パッケージに manifest.csv がありません。",
    "add manifest.csv; OneRoster 1.1 and later require it.",
    "manifest.csv を入れてください(OneRoster 1.1 以降は必須です)。",
)
MANIFEST_DUPLICATE = Rule(
    "manifest.duplicate_property",
    "error",
    "The manifest names {value} twice.",
    "manifest に {value} が 2 回あります。",
    "keep one row per property.",
    "1 つの項目は 1 行にしてください。",
)
MANIFEST_UNKNOWN = Rule(
    "manifest.unknown_property",
    "warning",
    "The manifest has the unknown property {value}; it is ignored.",
    "manifest に未知の項目 {value} があります(無視します)。",
    "remove the row.",
    "その行を削除してください。",
)
MANIFEST_PROPERTY = Rule(
    "manifest.missing_property",
    "error",
    "The manifest has no row for {column}.",
    "manifest に {column} の行がありません。",
    "add a row for every file, absent ones included.",
    "absent も含めて、全ファイルの行を書いてください。",
)
MANIFEST_VERSION = Rule(
    "manifest.version",
    "error",
    "{column} is {value}; this hub reads {expected}.",
    "{column} が {value} です。読み込めるのは {expected} です。",
    "export in OneRoster 1.2.",
    "OneRoster 1.2 で出力してください。",
)
MANIFEST_MODE = Rule(
    "manifest.mode",
    "error",
    "{column} is {value}; it must be absent, bulk or delta.",
    "{column} が {value} です。absent、bulk、delta のどれかにしてください。",
    "write absent, bulk or delta in lower case.",
    "小文字で absent、bulk、delta のどれかを書いてください。",
)
FILE_MISSING = Rule(
    "manifest.file_missing",
    "error",
    "The manifest says {value} for {target}, but the zip does not hold it.",
    "manifest では {target} が {value} ですが、ZIP に入っていません。",
    "add the file, or say absent.",
    "ファイルを入れるか、absent と書いてください。",
)
FILE_UNEXPECTED = Rule(
    "manifest.file_unexpected",
    "error",
    "The manifest says absent for {target}, but the zip holds it.",
    "manifest では {target} が absent ですが、ZIP に入っています。",
    "say bulk or delta, or leave the file out.",
    "bulk または delta と書くか、ファイルを外してください。",
)
NOT_STORED = Rule(
    "package.not_stored",
    "warning",
    "{file} was checked but is not stored: this hub stores the nine rostering files.",
    "{file} は検査しましたが保存していません。保存するのは名簿の 9 ファイルです。",
    "nothing to do.",
    "対応は不要です。",
)

# --- Text ----------------------------------------------------------------------------------

EMPTY = Rule(
    "csv.empty",
    "error",
    "{file} is empty.",
    "{file} は空です。",
    "leave the file out and say absent.",
    "ファイルを外し、absent と書いてください。",
)
NO_ROWS = Rule(
    "csv.no_rows",
    "error",
    "{file} has a header but no rows.",
    "{file} は見出し行だけで、データがありません。",
    "leave the file out and say absent; to delete every record, send a delta.",
    "ファイルを外し absent と書いてください。全件削除は delta で送ってください。",
)
UTF16 = Rule(
    "csv.utf16",
    "error",
    "{file} is encoded in UTF-16.",
    "{file} は UTF-16 で保存されています。",
    "save it as UTF-8.",
    "UTF-8 で保存してください。",
)
ENCODING = Rule(
    "csv.encoding",
    "error",
    "Line {line} of {file} is not UTF-8{guess}.",
    "{file} の {line} 行目が UTF-8 ではありません{guess_ja}。",
    "save the file as UTF-8.",
    "UTF-8 で保存してください。",
)
CARRIAGE_RETURN = Rule(
    "csv.carriage_return",
    "error",
    "Line {line} of {file} has a carriage return that does not end a line.",
    "{file} の {line} 行目に、行末ではない復帰文字(CR)があります。",
    "end lines with CRLF or LF.",
    "改行は CRLF または LF にしてください。",
)
CONTROL_CHARACTER = Rule(
    "csv.control_character",
    "error",
    "Line {line} of {file} has the control character {value}.",
    "{file} の {line} 行目に制御文字 {value} があります。",
    "remove it at the source.",
    "元のデータから取り除いてください。",
)
QUOTING = Rule(
    "csv.quoting",
    "error",
    "The quotes in line {line} of {file} are broken.",
    "{file} の {line} 行目の引用符が正しくありません。",
    'quote the whole value, double inner quotes (""), and put no line break in a value.',
    '値全体を引用符で囲み、中の引用符は 2 つ重ね("")、値の中で改行しないでください。',
)
ROW_WIDTH = Rule(
    "csv.row_width",
    "error",
    "Line {line} of {file} has {found} values, the header has {expected}.",
    "{file} の {line} 行目は値が {found} 個です。見出しは {expected} 個です。",
    "give every row a value, even empty, for every column.",
    "空の値も含めて、全ての列に値を置いてください。",
)
BLANK_LINE = Rule(
    "csv.blank_line",
    "error",
    "Line {line} of {file} is blank.",
    "{file} の {line} 行目は空行です。",
    "remove the line.",
    "その行を削除してください。",
)
ROW_SIZE = Rule(
    "csv.row_size",
    "error",
    "Line {line} of {file} is longer than {limit} bytes.",
    "{file} の {line} 行目は {limit} バイトを超えています。",
    "shorten the row; often a missing quote has swallowed the next rows.",
    "行を短くしてください(引用符の閉じ忘れが原因のことが多いです)。",
)
FIELD_SIZE = Rule(
    "csv.field_size",
    "error",
    "{column} in line {line} of {file} is longer than {limit} bytes.",
    "{file} の {line} 行目の {column} は {limit} バイトを超えています。",
    "shorten the value.",
    "値を短くしてください。",
)
TOO_MANY_FINDINGS = Rule(
    "csv.too_many_findings",
    "error",
    "More than {limit} findings: the rest of the package was not checked.",
    "検出が {limit} 件を超えたため、残りは検査していません。",
    "correct what is listed and send the package again.",
    "一覧の内容を直して、もう一度送ってください。",
)

# --- The header ----------------------------------------------------------------------------

HEADER_MISSING = Rule(
    "header.missing",
    "error",
    "The header of {file} lacks {column}.",
    "{file} の見出しに {column} がありません。",
    "write every column of the binding, also those without values.",
    "値がなくても、定義された全ての列を書いてください。",
)
HEADER_ORDER = Rule(
    "header.order",
    "error",
    "{column} stands in column {found} of {file}, it belongs in column {expected}.",
    "{file} の {column} は {found} 列目にありますが、正しくは {expected} 列目です。",
    "write the columns in the order of the binding.",
    "列を決められた順に並べてください。",
)
HEADER_UNKNOWN = Rule(
    "header.unknown",
    "error",
    "{file} has the unknown column {column}.",
    "{file} に未知の列 {column} があります。",
    "remove it, or name it metadata.… and put it to the right of the defined columns.",
    "削除するか、metadata. で始まる名前にして定義された列の右に置いてください。",
)
HEADER_DUPLICATE = Rule(
    "header.duplicate",
    "error",
    "{file} names the column {column} twice.",
    "{file} に列 {column} が 2 つあります。",
    "keep one of them.",
    "どちらか 1 つにしてください。",
)
HEADER_COLUMNS = Rule(
    "header.columns",
    "error",
    "{file} has more than {limit} columns.",
    "{file} の列が {limit} を超えています。",
    "send only the columns that a receiver needs.",
    "必要な列だけを送ってください。",
)
HEADER_SPELLING = Rule(
    "header.spelling",
    "info",
    "{file} spells {column} where the profile spells {expected}; it was read.",
    "{file} の {column} は、プロファイルでは {expected} と書きます(読み込みました)。",
    "nothing to do.",
    "対応は不要です。",
)

# --- Values --------------------------------------------------------------------------------

REQUIRED = Rule(
    "value.required",
    "error",
    "{column} is empty.",
    "{column} が空です。",
    "give the value at the source.",
    "元のデータに値を入れてください。",
)
PROFILE_REQUIRED = Rule(
    "value.required_by_profile",
    "warning",
    "{column} is empty; the profile {profile} requires it.",
    "{column} が空です。プロファイル {profile} では必須です。",
    "give the value at the source.",
    "元のデータに値を入れてください。",
)
PROFILE_PROHIBITED = Rule(
    "value.prohibited_by_profile",
    "warning",
    "{column} has a value; the profile {profile} leaves it empty.",
    "{column} に値があります。プロファイル {profile} では空にします。",
    "leave the value empty.",
    "値を空にしてください。",
)
BLANK_IN_BULK = Rule(
    "value.blank_in_bulk",
    "error",
    "{column} must be empty in bulk, it is {value}.",
    "bulk では {column} を空にします(値: {value})。",
    "leave status and dateLastModified empty, or send a delta.",
    "status と dateLastModified を空にするか、delta で送ってください。",
)
GUID = Rule(
    "value.guid",
    "error",
    "{column} is {value}: an identifier has 1 to 255 of the signs A-Z a-z 0-9 . - _ / @.",
    "{column} の値 {value} は識別子として使えません(英数字と . - _ / @ の 1〜255 文字)。",
    "use the identifier that the SIS gives.",
    "校務支援システムの識別子を使ってください。",
)
DATE = Rule(
    "value.date",
    "error",
    "{column} is {value}: a date is YYYY-MM-DD, such as 2026-04-01.",
    "{column} の値 {value} は日付ではありません(例: 2026-04-01)。",
    "write an existing day as YYYY-MM-DD.",
    "実在する日を YYYY-MM-DD で書いてください。",
)
DATETIME = Rule(
    "value.datetime",
    "error",
    "{column} is {value}: a time is YYYY-MM-DDThh:mm:ss.sssZ.",
    "{column} の値 {value} は日時ではありません(例: 2026-04-01T00:00:00.000Z)。",
    "write the instant in UTC.",
    "UTC の日時で書いてください。",
)
YEAR = Rule(
    "value.year",
    "error",
    "{column} is {value}: a year has four digits.",
    "{column} の値 {value} は年ではありません(4 桁の数字)。",
    "write YYYY.",
    "YYYY の形で書いてください。",
)
INTEGER = Rule(
    "value.integer",
    "error",
    "{column} is {value}: a whole number of at most 18 digits is needed.",
    "{column} の値 {value} は整数ではありません(18 桁まで)。",
    "write digits 0-9 only.",
    "半角数字だけで書いてください。",
)
FLOAT = Rule(
    "value.float",
    "error",
    "{column} is {value}: a decimal number is needed.",
    "{column} の値 {value} は数値ではありません。",
    "write a number such as 87.5.",
    "87.5 のような数値を書いてください。",
)
BOOLEAN = Rule(
    "value.boolean",
    "error",
    "{column} is {value}: only true and false are allowed.",
    "{column} の値 {value} は true / false ではありません。",
    "write true or false in lower case.",
    "小文字で true または false と書いてください。",
)
VOCABULARY = Rule(
    "value.vocabulary",
    "error",
    "{column} is {value}: it must be one of {expected}.",
    "{column} の値 {value} は使えません。使える値: {expected}",
    "write one of the words, with the same upper and lower case.",
    "大文字小文字も含めて、使える値のどれかにしてください。",
)
LIST = Rule(
    "value.list",
    "error",
    "{column} is {value}: an item of the list is empty.",
    "{column} の値 {value} に空の項目があります。",
    "separate items with one comma each.",
    "項目はコンマ 1 つで区切ってください。",
)
PAIRS = Rule(
    "value.pairs",
    "error",
    "{column} is {value}: each item has the form {{left:right}}.",
    "{column} の値 {value} は {{左:右}} の形ではありません。",
    "write items such as {{Koumu:0001}}, separated by commas.",
    "{{Koumu:0001}} のような項目をコンマ区切りで書いてください。",
)

# --- Records -------------------------------------------------------------------------------

DUPLICATE = Rule(
    "record.duplicate",
    "error",
    "The sourcedId {value} stands in {file} more than once.",
    "{file} に sourcedId {value} が 2 回以上あります。",
    "keep one row per record.",
    "1 つの記録は 1 行にしてください。",
)
REFERENCE = Rule(
    "reference.missing",
    "error",
    "{column} refers to {value}, which is not in {target}.",
    "{column} の {value} が {target} にありません。",
    "add the record to {target}, or correct the reference.",
    "{target} にその記録を入れるか、参照を直してください。",
)
VANISHED = Rule(
    "reference.vanished",
    "error",
    "The stored record {sourced_id} of {file} refers to {value}, which the package deletes from {target}.",
    "保存済みの {file} の {sourced_id} が参照している {value} を、このパッケージは {target} から削除します。",
    "send {file} as well, or keep {value} in {target}.",
    "{file} も一緒に送るか、{target} に {value} を残してください。",
)
USER_WITHOUT_ROLE = Rule(
    "record.user_without_role",
    "warning",
    "The new user {sourced_id} has no row in roles.csv.",
    "新しい利用者 {sourced_id} の行が roles.csv にありません。",
    "add a role for the user.",
    "roles.csv に役割を追加してください。",
)

RULES: Mapping[str, Rule] = {
    rule.id: rule for rule in list(globals().values()) if isinstance(rule, Rule)
}
"""The whole book, by id."""
