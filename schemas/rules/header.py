"""What can be wrong with the header row of a file (CSV binding 3)."""

from schemas.rules.rule import Rule

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
NOT_IN_PROFILE = Rule(
    "header.not_in_profile",
    "warning",
    "{file} has the column {column}, which the profile {profile} does not have; it was read.",
    "{file} にプロファイル {profile} にない列 {column} があります(読み込みました)。",
    "leave the column out, or choose the profile that the SIS follows.",
    "列を外すか、校務支援システムが従うプロファイルを選んでください。",
)
LACKS_OF_PROFILE = Rule(
    "header.lacks_of_profile",
    "warning",
    "The header of {file} lacks {column}, which the profile {profile} has.",
    "{file} の見出しに、プロファイル {profile} にある {column} がありません。",
    "add the column, or choose the profile that the SIS follows.",
    "列を加えるか、校務支援システムが従うプロファイルを選んでください。",
)
REQUIRED_BY_PROFILE = Rule(
    "header.required_by_profile",
    "error",
    "The header of {file} lacks {column}, which the profile {profile} requires.",
    "{file} の見出しに、プロファイル {profile} で必須の {column} がありません。",
    "add the column with its values, or choose the profile that the SIS follows.",
    "列と値を加えるか、校務支援システムが従うプロファイルを選んでください。",
)
