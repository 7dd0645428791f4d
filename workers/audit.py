"""What the audit needs beside those who write it: its heads go out of the database, old entries go.

Heads are exported every some minutes and when the workers stop. Retention takes the beginnings of
chains, after a signed document has said so; a district's policy says how old they get there.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from obstore.exceptions import BaseError
from pydantic import ValidationError

from pipeline.audit import note
from pipeline.database import Connection, connect, one, tenant
from schemas.audit import INSTALLATION, Head, instant
from schemas.heads import Removed
from schemas.policy import Policy
from schemas.statements import load
from workers.heads import Heads

SQL = load("workers", "audit.sql")
DAY = 86_400.0  # seconds between two looks for what is old
SPARE = timedelta(days=60)  # that a document outlives the entries it speaks of
BATCH = 10_000

log = structlog.get_logger()


class Keeper:
    """Exports heads and forgets entries, each when it is time."""

    def __init__(self, url: str, heads: Heads, every: float) -> None:
        self._url = url
        self._heads = heads
        self._every = every
        self._heads_at = time.monotonic() + every
        self._old_at = time.monotonic()

    def look(self) -> None:
        """Do what it is time for."""
        try:
            if time.monotonic() >= self._old_at:
                forget(self._url, self._heads)
                self._old_at = time.monotonic() + DAY
            if time.monotonic() >= self._heads_at:
                self._export()
        except (BaseError, OSError) as error:
            log.warning("store_away", error=type(error).__name__)

    def leave(self) -> None:
        """Write down how far the chains are, for the last time here."""
        try:
            self._export()
        except (BaseError, OSError) as error:
            log.warning("store_away", error=type(error).__name__)

    def _export(self) -> None:
        with connect(self._url, role="rosterhub_control", name="rosterhub audit") as control:
            export(control, self._heads)
        self._heads_at = time.monotonic() + self._every


def export(control: Connection, heads: Heads) -> int | None:
    """Store the heads of the chains that have grown; answer the number of the document, if any."""
    grown = [
        Head(tenant_id, str(chain), seq, link.hex(), instant(at))
        for tenant_id, chain, seq, link, at in control.execute(SQL["grown"])
    ]
    if not grown:
        return None
    number = heads.put(grown)
    with control.cursor() as cursor:
        cursor.executemany(SQL["exported"], [head._asdict() for head in grown])
    return number


# --- What has served its time ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """How many days a tenant keeps its entries; `living`: it still writes some."""

    tenant_id: int
    days: int
    living: bool


def forget(url: str, heads: Heads) -> None:
    """Remove what is older than its district wants; of a deleted one, than the default."""
    with (
        connect(url, role="rosterhub_control", name="rosterhub audit") as control,
        connect(url, name="rosterhub audit") as db,
    ):
        tenants = list(retentions(control))
        for kept in tenants:
            if removed := list(served(db, control, kept)):
                heads.put([], removed)
                entries = sum(take(control, each) for each in removed)
                say(db, kept, entries)
    longest = max((kept.days for kept in tenants), default=Policy().audit_days)
    heads.forget(datetime.now(UTC) - timedelta(days=longest) - SPARE)


def retentions(control: Connection) -> Iterator[Kept]:
    """What each tenant with entries has decided; nothing goes where that cannot be read."""
    for tenant_id, living, policy in control.execute(SQL["policies"]).fetchall():
        try:
            days = Policy.model_validate(policy).audit_days
        except ValidationError:
            # A newer release wrote it; the maintenance of that release will understand.
            log.warning("policy_not_understood", tenant_id=tenant_id)
            continue
        yield Kept(tenant_id, days, living or tenant_id == INSTALLATION)


def served(db: Connection, control: Connection, kept: Kept) -> Iterator[Removed]:
    """The beginnings of a tenant's chains that are older than it keeps them."""
    facts = {"tenant_id": kept.tenant_id, "days": kept.days}
    for (chain,) in control.execute(SQL["old_chains"], facts).fetchall():
        with tenant(db, kept.tenant_id):
            last = db.execute(SQL["last_old"], {**facts, "chain": chain}).fetchone()
        if last is not None:
            yield Removed(kept.tenant_id, str(chain), last[0], last[1].hex(), kept.days)


def take(control: Connection, removed: Removed) -> int:
    """Delete the entries, some thousand at a time; safe to be interrupted and repeated."""
    total = 0
    while True:
        (said,) = one(control, SQL["forget"], {**removed._asdict(), "batch": BATCH})
        total += (gone := int(said))
        if gone < BATCH:
            return total


def say(db: Connection, kept: Kept, entries: int) -> None:
    """Retention is audited as well: in the district, or in the installation if it is gone."""
    where = kept.tenant_id if kept.living else INSTALLATION
    with tenant(db, where):
        note(db, where, "remove", target=str(kept.tenant_id), records=entries, code="audit")
    log.info("audit_forgotten", tenant_id=kept.tenant_id, entries=entries)
