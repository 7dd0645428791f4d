"""The re-key map is accepted: the change set that is kept becomes one that bears the hub's ids.

Every row is written anew with the hub's ids in sourcedId and every reference column, and what then
is just what is stored falls out: it is not written, and its digest, which was made of a file that
said the same, stays. Rows that do change get the digest that the next file will give them. The map
becomes aliases in the same transaction as the version (`pipeline.deciding`).
"""

from typing import Any, LiteralString, assert_never

import polars as pl
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline import exclusions, proposals, stage
from pipeline.aliases import NAMED, columns
from pipeline.claims import Claim
from pipeline.database import Connection, one
from pipeline.digests import digested
from pipeline.merge import listed, values
from pipeline.proposals import Tally
from pipeline.stage import copied, names
from schemas import rules
from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Day,
    Decimal,
    Flag,
    Instant,
    Key,
    Pairs,
    Ref,
    Refs,
    Text,
    Texts,
    Whole,
    Year,
)
from schemas.proposals import kept_map
from schemas.roster import ROSTERING, AnyEntity

TOGETHER = 20_000  # rows that are digested at a time


def accept(db: Connection, claim: Claim) -> set[str]:
    """Let the change set stand with the hub's ids where the one that is kept did.

    Answers the rules that it breaks then.
    """
    wrong: set[str] = set()
    for entity in ROSTERING:
        rekeying = Rekeying(db, claim, entity)
        rekeying.translate()
        if rekeying.doubled():
            wrong.add(rules.records.DUPLICATE.id)
        rekeying.drop_unchanged()
        rekeying.digest()
        rekeying.stand()
    return wrong | exclusions.faults(db, claim.tenant_id, first=False)


def shown(db: Connection, claim: Claim, tally: Tally) -> dict[str, Any]:
    """What accepting the map comes to: the hash of what then changes, and how much that is."""
    query = SQL("select entity, count(*) from {} group by entity").format(map_of(claim))
    return {"diff": tally.diff, "counts": tally.changes, "rekeyed": dict(db.execute(query))}


def remember(db: Connection, claim: Claim, version: int) -> dict[str, int]:
    """Make the map aliases of this version; answer how many of each file."""
    query = SQL(REMEMBER).format(
        map=map_of(claim), tenant=Literal(claim.tenant_id), version=Literal(version)
    )
    return dict(db.execute(query).fetchall())


def taken_back(db: Connection, claim: Claim) -> dict[str, int]:
    """How many aliases of each file an undo changes: they stand or fall with their version.

    Where the undo of a re-key is undone, records may bear the source's ids by now: these are no
    aliases any more.
    """
    for entity in ROSTERING:
        own = {"live": Identifier(entity.table), "entity": Literal(entity.file)}
        db.execute(SQL(BORNE).format(**own), claim.key)
    return dict(db.execute(NAMED["of_version"], claim.key).fetchall())


def map_of(claim: Claim) -> Identifier:
    """The map that was proposed."""
    return Identifier(*kept_map(claim.id))


