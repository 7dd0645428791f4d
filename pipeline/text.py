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

from pipeline import encodings
from pipeline.archive import Source
from pipeline.faults import Broken
from pipeline.limits import Limits
from pipeline.shape import alike, ends
from schemas import rules
from schemas.rules import Finding, Rule

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
NO_SEPARATOR = "\x01"  # stands in no well-formed line
BLOCK = 64 * 1024  # bytes
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
FIELD = r'(?:"[^"\x00-\x1f\x7f]*(?:""[^"\x00-\x1f\x7f]*)*"|[^",\x00-\x1f\x7f]*)'


@dataclass(frozen=True, slots=True)
class Piece:
    """Whole lines of a file; `first` is the number of the first, `read` the bytes up to its end.

    `at` are the numbers of all of them, where they do not follow each other.
    """

    data: bytes
    first: int
    read: int
    at: pl.Series | None = None

    @property
    def height(self) -> int:
        """How many lines there are."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))

    def numbers(self, lines: int) -> pl.Series:
        """The line number of each of the `lines`."""
        if self.at is not None:
            return self.at
        return pl.int_range(self.first, self.first + lines, eager=True, dtype=pl.Int64)

    def chosen(self, numbers: pl.Series) -> "Piece":
        """Only these lines (ascending) of whole ones that follow each other."""
        lines = self.data.split(b"\n")
        data = b"\n".join([lines[number - self.first] for number in numbers])
        return Piece(data, self.first, self.read, numbers)

    def lines(self) -> pl.Series:
        """The lines without what ends them; a blank line is null. For Polars this is a CSV too."""
        if NO_SEPARATOR.encode() in self.data:
            texts = self.data.decode().removesuffix("\n").split("\n")
            return pl.Series("text", [text.removesuffix("\r") or None for text in texts])
        return pl.read_csv(
            marked(self.data),
            has_header=False,
            separator=NO_SEPARATOR,
            quote_char=None,
            schema={"text": pl.String},
            infer_schema=False,
        ).to_series()


def marked(data: bytes) -> bytes:
    """The data for Polars, which drops a byte order mark: one that is a value comes behind it."""
    return BOM + data if data.startswith(BOM) else data


def pieces(source: Source) -> Iterator[Piece]:
    """The file in pieces of whole lines in UTF-8; raises Broken where it is not."""
    for piece in whole_lines(source):
        yield Piece(decoded(piece.data, source, piece.first), piece.first, piece.read)


def whole_lines(source: Source) -> Iterator[Piece]:
    """The file in pieces of whole lines as they came, but for the BOM."""
    rest, line, read = b"", 1, 0
    for number, chunk in enumerate(source.chunks()):
        read += sum(map(len, chunk))
        ended, begun = parted(chunk)
        # One copy: at these sizes the pages of each further one cost more than its bytes.
        data = b"".join((rest, *ended, *(() if ended else begun)))
        if number == 0:
            data = opened(data, source.name)
        if not ended:
            rest = data
            if len(rest) > source.limits.row_max:
                raise Broken(endless(rest, source, line))
            continue
        rest = b"".join(begun)
        yield Piece(data, line, read)
        line += ends(data)
    if line == 1 and not rest:
        raise Broken(Finding(rule=rules.text.EMPTY, file=source.name))
    if rest:
        yield Piece(rest, line, read)


def parted(blocks: list[bytes]) -> tuple[list[bytes | memoryview], list[bytes]]:
    """Blocks up to the end of the last whole line, and those behind it."""
    for at, block in reversed([*enumerate(blocks)]):
        if end := block.rfind(b"\n") + 1:
            return [*blocks[:at], memoryview(block)[:end]], [block[end:], *blocks[at + 1 :]]
    return [], blocks


def opened(chunk: bytes, name: str) -> bytes:
    """The first chunk without a BOM."""
    if chunk.startswith(UTF16) or chunk[1:2] == b"\x00" or chunk[:1] == b"\x00":
        raise Broken(Finding(rule=rules.text.UTF16, file=name))
    return chunk.removeprefix(BOM)


def endless(data: bytes, source: Source, line: int) -> Finding:
    """A line that does not end: bare carriage returns, or a row beyond the limit."""
    if b"\r" in data:
        return Finding(rule=rules.text.CARRIAGE_RETURN, file=source.name, line=line)
    return Finding(
        rule=rules.text.ROW_SIZE,
        file=source.name,
        line=line,
        facts={"limit": source.limits.row_max},
    )


def blocks(data: bytes) -> Iterator[bytes]:
    """Whole lines in blocks so small that what is made of one is still warm, and used again."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + BLOCK) + 1 or len(data)
        yield data[start:end]
        start = end


