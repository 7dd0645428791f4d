"""The documents of heads in the object store (schemas/heads.py): add, read, forget."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from schemas.audit import Head
from schemas.heads import FOLDER, Document, Removed, digest, key_of, number_of
from schemas.secrets import Vault


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


class Heads:
    """The documents in one store, signed with our secret."""

    def __init__(
        self, store: ObjectStore, vault: Vault, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._vault = vault
        self._now = now
        self._last: tuple[int, str | None] = (0, None)

    def put(self, heads: Sequence[Head], removed: Sequence[Removed] = ()) -> int:
        """Store a document behind the last one; another process may be about to do the same."""
        while True:
            number, previous = self._newest()
            document = Document(
                number=number + 1,
                made_at=self._now(),
                previous=previous,
                heads=tuple(heads),
                removed=tuple(removed),
            )
            data = document.signed(self._vault).model_dump_json().encode()
            try:
                obstore.put(self._store, key_of(document.number), data, mode="create")
            except AlreadyExistsError:
                continue
            self._last = (document.number, digest(data))
            return document.number

    def _newest(self) -> tuple[int, str | None]:
        """The last document's number and hash; one that is gone and that we remember counts."""
        newer = max((number for number, _ in self._listed(self._last[0])), default=0)
        if newer:
            self._last = (newer, digest(self._get(newer)))
        return self._last

    def all(self) -> Iterator[tuple[int, bytes]]:
        """Every document, in the order of their numbers."""
        for number in sorted(number for number, _ in self._listed()):
            yield number, self._get(number)

    def forget(self, before: datetime) -> None:
        """Delete the documents that were stored before an instant; the last one is gone on from."""
        stored = sorted(self._listed())
        for number, at in stored[:-1]:
            if at < before:
                obstore.delete(self._store, key_of(number))

    def _get(self, number: int) -> bytes:
        return bytes(obstore.get(self._store, key_of(number)).bytes())

    def _listed(self, behind: int = 0) -> Iterator[tuple[int, datetime]]:
        """The numbers that there are, in no order, and when each was stored."""
        offset = key_of(behind) if behind else None
        for page in obstore.list(self._store, prefix=FOLDER, offset=offset):
            for each in page:
                if (number := number_of(each["path"])) is not None:
                    yield number, each["last_modified"]
