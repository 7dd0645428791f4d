"""What a file may look like: each way to be wrong has its rule and its line."""

from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeAlias

import pytest

from pipeline.archive import Source
from pipeline.faults import Broken
from pipeline.text import pieces, split_header

Read: TypeAlias = Callable[..., Any]
HEAD = b"a,b,c\r\n"
GOOD = b"1,2,3\r\n"

BAD_LINES = {
    "a short row": (b"1,2\r\n", "csv.row_width"),
    "a long row": (b"1,2,3,4\r\n", "csv.row_width"),
    "one quoted value": (b'"1"\r\n', "csv.row_width"),
    "an unclosed quote": (b'1,"2,3\r\n', "csv.quoting"),
    "a quote inside an unquoted value": (b'1,2"2,3\r\n', "csv.quoting"),
    "text after a closing quote": (b'1,"2"2,3\r\n', "csv.quoting"),
    "a blank before a quote": (b'1, "2",3\r\n', "csv.quoting"),
    "a quote escaped by a backslash": (b'1,"2\\"2",3\r\n', "csv.quoting"),
    "a NUL": (b"1,2\x00,3\r\n", "csv.control_character"),
    "a NUL in quotes": (b'1,"\x002",3\r\n', "csv.control_character"),
    "an old end of file": (b"\x1a\r\n", "csv.control_character"),
    "an old end of file in a value": (b"1,2\x1a,3\r\n", "csv.control_character"),
    "a tab": (b"1,2\t,3\r\n", "csv.control_character"),
    "a vertical tab": (b"1,2\x0b,3\r\n", "csv.control_character"),
    "an escape": (b"1,\x1b[31m,3\r\n", "csv.control_character"),
    "a delete": (b"1,2\x7f,3\r\n", "csv.control_character"),
    "the separator of digests": (b"1,2\x1f,3\r\n", "csv.control_character"),
    "a start of heading": (b"1,2\x01,3\r\n", "csv.control_character"),
    "a blank line": (b"\r\n", "csv.blank_line"),
    "a line of blanks": (b"  \r\n", "csv.blank_line"),
    "a bare carriage return in quotes": (b'1,"2\r2",3\r\n', "csv.carriage_return"),
    "a bare carriage return": (b"1,2\r2,3\r\n", "csv.carriage_return"),
    "two carriage returns": (b"1,2,3\r\r\n", "csv.carriage_return"),
    "another separator": (b"1;2;3\r\n", "csv.row_width"),
}
BROKEN_FILES = {
    "nothing at all": (b"", "csv.empty", None),
    "UTF-16, little end first": ("\ufeffa,b,c\r\n".encode("utf-16-le"), "csv.utf16", None),
    "UTF-16, big end first": ("\ufeffa,b,c\r\n".encode("utf-16-be"), "csv.utf16", None),
    "UTF-16 without a mark": ("a,b,c\r\n".encode("utf-16-le"), "csv.utf16", None),
    "UTF-32": ("\ufeffa,b,c\r\n".encode("utf-32-be"), "csv.utf16", None),
    "carriage returns alone": (b"a,b,c\r1,2,3\r", "csv.carriage_return", 1),
    "a bare carriage return in the header": (b"a,b\rb,c\r\n" + GOOD, "csv.carriage_return", 1),
    "CP932": (HEAD + GOOD + "1,表ソ,髙﨑".encode("cp932"), "csv.encoding", 3),
    "an overlong NUL": (HEAD + b"1,\xc0\x80,3\r\n", "csv.encoding", 2),
    "an overlong slash": (HEAD + GOOD + GOOD + b"1,\xe0\x80\xaf,3\r\n", "csv.encoding", 4),
    "a surrogate": (HEAD + b"1,\xed\xa0\x80,3\r\n", "csv.encoding", 2),
    "a cut sign at the end": (HEAD + GOOD + "1,2,表".encode()[:-1], "csv.encoding", 3),
    "Latin-1": (HEAD + "1,é,3\r\n".encode("latin-1"), "csv.encoding", 2),
}


@pytest.mark.parametrize(("line", "rule"), BAD_LINES.values(), ids=BAD_LINES)
@pytest.mark.parametrize("piece", [64, 4096], ids=["in small pieces", "in one piece"])
def test_a_bad_line_is_named_and_its_neighbours_are_read(
    read: Read, line: bytes, rule: str, piece: int
) -> None:
    found = read(HEAD + GOOD * 40 + line + GOOD, piece=piece)
    assert found.places == [(rule, 42)]
    assert {*found.rows} == {*range(2, 42), 43}
    assert {*found.rows.values()} == {("1", "2", "3")}


