"""What a version changed, record by record: pages of JSON, or a file for Excel or for programs.

Changes come in load order of their files, within a file by sourcedId. What a version changed never
changes any more, so a download is made page by page, each in a transaction of its own: memory is
bounded by a page, and a slow reader holds no connection.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from falcon.asgi import Request, Response

from api import select, spreadsheets
from api.changes import CHANGES, differences, kind_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Connection
from api.findings_downloads import CSV, NDJSON, as_file
from api.form import counted, dump, send
from api.history import FILES, text
from api.language import language_of
from api.openapi import answers
from api.openapi.described import LANGUAGE, PAGED, Listed, Stream, a_text, a_word, described
from api.versions import Resource, key_of, one, path_of
from api.words import among
from schemas.roster import ROSTERING, AnyEntity
from schemas.rulebook import Language

PAGE = 500  # changes at a time
SELECTS = {entity: select.changes(entity) for entity in ROSTERING}
HEADINGS: Mapping[Language, tuple[str, ...]] = {
    "ja": ("ファイル", "sourcedId", "変更", "項目", "前", "後"),
    "en": ("file", "sourcedId", "change", "field", "before", "after"),
}
WORDS: Mapping[Language, Mapping[str, str]] = {
    "ja": {"created": "追加", "updated": "変更", "deleted": "削除"},
    "en": {change: change for change in CHANGES},
}


WHICH = (
    a_word("entity", FILES, "Of this entity alone."),
    a_word("change", CHANGES, "This kind of change alone."),
    a_text("school", "At this school."),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: behind this record of the entity with this rank."""

    rank: int = 0
    sourced_id: str | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """One record that a version changed."""

    rank: int
    row: Mapping[str, Any]

    @property
    def entity(self) -> AnyEntity:
        """What it is a record of."""
        return ROSTERING[self.rank]

    def json(self) -> dict[str, Any]:
        """The change: `fields` are those that differ, by their names in the file."""
        before, after = self.row["before"], self.row["after"]
        fields = differences(self.entity, before, after)
        return {
            "entity": self.entity.file,
            "sourcedId": self.row["sourced_id"],
            "change": kind_of(before, after, fields),
            "fields": fields,
        }


class Diff(Resource):
    """`/api/v1/versions/{version}/diff`."""

    @described(Listed(answers.Changed), query=(*PAGED, *WHICH))
    async def on_get(self, req: Request, resp: Response, version: str) -> None:
        """A page of changes."""
        key, filters = key_of(req, version), asked(req)
        limit, place = limit_of(req), behind(req.get_param("cursor"))
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            await one(connection, key)
            found = await changed(connection, key | filters, place, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        position = None if last is None else [last.rank, last.row["sourced_id"]]
        kept = {name: req.get_param(name) for name in ("entity", "change", "school", "limit")}
        send(
            resp,
            {
                "items": [each.json() for each in found[:limit]],
                "next": next_url(f"{path_of(key['version'])}/diff", position, kept),
            },
        )


class Download(Resource):
    """The whole diff as a file."""

    async def _begin(self, req: Request, version: str) -> dict[str, Any]:
        """What is asked for; raises Missing before the first byte."""
        key = key_of(req, version)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            await one(connection, key)
        return key | asked(req)

    async def _pages(self, key: Mapping[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
        place: Place | None = Place()
        while place is not None:
            async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
                found = await changed(connection, key, place, PAGE)
            yield [each.json() for each in found]
            full = len(found) == PAGE
            place = Place(found[-1].rank, found[-1].row["sourced_id"]) if full else None


class Csv(Download):
    """`/api/v1/versions/{version}/diff.csv`."""

    @described(Stream("text/csv"), query=(*WHICH, LANGUAGE))
    async def on_get(self, req: Request, resp: Response, version: str) -> None:
        """Every change as a file for Excel, a line for each field."""
        language = language_of(req)
        key = await self._begin(req, version)
        as_file(resp, CSV, f"version-{key['version']}.csv")
        resp.stream = self._lines(resp, key, language)

    async def _lines(
        self, resp: Response, key: Mapping[str, Any], language: Language
    ) -> AsyncIterator[bytes]:
        yield spreadsheets.BOM + spreadsheets.line(HEADINGS[language])
        async for page in self._pages(key):
            counted(resp, len(page))
            yield b"".join(line for change in page for line in lines(change, language))


class Ndjson(Download):
    """`/api/v1/versions/{version}/diff.ndjson`."""

    @described(Stream("application/x-ndjson"), query=WHICH)
    async def on_get(self, req: Request, resp: Response, version: str) -> None:
        """Every change, one JSON object a line."""
        key = await self._begin(req, version)
        as_file(resp, NDJSON, f"version-{key['version']}.ndjson")
        resp.stream = self._lines(resp, key)

    async def _lines(self, resp: Response, key: Mapping[str, Any]) -> AsyncIterator[bytes]:
        async for page in self._pages(key):
            counted(resp, len(page))
            yield b"".join(dump(change) + b"\n" for change in page)


async def changed(
    connection: Connection, key: Mapping[str, Any], place: Place, limit: int
) -> list[Changed]:
    """At most `limit` changes behind a place."""
    found: list[Changed] = []
    for rank, entity in enumerate(ROSTERING):
        if len(found) == limit:
            break
        if rank < place.rank or key["entity"] not in (None, entity.file):
            continue
        after = place.sourced_id if rank == place.rank else None
        own = {**key, "after": after, "limit": limit - len(found)}
        cursor = await connection.execute(SELECTS[entity], own)
        found += [Changed(rank, row) for row in await cursor.fetchall()]
    return found


def asked(req: Request) -> dict[str, Any]:
    """Which changes are wanted: of an entity, of a kind, of a school."""
    change = among(req, "change", CHANGES)
    return {
        "entity": among(req, "entity", FILES),
        "changes": [change] if change else list(CHANGES),
        "school": text(req, "school"),
    }


def behind(cursor: str | None) -> Place:
    """The last change on the page before."""
    if cursor is None:
        return Place()
    match decode(cursor):
        case [int(rank), str(sourced_id)] if 0 <= rank < len(ROSTERING) and "\0" not in sourced_id:
            return Place(rank, sourced_id)
        case _:
            raise BadCursor


def lines(change: Mapping[str, Any], language: Language) -> Iterator[bytes]:
    """A change as lines of the file, one for each field."""
    word = WORDS[language][change["change"]]
    for name, values in change["fields"].items():
        cells = (shown(values["before"]), shown(values["after"]))
        yield spreadsheets.line((change["entity"], change["sourcedId"], word, name, *cells))


def shown(value: object) -> object:
    """A value in one cell: lists as the file has them."""
    return ",".join(map(str, value)) if isinstance(value, list) else value
