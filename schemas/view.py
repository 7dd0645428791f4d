"""Who sees which records: a condition for each entity, as SQL that can be asked of any moment.

A condition speaks of one record as `{row}`. It finds the records of an entity by the name of its
table, such as `{roles}`, deleted ones too, the sourcedIds that are seen of one as `{seen_users}`,
and sets of its own by their names: whoever fills that in decides whether the roster is meant as it
stands or as it was. What else stands in braces is a fact of the view. An entity without a condition
is seen whole.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import LiteralString, assert_never

from schemas.columns import Column, Ref, Refs
from schemas.lens import Lens
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.people import Role
from schemas.roster.teaching import Enrollment
from schemas.schools import SCHOOLS, As, Own, Path, Through
from schemas.visibility import parameters, refers, visible

Conditions = Mapping[AnyEntity, LiteralString]


@dataclass(frozen=True, slots=True)
class View:
    """What of a roster somebody sees.

    `visible` are the conditions, `sets` the queries of what they speak of, which may name
    themselves, `facts` the values. `kept` says of references that may be blank when they are not:
    the condition that `{value}` is seen. `hidden` columns are blank, and of the entities in `bare`
    no column is handed on that nobody declared.
    """

    visible: Conditions = field(default_factory=dict)
    kept: Mapping[Column, LiteralString] = field(default_factory=dict)
    sets: Mapping[str, LiteralString] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    hidden: frozenset[Column] = frozenset()
    bare: frozenset[AnyEntity] = frozenset()

    def __and__(self, other: "View") -> "View":
        """What both see. Their sets and facts have names of their own."""
        seen = dict(self.visible)
        for entity, condition in other.visible.items():
            seen[entity] = f"({seen[entity]}) and ({condition})" if entity in seen else condition
        kept = dict(self.kept)
        for column, condition in other.kept.items():
            kept[column] = f"({kept[column]}) and ({condition})" if column in kept else condition
        return View(
            visible=seen,
            kept=kept,
            sets={**self.sets, **other.sets},
            facts={**self.facts, **other.facts},
            hidden=self.hidden | other.hidden,
            bare=self.bare | other.bare,
        )


EVERYTHING = View()

# --- Some schools ---------------------------------------------------------------------------

SCHOOLS_BELOW: LiteralString = """
    select unnest({schools}::text[]) collate "C" as sourced_id
    union
    select o.sourced_id from {orgs} as o join {schools_below} as b
        on b.sourced_id = o.parent_sourced_id
    where o.status = 'active'
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
    where o.status = 'active' and o.parent_sourced_id is not null
"""
"""These, the orgs of the courses and roles that go along, and what is above all of them."""

BELOW: LiteralString = "(select sourced_id from {schools_below})"

PRIMARY: LiteralString = """(
    {row}.role_type = 'primary'
    and {row}.user_sourced_id in (select sourced_id from {seen_users})
    and {row}.user_sourced_id not in (
        select t.user_sourced_id from {roles} as t
        where t.status = 'active' and t.role_type = 'primary' and t.org_sourced_id in BELOW
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
    seen: Conditions = {
        **{entity: closed(entity) for entity, paths in SCHOOLS.items() if paths},
        Role: f"({closed(Role)} or {PRIMARY.replace('BELOW', BELOW)})",
        Org: "{row}.sourced_id in (select sourced_id from {schools_above})",
    }
    return View(
        visible=seen,
        kept={column: among("{value}", to) for column, to in optional() if to in seen},
        sets={"schools_below": SCHOOLS_BELOW, "schools_above": SCHOOLS_ABOVE},
        facts={"schools": list(schools)},
    )


def closed(entity: AnyEntity) -> LiteralString:
    """The condition of an entity with those of the records that it must refer to."""
    own = " or ".join(of_path(path) for path in SCHOOLS[entity])
    needed = (
        among(f'{{row}}."{column.name}"', BY_FILE[column.to]) for column in CLOSED.get(entity, ())
    )
    return " and ".join([f"({own})", *needed])


def optional() -> list[tuple[Ref | Refs, AnyEntity]]:
    """The references that may be blank, and to what."""
    return [
        (column, BY_FILE[column.to])
        for entity in ROSTERING
        for column in entity.references()
        if isinstance(column, Ref | Refs) and not column.required
    ]


def among(value: str, entity: AnyEntity) -> LiteralString:
    """The condition that a sourcedId is that of a record that is seen."""
    return f"{value} in (select sourced_id from {{seen_{entity.table}}})"  # noqa: S608  # declared


def of_path(path: Path) -> LiteralString:
    """The condition that a path from a record leads to the schools."""
    match path:
        case Own(column):
            return f'{{row}}."{column.name}" in {BELOW}'
        case Through(entity, by, column):
            pointing = f'select t."{by.name}" from {{{entity.table}}} as t'  # noqa: S608  # same
            there = f"t.status = 'active' and t.\"{column.name}\" in {BELOW}"
            return f"{{row}}.sourced_id in ({pointing} where {there})"
        case As(column, entity):
            return among(f'{{row}}."{column.name}"', entity)
        case _:
            assert_never(path)


# --- A lens ---------------------------------------------------------------------------------

PARAMETER = re.compile(r"%\((\w+)\)s")


def of_lens(lens: Lens) -> View:
    """What a client sees. Pseudonyms are put in behind the database (`schemas.veiling`)."""
    seen = {entity: visible(entity, lens, "{row}") for entity in ROSTERING}
    kept = {column: refers(column, lens, "{value}") for column, _ in optional()}
    return View(
        visible={entity: in_braces(said) for entity, said in seen.items() if said is not None},
        kept={column: in_braces(said) for column, said in kept.items() if said is not None},
        facts=parameters(lens),
        hidden=frozenset(c for e in ROSTERING for c in e.columns if lens.hides(c)),
        bare=frozenset(entity for entity in ROSTERING if lens.hides_metadata(entity)),
    )


def in_braces(template: str) -> LiteralString:
    """A template of `schemas.visibility` with its values named as here."""
    return PARAMETER.sub(r"{\1}", template)
