"""Which runs of the history are wanted: the filters of `GET /api/v1/imports`."""

from datetime import datetime
from typing import Any, TypeAlias, get_args

from falcon.asgi import Request

from api.words import among, not_among
from schemas.errors import BadRequest
from schemas.roster import ROSTERING
from schemas.runs import State

Wanted: TypeAlias = dict[str, Any]

STATES: tuple[State, ...] = get_args(State)
KINDS = ("import", "undo", "erasure")
FILES = tuple(entity.file for entity in ROSTERING)
FILTERS = ("state", "kind", "entity", "created_by", "since", "until", "file")


def wanted(req: Request) -> Wanted:
    """The filters as parameters of the query; None: no such filter."""
    return {
        "state": states(req),
        "kind": among(req, "kind", KINDS),
        "entity": among(req, "entity", FILES),
        "created_by": text(req, "created_by"),
        "since": instant(req, "since"),
        "until": instant(req, "until"),
        "file": text(req, "file"),
    }


def kept(req: Request) -> dict[str, str | None]:
    """What the address of the next page repeats."""
    return {name: req.get_param(name) for name in (*FILTERS, "limit")}


def states(req: Request) -> list[str] | None:
    """One state, or several with commas between."""
    given = req.get_param("state")
    if given is None:
        return None
    named = given.split(",")
    if not set(named) <= set(STATES):
        raise not_among("state", STATES)
    return named


def text(req: Request, name: str) -> str | None:
    """Text that PostgreSQL can compare: it has no NUL."""
    value = req.get_param(name)
    if value is not None and ("\0" in value or not value):
        raise BadRequest(f"{name} is empty or has a NUL.", field=name)
    return value


def instant(req: Request, name: str) -> datetime | None:
    """An instant with its offset from UTC; a plus that came as a blank is understood."""
    value = req.get_param(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise BadRequest(
            f"{name} is an instant such as 2026-04-01T00:00:00Z or 2026-04-01T09:00:00+09:00.",
            field=name,
        )
    return moment
