"""What can be wrong with the bytes and lines of a file (CSV binding 2 and 3)."""

from schemas.rules.rule import Rule

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
    "More than {limit} errors: the rest of the package was not checked.",
    "要修正が {limit} 件を超えたため、残りは検査していません。",
    "correct what is listed and send the package again.",
    "一覧の内容を直して、もう一度送ってください。",
)
