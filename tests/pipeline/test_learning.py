"""The lines of a first load, learnt behind its commit: nobody depends on it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from pipeline import claims
from pipeline.claims import Watch
from pipeline.database import connect
from pipeline.importing import Import
from pipeline.lines import Lines
from schemas.events import Event, RunEnded

if TYPE_CHECKING:
    from tests.pipeline.conftest import Book, District, Package


def load(district: "District", package: "Package | Path", then: Callable[[], object]) -> RunEnded:
    """A first load, with something that happens as soon as it has ended."""
    hub = district.hub
    path = hub.stored(package, None)
    run_id = hub.queued(district.tenant_id, path, None, None)
    folder = hub.folder / f"work-{run_id}"
    folder.mkdir()

    def emit(event: Event) -> None:
        if isinstance(event, RunEnded):
            then()

    with connect(hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        return Import(claim, db, path, folder, watch, emit, store=hub.objects).run()


watch = Watch()
"""Of all loads of this module."""


def known(district: "District") -> set[str]:
    return {row["entity"] for row in district.rows("known_lines")}


def test_the_end_is_told_before_and_the_lines_are_known_afterwards(
    district: "District", town: "Package"
) -> None:
    before: list[set[str]] = []
    assert load(district, town, lambda: before.append(known(district))).state == "applied"
    assert before == [set()]
    assert "demographics" in known(district), "of whose lines nothing is said"


def test_what_somebody_has_changed_meanwhile_is_not_taken_for_known(
    district: "District", town: "Package", book: "Book"
) -> None:
    changed = town.change("users", "taro", {"middleName": "x"}).drop("enrollments", "e2")
    load(district, town, lambda: district.push(changed))
    book.push(town)
    book.push(changed)
    assert district.push(town).counts == book.push(town)
    district.agrees(book)


def test_whatever_hinders_it_the_load_stands(
    district: "District", town: "Package", book: "Book", monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as broken, capture_logs() as lines:
        broken.setattr(Lines, "shelve", away)
        assert district.push(town).counts == book.push(town)
    assert [line["event"] for line in lines] == ["lines_not_learnt"]
    assert known(district) == set()
    assert district.push(town).counts == book.push(town)
    district.agrees(book)


@pytest.mark.parametrize("damage", ["cut", "shorter"])
def test_what_reads_otherwise_now_is_not_known(
    district: "District", town: "Package", book: "Book", damage: str
) -> None:
    """Records that no known line stands for would never be missed."""
    fewer = town.drop("demographics", "hana")

    def spoil() -> None:
        whole = spoilt.read_bytes()
        spoilt.write_bytes(whole[: len(whole) // 2] if damage == "cut" else fewer.zip())

    spoilt = district.hub.stored(town, None)
    with capture_logs() as lines:
        assert load(district, spoilt, spoil).state == "applied"
    assert "lines_not_learnt" in [line["event"] for line in lines]
    assert known(district) == set()
    book.push(town)
    assert district.push(fewer).counts == book.push(fewer)
    district.agrees(book)


def test_a_worker_that_is_to_stop_does_not_learn(district: "District", town: "Package") -> None:
    try:
        assert load(district, town, watch.stopping.set).state == "applied"
    finally:
        watch.stopping.clear()
    assert known(district) == set()
