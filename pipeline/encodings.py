"""What bytes look like that are not UTF-8: a guess, to be told.

Bytes make sense as CP932 more often than they are: a UTF-8 file with one cut sign may decode to
nonsense, and EUC-JP does, for its kanji are pairs of half-width kana in CP932. So both are known
by what CP932 never has.
"""

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

Encoding: TypeAlias = Literal["cp932", "euc_jp"]

# What Python's codec makes of bytes that CP932 leaves to each maker, and of signs made at home.
NOBODYS = re.compile("[\x80\xa0\ue000-\uf8ff]")
ASIAN = re.compile("[\u0800-\U0010ffff]")

GUESSES: Mapping[Encoding | None, tuple[str, str]] = {
    None: ("", ""),
    "cp932": ("; it looks like Shift_JIS (CP932)", "(Shift_JIS(CP932)のようです)"),
    "euc_jp": ("; it looks like EUC-JP", "(EUC-JPのようです)"),
}


def fits(data: bytes) -> set[Encoding]:
    """The encodings in which whole lines make sense that are not UTF-8."""
    found: set[Encoding] = {"euc_jp"} if decodes(data, "euc_jp") else set()
    if (
        decodes(data, "cp932")
        and not NOBODYS.search(data.decode("cp932"))
        and not any(map(utf8_of_asia, data.split(b"\n")))
    ):
        found.add("cp932")
    return found


def guess(data: bytes) -> tuple[str, str]:
    """What whole lines look like, as a message says it in English and in Japanese."""
    found = fits(data)
    return GUESSES["euc_jp" if "euc_jp" in found else "cp932" if found else None]


def decodes(data: bytes, encoding: str) -> bool:
    """Whether the bytes are text in that encoding."""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def utf8_of_asia(line: bytes) -> bool:
    """Whether the line is UTF-8 with signs of three bytes or more: no chance makes it so."""
    return not line.isascii() and decodes(line, "utf-8") and bool(ASIAN.search(line.decode()))
