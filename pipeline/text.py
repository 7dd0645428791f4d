"""From bytes to records: the shape check that stands in front of Polars.

Polars accepts short rows, NUL, UTF-16 and bare carriage returns without a word (reliability 3.2).
Here a file becomes pieces of whole lines; each line is one record, for a line break inside a value
is not allowed (CSV binding 3). A faulty line is a finding and left out, the rest is read on; what
makes the whole file unreadable raises Broken.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from pipeline.archive import Source
from pipeline.faults import Broken
from pipeline.limits import Limits
from schemas import rules
from schemas.rules import Finding, Rule

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
CONTROLS = bytes([*range(0x0A), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
CONTROL = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]")
FIELD = '(?:"[^"]*(?:""[^"]*)*"|[^",]*)'


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines of a file; `first` is the number of the first, `read` the bytes up to its end."""

    data: bytes
    first: int
    read: int


def pieces(source: Source) -> Iterator[Piece]:
    """The file in pieces of whole lines, without its BOM, valid UTF-8 and with honest line ends."""
    rest, line, read = b"", 1, 0
    for number, chunk in enumerate(source.chunks()):
        read += len(chunk)
        data = rest + (opened(chunk, source.name) if number == 0 else chunk)
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) > source.limits.row_max:
            raise Broken(endless(data, source, line))
        piece, rest = data[:end], data[end:]
        if piece:
            yield checked(Piece(piece, line, read), source.name)
            line += piece.count(b"\n")
    if read == 0:
        raise Broken(Finding(rule=rules.EMPTY, file=source.name))
    if rest:
        yield checked(Piece(rest, line, read), source.name)


def opened(chunk: bytes, name: str) -> bytes:
    """The first chunk without a BOM."""
    if chunk.startswith(UTF16) or chunk[1:2] == b"\x00" or chunk[:1] == b"\x00":
        raise Broken(Finding(rule=rules.UTF16, file=name))
    return chunk.removeprefix(BOM)


def endless(data: bytes, source: Source, line: int) -> Finding:
    """A line that does not end: bare carriage returns, or a row beyond the limit."""
    if b"\r" in data:
        return Finding(rule=rules.CARRIAGE_RETURN, file=source.name, line=line)
    return Finding(
        rule=rules.ROW_SIZE, file=source.name, line=line, facts={"limit": source.limits.row_max}
    )


def checked(piece: Piece, name: str) -> Piece:
    """The piece, if it is UTF-8 and its carriage returns end lines."""
    try:
        piece.data.decode()
    except UnicodeDecodeError as error:
        line = piece.first + piece.data.count(b"\n", 0, error.start)
        raise Broken(not_utf8(piece.data, name, line)) from error
    if piece.data.count(b"\r") != piece.data.count(b"\r\n"):
        bare = re.search(rb"\r(?!\n)", piece.data)
        line = piece.first + piece.data.count(b"\n", 0, bare.start() if bare else 0)
        raise Broken(Finding(rule=rules.CARRIAGE_RETURN, file=name, line=line))
    return piece


def not_utf8(data: bytes, name: str, line: int) -> Finding:
    """The finding for bytes that are not UTF-8, with a guess that is never acted on."""
    try:
        data.decode("cp932")
    except UnicodeDecodeError:
        facts = {"guess": "", "guess_ja": ""}
    else:
        facts = {
            "guess": "; it looks like Shift_JIS (CP932)",
            "guess_ja": "(Shift_JIS(CP932)のようです)",
        }
    return Finding(rule=rules.ENCODING, file=name, line=line, facts=facts)


def split_header(piece: Piece) -> tuple[str, Piece]:
    """The header row, and the piece behind it."""
    header, _, rest = piece.data.partition(b"\n")
    return header.decode().removesuffix("\r"), Piece(rest, piece.first + 1, piece.read)


def records(
    piece: Piece, columns: tuple[str, ...], name: str, limits: Limits
) -> tuple[pl.DataFrame, list[Finding]]:
    """The rows of a piece as text, with their `line`, and the findings of those left out."""
    lines = pl.Series("text", piece.data.decode().removesuffix("\n").split("\n"))
    numbers = pl.int_range(piece.first, piece.first + len(lines), eager=True, dtype=pl.Int64)
    good = well_formed(lines, len(columns), limits, piece.data)
    if good.all():
        return parsed(piece.data, columns, numbers), []
    bad = zip(numbers.filter(~good), lines.filter(~good), strict=True)
    findings = [fault(line, text, name, len(columns), limits) for line, text in bad]
    kept = "\n".join(lines.filter(good)).encode()
    return parsed(kept, columns, numbers.filter(good)), findings


def well_formed(lines: pl.Series, width: int, limits: Limits, data: bytes) -> pl.Series:
    """Which lines are `width` correctly quoted values without control characters."""
    shape = f"^{FIELD}(?:,{FIELD}){{{width - 1}}}\r?$"
    good = lines.str.contains(shape) & (lines.str.len_bytes() <= limits.row_max)
    if width == 1:
        good &= lines.str.strip_chars("\r") != ""
    if len(data.translate(None, CONTROLS)) != len(data):
        good &= ~lines.str.contains(CONTROL.pattern)
    return good


def parsed(data: bytes, columns: tuple[str, ...], numbers: pl.Series) -> pl.DataFrame:
    """Text columns of lines that are known to be well formed; a blank value is null."""
    if not data:
        return pl.DataFrame(schema={"line": pl.Int64, **dict.fromkeys(columns, pl.String)})
    rows = pl.read_csv(
        data, has_header=False, schema=dict.fromkeys(columns, pl.String), infer_schema=False
    )
    if rows.height != len(numbers):
        raise LostRows
    return rows.with_columns(pl.all().replace("", None)).insert_column(0, numbers.alias("line"))


class LostRows(Exception):
    """Polars read another number of rows than there are lines: a fault of ours, never of data."""


def fault(line: int, text: str, name: str, width: int, limits: Limits) -> Finding:
    """What is wrong with a line that is not well formed."""
    text = text.removesuffix("\r")
    if not text.strip():
        return Finding(rule=rules.BLANK_LINE, file=name, line=line)
    if len(text.encode()) > limits.row_max:
        facts = {"limit": limits.row_max}
        return Finding(rule=rules.ROW_SIZE, file=name, line=line, facts=facts)
    if control := CONTROL.search(text):
        value = f"U+{ord(control.group()):04X}"
        return Finding(rule=rules.CONTROL_CHARACTER, file=name, line=line, value=value)
    return misshapen(line, text, name, width)


def misshapen(line: int, text: str, name: str, width: int) -> Finding:
    """Broken quotes, or another number of values than the header has."""
    if not re.fullmatch(f"{FIELD}(?:,{FIELD})*", text):
        return Finding(rule=rules.QUOTING, file=name, line=line)
    found = len(next(csv.reader([text], strict=True)))
    rule: Rule = rules.ROW_WIDTH
    return Finding(rule=rule, file=name, line=line, facts={"found": found, "expected": width})
