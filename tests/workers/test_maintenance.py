"""What goes by itself: uploads after a while, deleted districts entirely, and nothing else."""

import threading
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import obstore
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from pipeline import loads
from pipeline.database import connect, tenant
from tests.workers.conftest import Hub, Make, Package
from workers import maintenance
from workers.maintenance import sweep

HOUR = 3600.0
DAY = 24 * HOUR
OLD = DAY + HOUR


def files(hub: Hub, tenant_id: int) -> dict[str, bytes]:
    """What the object store holds of a district."""
    return {
        each["path"]: bytes(obstore.get(hub.store, each["path"]).bytes())
        for folder in ("uploads", "packages")
        for page in obstore.list(hub.store, prefix=f"{folder}/{tenant_id}")
        for each in page
    }


OUTLIVING = ["audit", "audit_chains"]
"""Who read and changed what is known for a while after the district is gone."""


def tables(hub: Hub) -> list[str]:
    """Every table with what a tenant has, asked of the database."""
    return [
        name
        for (name,) in hub.admin.execute(
            "select c.relname from pg_class as c join pg_attribute as a on a.attrelid = c.oid"
            " where c.relnamespace = 'rosterhub'::regnamespace and c.relkind = 'r'"
            " and a.attname = 'tenant_id' and c.relname <> all(%s) order by 1",
            [OUTLIVING],
        )
    ]


def everything(hub: Hub, tenant_id: int) -> dict[str, Any]:
    """All rows and files of a district, to the byte; nothing for a table without one."""
    rows = {
        name: hub.admin.execute(
            SQL("select t::text, xmin::text from {} as t where tenant_id = %s order by 1").format(
                Identifier(name)
            ),
            [tenant_id],
        ).fetchall()
        for name in tables(hub)
    }
    return {name: found for name, found in rows.items() if found} | files(hub, tenant_id)


def settle(hub: Hub, importer: Make, package: Package, tenant_id: int) -> None:
    """A district with something in every table that an import or an administrator fills."""
    for body in (package(), package(generation=1, mutations=1.0), b"not a zip"):
        hub.push(tenant_id, body)
        assert importer().attempt(tenant_id)
    hub.push(tenant_id, package())
    obstore.put(hub.store, f"packages/{tenant_id}/p", b"what changed")
    hub.admin.execute(
        "with follower as (insert into feed_followers values (%(t)s, '', true, '', 1, 2))"
        " insert into feed_packages values (%(t)s, gen_random_uuid(), '', true, '', 2, 1, '', 2,"
        " 'deltas-2.ndjson', 'packages/' || %(t)s || '/p', 12, '')",
        {"t": tenant_id},
    )
    hub.admin.execute(
        "insert into keys (tenant_id, id, hash, scopes, expires_at)"
        " values (%s, %s, '', '{}', now() + interval '1 day')",
        [tenant_id, f"key-{tenant_id}"],
    )
    hub.admin.execute(
        "with client as ("
        "insert into clients (tenant_id, id, name, scopes) values (%s, 'c', 'LMS', '{}'))"
        " insert into cors_origins values (%s, 'https://lms.example.jp')",
        [tenant_id, tenant_id],
    )
    hub.admin.execute(
        "insert into client_secrets (tenant_id, client_id, id, hash, expires_at)"
        " values (%s, 'c', 's', '', now() + interval '1 day')",
        [tenant_id],
    )


def decide(hub: Hub, tenant_id: int, **policy: float) -> None:
    hub.admin.execute(
        "update districts set policy = %s where tenant_id = %s", [Jsonb(policy), tenant_id]
    )


def delete(hub: Hub, tenant_id: int) -> None:
    hub.admin.execute("update districts set deleted_at = now() where tenant_id = %s", [tenant_id])


# --- Uploads -------------------------------------------------------------------------------


def test_an_upload_goes_when_its_run_has_ended_long_enough_ago(hub: Hub, district: int) -> None:
    ages = {"long ago": OLD, "just now": 0.0, "not yet": None}
    keys = {}
    for name, age in ages.items():
        run_id = hub.push(district, name.encode(), age=OLD)
        if age is not None:
            hub.admin.execute(
                "update runs set state = 'failed',"
                " finished_at = now() - make_interval(secs => %s) where id = %s",
                [age, run_id],
            )
        (keys[name],) = hub.one(
            "select object_key from uploads join runs on upload_id = uploads.id where runs.id = %s",
            run_id,
        )
    sweep(hub.url, hub.store)
    assert {*files(hub, district)} == {keys["just now"], keys["not yet"]}
    gone = hub.admin.execute("select object_key from uploads where deleted_at is not null")
    assert gone.fetchall() == [(keys["long ago"],)]


