"""An erasure, told as its steps.

open: packages and other files that hold who is erased go; doing so again finds them gone. read: who
that is, by all their ids. apply: every store is wiped. publish: a version and a receipt. From read
on, all of it is one transaction under the lock on the district: it is done, with a receipt, or
nothing of it is. A receipt names no value: ids, stores and numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from json import dumps
from typing import Any

from obstore.store import ObjectStore
from psycopg.types.json import Jsonb

from pipeline import claims, export_files, loads, packages, publish
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, one, tenant
from pipeline.erasing import people, records, retention
from pipeline.erasing.files import FILES, Going
from pipeline.erasing.people import NAMED
from pipeline.erasing.records import Reach
from pipeline.erasing.stores import STORES
from pipeline.merge import Merge
from schemas.digests import ERASED
from schemas.erasure import OWNERS, Cause
from schemas.events import Emit, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.policy import Policy
from schemas.runs import Counts, Stage

WORK_MEM = "128MB"  # some hash tables at a time


@dataclass(frozen=True, slots=True)
class Asked:
    """What the erasure is about: the people that a request names, or what a policy says is due."""

    cause: Cause
    users: Sequence[str]
    reference: str | None
    keep_out: bool
    district: str
    policy: Policy


@dataclass(slots=True)
class Erasure:
    """One attempt at one erasure: its collaborators, and what it has wiped so far."""

    claim: Claim
    db: Connection
    watch: Watch
    emit: Emit
    store: ObjectStore
    counts: dict[str, Counts] = field(init=False, default_factory=dict)
    wiped: dict[str, int] = field(init=False, default_factory=dict)

    def run(self) -> RunEnded:
        """Erase, or leave the roster as it was."""
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        self._enter("open")
        with tenant(self.db, self.claim.tenant_id):
            asked = self._asked()
        self._wipe_files(asked)
        with tenant(self.db, self.claim.tenant_id):
            version = self._steps()
        return RunEnded(run_id=self.claim.id, state="applied", version=version, counts=self.counts)

    def _asked(self) -> Asked:
        row = one(self.db, NAMED["asked"], self.claim.key)
        cause, users, reference, keep_out, district, policy = row
        return Asked(cause, users, reference, keep_out, district, Policy.model_validate(policy))

    def _wipe_files(self, asked: Asked) -> None:
        """Of a retention only old packages go: who was deleted long ago stands in no newer one."""
        requested = asked.cause == "request"
        days = asked.policy.deleted_days
        if not requested and days is None:
            return
        claim = self.claim
        going = Going(
            self.db,
            self.store,
            claim.tenant_id,
            claim.id,
            days=None if requested else days,
            lines=requested,
        )
        for wipe in FILES:
            wipe(going)
            self.watch.check()

    def _steps(self) -> int:
        # First of all, so that imports do not wait for a package that is being made.
        packages.settle(self.db, self.claim.tenant_id)
        base, _ = loads.lock(self.db, self.claim)
        asked = self._asked()
        merge = Merge(self.db, self.claim.tenant_id, base + 1)
        self.db.execute(f"set local work_mem = '{WORK_MEM}'")
        self._enter("read")
        reach, without_record = self._find(asked)
        self._enter("apply")
        self._wipe(merge, reach)
        if asked.cause == "request":  # packages that were made since the files went
            self._wiped("exports", export_files.recall(self.db, self.claim.tenant_id))
            self._wiped("packages", packages.recall(self.db, self.claim.tenant_id))
        elif before := max(reach.deleted, reach.images):  # they tell of what is wiped here
            gone = packages.recall(self.db, self.claim.tenant_id, version=before)
            self._wiped("packages", gone)
        self._enter("publish")
        self._publish(merge, asked, reach, without_record)
        return merge.version

    def _enter(self, name: Stage) -> None:
        self.watch.stage = name
        self.watch.check()
        self.emit(StageStarted(run_id=self.claim.id, stage=name))

    def _find(self, asked: Asked) -> tuple[Reach, list[str]]:
        """Who is erased; answers how far a retention reaches, and of whom there is no record."""
        db, tenant_id = self.db, self.claim.tenant_id
        people.begin(db)
        if asked.cause == "request":
            people.add(db, tenant_id, "name_people", users=list(asked.users))
            known = people.known(db, tenant_id, asked.users)
            reach, unknown = Reach(), sorted({*asked.users} - known)
        else:
            reach, unknown = retention.reach_of(db, tenant_id, asked.policy), []
            people.add(db, tenant_id, "deleted_people", deleted=reach.deleted, erased=ERASED)
        people.learn(db, tenant_id)
        return reach, unknown

    def _wipe(self, merge: Merge, reach: Reach) -> None:
        for entity in OWNERS:
            counts, images = records.wipe(merge, entity, reach)
            if counts:
                self.counts[entity.file] = counts
            self._wiped(entity.table, counts.get("erased", 0))
            self._wiped(f"{entity.table}_history", images)
        if touched := merge.touch_users(self.counts):
            self.counts.setdefault("users", Counts())["touched"] = touched
        for store in STORES:
            self._wiped(store.name, store.wipe(self.db, self.claim.tenant_id))

    def _wiped(self, store: str, rows: int) -> None:
        """So many rows of a store are wiped; say so."""
        self.wiped[store] = rows
        self.watch.advance(store, rows, rows)
        self.emit(
            FileAdvanced(run_id=self.claim.id, stage="apply", file=store, done=rows, total=rows)
        )

    def _publish(
        self, merge: Merge, asked: Asked, reach: Reach, without_record: Sequence[str]
    ) -> None:
        """End the run, keep people out who are not to come back, and make version and receipt."""
        db, claim = self.db, self.claim
        claims.hold(db, claim)
        if asked.keep_out:
            db.execute(NAMED["keep_out"], claim.key)
        claims.end(
            db,
            claim,
            state="applied",
            stage=self.watch.stage,
            watch=self.watch,
            version=merge.version,
            counts=self.counts,
        )
        published_at = publish.record(db, claim, merge.version, self.counts)
        (files,) = one(db, NAMED["files"], claim.key)
        receipt = sealed(
            {
                "erasure": str(claim.id),
                "district": asked.district,
                "cause": asked.cause,
                "reference": asked.reference,
                "users": sorted(asked.users),
                "without_record": [*without_record],
                "version": merge.version,
                "erased_at": written(published_at),
                "rows": self.wiped,
                "files": files,
            }
        )
        kept = {"receipt": Jsonb(receipt), "history_until": reach.images or None}
        db.execute(NAMED["keep_receipt"], claim.key | kept)
        publish.show(db, claim, merge.version, published_at)


def sealed(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The receipt with its hash: SHA-256 over its JSON, names sorted, without blanks."""
    text = dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {**receipt, "sha256": sha256(text.encode()).hexdigest()}


def written(moment: datetime) -> str:
    """An instant as the interfaces write it; versions are published at whole milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
