"""Runs that wait: what they would change, record by record, and the answer to them.

Whoever approves names the hash of what was shown; the worker applies exactly that or nothing. The
change set is kept in tables of the run's own (`schemas.proposals`), until some time after its end.
"""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Self
from uuid import UUID

from falcon.asgi import Request, Response
from psycopg.errors import UndefinedTable
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api import proposed, spreadsheets
from api.bell import Bell
from api.bodies import read_json
from api.caller import Caller, Needs, caller_of
from api.cursors import BadCursor, decode, limit_of, next_url
from api.database import Connection, Database
from api.diffs import HEADINGS, PAGE, WHICH, Changed, Place, asked, behind, lines
from api.emitting import import_failed
from api.findings_downloads import CSV, NDJSON, as_file
from api.form import counted, dump, send
from api.history import FILES, text
from api.language import language_of
from api.managing import end_of
from api.openapi import answers
from api.openapi.described import LANGUAGE, PAGED, Stream, described
from api.runs import PATH, NoSuchRun, as_json, one, parsed_id
from api.telling import Tell
from api.words import among
from schemas.errors import Conflict, Gone
from schemas.jobs import ImportRoster
from schemas.proposals import WAITING, Except, kept_rows
from schemas.roster import ROSTERING
from schemas.roster.orgs import Org
from schemas.rulebook import Language
from schemas.statements import load

SQL = load("api", "proposals.sql")


class NotWaiting(Conflict):
    """The run does not wait for an answer."""

    code = "not_waiting"


class BaseMoved(Conflict):
    """The roster has moved since this was shown."""

    code = "base_moved"


class DiffChanged(Conflict):
    """The hash is not that of what was shown last: look again, and approve what you see."""

    code = "diff_changed"


class NothingShown(Conflict):
    """The run has not waited for an answer, so there is no preview of it."""

    code = "nothing_shown"


class DiffDeleted(Gone):
    """What the run would have changed is deleted."""

    code = "diff_deleted"


class Approval(BaseModel):
    """The hash of what is approved; what was left out of it, or whether the map is accepted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    diff: str
    exception: Except | None = Field(default=None, alias="except")
    rekey: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.rekey and self.exception is not None:
            raise ValueError("a re-key is accepted for the whole run: leave except away")
        return self


class Exclusions(Except):
    """What is to be left out: something, and only entities that there are."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.schools or self.entities):
            raise ValueError("name schools or entities")
        if not set(self.entities) <= set(FILES):
            raise ValueError(f"entities are among {', '.join(FILES)}")
        if any("\0" in school for school in self.schools):
            raise ValueError("a sourcedId has no NUL")
        return self


class Resource:
    """What the addresses share."""

    needs = Needs("imports")

    def __init__(self, database: Database) -> None:
        self._database = database


# --- The answer ----------------------------------------------------------------------------


class Answering(Resource):
    """What the answers share."""

    def __init__(self, database: Database, bell: Bell, limit: int) -> None:
        super().__init__(database)
        self._bell, self._limit = bell, limit

    async def _decide(
        self,
        caller: Caller,
        run_id: UUID,
        decision: dict[str, Any],
        approval: Approval | None = None,
    ) -> DictRow:
        """Hand the run back to the workers with a decision."""
        key = {"tenant_id": caller.tenant, "run_id": run_id}
        async with self._database.tenant(caller.tenant) as connection:
            run = await waiting(connection, key)
            if approval is not None:
                refuse(run, approval)
            answer = Jsonb(decision | {"by": caller.key_id})
            await connection.execute(SQL["decide"], key | {"decision": answer})
            row = await one(connection, caller.tenant, run_id)
        self._bell.ring(ImportRoster(tenant_id=caller.tenant, run_id=run_id))
        return row


class Approve(Answering):
    """`/api/v1/imports/{run_id}/approve`."""

    @described(answers.Run, status=202, body=Approval, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, run_id: str) -> None:
        """Apply what was shown, all of it or what was left of it."""
        approval = await read_json(req, Approval, self._limit)
        said = approval.exception and approval.exception.model_dump()
        decision: dict[str, Any] = {"kind": "approve", "diff": approval.diff, "except": said}
        if approval.rekey:
            decision["rekey"] = True
        row = await self._decide(caller_of(req), parsed_id(run_id), decision, approval)
        send(resp, as_json(row), HTTPStatus.ACCEPTED)


class Exclude(Answering):
    """`/api/v1/imports/{run_id}/exclusions`."""

    @described(answers.Run, status=202, body=Exclusions, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, run_id: str) -> None:
        """Work out what leaving these schools or entities out would come to; apply nothing."""
        given = await read_json(req, Exclusions, self._limit)
        said = {name: sorted(set(keys)) for name, keys in given.model_dump().items()}
        decision = {"kind": "exclude", "except": said}
        row = await self._decide(caller_of(req), parsed_id(run_id), decision)
        send(resp, as_json(row), HTTPStatus.ACCEPTED)


