"""Processes that begin as copies of one that has loaded already, and share its memory.

Six interpreters that each load the same packages hold them six times; a copy holds what it changes.
Only a process without threads is copied: a lock that another thread held would stay locked in the
copy for ever. So whoever forks serves nothing itself and holds no connection, and what begins
threads when it is loaded, as data frames do, each copy loads for itself.

A copy is like a process of its own in all that others see: it leads a session, answers signals by
itself, has its own words in the list of processes, and ends with its parent.
"""

import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.lifeline import die_with

FAILED = 1
STOPS = (signal.SIGTERM, signal.SIGINT)
ARGUMENTS = (48, 49)  # fields of /proc/self/stat: where the words of a command begin and end


@dataclass(slots=True)
class Copy:
    """A child process of this one."""

    pid: int
    status: int | None = None

    def poll(self) -> int | None:
        """Its exit status once it has ended; that of one killed by a signal is below zero."""
        if self.status is None:
            pid, how = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(how)
        return self.status

    def send_signal(self, number: signal.Signals) -> None:
        """Tell it, unless it has ended: until it is waited for, nobody else has its number."""
        if self.poll() is None:
            os.kill(self.pid, number)


def settle() -> None:
    """Make what was loaded until now last: the collector would write to all of it in every copy."""
    gc.collect()
    gc.freeze()


def fork(work: Callable[[], None], words: Iterable[str]) -> Copy:
    """Begin a copy that works and ends, and never returns to who called this.

    A stop that comes before the copy minds it ends it, and is not taken for one of its parent's.
    """
    parent = os.getpid()
    flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    if pid := os.fork():
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Copy(pid)
    status = FAILED
    try:
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.setsid()
        die_with(parent)
        entitle(words)
        status = lived(work)
    finally:
        os._exit(status)  # what its parent has yet to do is not the copy's


def lived(work: Callable[[], None]) -> int:
    """Work until the end, as a program does; answer the exit status."""
    try:
        work()
    except BaseException:  # noqa: BLE001  # as the interpreter itself at the end of a program
        sys.excepthook(*sys.exc_info())
        return FAILED
    else:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        return 0
    finally:
        flush()


def flush() -> None:
    """Write what waits to be written, or a copy would write it again."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def entitle(words: Iterable[str]) -> None:
    """Be listed under these words, where Linux keeps those that the process was begun with."""
    if not sys.platform.startswith("linux"):
        return
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    begin, end = (int(fields[field - 3]) for field in ARGUMENTS)
    if room := max(end - begin, 0):
        title = b"".join(os.fsencode(word) + b"\0" for word in words)
        ctypes.memmove(begin, title[: room - 1].ljust(room, b"\0"), room)


# --- The allocator of C ------------------------------------------------------------------------

OPTIONS: Mapping[str, int] = {
    "MALLOC_TRIM_THRESHOLD_": -1,
    "MALLOC_MMAP_THRESHOLD_": -3,
    "MALLOC_ARENA_MAX": -8,
}
"""What glibc calls a variable once the process runs (malloc.h)."""


def tune(values: Mapping[str, int]) -> None:
    """Set these variables of glibc's allocator, unless the environment has; elsewhere nothing."""
    setting = getattr(ctypes.CDLL(None), "mallopt", None)
    for name, value in values.items():
        if setting and name not in os.environ:
            setting(OPTIONS[name], value)
