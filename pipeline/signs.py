"""Text in CP932, for spreadsheets and for receivers that know nothing else.

CP932 lacks many signs that names are written with. The sign that Japanese print has for a missing
one takes their place; every replacement is counted, and the first lines with one are told. Where
Windows has another code point for a sign that looks the same, that is taken and not told, as every
program there does. What is read back from such a file may not be what the hub holds.
"""

from dataclasses import dataclass, field
from typing import Any

BOM = b"\xef\xbb\xbf"
CP932 = "cp932"
MISSING = "\u3013"  # the geta mark
ALIKE = str.maketrans({"\u2014": "\u2015"})  # a dash; Python's codec knows the others
SHOWN = 100  # lines


@dataclass(slots=True)
class Signs:
    """What had to be replaced in one file so far. The header is line 1."""

    line: int = 0
    count: int = 0
    lines: list[int] = field(default_factory=list)

    def cp932(self, data: bytes) -> bytes:
        """Whole lines of UTF-8 in CP932."""
        text = data.decode().translate(ALIKE)
        try:
            encoded = text.encode(CP932)
        except UnicodeEncodeError:
            encoded = b"".join(self._line(at, each) for at, each in enumerate(text.split("\n")))
        self.line += data.count(b"\n")
        return encoded

    def _line(self, at: int, text: str) -> bytes:
        end = b"\n" if at else b""
        try:
            return end + text.encode(CP932)
        except UnicodeEncodeError:
            if len(self.lines) < SHOWN:
                self.lines.append(self.line + at + 1)
            return end + b"".join(map(self._sign, text))

    def _sign(self, sign: str) -> bytes:
        try:
            return sign.encode(CP932)
        except UnicodeEncodeError:
            self.count += 1
            return MISSING.encode(CP932)

    def as_json(self) -> dict[str, Any]:
        """What a reader is told of it."""
        return {"signs": self.count, "lines": self.lines}