class Rekeying:
    """One entity."""

    def __init__(self, db: Connection, claim: Claim, entity: AnyEntity) -> None:
        self.db, self.claim, self.entity = db, claim, entity
        self.rows = Identifier("pg_temp", f"rekeyed_{entity.table}")
        self.keys = Identifier("pg_temp", f"rekeyed_gone_{entity.table}")

    def translate(self) -> None:
        """Rows with the hub's ids, and the keys that really go."""
        self._create("rekeyed", stage.layout(self.entity))
        self._create("rekeyed_gone", stage.KEYS)
        self._run(TRANSLATE)
        self._run(STILL_GONE)

    def doubled(self) -> bool:
        """Whether a record stands there twice: under the source's id and under the hub's.

        Asked before anything falls out, or one of the two rows would be taken for all there is.
        """
        query = SQL("select exists (select from {} group by sourced_id having count(*) > 1)")
        (twice,) = one(self.db, query.format(self.rows))
        return bool(twice)

    def drop_unchanged(self) -> None:
        """What is stored just so is no change."""
        self._run(UNCHANGED)

    def digest(self) -> None:
        """Digest what is left, in the form in which a file has it (`pipeline.frames`)."""
        made = Identifier("pg_temp", f"digests_{self.entity.table}")
        self._create("digests", SQL('sourced_id text collate "C", digest uuid'))
        own = [column.name for column in self.entity.stored()]
        schema = pl.Schema(dict.fromkeys([*own, "metadata"], pl.String()))
        page = SQL(PAGE).format(
            texts=SQL(", ").join(as_text(column) for column in self.entity.stored()),
            rows=self.rows,
            together=Literal(TOGETHER),
        )
        self.db.execute(SQL("create index on {} (sourced_id)").format(self.rows))
        copy = SQL("copy {} from stdin (format csv)").format(made)
        after: str | None = ""
        while after is not None:
            rows = pl.DataFrame(
                self.db.execute(page, [after]).fetchall(), schema=schema, orient="row"
            )
            copied(self.db, copy, [digested(rows).select("sourced_id", "digest")])
            after = rows["sourced_id"][-1] if rows.height == TOGETHER else None
        self._run(DIGESTED, made=made)

    def stand(self) -> None:
        """Stand where the staging tables would."""
        for table in (self.rows, self.keys):
            self.db.execute(SQL("analyze {} (sourced_id)").format(table))
        view = SQL("create or replace temporary view {} as select * from {}")
        for name, table in (("staged", self.rows), ("gone", self.keys)):
            self.db.execute(view.format(Identifier(f"{name}_{self.entity.table}"), table))

    def _create(self, name: str, layout: Composable) -> None:
        table = Identifier(f"{name}_{self.entity.table}")
        create = SQL("create temporary table {} ({}) on commit drop")
        self.db.execute(create.format(table, layout))

    def _run(self, statement: LiteralString, **facts: Composable) -> None:
        kept_rows, kept_keys = proposals.places(self.claim.id, self.entity)
        own = names(self.entity)
        pointing = {column.name: (column, file) for column, file in columns(self.entity)}
        self.db.execute(
            SQL(statement).format(
                rows=self.rows,
                keys=self.keys,
                kept_rows=kept_rows,
                kept_keys=kept_keys,
                live=Identifier(self.entity.table),
                columns=listed(["line", *own]),
                translated=SQL(", ").join(
                    self._value(*pointing[name]) if name in pointing else Identifier("k", name)
                    for name in ["line", *own]
                ),
                joined=SQL("").join(
                    self._join(column, file)
                    for column, file in pointing.values()
                    if not isinstance(column, Refs)
                ),
                same=SQL("({}) is not distinct from ({})").format(
                    listed(values(own), "l"), listed(values(own), "r")
                ),
                tenant=Literal(self.claim.tenant_id),
                **facts,
            )
        )

    def _value(self, column: Key | Ref | Refs, file: str) -> Composed:
        cell = Identifier("k", column.name)
        if isinstance(column, Refs):
            return SQL(
                "case when {cell} is not null then array("
                "select coalesce(m.hub_id, i.key)"
                " from unnest({cell}) with ordinality as i (key, at)"
                " left join {map} as m on m.entity = {file} and m.source_id = i.key order by i.at"
                ") end"
            ).format(cell=cell, map=map_of(self.claim), file=Literal(file))
        return SQL("coalesce({}.hub_id, {})").format(Identifier(f"m_{column.name}"), cell)

    def _join(self, column: Key | Ref | Refs, file: str) -> Composed:
        return SQL(
            " left join {map} as {alias} on {alias}.entity = {file} and {alias}.source_id = {cell}"
        ).format(
            map=map_of(self.claim),
            alias=Identifier(f"m_{column.name}"),
            file=Literal(file),
            cell=Identifier("k", column.name),
        )


def as_text(column: AnyColumn) -> Composable:
    """A value in the text that a file has for it, as the digest takes it."""
    cell = Identifier(column.name)
    match column:
        case Key() | Text() | Choice() | Ref() | Year():
            return cell
        case Flag() | Day() | Instant() | Whole() | Decimal():
            return SQL("{}::text").format(cell)
        case Texts() | Pairs() | Choices() | Refs():
            return SQL(LITERAL).format(cell=cell)
        case _:
            assert_never(column)


# As `pipeline.frames.array` writes it: every item in quotes.
LITERAL = r"""
    '{{"' || replace(
        replace(replace(array_to_string({cell}, e'\x1f'), '\', '\\'), '"', '\"'), e'\x1f', '","'
    ) || '"}}'
"""

TRANSLATE = """
    insert into {rows} ({columns}) select {translated} from {kept_rows} as k {joined}
"""

STILL_GONE = """
    insert into {keys} (sourced_id) select k.sourced_id from {kept_keys} as k
    where not exists (select from {rows} as r where r.sourced_id = k.sourced_id)
"""

UNCHANGED = """
    delete from {rows} as r using {live} as l
    where l.tenant_id = {tenant} and l.sourced_id = r.sourced_id and {same}
"""

PAGE = """
    select {texts}, metadata::text from {rows} where sourced_id > %s
    order by sourced_id limit {together}
"""

DIGESTED = """
    update {rows} as r set digest = m.digest from {made} as m where m.sourced_id = r.sourced_id
"""

# The source may have changed its ids before, and been taken back to the older ones.
REMEMBER = """
    with made as (
        insert into aliases (tenant_id, entity, source_id, hub_id, version)
        select {tenant}, m.entity, m.source_id, m.hub_id, {version} from {map} as m
        on conflict (tenant_id, entity, source_id) do update
        set hub_id = excluded.hub_id, version = excluded.version
        returning entity
    )
    select entity, count(*) from made group by entity
"""

BORNE = """
    delete from aliases as a using versions as v, {live} as l
    where v.tenant_id = %(tenant_id)s and v.version = %(undoes)s
      and a.tenant_id = v.tenant_id and a.version = v.undoes and a.entity = {entity}
      and l.tenant_id = a.tenant_id and l.sourced_id = a.source_id and l.status = 'active'
"""
