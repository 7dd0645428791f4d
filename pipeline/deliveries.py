"""Deliveries as PostgreSQL knows them: which are due, who has one in hand, and what came of it.

A claim raises the fence, begins an attempt and holds until the lease is over; nobody renews it, for
an attempt has a deadline of its own. What was claimed and never ended is due again: at least once,
always with the same webhook-id. Health belongs to the endpoint: when it began to fail, how often it
kept us waiting, and whether it is off.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.types.json import Jsonb

from pipeline import events
from pipeline.database import Connection, one, tenant
from schemas.sealing import Seal
from schemas.statements import load
from schemas.told import as_seen
from schemas.webhooks import (
    DISABLED_AFTER_DAYS,
    HANGING,
    KEPT_DAYS,
    OURS,
    PAUSES,
    TIMEOUTS_MAX,
    WARNED_AFTER_DAYS,
    Failure,
    Notice,
    pause_after,
)

SQL = load("pipeline", "webhooks.sql")
LEASE = 25.0  # seconds; an attempt takes 15 at most, and is written down after it
BRIEF = "set local lock_timeout = '2s'"
BUSY = (LockNotAvailable, DeadlockDetected)
APART = timedelta(hours=12)  # between the first failure and the last, to be more than one mishap
BATCH = 5_000
NOTICES_MAX = 20  # of the newest
WEEK = 7 * 86_400.0  # seconds after which faults of our own give up, too
PATIENCE = (30.0, 3600.0)  # seconds between two attempts that fail through us


@dataclass(frozen=True, slots=True)
class Due:
    """An endpoint with something to send."""

    tenant_id: int
    webhook_id: UUID
    slow: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """A delivery that is ours under this fence, for one attempt."""

    tenant_id: int
    webhook_id: UUID
    event_id: UUID
    fence: int
    number: int
    tries: int
    url: str
    body: str
    age: float
    secret: bytes
    previous_secret: bytes | None

    @property
    def endpoint(self) -> tuple[int, UUID]:
        """Where it goes."""
        return self.tenant_id, self.webhook_id

    @property
    def key(self) -> dict[str, Any]:
        """What names the attempt in a statement."""
        return {
            "tenant_id": self.tenant_id,
            "webhook_id": self.webhook_id,
            "event_id": self.event_id,
            "fence": self.fence,
            "number": self.number,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt; no failure means that it was delivered."""

    letter: Letter
    seconds: float
    failure: Failure | None = None
    status: int | None = None
    response: str | None = None
    retry_after: float | None = None


def due(control: Connection) -> list[Due]:
    """The endpoints with something to send, each district in turn."""
    return [Due(*row) for row in control.execute(SQL["due"])]


def claim(db: Connection, tenant_id: int, webhooks: Sequence[UUID]) -> list[Letter]:
    """One delivery of each of these endpoints that has room for it."""
    facts = {
        "tenant_id": tenant_id,
        "webhooks": list(webhooks),
        "lease": LEASE,
        "timeouts": TIMEOUTS_MAX,
    }
    with tenant(db, tenant_id):
        db.execute(BRIEF)
        db.execute(SQL["take_turns"], facts)
        return [letter(tenant_id, *row) for row in db.execute(SQL["claim"], facts)]


def letter(tenant_id: int, *row: Any) -> Letter:  # noqa: ANN401  # what `claim` answers
    """A delivery, with no more in it than its receiver's lens shows."""
    *told, lens = row
    claimed = Letter(tenant_id, *told)
    return claimed if lens is None else replace(claimed, body=as_seen(claimed.body, lens))


# --- What came of it -----------------------------------------------------------------------


def record(db: Connection, tenant_id: int, outcomes: Iterable[Outcome]) -> None:
    """Write down what came of some attempts of one district."""
    ended = sorted(outcomes, key=lambda each: (each.letter.webhook_id, each.letter.event_id))
    with tenant(db, tenant_id):
        db.execute(BRIEF)
        for outcome in ended:
            db.execute(SQL["note_attempt"], noted(outcome))
            end(db, outcome)
    for webhook_id in {each.letter.webhook_id for each in ended if each.failure == "gone"}:
        # Where the events are busy, the next 410 does it.
        with suppress(*BUSY), tenant(db, tenant_id):
            db.execute(BRIEF)
            switch_off(db, tenant_id, webhook_id, "gone")


def noted(outcome: Outcome) -> dict[str, Any]:
    """The attempt as it is kept."""
    return outcome.letter.key | {
        "seconds": outcome.seconds,
        "status": outcome.status,
        "failure": outcome.failure,
        "response": outcome.response,
    }


def end(db: Connection, outcome: Outcome) -> None:
    """Let the delivery end, or come again; the endpoint is held first, as everywhere."""
    key = outcome.letter.key
    if outcome.failure is None:
        db.execute(SQL["endpoint_is_well"], key)
        db.execute(SQL["delivered"], key)
        return
    enabled = seen_to_fail(db, outcome)
    counts = outcome.failure not in OURS
    facts = {"enabled": enabled, "pause": pause_of(outcome), "counts": int(counts)}
    db.execute(SQL["put_off"], key | facts)


