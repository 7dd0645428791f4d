"""A run is taken back at any time before it has changed anything, and tried again after that."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
import redis
import requests
from falcon.testing import Result

from schemas.events import EVENT, RunEnded, stream
from schemas.jobs import ImportRoster, Job
from schemas.runs import ENDED, State
from tests.api.conftest import Books, Client, District, Serve, Server

PATH = "/api/v1/imports"
NOW = "2026-04-01T00:00:00Z"
UNDONE = ("rejected", "failed", "cancelled")
OPEN = tuple(state for state in get_args(State) if state not in ENDED)


def facts(state: str) -> dict[str, object]:
    """What a run of this state has."""
    return {
        "state": state,
        "lease_until": "2100-01-01T00:00:00Z" if state == "running" else None,
        "finished_at": NOW if state in ENDED else None,
        "version": 1 if state == "applied" else None,
    }


def a_run(books: Books, district: District, state: str) -> str:
    return str(books.run(district.tenant_id, **facts(state)))


def cancel(hub: Client, district: District, run_id: str) -> Result:
    return hub.post(f"{PATH}/{run_id}/cancel", district.key)


def retry(hub: Client, district: District, run_id: str, once: str | None = None) -> Result:
    headers = {"Idempotency-Key": once} if once else {}
    return hub.post(f"{PATH}/{run_id}/retry", district.key, headers=headers)


# --- Cancel ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", OPEN)
def test_what_has_not_ended_is_cancelled_at_once(
    hub: Client, books: Books, north: District, state: str
) -> None:
    run_id = a_run(books, north, state)
    answer = cancel(hub, north, run_id)
    assert answer.status_code == 200
    assert (answer.json["id"], answer.json["state"]) == (run_id, "cancelled")
    assert answer.json["cancelled_by"] == north.key.split("_")[2]
    assert answer.json["finished_at"] is not None
    assert hub.get(f"{PATH}/{run_id}", north.key).json == answer.json
    left = books.rows(north.tenant_id, "select lease_until, worker from runs")
    assert left == [(None, None)]


@pytest.mark.parametrize("state", [state for state in ENDED if state != "cancelled"])
def test_what_has_ended_stays_as_it_is(
    hub: Client, books: Books, north: District, state: str
) -> None:
    run_id = a_run(books, north, state)
    before = hub.get(f"{PATH}/{run_id}", north.key).json
    answer = cancel(hub, north, run_id)
    assert (answer.status_code, answer.json["code"]) == (409, "already_ended")
    assert answer.json["detail"] == f"The run has ended already: {state}."
    assert hub.get(f"{PATH}/{run_id}", north.key).json == before


def test_to_cancel_again_changes_nothing(hub: Client, books: Books, north: District) -> None:
    run_id = a_run(books, north, "queued")
    first = cancel(hub, north, run_id)
    again = hub.post(f"{PATH}/{run_id}/cancel", books.key(north.tenant_id))
    assert (again.status_code, again.json) == (200, first.json)


def test_the_run_of_another_district_is_not_cancelled(
    hub: Client, books: Books, north: District, south: District
) -> None:
    run_id = a_run(books, north, "queued")
    assert cancel(hub, south, run_id).status_code == 404
    assert cancel(hub, south, str(uuid4())).status_code == 404
    assert cancel(hub, south, "x").status_code == 404
    assert hub.get(f"{PATH}/{run_id}", north.key).json["state"] == "queued"


def test_a_worker_about_to_commit_is_waited_for_and_wins(
    hub: Client, books: Books, north: District
) -> None:
    run_id = a_run(books, north, "running")
    held, commit = threading.Event(), threading.Event()

    def work() -> None:
        with books.connected("rosterhub_app", north.tenant_id) as connection:
            connection.execute("select id from runs for update")
            held.set()
            commit.wait(5)
            connection.execute(
                "update runs set state = 'applied', version = 1, lease_until = null,"
                " finished_at = now()"
            )

    worker = threading.Thread(target=work)
    worker.start()
    held.wait(5)
    threading.Timer(0.3, commit.set).start()
    answer = cancel(hub, north, run_id)
    worker.join()
    assert (answer.status_code, answer.json["state"]) == (409, "applied")


def test_a_cancelled_run_lets_the_next_one_run(hub: Client, books: Books, north: District) -> None:
    run_id = a_run(books, north, "running")
    cancel(hub, north, run_id)
    a_run(books, north, "running")
    states = books.rows(north.tenant_id, "select state from runs order by created_at")
    assert states == [("cancelled",), ("running",)]


def test_followers_are_told(hub: Client, books: Books, north: District, redis_url: str) -> None:
    run_id = a_run(books, north, "queued")
    cancel(hub, north, run_id)
    cancel(hub, north, run_id)
    with redis.Redis.from_url(redis_url) as client:
        name = stream(UUID(run_id))
        deadline = time.monotonic() + 5
        while not client.exists(name) and time.monotonic() < deadline:
            hub.get("/health")
        said = [EVENT.validate_json(fields[b"event"]) for _, fields in client.xrange(name)]
        assert 0 < client.ttl(name) <= 86_400
    assert said == [RunEnded(run_id=UUID(run_id), state="cancelled")]


def ends(answer: requests.Response) -> Iterator[dict[str, Any]]:
    """Every end that a stream tells."""
    lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
    for line in lines:
        if line == "event: run_ended":
            yield from (
                json.loads(data.removeprefix("data: "))
                for data in lines
                if data.startswith("data: ")
            )


def followed(server: Server, district: District, run_id: str) -> requests.Response:
    answer = requests.get(
        f"{server.url}{PATH}/{run_id}/events",
        headers={"Authorization": f"Bearer {district.key}"},
        stream=True,
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize("lost", [False, True], ids=["told", "the event is lost"])
def test_a_stream_ends_with_the_cancelled_run(
    serve: Serve, books: Books, north: District, *, lost: bool
) -> None:
    server = serve(**{"redis_url": "redis://127.0.0.1:1/0"} if lost else {})
    run_id = a_run(books, north, "running")
    with closing(followed(server, north, run_id)) as answer:
        time.sleep(0.3)
        began = time.monotonic()
        cancelled = requests.post(
            f"{server.url}{PATH}/{run_id}/cancel",
            headers={"Authorization": f"Bearer {north.key}"},
            timeout=20,
        )
        assert cancelled.status_code == 200
        assert [end["state"] for end in ends(answer)] == ["cancelled"]
    assert time.monotonic() - began < 4


# --- Retry -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", UNDONE)
def test_what_changed_nothing_is_tried_again_from_the_same_upload(
    hub: Client, books: Books, north: District, jobs: list[Job], state: str
) -> None:
    run_id = a_run(books, north, state)
    books.change(north.tenant_id, run_id, entity="users", mode="upsert")
    answer = retry(hub, north, run_id)
    run = answer.json
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"{PATH}/{run['id']}"
    assert run["id"] != run_id
    assert (run["state"], run["retry_of"], run["attempts"]) == ("queued", run_id, 0)
    assert (run["entity"], run["mode"]) == ("users", "upsert")
    assert run["created_by"] == north.key.split("_")[2]
    assert run["cancelled_by"] is None
    first = hub.get(f"{PATH}/{run_id}", north.key).json
    assert (first["state"], first["retry_of"]) == (state, None)
    assert run["upload"] == first["upload"]
    (job,) = jobs
    assert isinstance(job, ImportRoster)
    assert str(job.run_id) == run["id"]


@pytest.mark.parametrize("state", [s for s in get_args(State) if s not in UNDONE])
def test_anything_else_is_not_tried_again(
    hub: Client, books: Books, north: District, jobs: list[Job], state: str
) -> None:
    answer = retry(hub, north, a_run(books, north, state))
    assert (answer.status_code, answer.json["code"]) == (409, "not_to_retry")
    assert answer.json["state"] == state
    assert state in answer.json["detail"]
    assert jobs == []


def test_a_deleted_upload_is_gone(
    hub: Client, books: Books, north: District, jobs: list[Job]
) -> None:
    run_id = a_run(books, north, "failed")
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute("update uploads set deleted_at = now()")
    answer = retry(hub, north, run_id)
    assert (answer.status_code, answer.json["code"]) == (410, "upload_deleted")
    assert "send the package again" in answer.json["detail"]
    assert hub.get(f"{PATH}/{run_id}", north.key).json["upload"]["deleted_at"] is not None
    assert jobs == []


def test_an_undo_is_asked_for_anew(hub: Client, books: Books, north: District) -> None:
    run_id = a_run(books, north, "failed")
    books.change(north.tenant_id, run_id, kind="undo", undoes=1, upload_id=None)
    assert hub.get(f"{PATH}/{run_id}", north.key).json["upload"] is None
    answer = retry(hub, north, run_id)
    assert (answer.status_code, answer.json["code"]) == (409, "not_to_retry")


def test_an_upload_that_is_being_deleted_is_waited_for(
    hub: Client, books: Books, north: District
) -> None:
    run_id = a_run(books, north, "failed")
    held, commit = threading.Event(), threading.Event()

    def delete() -> None:
        with books.connected("rosterhub_app", north.tenant_id) as connection:
            connection.execute("select id from uploads for update")
            held.set()
            commit.wait(5)
            connection.execute("update uploads set deleted_at = now()")

    maintenance = threading.Thread(target=delete)
    maintenance.start()
    held.wait(5)
    threading.Timer(0.3, commit.set).start()
    assert retry(hub, north, run_id).status_code == 410
    maintenance.join()


def test_the_same_key_tries_again_once(
    hub: Client, books: Books, north: District, jobs: list[Job]
) -> None:
    run_id, other = a_run(books, north, "failed"), a_run(books, north, "failed")
    first = retry(hub, north, run_id, "once")
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute("update uploads set deleted_at = now()")
    again = retry(hub, north, run_id, "once")
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")
    assert again.json["id"] == first.json["id"]
    reused = retry(hub, north, other, "once")
    assert (reused.status_code, reused.json["code"]) == (422, "idempotency_key_reused")
    assert len(jobs) == 1
    assert books.rows(north.tenant_id, "select count(*) from runs") == [(3,)]


def test_the_key_of_an_upload_is_no_key_of_a_retry(
    hub: Client, books: Books, north: District
) -> None:
    run_id = a_run(books, north, "failed")
    books.change(north.tenant_id, run_id, idempotency_key="a")
    assert retry(hub, north, run_id, "a").status_code == 422


def test_the_run_of_another_district_is_not_tried_again(
    hub: Client, books: Books, north: District, south: District
) -> None:
    assert retry(hub, south, a_run(books, north, "failed")).status_code == 404
