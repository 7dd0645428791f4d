"""One server process on a loopback port, with its files in one folder.

`start()` tells the story: take the folder, end what an earlier run left there, choose a port,
prepare the files, launch, wait for an answer. PostgreSQL and Redis fill in the steps that differ.
"""

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from deploy.local import launch, processes
from deploy.local.account import Account, CannotStart, give, home, unprivileged

PATIENCE = 60.0  # seconds; a crash recovery on a slow disk is the longest thing waited for
# Below the range from which systems take the ports of outgoing connections: inside it, a client
# that retries a stopped server can be given that very port and then talks to itself.
PORTS = range(20_000, 32_000)
# No variable of the caller (PGDATA, LD_LIBRARY_PATH, a locale) changes the server.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
# The kernel takes the end of the thread that started a process for the death of its parent, so one
# thread that lives as long as the interpreter starts all servers.
_launcher = ThreadPoolExecutor(1, thread_name_prefix="local-servers")


class Server(ABC):
    """What PostgreSQL and Redis have in common."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._home = self._folder
        self._owner: Account | None = None
        self._lock: int | None = None
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the server answers; the same after a restart unless another took the port."""

    def start(self) -> None:
        """Start, and return when it answers. A server that answers is left as it is."""
        if self._runs() and self._answers():
            return
        self.kill()  # whatever runs and does not answer, perhaps dying at this moment
        try:
            self._take_folder()
            self._end_leftovers()
            self._choose_port()
            self._process = self._launch(self._prepare())
            self._wait_for_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop in good order. A stopped server is left as it is."""
        if self._process and self._runs():
            processes.stop(self._process.pid, self.stop_signal)
            self._process.wait()
        self._leave_folder()

    def kill(self) -> None:
        """Stop as a power cut does: nobody writes another byte. The folder and port stay ours."""
        if self._process and self._runs():
            processes.kill(self._process.pid)
            self._process.wait()

    @property
    def pid(self) -> int:
        """The process id of the server as it was last started."""
        if self._process is None:
            raise CannotStart(f"{self.name} was never started.")
        return self._process.pid

    @property
    def port(self) -> int:
        """The loopback port of the last start."""
        if self._port is None:
            raise CannotStart(f"{self.name} was never started.")
        return self._port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Make the files the server needs and return its command line."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server answers, and all that only a running server can be given is there."""

    @abstractmethod
    def _is_ours(self, process: processes.Process) -> bool:
        """Whether the process serves this very folder."""

    def _take_folder(self) -> None:
        if self._lock is not None:
            return
        self._owner = unprivileged()
        self._home = home(self._folder, self._owner)
        self._lock = _private(self._home / "lock", os.O_RDWR)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"{self.name} in {self._folder} belongs to another run.") from None

    def _leave_folder(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _end_leftovers(self) -> None:
        """The lock is ours, so a server that still runs here has lost its parent."""
        uid = self._owner.uid if self._owner else os.getuid()
        for process in processes.table():
            if process.uid == uid and self._is_ours(process):
                processes.stop(process.pid, self.stop_signal)

    def _choose_port(self) -> None:
        """The port of the last time if it is free, else a new one, kept for the next time."""
        kept = self._home / "port"
        with suppress(FileNotFoundError, ValueError):
            self._port = int(kept.read_text())
        if self._port is None or not _is_free(self._port):
            self._port = next(port for port in iter(_any_port, None) if _is_free(port))
            kept.write_text(f"{self._port}\n")

    def _launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        account = f"{self._owner.uid}:{self._owner.gid}" if self._owner else ""
        orders = [account, str(self.stop_signal.value), str(os.getpid())]
        with os.fdopen(_private(self._log, os.O_WRONLY | os.O_APPEND), "ab") as log:
            return _launcher.submit(
                subprocess.Popen[bytes],
                [sys.executable, "-I", "-S", launch.__file__, *orders, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env=ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is for the parent, which stops us in its own order
            ).result()

    def _wait_for_answer(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self._answers():
            if not self._runs() or time.monotonic() > until:
                raise CannotStart(
                    f"{self.name} does not answer; its log ends:\n{self._last_words()}"
                )
            time.sleep(0.02)

    def _runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _password(self) -> str:
        """The server's password, made at the first start."""
        kept = self._home / "password"
        if not kept.exists():
            write_private(kept, secrets.token_urlsafe(24), self._owner)
        return kept.read_text()

    @property
    def _data(self) -> Path:
        return self._home / "data"

    @property
    def _log(self) -> Path:
        return self._home / "log"

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])


def write_private(path: Path, text: str, owner: Account | None) -> None:
    """Write a file that the server's account alone (and root) may read, whole or not at all."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(_private(draft, os.O_WRONLY | os.O_EXCL), "w") as file:
        file.write(text)
    give(draft, owner).replace(path)


def _private(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


def _any_port() -> int:
    return secrets.choice(PORTS)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
        with suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False