def seen_to_fail(db: Connection, outcome: Outcome) -> bool:
    """Hold it against the endpoint, unless the fault is ours; answer whether it is on."""
    key = outcome.letter.key
    if outcome.failure in OURS:
        row = db.execute(SQL["hold_endpoint"], key).fetchone()
    else:
        facts = {"hanging": outcome.failure in HANGING, "timeouts": TIMEOUTS_MAX}
        row = db.execute(SQL["endpoint_failed"], key | facts).fetchone()
    return row is not None and bool(row[0])


def pause_of(outcome: Outcome) -> float | None:
    """Seconds until it is tried again; None: it is given up."""
    letter = outcome.letter
    if outcome.failure in OURS:
        least, most = PATIENCE
        return None if letter.age > WEEK else min(max(letter.age / 10, least), most)
    if outcome.failure == "gone":
        return PAUSES[0]  # by then it waits with all the others
    chance = random.random()  # noqa: S311  # jitter is no secret
    return pause_after(letter.tries + 1, chance, outcome.retry_after)


# --- Endpoints that fail for days ----------------------------------------------------------

DISABLED: Mapping[str, Notice] = {"gone": "disabled_gone", "failing": "disabled_failing"}


def warn(db: Connection, control: Connection) -> int:
    """Give the notices that are due, and switch off who has failed too long; answer how many."""
    first = min(WARNED_AFTER_DAYS.values())
    failing = control.execute(SQL["failing"], {"days": first}).fetchall()
    return sum(warned(db, tenant_id, webhook_id) for tenant_id, webhook_id in failing)


def warned(db: Connection, tenant_id: int, webhook_id: UUID) -> bool:
    """Look at one endpoint; answer whether there was something to say."""
    key = {"tenant_id": tenant_id, "webhook_id": webhook_id}
    with tenant(db, tenant_id):
        db.execute(BRIEF)
        db.execute(events.SQL["hold_events"], key)
        row = db.execute(SQL["trouble"], key).fetchone()
        if row is None:
            return False
        notices, since, last, now = row
        if now - since >= timedelta(days=DISABLED_AFTER_DAYS) and last - since > APART:
            return switch_off(db, tenant_id, webhook_id, "failing")
        given = {each["kind"] for each in notices if datetime.fromisoformat(each["at"]) >= since}
        missing = [
            kind
            for kind, days in WARNED_AFTER_DAYS.items()
            if kind not in given and now - since >= timedelta(days=days)
        ]
        if not missing:
            return False
        give(db, key, notices, *missing)
        told = {"webhookId": str(webhook_id), "since": since}
        events.emit(db, tenant_id, "webhook.failing", told)
        return True


def switch_off(
    db: Connection, tenant_id: int, webhook_id: UUID, because: Literal["gone", "failing"]
) -> bool:
    """Disable an endpoint with a notice, and tell whoever else is rung."""
    if not events.disable(db, tenant_id, webhook_id, because):
        return False
    key = {"tenant_id": tenant_id, "webhook_id": webhook_id}
    (notices,) = one(db, SQL["notices"], key)
    give(db, key, notices, DISABLED[because])
    told = {"webhookId": str(webhook_id), "because": because}
    events.emit(db, tenant_id, "webhook.disabled", told)
    return True


def give(
    db: Connection, key: dict[str, Any], notices: Sequence[dict[str, str]], *kinds: Notice
) -> None:
    """Add notices to those of the endpoint."""
    (now,) = one(db, "select clock_timestamp()")
    added = [{"kind": kind, "at": now.isoformat()} for kind in kinds]
    kept = [*notices, *added][-NOTICES_MAX:]
    db.execute(SQL["give_notice"], key | {"notices": Jsonb(kept)})


# --- What has served its time --------------------------------------------------------------


def tidy(db: Connection, control: Connection, seal: Seal) -> None:
    """Let old events go, and old secrets; seal anew what an older secret has sealed."""
    for (tenant_id,) in control.execute(SQL["districts"]).fetchall():
        key = {"tenant_id": tenant_id, "days": KEPT_DAYS, "batch": BATCH}
        gone = BATCH
        while gone == BATCH:
            with tenant(db, tenant_id):
                gone = db.execute(SQL["forget_events"], key).rowcount
        with tenant(db, tenant_id):
            db.execute(SQL["forget_secrets"], key)
            renew_seals(db, tenant_id, seal)


def renew_seals(db: Connection, tenant_id: int, seal: Seal) -> None:
    """Seal with the newest key what is sealed with an older one."""
    sealed = db.execute(SQL["sealed"], {"tenant_id": tenant_id}).fetchall()
    for webhook_id, secret, previous in sealed:
        new = seal.renewed(webhook_id, secret)
        new_previous = None if previous is None else seal.renewed(webhook_id, previous)
        if new or new_previous:
            facts = {"secret": secret, "previous": previous}
            db.execute(
                SQL["seal_anew"],
                {"tenant_id": tenant_id, "webhook_id": webhook_id, **facts}
                | {"new": new, "new_previous": new_previous},
            )
