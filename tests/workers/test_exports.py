"""One attempt at one export: the file is there when it is whole, and never before."""

import hashlib
import io
import threading
import zipfile
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import obstore
import pytest
from psycopg.types.json import Jsonb
from redis import Redis

from pipeline import export_files
from pipeline.database import connect, tenant
from schemas.events import EVENT, Event, ExportAdvanced, ExportEnded, RunStarted, stream
from schemas.jobs import WriteExport
from schemas.objects import export_folder
from tests.workers.conftest import Hub, Make, MakeExporter, Package, Start
from workers.maintenance import sweep
from workers.observers import to_stream
from workers.port import ring_on
from workers.schedules import ask_due

DAY = 24 * 3600.0


@pytest.fixture
def settled(hub: Hub, district: int, importer: Make, package: Package) -> int:
    """A district with nine people in it."""
    hub.push(district, package())
    assert importer().attempt(district)
    return district


def assert_whole(hub: Hub, export_id: UUID) -> dict[str, bytes]:
    """The export is completed, and its file is what the row says; answers what is in it."""
    row = hub.exported(export_id)
    assert (row["state"], row["lease_until"], row["worker"], row["failure"]) == (
        *("completed", None),
        *(None, None),
    )
    data = bytes(obstore.get(hub.store, row["object_key"]).bytes())
    assert (len(data), hashlib.sha256(data).digest()) == (row["bytes"], row["sha256"])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def nothing_left(hub: Hub, tenant_id: int) -> bool:
    """Whether the store holds no byte of an export, not even one that somebody began."""
    folder = Path(hub.settings.object_store, export_folder(tenant_id))
    return [each for each in folder.rglob("*") if each.is_file()] == []


def rung(hub: Hub, export_id: UUID) -> list[str]:
    """What webhooks are told of an export."""
    query = "select type from webhook_events where body::jsonb -> 'data' ->> 'jobId' = %s"
    return [kind for (kind,) in hub.admin.execute(query, [str(export_id)])]


def test_an_attempt_leaves_a_package_that_its_row_describes(
    hub: Hub, settled: int, exporter: MakeExporter
) -> None:
    export_id = hub.export(settled, profile="JP-1.2.1")
    events: list[Event] = []
    assert exporter(events.append).attempt(settled) is True
    files = assert_whole(hub, export_id)
    assert files["users.csv"].count(b"\r\n") == 10
    row = hub.exported(export_id)
    assert (row["version"], row["since"], row["profile"], row["identifiers"]) == (
        *(1, None),
        *("JP-1.2.1", "hub"),
    )
    assert row["counts"]["users"] == 9
    assert row["progress"]["users"] == {"done": 9, "total": 9}
    assert events[0] == RunStarted(run_id=export_id, attempt=1)
    assert events[-1] == ExportEnded(
        run_id=export_id,
        state="completed",
        version=1,
        counts=row["counts"],
        bytes=row["bytes"],
    )
    assert {e.file for e in events if isinstance(e, ExportAdvanced)} == {*row["counts"]}
    assert rung(hub, export_id) == ["csv.export.completed"]
    assert exporter().attempt(settled) is False


def test_what_is_being_written_is_seen_by_nobody_and_an_interrupted_attempt_leaves_nothing(
    hub: Hub, settled: int, exporter: MakeExporter
) -> None:
    export_id = hub.export(settled)

    def break_down(event: Event) -> None:
        if isinstance(event, ExportAdvanced) and event.file == "enrollments":
            assert hub.files(export_folder(settled)) == []
            assert hub.exported(export_id)["object_key"] is None
            raise OSError("the disk is full")

    assert exporter(break_down).attempt(settled)
    row = hub.exported(export_id)
    assert (row["state"], row["attempts"], row["object_key"]) == ("queued", 1, None)
    assert nothing_left(hub, settled)
    assert exporter().attempt(settled) is False, "it is paused"
    hub.admin.execute("update exports set next_run_at = now()")
    assert exporter().attempt(settled)
    assert_whole(hub, export_id)


def test_an_export_that_was_interrupted_too_often_fails_in_both_languages(
    hub: Hub, settled: int, exporter: MakeExporter
) -> None:
    export_id = hub.export(settled)
    hub.admin.execute("update exports set attempts = 2")
    events: list[Event] = []
    assert exporter(events.append, attempts=2).attempt(settled)
    row = hub.exported(export_id)
    assert (row["state"], row["failure"]["code"]) == ("failed", "attempts_exhausted")
    assert row["failure"]["en"].isascii()
    assert not row["failure"]["ja"].isascii()
    assert events == [ExportEnded(run_id=export_id, state="failed")]
    assert rung(hub, export_id) == ["csv.export.failed"]


