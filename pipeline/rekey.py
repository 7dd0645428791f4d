"""Mass change of sourcedIds, recognised: records that vanish while new ones look alike.

What looks alike is declared in `schemas.identity`. References are compared as they would be once
the map found so far is applied, so entities come in load order: with their schools and courses,
classes are known again, and with these their enrollments. Only one-to-one matches count; what has
several candidates is left out and counted. The map of a run that is held for it is kept beside its
change set (`pipeline.proposals`); what accepting it does is in `pipeline.rekeyed`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline.claims import Claim
from pipeline.database import Connection, one
from pipeline.proposals import Tally, close
from pipeline.stage import gone, staged
from schemas.columns import AnyColumn, Key, Ref, Refs
from schemas.identity import IDENTITIES, Alike, space
from schemas.proposals import kept_map
from schemas.roster import ROSTERING, AnyEntity

MAP = Identifier("pg_temp", "rekey")
LAYOUT = 'entity text, source_id text collate "C", hub_id text collate "C", alike text[]'


@dataclass(frozen=True, slots=True)
class Found:
    """How many records of a file vanish, are new, are alike, and how many cannot be told apart."""

    file: str
    vanished: int
    new: int
    alike: int
    ambiguous: int


def suspected(
    tally: Tally, stored: Mapping[str, int], share: float, at_least: int
) -> list[AnyEntity]:
    """The entities of which so many records vanish and are new that they may be the same.

    `at_least` counts over the whole package: three schools with new ids change all their pupils.
    """
    if sum(sum(numbers(counts)) for counts in tally.changes.values()) < max(at_least, 1):
        return []
    return [
        entity
        for entity in ROSTERING
        if (counts := tally.changes.get(entity.file))
        and (both := min(counts.get("created", 0), counts.get("deleted", 0)))
        and both >= share * stored.get(entity.file, 0)
    ]


def numbers(counts: Mapping[str, object]) -> Iterator[int]:
    """The numbers of a count."""
    return (number for number in counts.values() if isinstance(number, int))


def recognise(
    db: Connection,
    tenant_id: int,
    entities: Sequence[AnyEntity],
    stored: Mapping[str, int],
    share: float,
) -> list[Found]:
    """Find pairs that look alike, and keep them in the map for the rest of the transaction.

    An entity of which too few are alike is none.
    """
    if not entities:
        return []
    db.execute(SQL("create temporary table rekey ({}) on commit drop").format(SQL(LAYOUT)))
    db.execute("create index on pg_temp.rekey (entity, source_id)")
    found = []
    for entity in entities:
        pairing = Pairing(db, tenant_id, entity)
        counted = pairing.find()
        if counted.alike and counted.alike >= share * stored.get(entity.file, 0):
            found.append(counted)
        else:
            pairing.forget()
        db.execute("analyze pg_temp.rekey")
    return found


def keep(db: Connection, claim: Claim) -> None:
    """Keep the map as long as the change set, closed to every other district."""
    table = Identifier(*kept_map(claim.id))
    db.execute(SQL("create table {} ({})").format(table, SQL(LAYOUT)))
    db.execute(SQL("insert into {} select * from {}").format(table, MAP))
    db.execute(SQL("create unique index on {} (entity, source_id)").format(table))
    db.execute(SQL("create unique index on {} (entity, hub_id)").format(table))
    db.execute(SQL("analyze {}").format(table))
    close(db, claim.tenant_id, table)


@dataclass(frozen=True, slots=True)
class Pairing:
    """One entity: its vanished records, its new ones, and the pairs among them."""

    db: Connection
    tenant_id: int
    entity: AnyEntity

    @property
    def identities(self) -> tuple[Alike, ...]:
        """What makes two records look alike, the surest first."""
        return IDENTITIES[self.entity]

    def find(self) -> Found:
        """Pair what is alike; answer how much that is."""
        self._run(OLD, identities=self._identities("l"))
        self._run(NEW, identities=self._identities("s"), mapped=self._mapped())
        self._run(LEFT)
        self.db.execute("analyze pg_temp.vanished, pg_temp.fresh")
        alike = sum(self._match(nth, each) for nth, each in enumerate(self.identities))
        if space(self.entity) != self.entity.file:
            (alike,) = one(self.db, self._compose(FOLLOWING))
        vanished, new, ambiguous = one(self.db, self._compose(REST, candidates=self._candidates()))
        self.db.execute("drop table pg_temp.vanished, pg_temp.fresh cascade")  # with their views
        return Found(self.entity.file, vanished, new, alike, ambiguous)

    def forget(self) -> None:
        """These pairs are too few to mean anything."""
        if space(self.entity) == self.entity.file:
            self._run(FORGET)

    def _match(self, nth: int, alike: Alike) -> int:
        """Pair what this identity tells, one to one, and no stronger one denies."""
        return self._run(
            MATCH,
            identity=Identifier(f"identity_{nth}"),
            denied=self._denied(nth),
            alike=Literal(alike.names),
        )

    def _denied(self, nth: int) -> Composable:
        """Whether the pair differs where that decides."""
        decisive = [at for at, each in enumerate(self.identities[:nth]) if each.decisive]
        parts: list[Composable] = [
            SQL("v.{0} <> f.{0}").format(Identifier(f"identity_{at}")) for at in decisive
        ]  # null where either is blank
        return SQL("coalesce({}, false)").format(SQL(" or ").join(parts or [SQL("false")]))

    def _candidates(self) -> Composable:
        """The vanished records without a pair that look like any new one.

        A semi-join for each identity: `or` between look-ups would be quadratic.
        """
        parts = [
            SQL(
                "select v.sourced_id from pg_temp.lost as v"
                " where v.{0} in (select {0} from pg_temp.rest)"
            ).format(Identifier(f"identity_{nth}"))
            for nth in range(len(self.identities))
        ]
        return SQL(" union ").join(parts or [SQL("select null where false").format()])

    def _identities(self, alias: str) -> Composed:
        """The identities of a row, each as one text; null where it does not have it."""
        return SQL("").join(
            SQL(", case when {filled} then jsonb_build_array({values})::text end as {name}").format(
                filled=SQL(" and ").join(
                    SQL("{} is not null").format(Identifier(alias, column.name))
                    for column in each.by
                ),
                values=SQL(", ").join(self._value(c, alias) for c in (*each.by, *each.also)),
                name=Identifier(f"identity_{nth}"),
            )
            for nth, each in enumerate(self.identities)
        )

    def _value(self, column: AnyColumn, alias: str) -> Composable:
        """A value to compare; what a new record refers to, as the hub will call it."""
        cell = Identifier(alias, column.name)
        match column:
            case Refs():
                return SQL(
                    "array(select coalesce(m.hub_id, i.key) from unnest({}) as i (key) left join"
                    " {} as m on {} and m.entity = {} and m.source_id = i.key order by 1)"
                ).format(cell, MAP, Literal(alias == "s"), Literal(column.to))
            case Key() | Ref() if alias == "s" and column.to:
                return SQL("coalesce({}.hub_id, {})").format(Identifier(f"m_{column.name}"), cell)
            case _:
                return cell

    def _mapped(self) -> Composable:
        """The map, joined for each reference of the identities."""
        columns = {
            column.name: column
            for each in self.identities
            for column in (*each.by, *each.also)
            if isinstance(column, Ref)
        }
        return SQL("").join(
            SQL(
                " left join {map} as {alias}"
                " on {alias}.entity = {to} and {alias}.source_id = {cell}"
            ).format(
                map=MAP,
                alias=Identifier(f"m_{name}"),
                to=Literal(column.to),
                cell=Identifier("s", name),
            )
            for name, column in columns.items()
        )

    def _run(self, statement: LiteralString, **facts: Composable) -> int:
        return self.db.execute(self._compose(statement, **facts)).rowcount

    def _compose(self, statement: LiteralString, **facts: Composable) -> Composed:
        return SQL(statement).format(
            map=MAP,
            live=Identifier(self.entity.table),
            staged=staged(self.entity),
            gone=gone(self.entity),
            space=Literal(space(self.entity)),
            tenant=Literal(self.tenant_id),
            **facts,
        )


OLD = """
    create temporary table vanished on commit drop as
    select l.sourced_id {identities}
    from {gone} as g join {live} as l on l.tenant_id = {tenant} and l.sourced_id = g.sourced_id
    where l.status = 'active'
