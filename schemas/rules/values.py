"""What can be wrong with one row: its values, each and together (CSV binding 4, 7 and 8)."""

from schemas.rules.rule import Rule

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