def test_for_a_client_that_is_gone_or_disabled_nothing_is_exported(
    hub: Hub, settled: int, exporter: MakeExporter
) -> None:
    for enabled, code in ((None, "client_gone"), (False, "client_gone"), (True, None)):
        if enabled is not None:
            hub.admin.execute(
                "insert into clients (tenant_id, id, name, scopes, enabled)"
                " values (%s, 'reader', 'LMS', '{}', %s)"
                " on conflict (tenant_id, id) do update set enabled = excluded.enabled",
                [settled, enabled],
            )
        export_id = hub.export(settled)
        hub.admin.execute("update exports set client = 'reader' where id = %s", [export_id])
        assert exporter().attempt(settled)
        row = hub.exported(export_id)
        assert (row["failure"] and row["failure"]["code"]) == code
        assert nothing_left(hub, settled) == (code is not None)
    assert row["lens_revision"] == 1


@pytest.mark.parametrize("when", ["export_advanced", "run_started"])
def test_an_export_that_is_cancelled_or_taken_over_ends_and_leaves_nothing(
    hub: Hub, settled: int, exporter: MakeExporter, when: str
) -> None:
    export_id = hub.export(settled)

    def lose(event: Event) -> None:
        if event.kind == when:
            hub.admin.execute(
                "update exports set state = 'cancelled', finished_at = now(), lease_until = null,"
                " cancelled_by = 'test'"
            )

    assert exporter(lose).attempt(settled)
    assert hub.exported(export_id)["state"] == "cancelled"
    assert nothing_left(hub, settled)


def test_a_worker_that_is_asked_to_stop_gives_the_export_back_at_once(
    hub: Hub, settled: int, exporter: MakeExporter
) -> None:
    export_id, stopping = hub.export(settled), threading.Event()
    assert exporter(lambda _: stopping.set(), stopping).attempt(settled)
    row = hub.exported(export_id)
    assert (row["state"], row["attempts"]) == ("queued", 0)
    assert exporter().attempt(settled)
    assert_whole(hub, export_id)


def test_a_district_has_one_export_at_a_time_and_one_that_fell_silent_is_taken_over(
    hub: Hub, settled: int, exporter: MakeExporter
) -> None:
    first, second = hub.export(settled), hub.export(settled)
    tried: list[bool] = []

    def other(event: Event) -> None:
        if isinstance(event, RunStarted):
            tried.append(exporter().attempt(settled))

    assert exporter(other).attempt(settled)
    assert tried == [False]
    assert (hub.exported(first)["state"], hub.exported(second)["state"]) == ("completed", "queued")
    hub.admin.execute(
        "update exports set state = 'running', attempts = 1, fence = 1,"
        " lease_until = now() - interval '1 s' where id = %s",
        [second],
    )
    assert exporter().attempt(settled)
    assert hub.exported(second)["fence"] == 2
    assert_whole(hub, second)


def test_a_process_writes_what_a_bell_or_a_schedule_asks_for(
    hub: Hub, settled: int, start: Start, redis_url: str
) -> None:
    work = start("--process", "exports", poll=0.5)
    hub.wait(lambda: "worker_started" in work.lines, patience=20)
    export_id = hub.export(settled)
    assert ring_on(redis_url)(WriteExport(tenant_id=settled, export_id=export_id))
    hub.wait(lambda: hub.exported(export_id)["state"] == "completed")
    planned(hub, settled, due="now()")
    hub.wait(lambda: hub.count("exports", settled) == 2)
    hub.wait(lambda: states(hub) == ["completed", "completed"])


def test_progress_is_told_on_the_stream_of_the_export(
    hub: Hub, settled: int, exporter: MakeExporter, redis_url: str
) -> None:
    export_id = hub.export(settled)
    assert exporter(to_stream(redis_url)).attempt(settled)
    with Redis.from_url(redis_url) as client:
        entries = cast("list[Any]", client.xrange(stream(export_id)))
    kinds = [EVENT.validate_json(fields[b"event"]).kind for _, fields in entries]
    assert (kinds[0], kinds[-1]) == ("run_started", "export_ended")
    assert "export_advanced" in kinds


# --- Schedules -----------------------------------------------------------------------------


def planned(hub: Hub, tenant_id: int, *, due: str, cron: str = "0 3 * * *") -> UUID:
    """A schedule that is due at that moment."""
    schedule_id = uuid4()
    hub.admin.execute(
        "insert into schedules (tenant_id, id, name, cron, time_zone, wanted, next_at, created_by)"
        f" values (%s, %s, 'nightly', %s, 'Asia/Tokyo', %s, {due}, 'test')",
        [tenant_id, schedule_id, cron, Jsonb({"mode": "delta"})],
    )
    return schedule_id


def states(hub: Hub) -> list[str]:
    return [
        state for (state,) in hub.admin.execute("select state from exports order by created_at")
    ]