def test_an_upload_whose_run_was_never_written_goes_too(hub: Hub, district: int) -> None:
    old, new = hub.push(district, b"old", age=OLD), hub.push(district, b"new")
    hub.admin.execute("delete from runs where id in (%s, %s)", [old, new])
    sweep(hub.url, hub.store)
    assert [*files(hub, district).values()] == [b"new"]


def test_the_retention_counts_from_the_end_of_the_run(hub: Hub, district: int) -> None:
    run_id = hub.push(district, age=OLD)
    hub.admin.execute(
        "update runs set state = 'failed', finished_at = now() where id = %s", [run_id]
    )
    decide(hub, district, uploads_hours=0.4 / HOUR)
    sweep(hub.url, hub.store)
    assert files(hub, district)

    def gone() -> bool:
        sweep(hub.url, hub.store)
        return not files(hub, district)

    assert hub.wait(gone) > 0.1


def test_a_file_that_cannot_be_deleted_keeps_no_other_district_waiting(
    hub: Hub, district: int, neighbour: int
) -> None:
    for tenant_id in (district, neighbour):
        hub.push(tenant_id, stored=tenant_id == neighbour)
        delete(hub, tenant_id)
    (key,) = hub.one("select object_key from uploads where tenant_id = %s", district)
    obstacle = Path(hub.settings.object_store, key, "obstacle")
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    with capture_logs() as lines:
        sweep(hub.url, hub.store)
    assert "store_away" in [line["event"] for line in lines]
    assert hub.count("districts", neighbour) == 0
    assert hub.count("uploads", district) == 1, "its name is needed until the file is gone"
    obstacle.unlink()
    obstacle.parent.rmdir()
    sweep(hub.url, hub.store)
    assert hub.count("districts", district) == 0


@pytest.mark.parametrize("state", ["queued", "review", "held"])
def test_what_waits_for_somebody_keeps_its_upload(hub: Hub, district: int, state: str) -> None:
    hub.change(hub.push(district, age=400 * DAY), state=state)
    sweep(hub.url, hub.store)
    assert files(hub, district)
    assert hub.count("runs", district) == 1


def test_each_district_decides_how_long_uploads_stay(
    hub: Hub, district: int, neighbour: int
) -> None:
    decide(hub, district, uploads_hours=48)
    decide(hub, neighbour, uploads_hours=1)
    for tenant_id in (district, neighbour):
        ended(hub, tenant_id, OLD)
    sweep(hub.url, hub.store)
    assert files(hub, district)
    assert not files(hub, neighbour)


def test_an_upload_that_is_imported_again_stays(hub: Hub, district: int) -> None:
    ended(hub, district, OLD)
    hub.admin.execute(
        "insert into runs (tenant_id, id, kind, upload_id, created_by, retry_of)"
        " select tenant_id, gen_random_uuid(), kind, upload_id, 'test', id from runs"
    )
    sweep(hub.url, hub.store)
    assert files(hub, district)


def test_a_retry_that_is_faster_keeps_the_upload(hub: Hub, district: int) -> None:
    """The retry holds the upload while maintenance has already found it old."""
    ended(hub, district, OLD)
    with psycopg.connect(hub.url, options="-c search_path=rosterhub") as other:
        other.execute("select from uploads for share")
        round_ = threading.Thread(target=sweep, args=[hub.url, hub.store])
        round_.start()
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        hub.wait(lambda: hub.one(waits) == (1,))
        other.execute(
            "insert into runs (tenant_id, id, kind, upload_id, created_by)"
            " select tenant_id, gen_random_uuid(), kind, upload_id, 'test' from runs"
        )
    round_.join()
    assert files(hub, district)
    assert hub.one("select deleted_at from uploads") == (None,)


def test_a_policy_of_a_newer_release_stops_nobody_elses_maintenance(
    hub: Hub, district: int, neighbour: int
) -> None:
    for tenant_id in (district, neighbour):
        ended(hub, tenant_id, OLD)
    decide(hub, district, quantum_leaps=1)
    with capture_logs() as lines:
        sweep(hub.url, hub.store)
    assert [line["tenant_id"] for line in lines if line["log_level"] == "warning"] == [district]
    assert files(hub, district)
    assert not files(hub, neighbour)


# --- Runs ----------------------------------------------------------------------------------


def ended(hub: Hub, tenant_id: int, age: float, **values: object) -> UUID:
    """A run that ended so many seconds ago."""
    run_id = hub.push(tenant_id, age=age)
    hub.admin.execute(
        "update runs set state = 'failed', finished_at = now() - make_interval(secs => %s)"
        " where id = %s",
        [age, run_id],
    )
    hub.admin.execute(
        "insert into findings (tenant_id, run_id, seq, file, rule, severity)"
        " values (%s, %s, 1, 'users', 'r', 'error')",
        [tenant_id, run_id],
    )
    if values:
        hub.change(run_id, **values)
    return run_id


