"""What can be wrong with manifest.csv (CSV binding 5)."""

from schemas.rules.rule import Rule

MANIFEST_MISSING = Rule(
    "manifest.missing",
    "error",
    "The package has no manifest.csv.",
    "パッケージに manifest.csv がありません。",
    "add manifest.csv, which OneRoster 1.1 and later require, or send each CSV by itself with"
    " ?entity= and ?mode=.",
    "manifest.csv を入れるか(OneRoster 1.1 以降は必須です)、"
    "?entity= と ?mode= を付けて CSV を 1 つずつ送ってください。",
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
OTHER_VERSION = Rule(
    "manifest.other_version",
    "warning",
    "{column} is {value}; the profile {profile}, which the district has chosen, writes {expected}.",
    "{column} が {value} です。教育委員会が選んだプロファイル {profile} では {expected} と書きます。",
    "export in that profile, or let the hub find the profile.",
    "そのプロファイルで出力するか、プロファイルを自動判定にしてください。",
)
REQUIRED_FILE = Rule(
    "manifest.required_file",
    "warning",
    "The manifest says absent for {target}, which the profile {profile} requires in a full package.",
    "manifest では {target} が absent ですが、プロファイル {profile} の全件パッケージでは必須です。",
    "send {target} as well; what is stored of it stays as it is.",
    "{target} も送ってください(保存済みの内容はそのまま残ります)。",
)
UNUSED_FILE = Rule(
    "manifest.unused_file",
    "warning",
    "The manifest says {value} for {target}, which the profile {profile} does not use.",
    "manifest では {target} が {value} ですが、プロファイル {profile} では使いません。",
    "leave the file out and say absent.",
    "ファイルを外し、absent と書いてください。",
)
