"""SIGTERM and SIGINT as an event that threads can wait for."""

import signal
import threading
import time

SLICE = 0.5  # seconds


def asked_to_stop() -> threading.Event:
    """An event that either signal sets from now on.

    A handler runs in the main thread between two steps of whatever that does. Within `wait` of the
    same event it would wait for a lock that the thread it stands in holds, so a thread sets it.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=stopping.set).start())
    return stopping


def waited(stopping: threading.Event, seconds: float) -> bool:
    """Wait so long for the event; answer whether it is set.

    The main thread runs the handler, but Linux may hand the signal to any other, one that is about
    to start a thread above all. Then the main thread is not woken; so it wakes by itself.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if stopping.wait(min(left, SLICE)):
            return True
    return stopping.is_set()