@pytest.mark.parametrize(("line", "rule"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_at_the_end_without_a_line_end_is_named(
    read: Read, line: bytes, rule: str
) -> None:
    ending = line.removesuffix(b"\r\n")
    if ending.strip() and not ending.endswith(b"\r"):  # which may end a line
        assert read(HEAD + GOOD + ending).places == [(rule, 3)]


def test_every_bad_line_is_named_at_once(read: Read) -> None:
    lines = [line for line, _ in BAD_LINES.values()]
    found = read(HEAD + b"".join(lines))
    assert found.rows == {}
    assert found.places == [
        (rule, number) for number, (_, rule) in enumerate(BAD_LINES.values(), start=2)
    ]


@pytest.mark.parametrize(("data", "rule", "line"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_file_that_cannot_be_read_says_why_and_where(
    read: Read, data: bytes, rule: str, line: int | None
) -> None:
    found = read(data)
    assert found.broken
    assert found.places == [(rule, line)]


def test_a_guess_at_cp932_is_told_and_not_acted_on(read: Read) -> None:
    (finding,) = read(HEAD + "1,髙﨑,3\r\n".encode("cp932")).findings
    assert "Shift_JIS (CP932)" in finding.message()["en"]
    assert "Shift_JIS(CP932)" in finding.message()["ja"]
    (finding,) = read(HEAD + b"1,\x81\x7f,3\r\n").findings
    assert finding.message()["en"].startswith("Line 2 of orgs.csv is not UTF-8. ")


def test_what_a_control_character_is_is_told(read: Read) -> None:
    (finding,) = read(HEAD + b"1,\x1b[31m,3\r\n").findings
    assert finding.value == "U+001B"


def test_how_many_values_a_row_has_is_told(read: Read) -> None:
    (finding,) = read(HEAD + b'"1,1",2\r\n').findings
    assert finding.facts == {"found": 2, "expected": 3}


@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""], ids=["BOM", "no BOM"])
def test_both_line_ends_a_missing_last_one_and_a_mark_are_read(
    read: Read, *, end: bytes, last: bool, mark: bytes
) -> None:
    data = mark + end.join([b"a,b,c", b'1,"2,""2""",3', b"4,5,6"]) + (end if last else b"")
    found = read(data)
    assert found.findings == []
    assert found.rows == {2: ("1", '2,"2"', "3"), 3: ("4", "5", "6")}


def test_line_ends_may_be_mixed(read: Read) -> None:
    found = read(b"a,b,c\n1,2,3\r\n4,5,6\n7,8,\r\n,,\n")
    assert found.findings == []
    assert [*found.rows.values()] == [
        ("1", "2", "3"),
        ("4", "5", "6"),
        ("7", "8", None),
        (None, None, None),
    ]


def test_a_blank_value_is_none_with_quotes_and_without(read: Read) -> None:
    assert read(HEAD + b'1,"",\r\n').rows == {2: ("1", None, None)}


@pytest.mark.parametrize(
    "value",
    [
        " ",
        "null",
        "NULL",
        "NaN",
        "0123",
        "1e3",
        "#",
        "'",
        "\\",
        "\\N",
        "𠮷野",
        "か\u3099",
        "葛\U000e0100",
        "ソ表予①髙﨑〜",
        "\u3000",
        "\u2028",
        "\x85",
        "\ufeffmarked",
        "\ufffd",
    ],
)
def test_a_value_is_kept_as_it_came(read: Read, value: str) -> None:
    for line in (f"{value},2,3", f'"{value}","2","3"', f"1,2,{value}", f'1,2,"{value}"'):
        for text in (line, f"{line}\r\n"):
            found = read(HEAD + text.encode())
            assert found.findings == [], line
            assert value in found.rows[2], line


@pytest.mark.parametrize("size", [63, 64])
def test_a_row_may_have_as_many_bytes_as_the_limit(read: Read, size: int) -> None:
    row = b"1,2," + b"x" * (size - 4) + b"\n"
    found = read(HEAD + GOOD + row + GOOD, row_max=63, piece=4096)
    assert found.places == ([] if size == 63 else [("csv.row_size", 3)])


def test_a_line_without_end_is_given_up_early(source: Callable[..., Source]) -> None:
    file = source(HEAD + b"1,2," + b"\xe3\x81\x82" * 100_000, row_max=1024, piece=1024)
    seen: list[int] = []
    with pytest.raises(Broken) as caught:
        seen.extend(piece.read for piece in pieces(file))
    assert (caught.value.finding.rule.id, caught.value.finding.line) == ("csv.row_size", 2)
    assert sum(seen) < 4096


def test_a_quote_that_is_not_closed_swallows_nothing(read: Read) -> None:
    start = perf_counter()
    found = read(HEAD + b'1,"2\n' + b"x\n" * 100_000)
    assert len(found.findings) == 100_001
    assert found.places[0] == ("csv.quoting", 2)
    assert perf_counter() - start < 5


def test_a_header_of_a_million_columns_costs_little(source: Callable[..., Source]) -> None:
    start = perf_counter()
    with pytest.raises(Broken) as caught:
        next(iter(pieces(source(b",".join([b"sourcedId"] * 1_000_000) + b"\r\n"))))
    assert (caught.value.finding.rule.id, caught.value.finding.line) == ("csv.row_size", 1)
    assert perf_counter() - start < 2


def test_a_piece_knows_its_first_line_and_how_far_it_reaches(
    source: Callable[..., Source],
) -> None:
    file = source(HEAD + GOOD * 100, piece=50)
    found = [*pieces(file)]
    assert b"".join(piece.data for piece in found) == HEAD + GOOD * 100
    assert len(found) > 10
    line = 1
    for piece in found:
        assert piece.first == line
        line += piece.data.count(b"\n")
    assert found[-1].read == len(HEAD + GOOD * 100)


def test_the_header_is_the_first_line_and_the_rest_begins_at_line_2(
    source: Callable[..., Source],
) -> None:
    (piece,) = pieces(source(HEAD + GOOD))
    header, rest = split_header(piece, "orgs.csv")
    assert (header, rest.data, rest.first) == ("a,b,c", GOOD, 2)
