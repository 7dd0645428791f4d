"""What there is to say about a file that a district's own mapping reads."""

from schemas.rules.rule import Rule

USED = Rule(
    "mapping.used",
    "info",
    "{file} was read with version {version} of the district's mapping.",
    "{file} は地区の対応付け(版 {version})で読み込みました。",
    "nothing to do.",
    "対応は不要です。",
)
NOT_NEEDED = Rule(
    "mapping.not_needed",
    "info",
    "{file} has the layout of OneRoster already; the district's mapping was not used.",
    "{file} は OneRoster の形式なので、地区の対応付けは使いませんでした。",
    "nothing to do.",
    "対応は不要です。",
)
SOURCE_MISSING = Rule(
    "mapping.source_missing",
    "error",
    "The header of {file} lacks {column}, which version {version} of the mapping reads.",
    "{file} の見出しに、対応付け(版 {version})が使う {column} がありません。",
    "export the column, or correct the mapping.",
    "その列を出力するか、対応付けを直してください。",
)
SOURCE_TWICE = Rule(
    "mapping.source_twice",
    "error",
    "The header of {file} names {column} twice, and the mapping reads it.",
    "{file} の見出しに、対応付けが使う {column} が 2 つあります。",
    "export the column once.",
    "その列を 1 つだけ出力してください。",
)
SOURCE_IGNORED = Rule(
    "mapping.source_ignored",
    "info",
    "The mapping does not use the column {column} of {file}.",
    "{file} の列 {column} は対応付けで使っていません。",
    "nothing to do.",
    "対応は不要です。",
)
NONE = Rule(
    "mapping.none",
    "error",
    "The header of {file} is not OneRoster's, and the district has no mapping for it: {value}.",
    "{file} の見出しは OneRoster の形式ではなく、地区の対応付けもありません: {value}。",
    "write the columns of the binding, or save a mapping: `rosterhub mappings templates` lists some"
    " to begin with.",
    "決められた列で出力するか、対応付けを保存してください。"
    "ひな形は `rosterhub mappings templates` で一覧できます。",
)
TEMPLATE_FITS = Rule(
    "mapping.template_fits",
    "error",
    "The header of {file} is not OneRoster's, and the district has no mapping for it; the template"
    " {template} reads such a file.",
    "{file} の見出しは OneRoster の形式ではなく、地区の対応付けもありません。"
    "ひな形 {template} で読める見出しです。",
    "try it with `rosterhub mappings preview {entity} FILE --template {template}`, then save it with"
    " `rosterhub mappings set {entity} --template {template}`.",
    "`rosterhub mappings preview {entity} FILE --template {template}` で確かめ、"
    "`rosterhub mappings set {entity} --template {template}` で保存してください。",
)
PROFILE_REQUIRES = Rule(
    "mapping.profile_requires",
    "error",
    "Version {version} of the mapping of {file} does not fill {column}, which the profile {profile}"
    " requires.",
    "{file} の対応付け(版 {version})が、プロファイル {profile} で必須の {column} を埋めていません。",
    "map the column, or choose another profile.",
    "その列を対応付けるか、別のプロファイルを選んでください。",
)
NO_STATUS = Rule(
    "mapping.no_status",
    "error",
    "{file} is a delta, and the mapping does not fill {column}.",
    "{file} は delta ですが、対応付けが {column} を埋めていません。",
    "map status, or send the file in bulk.",
    "status を対応付けるか、bulk で送ってください。",
)
