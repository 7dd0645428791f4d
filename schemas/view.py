"""Who sees which records: a condition for each entity, as SQL that can be asked of any moment.

A condition speaks of one record as `{row}`. It finds the active records of an entity by the name of
its table, such as `{roles}`, the sourcedIds that are seen of one as `{seen_users}`, and sets of its
own by their names: whoever fills that in decides whether the roster is meant as it stands or as it
was. What else stands in braces is a fact of the view. An entity without a condition is seen whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import LiteralString, assert_never

from schemas.columns import Column, Ref
from schemas.roster import BY_FILE, AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.people import Role
from schemas.roster.teaching import Enrollment
from schemas.schools import SCHOOLS, As, Own, Path, Through


@dataclass(frozen=True, slots=True)
class View:
    """What of a roster somebody sees.

    `visible` are the conditions, `sets` the queries of what they speak of, which may name
    themselves, `facts` the values. `hidden` columns are blank to them, and columns that nobody
    declared are theirs only with `metadata`.
    """

    visible: Mapping[AnyEntity, LiteralString] = field(default_factory=dict)
    sets: Mapping[str, LiteralString] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    hidden: frozenset[Column] = frozenset()
    metadata: bool = True

    def __and__(self, other: "View") -> "View":
        """What both see. Their sets and facts have names of their own."""
        both = dict(self.visible)
        for entity, condition in other.visible.items():
            both[entity] = f"({both[entity]}) and ({condition})" if entity in both else condition
        return View(
            visible=both,
            sets={**self.sets, **other.sets},
            facts={**self.facts, **other.facts},
            hidden=self.hidden | other.hidden,
            metadata=self.metadata and other.metadata,
        )


EVERYTHING = View()

# --- Some schools ---------------------------------------------------------------------------

SCHOOLS_BELOW: LiteralString = """
    select unnest({schools}::text[]) collate "C" as sourced_id
    union
    select o.sourced_id from {orgs} as o join {schools_below} as b
        on b.sourced_id = o.parent_sourced_id
"""
"""The schools that are named, and what is below them."""

SCHOOLS_ABOVE: LiteralString = """
    (
        select b.sourced_id from {schools_below} as b
        union
        select c.org_sourced_id from {courses} as c
        where c.sourced_id in (select sourced_id from {seen_courses})
        union
        select r.org_sourced_id from {roles} as r
        where r.sourced_id in (select sourced_id from {seen_roles})
    )
    union
    select o.parent_sourced_id from {orgs} as o join {schools_above} as a using (sourced_id)
    where o.parent_sourced_id is not null
"""
"""These, the orgs of the courses and roles that go along, and what is above all of them."""

BELOW: LiteralString = "(select sourced_id from {schools_below})"

PRIMARY: LiteralString = """(
    {row}.role_type = 'primary'
    and {row}.user_sourced_id in (select sourced_id from {seen_users})
    and {row}.user_sourced_id not in (
        select t.user_sourced_id from {roles} as t
        where t.role_type = 'primary' and t.org_sourced_id in BELOW
    )
)"""
"""The primary role of somebody who has another one at the schools: nobody is without (Japan 7)."""

CLOSED: Mapping[AnyEntity, tuple[Ref, ...]] = {
    Enrollment: (Enrollment.user_sourced_id, Enrollment.class_sourced_id)
}
"""References that a record must have, to records that the schools alone do not bring along."""


def of_schools(schools: Sequence[str]) -> View:
    """What belongs to these schools (`schemas.schools`), and what that cannot do without."""
    if not schools:
        return EVERYTHING
    return View(
        visible={
            **{entity: closed(entity) for entity, paths in SCHOOLS.items() if paths},
            Role: f"({closed(Role)} or {PRIMARY.replace('BELOW', BELOW)})",
            Org: "{row}.sourced_id in (select sourced_id from {schools_above})",
        },
        sets={"schools_below": SCHOOLS_BELOW, "schools_above": SCHOOLS_ABOVE},
        facts={"schools": list(schools)},
    )


def closed(entity: AnyEntity) -> LiteralString:
    """The condition of an entity with those of the records that it must refer to."""
    own = " or ".join(of_path(path) for path in SCHOOLS[entity])
    needed = (among(column, BY_FILE[column.to]) for column in CLOSED.get(entity, ()))
    return " and ".join([f"({own})", *needed])


def among(column: Column, entity: AnyEntity) -> LiteralString:
    """The condition that a record points at one that is seen."""
    there = f"(select sourced_id from {{seen_{entity.table}}})"  # noqa: S608  # declared names
    return f'{{row}}."{column.name}" in {there}'


def of_path(path: Path) -> LiteralString:
    """The condition that a path from a record leads to the schools."""
    match path:
        case Own(column):
            return f'{{row}}."{column.name}" in {BELOW}'
        case Through(entity, by, column):
            pointing = f'select t."{by.name}" from {{{entity.table}}} as t'  # noqa: S608  # same
            return f'{{row}}.sourced_id in ({pointing} where t."{column.name}" in {BELOW})'
        case As(column, entity):
            return among(column, entity)
        case _:
            assert_never(path)
