"""Secrets that have to be read again are kept sealed, under keys derived from the configured one.

A sealed secret names what it belongs to, so that one cannot be put in another's place. After the
configured secret has changed, what was sealed under the old one still opens as long as that stands
in the list, and `renewed` seals it anew.
"""

from base64 import urlsafe_b64encode
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from schemas.secrets import Vault


class BrokenSeal(Exception):
    """It was sealed with a secret that is not configured any more, or for something else."""


class Seal:
    """Seals for one purpose."""

    def __init__(self, vault: Vault, purpose: str) -> None:
        self._keys = [Fernet(urlsafe_b64encode(key)) for key in vault.derive(purpose)]
        self._all = MultiFernet(self._keys)

    def close(self, owner: UUID, secret: bytes) -> bytes:
        """The secret, sealed for its owner."""
        return self._all.encrypt(owner.bytes + secret)

    def open(self, owner: UUID, sealed: bytes) -> bytes:
        """The secret again; raises BrokenSeal."""
        try:
            plain = self._all.decrypt(sealed)
        except InvalidToken as error:
            raise BrokenSeal from error
        head, secret = plain[: len(owner.bytes)], plain[len(owner.bytes) :]
        if head != owner.bytes:
            raise BrokenSeal
        return secret

    def renewed(self, owner: UUID, sealed: bytes) -> bytes | None:
        """The same under the newest key; None: it is, or cannot be opened."""
        try:
            self._keys[0].decrypt(sealed)
        except InvalidToken:
            try:
                return self.close(owner, self.open(owner, sealed))
            except BrokenSeal:
                return None
        return None
