"""What a reader asks for beside the page: `fields` now; `filter` and `sort` are refused or ignored.

This is the one place that reads the three.
"""

from typing import Any

from falcon.asgi import Request

from schemas.errors import BadRequest


class InvalidSelectionField(BadRequest):
    """A name in fields is blank or no property of the record."""

    code = "invalid_selection_field"


class InvalidFilterField(BadRequest):
    """Filtering is not possible yet."""

    code = "invalid_filter_field"


def fields_of(req: Request, known: tuple[str, ...]) -> frozenset[str] | None:
    """The top-level properties that are wanted; None: all of them."""
    given = req.get_param_as_list("fields")
    if given is None:
        return None
    names = [name.strip() for text in given for name in text.split(",")]
    for name in names:
        if name not in known:
            raise InvalidSelectionField(f"fields: '{name}' is not a property of these records.")
    return frozenset(names)


def refuse_filter(req: Request) -> None:
    """Never answer a filtered request with records that the filter would leave out."""
    if req.has_param("filter"):
        raise InvalidFilterField


def selected(body: dict[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    """The wanted properties, and only those."""
    if wanted is None:
        return body
    return {name: value for name, value in body.items() if name in wanted}