"""

NEW = """
    create temporary table fresh on commit drop as
    select s.sourced_id {identities}
    from {staged} as s {mapped}
    where s.status = 'active' and not exists (
        select from {live} as l where l.tenant_id = {tenant} and l.sourced_id = s.sourced_id
    )
"""

# What no pair was found for so far.
LEFT = """
    create temporary view rest as
    select * from pg_temp.fresh as f where not exists (
        select from {map} as m where m.entity = {space} and m.source_id = f.sourced_id
    );
    create temporary view lost as
    select * from pg_temp.vanished as v where not exists (
        select from {map} as m where m.entity = {space} and m.hub_id = v.sourced_id
    )
"""

MATCH = """
    with singles as (
        select n.new, o.old from (
            select {identity} as identity, min(sourced_id) as new from pg_temp.rest
            where {identity} is not null group by 1 having count(*) = 1
        ) as n join (
            select {identity} as identity, min(sourced_id) as old from pg_temp.lost
            where {identity} is not null group by 1 having count(*) = 1
        ) as o using (identity)
    )
    insert into {map} (entity, source_id, hub_id, alike)
    select {space}, f.sourced_id, v.sourced_id, {alike}
    from singles as s join pg_temp.fresh as f on f.sourced_id = s.new
    join pg_temp.vanished as v on v.sourced_id = s.old
    where not {denied}
"""

# Records that bear the ids of others are alike where these are.
FOLLOWING = """
    select count(*) from {map} as m join pg_temp.fresh as f on f.sourced_id = m.source_id
    join pg_temp.vanished as v on v.sourced_id = m.hub_id where m.entity = {space}
"""

REST = """
    select (select count(*) from pg_temp.vanished), (select count(*) from pg_temp.fresh),
        (select count(*) from ({candidates}) as c)
"""

FORGET = "delete from {map} where entity = {space}"
