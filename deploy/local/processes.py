"""The system's process table, read without help: who runs, whose child it is, how to end it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

GONE = {"Z"}
STILL = {"T", *GONE}
PATIENCE = 30.0  # seconds between asking a server to stop and killing it


class Process(NamedTuple):
    """One line of the table."""

    pid: int
    parent: int
    uid: int
    state: str
    command: str
    """The command line, words parted and ended by a blank."""


def table() -> list[Process]:
    """Everything that runs now."""
    return list(_linux() if sys.platform == "linux" else _elsewhere())


def stop(pid: int, by: signal.Signals) -> None:
    """Ask a server to stop, wait, and kill it and its children if it does not."""
    with suppress(ProcessLookupError):
        os.kill(pid, by)
    if not _wait(lambda: not is_running(pid), PATIENCE):
        kill(pid)


def kill(pid: int) -> None:
    """End a process and its children at once, and return when all are gone."""
    with suppress(ProcessLookupError):
        os.kill(
            pid, signal.SIGSTOP
        )  # a stopped parent starts nobody while its children are counted
        _wait(lambda: _states([pid]) <= STILL, 1)
    family = [p.pid for p in table() if pid in (p.pid, p.parent)]
    for member in family:
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    _wait(lambda: _states(family) <= GONE, PATIENCE)


def working_folder(pid: int) -> Path | None:
    """The folder the process works in, where the system tells."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink()
    return None


def is_running(pid: int) -> bool:
    """Whether the process runs; a zombie only waits for its parent to look."""
    return not _states([pid]) <= GONE


def _states(pids: Collection[int]) -> set[str]:
    return {p.state[0] for p in table() if p.pid in pids}


def _wait(done: Callable[[], bool], patience: float) -> bool:
    until = time.monotonic() + patience
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _linux() -> Iterator[Process]:
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            status = (entry / "stat").read_bytes()
            state, parent = status.rpartition(b")")[2].split()[:2]  # a name may hold anything
            words = os.fsdecode((entry / "cmdline").read_bytes()).replace("\0", " ")
            uid = entry.stat().st_uid
            yield Process(int(entry.name), int(parent), uid, state.decode(), words + " ")


def _elsewhere() -> Iterator[Process]:
    listing = ["/bin/ps", "-A", "-ww", "-o", "pid=,ppid=,uid=,stat=,args="]
    lines = subprocess.run(listing, capture_output=True, check=True).stdout  # noqa: S603 -- a constant
    for line in os.fsdecode(lines).splitlines():
        pid, parent, uid, state, *words = line.split(None, 4)
        yield Process(int(pid), int(parent), int(uid), state, "".join(words) + " ")
