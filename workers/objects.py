"""Bring an upload from the object store to a local file, and prove that it is whole."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

PIECE = 4 * 1024 * 1024


class Damaged(Exception):
    """The stored bytes are not those that were uploaded."""


def open_store(location: str) -> ObjectStore:
    """The store behind a URL (s3://, gs://, az://) or a local folder."""
    if "://" in location:
        return from_url(location)
    return LocalStore(Path(location), mkdir=True)


@contextmanager
def fetched(
    store: ObjectStore, key: str, target: Path, *, size: int, sha256: bytes
) -> Iterator[Callable[[], None]]:
    """Bring the object to a file of ours, and prove that it is whole while it is read.

    What is yielded waits for the proof; nothing may come of what was read before. It raises Damaged
    where the object differs, and so does this at once where it is missing. Whatever its reader
    stumbles over may come of the damage, which is told instead.
    """
    bring(store, key, target)
    with ThreadPoolExecutor(1, thread_name_prefix="proof") as beside:
        proof = beside.submit(prove, target, size, sha256)
        try:
            yield proof.result
        except BaseException:
            proof.result()
            raise


def bring(store: ObjectStore, key: str, target: Path) -> None:
    """Bring the object to a file of ours; raises Damaged where it is missing."""
    try:
        if not linked(store, key, target):
            copy(store, key, target)
    except (NotFoundError, FileNotFoundError) as error:
        raise Damaged from error


def prove(path: Path, size: int, sha256: bytes) -> None:
    """Raises Damaged where these are not the bytes."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").digest()
    if path.stat().st_size != size or found != sha256:
        raise Damaged


def linked(store: ObjectStore, key: str, target: Path) -> bool:
    """Whether the object lies on the same disk and got a second name, which costs nothing."""
    if not isinstance(store, LocalStore) or store.prefix is None:
        return False
    try:
        target.hardlink_to(Path(store.prefix) / key)
    except FileNotFoundError:
        raise
    except OSError:  # another disk, or one without links
        return False
    return True


def copy(store: ObjectStore, key: str, target: Path) -> None:
    """Copy the object in constant memory."""
    with target.open("wb") as out:
        for chunk in obstore.get(store, key).stream(min_chunk_size=PIECE):
            out.write(chunk)
