"""Signed addresses: whoever has one may fetch one file, for a while, without a key.

A ticket names the district, the file, the instant at which it ends and who asked for it, to whom a
download is put down in the audit. It is signed with a key that is derived from the hub's secret
(`schemas.secrets.Vault`): nothing of it is stored.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from schemas.secrets import Vault

PURPOSE = "download"
BODY = struct.Struct(">i16sq")  # tenant, id, seconds since 1970
DIGEST = "sha256"
SIGNATURE = 32
END = "\n"
ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What its holder may fetch, and until when.

    `key_id` is the key that asked for it, of a `client` or of an administrator where it is theirs.
    """

    tenant_id: int
    id: UUID
    until: datetime
    key_id: str = ""
    client: str | None = None
    administrator: bool = False

    @property
    def body(self) -> bytes:
        """What is signed."""
        said = (self.key_id, self.client or "", ADMINISTRATOR if self.administrator else "")
        known = END.join(said).encode()
        return BODY.pack(self.tenant_id, self.id.bytes, int(self.until.timestamp())) + known


def issue(vault: Vault, ticket: Ticket) -> str:
    """The ticket as text for an address."""
    signed = ticket.body + hmac.digest(vault.derive(PURPOSE)[0], ticket.body, DIGEST)
    return base64.urlsafe_b64encode(signed).decode().rstrip("=")


def read(vault: Vault, text: str) -> Ticket | None:
    """The ticket; None where it was not issued here. Whether it has ended, the reader looks."""
    try:
        signed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    if len(signed) < BODY.size + SIGNATURE:
        return None
    body, signature = signed[:-SIGNATURE], signed[-SIGNATURE:]
    made = [hmac.digest(key, body, DIGEST) for key in vault.derive(PURPOSE)]
    if sum(hmac.compare_digest(signature, each) for each in made) == 0:
        return None
    tenant_id, name, seconds = BODY.unpack_from(body)
    key_id, client, kind = body[BODY.size :].decode().split(END)
    return Ticket(
        tenant_id,
        UUID(bytes=name),
        datetime.fromtimestamp(seconds, UTC),
        key_id,
        client or None,
        kind == ADMINISTRATOR,
    )
