"""Work ahead: a generator runs in its own thread while its consumer waits for the database.

And work abreast: what is made of each item alone is made of two at once.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
Made = TypeVar("Made")
DEPTH = 2
HANDS = 2
"""Who works abreast: the loops of Python take turns, what Polars and ISA-L do runs beside them."""


class _End(Generic[T]):
    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], depth: int = DEPTH) -> Generator[T, None, None]:
    """The same items in the same order, made at most `depth` ahead; an error comes in its place."""
    waiting: queue.Queue[T | _End[T]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: T | _End[T]) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            if all(put(item) for item in items):
                put(_End())
        except BaseException as error:  # noqa: BLE001  # raised again where the item was wanted
            put(_End(error))

    producer = threading.Thread(target=produce, name="ahead", daemon=True)
    producer.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        producer.join()


def abreast(
    make: Callable[[T], Made], items: Iterable[T], hands: int = HANDS
) -> Generator[Made, None, None]:
    """What is made of the items, in their order; an error of either comes in its place.

    No more items are taken than there are hands, and one that waits for the first of them. When
    this ends, so does a generator that the items come from: one that works ahead has a thread.
    """
    begun: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(hands, "abreast")
    try:
        for task in tasks(make, items):
            begun.append(pool.submit(task))
            if len(begun) > hands:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            items.close()


def tasks(make: Callable[[T], Made], items: Iterable[T]) -> Iterator[Callable[[], Made]]:
    """What is to be done with each item; behind the last one that can be had, its error."""
    waiting = iter(items)
    while True:
        try:
            item = next(waiting)
        except StopIteration:
            return
        except BaseException as error:  # noqa: BLE001  # raised again where the item was wanted
            yield partial(fail, error)
            return
        yield partial(make, item)


def fail(error: BaseException) -> NoReturn:
    """What is made of an item that cannot be had."""
    raise error
