"""One attempt at one import: however it goes, the row knows, and nobody reads a name in a log."""

import logging
import socket
import threading
import time
from uuid import UUID, uuid4

import psycopg
import pytest
from redis import Redis as Client
from structlog.testing import capture_logs

from pipeline import claims
from pipeline.claims import Claim
from pipeline.database import Connection
from schemas.events import EVENT, STREAM_SECONDS, Event, RunEnded, RunStarted, StageStarted, stream
from tests.workers.conftest import Hub, Make, Package
from workers.observers import all_of, to_log, to_stream

CANARY = "Kanarienvogel"
SNAG = f"""
create function snag() returns trigger language plpgsql as $$
begin
    if new.given_name = '{CANARY}' then
        raise exception 'no row like % here', new using errcode = 'data_exception';
    end if;
    return new;
end
$$;
create trigger snag before insert on users for each row execute function snag();
"""


def test_an_attempt_applies_what_was_pushed(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package())
    assert importer().attempt(district) is True
    run = hub.run(run_id)
    assert (run["state"], run["version"], run["attempts"]) == ("applied", 1, 1)
    assert (run["lease_until"], run["worker"], run["failure"]) == (None, None, None)
    assert hub.count("users", district) == 9


def test_where_nothing_is_due_nothing_is_attempted(
    hub: Hub, district: int, neighbour: int, importer: Make
) -> None:
    run_id = hub.push(neighbour)
    assert importer().attempt(district) is False
    assert hub.run(run_id)["attempts"] == 0


def test_a_lost_upload_fails_the_run_in_both_languages(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package(), stored=False)
    assert importer().attempt(district)
    assert_failed(hub, run_id, "upload_damaged")
    assert importer().attempt(district) is False, "it will not get better"


@pytest.mark.parametrize("what", ["applied", "shown", "rejected", "not readable"])
@pytest.mark.parametrize("first", [True, False], ids=["first load", "later push"])
def test_of_an_upload_that_is_not_what_was_sent_nothing_comes(
    hub: Hub, district: int, importer: Make, package: Package, what: str, *, first: bool
) -> None:
    """It is read before that is known, and would be applied, shown or rejected."""
    if not first:
        hub.push(district, package())
        assert importer().attempt(district)
    users = hub.count("users", district)
    other = package("someone else")
    unlike = {"rejected": b"not a zip", "not readable": b"?" + other[1:]}.get(what, other)
    run_id = hub.push(district, package("Hanako"), instead=unlike)
    if what == "shown":
        hub.change(run_id, apply="review")
    assert importer().attempt(district)
    assert_failed(hub, run_id, "upload_damaged")
    assert hub.run(run_id)["attempts"] == 1, "it will not get better"
    assert hub.count("users", district) == users


def test_a_run_that_was_interrupted_too_often_fails_in_both_languages(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package())
    hub.change(run_id, attempts=2)
    events: list[Event] = []
    assert importer(events.append, attempts=2).attempt(district)
    assert_failed(hub, run_id, "attempts_exhausted")
    assert events == [RunEnded(run_id=run_id, state="failed")]
    assert hub.count("users", district) == 0


def assert_failed(hub: Hub, run_id: UUID, code: str) -> None:
    run = hub.run(run_id)
    assert run["state"] == "failed"
    assert run["finished_at"] is not None
    assert {*run["failure"]} == {"code", "en", "ja"}
    assert run["failure"]["code"] == code
    assert run["failure"]["en"].isascii()
    assert not run["failure"]["ja"].isascii()


def test_an_error_of_the_database_is_tried_again_after_a_pause(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package(CANARY))
    hub.admin.execute(SNAG)
    assert importer().attempt(district)
    run = hub.run(run_id)
    assert (run["state"], run["attempts"], run["lease_until"]) == ("queued", 1, None)
    pause = "select next_run_at - clock_timestamp() between '1 s' and '2 s' from runs"
    assert hub.one(pause) == (True,)
    assert hub.count("users", district) == 0
    assert importer().attempt(district) is False, "it is paused"
    hub.admin.execute("drop trigger snag on users")
    hub.wait(lambda: importer().attempt(district), patience=4)
    run = hub.run(run_id)
    assert (run["state"], run["attempts"], run["version"]) == ("applied", 2, 1)


