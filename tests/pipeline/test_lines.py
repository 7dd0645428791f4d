"""Lines that are known: what they save, and when nobody may rely on them."""

import json
import random
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import polars as pl
import pytest
import xxhash

from pipeline import compare, lines, lookup, opening, reading, text
from pipeline.claims import Watch
from pipeline.faults import Findings
from pipeline.limits import Limits
from tests.pipeline.conftest import NOTHING

if TYPE_CHECKING:
    from tests.pipeline.conftest import Book, District, Hub, Package


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
        found = lines.hashed(data)
        assert [number.to_bytes(16, "big") for number in found.digests] == expected


def test_chosen_lines_of_a_hashed_piece_are_those_of_the_piece() -> None:
    for data in (
        b"a,b\r\n\n\xe3\x81\x82,d\r\nlast\n",
        b"a,b\r\n\n\xe3\x81\x82,d\r\nlast",
        b"x" * 99,
    ):
        body, found = text.Piece(data, 7, 0), lines.hashed(data)
        for which in product([False, True], repeat=len(found.sizes)):
            chosen = found.chosen(body, pl.Series(which))
            expected = body.chosen(body.numbers(len(which)).filter(pl.Series(which)))
            assert chosen.data == expected.data
            assert chosen.numbers(chosen.height).equals(expected.numbers(expected.height))


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
    def test_no_line_that_is_known_is_parsed(
        self, district: "District", town: "Package", read: list[int]
    ) -> None:
        district.has(town)
        # Once more behind the commit, to be learnt.
        assert sum(read) == 2 * sum(map(len, town.rows.values()))
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


# --- Against values ------------------------------------------------------------------------


def schools(seed: random.Random, names: dict[str, str]) -> bytes:
    """A file of orgs: schools that stay, change, go, come and stand twice, in this text or that."""
    rows: list[tuple[str, str]] = []
    doubles = seed.random() < 0.5
    for number in range(12):
        key, now = f"school-{number}", names.get(f"school-{number}", "東")
        match seed.choice(["same"] * 9 + ["other", "away"] + ["twice", "both", "thrice"] * doubles):
            case "same":
                rows.append((key, now))
            case "other":
                rows.append((key, seed.choice(["西", "中"])))
            case "twice":
                rows += [(key, now), (key, now)]
            case "both":
                rows += [(key, now), (key, "西")]
            case "thrice":
                rows += [(key, now), (key, "西"), (key, now)]
            case _:
                pass
    seed.shuffle(rows)
    quotes = ("", "", "", '"')  # other lines, the same values
    lines = [f"{key},,,{q}{name}{q},school,," for key, name in rows for q in [seed.choice(quotes)]]
    header = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId"
    return "\r\n".join([header, *lines]).encode()


def hold(hub: "Hub", monkeypatch: pytest.MonkeyPatch, *, skip: bool) -> int:
    """Push to a district that knows its lines and to one that never does; how often it helped."""
    monkeypatch.setattr(lines, "MANY", 1.0)
    monkeypatch.setattr(lines, "PATCHED", 0.5)
    knows, reads = hub.district(), hub.district()
    if skip:
        reading = json.dumps({"reading": {"faulty_rows": "skip", "tolerance": 1.0}})
        hub.admin.execute(
            "update districts set policy = policy || %s::jsonb where tenant_id = any(%s)",
            [reading, [knows.tenant_id, reads.tenant_id]],
        )
    seed, helped = random.Random(11), 0
    package = NOTHING.put("orgs", {"sourcedId": "a"}).bare()
    for _ in range(10):
        names = {key: each["name"] for key, each in reads.records("orgs").items()}
        data = package.zip(orgs=schools(seed, names))
        helped += len(knows.rows("known_lines"))
        done = [each.push(data) for each in (knows, reads)]
        hub.admin.execute("delete from known_lines where tenant_id = %s", [reads.tenant_id])
        assert done[0].state == done[1].state
        assert done[0].counts == done[1].counts
        assert done[0].places == done[1].places
        assert knows.records("orgs") == reads.records("orgs")
    return helped


@pytest.mark.parametrize(
    ("at_hand", "skip"),
    [(lookup.AT_HAND, False), (0, True)],
    ids=["at hand, rejected", "in ranges, skipped"],
)
def test_known_lines_tell_the_same_as_values(
    hub: "Hub", monkeypatch: pytest.MonkeyPatch, *, at_hand: int, skip: bool
) -> None:
    monkeypatch.setattr(lookup, "AT_HAND", at_hand)
    assert hold(hub, monkeypatch, skip=skip) > 3


PLANTED: Mapping[str, tuple[Any, str, object]] = {
    "a line that stands twice is there once": (
        lookup.Index,
        "met",
        lambda self, met=lookup.Index.met: lookup.Met(met(self).missing, lookup.NONE),
    ),
    "no record stands on a known and on an unknown line": (
        compare.Stored,
        "among",
        lambda _, keys: keys.head(0),
    ),
    "what changed is gone": (
        lines.Lines,
        "of",
        lambda self, known, digests, of=lines.Lines.of: of(self, known, digests).with_columns(
            sourced_id=pl.col("sourced_id") + "?"
        ),
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(hub: "Hub", monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    place, name, instead = PLANTED[bug]
    monkeypatch.setattr(place, name, instead)
    with pytest.raises(AssertionError):
        hold(hub, monkeypatch, skip=True)
