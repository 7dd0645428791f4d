"""Who works on a run: one worker, until it ends or goes silent, by the database's clock."""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias, get_args
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation

from pipeline import claims
from pipeline.claims import Claim, Fenced, Watch
from pipeline.database import Connection, connect, tenant
from tests.workers.conftest import Hub

Take: TypeAlias = Callable[[Connection, int, str], Claim | None]
FAILURE = {"code": "test"}


# --- One run, two workers --------------------------------------------------------------------


def test_every_claim_counts_an_attempt_and_raises_the_fence(hub: Hub, district: int) -> None:
    run_id = hub.push(district)
    for number in (1, 2, 3):
        claim = hub.take(district, worker=f"worker {number}")
        assert (claim.id, claim.attempt, claim.fence) == (run_id, number, number)
        run = hub.run(run_id)
        assert (run["state"], run["attempts"], run["fence"]) == ("running", number, number)
        assert run["worker"] == f"worker {number}"
        with connect(hub.url) as db:
            claims.release(db, claim, 0)


def test_a_run_is_nobody_elses_while_its_lease_holds(hub: Hub, district: int) -> None:
    hub.push(district)
    hub.take(district, lease=60)
    assert hub.free(district) is None
    assert district not in due(hub)


def test_a_run_whose_worker_went_silent_is_claimed_again(hub: Hub, district: int) -> None:
    run_id = hub.push(district)
    hub.take(district, lease=0.05)
    hub.wait(lambda: district in due(hub))
    hub.push(district)
    again = hub.take(district)
    assert (again.id, again.attempt, again.fence) == (run_id, 2, 2)


def test_a_heartbeat_keeps_the_run(hub: Hub, district: int) -> None:
    hub.push(district)
    lease = 0.4
    claim = hub.take(district, lease=lease)
    beat = claims.heartbeat(hub.url, claim, lease=lease, timeout=60, stopping=threading.Event())
    with beat as watch:
        until = time.monotonic() + 2 * lease
        while time.monotonic() < until:
            assert hub.free(district) is None
            time.sleep(0.1)
        watch.check()
    hub.wait(lambda: hub.free(district), patience=2 * lease)


def test_a_heartbeat_notices_that_the_run_was_taken(hub: Hub, district: int) -> None:
    run_id = hub.push(district)
    claim = hub.take(district)
    beat = claims.heartbeat(hub.url, claim, lease=0.15, timeout=60, stopping=threading.Event())
    with beat as watch:
        hub.let_lapse(run_id)
        hub.take(district)
        watch.lost.wait(5)
        with pytest.raises(Fenced):
            watch.check()


def test_a_stale_claim_can_renew_hold_release_and_end_nothing(hub: Hub, district: int) -> None:
    run_id = hub.push(district)
    stale = hub.take(district)
    hub.let_lapse(run_id)
    hub.take(district, worker="the heir")
    before = hub.run(run_id)
    assert claims.renewed(hub.url, stale, Watch(), lease=3600) is False
    with connect(hub.url) as db:
        with pytest.raises(Fenced), claims.holding(db, stale):
            pytest.fail("a stale claim was held")
        claims.release(db, stale, 0)
        with tenant(db, district):
            end(db, stale)
    assert hub.run(run_id) == before
    assert before["worker"] == "the heir"


def test_a_released_run_waits_for_its_pause(hub: Hub, district: int) -> None:
    run_id = hub.push(district)
    claim = hub.take(district)
    with connect(hub.url) as db:
        claims.release(db, claim, 0.3)
    assert hub.free(district) is None
    assert hub.wait(lambda: hub.free(district)) > 0.1
    assert hub.run(run_id)["attempts"] == 2


def test_what_came_later_does_not_pass_a_run_that_pauses(hub: Hub, district: int) -> None:
    first, _ = hub.push(district, age=1), hub.push(district)
    with connect(hub.url) as db:
        claims.release(db, hub.take(district), 0.2)
    assert hub.free(district) is None
    hub.wait(lambda: district in due(hub))
    hub.wait(lambda: hub.free(district))
    assert hub.run(first)["attempts"] == 2


@pytest.mark.parametrize("wrong", [-86_400, 86_400])
def test_the_clock_of_a_worker_may_be_wrong(
    hub: Hub, district: int, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    right, steady = time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: right() + wrong)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + wrong)
    run_id = hub.push(district)
    claim = hub.take(district, lease=60)
    left = "select lease_until - clock_timestamp() between '59 s' and '60 s' from runs"
    assert hub.one(left) == (True,)
    assert hub.free(district) is None
    assert claims.renewed(hub.url, claim, Watch(), lease=60)
    assert hub.one(left) == (True,)
    with connect(hub.url) as db:
        claims.release(db, claim, 60)
    assert hub.free(district) is None
    assert hub.one(left.replace("lease_until", "next_run_at")) == (True,)
    assert hub.run(run_id)["attempts"] == 1


# --- Kinds of runs ---------------------------------------------------------------------------


def test_a_claim_of_an_undo_says_what_it_takes_back(hub: Hub, district: int) -> None:
    run_id = undo(hub, district, 7)
    claim = hub.take(district)
    assert (claim.id, claim.kind, claim.undoes, claim.upload_id) == (run_id, "undo", 7, None)
    hub.change(run_id, state="queued", lease_until=None)
    assert district in due(hub)