def decoded(data: bytes, source: Source, first: int) -> bytes:
    """Whole lines in UTF-8; raises Broken at the first that is not in the source's encoding."""
    if data.isascii():  # which is the same in all of them
        return data
    texts, start = [], 0
    for block in blocks(data):
        try:
            text = block.decode(source.encoding)
        except UnicodeDecodeError as error:
            line = first + data.count(b"\n", 0, start + error.start)
            english, japanese = encodings.guess(data)
            facts = {"guess": english, "guess_ja": japanese}
            finding = Finding(rule=rules.text.ENCODING, file=source.name, line=line, facts=facts)
            raise Broken(finding) from error
        if source.encoding != "utf-8":
            texts.append(text.encode())
        start += len(block)
    return b"".join(texts) if texts else data


def split_header(piece: Piece, name: str) -> tuple[str, Piece]:
    """The header row, and the piece behind it."""
    line, _, rest = piece.data.partition(b"\n")
    header = line.decode().removesuffix("\r")
    if finding := controlled(piece.first, header, name):
        raise Broken(finding)
    return header, Piece(rest, piece.first + 1, piece.read)


def records(
    piece: Piece, columns: tuple[str, ...], name: str, limits: Limits
) -> tuple[pl.DataFrame, list[Finding]]:
    """The rows of a piece as text, with their `line`, and the findings of those left out."""
    if count := alike(piece.data, len(columns), limits.row_max):
        return parsed(piece.data, columns, piece.numbers(count)), []
    lines = piece.lines()
    numbers = piece.numbers(len(lines))
    good = well_formed(lines, len(columns), limits)
    if good.all():
        return parsed(piece.data, columns, numbers), []
    bad = zip(numbers.filter(~good), lines.filter(~good), strict=True)
    findings = [fault(line, text or "", name, len(columns), limits) for line, text in bad]
    kept = "\n".join(lines.filter(good)).encode()
    return parsed(kept, columns, numbers.filter(good)), findings


def well_formed(lines: pl.Series, width: int, limits: Limits) -> pl.Series:
    """Which lines are `width` correctly quoted values without control characters."""
    shape = f"^{FIELD}(?:,{FIELD}){{{width - 1}}}$"
    good = lines.str.contains(shape) & (lines.str.len_bytes() <= limits.row_max)
    return good.fill_null(value=False)


def parsed(data: bytes, columns: tuple[str, ...], numbers: pl.Series) -> pl.DataFrame:
    """Text columns of lines that are known to be well formed; a blank value is null."""
    if not data:
        return pl.DataFrame(schema={"line": pl.Int64, **dict.fromkeys(columns, pl.String)})
    rows = pl.read_csv(
        marked(data),
        has_header=False,
        schema=dict.fromkeys(columns, pl.String),
        infer_schema=False,
        null_values="",
    )
    if rows.height != len(numbers):
        raise LostRows
    return rows.insert_column(0, numbers.alias("line"))


class LostRows(Exception):
    """Polars read another number of rows than there are lines: a fault of ours, never of data."""


def fault(line: int, text: str, name: str, width: int, limits: Limits) -> Finding:
    """What is wrong with a line that is not well formed."""
    if not text.strip():
        return Finding(rule=rules.text.BLANK_LINE, file=name, line=line)
    if len(text.encode()) > limits.row_max:
        facts = {"limit": limits.row_max}
        return Finding(rule=rules.text.ROW_SIZE, file=name, line=line, facts=facts)
    return controlled(line, text, name) or misshapen(line, text, name, width)


def controlled(line: int, text: str, name: str) -> Finding | None:
    """The first control character of a line; a carriage return inside it counts as one."""
    if "\r" in text:
        return Finding(rule=rules.text.CARRIAGE_RETURN, file=name, line=line)
    if control := CONTROL.search(text):
        value = f"U+{ord(control.group()):04X}"
        return Finding(rule=rules.text.CONTROL_CHARACTER, file=name, line=line, value=value)
    return None


def misshapen(line: int, text: str, name: str, width: int) -> Finding:
    """Broken quotes, or another number of values than the header has."""
    if not re.fullmatch(f"{FIELD}(?:,{FIELD})*", text):
        return Finding(rule=rules.text.QUOTING, file=name, line=line)
    found = len(next(csv.reader([text], strict=True)))
    rule: Rule = rules.text.ROW_WIDTH
    return Finding(rule=rule, file=name, line=line, facts={"found": found, "expected": width})
