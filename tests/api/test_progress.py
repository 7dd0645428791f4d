"""A run as server-sent events, over real sockets."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing
from uuid import UUID

import pytest
import redis
import requests
from falcon.asgi import SSEvent

from api.progress import SILENCE, with_pings
from schemas.events import EVENT, Event, FileAdvanced, RunEnded, RunStarted, stream
from schemas.runs import State
from schemas.settings import Settings
from tests.api.conftest import Books, District, Serve, Server, Standing

NOW = "2026-04-01T00:00:00Z"


def told(redis_url: str, run_id: str, *events: Event) -> list[str]:
    with redis.Redis.from_url(redis_url) as client:
        return [
            client.xadd(stream(UUID(run_id)), {"event": EVENT.dump_json(event)}).decode()
            for event in events
        ]


def opened(server: Server, district: District, run_id: str, **headers: str) -> requests.Response:
    answer = requests.get(
        f"{server.url}/api/v1/imports/{run_id}/events",
        headers={"Authorization": f"Bearer {district.key}"} | headers,
        stream=True,
        timeout=20,
    )
    assert answer.status_code == 200, answer.text
    return answer


def heard(answer: requests.Response) -> Iterator[dict[str, str]]:
    event: dict[str, str] = {}
    deadline = time.monotonic() + 18
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        assert time.monotonic() < deadline, "the stream does not end"
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


def kinds(answer: requests.Response) -> list[str]:
    with closing(answer):
        return [event["event"] for event in heard(answer) if "event" in event]


@pytest.fixture
def settings(standing: Standing) -> Settings:
    return standing.settings


@pytest.fixture
def server(standing: Standing) -> Server:
    return standing.server


def started(run_id: str, attempt: int = 1) -> Event:
    return RunStarted(run_id=UUID(run_id), attempt=attempt)


def finished(run_id: str) -> Event:
    return RunEnded(run_id=UUID(run_id), state="applied", version=1)


def test_a_stream_is_a_snapshot_then_all_that_was_said_then_what_is_said(
    server: Server, books: Books, north: District, redis_url: str
) -> None:
    run_id = books.run(north.tenant_id)
    ids = told(redis_url, run_id, started(run_id))
    answer = opened(server, north, run_id)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache, no-transform"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.headers["Incremental"] == "?1"
    events = heard(answer)
    first = next(events)
    assert (first["event"], first["retry"]) == ("snapshot", "3000")
    assert json.loads(first["data"])["id"] == run_id
    second = next(events)
    assert (second["event"], second["id"]) == ("run_started", ids[0])
    live = FileAdvanced(run_id=UUID(run_id), stage="read", file="users", done=1, total=2)
    ids = told(redis_url, run_id, live, finished(run_id))
    third = next(events)
    assert (third["event"], third["id"]) == ("file_advanced", ids[0])
    assert EVENT.validate_json(third["data"]) == live
    assert next(events)["event"] == "run_ended"
    assert list(events) == []


@pytest.mark.parametrize("state", ["review", "held"])
def test_a_stream_ends_when_the_run_waits_for_an_answer(
    server: Server, books: Books, north: District, redis_url: str, state: State
) -> None:
    run_id = books.run(north.tenant_id, state=state)
    told(redis_url, run_id, started(run_id), RunEnded(run_id=UUID(run_id), state=state))
    with closing(opened(server, north, run_id)) as answer:
        events = list(heard(answer))
    assert EVENT.validate_json(events[-1]["data"]) == RunEnded(run_id=UUID(run_id), state=state)
    books.change(north.tenant_id, run_id, state="queued")
    answer = opened(server, north, run_id)
    told(redis_url, run_id, started(run_id, 2), finished(run_id))
    again = kinds(answer)
    assert again == ["snapshot", "run_started", "run_started", "run_ended"]


def test_it_ends_so_without_redis_too(server: Server, books: Books, north: District) -> None:
    run_id = books.run(north.tenant_id, state="review")
    assert kinds(opened(server, north, run_id)) == ["snapshot", "run_ended"]


def test_a_client_resumes_after_the_last_event_it_heard(
    server: Server, books: Books, north: District, redis_url: str
) -> None:
    run_id = books.run(north.tenant_id)
    ids = told(redis_url, run_id, *(started(run_id, n) for n in range(1, 1001)), finished(run_id))
    with closing(opened(server, north, run_id, **{"Last-Event-ID": ids[989]})) as answer:
        events = list(heard(answer))
    assert [event.get("id") for event in events] == [None, *ids[990:]]


def test_a_long_stream_is_replayed_whole(
    server: Server, books: Books, north: District, redis_url: str
) -> None:
    run_id = books.run(north.tenant_id)
    ids = told(redis_url, run_id, *(started(run_id, n) for n in range(1, 2001)), finished(run_id))
    with closing(opened(server, north, run_id)) as answer:
        events = list(heard(answer))
    assert [event["id"] for event in events if "id" in event] == ids


def test_an_id_from_elsewhere_means_the_beginning(
    server: Server, books: Books, north: District, redis_url: str
) -> None:
    run_id = books.run(north.tenant_id)
    told(redis_url, run_id, started(run_id), finished(run_id))
    for strange in ("99999999999999999999999-1", "x", "-", "1-"):
        answer = opened(server, north, run_id, **{"Last-Event-ID": strange})
        assert kinds(answer) == ["snapshot", "run_started", "run_ended"]


def test_a_run_that_ended_before_ends_its_stream_though_redis_forgot_it(
    server: Server, books: Books, north: District
) -> None:
    run_id = books.run(
        north.tenant_id,
        state="applied",
        version=7,
        finished_at=NOW,
        counts={"orgs": {"created": 1}},
    )
    with closing(opened(server, north, run_id)) as answer:
        last = list(heard(answer))[-1]
    assert last["event"] == "run_ended"
    end = EVENT.validate_json(last["data"])
    assert isinstance(end, RunEnded)
    assert (end.state, end.version, end.counts) == ("applied", 7, {"orgs": {"created": 1}})


def test_without_redis_the_row_is_watched(serve: Serve, books: Books, north: District) -> None:
    server = serve(redis_url="redis://127.0.0.1:1/0")
    run_id = books.run(north.tenant_id)
    events = heard(opened(server, north, run_id))
    assert json.loads(next(events)["data"])["state"] == "queued"
    books.change(north.tenant_id, run_id, state="running", lease_until=NOW, stage="read")
    assert json.loads(next(events)["data"])["stage"] == "read"
    books.change(
        north.tenant_id, run_id, state="rejected", lease_until=None, finished_at=NOW, stage=None
    )
    assert [event["event"] for event in events] == ["snapshot", "run_ended"]


def test_a_hung_redis_delays_neither_streams_nor_the_end_of_the_process(
    serve: Serve, books: Books, north: District, redis_url: str
) -> None:
    run_id = books.run(north.tenant_id)
    with redis.Redis.from_url(redis_url) as client:
        pid = client.info("server")["process_id"]
    server = serve()
    os.kill(pid, signal.SIGSTOP)
    try:
        before = time.monotonic()
        answer = server.request(
            "POST",
            "/api/v1/imports",
            north.key,
            data=b"PK",
            headers={"Content-Type": "application/zip"},
        )
        assert answer.status_code == 202, answer.text
        assert time.monotonic() - before < 0.5
        events = heard(opened(server, north, run_id))
        assert next(events)["event"] == "snapshot"
        books.change(north.tenant_id, run_id, state="failed", finished_at=NOW)
        assert [event["event"] for event in events] == ["snapshot", "run_ended"]
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("end", ["stop", "reload", "recycle"])
def test_open_streams_end_within_a_second_when_the_process_leaves(
    serve: Serve, books: Books, north: District, end: str
) -> None:
    options = ("--max-requests", "30", "--max-requests-jitter", "0") if end == "recycle" else ()
    server = serve(*options)
    run_id = books.run(north.tenant_id)
    streams = [opened(server, north, run_id) for _ in range(20)]
    ended: list[float] = []

    def listen(answer: requests.Response) -> None:
        with closing(answer):
            for _ in heard(answer):
                pass
        ended.append(time.monotonic())

    listeners = [threading.Thread(target=listen, args=(answer,)) for answer in streams]
    for listener in listeners:
        listener.start()
    time.sleep(1)
    began = time.monotonic()
    match end:
        case "stop":
            server.tell(signal.SIGTERM)
        case "reload":
            server.tell(signal.SIGHUP)
        case _:
            for _ in range(40):
                requests.get(f"{server.url}/health/live", timeout=2)
            began = time.monotonic()
    for listener in listeners:
        listener.join(10)
    assert len(ended) == 20
    assert max(ended) - began < 1.0
    if end == "stop":
        server.process.wait(5)
        assert time.monotonic() - began < 5  # a shared machine may be slow to start a thread
    else:
        assert requests.get(f"{server.url}/health/live", timeout=5).status_code == 200
    assert "CRITICAL" not in server.log.read_text()


def test_a_silent_stream_is_pinged_and_its_source_closed() -> None:
    closed = []

    async def slow() -> AsyncGenerator[SSEvent, None]:
        try:
            yield SSEvent(event="first")
            await asyncio.sleep(0.25)
            yield SSEvent(event="second")
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def listen() -> list[str | None]:
        heard: list[str | None] = []
        async with aclosing(with_pings(slow(), 0.1)) as events:
            async for event in events:
                heard.append(event.event if event else None)
                if event and event.event == "second":
                    break
        return heard

    assert asyncio.run(listen()) == ["first", None, None, "second"]
    assert closed == [True]
    assert SILENCE == 15
