"""Keys and removal of objects, for those who let files go."""

import obstore
from obstore.exceptions import NotFoundError
from obstore.store import ObjectStore


def keys(store: ObjectStore, prefix: str) -> list[str]:
    """The keys of the objects below a prefix."""
    return [each["path"] for page in obstore.list(store, prefix=prefix) for each in page]


def remove(store: ObjectStore, key: str) -> bool:
    """Delete an object; one that is not there is not missed. Answers whether it was there."""
    try:
        obstore.delete(store, key)
    except (NotFoundError, FileNotFoundError):
        return False
    return True
