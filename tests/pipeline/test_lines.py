"""Lines that are known: what they save, and when nobody may rely on them."""

from typing import TYPE_CHECKING, Any

import pytest
import xxhash

from pipeline import lines, text

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


def test_the_digest_of_every_line_is_told_whatever_ends_it() -> None:
    for data in (b"a,b\r\nc,d\r\n", b"a,b\r\nc,d\r"):
        expected = [xxhash.xxh3_128_digest(line) for line in (b"a,b\r", b"c,d\r")]
        assert [number.to_bytes(16, "little") for number in lines.digests(data)] == expected


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