class Reject(Resource):
    """`/api/v1/imports/{run_id}/reject`."""

    def __init__(self, database: Database, tell: Tell) -> None:
        super().__init__(database)
        self._tell = tell

    @described(answers.Run, refusals=(409,))
    async def on_post(self, req: Request, resp: Response, run_id: str) -> None:
        """Drop what the run would have changed; to reject it again changes nothing."""
        caller = caller_of(req)
        key = {"tenant_id": caller.tenant, "run_id": parsed_id(run_id)}
        async with self._database.tenant(caller.tenant) as connection:
            run = await held(connection, key)
            if again := (run["decision"] or {}).get("kind") == "reject":
                row = await one(connection, caller.tenant, key["run_id"])
            else:
                refuse_unless_waiting(run)
                answer = Jsonb({"kind": "reject", "by": caller.key_id})
                await connection.execute(SQL["reject"], key | {"decision": answer})
                row = await one(connection, caller.tenant, key["run_id"])
                await import_failed(connection, caller.tenant, row)
        if not again:
            resp.schedule(partial(self._tell, end_of(row)))
        send(resp, as_json(row))


async def held(connection: Connection, key: Mapping[str, Any]) -> DictRow:
    """The run, which nobody else answers meanwhile."""
    cursor = await connection.execute(SQL["hold"], key)
    run = await cursor.fetchone()
    if run is None:
        raise NoSuchRun
    return run


async def waiting(connection: Connection, key: Mapping[str, Any]) -> DictRow:
    """The run, if it waits and the roster is as it was when it was shown."""
    run = await held(connection, key)
    refuse_unless_waiting(run)
    cursor = await connection.execute(SQL["version"], key)
    district = await cursor.fetchone()
    version, base = (district or {}).get("version"), run["base_version"]
    if version != base:
        raise BaseMoved(
            f"The roster is at version {version} now; this was shown for version {base}."
            " Reject the run and import the package again.",
            version=version,
            base_version=base,
        )
    return run


def refuse_unless_waiting(run: DictRow) -> None:
    """Only a run that waits can be answered."""
    if run["state"] not in WAITING:
        raise NotWaiting(
            f"The run does not wait for an answer: it is {run['state']}.", state=run["state"]
        )


def refuse(run: DictRow, approval: Approval) -> None:
    """What is approved was shown, to the last record."""
    shown = run["diff"]
    if approval.exception is not None:
        left = run["exclusions"] or {}
        said = {name: sorted(set(keys)) for name, keys in approval.exception.model_dump().items()}
        if left.get("except") != said:
            raise DiffChanged(
                "What this leaves out was not shown: ask for it at …/exclusions, look, and approve."
            )
        shown = left["diff"]
    if approval.rekey:
        if run["rekey"] is None:
            raise DiffChanged(
                "What accepting the map comes to was not shown: ask for it with POST …/rekey."
            )
        shown = run["rekey"]["diff"]
    if approval.diff != shown:
        raise DiffChanged(diff=shown)


# --- What is shown -------------------------------------------------------------------------


class RunPreview(Resource):
    """`/api/v1/imports/{run_id}/preview`."""

    @described(answers.PreviewPage, query=(*PAGED, WHICH[0], WHICH[2]), refusals=(409,))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """How much would change: by entity, and a page of schools."""
        limit, entity = limit_of(req), among(req, "entity", FILES)
        school, name = after(req.get_param("cursor"))
        key = {
            **key_of(req, run_id),
            "school": text(req, "school"),
            "entity": entity,
            "after_school": school,
            "after_entity": name,
            "limit": limit + 1,
        }
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            run = await shown(connection, key, kept=False)
            rows = await (await connection.execute(SQL["schools"], key)).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        place = None if last is None else [last["school"], last["entity"]]
        again = {name: req.get_param(name) for name in ("school", "entity", "limit")}
        send(
            resp,
            {
                "run": run["id"],
                "state": run["state"],
                "base_version": run["base_version"],
                "diff": run["diff"],
                "counts": run["preview"],
                "exclusions": run["exclusions"],
                "items": rows[:limit],
                "next": next_url(f"{PATH}/{run['id']}/preview", place, again),
            },
        )


