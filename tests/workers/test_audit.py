"""What the hub itself does is in the audit; heads leave the database, and old entries leave it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import obstore
import psycopg
import pytest
from obstore.store import ObjectStore
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from deploy.verifying import heard, verified
from pipeline.database import connect
from schemas.audit import HUB, INSTALLATION, SQL, Chains, Entry, instant
from schemas.evidence import Verdict
from schemas.secrets import Vault
from schemas.settings import plain
from tests.workers.conftest import Hub, Make, Package, Start
from workers import audit
from workers.audit import export, forget
from workers.heads import Heads
from workers.maintenance import sweep

LONG_AGO = 731  # days; more than the default keeps


class Kept:
    """An audit, and its heads in the hub's own object store."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.vault = Vault(plain(hub.settings.secret_key))
        self.age = timedelta()
        self.heads = Heads(hub.store, self.vault, lambda: datetime.now(UTC) - self.age)

    def write(self, tenant_id: int, *ages: float) -> str:
        """A chain with an entry so many days old each, whose heads were exported at the time."""
        chain = str(uuid4())
        chains = Chains(chain, "gateway")
        with connect(self.hub.url, role="rosterhub_control") as control:
            for days in ages:
                self.age = timedelta(days=days)
                batch = chains.batch([chains.add(tenant_id, entry(days))])
                control.execute(SQL["append"], batch)
                export(control, self.heads)
        self.hub.admin.execute(
            "update audit_chains set began_at = %s where chain = %s",
            [datetime.now(UTC) - timedelta(days=max(ages), hours=1), chain],
        )
        self.age = timedelta()
        return chain

    def rows(self, tenant_id: int, chain: str) -> list[dict[str, Any]]:
        with self.hub.admin.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(
                "select * from audit where tenant_id = %s and chain = %s order by seq",
                [tenant_id, chain],
            ).fetchall()

    def left(self, tenant_id: int, chain: str) -> list[int]:
        return [row["seq"] for row in self.rows(tenant_id, chain)]

    def forget(self) -> None:
        forget(self.hub.url, self.heads)

    def faults(self) -> set[str]:
        return {fault.kind for fault in self.verdict().faults}

    def verdict(self) -> Verdict:
        with connect(self.hub.url, role="rosterhub_control") as control:
            export(control, self.heads)
        with psycopg.connect(self.hub.url) as db:
            return verified(db, heard(self.hub.store, self.vault))


def entry(days: float) -> Entry:
    """A request, so many days ago."""
    at = datetime.now(UTC) - timedelta(days=days)
    return {"at": instant(at), "party": "key", "operation": "read", "records": 1}


def documents(store: ObjectStore) -> list[str]:
    return sorted(each["path"] for page in obstore.list(store, prefix="audit") for each in page)


@pytest.fixture
def kept(hub: Hub) -> Kept:
    return Kept(hub)


# --- What the hub itself does --------------------------------------------------------------


def test_every_version_is_published_with_an_entry_of_its_own(
    hub: Hub, kept: Kept, district: int, importer: Make, package: Package
) -> None:
    first = hub.push(district, package())
    hub.push(district, b"not a zip")
    second = hub.push(district, package("Momoko"))
    for _ in range(3):
        assert importer().attempt(district)
    hub.push(district, package("Momoko"))
    assert importer().attempt(district), "nothing changes, and nothing is said"
    undo = uuid4()
    hub.admin.execute(
        "insert into runs (tenant_id, id, kind, undoes, created_by)"
        " values (%s, %s, 'undo', 2, 'somebody else')",
        [district, undo],
    )
    assert importer().attempt(district)
    found = [
        (row["seq"], row["operation"], row["code"], row["target"], row["who"], row["request_id"])
        for row in kept.rows(district, HUB)
    ]
    assert found == [
        (1, "publish", "import", "1", "test", str(first)),
        (2, "publish", "import", "2", "test", str(second)),
        (3, "publish", "undo", "3", "somebody else", str(undo)),
    ]
    records = [row["records"] for row in kept.rows(district, HUB)]
    assert records[0] > 20
    assert records[1:] == [1, 1]
    assert kept.faults() == set()


