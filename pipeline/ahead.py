"""Work ahead: a generator runs in its own thread while its consumer waits for the database."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
DEPTH = 2


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
