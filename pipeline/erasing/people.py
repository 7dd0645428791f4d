"""Who is erased: by all ids a person has, with the keys of their records and their words.

All of it lies in temporary tables of the transaction, so that every store is wiped set-wise.
"""

from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline.database import Connection
from schemas.columns import Text
from schemas.erasure import OWNERS, telling
from schemas.identity import space
from schemas.roster import AnyEntity
from schemas.roster.people import User
from schemas.statements import load

NAMED = load("pipeline", "erasing.sql")
PEOPLE = SQL("(select sourced_id from pg_temp.erased_people)")


def begin(db: Connection) -> None:
    """Nobody so far; for the rest of the transaction."""
    for statement in NAMED["tables"].split(";"):
        db.execute(statement)


def add(db: Connection, tenant_id: int, statement: str, **facts: Any) -> None:  # noqa: ANN401  # of a statement
    """Add people, by whatever ids they have."""
    key = {"tenant_id": tenant_id, "space": space(User)}
    db.execute(NAMED[statement], key | facts)
    db.execute(NAMED["name_aliases"], key)
    db.execute(NAMED["name_themselves"])
    db.execute(NAMED["analyze"])


def learn(db: Connection, tenant_id: int) -> None:
    """Find out what their records are called, and which words tell them from others."""
    for entity in OWNERS:
        for table in tables(entity):
            db.execute(compose(KEYS, entity, tenant_id, table))
            if columns := telling(entity):
                texts = [c.name for c in columns if isinstance(c, Text)]
                lists = [c.name for c in columns if not isinstance(c, Text)]
                db.execute(compose(WORDS, entity, tenant_id, table, said=said(texts, lists)))


def known(db: Connection, tenant_id: int, users: Sequence[str]) -> set[str]:
    """Those of the ids under which there is a record, or was."""
    key = {"tenant_id": tenant_id, "space": space(User), "users": list(users)}
    found = {source for (source,) in db.execute(NAMED["aliased"], key)}
    for entity in OWNERS:
        for table in tables(entity):
            found |= {user for (user,) in db.execute(compose(SEEN, entity, tenant_id, table))}
    return found


def tables(entity: AnyEntity) -> tuple[str, str]:
    """Where records of an entity are: as they stand, and as they were."""
    return entity.table, f"{entity.table}_history"


def said(texts: list[str], lists: list[str]) -> Composable:
    """All that these columns of a row say, as one list."""
    parts = [
        SQL("array[{}]").format(SQL(", ").join(Identifier("r", name) for name in texts)),
        *(SQL("coalesce({}, '{{}}')").format(Identifier("r", name)) for name in lists),
    ]
    return SQL(" || ").join(parts if texts else parts[1:])


def compose(
    statement: LiteralString,
    entity: AnyEntity,
    tenant_id: int,
    table: str,
    **parts: Composable,
) -> Composed:
    """A statement about the people's records in a table."""
    return SQL(statement).format(
        table=Identifier(table),
        owner=Identifier("r", OWNERS[entity]),
        tenant=Literal(tenant_id),
        people=PEOPLE,
        **parts,
    )


KEYS = """
    insert into pg_temp.erased_keys
    select distinct r.sourced_id from {table} as r
    where r.tenant_id = {tenant} and {owner} in {people}
    on conflict do nothing
"""

SEEN = (
    "select distinct {owner} from {table} as r where r.tenant_id = {tenant} and {owner} in {people}"
)

WORDS = """
    insert into pg_temp.erased_words
    select distinct w.word from {table} as r
    cross join lateral unnest({said}) as s (text)
    cross join lateral regexp_split_to_table(s.text, '[",[:space:]]+') as w (word)
    where r.tenant_id = {tenant} and {owner} in {people} and length(w.word) > 1
    on conflict do nothing
"""