class TestSchedules:
    def test_it_asks_once_for_each_time_however_many_look(self, hub: Hub, settled: int) -> None:
        schedule_id = planned(hub, settled, due="'2026-04-01T18:00:00Z'")
        asked: list[int] = []
        hands = [threading.Thread(target=lambda: asked.append(ask_due(hub.url))) for _ in range(4)]
        for hand in hands:
            hand.start()
        for hand in hands:
            hand.join()
        assert sum(asked) == 1
        due_at, schedule, by = hub.one("select due_at, schedule_id, created_by from exports")
        assert (due_at.isoformat(), schedule, by) == (
            *("2026-04-01T18:00:00+00:00", schedule_id),
            "test",
        )
        last, upcoming, is_future = hub.one(
            "select last_at, next_at at time zone 'Asia/Tokyo', next_at > now() from schedules"
        )
        assert (last, upcoming.hour, upcoming.minute, is_future) == (due_at, 3, 0, True)

    def test_a_time_is_left_out_while_the_last_one_is_not_finished(
        self, hub: Hub, settled: int, exporter: MakeExporter
    ) -> None:
        planned(hub, settled, due="now()", cron="* * * * *")
        assert ask_due(hub.url) == 1
        hub.admin.execute("update schedules set next_at = now()")
        assert ask_due(hub.url) == 0
        assert exporter().attempt(settled)
        hub.admin.execute("update schedules set next_at = now()")
        assert ask_due(hub.url) == 1

    def test_nothing_is_asked_for_a_deleted_district_nor_when_it_is_off(
        self, hub: Hub, district: int, neighbour: int
    ) -> None:
        planned(hub, district, due="now()")
        planned(hub, neighbour, due="null")
        hub.admin.execute(
            "update districts set deleted_at = now() where tenant_id = %s", [district]
        )
        assert ask_due(hub.url) == 0


# --- What goes -----------------------------------------------------------------------------


class TestFiles:
    @pytest.fixture
    def made(self, hub: Hub, settled: int, exporter: MakeExporter) -> UUID:
        export_id = hub.export(settled)
        assert exporter().attempt(settled)
        return export_id

    def test_a_file_goes_after_some_hours_and_its_export_after_some_days(
        self, hub: Hub, settled: int, made: UUID
    ) -> None:
        sweep(hub.url, hub.store)
        assert_whole(hub, made)

        def grown(days: float) -> None:
            hub.admin.execute(
                "update exports set finished_at = now() - make_interval(secs => %s)", [days * DAY]
            )
            sweep(hub.url, hub.store)

        grown(7.1)
        assert nothing_left(hub, settled)
        row = hub.exported(made)
        assert (row["state"], row["deleted_at"] is not None) == ("completed", True)
        grown(364)
        assert hub.count("exports", settled) == 1
        grown(366)
        assert hub.count("exports", settled) == 0

    def test_what_a_killed_attempt_has_left_is_swept_and_nothing_else(
        self, hub: Hub, settled: int, neighbour: int, made: UUID
    ) -> None:
        folder = Path(hub.settings.object_store, export_folder(settled))
        key = hub.exported(made)["object_key"]
        running = hub.export(settled)
        hub.admin.execute(
            "update exports set state = 'running', fence = 3, lease_until = now() + '1 min'"
            " where id = %s",
            [running],
        )
        kept = [f"{running}-3/p.zip", f"{running}-3/p.zip#1"]
        for name in (*kept, f"{running}-2/p.zip", f"{running}-2/p.zip#1", "stray"):
            folder.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
            folder.joinpath(name).write_bytes(b"?")
        beside = Path(hub.settings.object_store, export_folder(neighbour), "x")
        beside.parent.mkdir(parents=True)
        beside.write_bytes(b"?")
        with connect(hub.url) as db:
            assert export_files.sweep(db, hub.store, settled) == 3
        left = {str(e.relative_to(folder)) for e in folder.rglob("*") if e.is_file()}
        assert left == {*kept, key.removeprefix(f"{export_folder(settled)}/")}
        assert beside.exists()

    def test_an_erasure_takes_every_file_back_and_what_is_being_written_begins_again(
        self, hub: Hub, settled: int, made: UUID, exporter: MakeExporter
    ) -> None:
        second = hub.export(settled)

        def erase(event: Event) -> None:
            if isinstance(event, ExportAdvanced) and event.file == "users":
                with connect(hub.url) as db, tenant(db, settled):
                    db.execute("update users set given_name = null")
                    assert export_files.recall(db, settled) == 2

        assert exporter(erase).attempt(settled)
        with connect(hub.url) as db:
            export_files.sweep(db, hub.store, settled)
        assert nothing_left(hub, settled)
        assert hub.exported(made)["deleted_at"] is not None
        row = hub.exported(second)
        assert (row["state"], row["attempts"]) == ("queued", 0)
        assert exporter().attempt(settled)
        users = assert_whole(hub, second)["users.csv"].decode().splitlines()
        assert "givenName" in users[0]
        with connect(hub.url) as db:
            export_files.wipe(db, hub.store, settled)
        assert nothing_left(hub, settled)

    def test_a_deleted_district_leaves_no_file(self, hub: Hub, settled: int, made: UUID) -> None:
        planned(hub, settled, due="now()")
        hub.admin.execute("update districts set deleted_at = now()")
        sweep(hub.url, hub.store)
        assert hub.count("districts", settled) == 0
        assert hub.one("select count(*) from exports where id = %s", made) == (0,)
        assert nothing_left(hub, settled)
