"""`fields`: which top-level properties of the records are wanted."""

from typing import Any

from falcon.asgi import Request

from api.rosters.sight import Sight
from schemas.errors import BadRequest
from schemas.rest.properties import top_level
from schemas.roster import AnyEntity


class InvalidSelectionField(BadRequest):
    """A name in fields is blank or no property of the record."""

    code = "invalid_selection_field"


def fields_of(req: Request, entity: AnyEntity, sight: Sight) -> frozenset[str] | None:
    """The top-level properties that are wanted; None: all of them. Hidden ones are unknown."""
    given = req.get_param_as_list("fields")
    if given is None:
        return None
    names = [name.strip() for text in given for name in text.split(",")]
    known = top_level(entity)
    for name in names:
        if name not in known or sight.hides(entity, name):
            raise InvalidSelectionField(f"fields: '{name}' is not a property of these records.")
    return frozenset(names)


def selected(body: dict[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    """The wanted properties, and only those."""
    if wanted is None:
        return body
    return {name: value for name, value in body.items() if name in wanted}