def left(hub: Hub, tenant_id: int) -> set[UUID]:
    rows = hub.admin.execute("select id from runs where tenant_id = %s", [tenant_id])
    return {run_id for (run_id,) in rows}


def test_a_run_goes_with_its_findings_and_its_upload_after_a_year(
    hub: Hub, district: int, neighbour: int
) -> None:
    ended(hub, district, 366 * DAY)
    young, other = ended(hub, district, 364 * DAY), ended(hub, neighbour, DAY)
    sweep(hub.url, hub.store)
    assert left(hub, district) == {young}
    assert left(hub, neighbour) == {other}
    assert hub.count("findings", district) == hub.count("uploads", district) == 1


def test_each_district_decides_how_long_runs_stay(hub: Hub, district: int, neighbour: int) -> None:
    decide(hub, district, runs_days=30)
    decide(hub, neighbour, runs_days=32)
    for tenant_id in (district, neighbour):
        ended(hub, tenant_id, 31 * DAY)
    sweep(hub.url, hub.store)
    assert [hub.count("runs", each) for each in (district, neighbour)] == [0, 1]


def test_a_run_stays_as_long_as_the_version_that_it_made(hub: Hub, district: int) -> None:
    made = ended(hub, district, 400 * DAY, state="applied", version=1)
    ended(hub, district, 400 * DAY, state="applied", version=1)  # unchanged: it made none
    hub.admin.execute(
        "insert into versions (tenant_id, version, run_id, kind, published_at, counts)"
        " values (%s, 1, %s, 'import', now(), '{}')",
        [district, made],
    )
    sweep(hub.url, hub.store)
    assert left(hub, district) == {made}
    hub.admin.execute("delete from versions")
    sweep(hub.url, hub.store)
    assert left(hub, district) == set()


def test_a_run_outlives_the_one_that_it_repeats(hub: Hub, district: int) -> None:
    first = ended(hub, district, 400 * DAY)
    again = ended(hub, district, DAY, retry_of=first)
    sweep(hub.url, hub.store)
    assert left(hub, district) == {again}
    assert hub.run(again)["retry_of"] is None


def test_more_runs_than_go_at_a_time_go_in_one_round(
    hub: Hub, district: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "FEW", 2)
    for _ in range(5):
        ended(hub, district, 400 * DAY)
    sweep(hub.url, hub.store)
    assert hub.count("runs", district) == hub.count("uploads", district) == 0


# --- Known lines ---------------------------------------------------------------------------


def test_known_lines_go_when_nothing_knows_them(hub: Hub, district: int, neighbour: int) -> None:
    running, done = hub.push(district), ended(hub, district, 0)
    hub.change(running, state="running", lease_until="infinity", fence=2)
    folders = {f"{running}-2", f"{running}-1", f"{done}-1", f"{done}-2"}
    for tenant_id in (district, neighbour):
        for folder in folders:
            obstore.put(hub.store, f"lines/{tenant_id}/{folder}/users/0.digest", b"x")
    hub.admin.execute(
        "insert into known_lines (tenant_id, entity, context, base, parts, records)"
        " values (%s, 'users', '', %s, 1, 1)",
        [district, f"lines/{district}/{done}-2/users"],
    )
    sweep(hub.url, hub.store)
    assert {key.split("/")[2] for key in lines(hub, district)} == {f"{running}-2", f"{done}-2"}
    assert len(lines(hub, neighbour)) == 4, "it had no run: nobody looks"
    delete(hub, district)
    sweep(hub.url, hub.store)
    assert lines(hub, district) == []


def lines(hub: Hub, tenant_id: int) -> list[str]:
    pages = obstore.list(hub.store, prefix=f"lines/{tenant_id}")
    return [each["path"] for page in pages for each in page]


# --- First loads ---------------------------------------------------------------------------


def test_what_a_killed_worker_has_brought_in_goes_with_the_next_round(
    hub: Hub, district: int, neighbour: int
) -> None:
    hub.push(neighbour)
    hub.admin.execute(
        "update runs set state = 'running', lease_until = 'infinity' where tenant_id = %s",
        [neighbour],
    )
    for tenant_id in (district, neighbour):
        token = uuid4()
        hub.admin.execute("insert into loads values (%s, %s)", [tenant_id, token])
        with connect(hub.url) as db, tenant(db, tenant_id):
            loads.work_for(db, token)
            db.execute(
                "insert into rosterhub_loading.orgs (sourced_id, name, type, digest)"
                " values ('s', 'x', 'school', %s)",
                [token],
            )
    sweep(hub.url, hub.store)
    left = hub.admin.execute(
        "select tenant_id from orgs where tenant_id = any(%s)", [[district, neighbour]]
    )
    assert left.fetchall() == [(neighbour,)]


