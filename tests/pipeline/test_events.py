"""What happened is told by whoever did it, in the same transaction, in one order for all."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pytest

from pipeline import claims, events
from pipeline.claims import Fenced, Watch
from pipeline.database import connect, tenant
from pipeline.deciding import Deciding
from pipeline.events import emit
from pipeline.importing import Import
from pipeline.undo import Undo
from schemas.webhooks import BODY_MAX, TooFat

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Package


def told(district: "District") -> list[dict[str, Any]]:
    """The bodies of a district's events, in order; their numbers have no gap."""
    rows = sorted(district.rows("webhook_events"), key=lambda row: row["sequence"])
    assert [row["sequence"] for row in rows] == [*range(1, len(rows) + 1)]
    bodies = [json.loads(row["body"]) for row in rows]
    for row, body in zip(rows, bodies, strict=True):
        assert (body["type"], body["sequence"]) == (row["type"], row["sequence"])
        assert body["timestamp"].endswith("Z")
    return bodies


def types(district: "District") -> list[str]:
    return [body["type"] for body in told(district)]


def subscribed(district: "District", **values: object) -> str:
    webhook_id = str(uuid4())
    district.hub.admin.execute(
        "insert into webhooks (tenant_id, id, url, secret, created_by, events)"
        " values (%s, %s, 'https://a.example/', '', 'test', %s)",
        [district.tenant_id, webhook_id, values.get("events")],
    )
    return webhook_id


# --- What is told --------------------------------------------------------------------------


def test_an_import_is_told_when_it_begins_when_it_ends_and_as_a_version(
    district: "District", town: "Package"
) -> None:
    done = district.push(town)
    started, completed, published = told(district)
    assert [each["type"] for each in (started, completed, published)] == [
        *("csv.import.started", "csv.import.completed", "roster.version.published")
    ]
    run_id = str(done.run["id"])
    assert started["data"] == {
        "jobId": run_id,
        "entityType": "package",
        "status": "running",
        "metadata": {},
    }
    assert completed["data"]["status"] == "applied"
    assert completed["data"]["metadata"]["counts"] == done.run["counts"]
    assert published["data"] == {
        "version": 1,
        "cursor": "1",
        "jobId": run_id,
        "kind": "import",
        "counts": done.run["counts"],
    }
    (name,) = district.hub.one("select id from districts where tenant_id = %s", district.tenant_id)
    assert {each["district"] for each in (started, completed, published)} == {name}


def test_an_import_that_changes_nothing_makes_no_version_to_tell_of(
    district: "District", town: "Package"
) -> None:
    district.push(town)
    district.push(town)
    assert types(district)[3:] == ["csv.import.started", "csv.import.completed"]


def test_a_rejected_import_has_failed(district: "District", town: "Package") -> None:
    done = district.push(town.change("users", "taro", {"role": "", "username": ""}).zip()[:-40])
    assert done.state == "rejected"
    started, failed = told(district)
    assert (started["type"], failed["type"]) == ("csv.import.started", "csv.import.failed")
    assert failed["data"]["status"] == "rejected"
    assert failed["data"]["metadata"]["findings"] == done.run["findings"]


def test_an_undo_is_told_as_a_version(district: "District", town: "Package") -> None:
    district.push(town)
    run_id = uuid4()
    district.hub.admin.execute(
        "insert into runs (tenant_id, id, kind, undoes, created_by)"
        " values (%s, %s, 'undo', 1, 'test')",
        [district.tenant_id, run_id],
    )
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        Undo(claim, db, Watch(), lambda _: None).run()
    assert types(district)[3:] == ["roster.version.published"]
    assert told(district)[3]["data"]["kind"] == "undo"


