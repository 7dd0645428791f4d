"""What was found in a package, as the rule book says it today."""

from typing import get_args

from falcon.asgi import Request, Response

from api.caller import Needs, caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Database
from api.form import send
from api.runs import SQL, Row, one, parsed_id, path_of
from api.words import among
from schemas.rules import RULES, Finding, Rule, Severity

SEVERITIES: tuple[Severity, ...] = get_args(Severity)


class Findings:
    """`/api/v1/imports/{run_id}/findings`."""

    needs = Needs("imports")

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """What was found in the package, in its order."""
        tenant_id = caller_of(req).tenant
        limit = limit_of(req)
        wanted = {
            "severity": among(req, "severity", SEVERITIES),
            "file": req.get_param("file"),
            "rule": req.get_param("rule"),
        }
        position = {
            "tenant_id": tenant_id,
            "run_id": parsed_id(run_id),
            "after": after(req.get_param("cursor")),
            "limit": limit + 1,
        }
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            run = await one(connection, tenant_id, position["run_id"])
            cursor = await connection.execute(SQL["findings"], position | searchable(wanted))
            rows = await cursor.fetchall()
        key = [rows[limit - 1]["seq"]] if len(rows) > limit else None
        kept = wanted | {"limit": req.get_param("limit")}
        send(
            resp,
            {
                "items": [finding(row) for row in rows[:limit]],
                "next": next_url(f"{path_of(run)}/findings", key, kept),
            },
        )


def after(cursor: str | None) -> int:
    """The number of the last finding on the page before."""
    if cursor is None:
        return -1
    match decode(cursor):
        case [int(seq)] if 0 <= seq < 2**31:
            return seq
        case _:
            raise BadCursor


def searchable(wanted: dict[str, str | None]) -> dict[str, str | None]:
    """Values that PostgreSQL can compare: they have no NUL."""
    return {name: value and value.replace("\0", "") for name, value in wanted.items()}


def finding(row: Row) -> dict[str, object]:
    """A finding with its message; a rule that is gone by now speaks by its id."""
    rule = RULES.get(row["rule"]) or Rule(row["rule"], row["severity"], *([row["rule"]] * 4))
    said = Finding(
        rule=rule,
        file=row["file"],
        line=row["line"],
        column=row["column"],
        sourced_id=row["sourced_id"],
        value=row["value"],
        facts=row["facts"],
    )
    return {
        "file": row["file"],
        "line": row["line"],
        "column": row["column"],
        "sourcedId": row["sourced_id"],
        "rule": row["rule"],
        "severity": row["severity"],
        "value": row["value"],
        "message": said.message(),
    }
