"""Generated files: every line is read exactly as RFC 4180 and our rules say, or refused.

The oracle is written by hand, sign by sign, and agrees with Python's csv on what it accepts. A
planted bug shows that the comparison can fail.
"""

import csv
from collections.abc import Callable
from typing import Any, TypeAlias

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pipeline import text

Read: TypeAlias = Callable[..., Any]
WIDTH = 3
HEADER = "a,b,c"

bounded = settings(
    max_examples=500,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def rfc4180(line: str) -> list[str] | None:
    """The values of a line; None where its quotes are wrong."""
    values, at = [], 0
    while True:
        if line[at : at + 1] == '"':
            value, at = "", at + 1
            while line[at : at + 1] != '"' or line[at + 1 : at + 2] == '"':
                if at >= len(line):
                    return None
                value += line[at]
                at += 2 if line[at] == '"' else 1
            at += 1
        else:
            end = line.find(",", at)
            value = line[at : end if end >= 0 else len(line)]
            at += len(value)
            if '"' in value:
                return None
        values.append(value)
        if at == len(line):
            return values
        if line[at] != ",":
            return None
        at += 1


def control(sign: str) -> bool:
    return sign < " " or sign == "\x7f"


def expected(body: str) -> tuple[dict[int, tuple[str | None, ...]], set[int]]:
    """The rows by line, and the lines that must be refused."""
    rows, refused = {}, set()
    lines = body.split("\n")
    for number, raw in enumerate(lines[:-1] if lines[-1] == "" else lines, start=2):
        line = raw.removesuffix("\r")
        values = rfc4180(line)
        if values is not None and not any(map(control, line)):
            assert (next(csv.reader([line], strict=True)) or [""]) == values
        if values is None or len(values) != WIDTH or any(map(control, line)):
            refused.add(number)
        else:
            rows[number] = tuple(value or None for value in values)
    return rows, refused


def compare(read: Read, body: str, piece: int, mark: str = "") -> None:
    """The pipeline's reading against the oracle's."""
    rows, refused = expected(body)
    found = read(f"{mark}{HEADER}\n{body}".encode(), WIDTH, piece=piece)
    assert not found.broken
    assert found.rows == rows
    assert [line for _, line in found.places] == sorted(refused)


SIGNS = st.sampled_from([*"ab,\"\\ 0\n\n\r\x00\x1a\t;'{}", "\r\n", '""', "表", "𠮷", "か\u3099"])
ODD = st.sampled_from(["\ufeff", "\u2028", "\x85", "\x01", "\x1f", "\x7f", "\u3000", "null"])
ANYTHING = st.lists(SIGNS | ODD, max_size=40).map("".join)
VALUES = st.lists(st.sampled_from([*'ab,"\\ 表𠮷', "\ufeff"]), max_size=4).map("".join)


def written(values: list[str], quotes: list[bool]) -> str:
    """A line as an exporter writes it: quotes where they are needed, or everywhere."""
    return ",".join(
        '"' + value.replace('"', '""') + '"' if quote or {*value} & {*',"'} else value
        for value, quote in zip(values, quotes, strict=True)
    )


ROWS = st.builds(
    written,
    st.lists(VALUES, min_size=WIDTH, max_size=WIDTH),
    st.lists(st.booleans(), min_size=WIDTH, max_size=WIDTH),
)
NEARLY = st.lists(ROWS | ANYTHING, max_size=8).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join([*lines, ""]))
)
PIECES = st.sampled_from([16, 33, 4096])
MARKS = st.sampled_from(["", "\ufeff"])


@bounded
@given(body=NEARLY | ANYTHING, piece=PIECES, mark=MARKS)
def test_a_file_is_read_as_the_oracle_reads_it_or_refused(
    read: Read, body: str, piece: int, mark: str
) -> None:
    compare(read, body, piece, mark)


@settings(bounded, max_examples=150)
@given(rows=st.lists(ROWS, min_size=1, max_size=10), piece=PIECES)
def test_what_an_exporter_writes_is_read_back(read: Read, rows: list[str], piece: int) -> None:
    body = "".join(f"{row}\r\n" for row in rows)
    assert expected(body)[1] == set()
    compare(read, body, piece)


@settings(bounded, max_examples=300)
@given(data=st.binary(max_size=60), piece=PIECES)
def test_bytes_without_meaning_are_never_an_accident(read: Read, data: bytes, piece: int) -> None:
    found = read(b"a,b,c\n" + data, WIDTH, piece=piece)
    named = sorted([*found.rows, *(line for _, line in found.places)])
    lines = data.removesuffix(b"\n").count(b"\n") + 1 if data else 0
    assert found.broken or named == [*range(2, 2 + lines)]


PLANTED: dict[str, Callable[[pl.Series, int, Any], pl.Series]] = {
    "everything is well formed": lambda lines, *_: pl.Series([True] * len(lines)),
    "controls pass": lambda lines, width, _: lines.str.contains(
        '^("[^"]*(""[^"]*)*"|[^",]*)(,("[^"]*(""[^"]*)*"|[^",]*)){' + str(width - 1) + "}$"
    ).fill_null(value=False),
    "short rows pass": lambda lines, width, _: (
        lines.str.count_matches(",") <= width - 1
    ).fill_null(value=False),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_the_comparison_finds_a_planted_bug(
    read: Read, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    monkeypatch.setattr(text, "well_formed", PLANTED[bug])

    @settings(bounded, max_examples=5000, phases=[Phase.generate])
    @given(body=NEARLY | ANYTHING)
    def compared(body: str) -> None:
        compare(read, body, 4096)

    with pytest.raises((AssertionError, text.LostRows, pl.exceptions.PolarsError)):
        compared()
