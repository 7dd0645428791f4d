"""The proposed re-key map of a run that is held: page by page, as a file, and what it comes to.

Each entry says that a record of the package, which bears a new sourcedId, is one that the hub knows
by another, and by which columns they are alike. To accept the map is an approval of its own hash.
"""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any

from falcon.asgi import Request, Response
from psycopg import sql
from psycopg.errors import UndefinedTable
from psycopg.rows import DictRow

from api import spreadsheets
from api.caller import caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Connection
from api.findings_downloads import CSV, NDJSON, as_file
from api.form import counted, dump, send
from api.history import FILES
from api.language import language_of
from api.openapi import answers
from api.openapi.described import LANGUAGE, PAGED, Stream, a_word, described
from api.proposals import SQL, Answering, DiffDeleted, Resource, key_of, shown
from api.runs import PATH, as_json, parsed_id
from api.words import among
from schemas.errors import Conflict
from schemas.proposals import kept_map
from schemas.rulebook import Language

PAGE = 1000  # entries at a time
HEADINGS: Mapping[Language, tuple[str, ...]] = {
    "ja": ("ファイル", "新しい sourcedId", "名簿の sourcedId", "一致した項目"),
    "en": ("file", "new sourcedId", "sourcedId of the hub", "alike in"),
}


OF_FILE = a_word("entity", FILES, "Of this entity alone.")


class NothingToRekey(Conflict):
    """No change of sourcedIds was recognised in this run."""

    code = "nothing_to_rekey"


class RunRekey(Answering):
    """`/api/v1/imports/{run_id}/rekey`."""

    @described(answers.RekeyPage, query=(*PAGED, OF_FILE), refusals=(409, 410))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """A page of the map."""
        limit = limit_of(req)
        key = asked(req, run_id) | behind(req.get_param("cursor")) | {"limit": limit + 1}
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            run = await proposed(connection, key)
            rows = await page(connection, key)
        last = rows[limit - 1] if len(rows) > limit else None
        place = None if last is None else [last["entity"], last["source_id"]]
        again = {name: req.get_param(name) for name in ("entity", "limit")}
        send(
            resp,
            {
                "accepted_as": run["rekey"],
                "items": [entry(row) for row in rows[:limit]],
                "next": next_url(f"{PATH}/{run['id']}/rekey", place, again),
            },
        )

    @described(answers.Run, status=202, refusals=(409, 410))
    async def on_post(self, req: Request, resp: Response, run_id: str) -> None:
        """Work out what accepting the map would come to; apply nothing."""
        caller, key = caller_of(req), key_of(req, run_id)
        async with self._database.tenant(caller.tenant, snapshot=True) as connection:
            await proposed(connection, key)
        row = await self._decide(caller, parsed_id(run_id), {"kind": "rekey"})
        send(resp, as_json(row), HTTPStatus.ACCEPTED)


class Download(Resource):
    """The whole map as a file."""

    async def _begin(self, req: Request, run_id: str) -> tuple[DictRow, dict[str, Any]]:
        key = asked(req, run_id)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            return await proposed(connection, key), key

    async def _pages(self, key: Mapping[str, Any]) -> AsyncIterator[list[DictRow]]:
        place: dict[str, str | None] | None = behind(None)
        while place is not None:
            async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
                rows = await page(connection, {**key, **place, "limit": PAGE})
            yield rows
            place = place_of(rows[-1]) if len(rows) == PAGE else None


class RekeyCsv(Download):
    """`/api/v1/imports/{run_id}/rekey.csv`."""

    @described(Stream("text/csv"), query=(OF_FILE, LANGUAGE), refusals=(409, 410))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """The map as a file for Excel."""
        language = language_of(req)
        run, key = await self._begin(req, run_id)
        as_file(resp, CSV, f"import-{run['id']}-rekey.csv")
        resp.stream = self._lines(resp, key, language)

    async def _lines(
        self, resp: Response, key: Mapping[str, Any], language: Language
    ) -> AsyncIterator[bytes]:
        yield spreadsheets.BOM + spreadsheets.line(HEADINGS[language])
        async for rows in self._pages(key):
            counted(resp, len(rows))
            yield b"".join(
                spreadsheets.line(
                    (row["entity"], row["source_id"], row["hub_id"], ", ".join(row["alike"]))
                )
                for row in rows
            )


class RekeyNdjson(Download):
    """`/api/v1/imports/{run_id}/rekey.ndjson`."""

    @described(Stream("application/x-ndjson"), query=(OF_FILE,), refusals=(409, 410))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """The map, one JSON object a line."""
        run, key = await self._begin(req, run_id)
        as_file(resp, NDJSON, f"import-{run['id']}-rekey.ndjson")
        resp.stream = self._lines(resp, key)

    async def _lines(self, resp: Response, key: Mapping[str, Any]) -> AsyncIterator[bytes]:
        async for rows in self._pages(key):
            counted(resp, len(rows))
            yield b"".join(dump(entry(row)) + b"\n" for row in rows)


async def proposed(connection: Connection, key: Mapping[str, Any]) -> DictRow:
    """The run, if it proposes a map that is still there."""
    run = await shown(connection, key)
    if not any(reason["code"] == "rekey" for reason in run["guard"]["reasons"]):
        raise NothingToRekey
    return run


async def page(connection: Connection, key: Mapping[str, Any]) -> list[DictRow]:
    """Entries of the map behind a place."""
    query = sql.SQL(SQL["rekey_page"]).format(map=sql.Identifier(*kept_map(key["run_id"])))
    try:
        return await (await connection.execute(query, key)).fetchall()
    except UndefinedTable as error:  # its time was over just now
        raise DiffDeleted from error


def asked(req: Request, run_id: str) -> dict[str, Any]:
    """The run, and of which file the entries are wanted."""
    return key_of(req, run_id) | {"entity": among(req, "entity", FILES)}


def behind(cursor: str | None) -> dict[str, str | None]:
    """The last entry on the page before."""
    if cursor is None:
        return {"after_entity": None, "after_id": None}
    match decode(cursor):
        case [str(entity), str(source)] if "\0" not in entity + source:
            return {"after_entity": entity, "after_id": source}
        case _:
            raise BadCursor


def place_of(row: DictRow) -> dict[str, str | None]:
    """Where an entry stands."""
    return {"after_entity": row["entity"], "after_id": row["source_id"]}


def entry(row: DictRow) -> dict[str, Any]:
    """An entry of the map."""
    return {
        "entity": row["entity"],
        "sourcedId": row["source_id"],
        "hubSourcedId": row["hub_id"],
        "alike": row["alike"],
    }
