"""The change set of a run: staged rows and gone keys, in temporary tables of one connection.

Temporary tables are seen by no other session, cost no WAL, take COPY (row-level security does
not) and vanish with their transaction: after a crash nothing is left that could be mistaken for a
complete change set. What is staged is what *differs*, so that losing it could never delete anyone.
A first load is not staged (`pipeline.lanes`), and what waits for an answer lies in tables that are
kept (`pipeline.proposals`); here they stand as views.
"""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg.sql import SQL, Composed, Identifier, Literal

from pipeline.database import Connection, one
from schemas.columns import Key, Ref, Refs
from schemas.ddl import sql_type
from schemas.proposals import kept_keys, kept_rows
from schemas.roster import ROSTERING, AnyEntity

if TYPE_CHECKING:
    import polars as pl

BY_BYTES = 'collate "C"'


def staged(entity: AnyEntity) -> Identifier:
    """The table of rows that are new or changed."""
    return Identifier("pg_temp", f"staged_{entity.table}")


def gone(entity: AnyEntity) -> Identifier:
    """The table of keys that a bulk file no longer has."""
    return Identifier("pg_temp", f"gone_{entity.table}")


def places(db: Connection, entity: AnyEntity) -> tuple[Identifier, Identifier]:
    """Where rows and keys are written: a view takes no COPY."""
    (run,) = one(db, "select nullif(current_setting('rosterhub.kept', true), '')")
    if run is None:
        return staged(entity), gone(entity)
    return Identifier(*kept_rows(UUID(run), entity)), Identifier(*kept_keys(UUID(run), entity))


def names(entity: AnyEntity) -> list[str]:
    """The columns of the staging table, `line` left out."""
    return [*(column.name for column in entity.stored()), "metadata", "digest"]


def create(db: Connection) -> None:
    """Empty staging tables for every entity, for the rest of the transaction."""
    for entity in ROSTERING:
        rows = SQL("create temporary table {} ({}) on commit drop")
        db.execute(rows.format(Identifier(f"staged_{entity.table}"), layout(entity)))
        keys = SQL("create temporary table {} ({}) on commit drop")
        db.execute(keys.format(Identifier(f"gone_{entity.table}"), KEYS))


KEYS = SQL('sourced_id text collate "C"')
"""The columns of a table of gone keys."""


def layout(entity: AnyEntity) -> Composed:
    """The columns of a staging table: nothing is required here, for the rules have spoken."""
    columns = [
        SQL("{} {} {}").format(
            Identifier(column.name),
            SQL(sql_type(column)),
            SQL(BY_BYTES if isinstance(column, Key | Ref | Refs) else ""),
        )
        for column in entity.stored()
    ]
    return SQL("line bigint, {}, metadata jsonb, digest uuid").format(SQL(", ").join(columns))


def view(db: Connection, entity: AnyEntity, tenant_id: int) -> None:
    """Let what a first load has brought in stand where the staging table would."""
    columns = SQL(", ").join(map(Identifier, ["line", *names(entity)]))
    rows = SQL("create temporary view {} as select {} from {} where tenant_id = {}").format(
        Identifier(f"staged_{entity.table}"), columns, Identifier(entity.table), Literal(tenant_id)
    )
    db.execute(SQL("drop table {}").format(staged(entity)))
    db.execute(rows)


def copy_rows(db: Connection, entity: AnyEntity, batches: "Iterable[pl.DataFrame]") -> int:
    """COPY digested rows to the staging table; answer how many."""
    return copied(db, of_rows(db, entity), batches)


def copy_text(db: Connection, entity: AnyEntity, rows: Iterable[bytes]) -> None:
    """The same of rows that are text already (`text_of`), some at a time."""
    with db.cursor().copy(of_rows(db, entity)) as copy:
        for text in rows:
            copy.write(text)


def of_rows(db: Connection, entity: AnyEntity) -> Composed:
    """How rows come to the staging table."""
    columns = SQL(", ").join(map(Identifier, ["line", *names(entity)]))
    rows, _ = places(db, entity)
    return SQL("copy {} ({}) from stdin (format csv)").format(rows, columns)


def copy_gone(db: Connection, entity: AnyEntity, batches: "Iterable[pl.DataFrame]") -> int:
    """COPY keys to the table of what is gone; answer how many."""
    _, keys = places(db, entity)
    return copied(db, SQL("copy {} from stdin (format csv)").format(keys), batches)


def copied(db: Connection, statement: Composed, batches: "Iterable[pl.DataFrame]") -> int:
    """COPY rows; answer how many."""
    rows = 0
    with db.cursor().copy(statement) as copy:
        for batch in batches:
            copy.write(text_of(batch))
            rows += batch.height
    return rows


def text_of(rows: "pl.DataFrame") -> bytes:
    """Polars writes the CSV that PostgreSQL reads: a null is a blank, a digest its digits."""
    if "digest" in rows.columns:
        rows = rows.with_columns(rows.get_column("digest").bin.encode("hex"))
    text = io.BytesIO()  # as text it would be made, and then encoded once more
    rows.write_csv(text, include_header=False)
    return text.getvalue()


def drop_unchanged(db: Connection, entity: AnyEntity, tenant_id: int) -> None:
    """Forget staged rows that are stored just so: only their text was another."""
    statement = SQL(
        "delete from {} as s using {} as l where l.tenant_id = %s and l.sourced_id = s.sourced_id"
        " and l.status = s.status and l.digest = s.digest"
    ).format(staged(entity), Identifier(entity.table))
    db.execute(statement, [tenant_id])


def analyze(db: Connection, entity: AnyEntity) -> None:
    """Tell the planner what was staged; autovacuum never looks at temporary tables.

    Joins are by key and status; statistics of every other column would cost more than they tell.
    """
    rows, keys = places(db, entity)
    db.execute(SQL("analyze {} (sourced_id, status)").format(rows))
    db.execute(SQL("analyze {}").format(keys))


def look_up(db: Connection) -> None:
    """What little changes is looked up, for the rest of the transaction, not read past the rest.

    The roster is in memory: a seek costs no more than the next page.
    """
    db.execute("set local random_page_cost = 1.1")


def is_empty(db: Connection, table: Identifier) -> bool:
    """Whether a staging table has no row."""
    (some,) = one(db, SQL("select exists (select from {})").format(table))
    return not some