# --- Districts -----------------------------------------------------------------------------


def test_a_deleted_district_leaves_nothing_and_its_neighbour_is_untouched(
    hub: Hub, district: int, neighbour: int, importer: Make, package: Package
) -> None:
    for tenant_id in (district, neighbour):
        settle(hub, importer, package, tenant_id)
    before = everything(hub, neighbour)
    filled = {"users", "users_history", "runs", "findings", "versions", "keys", "record_counts"}
    filled |= {"clients", "client_secrets", "cors_origins"}
    assert {*before} >= filled
    assert {*everything(hub, district)} >= filled
    delete(hub, district)
    sweep(hub.url, hub.store)
    assert everything(hub, district) == {}
    assert everything(hub, neighbour) == before


@pytest.mark.parametrize("table", ["users_history", "runs", "districts"])
def test_a_purge_that_was_interrupted_is_finished_by_the_next(
    hub: Hub, district: int, importer: Make, package: Package, table: str
) -> None:
    settle(hub, importer, package, district)
    delete(hub, district)
    hub.admin.execute(
        "create function interrupt() returns trigger language plpgsql as"
        " $$ begin raise exception 'interrupted'; end $$"
    )
    trigger = SQL("create trigger interrupt before delete on {} for each row {}")
    does = SQL("execute function interrupt()")
    hub.admin.execute(trigger.format(Identifier(table), does))
    with pytest.raises(psycopg.errors.RaiseException, match="interrupted"):
        sweep(hub.url, hub.store)
    assert table in everything(hub, district)
    hub.admin.execute(SQL("drop trigger interrupt on {}").format(Identifier(table)))
    sweep(hub.url, hub.store)
    assert everything(hub, district) == {}
    sweep(hub.url, hub.store)


def test_a_purge_waits_for_the_import_that_is_about_to_commit(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    hub.push(district, package())
    hub.admin.execute(
        "create function linger() returns trigger language plpgsql as"
        " $$ begin perform pg_sleep(0.7); return new; end $$"
    )
    hub.admin.execute(
        "create trigger linger before insert on versions for each row execute function linger()"
    )
    delete(hub, district)  # it was claimed before anybody looked
    work = threading.Thread(target=importer().attempt, args=[district])
    work.start()
    sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    hub.wait(lambda: hub.one(sleeping) == (1,))
    sweep(hub.url, hub.store)
    work.join()
    assert everything(hub, district) == {}


# --- People --------------------------------------------------------------------------------


def test_who_was_deleted_long_ago_is_erased_by_a_run_that_nobody_asked_for(
    hub: Hub, importer: Make, package: Package, district: int
) -> None:
    decide(hub, district, deleted_days=1)
    hub.push(district, package())
    assert importer().attempt(district)
    hub.admin.execute(
        "update users set status = 'tobedeleted' where sourced_id ="
        " (select min(sourced_id) from users)"
    )
    sweep(hub.url, hub.store)
    assert hub.free(district) is None, "it was deleted just now"
    hub.admin.execute("update versions set published_at = published_at - interval '2 days'")
    with capture_logs() as log:
        sweep(hub.url, hub.store)
        sweep(hub.url, hub.store)
    (filed,) = [line for line in log if line["event"] == "erasure_filed"]
    assert importer().attempt(district)
    (receipt,) = hub.one("select receipt from erasures where run_id = %s", filed["run_id"])
    assert (receipt["cause"], receipt["rows"]["users"]) == ("retention", 1)
    left = hub.one("select count(*) from users where given_name is null")
    assert left == (1,)


def test_an_upload_that_held_who_was_erased_goes_with_its_run(hub: Hub, district: int) -> None:
    ended, waits = hub.push(district, b"ended"), hub.push(district, b"waits")
    hub.admin.execute(
        "update runs set state = 'rejected', finished_at = now() where id = %s", [ended]
    )
    for run_id in (ended, waits):
        hub.admin.execute(
            "insert into finding_counts"
            " (tenant_id, run_id, rule, severity, file, school, findings, followers, first)"
            " values (%s, %s, 'record.erased', 'warning', '', '', 1, 0, 1)",
            [district, run_id],
        )
    sweep(hub.url, hub.store)
    assert [*files(hub, district).values()] == [b"waits"]
