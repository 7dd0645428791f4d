"""The tables that a first load is staged in (`pipeline.beside`): names, and who drops them."""

from uuid import UUID

from psycopg.sql import SQL, Identifier

from pipeline.database import Connection
from schemas.statements import load

NAMED = load("pipeline", "staging.sql")
SCHEMA = "rosterhub_staging"


def prefix_of(run_id: UUID) -> str:
    """What the tables of a run begin with."""
    return f"run_{run_id.hex}_"


def remove(db: Connection, beginning: str) -> int:
    """Drop the staging tables whose names begin so; answer how many."""
    found = db.execute(NAMED["tables"], {"beginning": beginning}).fetchall()
    for (name,) in found:
        db.execute(SQL("drop table if exists {}").format(Identifier(SCHEMA, name)))
    return len(found)


def sweep(db: Connection, control: Connection) -> int:
    """Drop what runs that do not run any more have left; answer how many tables."""
    names = [name for (name,) in db.execute(NAMED["tables"], {"beginning": "run_"})]
    # In this order: a run that begins now has no table among these names.
    running = {prefix_of(run_id) for (run_id,) in control.execute(NAMED["running"])}
    left = {name.rsplit("_", 2)[0] + "_" for name in names} - running
    return sum(remove(db, beginning) for beginning in left)