class RunDiff(Resource):
    """`/api/v1/imports/{run_id}/diff`."""

    @described(answers.ChangesPage, query=(*PAGED, *WHICH), refusals=(409, 410))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """A page of the changes, field by field."""
        key = key_of(req, run_id) | asked(req)
        limit, place = limit_of(req), behind(req.get_param("cursor"))
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            run = await shown(connection, key)
            found = await changed(connection, run, key, place, limit + 1)
        last = found[limit - 1] if len(found) > limit else None
        position = None if last is None else [last.rank, last.row["sourced_id"]]
        again = {name: req.get_param(name) for name in ("entity", "change", "school", "limit")}
        send(
            resp,
            {
                "diff": run["diff"],
                "base_version": run["base_version"],
                "items": [each.json() for each in found[:limit]],
                "next": next_url(f"{PATH}/{run['id']}/diff", position, again),
            },
        )


class Download(Resource):
    """The whole diff as a file."""

    async def _begin(self, req: Request, run_id: str) -> tuple[DictRow, dict[str, Any]]:
        """What is asked for; raises before the first byte where it is not there."""
        key = key_of(req, run_id) | asked(req)
        async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
            return await shown(connection, key), key

    async def _pages(
        self, run: DictRow, key: Mapping[str, Any]
    ) -> AsyncIterator[list[dict[str, Any]]]:
        place: Place | None = Place()
        while place is not None:
            async with self._database.tenant(key["tenant_id"], snapshot=True) as connection:
                found = await changed(connection, run, key, place, PAGE)
            yield [each.json() for each in found]
            full = len(found) == PAGE
            place = Place(found[-1].rank, found[-1].row["sourced_id"]) if full else None


class RunCsv(Download):
    """`/api/v1/imports/{run_id}/diff.csv`."""

    @described(Stream("text/csv"), query=(*WHICH, LANGUAGE), refusals=(409, 410))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """Every change as a file for Excel, a line for each field."""
        language = language_of(req)
        run, key = await self._begin(req, run_id)
        as_file(resp, CSV, f"import-{run['id']}.csv")
        resp.stream = self._lines(resp, run, key, language)

    async def _lines(
        self, resp: Response, run: DictRow, key: Mapping[str, Any], language: Language
    ) -> AsyncIterator[bytes]:
        yield spreadsheets.BOM + spreadsheets.line(HEADINGS[language])
        async for page in self._pages(run, key):
            counted(resp, len(page))
            yield b"".join(line for change in page for line in lines(change, language))


class RunNdjson(Download):
    """`/api/v1/imports/{run_id}/diff.ndjson`."""

    @described(Stream("application/x-ndjson"), query=WHICH, refusals=(409, 410))
    async def on_get(self, req: Request, resp: Response, run_id: str) -> None:
        """Every change, one JSON object a line."""
        run, key = await self._begin(req, run_id)
        as_file(resp, NDJSON, f"import-{run['id']}.ndjson")
        resp.stream = self._lines(resp, run, key)

    async def _lines(
        self, resp: Response, run: DictRow, key: Mapping[str, Any]
    ) -> AsyncIterator[bytes]:
        async for page in self._pages(run, key):
            counted(resp, len(page))
            yield b"".join(dump(change) + b"\n" for change in page)


async def shown(connection: Connection, key: Mapping[str, Any], *, kept: bool = True) -> DictRow:
    """What the run has shown; `kept`: and each change of it is still there."""
    table = ".".join(kept_rows(key["run_id"], Org))
    cursor = await connection.execute(SQL["shown"], {**key, "table": table})
    run = await cursor.fetchone()
    if run is None:
        raise NoSuchRun
    if run["preview"] is None:
        raise NothingShown
    if kept and not run["kept"]:
        raise DiffDeleted
    return run


async def changed(
    connection: Connection, run: DictRow, key: Mapping[str, Any], place: Place, limit: int
) -> list[Changed]:
    """At most `limit` changes behind a place."""
    found: list[Changed] = []
    for rank, entity in enumerate(ROSTERING):
        if len(found) == limit:
            break
        if rank < place.rank or key["entity"] not in (None, entity.file):
            continue
        own = {
            **key,
            "base": run["base_version"],
            "after": place.sourced_id if rank == place.rank else None,
            "limit": limit - len(found),
        }
        try:
            cursor = await connection.execute(proposed.changes(run["id"], entity), own)
        except UndefinedTable as error:  # its time was over just now
            raise DiffDeleted from error
        found += [Changed(rank, row) for row in await cursor.fetchall()]
    return found


def key_of(req: Request, run_id: str) -> dict[str, Any]:
    """The run that is asked for, in the caller's district."""
    return {"tenant_id": caller_of(req).tenant, "run_id": parsed_id(run_id)}


def after(cursor: str | None) -> tuple[str | None, str | None]:
    """The last school and entity on the page before."""
    if cursor is None:
        return None, None
    match decode(cursor):
        case [str(school), str(entity)] if "\0" not in school + entity:
            return school, entity
        case _:
            raise BadCursor
