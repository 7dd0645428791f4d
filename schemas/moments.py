"""A roster as it was at a moment, and what a lens showed of it then: SQL for gateways and workers.

A moment is the name of a parameter that holds a version, so one statement can compare two of them.
The rules of a lens are templates (`schemas.visibility`); here their relations are filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import LiteralString

from schemas import visibility
from schemas.columns import Ref, Refs
from schemas.lens import Lens
from schemas.roster import BY_FILE, PARTS, ROSTERING, AnyEntity
from schemas.roster.people import Role, User
from schemas.visibility import RECORD, literal

SERVED: tuple[AnyEntity, ...] = tuple(entity for entity in ROSTERING if entity not in PARTS)
"""The classes of REST, in load order; roles and profiles are parts of their users."""

COLUMNS: Mapping[AnyEntity, str] = {
    entity: ", ".join(
        f'"{name}"'
        for name in ("tenant_id", *(c.name for c in entity.stored()), "metadata", "version")
    )
    for entity in ROSTERING
}


def images(entity: AnyEntity, moment: str) -> tuple[LiteralString, LiteralString]:
    """The rows that stood at a moment: those that still do, and before-images."""
    each = (
        f"select {COLUMNS[entity]} from {{table}}"  # noqa: S608  # declared names alone
        f" where tenant_id = %(tenant_id)s and version <= %({moment})s"
    )
    ended = each.format(table=f"{entity.table}_history")
    return (
        literal(each.format(table=entity.table)),
        literal(f"{ended} and until_version > %({moment})s"),
    )


def made(entity: AnyEntity, moment: str) -> tuple[LiteralString, LiteralString]:
    """The rows that a version wrote, as it left them: those that still stand, and before-images.

    Where nothing came after the version, all of them stand. That an image ended later is said for
    the index, which knows until when images were true and not since when.
    """
    each = (
        f"select {COLUMNS[entity]} from {{table}}"  # noqa: S608  # declared names alone
        f" where tenant_id = %(tenant_id)s and version = %({moment})s"
    )
    ended = each.format(table=f"{entity.table}_history")
    return (
        literal(each.format(table=entity.table)),
        literal(f"{ended} and until_version > %({moment})s"),
    )


def replaced(entity: AnyEntity, moment: str) -> LiteralString:
    """The rows that a version put others in the place of, as they were before it.

    To be looked up one by one: written so that only the primary key serves, for of a version that
    is new the planner knows no numbers, and it would read all of it for each record.
    """
    return literal(
        f"select {COLUMNS[entity]} from {entity.table}_history"  # noqa: S608  # declared names
        f" where tenant_id = %(tenant_id)s and until_version + 0 = %({moment})s"
    )


def at(entity: AnyEntity, moment: str) -> LiteralString:
    """All rows that stood at a moment, as a relation."""
    return literal("({} union all {})".format(*images(entity, moment)))


@dataclass(frozen=True, slots=True)
class Sight:
    """What a lens showed at a moment; no lens shows everything.

    `prefix` keeps the values of two lenses in one statement apart.
    """

    lens: Lens | None
    moment: str
    prefix: str = ""

    def sees(self, entity: AnyEntity, record: str = RECORD) -> LiteralString:
        """Whether a record is visible."""
        template = visibility.visible(entity, self.lens, record)
        return "true" if template is None else self._filled(template)

    def holds(self, part: AnyEntity, record: str) -> LiteralString:
        """Whether the part of a visible user is visible."""
        template = visibility.visible(part, self.lens, record, (Role.user_sourced_id,))
        return "true" if template is None else self._filled(template)

    def left(self, entity: AnyEntity, record: str = RECORD) -> LiteralString:
        """What is left of the references that a lens may take away, as one value."""
        values = [
            self._filled(visibility.shown(column, self.lens, record)) for column in optional(entity)
        ]
        return literal(f"row ({', '.join(values)})" if values else "null")

    @property
    def parameters(self) -> dict[str, list[str]]:
        """The values of the lens."""
        values = visibility.parameters(self.lens)
        return {f"{self.prefix}{name}": value for name, value in values.items()}

    def _filled(self, template: LiteralString) -> LiteralString:
        relations = {
            entity.table: at(entity, self.moment) for entity in visibility.looked_up(template)
        }
        text = template.format(**relations)
        return literal(text.replace("%(sight_", f"%({self.prefix}sight_"))


def differs(before: Sight, after: Sight, entity: AnyEntity, record: str = RECORD) -> LiteralString:
    """Whether a record that both show looks otherwise, though it is the same row."""
    told = [f"{before.left(entity, record)} is distinct from {after.left(entity, record)}"]
    if before.lens != after.lens and entity is User:
        part = at(Role, after.moment)
        told.append(
            f"exists (select from {part} as held where held.user_sourced_id = {record}.sourced_id"  # noqa: S608  # declared names
            f" and ({before.holds(Role, 'held')}) is distinct from ({after.holds(Role, 'held')}))"
        )
    return literal(f"({' or '.join(told)})")


def optional(entity: AnyEntity) -> tuple[Ref | Refs, ...]:
    """The references to stored records that hide nothing: they are left out instead."""
    return tuple(
        column
        for column in entity.stored()
        if isinstance(column, Ref | Refs) and not column.required and BY_FILE[column.to].kept
    )


def limited(lens: Lens | None) -> bool:
    """Whether records can become visible or invisible without a change of their own."""
    return lens is not None and any(
        visibility.visible(entity, lens) is not None for entity in SERVED if lens.includes(entity)
    )


def tag_of(lens: Lens | None, client: str) -> str:
    """The name of what a client sees: equal for clients that see the same, blank for everything."""
    if lens is None:
        return ""
    return f"{lens.fingerprint}/{client}" if lens.pseudonyms else lens.fingerprint
