"""All but these: schools and entities are taken out of a change set, with all that needs them.

A change of an excluded school or entity stays out. So does, until nothing more follows: a row that
names a record which would only be there by an excluded change, the parts of an excluded user, and a
deletion that would leave a record that stays without what it refers to. What remains is checked
like a package of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline import proposals
from pipeline.claims import Claim
from pipeline.database import Connection
from pipeline.faults import Findings, TooMany
from pipeline.proposals import ACTIONS, Look, Tally
from pipeline.records.settling import Settling
from schemas.columns import Key, Ref, Refs
from schemas.policy import Reading
from schemas.profiles import V1_2_1
from schemas.proposals import Except
from schemas.roster import BY_FILE, PARTS, ROSTERING, AnyEntity
from schemas.roster.people import User
from schemas.runs import Counts

EXAMPLES = 20  # records that are left out because others are


def exclude(db: Connection, claim: Claim, given: Except) -> list[dict[str, str]]:
    """Take the schools and entities, and all that needs them, out of the views on what is kept.

    Answers examples of what only follows, with the reason of each.
    """
    closure = Closure(db, claim)
    closure.begin(given)
    while closure.follow():
        pass
    proposals.stand(db, claim.id, without={entity: out(entity) for entity in ROSTERING})
    return closure.examples()


def faults(db: Connection, tenant_id: int, *, first: bool) -> set[str]:
    """The rules that what remains breaks."""
    findings = Findings(10 * len(ROSTERING))
    settling = Settling(db, tenant_id, findings, V1_2_1, Reading(), {}, 1, first=first)
    with suppress(TooMany):
        settling.settle()
    return {each.rule.id for each in findings.all if each.rule.severity == "error"}


def shown(
    given: Mapping[str, Any],
    examples: list[dict[str, str]],
    preview: Mapping[str, Counts],
    tally: Tally,
) -> dict[str, Any]:
    """What leaving these out comes to: the hash of what remains, and how much that is."""
    return {
        "except": given,
        "diff": tally.diff,
        "counts": tally.changes,
        "excluded": {
            file: less
            for file, counts in preview.items()
            if any((less := difference(counts, tally.changes.get(file, Counts()))).values())
        },
        "examples": examples,
    }


def difference(before: Counts, after: Counts) -> dict[str, int]:
    """How many changes of each kind are missing."""
    numbers: Mapping[str, Any] = before
    left: Mapping[str, Any] = after
    return {action: numbers.get(action, 0) - left.get(action, 0) for action in ACTIONS}


def out(entity: AnyEntity) -> Identifier:
    """The table of the keys that are left out, with the reason of each."""
    return Identifier("pg_temp", f"excluded_{entity.table}")


@dataclass(slots=True)
class Closure:
    """What is left out so far. The views show all that is kept."""

    db: Connection
    claim: Claim
    fresh: set[AnyEntity] = field(default_factory=set)

    def __post_init__(self) -> None:
        for entity in ROSTERING:
            self.db.execute(
                SQL(
                    'create temporary table {} (sourced_id text collate "C" primary key,'
                    " because text not null, via text) on commit drop"
                ).format(Identifier(f"excluded_{entity.table}"))
            )

    def begin(self, given: Except) -> None:
        """Leave out what is named."""
        for entity in ROSTERING:
            if entity.file in given.entities:
                self._add(entity, ALL)
            elif given.schools:
                for records in self._schooled(entity):
                    self._add(entity, OF_SCHOOLS, records=records, schools=Literal(given.schools))

    def follow(self) -> bool:
        """Leave out what needs what is left out by now; answer whether there was any."""
        before, self.fresh = self.fresh, set()
        for entity in ROSTERING:
            for column, target in references(entity):
                if target in before:
                    self._refer(entity, column, target)
                if entity in before:
                    self._hold(entity, column, target)
        if User in before:
            for part in PARTS:
                self._add(part, PART)
                self._add(part, PART_GONE)
        return bool(self.fresh)

    def examples(self) -> list[dict[str, str]]:
        """Some of what only follows."""
        each = SQL(
            "(select {file} as file, sourced_id, because, via from {out}"
            " where because not in ('entity', 'school') order by sourced_id limit {limit})"
        )
        query = SQL(" union all ").join(
            each.format(file=Literal(e.file), out=out(e), limit=Literal(EXAMPLES))
            for e in ROSTERING
        )
        found = self.db.execute(query + SQL(" limit {}").format(Literal(EXAMPLES)))
        names = ("entity", "sourcedId", "because", "via")
        return [dict(zip(names, row, strict=True)) for row in found]

    def _refer(self, entity: AnyEntity, column: Key | Ref | Refs, target: AnyEntity) -> None:
        """Rows that name a record which is only there by an excluded change."""
        self._add(
            entity,
            REFERS,
            reference=reference(column, "s"),
            target_out=out(target),
            target_live=Identifier(target.table),
        )

    def _hold(self, entity: AnyEntity, column: Key | Ref | Refs, target: AnyEntity) -> None:
        """Deletions of what records refer to that stay as they are."""
        self._add(
            target,
            HELD,
            reference=reference(column, "l"),
            holder_out=out(entity),
            holder_live=Identifier(entity.table),
        )

    def _add(self, entity: AnyEntity, query: LiteralString, **facts: Composable) -> None:
        rows, keys = proposals.places(self.claim.id, entity)
        composed = SQL("{} {} on conflict do nothing").format(
            SQL("insert into {} (sourced_id, because, via)").format(out(entity)),
            SQL(query).format(
                out=out(entity),
                rows=rows,
                keys=keys,
                live=Identifier(entity.table),
                users_out=out(User),
                tenant=Literal(self.claim.tenant_id),
                **facts,
            ),
        )
        if self.db.execute(composed).rowcount:
            self.fresh.add(entity)

    def _schooled(self, entity: AnyEntity) -> Iterator[Composed]:
        """The schools of the changed records, as they would be and as they are."""
        tenant_id = self.claim.tenant_id
        rows, keys = proposals.places(self.claim.id, entity)
        after = SQL("(select *, '' as action from {})").format(rows)
        before = SQL(
            "(select l.*, '' as action from {} as l where l.tenant_id = {} and l.status = 'active'"
            " and l.sourced_id in (select sourced_id from {} union all select sourced_id from {}))"
        ).format(Identifier(entity.table), Literal(tenant_id), rows, keys)
        looks: tuple[tuple[Composable, Look], ...] = (
            (after, lambda other, among: proposals.future(other, tenant_id, among=among)),
            (before, lambda other, among: proposals.present(other, tenant_id, among)),
        )
        for records, look in looks:
            found = proposals.of_schools(entity, records, look)
            if found is not None:
                yield found


def references(entity: AnyEntity) -> Iterator[tuple[Key | Ref | Refs, AnyEntity]]:
    """The columns that point at stored records, with what they point at."""
    for column in entity.references():
        if BY_FILE[column.to].kept:
            yield column, BY_FILE[column.to]


def reference(column: Key | Ref | Refs, alias: str) -> Composed:
    """The keys that a row names in a column, as a lateral relation."""
    cell = Identifier(alias, column.name)
    if isinstance(column, Refs):
        return SQL("lateral (select unnest({}) as key)").format(cell)
    return SQL("lateral (select {} as key)").format(cell)


ALL = """
    select sourced_id, 'entity', null from {rows}
    union select sourced_id, 'entity', null from {keys}
