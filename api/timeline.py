"""The timeline of a record: every version it had, and which line of which import gave it that."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from falcon.asgi import Request, Response

from api import runs, select
from api.caller import caller_of
from api.changes import differences, kind_of
from api.cursors import limit_of, next_url
from api.form import send
from api.openapi import answers
from api.openapi.described import PAGED, Listed, described
from api.segments import restored
from api.versions import SQL, Resource, older_than
from schemas.errors import Missing
from schemas.roster import BY_FILE, ROSTERING, AnyEntity

IMAGES = {entity: select.images(entity) for entity in ROSTERING}

Json = dict[str, Any]
Row = Mapping[str, Any]


class NoSuchRecord(Missing):
    """There is no record with this sourcedId, and there never was."""


class Timeline(Resource):
    """`/api/v1/records/{entity}/{sourced_id}/timeline`."""

    @described(Listed(answers.TimelineEntry), query=PAGED)
    async def on_get(self, req: Request, resp: Response, entity: str, sourced_id: str) -> None:
        """The versions of a record, newest first."""
        kept = BY_FILE.get(entity)
        if kept not in ROSTERING:
            raise Missing("There is no such file.", field="entity")
        limit, tenant_id = limit_of(req), caller_of(req).tenant
        before = older_than(req.get_param("cursor"))
        named = restored(sourced_id)
        key = {"tenant_id": tenant_id, "sourced_id": named}
        # One more than the page shows, for what is older says what changed.
        place = {"before": before, "limit": limit + 1}
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            cursor = await connection.execute(IMAGES[kept], key | place)
            images = await cursor.fetchall()
            versions = [row["version"] for row in images]
            cursor = await connection.execute(SQL["origins"], key | {"versions": versions})
            origins = {row["version"]: row for row in await cursor.fetchall()}
        if not images and before is None:
            raise NoSuchRecord
        last = [images[limit - 1]["version"]] if len(images) > limit else None
        path = f"/api/v1/records/{kept.file}/{quote(named, safe='')}/timeline"
        send(
            resp,
            {
                "items": told(kept, images, origins, limit),
                "next": next_url(path, last, {"limit": req.get_param("limit")}),
            },
        )


def told(
    entity: AnyEntity, images: Sequence[Row], origins: Mapping[int, Row], limit: int
) -> list[Json]:
    """Each image with what it came from, and how it differs from the one before it."""
    pairs = pairwise([*images, None])
    return [
        entry(entity, new, old, origins.get(new["version"], {}))
        for new, old in pairs
        if new is not None
    ][:limit]


def entry(entity: AnyEntity, new: Row, old: Row | None, origin: Row) -> Json:
    """One version of the record. Lines count as in the file: the header is line 1."""
    before = old and old["image"]
    fields = differences(entity, before, new["image"])
    change = kind_of(before, new["image"], fields)
    named = new["line"] is not None and change != "touched"
    run_id = origin.get("run_id")
    return {
        "version": new["version"],
        "published_at": origin.get("published_at"),
        "kind": origin.get("kind"),
        "undoes": origin.get("undoes"),
        "change": change,
        "run": run_id,
        "upload": origin.get("name"),
        "file": f"{entity.file}.csv" if named else None,
        "line": new["line"] if named else None,
        "fields": fields,
        "links": {"run": run_id and f"{runs.PATH}/{run_id}"},
    }
