"""The warnings of 1.1: what was passed over in a request that was answered all the same."""

from typing import Any

from falcon.asgi import Request

from api.errors import SORT, status_1p1
from api.rosters import selection, sorting
from api.rosters.questions import Question


def remarks(req: Request, question: Question) -> dict[str, Any]:
    """`statusInfoSet`, beside the records; nothing where there is nothing to say, as in 1.2."""
    edition = question.operation.edition
    if not edition.lenient:
        return {}
    entity, sight = question.operation.entity, question.rows.sight
    of = "is not a property of these records"
    fields = selection.unknown(selection.named(req) or (), entity, sight, edition)
    found = [
        warning("invalid_selection_field", f"fields: '{name}' {of}; all are sent.")
        for name in fields[:1]
    ]
    if not question.operation.single:
        strange = [
            name
            for name in sorting.named(req)
            if not sorting.sortable(entity, name, sight, edition)
        ]
        found += [
            warning(SORT, f"sort: '{name}' {of} that they can be sorted by.")
            for name in strange[:1]
        ]
    return {"statusInfoSet": found} if found else {}


def warning(code: str, text: str) -> dict[str, str]:
    """The request was answered; this part of it was not understood."""
    return status_1p1("success", "warning", code, text)
