"""Findings as files: for Excel, for programs, and as the district's own rows to correct.

A file is made page by page, each page in a transaction of its own: memory is bounded by a page, and
a slow reader holds no connection. What was found in a run is written once and never changes, so the
pages belong together. A file that cannot be finished ends without its last chunk, and a client
knows that it is not whole.
"""

import csv
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from falcon.asgi import Request, Response

from api import spreadsheets
from api.findings import Key, Resource, fetched, key_of
from api.form import counted, dump
from api.found import WHICH, Looked, Told, look, wanted
from api.language import language_of
from api.openapi.described import LANGUAGE, Stream, described
from schemas.errors import BadRequest
from schemas.rulebook import SEVERITIES, Language

PAGE = 200  # findings at a time
CSV = "text/csv; charset=utf-8"
NDJSON = "application/x-ndjson"
A_FILE = re.compile(r"([A-Za-z]{1,64})\.csv")
BETWEEN = " / "

COLUMNS: Mapping[Language, tuple[str, ...]] = {
    "ja": (
        *("番号", "重さ", "ファイル", "行番号", "項目", "元の項目", "値", "内容", "直し方"),
        *("sourcedId", "学校", "規則", "原因の番号", "元の行"),
    ),
    "en": (
        *("number", "severity", "file", "line", "column", "source", "value", "reason", "remedy"),
        *("sourcedId", "school", "rule", "caused by", "row"),
    ),
}
ADDED: Mapping[Language, tuple[str, ...]] = {
    "ja": ("行番号", "項目", "内容", "直し方"),
    "en": ("line", "column", "reason", "remedy"),
}
OF_ONE_FILE = tuple(replace(each, required=each.name == "file") for each in WHICH)
TO_CORRECT: Mapping[Language, str] = {"ja": "要修正", "en": "to_correct"}


class Download(Resource):
    """A file made of the findings of a run."""

    async def _look(self, key: Key) -> Looked:
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            return await look(connection, key)

    async def _pages(self, run: Looked, key: Key) -> AsyncIterator[list[Told]]:
        """The findings in their order."""
        at = -1
        while rows := await self._page("page", {**key, "after": at}):
            yield [run.told(row) for row in rows]
            at = rows[-1]["seq"]

    async def _page(self, statement: str, key: Key) -> list[dict[str, Any]]:
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            return await fetched(connection, statement, {**key, "limit": PAGE})


class Csv(Download):
    """`/api/v1/imports/{run_id}/findings.csv`."""

    @described(Stream("text/csv"), query=(*WHICH, LANGUAGE))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """All findings as a file for Excel."""
        language = language_of(req)
        key = key_of(req, run_id) | wanted(req)
        run = await self._look(key)
        as_file(resp, CSV, f"findings-{run.run_id}.csv")
        resp.stream = self._lines(resp, run, key, language)

    async def _lines(
        self, resp: Response, run: Looked, key: Key, language: Language
    ) -> AsyncIterator[bytes]:
        yield spreadsheets.BOM + spreadsheets.line(COLUMNS[language])
        async for page in self._pages(run, key):
            counted(resp, len(page))
            yield b"".join(spreadsheets.line(cells(told, language)) for told in page)


class Ndjson(Download):
    """`/api/v1/imports/{run_id}/findings.ndjson`."""

    @described(Stream("application/x-ndjson"), query=WHICH)
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """All findings, one JSON object a line."""
        key = key_of(req, run_id) | wanted(req)
        run = await self._look(key)
        as_file(resp, NDJSON, f"findings-{run.run_id}.ndjson")
        resp.stream = self._lines(resp, run, key)

    async def _lines(self, resp: Response, run: Looked, key: Key) -> AsyncIterator[bytes]:
        async for page in self._pages(run, key):
            counted(resp, len(page))
            yield b"".join(dump(told.json()) + b"\n" for told in page)


class Rows(Download):
    """`/api/v1/imports/{run_id}/findings/rows`."""

    @described(Stream("text/csv"), query=(*OF_ONE_FILE, LANGUAGE))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """The faulty rows of one file as they came, with what is wrong and what to do."""
        language = language_of(req)
        key = key_of(req, run_id) | wanted(req)
        run = await self._look(key)
        if not key["file"]:
            raise BadRequest("file names the file whose rows are wanted.", field="file")
        as_file(resp, CSV, name_of(key["file"], language))
        resp.stream = self._lines(resp, run, key, language)

    async def _lines(
        self, resp: Response, run: Looked, key: Key, language: Language
    ) -> AsyncIterator[bytes]:
        named = await self._page("header", key)
        header = named[0]["header"] if named else []
        yield spreadsheets.BOM + spreadsheets.line([*ADDED[language], *header])
        async for page in self._rows(run, key):
            counted(resp, len(page))
            yield b"".join(spreadsheets.line(corrected(row, language)) for row in page)

    async def _rows(self, run: Looked, key: Key) -> AsyncIterator[list[list[Told]]]:
        """What was found, by row; the last row of a page may go on in the next one."""
        at, waiting = (-1, -1), list[Told]()
        while rows := await self._page("by_line", {**key, "line": at[0], "after": at[1]}):
            at = (rows[-1]["line"], rows[-1]["seq"])
            waiting += [run.told(row) for row in rows]
            *whole, waiting = [list(same) for _, same in groupby(waiting, key=line_of)]
            yield whole
        if waiting:
            yield [waiting]


def as_file(resp: Response, media_type: str, name: str) -> None:
    """Let a browser save the answer under this name."""
    resp.content_type = media_type
    resp.downloadable_as = name


def name_of(file: str, language: Language) -> str:
    """`users_要修正.csv`, so that a folder of downloads explains itself."""
    match = A_FILE.fullmatch(file)
    return f"{match[1] if match else 'rows'}_{TO_CORRECT[language]}.csv"


def line_of(told: Told) -> object:
    """The line that a finding is about."""
    return told.row["line"]


def cells(told: Told, language: Language) -> Sequence[object]:
    """A finding as a row of the file."""
    row = told.row
    return (
        row["seq"],
        SEVERITIES[language][row["severity"]],
        row["file"],
        row["line"],
        row["column"],
        told.source,
        told.value,
        told.reason(language),
        told.remedy(language),
        row["sourced_id"],
        row["school"],
        row["rule"],
        row["caused_by"],
        told.line_as_it_came,
    )


def corrected(row: Sequence[Told], language: Language) -> Sequence[object]:
    """What is wrong with a row, in front of the row itself; both in the columns of the file."""
    kept = next((told.line_as_it_came for told in row if told.row["row"]), None)
    return (
        line_of(row[0]),
        once(told.source or told.row["column"] for told in row),
        once(told.reason(language) for told in row),
        once(told.remedy(language) for told in row),
        *parsed(kept or ""),
    )


def once(texts: Iterable[str | None]) -> str:
    """The texts, each once."""
    return BETWEEN.join(dict.fromkeys(text for text in texts if text))


def parsed(line: str) -> list[str]:
    """The cells of a row; one whose quotes are broken stays in one cell."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return [line]
