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
from api.exports import DOWNLOADS, OPEN, ticket_for
from api.form import send
from api.openapi import answers
from api.openapi.described import PAGED, Listed, a_word, described
from api.words import among
from schemas.exports import ExportProfile
from schemas.secrets import Vault
from schemas.tickets import issue

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
        profile, feed = among(req, "profile", PROFILES) or "", self._feed
        asked = self._asked(caller, req.get_param("cursor", default=NOW))
        async with feed.database.tenant(caller.tenant, snapshot=True) as connection:
            state = await feed.state(connection, caller.tenant, view.tag)
            if state.version is None:
                raise NotPrepared
            reached = state.version
            facts = {**key_of(caller.tenant, view), "profile": profile}
            row = await (await connection.execute(SQL["follower"], facts)).fetchone()
            if asked is not None:
                reached = asked.place.version - 1
                reason = await self._broken(connection, caller, asked, state)
                if reason is None and (row is None or reached < row["since"]):
                    reason = "not_packaged"
                if reason is not None:
                    raise feed.again(reason, address(profile))
            behind = {**facts, "version": reached, "limit": limit + 1}
            found = await (await connection.execute(SQL["packages"], behind)).fetchall()
        await feed.ahead.follow(caller.tenant, view, state.version, profile, anew=row is None)
        some, made = found[:limit], reached if row is None else row["version"]
        last = some[-1]["version"] if len(found) > limit else max(reached, made)
        stand = Stand(begin(last + 1), state.epoch, caller.lens_revision)
        cursor = feed.cursors.sealed(caller, stand)
        say_as_of(resp, state)
        resp.cache_control = ["no-store"]
        items = [self._as_json(caller, each) for each in some]
        following = address(profile, limit=req.get_param("limit"), cursor=cursor)
        send(resp, {"items": items, "next": following})

    def _asked(self, caller: Caller, cursor: str) -> Stand | None:
        """Where the client wants to go on, between two versions; None: from now on."""
        if cursor == NOW:
            return None
        asked = self._feed.cursors.opened(caller, cursor)
        if asked.place.mode != "log":
            raise BadCursor
        return asked

    async def _broken(
        self, connection: Connection, caller: Caller, asked: Stand, state: State
    ) -> str | None:
        """Why no package goes on from there; None: some may."""
        if asked.epoch != state.epoch:
            return "restored"
        if asked.revision != caller.lens_revision:
            former = await self._feed.former(connection, caller, asked.revision)
            if former != lens_of(caller):
                return "lens_changed"
        return None

    def _as_json(self, caller: Caller, row: Mapping[str, Any]) -> dict[str, Any]:
        """A package as its row has it, and an address that leads to it."""
        ticket = ticket_for(caller, row["id"], row["now"] + OPEN)
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
