"""What can be wrong between records: keys, references and what they add up to."""

from schemas.rules.rule import Rule

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
