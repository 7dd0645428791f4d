"""SIGTERM and SIGINT as an event that threads can wait for."""

import signal
import threading


def asked_to_stop() -> threading.Event:
    """An event that either signal sets from now on.

    A handler runs in the main thread between two steps of whatever that does. Within `wait` of the
    same event it would wait for a lock that the thread it stands in holds, so a thread sets it.
    """
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=stopping.set).start())
    return stopping
