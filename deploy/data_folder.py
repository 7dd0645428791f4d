"""The folder `.rosterhub/` of a development hub: closed to others, one hub at a time.

Secrets lie in it as files that only their owner may read. `run.json` is there while the hub is
ready and at no other time, so that other commands in this folder can trust it.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.messages import ALREADY_RUNNING, Failure

NAME = ".rosterhub"


class DataFolder:
    """A data folder that is ours until `held` ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def held(cls, project: Path) -> Iterator["DataFolder"]:
        """Make the folder if it is new, and keep a second hub out of it."""
        path = project / NAME
        path.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder = cls(path)
            folder.say_nothing()  # a killed hub could not
            yield folder
        except BlockingIOError:
            raise Failure(ALREADY_RUNNING, folder=project) from None
        finally:
            os.close(lock)

    def secret_key(self) -> str:
        """The installation's secret, made at the first start."""
        return self.read("secret-key") or self.keep("secret-key", secrets.token_urlsafe(32))

    def read(self, name: str) -> str | None:
        """A secret of the last time."""
        try:
            return (self.path / name).read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def keep(self, name: str, text: str) -> str:
        """Write a file that only its owner may read, whole or not at all; answer the text."""
        draft = self.path / f"{name}.new"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path / name)
        return text

    @contextmanager
    def announced(self, facts: Mapping[str, str]) -> Iterator[None]:
        """Tell the other commands where the hub is, while it is there."""
        self.keep("run.json", json.dumps(facts, indent=2))
        try:
            yield
        finally:
            self.say_nothing()

    def say_nothing(self) -> None:
        """No hub is ready here."""
        (self.path / "run.json").unlink(missing_ok=True)
