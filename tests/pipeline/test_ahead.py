"""Work ahead: the same items, the same errors, and nothing left running."""

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from pipeline.ahead import ahead


def running() -> int:
    return sum(thread.name == "ahead" for thread in threading.enumerate())


def test_items_come_in_their_order() -> None:
    assert [*ahead(range(1000))] == [*range(1000)]
    assert [*ahead([])] == []


def test_nothing_is_an_item_like_others() -> None:
    assert [*ahead([None, 0, "", None])] == [None, 0, "", None]


def test_an_error_comes_in_its_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)
    assert running() == 0


@pytest.mark.parametrize("depth", [1, 2, 8])
def test_no_more_is_made_than_the_depth(depth: int) -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    items = ahead(counted(), depth)
    assert isinstance(items, Generator)
    next(items)
    time.sleep(0.05)
    assert len(made) <= depth + 2  # one in the hand of each side
    items.close()
    assert running() == 0


def test_a_consumer_that_leaves_ends_the_producer() -> None:
    closed = threading.Event()

    def endless() -> Generator[int, None, None]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    producer = endless()
    for item in ahead(producer):
        assert item == 1
        break
    producer.close()
    assert closed.is_set()
    assert running() == 0


def test_nothing_runs_before_the_first_item_is_wanted() -> None:
    ahead(range(3))
    assert running() == 0


def test_one_may_stand_behind_another() -> None:
    assert [*ahead(ahead(ahead(range(50))))] == [*range(50)]