def test_a_purged_district_leaves_its_audit_for_as_long_as_the_default_says(
    hub: Hub, kept: Kept, district: int
) -> None:
    chain = kept.write(district, LONG_AGO, 5)
    hub.admin.execute("update districts set deleted_at = now() where tenant_id = %s", [district])
    sweep(hub.url, hub.store)
    assert hub.count("districts", district) == 0
    assert kept.left(district, chain) == [1, 2]
    (purged,) = kept.rows(INSTALLATION, HUB)
    assert (purged["operation"], purged["code"], purged["target"]) == (
        "remove",
        "district",
        str(district),
    )
    kept.forget()
    assert kept.left(district, chain) == [2]
    assert kept.rows(district, HUB) == [], "nothing is begun where nobody is any more"
    assert kept.faults() == set()


# --- Retention -----------------------------------------------------------------------------


def test_what_is_older_than_the_district_wants_goes_and_the_rest_still_proves_itself(
    hub: Hub, kept: Kept, district: int, neighbour: int
) -> None:
    chain = kept.write(district, 100, 90, 50, 10)
    gone = kept.write(district, 100, 95)
    other = kept.write(neighbour, 100, 10)
    policy = Jsonb({"audit_days": 60})
    hub.admin.execute("update districts set policy = %s where tenant_id = %s", [policy, district])
    kept.forget()
    assert kept.left(district, chain) == [3, 4]
    assert kept.left(district, gone) == []
    assert kept.left(neighbour, other) == [1, 2]
    (said,) = kept.rows(district, HUB)
    assert (said["operation"], said["code"], said["records"]) == ("remove", "audit", 4)
    verdict = kept.verdict()
    assert (verdict.faults, verdict.entries, verdict.chains) == ([], 5, 3)
    before = documents(hub.store)
    kept.forget()
    assert documents(hub.store) == before, "there is nothing to do"


def test_a_removal_that_was_interrupted_is_no_fault_and_is_finished_later(
    kept: Kept, district: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = kept.write(district, LONG_AGO + 2, LONG_AGO + 1, LONG_AGO, 1)
    with monkeypatch.context() as patched:
        patched.setattr(audit, "take", lambda *_: 0)
        kept.forget()
    assert kept.left(district, chain) == [1, 2, 3, 4]
    assert kept.faults() == set()
    monkeypatch.setattr(audit, "BATCH", 2)
    kept.forget()
    assert kept.left(district, chain) == [4]
    assert kept.faults() == set()


def test_entries_that_were_made_to_look_old_are_missed(hub: Hub, kept: Kept, district: int) -> None:
    chain = kept.write(district, 20, 10, 5)
    hub.admin.execute(
        "update audit set at = at - interval '3 years' where tenant_id = %s and seq < 3", [district]
    )
    hub.admin.execute("update audit_chains set began_at = now() - interval '3 years'")
    kept.forget()
    assert kept.left(district, chain) == [3]
    assert kept.faults() == {"removed_early"}


def test_a_beginning_that_the_owner_removes_is_missed_whatever_the_tables_say(
    hub: Hub, kept: Kept, district: int
) -> None:
    kept.write(district, LONG_AGO, LONG_AGO - 1, 5)
    hub.admin.execute("delete from audit where tenant_id = %s and seq = 1", [district])
    assert kept.faults() == {"gap"}


def test_heads_go_when_no_entry_is_left_that_they_could_speak_of(
    hub: Hub, kept: Kept, district: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.write(district, LONG_AGO, 1)
    kept.forget()
    assert len(documents(hub.store)) == 3
    assert kept.faults() == set()
    number = len(documents(hub.store))
    monkeypatch.setattr(audit, "SPARE", -timedelta(days=800))
    kept.forget()
    assert len(documents(hub.store)) == 1, "the last one is gone on from"
    assert kept.heads.put([]) == number + 1


# --- Processes -----------------------------------------------------------------------------


def test_workers_that_stop_leave_the_heads_behind(hub: Hub, kept: Kept, start: Start) -> None:
    tenant_id = hub.district()
    work = start("--process", "service")
    hub.wait(lambda: "worker_started" in work.lines, 20)
    chains = Chains(str(uuid4()), "gateway")
    with connect(hub.url, role="rosterhub_control") as control:
        batch = chains.batch([chains.add(tenant_id, entry(0))])
        control.execute(SQL["append"], batch)
    assert documents(hub.store) == []
    work.process.terminate()
    assert work.process.wait(20) == 0
    assert len(documents(hub.store)) == 1
    assert kept.verdict().open == 0
