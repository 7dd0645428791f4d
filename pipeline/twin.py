"""A second connection with the same change set staged.

What a change set breaks and what it changes are two questions of a quarter of a second each, even
where little changes. So the first is asked by a connection of its own: it sees what stood when the
district was locked, and gets a copy of what is staged, which nobody else can see.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier

from pipeline import stage
from pipeline.database import Connection, beside, one, tenant
from pipeline.stage import gone, names, staged
from schemas.roster import ROSTERING, AnyEntity

FEW = 100_000  # rows and keys of which a copy costs less than it spares


class Size(NamedTuple):
    """How many rows and keys of an entity are staged, counted as far as they are few."""

    entity: AnyEntity
    rows: int
    keys: int


def sizes(db: Connection) -> list[Size]:
    """Those of the entities of which anything is staged."""
    tables = [table for entity in ROSTERING for table in (staged(entity), gone(entity))]
    count = "(select count(*) from (select from {} limit {}) as few)"
    counts = one(
        db, SQL("select ") + SQL(", ").join(SQL(count).format(table, FEW) for table in tables)
    )
    found = map(Size, ROSTERING, counts[::2], counts[1::2])
    return [each for each in found if each.rows or each.keys]


def few(sizes: Iterable[Size]) -> bool:
    """Whether it pays to copy them."""
    return 0 < sum(each.rows + each.keys for each in sizes) < FEW


@contextmanager
def twin(db: Connection, tenant_id: int, sizes: Iterable[Size]) -> Iterator[Connection]:
    """The second connection, in a transaction; what it is at comes to an end with the block."""
    with beside(db, name="rosterhub rules") as other, tenant(other, tenant_id):
        stage.create(other)
        stage.look_up(other)
        for entity, rows, keys in sizes:
            if rows:
                copy(db, other, staged(entity), ["line", *names(entity)])
            if keys:
                copy(db, other, gone(entity), ["sourced_id"])
            stage.analyze(other, entity)
        try:
            yield other
        except BaseException:
            with suppress(psycopg.Error):  # it may have ended, or the server
                other.cancel_safe()
            raise


def copy(db: Connection, other: Connection, table: Identifier, columns: list[str]) -> None:
    """Copy what is staged in a table."""
    listed = SQL(", ").join(map(Identifier, columns))
    out = SQL("copy (select {} from {}) to stdout (format binary)").format(listed, table)
    into = SQL("copy {} ({}) from stdin (format binary)").format(table, listed)
    with db.cursor().copy(out) as rows, other.cursor().copy(into) as copied:
        for block in rows:
            copied.write(block)
