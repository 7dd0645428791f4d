"""Schedules ask for exports when their time has come: once for each time, whoever looks.

A time that passed while nobody looked is made up for once, however many there were. As long as the
export of an earlier time is not finished, the next one is left out.
"""

from uuid import uuid4

import structlog

from pipeline.database import Connection, connect, tenant
from schemas.schedules import upcoming
from schemas.statements import load

NAMED = load("workers", "schedules.sql")
NAME = "rosterhub schedules"

log = structlog.get_logger()


def ask_due(url: str) -> int:
    """Let every schedule ask whose time has come; answer how many exports that makes."""
    with connect(url, role="rosterhub_control", name=NAME) as control:
        due = control.execute(NAMED["due"]).fetchall()
    if not due:
        return 0
    with connect(url, name=NAME) as db:
        return sum(ask(db, tenant_id, schedule_id) for tenant_id, schedule_id in due)


def ask(db: Connection, tenant_id: int, schedule_id: object) -> bool:
    """Let one schedule ask and move on, in one transaction; answer whether it has asked."""
    facts = {"tenant_id": tenant_id, "id": schedule_id, "export_id": uuid4()}
    with tenant(db, tenant_id):
        row = db.execute(NAMED["hold"], facts).fetchone()
        if row is None:
            return False
        cron, zone, now, busy = row
        asked = not busy and db.execute(NAMED["ask"], facts).rowcount == 1
        db.execute(NAMED["move_on"], {**facts, "next_at": upcoming(cron, zone, now)})
    if busy:
        log.warning("schedule_left_out", tenant_id=tenant_id, schedule_id=str(schedule_id))
    return asked
