"""Become a server: give up root, ask to be told when the parent dies, then run the program.

A script between the parent and the server, because each step has its trap: code between fork and
exec is not safe in a process with threads; the kernel forgets the request when the account changes;
and once root is given up, the parent's Python may be out of reach. It runs alone, so it imports
nothing of ours.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(account: str, last_signal: str, parent: str, *server: str) -> None:
    """Run `server` as `account` ("uid:gid" or nothing), with `last_signal` when `parent` dies."""
    if account:
        _become(*map(int, account.split(":")))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(last_signal))
        if os.getppid() != int(parent):
            sys.exit("The parent died first.")
    os.umask(0o077)
    os.execv(server[0], server)  # noqa: S606 -- no shell is wanted


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


if __name__ == "__main__":
    main(*sys.argv[1:])
