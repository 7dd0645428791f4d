"""Lookup tables of a district: what a value of the source becomes, by name, replaced as a whole.

A table that a mapping in use names cannot go, nor change so that the mapping could not be saved
any more.
"""

from http import HTTPStatus
from typing import Literal, Self

from falcon.asgi import Request, Response
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from api.bodies import read_json
from api.caller import caller_of, permit
from api.database import Connection, Database
from api.form import send
from api.mappings import CHANGE, READ, SQL, Json, all_tables, refuse_faulty, users_of
from api.openapi import answers
from api.openapi.described import Listed, described
from schemas.errors import Conflict, Missing, Rejected
from schemas.mappings import Entries, TableName

NAME: TypeAdapter[str] = TypeAdapter(TableName)
TABLES_MAX = 200


class NoSuchTable(Missing):
    """There is no lookup table with this name."""


class BadName(Rejected):
    """A table's name has 1 to 63 of the signs a-z 0-9 - _ and begins with a letter or digit."""


class TableInUse(Conflict):
    """A mapping in use names the table."""

    code = "table_in_use"


class NewTable(BaseModel):
    """The entries of a table, or where the hub should take them from."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    entries: Entries | None = None
    source: Literal["schools"] | None = Field(default=None, alias="from")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.entries is None) == (self.source is None):
            raise ValueError("give entries, or say from")
        return self


class Tables:
    """`/api/v1/mappings/lookups`."""

    needs = READ

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(Listed(answers.TableListed))
    async def on_get(self, req: Request, resp: Response) -> None:
        """Every table, with the number of its entries."""
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            cursor = await connection.execute(SQL["list_tables"], [tenant_id])
            send(resp, {"items": await cursor.fetchall(), "next": None})


class Table:
    """`/api/v1/mappings/lookups/{name}`."""

    needs = READ

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(answers.TableShown, refusals=(422,))
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        """One table with its entries."""
        tenant_id = caller_of(req).tenant
        key = {"tenant_id": tenant_id, "name": checked(name)}
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            cursor = await connection.execute(SQL["table"], key)
            row = await cursor.fetchone()
        if row is None:
            raise NoSuchTable
        send(resp, row)

    @described(answers.TableShown, body=NewTable, refusals=(409,), needs=CHANGE)
    async def on_put(self, req: Request, resp: Response, name: str) -> None:
        """Make the table, or replace its entries; `from: schools` takes the district's schools."""
        caller = caller_of(req)
        permit(caller, CHANGE)
        key = {"tenant_id": caller.tenant, "name": checked(name)}
        new = await read_json(req, NewTable, self._json_max)
        async with self._database.tenant(caller.tenant) as connection:
            await connection.execute(SQL["take_turns"], [caller.tenant])
            entries = new.entries or await schools(connection, caller.tenant)
            await refuse_unfit(connection, key, entries)
            values = {"entries": Jsonb(entries), "updated_by": caller.key_id}
            cursor = await connection.execute(SQL["put_table"], key | values)
            send(resp, await cursor.fetchone())

    @described(status=204, refusals=(409, 422), needs=CHANGE)
    async def on_delete(self, req: Request, resp: Response, name: str) -> None:
        """Remove a table that no mapping needs."""
        caller = caller_of(req)
        permit(caller, CHANGE)
        key = {"tenant_id": caller.tenant, "name": checked(name)}
        async with self._database.tenant(caller.tenant) as connection:
            await connection.execute(SQL["take_turns"], [caller.tenant])
            cursor = await connection.execute(SQL["current"], [caller.tenant])
            users = [entity for entity, _ in users_of(name, await cursor.fetchall())]
            if users:
                raise TableInUse(f"In use by the mapping of {', '.join(users)}.", entities=users)
            cursor = await connection.execute(SQL["delete_table"], key)
            if cursor.rowcount == 0:
                raise NoSuchTable
        resp.status = HTTPStatus.NO_CONTENT


def checked(name: str) -> str:
    """A name that a table may have."""
    try:
        return NAME.validate_python(name)
    except ValidationError as error:
        raise BadName(errors=[{"field": "name", "detail": "does not look like a name"}]) from error


async def schools(connection: Connection, tenant_id: int) -> dict[str, str]:
    """The sourcedId of each school by its code, from what the district has stored."""
    cursor = await connection.execute(SQL["schools"], [tenant_id])
    found = {row["identifier"]: row["sourced_id"] for row in await cursor.fetchall()}
    if not found:
        raise Rejected(
            "The district has no school with a code yet.",
            errors=[{"field": "from", "detail": "no school has an identifier"}],
        )
    return found


async def refuse_unfit(connection: Connection, key: Json, entries: dict[str, str]) -> None:
    """Refuse entries with which a mapping in use could not be saved."""
    tables = dict(await all_tables(connection, key["tenant_id"])) | {key["name"]: entries}
    if len(tables) > TABLES_MAX:
        raise Conflict(f"A district has {TABLES_MAX} lookup tables at most.")
    cursor = await connection.execute(SQL["current"], [key["tenant_id"]])
    for entity, mapping in users_of(key["name"], await cursor.fetchall()):
        refuse_faulty(entity, mapping, tables)
