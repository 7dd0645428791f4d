"""Previews of mappings, made for the gateway."""

import structlog

from pipeline.database import connect
from pipeline.limits import Limits
from pipeline.previewing import answer_due

NAME = "rosterhub previews"
log = structlog.get_logger()


def answer(url: str, limits: Limits) -> None:
    """Make every preview that waits, in every district; forget those that are an hour old."""
    with (
        connect(url, role="rosterhub_control", name=NAME) as control,
        connect(url, name=NAME) as db,
    ):
        if made := answer_due(db, control, limits):
            log.info("previews_made", number=made)
