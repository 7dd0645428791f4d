"""Previews of mappings, made for the gateway.

What makes them carries data frames, which most services never need: it is loaded with the first.
"""

# ruff: noqa: PLC0415 -- see above

import structlog

from pipeline.database import connect
from pipeline.limits import Limits
from schemas.statements import load

NAME = "rosterhub previews"
SQL = load("pipeline", "mappings.sql")
log = structlog.get_logger()


def answer(url: str, limits: Limits) -> None:
    """Make every preview that waits, in every district; forget those that are an hour old."""
    with (
        connect(url, role="rosterhub_control", name=NAME) as control,
        connect(url, name=NAME) as db,
    ):
        if control.execute(SQL["previews_due"]).fetchone() is None:
            return
        from pipeline.previewing import answer_due

        if made := answer_due(db, control, limits):
            log.info("previews_made", number=made)
