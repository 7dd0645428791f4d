"""What goes by itself: uploads after a while, deleted districts entirely, and nothing else."""

import threading
from pathlib import Path
from typing import Any

import obstore
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from structlog.testing import capture_logs

from tests.workers.conftest import Hub, Make, Package
from workers.maintenance import sweep

HOUR = 3600.0
OLD = 2 * HOUR


def files(hub: Hub, tenant_id: int) -> dict[str, bytes]:
    """What the object store holds of a district."""
    pages = obstore.list(hub.store, prefix=f"uploads/{tenant_id}")
    return {
        each["path"]: bytes(obstore.get(hub.store, each["path"]).bytes())
        for page in pages
        for each in page
    }


def tables(hub: Hub) -> list[str]:
    """Every table of a tenant, asked of the database."""
    return [
        name
        for (name,) in hub.admin.execute(
            "select c.relname from pg_class as c join pg_attribute as a on a.attrelid = c.oid"
            " where c.relnamespace = 'rosterhub'::regnamespace and c.relkind = 'r'"
            " and a.attname = 'tenant_id' order by 1"
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
    hub.admin.execute(
        "insert into keys (tenant_id, id, hash, scopes, expires_at)"
        " values (%s, %s, '', '{}', now() + interval '1 day')",
        [tenant_id, f"key-{tenant_id}"],
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
    sweep(hub.url, hub.store, HOUR)
    assert {*files(hub, district)} == {keys["just now"], keys["not yet"]}
    gone = hub.admin.execute("select object_key from uploads where deleted_at is not null")
    assert gone.fetchall() == [(keys["long ago"],)]


def test_an_upload_whose_run_was_never_written_goes_too(hub: Hub, district: int) -> None:
    old, new = hub.push(district, b"old", age=OLD), hub.push(district, b"new")
    hub.admin.execute("delete from runs where id in (%s, %s)", [old, new])
    sweep(hub.url, hub.store, HOUR)
    assert [*files(hub, district).values()] == [b"new"]


def test_the_retention_counts_from_the_end_of_the_run(hub: Hub, district: int) -> None:
    run_id = hub.push(district, age=OLD)
    hub.admin.execute(
        "update runs set state = 'failed', finished_at = now() where id = %s", [run_id]
    )
    sweep(hub.url, hub.store, 0.4)
    assert files(hub, district)

    def gone() -> bool:
        sweep(hub.url, hub.store, 0.4)
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
        sweep(hub.url, hub.store, HOUR)
    assert "store_away" in [line["event"] for line in lines]
    assert hub.count("districts", neighbour) == 0
    assert hub.count("uploads", district) == 1, "its name is needed until the file is gone"
    obstacle.unlink()
    obstacle.parent.rmdir()
    sweep(hub.url, hub.store, HOUR)
    assert hub.count("districts", district) == 0


# --- Staging -------------------------------------------------------------------------------


def test_what_a_killed_worker_has_staged_goes_with_the_next_round(hub: Hub, district: int) -> None:
    killed, working = hub.push(district), hub.push(hub.district())
    for run_id in (killed, working):
        table = Identifier("rosterhub_staging", f"run_{run_id.hex}_1_0")
        with hub.admin.transaction():
            hub.admin.execute("set local role rosterhub_app")
            hub.admin.execute(SQL("create unlogged table {} ()").format(table))
    hub.change(working, lease_until="infinity", state="running")
    sweep(hub.url, hub.store, HOUR)
    left = hub.admin.execute(
        "select tablename from pg_tables where schemaname = 'rosterhub_staging'"
    )
    assert left.fetchall() == [(f"run_{working.hex}_1_0",)]


# --- Districts -----------------------------------------------------------------------------


def test_a_deleted_district_leaves_nothing_and_its_neighbour_is_untouched(
    hub: Hub, district: int, neighbour: int, importer: Make, package: Package
) -> None:
    for tenant_id in (district, neighbour):
        settle(hub, importer, package, tenant_id)
    before = everything(hub, neighbour)
    filled = {"users", "users_history", "runs", "findings", "versions", "keys", "record_counts"}
    assert {*before} >= filled
    assert {*everything(hub, district)} >= filled
    delete(hub, district)
    sweep(hub.url, hub.store, HOUR)
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
        sweep(hub.url, hub.store, HOUR)
    assert table in everything(hub, district)
    hub.admin.execute(SQL("drop trigger interrupt on {}").format(Identifier(table)))
    sweep(hub.url, hub.store, HOUR)
    assert everything(hub, district) == {}
    sweep(hub.url, hub.store, HOUR)


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
    sweep(hub.url, hub.store, HOUR)
    work.join()
    assert everything(hub, district) == {}
