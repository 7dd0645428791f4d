"""Whose row a faulty line is, where that can still be told: its first cell is the sourcedId."""

import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.text import Piece
from schemas.rules import Finding

FIRST_CELL = re.compile(r'"([0-9A-Za-z./@_\-]{1,255})"(?:,|$)|([0-9A-Za-z./@_\-]{1,255})(?:,|$)')


def owned(piece: Piece, faults: Sequence[Finding]) -> Sequence[Finding]:
    """The findings about misshapen lines of a piece, each with the sourcedId that it begins with.

    So it can be told that what refers to the record only follows.
    """
    wanted = [finding.line for finding in faults if finding.line and finding.sourced_id is None]
    if not wanted:
        return faults
    texts = piece.lines()
    numbers = piece.numbers(len(texts))
    here = numbers.is_in(wanted)
    found = dict(zip(numbers.filter(here), texts.filter(here), strict=True))
    return [
        finding
        if finding.sourced_id
        else replace(finding, sourced_id=first_cell(found.get(finding.line or 0)))
        for finding in faults
    ]


def first_cell(line: str | None) -> str | None:
    """The identifier that a line begins with, if it does."""
    match = FIRST_CELL.match(line or "")
    return match and (match[1] or match[2])