def test_no_line_of_a_failed_attempt_holds_the_value_it_failed_on(
    hub: Hub,
    district: int,
    importer: Make,
    package: Package,
    *,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hub.push(district, package(CANARY))
    hub.admin.execute(SNAG)
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        importer(to_log).attempt(district)
    (failed,) = [line for line in lines if line["event"] == "attempt_failed"]
    assert failed["sqlstate"] == "22000", "it failed for another reason"
    assert failed["error"] == "DataException"
    written = capfd.readouterr()
    assert CANARY not in f"{lines} {caplog.text} {caplog.records} {written.out} {written.err}"


def test_the_error_itself_quotes_the_value(hub: Hub) -> None:
    hub.admin.execute(SNAG)
    with pytest.raises(psycopg.DataError, match=CANARY):
        hub.admin.execute("insert into users (given_name) values (%s)", [CANARY])


def test_an_attempt_whose_run_was_taken_over_changes_nothing(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package())

    def lose(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "publish":
            hub.let_lapse(run_id)
            hub.take(district, worker="the heir")

    with capture_logs() as lines:
        assert importer(lose).attempt(district)
    assert [line["event"] for line in lines] == ["run_taken_over"]
    run = hub.run(run_id)
    assert (run["state"], run["worker"], run["fence"]) == ("running", "the heir", 2)
    assert hub.count("users", district) == hub.count("versions", district) == 0


def test_to_give_up_a_run_that_was_taken_over_does_not_end_the_process(
    hub: Hub, district: int, importer: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = hub.push(district)
    hub.change(run_id, attempts=9)

    def too_late(db: Connection, tenant_id: int, *, lease: float, worker: str) -> Claim | None:
        monkeypatch.undo()
        claim = claims.take(db, tenant_id, lease=lease, worker=worker)
        hub.let_lapse(run_id)
        hub.take(district, worker="the heir")
        return claim

    monkeypatch.setattr(claims, "take", too_late)
    assert importer(attempts=5).attempt(district)
    run = hub.run(run_id)
    assert (run["state"], run["worker"]) == ("running", "the heir")


def test_a_worker_that_is_to_stop_gives_the_run_back_without_a_pause(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package())
    stopping = threading.Event()

    def stop(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "check":
            stopping.set()

    assert importer(stop, stopping).attempt(district)
    assert hub.run(run_id)["state"] == "queued"
    assert hub.count("users", district) == 0
    assert importer().attempt(district)
    assert hub.run(run_id)["state"] == "applied"
    assert hub.run(run_id)["attempts"] == 1  # to be stopped is no fault of the run


def test_a_run_tells_its_steps_to_a_stream_that_expires(
    hub: Hub, district: int, importer: Make, package: Package, redis_url: str
) -> None:
    run_id = hub.push(district, package())
    importer(to_stream(redis_url)).attempt(district)
    with Client.from_url(redis_url) as client:
        told = [
            EVENT.validate_json(fields[b"event"]) for _, fields in client.xrange(stream(run_id))
        ]
        left = client.ttl(stream(run_id))
    assert told[0] == RunStarted(run_id=run_id, attempt=1)
    stages = [event.stage for event in told if isinstance(event, StageStarted)]
    assert stages == ["open", "read", "check", "apply", "publish"]
    run, end = hub.run(run_id), told[-1]
    assert isinstance(end, RunEnded)
    assert (end.state, end.version, end.counts) == ("applied", 1, run["counts"])
    assert STREAM_SECONDS - 60 < left <= STREAM_SECONDS


def test_a_redis_that_is_away_slows_no_import_down(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package())
    with socket.socket() as silent:  # takes the connection and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        began = time.monotonic()
        with capture_logs() as lines:
            importer(all_of(to_stream(url))).attempt(district)
    assert time.monotonic() - began < 4, "more than a timeout at the start and one at the end"
    assert hub.run(run_id)["state"] == "applied"
    assert [line["event"] for line in lines] == ["event_not_told"] * 2


def test_the_lease_is_renewed_while_an_attempt_lasts(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    run_id = hub.push(district, package())

    def dawdle(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "check":
            time.sleep(0.8)
            assert hub.free(district) is None

    importer(dawdle, lease=0.4).attempt(district)
    assert (hub.run(run_id)["state"], hub.run(run_id)["attempts"]) == ("applied", 1)


# --- Undos -----------------------------------------------------------------------------------


def undo(hub: Hub, tenant_id: int, version: int) -> UUID:
    """The run of an undo, as the gateway leaves it."""
    run_id = uuid4()
    hub.admin.execute(
        "insert into runs (tenant_id, id, kind, undoes, created_by)"
        " values (%s, %s, 'undo', %s, 'test')",
        [tenant_id, run_id, version],
    )
    return run_id


def first_names(hub: Hub, tenant_id: int) -> list[tuple[str]]:
    """What a wrong import changes here."""
    return hub.admin.execute(
        "select given_name, digest from users where tenant_id = %s and status = 'active'"
        " order by sourced_id",
        [tenant_id],
    ).fetchall()


def test_an_undo_is_an_attempt_like_any_other(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    hub.push(district, package())
    assert importer().attempt(district)
    before = first_names(hub, district)
    hub.push(district, package("Wrong"))
    assert importer().attempt(district)
    assert first_names(hub, district) != before
    run_id = undo(hub, district, 2)
    events: list[Event] = []
    assert importer(events.append).attempt(district)
    run = hub.run(run_id)
    assert (run["state"], run["version"], run["attempts"]) == ("applied", 3, 1)
    assert first_names(hub, district) == before
    assert events[0] == RunStarted(run_id=run_id, attempt=1)
    assert isinstance(events[-1], RunEnded)
    assert events[-1].counts == run["counts"]


def test_an_undo_behind_an_import_takes_back_what_that_made(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    hub.push(district, package(), age=3)
    hub.push(district, package("Wrong"), age=2)
    run_id = undo(hub, district, 2)
    while importer().attempt(district):
        pass
    assert hub.run(run_id)["version"] == 3


@pytest.mark.parametrize("stage", ["read", "check", "apply", "publish"])
def test_an_undo_that_was_taken_over_changes_nothing_and_is_done_by_the_heir(
    hub: Hub, district: int, importer: Make, package: Package, stage: str
) -> None:
    for name in (None, "Wrong"):
        hub.push(district, package(name))
        importer().attempt(district)
    before = first_names(hub, district)
    run_id = undo(hub, district, 2)

    def lose(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == stage:
            hub.let_lapse(run_id)
            hub.take(district, worker="the heir")

    with capture_logs() as lines:
        assert importer(lose).attempt(district)
    assert [line["event"] for line in lines] == ["run_taken_over"]
    assert (first_names(hub, district), hub.count("versions", district)) == (before, 2)
    hub.let_lapse(run_id)
    assert importer().attempt(district)
    run = hub.run(run_id)
    assert (run["state"], run["version"], run["fence"]) == ("applied", 3, 3)


def test_a_worker_that_is_to_stop_gives_an_undo_back(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    hub.push(district, package())
    importer().attempt(district)
    run_id = undo(hub, district, 1)
    stopping = threading.Event()

    def stop(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "check":
            stopping.set()

    assert importer(stop, stopping).attempt(district)
    assert (hub.run(run_id)["state"], hub.count("versions", district)) == ("queued", 1)
    assert importer().attempt(district)
    assert hub.run(run_id)["state"] == "applied"


def test_an_undo_that_was_interrupted_too_often_fails(
    hub: Hub, district: int, importer: Make, package: Package
) -> None:
    hub.push(district, package())
    importer().attempt(district)
    run_id = undo(hub, district, 1)
    hub.change(run_id, attempts=2)
    assert importer(attempts=2).attempt(district)
    assert_failed(hub, run_id, "attempts_exhausted")
    assert hub.count("versions", district) == 1
