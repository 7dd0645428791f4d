"""A folder for one attempt: it is gone with the attempt, or else when the next process starts.

A process that is killed cleans nothing up, and what it leaves are names of children. The kernel
lets go of its lock, though, so whoever comes after it can tell a folder in use from one that is
left.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

PREFIX = "rosterhub-import-"
DRAFT = f"new-{PREFIX}"


@contextmanager
def scratch(base: Path | None) -> Iterator[Path]:
    """A folder of our own in `base`, the system's place for such folders where it is None."""
    draft = Path(mkdtemp(dir=base, prefix=DRAFT))
    lock = os.open(draft, os.O_RDONLY)
    folder = draft.with_name(draft.name.removeprefix("new-"))
    try:
        # Locked before it has the name by which it could be swept.
        fcntl.flock(lock, fcntl.LOCK_EX)
        draft.rename(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def sweep(base: Path | None) -> int:
    """Remove what killed processes have left in `base`; answer how many folders."""
    return sum(swept(folder) for folder in Path(base or gettempdir()).glob(f"{PREFIX}*"))


def swept(folder: Path) -> bool:
    """Whether the folder was left and is gone now; a link or another account's is left alone."""
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)
        return True
    return False
