"""CSV that opens right in Excel: UTF-8 with a byte order mark, CRLF, every cell quoted.

A cell that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV
Injection"; Japanese Excel also reads the full-width signs). Only what is made for people goes
through here; exports of rosters stay as they are, byte for byte.
"""

from collections.abc import Iterable

BOM = b"\xef\xbb\xbf"
FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def line(cells: Iterable[object]) -> bytes:
    """One row; a missing value is an empty cell."""
    return (",".join(map(cell, cells)) + "\r\n").encode()


def cell(value: object) -> str:
    """One cell, quoted and harmless."""
    text = "" if value is None else str(value)
    return '"' + harmless(text).replace('"', '""') + '"'


def harmless(text: str) -> str:
    """The text as a spreadsheet shows it and does not calculate it."""
    return f"'{text}" if text.startswith(FORMULA) else text
