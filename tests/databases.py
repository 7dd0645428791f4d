"""Databases that are lent to one test after the other: each gets one that is migrated and empty.

To copy the template costs more than most tests do, so what a test gives back is emptied and lent
again, if nothing but rows has changed in it. Whatever else a test did to its database (a column, a
trigger, a right, a row that the migrations had made) shows in the catalogue, and the database is
dropped. What takes long to bring about in a district can be saved, and put into another database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import LiteralString, Self, TypeAlias
from uuid import uuid4

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Composed, Identifier

Mark: TypeAlias = TupleRow
"""What a database is, its rosters left out; another after any change of it."""


class Shelf:
    """The databases of one server that are migrated and empty."""

    def __init__(self, url: str, template: str) -> None:
        self._url = url
        self._template = Identifier(template)
        self._admin = psycopg.connect(url, autocommit=True)
        self._free: list[tuple[str, Mark]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name, _ in self._free:
            self._drop(name)
        self._admin.close()

    @contextmanager
    def lent(self) -> Iterator[str]:
        """A database for one test; its login is a superuser."""
        name, mark = self._free.pop() if self._free else self._made()
        try:
            yield renamed(self._url, name)
        finally:
            if self._emptied(name, mark):
                self._free.append((name, mark))
            else:
                self._drop(name)

    def _made(self) -> tuple[str, Mark]:
        name = f"test_{uuid4().hex[:12]}"
        clone = SQL("create database {} template {}")
        self._admin.execute(clone.format(Identifier(name), self._template))
        self._admin.execute(
            SQL("grant temporary on database {} to rosterhub_app").format(Identifier(name))
        )
        with psycopg.connect(renamed(self._url, name)) as db:
            return name, marked(db)

    def _emptied(self, name: str, mark: Mark) -> bool:
        """Whether it is again as it was made."""
        self._vacate(name)
        try:
            with psycopg.connect(renamed(self._url, name)) as db:
                if marked(db) != mark:
                    return False
                db.execute(EMPTY)
                db.execute(BEGIN)
        except psycopg.Error:  # gone, or closed to everybody
            return False
        return True

    def _vacate(self, name: str) -> None:
        """Send away whoever is still there. The server's own waiting looks every 100 ms only."""
        for _ in range(TRIES):
            if not self._admin.execute(LEAVE, [name]).fetchall():
                return
            sleep(0.001)

    def _drop(self, name: str) -> None:
        self._admin.execute(SQL("drop database if exists {} with (force)").format(Identifier(name)))


def renamed(url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return f"{url.rsplit('/', 1)[0]}/{name}"


def emptied(url: str) -> None:
    """Empty a database that is in use. Numbers go on, for whoever uses it may remember some."""
    with psycopg.connect(url) as db:
        db.execute(EMPTY)


Saved: TypeAlias = dict[str, tuple[list[str], bytes]]
"""By table, its columns and rows."""


def saved(url: str, tenant_id: int) -> Saved:
    """All that a district has, but who may speak for it."""
    with psycopg.connect(url, options="-c search_path=rosterhub") as db:
        found: Saved = {}
        for table, columns in db.execute(TABLES).fetchall():
            query = SQL("copy (select {} from {} where tenant_id = {}) to stdout (format binary)")
            with db.cursor().copy(
                query.format(names(columns), Identifier(table), tenant_id)
            ) as out:
                rows = b"".join(out)
            if len(rows) > NO_ROWS:
                found[table] = columns, rows
    return found


def restored(url: str, tenant_id: int, kept: Saved) -> None:
    """Put that in the place of what the district of the same number has."""
    with psycopg.connect(url, options="-c search_path=rosterhub") as db:
        db.execute("set local session_replication_role = replica")  # in any order
        for table, (columns, rows) in kept.items():
            drop = SQL("delete from {} where tenant_id = {}")
            db.execute(drop.format(Identifier(table), tenant_id))
            query = SQL("copy {} ({}) from stdin (format binary)")
            with db.cursor().copy(query.format(Identifier(table), names(columns))) as into:
                into.write(rows)


def names(columns: list[str]) -> Composed:
    return SQL(", ").join(map(Identifier, columns))


TRIES = 5_000
NO_ROWS = 21  # bytes that the format needs for nothing

TABLES: LiteralString = """
    select relname, array_agg(attname::text order by attnum)
    from pg_class as c join pg_attribute on attrelid = c.oid
    where relnamespace = 'rosterhub'::regnamespace and relkind = 'r' and attnum > 0
      and not attisdropped and attgenerated = '' and relname not in ('keys', 'admin_keys')
    group by relname having 'tenant_id' = any(array_agg(attname))
"""


def marked(db: psycopg.Connection[TupleRow]) -> Mark:
    [mark] = db.execute(MARK).fetchall()
    return mark


LEAVE: LiteralString = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = %s and backend_type = 'client backend'
"""

# A row of the catalogue is another one after every change: xmin says which transaction wrote it.
# Tables of `rosterhub` are emptied by name; what lies in `public` are the books of the migrations.
MARK: LiteralString = """
    with relation as (
        select c.oid, c.xmin from pg_class as c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
            and (c.relnamespace::regnamespace::text like 'rosterhub%'
                or c.relnamespace = 'public'::regnamespace)
    ), written (place, id, xmin) as (
        select 'relation', oid::bigint, xmin from relation
        union all select 'column', attrelid::bigint * 2000 + attnum, a.xmin
            from pg_attribute as a join relation on relation.oid = attrelid
        union all select 'default', d.oid, d.xmin
            from pg_attrdef as d join relation on relation.oid = adrelid
        union all select 'index', indexrelid, i.xmin
            from pg_index as i join relation on relation.oid = indrelid
        union all select 'constraint', k.oid, k.xmin
            from pg_constraint as k join relation on relation.oid = conrelid
        union all select 'trigger', t.oid, t.xmin
            from pg_trigger as t join relation on relation.oid = tgrelid
        union all select 'policy', p.oid, p.xmin
            from pg_policy as p join relation on relation.oid = polrelid
        union all select 'rule', r.oid, r.xmin
            from pg_rewrite as r join relation on relation.oid = ev_class
        union all select 'function', oid, xmin from pg_proc
            where pronamespace::regnamespace::text like 'rosterhub%'
        union all select 'schema', oid, xmin from pg_namespace where nspname !~ '^pg_'
        union all select 'setting', setrole, xmin from pg_db_role_setting
            where setdatabase = (select oid from pg_database where datname = current_database())
        union all select 'right', oid, xmin from pg_database where datname = current_database()
    )
    select count(*), sum(hashtextextended(place || ' ' || id || ' ' || xmin, 0)),
        (select md5(string_agg(y::text, ' ' order by y::text)) from public._yoyo_migration as y)
    from written
"""

EMPTY: LiteralString = """
    set session_replication_role = replica; -- whatever refers to what, all of it goes
    do $$
    declare
        name text;
    begin
        for name in
            select oid::regclass::text from pg_class
            where relkind = 'r' and relnamespace = 'rosterhub'::regnamespace
        loop
            execute 'delete from ' || name;
        end loop;
    end
    $$
"""

BEGIN: LiteralString = """
    select setval(oid::regclass, 1, false) from pg_class
    where relkind = 'S' and relnamespace = 'rosterhub'::regnamespace
"""
