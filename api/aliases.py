"""Aliases: which sourcedIds a source uses for records that the hub knows by others."""

from typing import Any

from falcon.asgi import Request, Response

from api.caller import caller_of
from api.cursors import limit_of, next_url
from api.form import send
from api.history import FILES, text
from api.openapi import answers
from api.openapi.described import PAGED, Listed, a_text, described
from api.proposals import Resource
from api.rekey import OF_FILE, behind
from api.words import among
from schemas.statements import load

SQL = load("api", "aliases.sql")
PATH = "/api/v1/aliases"


class Aliases(Resource):
    """`/api/v1/aliases`."""

    @described(
        Listed(answers.AliasShown),
        query=(*PAGED, OF_FILE, a_text("sourcedId", "Of this record, by either of its ids.")),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """A page of the aliases that stand; `sourcedId` finds one by either of its ids."""
        limit, tenant_id = limit_of(req), caller_of(req).tenant
        key: dict[str, Any] = {
            "tenant_id": tenant_id,
            "entity": among(req, "entity", FILES),
            "id": text(req, "sourcedId"),
            **behind(req.get_param("cursor")),
            "limit": limit + 1,
        }
        async with self._database.tenant(tenant_id, snapshot=True) as connection:
            rows = await (await connection.execute(SQL["page"], key)).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        place = None if last is None else [last["entity"], last["sourcedId"]]
        again = {name: req.get_param(name) for name in ("entity", "sourcedId", "limit")}
        send(resp, {"items": rows[:limit], "next": next_url(PATH, place, again)})
