"""Access tokens: short-lived JWTs (RFC 9068) that this installation signs for itself.

One algorithm, keys derived from the configured secrets (the newest signs, all of them verify), and
every claim is required. A token says who asked, never what that client may do by now: whether the
client lives, and with which scopes, is looked up whenever the token is used.
"""

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import uuid4

import jwt
from jwt.utils import base64url_decode, base64url_encode

from schemas.errors import Unauthorised
from schemas.secrets import Vault

ALGORITHM = "HS256"
KIND = "at+jwt"
PURPOSE = "access-token"
CLAIMS = [
    "iss",
    "aud",
    "sub",
    "iat",
    "exp",
    "jti",
    "client_id",
    "tenant",
    "secret",
    "epoch",
    "scope",
]
KNOWN = 4096  # tokens whose signature need not be computed again


class Claims(NamedTuple):
    """What a token says."""

    tenant_id: int
    client: str
    secret: str  # the id of the one that it was asked for with
    epoch: int
    scopes: tuple[str, ...]
    expires: int


class Tokens:
    """Signs and reads the tokens of one installation."""

    def __init__(self, vault: Vault, issuer: str, lifetime: int) -> None:
        self.lifetime = lifetime
        self._keys = vault.derive(PURPOSE)
        self._issuer = issuer
        self._verified = lru_cache(maxsize=KNOWN)(self._verify)

    def sign(
        self, *, tenant_id: int, client: str, secret: str, epoch: int, scopes: Iterable[str]
    ) -> str:
        """A new token."""
        now = int(time.time())
        claims = {
            "iss": self._issuer,
            "aud": self._issuer,
            "sub": client,
            "client_id": client,
            "tenant": tenant_id,
            "secret": secret,
            "epoch": epoch,
            "scope": " ".join(scopes),
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + self.lifetime,
        }
        return jwt.encode(claims, self._keys[0], ALGORITHM, headers={"typ": KIND})

    def read(self, token: str) -> Claims:
        """What a good token says; any other one is refused."""
        return living(self._verified(token))  # what it refuses is not remembered

    def _verify(self, token: str) -> Claims:
        if not is_canonical(token):
            raise Unauthorised
        for key in self._keys:
            try:
                found = jwt.decode_complete(
                    token,
                    key,
                    algorithms=[ALGORITHM],
                    audience=self._issuer,
                    issuer=self._issuer,
                    # The clock of the machine that signed may be ahead of ours.
                    options={"require": CLAIMS, "verify_iat": False, "strict_aud": True},
                )
            except jwt.InvalidSignatureError:
                continue
            except jwt.PyJWTError as error:
                raise Unauthorised from error
            return claims_of(found)
        raise Unauthorised


def living(claims: Claims) -> Claims:
    """What a token says; one that has expired is refused."""
    if claims.expires <= time.time():
        raise Unauthorised
    return claims


def is_canonical(token: str) -> bool:
    """Whether the signature is written as we write it: base64 has other ways to say the same."""
    signature = token.rpartition(".")[2]
    try:
        return base64url_encode(base64url_decode(signature)).decode() == signature
    except ValueError:
        return False


def claims_of(found: dict[str, Any]) -> Claims:
    """The claims of a token that we have signed."""
    if found["header"].get("typ") != KIND:
        raise Unauthorised
    said = found["payload"]
    return Claims(
        tenant_id=said["tenant"],
        client=said["sub"],
        secret=said["secret"],
        epoch=said["epoch"],
        scopes=tuple(said["scope"].split()),
        expires=said["exp"],
    )
