"""What can be wrong with one row: its values, each and together.

First what the binding asks (CSV binding 4 to 8), then what the Japan profiles ask (Japan profile 3
and 5 to 9); `schemas.roster` and `schemas.japan` say of which columns.
"""

from schemas.rules.rule import Rule

REQUIRED = Rule(
    "value.required",
    "error",
    "{column} is empty.",
    "{column} が空です。",
    "give the value at the source.",
    "元のデータに値を入れてください。",
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
PAIRING = Rule(
    "value.pairing",
    "error",
    "{column} has another number of items than its partner: subjects and subjectCodes go in pairs.",
    "{column} の項目の数が違います。subjects と subjectCodes は同じ数だけ書きます。",
    "give every subject its code, in the same order, or leave both columns empty.",
    "教科名と教科コードを同じ数だけ同じ順に書くか、両方とも空にしてください。",
)
ORDER = Rule(
    "value.order",
    "error",
    "{column} is {value}: the end does not lie behind the beginning.",
    "{column} の値は {value} です。終了日が開始日より後になっていません。",
    "correct one of the two dates.",
    "開始日か終了日を直してください。",
)
RANGE = Rule(
    "value.range",
    "error",
    "{column} is {value}: the highest score lies below the lowest.",
    "{column} の値は {value} です。最高点が最低点より低くなっています。",
    "correct resultValueMin or resultValueMax.",
    "resultValueMin か resultValueMax を直してください。",
)
PRIMARY = Rule(
    "value.primary",
    "error",
    "{column} is {value}, but the role is not teacher.",
    "{column} が {value} ですが、role が teacher ではありません。",
    "write false for everybody but teachers.",
    "教員以外は false にしてください。",
)
OBJECTIVE = Rule(
    "value.objective",
    "error",
    "{column} is {value}: where source is case, it is a UUID URN.",
    "{column} の値は {value} です。source が case のときは UUID の URN を書きます。",
    "write urn:uuid: and the identifier of the learning objective.",
    "urn:uuid: に続けて学習目標の識別子を書いてください。",
)
PROFILE_REQUIRED = Rule(
    "value.required_by_profile",
    "error",
    "{column} is empty; the profile {profile} requires it.",
    "{column} が空です。プロファイル {profile} では必須です。",
    "give the value at the source.",
    "元のデータに値を入れてください。",
)
PROFILE_PROHIBITED = Rule(
    "value.prohibited_by_profile",
    "error",
    "{column} is {value}; the profile {profile} leaves it empty.",
    "{column} に値 {value} があります。プロファイル {profile} では空にします。",
    "leave the value empty.",
    "値を空にしてください。",
)
PROFILE_VOCABULARY = Rule(
    "value.vocabulary_of_profile",
    "error",
    "{column} is {value}; the profile {profile} only knows {expected}.",
    "{column} の値は {value} です。プロファイル {profile} で使える値: {expected}",
    "write one of the words that the profile knows.",
    "プロファイルで使える値のどれかにしてください。",
)
UUID = Rule(
    "value.uuid",
    "warning",
    "{column} is {value}: an identifier should be a UUID (version 4) in lower case.",
    "{column} の値 {value} は、小文字の UUID(バージョン 4)が推奨されています。",
    "give every record a UUID that it keeps; many receivers check it.",
    "各記録に、変わらない UUID を付けてください。検査する受け手が多くあります。",
)
UUID_V4 = Rule(
    "value.uuid_v4",
    "error",
    "{column} is {value}: it must be a UUID of version 4.",
    "{column} の値 {value} は UUID(バージョン 4)ではありません。",
    "write the UUID that was issued for this person once and for all.",
    "その人に発行済みの、生涯変わらない UUID を書いてください。",
)
UTC = Rule(
    "value.utc",
    "warning",
    "{column} is {value}: Japan writes UTC with three decimals, such as 2026-04-01T00:00:00.000Z.",
    "{column} の値は {value} です。UTC で小数 3 桁まで書きます(例: 2026-04-01T00:00:00.000Z)。",
    "write the instant in UTC, not in Japanese time.",
    "日本時間ではなく UTC で書いてください。",
)
SESSION_TITLE = Rule(
    "value.session_title",
    "error",
    "{column} is {value}: a school year is called by its Western year and the sign for school year.",
    "{column} の値は {value} です。年度は「2026年度」の形で書きます。",
    "write the year in four digits and the word for school year, never the name of an era.",
    "西暦 4 桁に「年度」を付けてください。和暦は使えません。",
)
SCHOOL_YEAR = Rule(
    "value.school_year",
    "error",
    "{column} is {value}: title, schoolYear, startDate (1 April) and endDate (31 March) tell"
    " different school years.",
    "{column} の値は {value} です。title、schoolYear、startDate(4 月 1 日)、endDate(翌年 3 月 31 日)の"
    "年度が一致しません。",
    "for the school year that starts in 2026: schoolYear 2026, from 2026-04-01 to 2027-03-31.",
    "2026 年度なら schoolYear は 2026、期間は 2026-04-01 から 2027-03-31 です。",
)
COURSE_TITLE = Rule(
    "value.course_title",
    "error",
    "{column} is {value}: it begins with the school year and ends without a blank.",
    "{column} の値は {value} です。「2026年度国語」のように年度で始め、末尾に空白を置きません。",
    "write the school year and the subject, or the school year and the word for home room.",
    "年度に続けて教科名(学級なら「ホームルーム」)を書いてください。",
)
GRADE = Rule(
    "value.grade",
    "error",
    "{column} is {value}: grades are {expected}.",
    "{column} の値 {value} は学年として使えません。使える値: {expected}",
    "write the grade codes of the Japan profile, separated by commas.",
    "日本プロファイルの学年コードを、コンマ区切りで書いてください。",
)
SUBJECT_CODE = Rule(
    "value.subject_code",
    "error",
    "{column} is {value}: subject codes are {expected}, in steps of ten.",
    "{column} の値 {value} は教科コードとして使えません。使える値: {expected}(10 刻み)",
    "write the subject codes of the Japan profile, separated by commas.",
    "日本プロファイルの教科コードを、コンマ区切りで書いてください。",
)
KANA = Rule(
    "value.kana",
    "error",
    "{column} is {value}: it is written in full-width katakana.",
    "{column} の値 {value} は全角カタカナではありません。",
    "write the reading in full-width katakana, without hiragana, kanji or half-width letters.",
    "ひらがな、漢字、半角文字を使わず、全角カタカナで書いてください。",
)
HALF_WIDTH_KANA = Rule(
    "value.half_width_kana",
    "error",
    "{column} is {value}: half-width katakana are not allowed.",
    "{column} の値 {value} に半角カタカナがあります。",
    "write full-width katakana, or let the hub do so in the policy.",
    "全角カタカナで書くか、ポリシーで自動変換を有効にしてください。",
)
DISTRICT_PARENT = Rule(
    "value.district_parent",
    "error",
    "{column} is {value}: a district has no parent.",
    "{column} に値 {value} があります。教育委員会(district)には上位組織を書きません。",
    "leave the value empty.",
    "値を空にしてください。",
)
SCHOOL_CODE = Rule(
    "value.school_code",
    "error",
    "{column} is {value}: a school code has 13 characters and ends with its check digit.",
    "{column} の値 {value} は学校コード(13 文字、末尾は検査数字)ではありません。",
    "write the school code of the ministry of education, or leave the value empty.",
    "文部科学省の学校コードを書くか、値を空にしてください。",
)
BOARD_CODE = Rule(
    "value.board_code",
    "error",
    "{column} is {value}: the code of a board of education has six digits.",
    "{column} の値 {value} は教育委員会コード(都道府県 2 桁を含む数字 6 桁)ではありません。",
    "write the code of the board of education, or leave the value empty.",
    "教育委員会コードを書くか、値を空にしてください。",
)
GUARDIAN = Rule(
    "value.guardian",
    "error",
    "{column} is {value}, which Japan does not use.",
    "{column} の値 {value} は日本では使いません。",
    "write guardian.",
    "guardian と書いてください。",
)
SECONDARY_ROLE = Rule(
    "value.secondary_role",
    "error",
    "{column} is {value}, which is never the primary role.",
    "{column} の値 {value} は主たる役割(primary)にできません。",
    "make teacher the primary role, and this one secondary.",
    "teacher を primary とし、この役割は secondary にしてください。",
)
KANA_SIGNS = Rule(
    "value.kana_signs",
    "warning",
    "{column} is {value}: some receivers refuse full-width blanks and middle dots.",
    "{column} の値 {value} に全角の空白か「・」があります。受け取れない相手があります。",
    "separate the parts of a name with a half-width blank.",
    "名前の区切りは半角の空白にしてください。",
)
CHARACTERS = Rule(
    "value.characters",
    "warning",
    "{column} is {value}: it has a sign outside of JIS X 0213.",
    "{column} の値 {value} に JIS X 0213 にない文字があります。",
    "write the base character, without variants; other systems may not show this one.",
    "異体字や外字は基本の文字に置き換えてください。他のシステムで表示できないことがあります。",
)
UNUSUAL = Rule(
    "value.unusual",
    "warning",
    "{column} is {value}: not every receiver in Japan reads this.",
    "{column} の値は {value} です。日本では受け取れない相手があります。",
    "prefer the words that the Japan profile lists.",
    "日本プロファイルの一覧にある値を使ってください。",
)
SEVERAL = Rule(
    "value.several",
    "warning",
    "{column} is {value}: Japan writes one item here.",
    "{column} の値は {value} です。日本では 1 つだけ書きます。",
    "keep one item.",
    "1 つだけにしてください。",
)
