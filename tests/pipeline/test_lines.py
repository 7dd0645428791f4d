"""Lines that are known: what they save, and when nobody may rely on them."""

from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import polars as pl
import pytest
import xxhash

from pipeline import lines, lookup, opening, reading, text
from pipeline.claims import Watch
from pipeline.faults import Findings
from pipeline.limits import Limits

if TYPE_CHECKING:
    from tests.pipeline.conftest import Book, District, Package


@pytest.fixture
def town(town: "Package") -> "Package":
    """The town without what is remarkable: lines of which something was said are not known."""
    return town.bare()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines are parsed, piece by piece."""
    parsed: list[int] = []
    records = text.records

    def counted(piece: text.Piece, *rest: Any) -> Any:  # noqa: ANN401  # as records has it
        parsed.append(piece.height)
        return records(piece, *rest)

    monkeypatch.setattr(text, "records", counted)
    return parsed


@pytest.fixture(params=[lookup.AT_HAND, 0], ids=["at hand", "in ranges"])
def at_hand(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known lines are searched while the file streams by, or range by range when it was seen."""
    monkeypatch.setattr(lookup, "AT_HAND", request.param)


@pytest.fixture(params=[0.0, 1.0], ids=["a new base", "a patch"])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a few lines; what changed goes into the base, or stays beside it."""
    monkeypatch.setattr(lines, "PART", 200)
    monkeypatch.setattr(lines, "PATCHED", request.param)


def test_the_digest_of_every_line_is_told_whatever_ends_it() -> None:
    for data in (b"a,b\r\nc,d\r\n", b"a,b\r\nc,d\r"):
        expected = [xxhash.xxh3_128_digest(line) for line in (b"a,b\r", b"c,d\r")]
        assert [number.to_bytes(16, "little") for number in lines.digests(data)] == expected


def test_chosen_lines_are_found_in_whichever_piece_they_lie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = [(b"a\nb\nc\n", 2), (b"d\ne\n", 5), (b"f\ng\n", 7), (b"h", 9)]
    pieces = [text.Piece(data, first, 0) for data, first in whole]
    monkeypatch.setattr(reading, "bodies", lambda _: iter(pieces))
    reader = reading.Reader(opening.Package(), Watch(), Findings(1), Limits())
    for wanted in ((0, 2, 3, 7), (1, 5, 6), (4,), (), (0, 1, 2, 3, 4, 5, 6, 7)):
        found = [*reader.only(Mock(), pl.Series(wanted, dtype=pl.UInt32))]
        rows = [
            (int(number) - 2, line.decode())
            for piece in found
            for number, line in zip(
                piece.numbers(piece.height), piece.data.split(b"\n"), strict=True
            )
        ]
        assert rows == [(at, "abcdefgh"[at]) for at in wanted]


class TestUnchanged:
    def test_no_line_is_parsed_twice(
        self, district: "District", town: "Package", read: list[int]
    ) -> None:
        district.has(town)
        assert sum(read) == sum(map(len, town.rows.values()))
        read.clear()
        done = district.push(town.reversed())
        assert (done.state, sum(read)) == ("applied", 0)
        assert all(counts["unchanged"] == counts["rows"] for counts in done.counts.values())

    def test_what_was_said_of_a_line_is_said_again(
        self, district: "District", town: "Package", read: list[int]
    ) -> None:
        odd = town.change("users", "hana", {"primaryOrgSourcedId": "south"})
        assert district.push(odd).rules == {"record.primary_org_without_role"}
        read.clear()
        district.push(odd)
        assert sum(read) == 1

    @pytest.mark.usefixtures("at_hand")
    def test_only_what_differs_is_parsed(
        self, district: "District", town: "Package", book: "Book", read: list[int]
    ) -> None:
        district.has(town)
        book.push(town)
        read.clear()
        other = town.change("users", "hana", {"givenName": "花"}).drop("enrollments", "e1")
        done = district.push(other)
        assert done.counts == book.push(other)
        assert sum(read) == 1
        district.agrees(book)
        read.clear()
        assert district.push(other).state == "applied"
        assert read == [], "what was changed is known now"

    @pytest.mark.usefixtures("parts", "at_hand")
    def test_many_parts_and_patches_tell_the_same_as_values(
        self, district: "District", town: "Package", book: "Book", read: list[int]
    ) -> None:
        there = town
        away = town.drop("enrollments", "e1").change("users", "hana", {"givenName": "花"})
        other = away.change("users", "taro", {"givenName": "太朗"})
        for package, unknown in ((there, None), (away, 1), (other, 1), (there, None), (there, 0)):
            read.clear()
            assert district.push(package).counts == book.push(package)
            if unknown is not None:
                assert sum(read) == unknown
            district.agrees(book)

    @pytest.mark.usefixtures("at_hand")
    def test_a_record_on_a_known_and_on_an_unknown_line_is_told_by_its_later_line(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        twice = town.put("users", {**town.row("users", "hana"), "givenName": "花"})
        done = district.push(twice)
        (finding,) = [each for each in done.findings if each.rule == "record.duplicate"]
        assert finding.line == len(twice.rows["users"]) + 1
