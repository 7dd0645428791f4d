"""What an undo has to say: what it leaves alone, and why it cannot be done."""

from schemas.rules.rule import Rule

CHANGED_SINCE = Rule(
    "undo.changed_since",
    "info",
    "The record {sourced_id} of {file} was changed again by version {since}; it was left as it is.",
    "{file} の {sourced_id} は、その後の版 {since} で変更されているため、そのまま残しました。",
    "correct the record at the source, or undo version {since} first.",
    "校務支援システム側で直すか、先に版 {since} を取り消してください。",
)
ERASED = Rule(
    "undo.erased",
    "info",
    "What {sourced_id} of {file} said before was erased; it was left as it is.",
    "{file} の {sourced_id} の以前の内容は消去済みのため、そのまま残しました。",
    "send the record again from the source, if it is to be there.",
    "必要な場合は、校務支援システムからもう一度送ってください。",
)
UNDONE_ALREADY = Rule(
    "undo.undone_already",
    "error",
    "Version {version} was undone already, by version {undone_by}.",
    "版 {version} は、版 {undone_by} ですでに取り消されています。",
    "undo version {undone_by} to bring it back.",
    "元に戻すには、版 {undone_by} を取り消してください。",
)
