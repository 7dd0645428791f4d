"""What an erasure wipes, by declaration: whose a record is, and what of it is about that person.

A record is a person's if it is that person, or has to name one: parts, demographics, enrollments.
Personal columns are wiped, and `metadata` whole, for what a district adds to the standard may say
anything. References and grades stay: lenses see by them, and who could see a record must learn that
it went, and find the sums of earlier versions true.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from schemas.columns import AnyColumn, Key, Pairs, Ref, Text
from schemas.roster import ROSTERING, AnyEntity
from schemas.roster.people import User

Cause: TypeAlias = Literal["request", "retention"]
CAUSES: tuple[Cause, ...] = get_args(Cause)
"""Why people are erased: somebody asked for it, or the policy of the district says when."""

METADATA = "metadata"
MARK: Mapping[str, str] = {"rosterhub.erased": "true"}
"""The metadata of an erased record: so readers, diffs and timelines say it by themselves."""

RETENTION = "retention"
"""Who has asked for it, where nobody has."""


def owner(entity: AnyEntity) -> AnyColumn | None:
    """The column that says whose record it is; None: nobody's."""
    if entity is User:
        return entity.sourced_id
    named = (c for c in entity.references() if c.to == User.file and c.required)
    return next((c for c in named if isinstance(c, Key | Ref)), None)


SEEN_BY: tuple[AnyColumn, ...] = (User.grades,)
"""The personal columns by which `schemas.visibility` decides who sees a record."""


def personal(entity: AnyEntity) -> tuple[AnyColumn, ...]:
    """The stored columns that say something of a person, and that an erasure does not need."""
    return tuple(c for c in entity.stored() if c.personal and c not in SEEN_BY)


def wiped(entity: AnyEntity) -> tuple[str, ...]:
    """What is wiped of a row."""
    return (*(column.name for column in personal(entity)), METADATA)


def telling(entity: AnyEntity) -> tuple[AnyColumn, ...]:
    """The personal columns whose words tell a person from others: names and identifiers."""
    return tuple(column for column in personal(entity) if isinstance(column, Text | Pairs))


OWNERS: Mapping[AnyEntity, str] = {
    entity: column.name for entity in ROSTERING if (column := owner(entity)) is not None
}
"""The records that are somebody's, each with the column that says whose."""
