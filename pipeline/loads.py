"""First loads that are open: rows that are committed before their version is.

The lanes of a first load commit each for itself, so for a moment there are rows of a district that
has no version. Nobody sees them (`roster()` in 0024), and none of them outlives its load: a load is
a token that stands from before the first row until the version is published, and with the token
goes what came in by it.

Who opens or takes back a load holds the lock on the district. A lane holds the token of its load
until it commits, so whoever takes a token away has waited for every lane of it, and no lane of it
can begin any more: a worker that was given up and does not know it brings nothing in.
"""

from typing import Any
from uuid import UUID, uuid4

from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Identifier

from pipeline.claims import SQL as RUNS
from pipeline.claims import Claim
from pipeline.database import Connection, one, tenant
from schemas.roster import ROSTERING
from schemas.statements import load

NAMED = load("pipeline", "loads.sql")
NOBODY = UUID(int=0)
"""Sees what is not published, and brings nothing in."""


def work_for(db: Connection, token: UUID) -> None:
    """Belong to a load for the rest of the transaction."""
    db.execute(NAMED["work_for"], {"token": str(token)})


def lock(db: Connection, claim: Claim, token: UUID | None = None) -> tuple[int, dict[str, Any]]:
    """Lock the district for the rest of the transaction; answer its version and its policy.

    Every writer begins here. Before the first version it finds nothing but what came in by the load
    of this token, if that is the open one.
    """
    (version, _, policy) = one(db, RUNS["lock_district"], claim.key)
    if not (version or stands(db, claim.tenant_id, token)):
        take_back(db, claim.tenant_id)
    return version, policy


def begin(db: Connection, claim: Claim) -> UUID | None:
    """Open a load where there is no version yet; a transaction of its own."""
    key = {"tenant_id": claim.tenant_id}
    with tenant(db, claim.tenant_id):
        if one(db, NAMED["version"], key)[0] > 0 or lock(db, claim)[0] > 0:
            return None
        token = uuid4()
        db.execute(NAMED["open"], {**key, "token": token})
    return token


def stands(db: Connection, tenant_id: int, token: UUID | None) -> bool:
    """Whether this load, and no other, is open. The caller holds the lock on the district."""
    found = db.execute(NAMED["open_loads"], {"tenant_id": tenant_id}).fetchall()
    return found == [(token,)]


def close(db: Connection, tenant_id: int) -> None:
    """What came in is about to be published."""
    db.execute(NAMED["close"], {"tenant_id": tenant_id})


def take_back(db: Connection, tenant_id: int) -> int:
    """Remove what came in and was never published; answer how many rows.

    Part of a transaction that holds the lock on a district without a version.
    """
    work_for(db, NOBODY)
    if not db.execute(NAMED["close"], {"tenant_id": tenant_id}).rowcount:
        return 0
    statement = SQL("delete from {} where tenant_id = %s")
    return sum(
        db.execute(statement.format(Identifier(entity.table)), [tenant_id]).rowcount
        for entity in ROSTERING
    )


def end(db: Connection, tenant_id: int) -> int:
    """Take back what a load has left, if it left anything; a transaction of its own.

    Who is at work on the district will do it; then there is nothing to wait for.
    """
    try:
        with tenant(db, tenant_id):
            db.execute("set local lock_timeout = '5s'")
            (version, *_) = one(db, RUNS["lock_district"], {"tenant_id": tenant_id})
            return 0 if version else take_back(db, tenant_id)
    except LockNotAvailable:
        return 0


def sweep(db: Connection, control: Connection) -> int:
    """Take back what killed workers have left; answer how many rows."""
    return sum(end(db, tenant_id) for (tenant_id,) in control.execute(NAMED["left"]).fetchall())