def waiting(district: "District", package: "Package") -> claims.Claim:
    """An import that waits for an answer."""
    district.hub.admin.execute(
        'update districts set policy = \'{"apply": "review"}\' where tenant_id = %s',
        [district.tenant_id],
    )
    path = district.hub.stored(package, None)
    run_id = district.hub.queued(district.tenant_id, path, None, None)
    folder = district.hub.folder / f"work-{run_id}"
    folder.mkdir()
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        end = Import(claim, db, path, folder, Watch(), lambda _: None).run()
    assert end.state in ("review", "held")
    return claim


def test_an_import_that_waits_is_told_and_its_approval_ends_it(
    district: "District", town: "Package"
) -> None:
    claim = waiting(district, town)
    held = told(district)[-1]
    assert (held["type"], held["data"]["status"]) == ("csv.import.held", "review")
    (diff,) = district.hub.one("select diff from runs where id = %s", claim.id)
    district.hub.admin.execute(
        "update runs set state = 'queued', attempts = 0,"
        " decision = jsonb_build_object('kind', 'approve', 'diff', %s::text) where id = %s",
        [diff, claim.id],
    )
    with connect(district.hub.url) as db:
        again = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert again is not None
        assert again.decided
        Deciding(again, db, Watch(), lambda _: None).run()
    assert types(district) == [
        *("csv.import.started", "csv.import.held"),
        *("csv.import.completed", "roster.version.published"),
    ]


def test_an_import_that_a_newer_one_replaces_has_failed(
    district: "District", town: "Package"
) -> None:
    older = waiting(district, town)
    newer = waiting(district, town.change("users", "taro", {"givenName": "次郎"}))
    _, _, _, failed, held = told(district)
    assert (failed["type"], held["type"]) == ("csv.import.failed", "csv.import.held")
    assert failed["data"] == {
        "jobId": str(older.id),
        "entityType": "package",
        "status": "superseded",
        "metadata": {"supersededBy": str(newer.id)},
    }


def test_no_value_of_a_record_is_told(district: "District", town: "Package") -> None:
    district.push(town)
    district.push(town.change("users", "taro", {"givenName": "カナリア"}))
    said = json.dumps(told(district), ensure_ascii=False)
    names = {
        cell
        for row in district.rows("users")
        for name in ("given_name", "family_name", "username", "email", "sourced_id")
        if len(cell := str(row.get(name) or "")) > 1
    }
    assert names
    assert not [name for name in names if f'"{name}"' in said]
    assert "カナリア" not in said


# --- In the transaction --------------------------------------------------------------------


def test_what_is_taken_back_was_never_told(district: "District", town: "Package") -> None:
    path = district.hub.stored(town, None)
    run_id = district.hub.queued(district.tenant_id, path, None, None)
    folder = district.hub.folder / f"work-{run_id}"
    folder.mkdir()
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        watch = Watch()
        watch.lost.set()
        with pytest.raises(Fenced):
            Import(claim, db, path, folder, watch, lambda _: None).run()
        assert types(district) == ["csv.import.started"]
        claims.release(db, claim, 0, refund=True)
        again = claims.take(db, district.tenant_id, lease=60, worker="test")
    assert again is not None
    assert types(district) == ["csv.import.started"], "a second attempt begins nothing"


def test_a_delivery_is_written_with_its_event_or_not_at_all(district: "District") -> None:
    webhook_id = subscribed(district)

    with connect(district.hub.url) as db:
        with tenant(db, district.tenant_id), db.transaction(force_rollback=True):
            emit(db, district.tenant_id, "csv.export.failed", {})
        assert district.rows("webhook_deliveries") == district.rows("webhook_events") == []
        with tenant(db, district.tenant_id):
            emit(db, district.tenant_id, "csv.export.failed", {})
    (delivery,) = district.rows("webhook_deliveries")
    (event,) = district.rows("webhook_events")
    assert (str(delivery["webhook_id"]), delivery["event_id"]) == (webhook_id, event["id"])
    assert event["sequence"] == 1, "a number that was taken back is given again"