"""

OF_SCHOOLS = """
    select sourced_id, 'school', min(school) from ({records}) as c
    where school = any({schools}) group by 1
"""

REFERS = """
    select s.sourced_id, 'reference', min(r.key) from {rows} as s, {reference} as r
    where s.status = 'active' and r.key in (
        select x.sourced_id from {target_out} as x where not exists (
            select from {target_live} as t
            where t.tenant_id = {tenant} and t.sourced_id = x.sourced_id and t.status = 'active'
        )
    ) and not exists (select from {out} as o where o.sourced_id = s.sourced_id)
    group by 1
"""

HELD = """
    select r.key, 'deletion', min(l.sourced_id)
    from {holder_live} as l join {holder_out} as x using (sourced_id), {reference} as r
    where l.tenant_id = {tenant} and l.status = 'active' and r.key in (
        select sourced_id from {keys}
        union all
        select sourced_id from {rows} where status = 'tobedeleted'
    ) and not exists (select from {out} as o where o.sourced_id = r.key)
    group by 1
"""

PART = """
    select s.sourced_id, 'part', s.user_sourced_id from {rows} as s
    where s.user_sourced_id in (select sourced_id from {users_out})
      and not exists (select from {out} as o where o.sourced_id = s.sourced_id)
"""

PART_GONE = """
    select g.sourced_id, 'part', l.user_sourced_id from {keys} as g
    join {live} as l on l.tenant_id = {tenant} and l.sourced_id = g.sourced_id
    where l.user_sourced_id in (select sourced_id from {users_out})
      and not exists (select from {out} as o where o.sourced_id = g.sourced_id)
"""
