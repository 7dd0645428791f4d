"""A first load goes straight into its tables, by several connections at once.

There is nothing to compare it with, so it needs no staging; and each row is in four indexes, which
takes one server process longer than all the rest. So every lane is a connection with a transaction
of its own, and takes the next rows when it is free. The rows come in by a door that only adds
(migration 0024), for COPY takes no row-level security; committed they are seen by nobody until the
version is published (`pipeline.loads`).
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeAlias
from uuid import UUID

import polars as pl
import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, UniqueViolation
from psycopg.sql import SQL, Composed, Identifier

from pipeline.claims import Claim
from pipeline.database import Connection, beside, tenant
from pipeline.loads import work_for
from pipeline.stage import copied, names
from schemas.columns import Ref
from schemas.roster import AnyEntity

DOOR = "rosterhub_loading"
LANES = 2
LOOK = 0.1  # seconds between two looks at whether to go on
PATIENCE = "1s"  # for another lane; the only thing to wait for is a key that it has, too
FEW = 3  # a file is grouped by what a column names if it has this many times less runs than rows

Rows: TypeAlias = tuple[AnyEntity, pl.DataFrame]

DOUBLED = (UniqueViolation, DeadlockDetected, LockNotAvailable)
"""What a key that stands twice ends in: in one lane the first, in two they wait for each other."""


class Lanes:
    """The lanes of one load, in threads of their own; what one of them raises is raised here.

    `check` raises where the load is to come to nothing; it is asked while there is nothing to do.
    """

    def __init__(
        self, db: Connection, claim: Claim, token: UUID, check: Callable[[], None]
    ) -> None:
        self._like, self._claim, self._token, self._check = db, claim, token, check
        self._next: queue.Queue[Rows | None] = queue.Queue(1)
        self._created: list[Counter[str]] = []  # of each lane, for two may end at once
        self._errors: list[BaseException] = []
        self._stopped = threading.Event()
        self._connections: list[Connection] = []
        self._threads = [
            threading.Thread(target=self._run, name="lane", daemon=True) for _ in range(LANES)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def load(self, batches: Iterable[Rows]) -> Counter[str]:
        """Bring all rows in, and commit them; answer how many of each file."""
        for rows in batches:
            self._hand(rows)
        for _ in self._threads:
            self._hand(None)
        self._join()
        return sum(self._created, Counter())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Whatever is not committed now is taken back."""
        self._stopped.set()
        for db in self._connections:
            with suppress(psycopg.Error):  # it may have ended, or the server
                db.cancel_safe()
        for thread in self._threads:
            thread.join()

    def _hand(self, rows: Rows | None) -> None:
        while not self._stopped.is_set():
            try:
                self._next.put(rows, timeout=LOOK)
            except queue.Full:
                self._check()
            else:
                return
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            while thread.is_alive():
                thread.join(LOOK)
                self._check()
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            with beside(self._like, name="rosterhub lane") as db:
                self._connections.append(db)
                self._work(db)
        except BaseException as error:  # noqa: BLE001  # raised again by who waits
            self._errors.append(error)
            self._stopped.set()

    def _work(self, db: Connection) -> None:
        """One transaction: all or nothing of what this lane takes."""
        created: Counter[str] = Counter()
        with tenant(db, self._claim.tenant_id):
            work_for(db, self._token)
            db.execute(f"set local lock_timeout = '{PATIENCE}'")
            while (rows := self._take()) is not None:
                created[rows[0].file] += copy(db, *rows)
        self._created.append(created)

    def _take(self) -> Rows | None:
        while not self._stopped.is_set():
            try:
                return self._next.get(timeout=LOOK)
            except queue.Empty:
                continue
        raise Abandoned


class Abandoned(Exception):
    """The load came to nothing elsewhere."""


def copy(db: Connection, entity: AnyEntity, rows: pl.DataFrame) -> int:
    """Bring some rows in; answer how many."""
    return copied(db, statement(entity), [ordered(entity, rows).drop("status")])


def statement(entity: AnyEntity) -> Composed:
    """The COPY through the door: the database says whose the rows are, and of which version."""
    columns = [name for name in ("line", *names(entity)) if name != "status"]
    return SQL("copy {} ({}) from stdin (format csv)").format(
        Identifier(DOOR, entity.table), SQL(", ").join(map(Identifier, columns))
    )


def ordered(entity: AnyEntity, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows in an order that the indexes like.

    A file that goes on person by person, or class by class, keeps its order: it visits the indexes
    of its references one page after the other. Any other is sorted, for the primary key's sake.
    """
    for column in entity.references():
        if isinstance(column, Ref):
            cells = rows.get_column(column.name)
            if 1 < FEW * cells.ne_missing(cells.shift(1)).sum() < rows.height:
                return rows
    return rows.sort("sourced_id")
