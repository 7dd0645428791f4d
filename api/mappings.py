"""The mappings of a district: one for each entity, every save a version, back to any of them.

What is saved is checked whole before it is kept: a mapping that a worker would stumble over in the
night is refused here, with the path of every field that is wrong.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from falcon.asgi import Request, Response
from psycopg.types.json import Jsonb

from api.bodies import read_json
from api.caller import Needs, caller_of, permit
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Connection, Database
from api.form import send
from api.openapi import answers
from api.openapi.described import PAGED, Listed, described
from schemas.errors import Missing, Rejected
from schemas.mapping_checks import faults
from schemas.mappings import Direct, FileMapping, Tables, fingerprint
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.statements import load
from schemas.templates import TEMPLATES, Template

SQL = load("api", "mappings.sql")
PATH = "/api/v1/mappings"
READ = Needs("imports")
CHANGE = Needs("settings")
INT64 = 2**63
DIGITS = 19
SHOWN = 5  # faults in the sentence; the list beside it has them all

Json: TypeAlias = dict[str, Any]
Row: TypeAlias = Mapping[str, Any]


class NoSuchEntity(Missing):
    """There is no such entity."""


class NoSuchVersion(Missing):
    """The mapping has no version with this number."""


class NoSuchTemplate(Missing):
    """There is no template with this id."""


class Mappings:
    """`/api/v1/mappings`."""

    needs = READ

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(Listed(answers.MappingInUse))
    async def on_get(self, req: Request, resp: Response) -> None:
        """What is used for each entity."""
        tenant_id = caller_of(req).tenant
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            cursor = await connection.execute(SQL["current"], [tenant_id])
            found = {row["entity"]: row for row in await cursor.fetchall()}
            tables = await all_tables(connection, tenant_id)
        items = [brief(entity, found.get(entity.file), tables) for entity in ROSTERING]
        send(resp, {"items": items, "next": None})


class EntityMapping:
    """`/api/v1/mappings/{entity}`."""

    needs = READ

    def __init__(self, database: Database, json_max: int) -> None:
        self._database = database
        self._json_max = json_max

    @described(answers.MappingShown)
    async def on_get(self, req: Request, resp: Response, entity: str) -> None:
        """The mapping in use; where there is none, the default."""
        key = key_of(req, entity)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            row = await newest(connection, key)
            send(resp, await whole(connection, key, row))

    @described(answers.MappingShown, body=FileMapping, needs=CHANGE)
    async def on_put(self, req: Request, resp: Response, entity: str) -> None:
        """Save a mapping as the next version."""
        permit(caller_of(req), CHANGE)
        key = key_of(req, entity)
        mapping = await read_json(req, FileMapping, self._json_max)
        async with self._database.tenant(key["tenant_id"]) as connection:
            await connection.execute(SQL["take_turns"], [key["tenant_id"]])
            row = await save(connection, req, key, mapping)
            send(resp, await whole(connection, key, row))

    @described(status=204, needs=CHANGE)
    async def on_delete(self, req: Request, resp: Response, entity: str) -> None:
        """Go back to the default, as a version of its own."""
        permit(caller_of(req), CHANGE)
        key = key_of(req, entity)
        async with self._database.tenant(key["tenant_id"]) as connection:
            await connection.execute(SQL["take_turns"], [key["tenant_id"]])
            row = await newest(connection, key)
            if row is not None and row["mapping"] is not None:
                await save(connection, req, key, None)
        resp.status = HTTPStatus.NO_CONTENT


class StandardMapping:
    """`/ims/oneroster/v1p2/mappings/{entity_type}`: the same, at the address some clients know."""

    needs = READ

    def __init__(self, mapping: EntityMapping) -> None:
        self._mapping = mapping

    @described(answers.MappingShown)
    async def on_get(self, req: Request, resp: Response, entity_type: str) -> None:
        """The mapping in use; where there is none, the default."""
        await self._mapping.on_get(req, resp, entity_type)

    @described(answers.MappingShown, body=FileMapping, needs=CHANGE)
    async def on_put(self, req: Request, resp: Response, entity_type: str) -> None:
        """Save a mapping as the next version."""
        await self._mapping.on_put(req, resp, entity_type)


class Versions:
    """`/api/v1/mappings/{entity}/versions`."""

    needs = READ

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(Listed(answers.MappingVersion), query=PAGED)
    async def on_get(self, req: Request, resp: Response, entity: str) -> None:
        """Every version, newest first."""
        key, limit = key_of(req, entity), limit_of(req)
        page = {"before": before(req.get_param("cursor")), "limit": limit + 1}
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            cursor = await connection.execute(SQL["versions"], key | page)
            rows = await cursor.fetchall()
        last = [rows[limit - 1]["version"]] if len(rows) > limit else None
        kept = {"limit": req.get_param("limit")}
        send(
            resp,
            {
                "items": [listed(row) for row in rows[:limit]],
                "next": next_url(f"{PATH}/{entity}/versions", last, kept),
            },
        )


class Version:
    """`/api/v1/mappings/{entity}/versions/{version}`."""

    needs = READ

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(answers.MappingShown)
    async def on_get(self, req: Request, resp: Response, entity: str, version: str) -> None:
        """The mapping as it was saved then."""
        key = key_of(req, entity)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            row = await one(connection, key, version)
            send(resp, await whole(connection, key, row))


class Restore:
    """`/api/v1/mappings/{entity}/versions/{version}/restore`."""

    needs = READ

    def __init__(self, database: Database) -> None:
        self._database = database

    @described(answers.MappingShown, status=201, refusals=(422,), needs=CHANGE)
    async def on_post(self, req: Request, resp: Response, entity: str, version: str) -> None:
        """Save an older version once more, as the next one."""
        permit(caller_of(req), CHANGE)
        key = key_of(req, entity)
        async with self._database.tenant(key["tenant_id"]) as connection:
            await connection.execute(SQL["take_turns"], [key["tenant_id"]])
            old = await one(connection, key, version)
            said = old["mapping"]
            mapping = None if said is None else FileMapping.model_validate(said)
            row = await save(connection, req, key, mapping, restored_from=old["version"])
            send(resp, await whole(connection, key, row), HTTPStatus.CREATED)


class Templates:
    """`/api/v1/mappings/templates`."""

    needs = READ

    @described(Listed(answers.TemplateListed))
    async def on_get(self, _req: Request, resp: Response) -> None:
        """Every template, without its mapping."""
        items = [told(template, {"mapping", "sample"}) for template in TEMPLATES.values()]
        send(resp, {"items": items, "next": None})


class OneTemplate:
    """`/api/v1/mappings/templates/{template}`."""

    needs = READ

    @described(answers.TemplateShown)
    async def on_get(self, _req: Request, resp: Response, template: str) -> None:
        """A mapping to begin with, and a sample that it reads."""
        send(resp, told(template_of(template), set()))


def template_of(name: str) -> Template:
    """The template of this id."""
    found = TEMPLATES.get(name)
    if found is None:
        raise NoSuchTemplate
    return found


def told(template: Template, without: set[str]) -> Json:
    """A template as JSON."""
    said = template.model_dump(mode="json", exclude=without | {"mapping"})
    return said if "mapping" in without else said | {"mapping": plain(template.mapping)}


def entity_of(name: str) -> AnyEntity:
    """The entity whose file has this name."""
    found = BY_FILE.get(name)
    if found is None or not found.kept:
        names = ", ".join(entity.file for entity in ROSTERING)
        raise NoSuchEntity(f"There is no such entity; mappings are for {names}.")
    return found


def key_of(req: Request, entity: str) -> Json:
    """What names the mapping in a statement."""
    return {"tenant_id": caller_of(req).tenant, "entity": entity_of(entity).file}


async def newest(connection: Connection, key: Json) -> Row | None:
    """The version in use, if anything was ever saved."""
    cursor = await connection.execute(SQL["newest"], key)
    return await cursor.fetchone()


async def one(connection: Connection, key: Json, version: str) -> Row:
    """The version of this number."""
    if not (version.isascii() and version.isdigit() and len(version) < DIGITS):
        raise NoSuchVersion
    cursor = await connection.execute(SQL["one"], key | {"version": int(version)})
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchVersion
    return row


async def all_tables(connection: Connection, tenant_id: int) -> Tables:
    """The lookup tables of the district."""
    cursor = await connection.execute(SQL["tables"], [tenant_id])
    return {row["name"]: row["entries"] for row in await cursor.fetchall()}


async def save(
    connection: Connection,
    req: Request,
    key: Json,
    mapping: FileMapping | None,
    *,
    restored_from: int | None = None,
) -> Row | None:
    """Keep the next version; one that could not be used is refused."""
    if mapping is not None:
        refuse_faulty(key["entity"], mapping, await all_tables(connection, key["tenant_id"]))
    cursor = await connection.execute(
        SQL["save"],
        key
        | {
            "mapping": None if mapping is None else Jsonb(plain(mapping)),
            "created_by": caller_of(req).key_id,
            "restored_from": restored_from,
        },
    )
    return await cursor.fetchone()


def refuse_faulty(entity: str, mapping: FileMapping, tables: Tables) -> None:
    """Name every field that is wrong."""
    found = [fault._asdict() for fault in faults(BY_FILE[entity], mapping, tables)]
    if found:
        first = "; ".join(f"{fault['field']} {fault['detail']}" for fault in found[:SHOWN])
        raise Rejected(f"Not acceptable: {first}.", errors=found)


def plain(mapping: FileMapping) -> Json:
    """The mapping as it is kept and shown: what has its default is left out."""
    return mapping.model_dump(mode="json", exclude_defaults=True)


def default(entity: AnyEntity) -> FileMapping:
    """Every column from the one of the same name: what a file without a mapping gets."""
    return FileMapping(
        columns={
            column.csv: (Direct(kind="direct", source=column.csv),) for column in entity.columns
        }
    )


async def whole(connection: Connection, key: Json, row: Row | None) -> Json:
    """A version with its mapping and the tables that names: all that reading a file needs.

    A version without a mapping gets the default. A table that is gone by now, which only an older
    version can name, is left out.
    """
    entity = BY_FILE[key["entity"]]
    tables = await all_tables(connection, key["tenant_id"])
    said = row["mapping"] if row else None
    mapping = FileMapping.model_validate(said) if said else default(entity)
    named = {name: tables[name] for name in sorted(mapping.tables) if name in tables}
    return brief(entity, row, tables) | {"mapping": plain(mapping), "tables": named}


def brief(entity: AnyEntity, row: Row | None, tables: Tables) -> Json:
    """Which version is used for an entity; `default`: none was saved, or it was reset."""
    if row is None:
        nobody: Json = dict.fromkeys(("created_at", "created_by", "restored_from"))
        unsaved = {"entity": entity.file, "version": 0, "default": True, "fingerprint": None}
        return unsaved | nobody
    said = row["mapping"]
    digest = said and fingerprint(entity.file, FileMapping.model_validate(said), tables)
    return listed(row) | {"fingerprint": digest}


def listed(row: Row) -> Json:
    """A version in the list."""
    return {
        "entity": row["entity"],
        "version": row["version"],
        "default": row["mapping"] is None,
        "created_at": row["created_at"],
        "created_by": row["created_by"],
        "restored_from": row["restored_from"],
    }


def users_of(table: str, rows: Iterable[Row]) -> list[tuple[str, FileMapping]]:
    """The mappings in use that name a lookup table."""
    found = [
        (row["entity"], FileMapping.model_validate(row["mapping"]))
        for row in rows
        if row["mapping"] is not None
    ]
    return [(entity, mapping) for entity, mapping in found if table in mapping.tables]


def before(cursor: str | None) -> int:
    """The number of the last version on the page before."""
    if cursor is None:
        return INT64 - 1
    match decode(cursor):
        case [int(version)] if 0 < version < INT64:
            return version
        case _:
            raise BadCursor
