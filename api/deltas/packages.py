"""`/api/v1/deltas/packages`: files with what changed, to be applied one after the other.

Each goes on from where the one before it led. Whoever asks for a kind of package for the first time
has it made from then on; what was before is in an export.
"""

from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import urlencode

from falcon.asgi import Request, Response

from api.caller import Caller, Needs, caller_of
from api.cursors import BadCursor, limit_of
from api.database import Connection
from api.deltas.ahead import key_of
from api.deltas.feed import NOW, ROOT, Feed, NotPrepared, State, lens_of, say_as_of
from api.deltas.places import Stand, begin
from api.deltas.reading import SQL
from api.exports import DOWNLOADS, OPEN
from api.form import send
from api.openapi import answers
from api.openapi.described import PAGED, Listed, a_word, described
from api.words import among
from schemas.exports import ExportProfile
from schemas.secrets import Vault
from schemas.tickets import Ticket, issue

PATH = f"{ROOT}/packages"
PROFILES: tuple[str, ...] = get_args(ExportProfile)
DOC = "CSV packages in this profile; else the events of the feed, a line each."


class DeltaPackages:
    """The packages behind a cursor, oldest first."""

    needs = Needs("roster.read")

    def __init__(self, feed: Feed, vault: Vault) -> None:
        self._feed = feed
        self._vault = vault

    @described(
        Listed(answers.PackageShown),
        query=(*PAGED, a_word("profile", PROFILES, DOC)),
        refusals=(410,),
    )
    async def on_get(self, req: Request, resp: Response) -> None:
        """Where each can be fetched without a key, for a day; from `now` on if nothing is said."""
        caller, view, limit = caller_of(req), self._feed.everything(req), limit_of(req)
        profile = among(req, "profile", PROFILES) or ""
        cursor = req.get_param("cursor") or NOW
        asked = None if cursor == NOW else self._feed.cursors.opened(caller, cursor)
        feed = self._feed
        async with feed.database.tenant(caller.tenant, snapshot=True) as connection:
            state = await feed.state(connection, caller.tenant, view.tag)
            if state.version is None:
                raise NotPrepared
            facts = {**key_of(caller.tenant, view), "profile": profile}
            row = await (await connection.execute(SQL["follower"], facts)).fetchone()
            known = row or {"since": state.version, "version": state.version}
            reached = state.version
            if asked is not None:
                reached = await self._reached(connection, caller, asked, state)
                if reached < known["since"] or row is None:
                    raise feed.again("not_packaged", address(profile))
            behind = {**facts, "version": reached, "limit": limit + 1}
            found = await (await connection.execute(SQL["packages"], behind)).fetchall()
        await feed.ahead.follow(caller.tenant, view, state.version, profile, anew=row is None)
        some = found[:limit]
        last = some[-1]["version"] if len(found) > limit else max(reached, known["version"])
        stand = Stand(begin(last + 1), state.epoch, caller.lens_revision)
        cursor = feed.cursors.sealed(caller, stand)
        following = address(profile, limit=req.get_param("limit"), cursor=cursor)
        say_as_of(resp, state)
        resp.cache_control = ["no-store"]
        items = [self._as_json(caller, each) for each in some]
        send(resp, {"items": items, "next": following})

    async def _reached(
        self, connection: Connection, caller: Caller, asked: Stand, state: State
    ) -> int:
        """The last version that was applied; raises StartAgain where nothing goes on from it."""
        if asked.place.mode != "log":
            raise BadCursor
        if asked.epoch != state.epoch:
            raise self._feed.again("restored", PATH)
        if asked.revision != caller.lens_revision:
            former = await self._feed.former(connection, caller, asked.revision)
            if former != lens_of(caller):
                raise self._feed.again("lens_changed", PATH)
        return asked.place.version - 1

    def _as_json(self, caller: Caller, row: Mapping[str, Any]) -> dict[str, Any]:
        """A package as its row has it, and an address that leads to it."""
        ticket = Ticket(caller.tenant, row["id"], row["now"] + OPEN)
        return {
            "version": row["version"],
            "since": row["since"],
            "format": "csv" if row["profile"] else "ndjson",
            "profile": row["profile"] or None,
            "entries": row["entries"],
            "name": row["name"],
            "bytes": row["bytes"],
            "sha256": row["sha256"].hex(),
            "made_at": row["made_at"],
            "url": f"{self._feed.base}{DOWNLOADS}/{issue(self._vault, ticket)}",
            "expires_at": ticket.until,
        }


def address(profile: str, **more: str | None) -> str:
    """Where a list is read."""
    query = {"profile": profile or None, **more}
    said = urlencode({name: value for name, value in query.items() if value is not None})
    return f"{PATH}?{said}" if said else PATH
