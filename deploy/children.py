"""Child processes of the development hub: started together, stopped in order, never left behind.

Each runs in a process group of its own, so that Ctrl-C reaches only the parent, and on Linux the
kernel ends it when the parent is killed. What it writes is shown with its name in front.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import IO

from deploy.local import launch
from deploy.logs import wants_colors
from deploy.messages import CHILD_DIED, Failure

PATIENCE = 40.0  # seconds to end in good order; gunicorn gives its requests 30
COLORS = {"api": 36, "work": 35}
"""Of the names in front of the lines: cyan and magenta."""


class Child:
    """A process of ours."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self._process = started(command, env)
        self._reader = threading.Thread(
            target=show, args=(name, self._process.stdout), name=f"{name}-log", daemon=True
        )
        self._reader.start()

    def check(self) -> None:
        """Fail if it has ended by itself."""
        status = self._process.poll()
        if status is not None:
            self._reader.join(1)  # its last words first
            raise Failure(CHILD_DIED, child=self.name, status=status)

    def stop(self) -> None:
        """End it in good order, and whatever it has left behind without any."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        with suppress(ProcessLookupError, PermissionError):  # the group is empty
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(1)


class Children:
    """The processes of a hub, in the order in which they are stopped."""

    def __init__(self) -> None:
        self._all: list[Child] = []

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        """One more."""
        self._all.append(Child(name, command, env))

    def check(self) -> None:
        """Fail if one has ended by itself."""
        for child in self._all:
            child.check()

    def watch(self) -> None:
        """Wait until one ends by itself, which is a failure."""
        while True:
            self.check()
            time.sleep(0.2)

    def stop(self) -> None:
        """End all of them, first come, first out."""
        while self._all:
            self._all.pop(0).stop()


@contextmanager
def stopped_together() -> Iterator[Children]:
    """Children that are gone at the end, whatever happened."""
    children = Children()
    try:
        yield children
    finally:
        children.stop()


def show(name: str, said: IO[bytes] | None) -> None:
    """Copy what a child says to standard error, its name in front of every line."""
    front = f"{name:<4} │ "
    if wants_colors(sys.stderr, os.environ):
        front = f"\x1b[{COLORS.get(name, 34)}m{front}\x1b[0m"
    with said or nullcontext() as lines:
        for line in lines or ():
            with suppress(OSError, ValueError):  # nobody reads our words any more
                sys.stderr.write(front + line.decode(errors="replace").rstrip("\r\n") + "\n")
                sys.stderr.flush()


def started(command: Sequence[str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """The process, with a pipe for all it says; Ctrl-C is for the parent, its death for both."""
    dies_with_us = [str(signal.SIGTERM.value), str(os.getpid())]
    return subprocess.Popen(  # noqa: S603 -- our own program and words
        [sys.executable, "-I", "-S", launch.__file__, "", *dies_with_us, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        process_group=0,
    )
