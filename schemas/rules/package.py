"""What can be wrong with the zip, and with what it holds."""

from schemas.rules.rule import Rule

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
