"""Pseudonyms on their way in and out: what a client names is found, what it reads is veiled.

Inside the hub only real identifiers are looked up, so pages keep one order and indexes are used.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

from api.rosters.filters import Clause, Filter, InvalidFilterField
from schemas.columns import Key
from schemas.pseudonyms import Pseudonyms, points_to
from schemas.rest.properties import PROPERTIES, Linked, OfPart, Own, Property, is_profile
from schemas.rest.records import Related
from schemas.roster import BY_FILE, AnyEntity
from schemas.roster.people import Role, User, UserProfile

Row: TypeAlias = Mapping[str, Any]

NOBODY = ""
"""No record has it for an identifier."""


class Veil:
    """The pseudonyms of one client, before its requests and behind its answers."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms

    def real(self, file: str, named: str) -> str:
        """The record that the client means, or one that does not exist."""
        return self._pseudonyms.real(file, named) or NOBODY

    def shown(self, entity: AnyEntity, sourced_id: str) -> str:
        """What the client knows a record by."""
        return self._pseudonyms.of(entity, sourced_id)

    def conceals(self, entity: AnyEntity, path: str) -> bool:
        """Whether a path says an identifier otherwise than plainly: it can not be compared."""
        file = sayings(entity.file).get(path)
        return file is not None and self._pseudonyms.covers(file)

    def filter(self, entity: AnyEntity, wanted: Filter) -> Filter:
        """The filter with the identifiers that are meant."""
        return tuple(tuple(self._clause(entity, clause) for clause in group) for group in wanted)

    def _clause(self, entity: AnyEntity, clause: Clause) -> Clause:
        file = identifiers(entity.file).get(clause.path)
        if file is None or not self._pseudonyms.covers(file):
            return clause
        if clause.predicate not in ("=", "!="):
            raise InvalidFilterField(f"filter: '{clause.path}' is compared with = or !=.")
        return replace(clause, value=self.real(file, clause.value))

    def rows(self, entity: AnyEntity, rows: Iterable[Row]) -> list[Row]:
        """Records as the client gets them."""
        return [self._pseudonyms.row(entity, row) for row in rows]

    def related(self, related: Related) -> Related:
        """What belongs to them, by the identifiers that the client knows. Orgs keep theirs."""
        return Related(
            related.children,
            self._parts(Role, related.roles),
            self._parts(UserProfile, related.profiles),
        )

    def _parts(
        self, part: AnyEntity, found: Mapping[str, Sequence[Row]]
    ) -> dict[str, Sequence[Row]]:
        return {
            self._pseudonyms.shown(User.file, user): self.rows(part, parts)
            for user, parts in found.items()
        }


@cache
def identifiers(file: str) -> Mapping[str, str]:
    """The paths that are identifiers, and of which file."""
    found = {path: plainly(prop) for path, prop in PROPERTIES[BY_FILE[file]].items()}
    return {path: to for path, to in found.items() if to is not None}


@cache
def sayings(file: str) -> Mapping[str, str]:
    """The paths that say an identifier within an address, and of which file."""
    found = {path: within(prop) for path, prop in PROPERTIES[BY_FILE[file]].items()}
    return {path: to for path, to in found.items() if to is not None}


def plainly(prop: Property) -> str | None:
    """The file whose identifier the property is."""
    match prop:
        case Own(column=Key() as column):
            return points_to(column)
        case Linked(column=column, says="sourcedId"):
            return column.to
        case _:
            return None


def within(prop: Property) -> str | None:
    """The file of whose records the property says the address."""
    match prop:
        case Linked(column=column, says="href"):
            return column.to
        case OfPart(of_it=Own(column=column)) if is_profile(column):
            return UserProfile.file
        case _:
            return None
