"""What lenient reading has put right, counted by file (policy `reading.repairs`)."""

from schemas.rules.rule import Rule

NULL_TEXT = Rule(
    "repair.null_text",
    "info",
    "{count} cells of {file} held the word NULL and were read as empty, the first in line {line}.",
    "{file} の {count} 個の値が NULL という文字だったため、空として読みました(最初は {line} 行目)。",
    "leave the cells empty at the source.",
    "元のシステムで空の値として出力してください。",
)
BOOLEAN_CASE = Rule(
    "repair.boolean_case",
    "info",
    "{count} cells of {file} held true or false in another case and were read, the first in line {line}.",
    "{file} の {count} 個の値で true / false の大文字小文字が異なっていましたが、読み込みました(最初は {line} 行目)。",
    "write true and false in lower case.",
    "小文字で true または false と出力してください。",
)
STATUS_IN_BULK = Rule(
    "repair.status_in_bulk",
    "info",
    "{count} cells of {file} held a status or dateLastModified, which bulk leaves empty, and were ignored, the first in line {line}.",
    "{file} は bulk ですが、{count} 個の status または dateLastModified に値があったため無視しました(最初は {line} 行目)。",
    "leave both columns empty in bulk.",
    "bulk では両方の列を空にしてください。",
)
HALF_WIDTH_KANA = Rule(
    "repair.half_width_kana",
    "info",
    "{count} cells of {file} held half-width kana and were read as full-width, the first in line {line}.",
    "{file} の {count} 個の値にあった半角カナを、全角にして読みました(最初は {line} 行目)。",
    "write katakana in full width.",
    "カタカナは全角で出力してください。",
)
CP932 = Rule(
    "repair.cp932",
    "info",
    "{file} is in Shift_JIS (CP932) and was read as such: {count} lines have signs outside of ASCII, the first that is not UTF-8 is line {line}.",
    "{file} は Shift_JIS(CP932)のため、そのように読みました(ASCII 以外の文字がある行は {count} 行、UTF-8 でない最初の行は {line} 行目)。",
    "save the file as UTF-8.",
    "UTF-8 で保存してください。",
)
TRAILING_BLANKS = Rule(
    "repair.trailing_blanks",
    "info",
    "{count} cells of {file} had blanks around their value and were read without them, the first in line {line}.",
    "{file} の {count} 個の値の前後にあった空白を取り除いて読みました(最初は {line} 行目)。",
    "write values without blanks around them.",
    "値の前後に空白を入れないでください。",
)
HEADER_CASE = Rule(
    "repair.header_case",
    "info",
    "{count} column names in line {line} of {file} were in another case, or between blanks, and were read.",
    "{file} の {line} 行目の見出しで {count} 個の列名の大文字小文字または前後の空白が異なっていましたが、読み込みました。",
    "write the names as the binding does.",
    "列名を規格どおりに書いてください。",
)
