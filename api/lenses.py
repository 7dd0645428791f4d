"""What a client sees: its lens, read and changed as one document, and explained for a record.

A change holds from the next request on, and raises the revision, by which caches and cursors know
that the client sees other things than before. The revision that was read, sent back in the document
or as the tag in `If-Match`, refuses a change that would undo somebody else's.
"""

from typing import Any, TypeAlias

import orjson
from falcon.asgi import Request, Response
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from api.bodies import parsed, read, refusal
from api.caller import SETTINGS, caller_of
from api.database import Connection, Database
from api.districts import searchable
from api.explaining import Judge
from api.form import send
from api.openapi import answers
from api.openapi.described import IF_MATCH, Listed, a_text, a_word, described
from api.policy import dumped
from api.words import among
from schemas.errors import BadRequest, Missing, Outdated, Rejected
from schemas.lens import Lens
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.roster import BY_FILE, ROSTERING
from schemas.secrets import Vault
from schemas.statements import load

SQL = load("api", "lenses.sql")
FILES = tuple(entity.file for entity in ROSTERING)
REVISION, UNKNOWN = "revision", "unknown_schools"
"""What an answer says beside the lens."""

Json: TypeAlias = dict[str, Any]


class NoSuchClient(Missing):
    """There is no client with this id."""


class ClientLens:
    """`/api/v1/clients/{client_id}/lens`."""

    needs = SETTINGS

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(answers.LensDocument, headers=("ETag",))
    async def on_get(self, req: Request, resp: Response, client_id: str) -> None:
        """The whole lens, with what it leaves open."""
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            row = await row_of(connection, "lens", tenant_id, client_id)
            await show(resp, connection, tenant_id, row)

    @described(
        answers.LensDocument,
        query=(IF_MATCH,),
        body=answers.LensDocument,
        refusals=(412,),
        headers=("ETag",),
    )
    async def on_put(self, req: Request, resp: Response, client_id: str) -> None:
        """Decide everything anew; what the body leaves out goes back to its default."""
        said = await self._said(req)
        lens = lens_of(said)
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id) as connection:
            row = await row_of(connection, "hold", tenant_id, client_id)
            refuse_outdated(req, said, row)
            if Lens.model_validate(row["lens"]) != lens:
                kept = Jsonb(lens.model_dump(mode="json", exclude_defaults=True))
                row = await row_of(connection, "change", tenant_id, client_id, lens=kept)
            await show(resp, connection, tenant_id, row)

    async def _said(self, req: Request) -> Json:
        value = parsed(await read(req, self._json_max))
        if not isinstance(value, dict):
            raise Rejected("The body is an object.")
        return value


class LensExplained:
    """`/api/v1/clients/{client_id}/lens/explain`."""

    needs = SETTINGS

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    @described(
        Listed(answers.Explained),
        query=(
            a_text("sourcedId", "The record.", required=True),
            a_word("entity", FILES, "Of this entity alone."),
        ),
    )
    async def on_get(self, req: Request, resp: Response, client_id: str) -> None:
        """Why the client sees a record or does not, for each entity that has this sourcedId.

        The record is named by its own sourcedId, or by the pseudonym that the client knows it by.
        """
        named = req.get_param("sourcedId")
        if not named or "\0" in named:
            raise BadRequest("sourcedId names the record to explain.", field="sourcedId")
        file = among(req, "entity", FILES)
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            row = await row_of(connection, "lens", tenant_id, client_id)
            lens = Lens.model_validate(row["lens"])
            veil = Pseudonyms(keys_of(self._vault, tenant_id, client_id), lens)
            judge = Judge(connection, tenant_id, lens, veil)
            found = [
                await judge.explained(BY_FILE[each], named)
                for each in FILES
                if file in (None, each)
            ]
        items = [item for item in found if item is not None]
        if not items:
            raise Missing
        send(resp, {"items": items, "next": None})


async def row_of(
    connection: Connection, statement: str, tenant_id: int, client_id: str, **values: object
) -> DictRow:
    """The lens of a client as it is stored."""
    key = {"tenant_id": tenant_id, "client_id": searchable(client_id), **values}
    cursor = await connection.execute(SQL[statement], key)
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchClient
    return row


def lens_of(said: Json) -> Lens:
    """The lens that a client means; a value that does not fit is named."""
    own = {name: value for name, value in said.items() if name not in (REVISION, UNKNOWN)}
    try:
        return Lens.model_validate_json(orjson.dumps(own), strict=True)
    except ValidationError as error:
        raise refusal(error) from error


def refuse_outdated(req: Request, said: Json, row: DictRow) -> None:
    """Refuse a change of what somebody else has changed since it was read."""
    wanted = req.if_match
    if wanted is not None and "*" not in wanted and tag(row) not in map(dumped, wanted):
        raise Outdated
    if said.get(REVISION, row["lens_revision"]) != row["lens_revision"]:
        raise Outdated


def tag(row: DictRow) -> str:
    """The revision says which lens it is."""
    return f"lens-{row['lens_revision']}"


async def show(resp: Response, connection: Connection, tenant_id: int, row: DictRow) -> None:
    """Answer with the lens, its revision, and the schools in it that the roster does not know."""
    lens = Lens.model_validate(row["lens"])
    key = {"tenant_id": tenant_id, "schools": sorted(lens.schools or ())}
    cursor = await connection.execute(SQL["unknown_schools"], key)
    unknown = [found["school"] for found in await cursor.fetchall()]
    resp.etag = tag(row)
    told = {REVISION: row["lens_revision"], UNKNOWN: unknown}
    send(resp, lens.model_dump(mode="json") | told)
