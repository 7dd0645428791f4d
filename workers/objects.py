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
    """Copy the object in constant memory; raises Damaged where it is missing or differs."""
    digest, done = hashlib.sha256(), 0
    try:
        with target.open("wb") as out:
            for chunk in obstore.get(store, key).stream(min_chunk_size=PIECE):
                digest.update(chunk)
                done += out.write(chunk)
    except (NotFoundError, FileNotFoundError) as error:
        raise Damaged from error
    if done != size or digest.digest() != sha256:
        raise Damaged
