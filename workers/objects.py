"""Bring an upload from the object store to a local file, and prove that it is whole."""

import hashlib
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


def fetch(store: ObjectStore, key: str, target: Path, *, size: int, sha256: bytes) -> None:
    """Bring the object to a file of ours; raises Damaged where it is missing or differs."""
    try:
        if not linked(store, key, target):
            copy(store, key, target)
    except (NotFoundError, FileNotFoundError) as error:
        raise Damaged from error
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").digest()
    if target.stat().st_size != size or found != sha256:
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
