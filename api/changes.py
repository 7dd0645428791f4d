"""A change of a record as people read it: what each column said before, and what it says after.

Columns have the names of the file, values look as in the file: words for booleans, days as written,
lists as lists.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

from schemas.roster import AnyEntity

Image: TypeAlias = Mapping[str, Any]
Fields: TypeAlias = dict[str, dict[str, Any]]

Change: TypeAlias = Literal["created", "updated", "deleted"]
CHANGES: tuple[Change, ...] = get_args(Change)
"""What a version can do to a record. One that comes back is updated: its status says so."""

Kind: TypeAlias = Change | Literal["touched"]
"""`touched`: a user of whom only a role or a profile changed."""

METADATA = "metadata."
STATUS = "status"


def kind_of(before: Image | None, after: Image, fields: Fields) -> Kind:
    """What happened to the record."""
    if before is None:
        return "created"
    if not fields:
        return "touched"
    if (before[STATUS], after[STATUS]) == ("active", "tobedeleted"):
        return "deleted"
    return "updated"


def differences(entity: AnyEntity, before: Image | None, after: Image) -> Fields:
    """What differs, by column. Of a new record all of it, and of a deleted one: it says no more."""
    old = dict(cells(entity, before)) if before else {}
    new = dict(cells(entity, after))
    if before and before[STATUS] == "active" and after[STATUS] == "tobedeleted":
        new = {}
    if not (old and new):
        old.pop(STATUS, None)
        new.pop(STATUS, None)
    names = dict.fromkeys((*old, *new))
    return {
        name: {"before": old.get(name), "after": new.get(name)}
        for name in names
        if old.get(name) != new.get(name)
    }


def cells(entity: AnyEntity, image: Image) -> Iterator[tuple[str, Any]]:
    """The values of an image under the names that their columns have in the file."""
    for column in entity.stored():
        if column.name != "sourced_id":
            yield column.csv, written(image[column.name])
    for name, value in (image["metadata"] or {}).items():
        yield METADATA + name, value


def written(value: object) -> object:
    """A value as the file has it."""
    match value:
        case bool():
            return "true" if value else "false"
        case _:
            return value
