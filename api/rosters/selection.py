"""`fields`: which top-level properties of the records are wanted.

What is no property of theirs is refused. In 1.1 it is answered with all properties and a warning;
only a blank name is refused there.
"""

from collections.abc import Iterable
from typing import Any

from falcon.asgi import Request

from api.rosters.sight import Sight
from schemas.errors import BadRequest
from schemas.rest.editions import ONE_TWO, Edition
from schemas.rest.properties import top_level
from schemas.roster import AnyEntity


class InvalidSelectionField(BadRequest):
    """A name in fields is blank or no property of the record."""

    code = "invalid_selection_field"


class BlankSelectionField(InvalidSelectionField):
    """A name in fields is blank."""

    code = "invalid_blank_selection_field"


def fields_of(
    req: Request, entity: AnyEntity, sight: Sight, edition: Edition = ONE_TWO
) -> frozenset[str] | None:
    """The top-level properties that are wanted; None: all of them. Hidden ones are unknown."""
    names = named(req)
    if names is None:
        return None
    if edition.lenient and not all(names):
        raise BlankSelectionField
    strange = unknown(names, entity, sight, edition)
    if not strange:
        return frozenset(names)
    if edition.lenient:
        return None
    raise InvalidSelectionField(f"fields: '{strange[0]}' is not a property of these records.")


def named(req: Request) -> list[str] | None:
    """The names that a request gives; None: it says nothing."""
    given = req.get_param_as_list("fields")
    if given is None:
        return None
    return [name.strip() for text in given for name in text.split(",")]


def unknown(
    names: Iterable[str], entity: AnyEntity, sight: Sight, edition: Edition = ONE_TWO
) -> list[str]:
    """Those that are no property that may be seen."""
    known = top_level(entity, edition)
    return [name for name in names if name not in known or sight.hides(entity, name)]


def selected(body: dict[str, Any], wanted: frozenset[str] | None) -> dict[str, Any]:
    """The wanted properties, and only those."""
    if wanted is None:
        return body
    return {name: value for name, value in body.items() if name in wanted}
