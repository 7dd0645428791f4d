"""Heads of the audit, kept outside of the database: who can write every table cannot write these.

A document says how far the chains were at a time, and what retention takes of their beginnings. It
is numbered, names the hash of the document before it, and is signed with a key derived from
ROSTERHUB_SECRET_KEY; so one that is missing or altered is noticed.
"""

import hashlib
import hmac
from typing import NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict

from schemas.audit import Head, canonical
from schemas.secrets import Vault

FOLDER = "audit/heads"
PURPOSE = "audit-heads"


class Removed(NamedTuple):
    """Retention takes the entries of a chain up to this one, all of them older than these days."""

    tenant_id: int
    chain: str
    seq: int
    hash: str
    days: int


class Document(BaseModel):
    """One export."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    number: int
    made_at: AwareDatetime
    previous: str | None
    heads: tuple[Head, ...] = ()
    removed: tuple[Removed, ...] = ()
    signature: str = ""

    def signed(self, vault: Vault) -> "Document":
        """The same with its signature."""
        return self.model_copy(update={"signature": self._seal(vault.derive(PURPOSE)[0])})

    def is_of(self, vault: Vault) -> bool:
        """Whether one of the configured secrets has signed it."""
        seals = [self._seal(key) for key in vault.derive(PURPOSE)]
        return any(hmac.compare_digest(each, self.signature) for each in seals)

    def _seal(self, key: bytes) -> str:
        said = canonical(self.model_dump(mode="json", exclude={"signature"}))
        return hmac.new(key, said, hashlib.sha256).hexdigest()


def key_of(number: int) -> str:
    """Where a document lies: the order of names is that of numbers."""
    return f"{FOLDER}/{number:010d}.json"


def number_of(key: str) -> int | None:
    """The number of the document that lies there; None: it is none."""
    digits = key.removeprefix(f"{FOLDER}/").removesuffix(".json")
    return int(digits) if digits.isdecimal() and key_of(int(digits)) == key else None


def digest(data: bytes) -> str:
    """What the next document calls this one."""
    return hashlib.sha256(data).hexdigest()
