"""Records and their before-images: personal values go, ids and versions stay.

A record that stands gets the version of the erasure as a tombstone, with a before-image of which
nothing is left either; images of earlier versions are wiped where they lie. So versions stay
without a gap, readers of every version see that something was erased, and no undo brings it back.
"""

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal
from psycopg.types.json import Jsonb

from pipeline.database import Connection, one
from pipeline.erasing.people import PEOPLE
from pipeline.known import forget
from pipeline.merge import COUNT, UNCOUNT, Merge, listed
from pipeline.merge import compose as of_merge
from pipeline.stage import names
from schemas.ddl import sql_type
from schemas.digests import ERASED
from schemas.erasure import MARK, METADATA, OWNERS, personal, wiped
from schemas.roster import AnyEntity
from schemas.runs import Counts

DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a retention reaches; nowhere by default.

    `deleted`: records that were deleted with this version or before. `images`: before-images that
    ended with this version or before, and after `since`, where the last retention has stopped.
    """

    deleted: int = 0
    images: int = 0
    since: int = 0


def wipe(merge: Merge, entity: AnyEntity, reach: Reach) -> tuple[Counts, int]:
    """Wipe what is due of an entity; answer what became of its records, and how many images."""
    db = merge.db
    db.execute(compose(DUE, entity, merge.tenant_id, reach=reach))
    records, active = one(db, compose(HOW_MANY, entity, merge.tenant_id))
    counts = Counts(deleted=active, erased=records) if records else Counts()
    if records:
        version = Literal(merge.version)
        db.execute(compose(KEEP, entity, merge.tenant_id, version=version))
        db.execute(compose(WIPE, entity, merge.tenant_id, version=version))
    if active:
        moved = {"active": -active, "tobedeleted": active}
        db.execute(of_merge(COUNT, entity, merge), moved)
        db.execute(of_merge(UNCOUNT, entity, merge))
        forget(db, merge.tenant_id, entity)
    images = sum(
        db.execute(compose(IMAGES, entity, merge.tenant_id, which=which)).rowcount
        for which in whose(entity, reach)
    )
    return counts, images


def is_due(db: Connection, entity: AnyEntity, tenant_id: int, reach: Reach) -> bool:
    """Whether a retention would wipe anything of an entity."""
    (due,) = one(db, compose(IS_DUE, entity, tenant_id, reach=reach))
    return bool(due)


def wipe_rows(db: Connection, entity: AnyEntity, table: Identifier) -> int:
    """Wipe the people's rows of a table with the columns of a staging table."""
    rows = SQL("update {table} as r set {wiping} where {owner} in {people} and {left}").format(
        table=table, **parts(entity, "r")
    )
    return db.execute(rows).rowcount


def whose(entity: AnyEntity, reach: Reach) -> list[Composed]:
    """Which images are wiped: those of people, of deleted records, and old ones."""
    facts: dict[str, Any] = {
        **parts(entity, "r"),
        "due": due(entity),
        "images": Literal(reach.images),
        "since": Literal(reach.since),
    }
    found = [SQL("{owner} in {people}").format(**facts)]
    if reach.deleted:
        found.append(
            SQL("r.sourced_id in (select sourced_id from {due} where retained)").format(**facts)
        )
    if reach.images > reach.since:
        found.append(
            SQL("r.until_version > {since} and r.until_version <= {images} and {something}").format(
                **facts
            )
        )
    return found


def due(entity: AnyEntity) -> Identifier:
    """The table of the records to wipe; `retained`: because they were deleted long ago."""
    return Identifier("pg_temp", f"due_{entity.table}")


def parts(entity: AnyEntity, alias: str) -> dict[str, Composable]:
    """What statements about rows of an entity are made of."""
    return {
        "owner": Identifier(alias, OWNERS[entity]),
        "people": PEOPLE,
        "left": SQL("{} <> {}").format(Identifier(alias, DIGEST), Literal(ERASED)),
        "something": SQL("({})").format(
            SQL(" or ").join(
                SQL("{} is not null").format(Identifier(alias, name)) for name in wiped(entity)
            )
        ),
        "wiping": SQL(", ").join(
            SQL("{} = {}").format(Identifier(name), value)
            for name, value in emptied(entity).items()
        ),
    }


def emptied(entity: AnyEntity) -> dict[str, Composable]:
    """What stands in the columns that are wiped."""
    nulls = {c.name: SQL("null::{}").format(SQL(sql_type(c))) for c in personal(entity)}
    return {
        **nulls,
        METADATA: Literal(Jsonb(dict(MARK))),
        DIGEST: SQL("{}::uuid").format(Literal(ERASED)),
        "line": SQL("null::integer"),
    }


def compose(
    statement: LiteralString,
    entity: AnyEntity,
    tenant_id: int,
    *,
    reach: Reach | None = None,
    **facts: Composable,
) -> Composed:
    """A statement of this module, for an entity."""
    columns = names(entity)
    empty = emptied(entity)
    reach = reach or Reach()
    return SQL(statement).format(
        live=Identifier(entity.table),
        history=Identifier(f"{entity.table}_history"),
        due=due(entity),
        due_name=Identifier(f"due_{entity.table}"),
        columns=listed(columns),
        left_columns=SQL(", ").join(empty.get(name) or Identifier("r", name) for name in columns),
        tenant=Literal(tenant_id),
        long_gone=SQL(LONG_GONE).format(
            tenant=Literal(tenant_id), deleted=Literal(reach.deleted), **parts(entity, "r")
        ),
        images=Literal(reach.images),
        since=Literal(reach.since),
        **parts(entity, "r"),
        **facts,
    )


LONG_GONE = """
    r.tenant_id = {tenant} and r.status = 'tobedeleted' and {left} and r.version <= {deleted}
    and {something}
"""

DUE = """
    create temporary table {due_name} on commit drop as
    select r.sourced_id, r.status = 'active' as active, false as retained from {live} as r
    where r.tenant_id = {tenant} and {owner} in {people} and {left}
    union all
    select r.sourced_id, false, true from {live} as r
    where {owner} not in {people} and {long_gone}
"""

IS_DUE = """
    select exists (select from {live} as r where {long_gone}) or exists (
        select from {history} as r
        where r.tenant_id = {tenant} and r.until_version > {since} and r.until_version <= {images}
          and {left} and {something}
    )
"""

HOW_MANY = "select count(*), count(*) filter (where active) from {due}"

KEEP = """
    insert into {history} (tenant_id, {columns}, version, created_version, until_version)
    select r.tenant_id, {left_columns}, r.version, r.created_version, {version}
    from {live} as r join {due} as d using (sourced_id)
    where r.tenant_id = {tenant}
"""

WIPE = """
    update {live} as r set {wiping}, status = 'tobedeleted', version = {version}
    from {due} as d
    where r.tenant_id = {tenant} and r.sourced_id = d.sourced_id
"""

IMAGES = """
    update {history} as r set {wiping} where r.tenant_id = {tenant} and {left} and {which}
"""
