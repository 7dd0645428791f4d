"""Pseudonyms: what stands in for the identifiers and names of people before one client.

A client always gets the same pseudonym for the same person, and two clients never do, so that what
one of them holds cannot be matched with what another holds. Nothing is stored for it: identifiers
are encrypted with a key of the client (AES-SIV: the same text always gives the same pseudonym, and
whoever lacks the key can neither read nor make one), so a request that names a pseudonym finds its
record. Names are not meant to be found again: they are made up from a keyed hash of the identifier.

The key comes from the *oldest* of the configured secrets: a new one in front changes nobody's
pseudonyms, taking the oldest away changes all of them.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from schemas.columns import Column, Key, Ref, Refs
from schemas.lens import NAMES, PEOPLE, Lens
from schemas.roster import BY_FILE, BY_TABLE, AnyEntity
from schemas.roster.people import User, UserProfile
from schemas.secrets import Vault

Row: TypeAlias = Mapping[str, Any]

MARK = "p_"
"""Begins every pseudonym of an identifier. A hyphen, which base 64 may begin with, would make a
spreadsheet take it for a formula."""

PEOPLE_FILES = frozenset(entity.file for entity in PEOPLE)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one client."""

    identifiers: AESSIV
    names: bytes


def keys_of(vault: Vault, tenant_id: int, client: str) -> Keys:
    """Keys that no other client has."""
    whose = f"{tenant_id}:{client}"
    return Keys(
        AESSIV(vault.derive(f"pseudonyms.identifiers:{whose}")[-1]),
        vault.derive(f"pseudonyms.names:{whose}")[-1],
    )


class Pseudonyms:
    """The pseudonyms of one client, as far as its lens asks for them."""

    def __init__(self, keys: Keys, lens: Lens) -> None:
        self._keys = keys
        self._identifiers = "sourcedIds" in lens.pseudonyms
        self._names = "names" in lens.pseudonyms

    def covers(self, file: str) -> bool:
        """Whether identifiers of records of the file are replaced."""
        return self._identifiers and file in PEOPLE_FILES

    def shown(self, file: str, sourced_id: str) -> str:
        """What the client knows the record by."""
        if not self.covers(file):
            return sourced_id
        sealed = self._keys.identifiers.encrypt(sourced_id.encode(), [file.encode()])
        return MARK + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def of(self, entity: AnyEntity, sourced_id: str) -> str:
        """The same of the entity's own identifier, which may be that of another file."""
        return self.shown(points_to(entity.sourced_id) or entity.file, sourced_id)

    def real(self, file: str, named: str) -> str | None:
        """The record that a client means; None: there is none that it could know."""
        if not self.covers(file):
            return named
        text = named.removeprefix(MARK)
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            real = self._keys.identifiers.decrypt(sealed, [file.encode()]).decode()
        except (binascii.Error, ValueError, InvalidTag):
            return None
        return real if self.shown(file, real) == named else None

    def row(self, entity: AnyEntity, row: Row) -> dict[str, Any]:
        """A record as the client gets it: a row of the table with pseudonyms in it."""
        veiled = dict(row)
        for column, file in identifiers(entity.file):
            if veiled.get(column) and self.covers(file):
                veiled[column] = self._identifier(file, veiled[column])
        if self._names and entity in PERSON:
            person = row[PERSON[entity]]
            for named in spelled(entity.file):
                if veiled.get(named.name):
                    veiled[named.name] = self._name(named, person)
        return veiled

    def _identifier(self, file: str, value: str | list[str]) -> str | list[str]:
        if isinstance(value, str):
            return self.shown(file, value)
        return [self.shown(file, each) for each in value]

    def _name(self, column: Column, person: str) -> str:
        """The same for every spelling of a name, so that a person has one name throughout."""
        kind = NAMES[column]
        digest = hmac.digest(self._keys.names, f"{kind}:{person}".encode(), "sha256")
        if kind == LOGIN:
            text = base64.b32encode(digest[:10]).decode().lower()
            return f"{text}@{ADDRESSES}" if column == User.email else text
        return "".join(SOUNDS[byte % len(SOUNDS)] for byte in digest[:SYLLABLES]).capitalize()


PERSON: Mapping[AnyEntity, str] = {
    User: User.sourced_id.name,
    UserProfile: UserProfile.user_sourced_id.name,
}
"""The column that says whose names a record has."""

LOGIN = "username"
ADDRESSES = "pseudonym.invalid"
"""No mail is ever delivered to a name that ends this way (RFC 2606)."""

SYLLABLES = 4
SOUNDS = tuple(f"{consonant}{vowel}" for consonant in ("", *"kstnhmyrw") for vowel in "aiueo")
"""Made-up names can be said aloud."""


@cache
def identifiers(file: str) -> tuple[tuple[str, str], ...]:
    """The columns of an entity that hold identifiers, and of which file."""
    found = ((column.name, points_to(column)) for column in BY_FILE[file].stored())
    return tuple((name, to) for name, to in found if to is not None)


@cache
def spelled(file: str) -> tuple[Column, ...]:
    """The columns of an entity that spell a name."""
    return tuple(column for column in BY_FILE[file].stored() if column in NAMES)


def points_to(column: Column) -> str | None:
    """The file whose identifiers the column holds."""
    match column:
        case Key():
            return column.to or BY_TABLE[column.entity].file
        case Ref() | Refs():
            return column.to
        case _:
            return None