def test_an_endpoint_has_an_event_once(district: "District") -> None:
    subscribed(district)
    with connect(district.hub.url) as db, tenant(db, district.tenant_id):
        emit(db, district.tenant_id, "csv.export.failed", {})
    with pytest.raises(psycopg.errors.UniqueViolation):
        district.hub.admin.execute(
            "insert into webhook_deliveries (tenant_id, webhook_id, event_id, sequence)"
            " select tenant_id, webhook_id, event_id, sequence from webhook_deliveries"
            " where tenant_id = %s",
            [district.tenant_id],
        )


def test_another_district_counts_on_its_own_and_is_not_rung(
    district: "District", other: "District"
) -> None:
    subscribed(other)
    with connect(district.hub.url) as db, tenant(db, district.tenant_id):
        assert emit(db, district.tenant_id, "csv.export.failed", {}) == 1
    assert other.rows("webhook_events") == other.rows("webhook_deliveries") == []


def test_a_doorbell_that_tells_too_much_is_refused(district: "District") -> None:
    with connect(district.hub.url) as db, pytest.raises(TooFat), tenant(db, district.tenant_id):
        emit(db, district.tenant_id, "csv.export.completed", {"text": "x" * BODY_MAX})


# --- In one order --------------------------------------------------------------------------


def test_who_reads_on_from_a_number_misses_nothing(district: "District") -> None:
    """The same reader, on numbers that are merely given out, does lose: see below."""
    assert lost(district, counted=True) == 0


def test_numbers_that_are_only_given_out_would_lose(district: "District") -> None:
    assert lost(district, counted=False) > 0


def lost(district: "District", *, counted: bool) -> int:
    """Eight writers whose transactions last; a reader goes on from the last number it saw."""
    admin, tenant_id = district.hub.admin, district.tenant_id
    admin.execute("create sequence if not exists rosterhub_staging.naive")
    admin.execute("grant usage on sequence rosterhub_staging.naive to rosterhub_app")
    over = threading.Event()
    seen: list[int] = []

    def write(number: int) -> None:
        with connect(district.hub.url) as db:
            for turn in range(6):
                with tenant(db, tenant_id):
                    if counted:
                        emit(db, tenant_id, "csv.export.completed", {})
                    else:
                        db.execute(
                            "insert into webhook_events"
                            " (tenant_id, id, sequence, type, body, created_at)"
                            " select %s, gen_random_uuid(),"
                            " nextval('rosterhub_staging.naive'), 'x', '', now()",
                            [tenant_id],
                        )
                    time.sleep((number * 7 + turn * 3) % 10 / 1000)

    def read() -> None:
        with connect(district.hub.url) as db:
            at = 0
            while True:
                last = over.is_set()
                with tenant(db, tenant_id):
                    rows = db.execute(
                        "select sequence from webhook_events where sequence > %s order by 1", [at]
                    ).fetchall()
                seen.extend(number for (number,) in rows)
                at = max([at, *seen])
                if last:
                    return

    with ThreadPoolExecutor(9) as hands:
        reading = hands.submit(read)
        for writing in [hands.submit(write, number) for number in range(8)]:
            writing.result()
        over.set()
        reading.result()
    assert len(seen) == len({*seen})
    return len(district.rows("webhook_events")) - len(seen)


def test_a_subscription_that_is_off_when_the_event_is_written_finds_it_waiting(
    district: "District",
) -> None:
    webhook_id = subscribed(district, events=["csv.export.failed"])
    with connect(district.hub.url) as db, tenant(db, district.tenant_id):
        assert events.disable(db, district.tenant_id, uuid_of(webhook_id), "asked")
        assert not events.disable(db, district.tenant_id, uuid_of(webhook_id), "asked")
        emit(db, district.tenant_id, "csv.export.failed", {})
        emit(db, district.tenant_id, "csv.export.completed", {})
    assert [row["state"] for row in district.rows("webhook_deliveries")] == ["held"]


def uuid_of(text: str) -> Any:  # noqa: ANN401  # as psycopg takes it
    return text
