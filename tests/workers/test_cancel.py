"""A run that is cancelled while a worker is at it: the worker takes back what it has done."""

import threading
import time

import pytest
from psycopg.rows import TupleRow
from structlog.testing import capture_logs

from api.runs import SQL
from pipeline import claims
from pipeline.claims import Fenced
from pipeline.database import connect, tenant
from schemas.events import Event, RunEnded, StageStarted
from schemas.runs import STAGES, Stage
from tests.workers.conftest import Hub, Make, Package


def cancel(hub: Hub, tenant_id: int) -> list[TupleRow]:
    """As the gateway does it, to the run that is running."""
    (run_id,) = hub.one("select id from runs where state = 'running'")
    key = {"tenant_id": tenant_id, "run_id": run_id, "cancelled_by": "somebody"}
    with connect(hub.url) as db, tenant(db, tenant_id):
        assert db.execute(SQL["cancel"], key).rowcount == 1
    return hub.admin.execute("select * from runs").fetchall()


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_applied_in_whatever_stage_it_was(
    hub: Hub, district: int, importer: Make, package: Package, stage: Stage
) -> None:
    run_id = hub.push(district, package())
    left: list[TupleRow] = []
    events: list[Event] = []

    def follow(event: Event) -> None:
        events.append(event)
        if isinstance(event, StageStarted) and event.stage == stage:
            left.extend(cancel(hub, district))

    assert importer(follow).attempt(district)
    assert hub.admin.execute("select * from runs").fetchall() == left, "the worker wrote to it"
    assert hub.run(run_id)["state"] == "cancelled"
    assert hub.count("users", district) == hub.count("versions", district) == 0
    assert not [event for event in events if isinstance(event, RunEnded)]
    assert importer().attempt(district) is False, "nobody takes it up again"


def test_a_package_full_of_errors_is_not_rejected_after_it_was_cancelled(
    hub: Hub, district: int, importer: Make
) -> None:
    run_id = hub.push(district, b"not a zip")

    def follow(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "open":
            cancel(hub, district)

    importer(follow).attempt(district)
    assert hub.run(run_id)["state"] == "cancelled"
    assert hub.count("findings", district) == 0


def test_the_next_run_of_the_district_begins_and_is_applied(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    hub.push(district, package("Hana"), age=1)
    later = hub.push(district, package("Yui"))

    def follow(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "apply":
            cancel(hub, district)

    importer(follow).attempt(district)
    assert importer().attempt(district)
    assert (hub.run(later)["state"], hub.run(later)["version"]) == ("applied", 1)
    names = {name for (name,) in hub.admin.execute("select given_name from users")}
    assert "Yui" in names
    assert "Hana" not in names


def test_the_heartbeat_finds_the_claim_gone(hub: Hub, district: int) -> None:
    hub.push(district)
    claim = hub.take(district)
    cancel(hub, district)
    assert claims.renewed(hub.url, claim, claims.Watch(), lease=60) is False
    with connect(hub.url) as db, pytest.raises(Fenced), claims.holding(db, claim):
        pytest.fail("a cancelled run was held")


def test_a_cancelled_run_is_never_claimed(hub: Hub, district: int) -> None:
    hub.push(district)
    hub.take(district)
    cancel(hub, district)
    assert hub.free(district) is None
    with connect(hub.url, role="rosterhub_control") as db:
        assert db.execute(claims.SQL["due"]).fetchall() == []


@pytest.mark.parametrize("table", ["rosterhub_loading.users", "rosterhub.record_counts"])
def test_a_worker_in_the_middle_of_a_long_statement_lets_go(
    hub: Hub, district: int, importer: Make, package: Package, table: str
) -> None:
    """It would hold the district until the statement ends, and keep the next run waiting."""
    run_id = hub.push(district, package())
    hub.admin.execute(
        "create or replace function linger() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(20); return new; end $$"
    )
    hub.admin.execute(
        f"create trigger linger before insert on {table}"
        " for each statement execute function linger()"
    )
    outcomes: list[bool] = []
    attempt = importer(lease=60.0).attempt
    work = threading.Thread(target=lambda: outcomes.append(attempt(district)))
    work.start()
    sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    hub.wait(lambda: hub.one(sleeping) == (1,))
    with capture_logs() as lines:
        cancel(hub, district)
        began = time.monotonic()
        work.join()
    assert time.monotonic() - began < 5
    assert outcomes == [True]
    assert [line["event"] for line in lines] == ["run_taken_over"]
    hub.admin.execute(f"drop trigger linger on {table}")
    assert hub.run(run_id)["state"] == "cancelled"
    assert hub.count("orgs", district) == 0
