"""Who runs a local server, and where its files lie.

A normal user runs the servers in the given folder, and that is all. PostgreSQL refuses to be root,
so root lends it an account that every system has. That account may be unable to reach the project
(root's home is closed to it) or the virtual environment with the programs: then a stand-in outside
is used and named in the given folder. No account is created; no existing folder's mode is changed.

Folders stay root's and only `data` in them is the account's: what root writes, nobody can redirect.
"""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

STORES = (Path("/var/lib/rosterhub-local"), Path("/var/tmp/rosterhub-local"))  # noqa: S108 -- see _ours


class CannotStart(RuntimeError):
    """A local server cannot run here; the message says why, or what to install."""


class Account(NamedTuple):
    """An account that is not root."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """The account for the servers when we are root; None when our own will do."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "daemon"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise CannotStart("PostgreSQL cannot run as root, and there is no account `nobody` to run it.")


def home(folder: Path, owner: Account | None) -> Path:
    """The folder for a server's files: the given one, or a stand-in the owner can reach."""
    folder.mkdir(mode=0o711 if owner else 0o700, parents=True, exist_ok=True)
    pointer = folder / "kept-in"
    if owner is None or (reachable(folder, owner) and not pointer.is_symlink()):
        return folder
    stand_in = _ours(_store() / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16])
    if not pointer.is_symlink():
        pointer.symlink_to(stand_in)
    return stand_in


def give(path: Path, owner: Account | None) -> Path:
    """Hand what we have just made to the server's account."""
    if owner:
        os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    return path


def runnable(
    program: str, base: Path, *, parts: Sequence[str], copy: str, owner: Account | None
) -> Path:
    """`base / program`, or its twin in a copy of `parts` if the owner cannot reach it.

    The name `copy` carries the version: a copy is made once and never compared again.
    """
    if owner is None or reachable(base / program, owner):
        return base / program
    twin = _store() / copy
    if not twin.exists():
        _copy(base, parts, twin)
    return twin / program


def reachable(path: Path, owner: Account) -> bool:
    """Whether the owner may walk to `path` and enter or run it."""
    path = path.resolve()
    return all(_may_pass(each.stat(), owner) for each in (path, *path.parents))


def _may_pass(facts: os.stat_result, owner: Account) -> bool:
    if facts.st_uid == owner.uid:
        return bool(facts.st_mode & stat.S_IXUSR)
    if facts.st_gid == owner.gid:
        return bool(facts.st_mode & stat.S_IXGRP)
    return bool(facts.st_mode & stat.S_IXOTH)


def _store() -> Path:
    """Root's folder outside of all projects."""
    for store in STORES:
        with suppress(OSError):  # no such parent, or a system whose /var/lib cannot be written
            return _ours(store)
    raise CannotStart(f"Neither {STORES[0]} nor {STORES[1]} can be made for the local servers.")


def _ours(folder: Path) -> Path:
    """Make the folder, or take it only if nobody but root can have put it there."""
    try:
        folder.mkdir(mode=0o700)
        folder.chmod(0o711)  # whatever the umask is
    except FileExistsError:
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != 0 or facts.st_mode & 0o022:
            raise CannotStart(f"{folder} exists and is not a folder of root's own.") from None
    return folder


def _copy(base: Path, parts: Sequence[str], twin: Path) -> None:
    """Copy under another name first: half a copy is never taken for a whole one."""
    with tempfile.TemporaryDirectory(dir=twin.parent) as scratch:
        draft = Path(scratch) / twin.name
        draft.mkdir()
        for part in parts:
            if (base / part).is_dir():
                leave_out = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(base / part, draft / part, symlinks=True, ignore=leave_out)
            elif (base / part).exists():
                shutil.copy(base / part, draft / part)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            draft.rename(twin)
        except OSError:
            if not twin.exists():  # else another run was quicker
                raise
