"""Secrets: one setting derives every key, and no secret is stored as it is.

`ROSTERHUB_SECRET_KEY` is a comma list, newest first: new hashes use the first, old ones still
verify (architecture D16). An API key is `rh_<kind>_<id>_<secret>_<checksum>`: the checksum lets
a scanner tell a leaked key from noise, and the id is what the database looks up. The secret with
which a client asks for tokens has the same shape and opens nothing else.
"""

import hashlib
import hmac
import secrets
import string
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ALPHABET = string.digits + string.ascii_letters
SIGNS = frozenset(ALPHABET)
KeyKind = Literal["live", "admin", "secret"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The parts of a key as its holder has it."""

    kind: KeyKind
    id: str
    secret: str

    def __str__(self) -> str:
        body = f"rh_{self.kind}_{self.id}_{self.secret}"
        return f"{body}_{checksum(body)}"


def new_key(kind: KeyKind) -> ApiKey:
    """A fresh key of 256 random bits."""
    return ApiKey(kind, random_text(12), random_text(43))


def random_text(length: int) -> str:
    """Base 62 text."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def parse_key(text: str) -> ApiKey | None:
    """The parts of a well-formed key; a wrong checksum needs no look-up."""
    body, _, check = text.rpartition("_")
    match body.split("_"):
        case ["rh", ("live" | "admin" | "secret") as kind, identifier, secret] if checksum(
            body
        ) == check and SIGNS.issuperset(identifier + secret):
            return ApiKey(kind, identifier, secret)
        case _:
            return None


def checksum(text: str) -> str:
    """Eight hexadecimal digits of CRC-32."""
    return f"{zlib.crc32(text.encode()):08x}"


class Vault:
    """Keys derived from the configured secrets, newest first."""

    def __init__(self, configured: str) -> None:
        self._secrets: Sequence[bytes] = [part.strip().encode() for part in configured.split(",")]
        if any(len(secret) < MINIMUM for secret in self._secrets):
            raise WeakSecret
        self._peppers = self.derive(HASHING)

    def derive(self, purpose: str) -> list[bytes]:
        """One 32-byte key per configured secret for this purpose."""
        return [hmac.digest(secret, purpose.encode(), "sha256") for secret in self._secrets]

    def hash(self, key: ApiKey) -> bytes:
        """What is stored of a key."""
        return keyed(self._peppers[0], key)

    def verifies(self, key: ApiKey, stored: bytes) -> bool:
        """Whether the key is the one that was stored; takes the same time either way."""
        hashes = [keyed(pepper, key) for pepper in self._peppers]
        return sum(hmac.compare_digest(candidate, stored) for candidate in hashes) > 0


HASHING = "api-key"
MINIMUM = 32


def keyed(pepper: bytes, key: ApiKey) -> bytes:
    """The keyed hash of a key's secret. 256 random bits need no slow hash (reliability 4.2)."""
    return hmac.digest(pepper, f"{key.kind}:{key.id}:{key.secret}".encode(), hashlib.sha256)


class WeakSecret(Exception):
    """ROSTERHUB_SECRET_KEY needs at least 32 characters per secret."""
