"""What else in the database holds personal values. A new table that does gets its line here.

Each store is wiped inside the transaction of the erasure; it answers how many rows that were. Who
is meant stands in the temporary tables of `pipeline.erasing.people`.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from psycopg.errors import UndefinedTable
from psycopg.sql import Identifier

from pipeline import proposals
from pipeline.database import Connection, one
from pipeline.erasing.people import NAMED
from pipeline.erasing.records import wipe_rows
from schemas.erasure import OWNERS
from schemas.proposals import KEPT, kept_rows

Wipe: TypeAlias = Callable[[Connection, int], int]


@dataclass(frozen=True, slots=True)
class Store:
    """A place with personal values; `name` is what the receipt calls it."""

    name: str
    wipe: Wipe


def wipe_findings(db: Connection, tenant_id: int, run_id: UUID | None = None) -> int:
    """Values and rows of findings about people, of one run or of all."""
    return db.execute(NAMED["wipe_findings"], {"tenant_id": tenant_id, "run_id": run_id}).rowcount


def wipe_changes(db: Connection, tenant_id: int) -> int:
    """Rows of the change sets that are kept for somebody's answer.

    Whoever approves one afterwards is told that the roster has moved: nothing of it is applied.
    """
    tables = {name for (name,) in db.execute(proposals.NAMED["kept"])}
    kept = {UUID(name.removeprefix(KEPT).partition("_")[0]) for name in tables}
    ours = db.execute(NAMED["runs"], {"tenant_id": tenant_id, "runs": list(kept)}).fetchall()
    rows = 0
    for (run_id,) in ours:
        for entity in OWNERS:
            place = kept_rows(run_id, entity)
            # The maintenance may drop it meanwhile.
            with suppress(UndefinedTable), db.transaction():
                rows += wipe_rows(db, entity, Identifier(*place))
    return rows


def wipe_previews(db: Connection, tenant_id: int) -> int:
    """Samples that were shown through a mapping."""
    return db.execute(NAMED["wipe_previews"], {"tenant_id": tenant_id}).rowcount


def wipe_sort_keys(db: Connection, tenant_id: int) -> int:
    """What texts sort by, each beside its text: readers make anew what they need."""
    (there,) = one(db, NAMED["has_sort_keys"])
    if not there:  # a release that reads less
        return 0
    return db.execute(NAMED["wipe_sort_keys"], {"tenant_id": tenant_id}).rowcount


STORES: tuple[Store, ...] = (
    Store("findings", wipe_findings),
    Store("changes", wipe_changes),
    Store("previews", wipe_previews),
    Store("sort_keys", wipe_sort_keys),
)
