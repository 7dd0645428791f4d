"""`/api/v1/checksums`: what a copy of the roster must add up to, by entity and school."""

from typing import Any

from falcon.asgi import Request, Response

from api.caller import Needs, caller_of
from api.deltas.feed import AS_OF, FILES, Feed, NotPrepared, say_as_of
from api.deltas.reading import SQL, said
from api.form import send
from api.openapi import answers
from api.openapi.described import a_number, a_word, described
from schemas.errors import BadRequest, Missing
from schemas.sums import ALL

DIGITS = 18  # more than any version has


ASKED = (
    a_number("version", "Of this version; else the newest.", least=1, most=10**DIGITS - 1),
    a_word("entity", FILES, "Of this collection alone."),
)


class NotKept(Missing):
    """The checksums of this version are not kept, or not made yet."""


class Checksums:
    """The sums of a version as the caller sees it; without `version`, of the newest."""

    needs = Needs("roster.read")

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    @described(answers.SumsShown, query=ASKED, headers=(AS_OF,))
    async def on_get(self, req: Request, resp: Response) -> None:
        """A set for each entity as a whole, whose `school` is null, and for each of its schools."""
        caller, view, asked = caller_of(req), self._feed.view(req), version_of(req)
        async with self._feed.database.tenant(caller.tenant, snapshot=True) as connection:
            state = await self._feed.state(connection, caller.tenant, view.tag)
            if state.version is None:
                raise NotPrepared
            version = state.version if asked is None else asked
            key = {"tenant_id": caller.tenant, "lens": view.tag, "version": version}
            cursor = await connection.execute(SQL["sums"], key)
            row = await cursor.fetchone()
        if row is None:
            raise NotKept
        items: list[dict[str, Any]] = []
        for entity in view.entities:
            kept = row["sums"].get(entity.file, {})
            items += [
                {"entity": entity.file, "school": school or None, **said(kept.get(school))}
                for school in sorted({ALL, *kept})
            ]
        say_as_of(resp, state)
        resp.cache_control = ["private", "no-cache"]
        answer = {"version": version, "publishedAt": row["published_at"]}
        send(resp, {**answer, "items": items, "next": None})


def version_of(req: Request) -> int | None:
    """The version that is asked for; None: the newest."""
    text = req.get_param("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise BadRequest("version is the number of a version.", field="version")
    return int(text)
