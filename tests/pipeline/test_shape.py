"""What is proven of all lines at once is what the regular expression says of each.

Files are generated that are laid out alike, and hurt in a sign or two. The proof may be silent
about any of the hurt ones, and never wrong; each of its steps is taken away once to show that it
counts.
"""

import inspect
import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline import shape, text
from pipeline.limits import Limits
from pipeline.shape import alike
from pipeline.text import Piece

ROW_MAX = 24
bounded = settings(max_examples=1500, derandomize=True, database=None, deadline=None)


def compare(proven: Callable[..., int | None], data: bytes, width: int) -> bool:
    """Hold the proof against the regular expression; answer whether there is one."""
    count = proven(data, width, ROW_MAX)
    if not count:
        return False
    lines = Piece(data, 2, 0).lines()
    assert len(lines) == count
    assert text.well_formed(lines, width, Limits(row_max=ROW_MAX)).all()
    return True


CELLS = st.text(st.sampled_from("ab表 ;'\\\ufeff\u2028"), max_size=3)
IN_QUOTES = st.text(st.sampled_from("ab表 "), max_size=3).map(lambda cell: f'"{cell}"')
WITH_COMMAS = st.text(st.sampled_from("ab,,"), max_size=3).map(lambda cell: f'"{cell}"')
ENDS = st.sampled_from(["\n", "\r\n"])
HURT = st.sampled_from([*'",a\n\r\x7f\x01', "", '""', '","', '"a"', "\r\n", "\ra", "a" * 20])


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, int]:
    """A file whose lines are alike but for a sign or two, and its width."""
    width = draw(st.integers(1, 3))
    cells = draw(st.sampled_from([CELLS, IN_QUOTES, WITH_COMMAS]))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=4))
    end = draw(ENDS)
    found = "".join(",".join(row) + end for row in rows)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(found)))
        found = found[:at] + draw(HURT) + found[at + draw(st.integers(0, 1)) :]
    return found.encode(), width


@bounded
@given(file=files())
def test_what_is_proven_is_well_formed(file: tuple[bytes, int]) -> None:
    compare(alike, *file)


SIGNS = '",a\n'


@pytest.mark.parametrize("width", [1, 2])
def test_no_short_file_is_proven_that_is_not_well_formed(width: int) -> None:
    files = (
        "".join(signs).encode() + b"\n"
        for size in range(7)
        for signs in itertools.product(SIGNS, repeat=size)
        if signs.count('"') in (0, 2 * width, 4 * width) or size < 5
    )
    assert sum(compare(alike, data, width) for data in files) > 10


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(
    "rows",
    [
        [["", "", ""], ["a", "表", "c d"]],
        [['""', '""', '""'], ['"a"', '"表"', '"c d"']],
        [['"a,b"', '","', '"c"'][::2], ['"1, 2"', '",a"']],
        [['"a"'], ['""']],
    ],
    ids=["no quotes", "quotes", "commas in quotes", "one column"],
)
def test_what_most_systems_write_is_proven(rows: Sequence[Sequence[str]], end: str) -> None:
    data = "".join(",".join(row) + end for row in rows).encode()
    assert alike(data, len(rows[0]), 4 * ROW_MAX) == 2
    assert alike(data * 5000, len(rows[0]), 4 * ROW_MAX) == 10_000
    assert alike(data.removesuffix(b"\n"), len(rows[0]), 4 * ROW_MAX) is None


def test_a_blank_line_of_one_column_is_not_proven() -> None:
    assert alike(b"\n\n", 1, ROW_MAX) is None
    assert alike(b"a\n\n", 1, ROW_MAX) is None


@pytest.mark.parametrize("size", range(8, 40))
def test_a_line_beyond_the_limit_is_not_proven(size: int) -> None:
    for before in range(14):
        data = b"a,b\n" * before + b"a," + b"x" * (size - 2) + b"\n" + b"a,b\n" * 9
        if alike(data, 2, ROW_MAX):
            assert size <= ROW_MAX


TAKEN_AWAY = {
    "commas count wherever they stand": (" & before & after", "", b'"a"b,c"d"\n'),
    "commas need no quote before": (" & before & after", " & after", b'"a"b,"c"\n'),
    "commas need no quote behind": (" & before & after", " & before", b'"a",b"c"\n'),
    "a line ends behind anything": ("(feeds & closing).sum() == count and ", "", b'"a","b"c\n'),
    "a line begins with anything": (
        " and (feeds & after).sum() == count - 1",
        "",
        b'"a","b"\nc"d","e"\n',
    ),
    "a file begins with anything": ("data[0] == QUOTE", "QUOTE in data", b'a"b","c"\n'),
    "controls are signs": (" < PRINTED", " == FEED", b'"\x01","b"\n'),
    "a delete is a sign": (" or DELETE in data", "", b'"\x7f","b"\n'),
    "lines have no limit": (" or not short(data, row_max)", "", b"a," + b"b" * ROW_MAX + b"\n"),
    "a carriage return stands anywhere": ("joined.sum() == count", "True", b"a,b\r\nc,d\re\n"),
    "bare quotes are signs": (" | (signs == QUOTE)", "", b'a,b"\n'),
    "blank lines are rows": (" if width > 1 else None", "", b"\n"),
    "the first line tells of all": ("signs[size:].equals(signs[:-size])", "True", b"a,b\n,,\n,\n"),
    "any line may come again": ("bytes(signs.head(size)) != line", "not len(signs)", b"a\nb\n"),
}


def without(step: str) -> Callable[..., int | None]:
    """The proof with a step taken away."""
    old, new, _ = TAKEN_AWAY[step]
    source = inspect.getsource(shape)
    assert old in source
    module: dict[str, Callable[..., int | None]] = {}
    exec(source.replace(old, new), module)
    return module["alike"]


@pytest.mark.parametrize("step", TAKEN_AWAY)
def test_every_step_of_the_proof_is_needed(step: str) -> None:
    *_, data = TAKEN_AWAY[step]
    width = 1 if data == b"\n" else 2
    assert not compare(alike, data, width)
    with pytest.raises(AssertionError):
        compare(without(step), data, width)


def test_the_comparison_finds_a_planted_bug() -> None:
    less = without("a line ends behind anything")

    @settings(bounded, max_examples=5000, phases=[Phase.generate])
    @given(file=files())
    def compared(file: tuple[bytes, int]) -> None:
        compare(less, *file)

    with pytest.raises(AssertionError):
        compared()