def test_every_kind_is_a_writer_and_they_come_in_the_order_made(hub: Hub, district: int) -> None:
    made = [
        hub.push(district, age=4),
        undo(hub, district, 1, age=3),
        hub.push(district, age=2),
        undo(hub, district, 1, age=1),
    ]
    for run_id in made:
        claim = hub.take(district)
        assert claim.id == run_id
        assert hub.free(district) is None, "a district has one writer"
        with connect(hub.url) as db, claims.holding(db, claim):
            end(db, claim)
    assert hub.free(district) is None


def test_every_declared_kind_and_no_other_is_accepted(hub: Hub, district: int) -> None:
    kinds = {*get_args(claims.Kind)}
    for run_id, own in ((hub.push(district), "import"), (undo(hub, district, 1), "undo")):
        for kind in kinds - {own}:
            with pytest.raises(CheckViolation):
                hub.change(run_id, kind=kind)
        with pytest.raises(CheckViolation):
            hub.change(run_id, kind="dance")


def undo(hub: Hub, tenant_id: int, version: int, *, age: float = 0.0) -> UUID:
    """The run of an undo, as the gateway leaves it."""
    run_id = uuid4()
    hub.admin.execute(
        "insert into runs (tenant_id, id, kind, undoes, created_by, created_at)"
        " values (%s, %s, 'undo', %s, 'test', now() - make_interval(secs => %s))",
        [tenant_id, run_id, version, age],
    )
    return run_id


def due(hub: Hub) -> list[int]:
    with connect(hub.url, role="rosterhub_control") as db:
        return [tenant_id for (tenant_id,) in db.execute(claims.SQL["due"])]


def end(db: Connection, claim: Claim) -> None:
    claims.end(db, claim, state="failed", stage="open", watch=Watch(), failure=FAILURE)


# --- Many runs, many workers -----------------------------------------------------------------


@dataclass
class Storm:
    """Workers that claim whatever they can, and a checker that saw all of it."""

    url: str
    tenants: list[int]
    take: Take
    left: Callable[[], int]
    claimed: dict[int, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    overlaps: int = 0
    _running: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def blow(self, workers: int) -> None:
        with ThreadPoolExecutor(workers) as pool:
            for done in [pool.submit(self._work, number) for number in range(workers)]:
                done.result()

    def _work(self, number: int) -> None:
        dice = random.Random(number)
        until = time.monotonic() + 20
        with connect(self.url) as db:
            while self.left():
                assert time.monotonic() < until
                for tenant_id in dice.sample(self.tenants, len(self.tenants)):
                    if claim := self.take(db, tenant_id, f"worker {number}"):
                        self._claimed(claim)
                        time.sleep(dice.random() * 0.01)
                        self._end(db, claim)

    def _claimed(self, claim: Claim) -> None:
        with self._lock:
            self.overlaps += claim.tenant_id in self._running
            self._running.add(claim.tenant_id)
            self.claimed[claim.tenant_id].append(claim.id)

    def _end(self, db: Connection, claim: Claim) -> None:
        with suppress(Fenced), claims.holding(db, claim):
            end(db, claim)
            with self._lock:
                self._running.discard(claim.tenant_id)

    def faults(self, runs: dict[int, list[UUID]]) -> set[str]:
        """What was not as it must be."""
        found = set()
        for tenant_id, expected in runs.items():
            claimed = self.claimed[tenant_id]
            if len(claimed) != len({*claimed}):
                found.add("claimed twice")
            if list(dict.fromkeys(claimed)) != expected:
                found.add("not in order")
        return found | ({"two at a time"} if self.overlaps else set())


def storm(hub: Hub, take: Take) -> set[str]:
    """16 workers, 4 districts, 40 runs: what went wrong?"""
    tenants = [hub.district() for _ in range(4)]
    runs: dict[int, list[UUID]] = {tenant_id: [] for tenant_id in tenants}
    for age in range(10):  # the older, the earlier; written in the other order
        for tenant_id in tenants:
            runs[tenant_id].insert(0, hub.push(tenant_id, stored=False, age=age))
    lock = threading.Lock()

    def left() -> int:
        with lock:
            (number,) = hub.one("select count(*) from runs where finished_at is null")
            return int(number)

    all_of_it = Storm(hub.url, tenants, take, left)
    all_of_it.blow(16)
    return all_of_it.faults(runs)


def properly(db: Connection, tenant_id: int, worker: str) -> Claim | None:
    return claims.take(db, tenant_id, lease=60, worker=worker)


def naively(db: Connection, tenant_id: int, worker: str) -> Claim | None:
    """Look, then write: what the claim would be without its lock and its look at the others."""
    with tenant(db, tenant_id):
        found = db.execute(
            "select id from runs where tenant_id = %s and state = 'queued'"
            " order by created_at limit 1",
            [tenant_id],
        ).fetchone()
    if found is None:
        return None
    with tenant(db, tenant_id):
        row = db.execute(
            "update runs set state = 'running', worker = %s, attempts = attempts + 1,"
            " fence = fence + 1, lease_until = now() + interval '1 minute'"
            " where tenant_id = %s and id = %s and finished_at is null"
            " returning attempts, fence, upload_id",
            [worker, tenant_id, *found],
        ).fetchone()
    if row is None:
        return None
    attempts, fence, upload_id = row
    return Claim(tenant_id, found[0], attempts, fence, upload_id=upload_id)


def test_sixteen_workers_claim_every_run_once_in_order_and_one_per_district(hub: Hub) -> None:
    assert storm(hub, properly) == set()


def test_the_same_check_catches_a_claim_without_a_lock(hub: Hub) -> None:
    hub.admin.execute("drop index runs_one_writer")
    assert storm(hub, naively) >= {"claimed twice", "two at a time"}
