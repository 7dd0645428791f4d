"""What workers write into the audit: what the hub itself did to a roster, on whose behalf.

An entry is part of the transaction that it speaks of. The chain of the hub in a district continues
in the tables, so it has no gap, whichever worker writes next.
"""

from pipeline.claims import Claim
from pipeline.database import Connection, one
from schemas.audit import HUB, SQL, START, Chains, Link, Operation, instant


def note(
    db: Connection,
    tenant_id: int,
    operation: Operation,
    *,
    target: str,
    records: int,
    code: str | None = None,
    who: str | None = None,
    request_id: str | None = None,
) -> None:
    """Write an entry into a tenant's transaction; whoever notes next there waits for its end.

    `target` names what was changed, `code` says how in a word, `who` is the key or client that
    asked for it and `request_id` the run that did it.
    """
    key = {"tenant_id": tenant_id, "chain": HUB, "hash": START.hash}
    db.execute(SQL["begin_chain"], key)
    seq, last, now = one(db, SQL["hold_chain"], key)
    chains = Chains(HUB, "hub")
    chains.start_at(tenant_id, Link(seq, last))
    row = chains.add(
        tenant_id,
        {
            "at": instant(now),
            "party": "hub",
            "who": who,
            "operation": operation,
            "target": target,
            "records": records,
            "code": code,
            "request_id": request_id,
        },
    )
    db.execute(SQL["append"], chains.batch([row]))


def published(db: Connection, claim: Claim, version: int, records: int) -> None:
    """A run has made a version, in which so many records are not what they were."""
    (who,) = one(db, SQL["maker_of_run"], claim.key)
    note(
        db,
        claim.tenant_id,
        "publish",
        target=str(version),
        records=records,
        code=claim.kind,
        who=who,
        request_id=str(claim.id),
    )
