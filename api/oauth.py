"""`/token`: a client's id and secret become an access token (OAuth 2 client credentials).

As the 1EdTech Security Framework has it: HTTP Basic, the scopes in the form, granted are those that
were asked for and that the client has, and every refusal is a 400 in the words of RFC 6749. Two
settings meet consumers and checks that hold otherwise.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_plus

import structlog
from falcon.asgi import Request, Response
from psycopg.rows import DictRow

from api.addresses import networks_of, within
from api.audit_entries import Speaker
from api.credentials import SQL, counted_as
from api.database import Connection, Database
from api.form import dump
from api.openapi import answers
from api.openapi.described import Body, described
from api.rates import Rates, Wanted
from api.tokens import Tokens
from schemas.errors import OAuthRefused, TooLarge
from schemas.scopes import CLIENT_SCOPES, opened
from schemas.secrets import Vault, parse_key

FORM = "application/x-www-form-urlencoded"
BODY_MAX = 16 * 1024  # bytes; every scope there is takes a tenth of it
FIELDS_MAX = 16

log = structlog.get_logger()


ASKED = {
    "type": "object",
    "properties": {
        "grant_type": {"type": "string", "enum": ["client_credentials"]},
        "scope": {"type": "string", "minLength": 1, "description": "Scopes with blanks between."},
        "client_id": {"type": "string", "description": "Where Basic is not used."},
        "client_secret": {"type": "string", "description": "Where Basic is not used."},
    },
    "required": ["grant_type", "scope"],
}
"""The fields of the form; a client shows itself in the form only where that is switched on."""


class UnsupportedGrant(OAuthRefused):
    """The only grant is client_credentials."""

    code = "unsupported_grant_type"


class InvalidScope(OAuthRefused):
    """None of the scopes is both asked for and granted to this client."""

    code = "invalid_scope"


class InvalidClient(OAuthRefused):
    """The client is unknown, disabled or its secret is wrong."""

    code = "invalid_client"


class UnauthorisedClient(InvalidClient):
    """The client is unknown, disabled or its secret is wrong."""

    status = 401


class Presented(NamedTuple):
    """Who a client says it is."""

    client: str
    secret: str


@dataclass(frozen=True, slots=True)
class Manners:
    """What the settings say of this endpoint."""

    rate_limit: int
    in_body: bool
    refusal: int


class Token:
    """`/token`."""

    needs = None  # the credential is in the request itself

    def __init__(
        self, database: Database, vault: Vault, tokens: Tokens, rates: Rates, manners: Manners
    ) -> None:
        self._database = database
        self._vault = vault
        self._tokens = tokens
        self._rates = rates
        self._manners = manners

    @described(answers.AccessToken, body=Body({FORM: ASKED}), refusals=(401, 413))
    async def on_post(self, req: Request, resp: Response) -> None:
        """Give a token for some of the client's scopes."""
        form = await read_form(req)
        if form.get("grant_type") is None:
            raise OAuthRefused("grant_type is missing.")
        if form["grant_type"] != "client_credentials":
            raise UnsupportedGrant
        row = await self._client(req, self._presented(req, form))
        limit = row["rate_limit"] or self._manners.rate_limit
        await self._rates.spend(req, resp, Wanted(counted_as(row), limit))
        scopes = granted(form.get("scope", "").split(), row["scopes"])
        token = self._tokens.sign(
            tenant_id=row["tenant_id"],
            client=row["client"],
            secret=row["secret"],
            epoch=row["epoch"],
            scopes=scopes,
        )
        log.info("token_given", client=row["client"], secret_id=row["secret"])
        resp.content_type = "application/json;charset=UTF-8"
        resp.set_headers([("Cache-Control", "no-store"), ("Pragma", "no-cache")])
        resp.data = dump(
            {
                "access_token": token,
                "token_type": "bearer",
                "expires_in": self._tokens.lifetime,
                "scope": " ".join(scopes),
            }
        )

    def _presented(self, req: Request, form: Mapping[str, str]) -> Presented:
        """Id and secret by HTTP Basic, or from the form where that is switched on."""
        by_header = basic(req.get_header("Authorization"))
        in_form = "client_secret" in form
        if by_header and in_form:
            raise OAuthRefused("A client authenticates in one way only.")
        if in_form and self._manners.in_body:
            return Presented(form.get("client_id", ""), form["client_secret"])
        if by_header is None:
            raise self._no_client("Authenticate with HTTP Basic.")
        return by_header

    async def _client(self, req: Request, presented: Presented) -> DictRow:
        """The client that this is the secret of; the audit of its district is told who asked."""
        key, address = parse_key(presented.secret), req.context.address
        if "\0" in presented.client:
            raise self._no_client()
        async with self._database.lookup() as connection:
            row = None
            if key is not None and key.kind == "secret":
                cursor = await connection.execute(SQL["secrets"], [presented.client, key.id])
                rows = await cursor.fetchall()
                row = next((row for row in rows if self._vault.verifies(key, row["hash"])), None)
            if row is None:
                req.context.speaker = await claimed(connection, presented.client)
                raise self._no_client()
            req.context.speaker = Speaker(row["tenant_id"], "client", row["client"], row["secret"])
            networks = networks_of(tuple(row["networks"]))
            if networks and (address is None or not within(address, networks)):
                raise self._no_client("This client may not ask from this address.")
            await connection.execute(SQL["touch_secret"], row)
        return row

    def _no_client(self, message: str = "") -> InvalidClient:
        kinds = (InvalidClient, UnauthorisedClient)
        kind = next(kind for kind in kinds if kind.status == self._manners.refusal)
        return kind(message)


async def claimed(connection: Connection, client: str) -> Speaker | None:
    """Somebody who was not let in, in the district of the client that he says he is."""
    row = await (await connection.execute(SQL["district_of"], [client])).fetchone()
    return None if row is None else Speaker(row["tenant_id"], "anonymous", row["id"])


async def read_form(req: Request) -> dict[str, str]:
    """The fields of the body, each of which may be there once."""
    if (req.content_type or "").partition(";")[0].strip().lower() != FORM:
        raise OAuthRefused(f"Send the fields as {FORM}.")
    if (req.content_length or 0) > BODY_MAX:
        raise TooLarge(limit=BODY_MAX)
    body = await req.stream.read(BODY_MAX + 1)
    if len(body) > BODY_MAX:
        raise TooLarge(limit=BODY_MAX)
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise OAuthRefused("The body is not a form.") from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise OAuthRefused("A field is there more than once.")
    return {name: value for name, value in fields.items() if value}


def basic(header: str | None) -> Presented | None:
    """The credentials of HTTP Basic, each form-encoded within (RFC 6749, 2.3.1)."""
    scheme, _, credentials = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    client, colon, secret = text.partition(":")
    return Presented(unquote_plus(client), unquote_plus(secret)) if colon else None


def granted(asked: Iterable[str], owned: Iterable[str]) -> list[str]:
    """What was asked for, in that order, as far as the client has it."""
    may = opened(owned) & {*CLIENT_SCOPES}
    scopes = [scope for scope in dict.fromkeys(asked) if scope in may]
    if not scopes:
        raise InvalidScope
    return scopes
