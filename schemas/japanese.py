"""How Japanese offices write what OneRoster writes otherwise: widths, kana, eras and grades.

Tables only: how they are applied to many rows is the pipeline's matter. Sources: JIS X 0201 and
0208 for the two widths; the years of the eras; Japan profile 7 for the grade codes.
"""

import unicodedata
from collections.abc import Mapping

MARKS = "ﾞﾟ"
HALF_KANA = "".join(map(chr, range(0xFF61, 0xFFA0)))


def _full(text: str) -> str:
    """Half-width kana as one full-width sign; a mark that stands alone becomes a spacing one."""
    return {"ﾞ": "゛", "ﾟ": "゜"}.get(text) or unicodedata.normalize("NFKC", text)


KANA_TO_FULL: Mapping[str, str] = {
    half + mark: _full(half + mark)
    for half in HALF_KANA
    for mark in (*MARKS, "")
    if len(_full(half + mark)) == 1
}
"""Half-width kana and their punctuation to full width; a kana with its mark comes before it."""

KANA_TO_HALF: Mapping[str, str] = {full: half for half, full in KANA_TO_FULL.items()}

ASCII_TO_HALF: Mapping[str, str] = {chr(c + 0xFEE0): chr(c) for c in range(0x21, 0x7F)} | {
    "\u3000": " "
}
ASCII_TO_FULL: Mapping[str, str] = {half: full for full, half in ASCII_TO_HALF.items()}

TO_KATAKANA: Mapping[str, str] = {chr(c): chr(c + 0x60) for c in range(0x3041, 0x3097)} | {
    "ゝ": "ヽ",
    "ゞ": "ヾ",
}

ERAS: Mapping[str, int] = {
    name: offset
    for names, offset in (
        ("令和 ㋿ R", 2018),
        ("平成 ㍻ H", 1988),
        ("昭和 ㍼ S", 1925),
        ("大正 ㍽ T", 1911),
        ("明治 ㍾ M", 1867),
    )
    for name in names.split()
}
"""What to add to a year of the era."""

FIRST_YEAR = "元"

DIGITS: Mapping[str, str] = {kanji: str(n) for n, kanji in enumerate("一二三四五六七八九", start=1)}

SCHOOLS: Mapping[str, str] = {
    name: names.split()[0]
    for names in ("小 小学 小学校", "中 中学 中学校", "高 高校 高等学校", "義 義務 義務教育学校")
    for name in names.split()
}
"""The kinds of school that a grade may name, each by its first sign."""

GRADES: Mapping[str, str] = {
    **{f"小{n}": f"P{n}" for n in range(1, 7)},
    **{f"中{n}": f"J{n}" for n in range(1, 4)},
    **{f"高{n}": f"H{n}" for n in range(1, 4)},
    **{f"義{n}": f"P{n}" for n in range(1, 7)},
    **{f"義{n}": f"J{n - 6}" for n in range(7, 10)},
}
"""School and year to the code of the Japan profile, which has no codes of their own for the nine
years of a compulsory education school."""
