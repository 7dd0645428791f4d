"""A run as its readers see it: the row, its pace, and where to read on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from schemas.errors import Missing
from schemas.proposals import WAITING
from schemas.runs import ENDED
from schemas.statements import load

SQL = load("api", "imports.sql")

Row: TypeAlias = Mapping[str, Any]
Json: TypeAlias = dict[str, Any]

PATH = "/api/v1/imports"


class NoSuchRun(Missing):
    """There is no import with this id."""


async def one(connection: AsyncConnection[DictRow], tenant_id: int, run_id: object) -> DictRow:
    """The run of this district."""
    cursor = await connection.execute(SQL["one"], [tenant_id, run_id])
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchRun
    return row


def parsed_id(text: str) -> UUID:
    """What is no identifier of a run is no run."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NoSuchRun from error


def path_of(row: Row) -> str:
    """Where the run is read."""
    return f"{PATH}/{row['id']}"


def as_json(row: Row) -> Json:
    """The run; `row` is what imports.sql selects of it."""
    failure = row["failure"]
    return {
        "id": row["id"],
        "kind": row["kind"],
        "state": row["state"],
        "stage": row["stage"],
        "entity": row["entity"],
        "mode": row["mode"],
        "profile": row["profile"],
        "mappings": row["mappings"],
        "attempts": row["attempts"],
        "created_at": row["created_at"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "created_by": row["created_by"],
        "cancelled_by": row["cancelled_by"],
        "retry_of": row["retry_of"],
        "version": row["version"],
        "files": row["progress"],
        **pace(row),
        "counts": row["counts"],
        "findings": row["findings"],
        "failure": failure and {"code": failure["code"], "message": languages(failure)},
        "upload": upload(row),
        "apply": row["apply"],
        "as_of": row["as_of"] and row["as_of"].isoformat(),
        "base_version": row["base_version"],
        "diff": row["diff"],
        "preview": row["preview"],
        "guard": row["guard"],
        "decision": row["decision"],
        "exclusions": row["exclusions"],
        "rekey": row["rekey"],
        "supersedes": row["supersedes"],
        "superseded_by": row["superseded_by"],
        "links": links(row),
    }


def links(row: Row) -> dict[str, str]:
    """Where to read on; of a run that has waited also what it would change."""
    names = ["findings", "events", *(["preview", "diff"] if row["preview"] is not None else [])]
    if any(reason["code"] == "rekey" for reason in (row["guard"] or {}).get("reasons", ())):
        names.append("rekey")
    return {name: f"{path_of(row)}/{name}" for name in names}


def upload(row: Row) -> Json | None:
    """What was sent; it is imported again only until it is deleted."""
    if row["upload_id"] is None:
        return None
    return {
        "bytes": row["bytes"],
        "sha256": row["sha256"].hex(),
        "name": row["name"],
        "deleted_at": row["deleted_at"],
    }


def languages(failure: Mapping[str, str]) -> dict[str, str]:
    """The sentence in both languages."""
    return {"ja": failure["ja"], "en": failure["en"]}


def pace(row: Row) -> Json:
    """Rows per second and seconds to go, while there is something to measure."""
    unknown: Json = {"rows_per_second": None, "eta_seconds": None}
    if row["state"] != "running" or row["started_at"] is None:
        return unknown
    done = sum(file["done"] for file in row["progress"].values())
    total = sum(file["total"] for file in row["progress"].values())
    seconds = elapsed(row["started_at"], row["now"])
    if not done or seconds <= 0:
        return unknown
    rate = done / seconds
    return {
        "rows_per_second": round(rate, 1),
        "eta_seconds": round(max(total - done, 0) / rate, 1),
    }


def elapsed(started: datetime, now: datetime) -> float:
    """Seconds by the database's clock."""
    return (now - started).total_seconds()


def settled(run: Json) -> bool:
    """Whether nothing will happen to the run by itself: it has ended, or waits for an answer."""
    return run["state"] in (*ENDED, *WAITING)
