"""Pieces that are read beside each other tell what they tell one after the other, in that order."""

import random
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest

from pipeline import reading
from pipeline.claims import Claim, Watch
from pipeline.faults import Findings, TooMany
from pipeline.limits import Limits
from pipeline.lines import Book
from pipeline.opening import open_upload
from pipeline.reading import Interpreter, Reader
from pipeline.text import Piece
from schemas.policy import Reading
from schemas.profiles import JP_1_2_1
from schemas.roster.people import User

LINES = 2600
LIMITS = Limits(piece=8192)
LENIENT = Reading(profile="JP-1.2.1", lenient=True)
REQUIRED = (
    *("enabledUser", "username", "userMasterIdentifier", "givenName", "familyName"),
    *("preferredGivenName", "preferredFamilyName"),
    *("metadata.jp.kanaGivenName", "metadata.jp.kanaFamilyName"),
)
MASTER = "00000000-0000-4000-8000-000000000000"
ODD = ("NULL", " x ", "TRUE", "ﾀ", "", "\x01", 'a"b', "a,b", "tobedeleted", "ext:x")


def users() -> bytes:
    """Users whose pieces are good, or remarkable, or faulty; most have no UUID for an id."""
    dice = random.Random(7)
    header = JP_1_2_1.header(User)
    good = dict(zip(REQUIRED, ("true", "u", MASTER, *["ヤマダ"] * 6), strict=True))
    lines = [",".join(header)]
    for number in range(LINES):
        cells = {**good, "sourcedId": str(UUID(int=number))}
        if number > LINES // 4:
            cells["sourcedId"] = f"u{number}"
            if dice.random() < 0.03:
                cells[dice.choice(header)] = dice.choice(ODD)
        lines.append(",".join(cells.get(name, "") for name in header))
    return "\n".join([*lines, ""]).encode()


def alone(make: Callable[[Any], Any], items: Iterable[Any]) -> Generator[Any, None, None]:
    """One piece after the other."""
    yield from map(make, items)


def read(folder: Path, limit: int) -> dict[str, Any]:
    """All that reading a file leaves."""
    folder.mkdir()
    path = folder / "users.csv"
    path.write_bytes(users())
    findings = Findings(limit)
    claim = Claim(0, uuid4(), attempt=1, fence=1, entity="users", mode="bulk")
    package = open_upload(path, claim, LIMITS, findings, reading=LENIENT)
    reader = Reader(package, Watch(), findings, LIMITS, reading=LENIENT)
    book = reader.books["users"] = Book(folder / "book", 1)
    batches = []
    try:
        batches = [rows for _, rows in reader.batches()]
    except TooMany:
        batches.append(pl.DataFrame({"too": ["many"]}))
    return {
        "heights": [rows.height for rows in batches],
        "rows": pl.concat(batches).rows(),
        "findings": findings.all,
        "counts": findings.counts,
        "beyond": findings.beyond,
        "lines": findings.lines,
        "pointing": [rows.rows() for rows in findings.rows["users"]],
        "kept": reader.kept.kept,
        "read": reader.rows,
        "faulty": reader.faulty,
        "mended": reader.mended,
        "counted": [part.to_list() for part in reader.counted["users"]],
        "known": [rows.sort("line").rows() for rows in book.read()],
    }


def dawdling(interpreter: Interpreter, body: Piece, read: Any = Interpreter.read) -> Any:  # noqa: ANN401  # stands in for it
    """Every second piece takes its time, so that the next is made before it."""
    time.sleep(0.004 * (body.first % 2))
    return read(interpreter, body)


@pytest.mark.parametrize("limit", [100_000, 10], ids=["to the end", "until there are too many"])
def test_two_at_once_tell_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(reading, "abreast", alone)
        one = read(tmp_path / "one", limit)
    monkeypatch.setattr(Interpreter, "read", dawdling)
    two = read(tmp_path / "two", limit)
    for name, left in one.items():
        assert two[name] == left, name
    assert one["mended"]["users"]
    assert one["beyond"] or limit < LINES
    severities = {finding.rule.severity for finding in one["findings"]}
    assert severities >= ({"error", "warning", "info"} if limit > LINES else {"error"})


def swapped(make: Callable[[Any], Any], items: Iterable[Any]) -> Generator[Any, None, None]:
    """Every second piece before the one that it follows."""
    made = [*map(make, items)]
    for at in range(0, len(made), 2):
        yield from reversed(made[at : at + 2])


def test_another_order_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "abreast", alone)
    one = read(tmp_path / "one", 100_000)
    monkeypatch.setattr(reading, "abreast", swapped)
    two = read(tmp_path / "two", 100_000)
    assert {name for name in one if one[name] != two[name]} >= {"rows", "findings", "counted"}
