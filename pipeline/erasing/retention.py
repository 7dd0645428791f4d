"""Retention: what a district's policy says has served its time is erased, by a run like any other.

The maintenance files the run when something is due, at most one a day; the run itself looks again
at what is due when its turn has come.
"""

from uuid import UUID, uuid4

from pipeline.database import Connection, one, tenant
from pipeline.erasing.people import NAMED
from pipeline.erasing.records import Reach, is_due
from schemas.erasure import OWNERS, RETENTION
from schemas.policy import Policy


def file(db: Connection, tenant_id: int, policy: Policy) -> UUID | None:
    """File a run if something is due and none was filed today."""
    if policy.deleted_days is None and policy.history_days is None:
        return None
    with tenant(db, tenant_id):
        (filed,) = one(db, NAMED["filed_today"], {"tenant_id": tenant_id})
        reach = reach_of(db, tenant_id, policy)
        if filed or not any(is_due(db, entity, tenant_id, reach) for entity in OWNERS):
            return None
        facts = {"tenant_id": tenant_id, "id": uuid4(), "created_by": RETENTION}
        row = db.execute(NAMED["file"], facts).fetchone()
    return None if row is None else row[0]


def reach_of(db: Connection, tenant_id: int, policy: Policy) -> Reach:
    """How far the policy reaches today."""
    (since,) = one(db, NAMED["history_wiped"], {"tenant_id": tenant_id})
    deleted, images = (
        one(db, NAMED["version_before"], {"tenant_id": tenant_id, "days": days})[0]
        for days in (policy.deleted_days, policy.history_days)
    )
    return Reach(deleted, max(images, since), since)
