"""What was found in a package: all of it, in numbers, and grouped by what to correct first."""

from collections.abc import Mapping
from typing import Any

from falcon.asgi import Request, Response
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.caller import Needs, caller_of
from api.cursors import limit_of, next_url
from api.database import Database
from api.form import send
from api.found import SQL, WHICH, Looked, after, docs, look, wanted
from api.openapi import answers
from api.openapi.described import PAGED, Listed, described
from api.runs import Json, Row, parsed_id

SCHOOLS_FIRST = 20
SCHOOLS = 1000
EXAMPLES = 3

SENTENCES: Mapping[str, Mapping[str, str]] = {
    "row": {
        "ja": "この 1 件を直すと {resolves:,} 件が解消します。",
        "en": "Fixing this one row resolves {resolves:,}.",
    },
    "record": {
        "ja": "元になる 1 件のレコードを足すか直すと {resolves:,} 件が解消します。",
        "en": "Adding or correcting one record resolves {resolves:,}.",
    },
    "rule": {
        "ja": "同じ内容が {findings:,} 件あります。すべて直すと {resolves:,} 件が解消します。",
        "en": "The same fault, {findings:,} times; fixing it everywhere resolves {resolves:,}.",
    },
}
"""What one correction does, by what is corrected."""

Key = Mapping[str, Any]
Connected = AsyncConnection[DictRow]


class Resource:
    """What the addresses share."""

    needs = Needs("imports")

    def __init__(self, database: Database) -> None:
        self._database = database


class Findings(Resource):
    """`/api/v1/imports/{run_id}/findings`."""

    @described(answers.FindingsPage, query=(*PAGED, *WHICH))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """What was found in the package, in its order; the first page says how much there is."""
        filters, limit, cursor = wanted(req), limit_of(req), req.get_param("cursor")
        key = key_of(req, run_id) | filters | {"after": after(cursor), "limit": limit + 1}
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            run = await look(connection, key)
            rows = await fetched(connection, "page", key)
            head = None if cursor else await summary(connection, run, key, SCHOOLS_FIRST)
        last = [rows[limit - 1]["seq"]] if len(rows) > limit else None
        kept = filters | {"limit": req.get_param("limit")}
        send(
            resp,
            {
                "items": [run.told(row).json() for row in rows[:limit]],
                "next": next_url(run.path, last, kept),
                "summary": head,
            },
        )


class Summary(Resource):
    """`/api/v1/imports/{run_id}/findings/summary`."""

    @described(answers.FoundSummary)
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """How much was found, by severity, rule, file and school, with the first examples."""
        key = key_of(req, run_id)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            run = await look(connection, key)
            head = await summary(connection, run, key, SCHOOLS)
            rows = await fetched(connection, "examples", key | {"examples": EXAMPLES})
        for rule in head["rules"]:
            rule["examples"] = [
                run.told(row).json()
                for row in rows
                if (row["rule"], row["severity"]) == (rule["rule"], rule["severity"])
            ]
        send(resp, head)


class Groups(Resource):
    """`/api/v1/imports/{run_id}/findings/groups`."""

    @described(Listed(answers.FoundGroup), query=(*PAGED, *WHICH))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """What one correction resolves, the most consequential first."""
        filters, limit = wanted(req), limit_of(req)
        position = {"after": after(req.get_param("cursor")), "limit": limit + 1}
        key = key_of(req, run_id) | filters | position
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            run = await look(connection, key)
            rows = await fetched(connection, "groups", key)
        last = [rows[limit - 1]["rank"]] if len(rows) > limit else None
        send(
            resp,
            {
                "items": [group(run, row) for row in rows[:limit]],
                "next": next_url(
                    f"{run.path}/groups", last, filters | {"limit": req.get_param("limit")}
                ),
            },
        )


def key_of(req: Request, run_id: str) -> dict[str, Any]:
    """The run that is asked for, in the caller's district."""
    return {"tenant_id": caller_of(req).tenant, "run_id": parsed_id(run_id)}


async def fetched(connection: Connected, statement: str, key: Key) -> list[DictRow]:
    """Every row of a statement."""
    cursor = await connection.execute(SQL[statement], key)
    return await cursor.fetchall()


async def summary(connection: Connected, run: Looked, key: Key, schools: int) -> Json:
    """The numbers of a run; what follows from another finding is counted apart."""
    rows = await fetched(connection, "counts", key)
    severities = [row for row in rows if row["rule"] is None and row["file"] is None]
    followers = await fetched(connection, "followers", key)
    by_school = await fetched(connection, "schools", {**key, "limit": schools})
    return {
        "findings": sum(row["findings"] for row in severities),
        "followers": followers[0]["followers"],
        "values": run.shown,
        "severities": {row["severity"]: counted(row) for row in severities},
        "rules": [
            counted(row, "rule", "severity") | {"docs": docs(row["rule"])}
            for row in rows
            if row["rule"] is not None
        ],
        "files": [counted(row, "file") for row in rows if row["file"] is not None],
        "schools": [counted(row, "school", "name") for row in by_school],
        "schools_total": by_school[0]["schools"] if by_school else 0,
        "links": {
            "findings": run.path,
            "groups": f"{run.path}/groups",
            "summary": f"{run.path}/summary",
            "csv": f"{run.path}.csv",
            "ndjson": f"{run.path}.ndjson",
            "rows": f"{run.path}/rows",
        },
    }


def counted(row: Row, *names: str) -> Json:
    """The named columns of a row, and its two counts."""
    return {name: row[name] for name in (*names, "findings", "followers")}


def group(run: Looked, row: Row) -> Json:
    """A group with its first finding and the sentence about it."""
    facts = {"findings": row["findings"], "resolves": row["findings"] + row["followers"]}
    sentences = SENTENCES[row["cause"]]
    return {
        "group": row["rank"],
        "cause": row["cause"],
        "findings": row["findings"],
        "followers": row["followers"],
        "resolves": facts["resolves"],
        "sentence": {language: text.format(**facts) for language, text in sentences.items()},
        "first": run.told(row).json(),
        "links": {"findings": f"{run.path}?group={row['rank']}"},
    }
