"""Work ahead and abreast: the same items, the same errors, and nothing left running."""

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from pipeline.ahead import abreast, ahead


def running() -> int:
    return sum(thread.name.startswith(("ahead", "abreast")) for thread in threading.enumerate())


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


def late(number: int) -> int:
    """The number, the odd ones first."""
    time.sleep(0.002 * (number % 2 == 0))
    return number


def test_what_is_made_abreast_comes_in_the_order_of_the_items() -> None:
    assert [*abreast(late, range(50))] == [*range(50)]
    assert [*abreast(late, [])] == []
    assert running() == 0


def test_two_are_made_at_once() -> None:
    together = threading.Barrier(2, timeout=5)
    assert len([*abreast(lambda _: together.wait(), range(4))]) == 4


def test_no_more_items_are_taken_than_can_be_made() -> None:
    taken: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    made = abreast(late, counted())
    for number in range(20):
        assert next(made) == number
        assert len(taken) <= number + 3
    made.close()
    assert running() == 0


@pytest.mark.parametrize("broken", ["item", "make"])
def test_an_error_comes_behind_what_was_made_before_it(broken: str) -> None:
    def items() -> Iterator[int]:
        yield from (0, 1, 2)
        if broken == "item":
            raise ZeroDivisionError
        yield from range(3, 100)

    def make(number: int) -> int:
        if broken == "make" and number == 3:
            raise ZeroDivisionError
        return late(number)

    made = abreast(make, ahead(items(), 1))
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ZeroDivisionError) as caught:
        next(made)
    assert running() == 0, "not even while somebody holds the error"
    assert caught.traceback


def test_who_leaves_ends_those_who_work_abreast_and_what_they_get_their_items_from() -> None:
    items = ahead(abreast(late, ahead(iter(lambda: 1, 2))))
    assert next(items) == 1
    items.close()
    assert running() == 0
