"""The events of a district: one stream over real sockets, and the same to read again."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from uuid import UUID, uuid4

import pytest
import requests
from redis import Redis as RedisClient

from deploy.local.redis import Redis
from pipeline.database import connect, tenant
from pipeline.events import emit, published
from schemas.events import EVENT, Event, FileAdvanced, RunEnded, RunStarted
from schemas.jobs import Job, SendWebhooks
from schemas.settings import Settings, plain
from schemas.webhooks import EventType, stream
from tests.api.conftest import Books, Client, District, Serve, Server, serving
from tests.conftest import settings_on
from tests.databases import Shelf
from workers.observers import district_on

PATH = "/api/v1/events"
HISTORY = f"{PATH}/history"
RUN = UUID("00000000-0000-4000-8000-000000000001")
STARTED = RunStarted(run_id=RUN, attempt=1)
HALFWAY = FileAdvanced(run_id=RUN, stage="read", file="users", done=1, total=2)

Heard = dict[str, str]


@pytest.fixture(scope="module")
def settings(
    shelf: Shelf, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """One database for all of these tests, each of which has districts of its own."""
    with shelf.lent() as url:
        yield settings_on(url, redis.url, tmp_path_factory.mktemp("hub"))


@pytest.fixture
def database_url(settings: Settings) -> str:
    return plain(settings.database_url)


@pytest.fixture
def north(books: Books) -> District:
    return books.district(f"north-{uuid4().hex}")


@pytest.fixture
def south(books: Books) -> District:
    return books.district(f"south-{uuid4().hex}")


def happen(books: Books, district: District, *types: EventType) -> None:
    with connect(books.url) as db, tenant(db, district.tenant_id):
        for each in types:
            emit(db, district.tenant_id, each, {"some": "thing"})


def say(redis_url: str, district: District, event: Event) -> None:
    """As an import's worker does."""
    district_on(redis_url, lambda _: True)(district.tenant_id)(event)


def opened(server: Server, key: str, last: str | None = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} | ({"Last-Event-ID": last} if last else {})
    answer = requests.get(server.url + PATH, headers=headers, stream=True, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer


def heard(answer: requests.Response) -> Iterator[Heard]:
    event: Heard = {}
    deadline = time.monotonic() + 18
    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
        assert time.monotonic() < deadline, "nothing comes"
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


def names(events: Iterator[Heard], number: int) -> list[str]:
    return [next(events)["event"] for _ in range(number)]


@pytest.fixture(scope="module")
def server(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all that do nothing to it."""
    with serving(settings, tmp_path_factory.mktemp("server")) as start:
        yield start()


def test_a_stream_begins_now_and_tells_events_and_progress_as_they_come(
    server: Server, books: Books, north: District, south: District, redis_url: str
) -> None:
    happen(books, north, "csv.import.started")
    with closing(opened(server, north.key)) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-cache, no-transform"
        assert answer.headers["X-Accel-Buffering"] == "no"
        events = heard(answer)
        first = next(events)
        assert (first["event"], first["retry"]) == ("snapshot", "3000")
        assert json.loads(first["data"]) == {
            "sequence": 1,
            "version": 0,
            "published_at": None,
            "missed": False,
        }
        happen(books, south, "csv.import.failed")
        say(redis_url, south, STARTED)
        happen(books, north, "csv.import.completed")
        say(redis_url, north, HALFWAY)
        second = next(events)
        assert (second["event"], json.loads(second["data"])["sequence"]) == (
            *("csv.import.completed", 2),
        )
        third = next(events)
        assert third["event"] == "file_advanced"
        assert EVENT.validate_json(third["data"]) == HALFWAY
        began = time.monotonic()
        happen(books, north, "csv.export.failed")
        assert names(events, 1) == ["csv.export.failed"]
        assert time.monotonic() - began < 4, "found without a bell"


def test_a_client_resumes_where_it_was_cut_off(
    server: Server, books: Books, north: District, redis_url: str
) -> None:
    with closing(opened(server, north.key)) as answer:
        events = heard(answer)
        next(events)
        happen(books, north, "csv.import.started")
        say(redis_url, north, STARTED)
        assert names(events, 1) == ["csv.import.started"]
        cut = next(events)
        assert cut["event"] == "run_started"
    happen(books, north, "csv.import.completed", "csv.import.failed")
    say(redis_url, north, HALFWAY)
    with closing(opened(server, north.key, cut["id"])) as answer:
        wanted = ["snapshot", "csv.import.completed", "csv.import.failed", "file_advanced"]
        assert names(heard(answer), 4) == wanted
    with closing(opened(server, north.key, "1")) as answer:
        assert names(heard(answer), 3) == wanted[:3], "the number of an event alone will do"
    for strange in ("99999999999999999999999-1-1", "x", "-", "7-", "12345"):
        with closing(opened(server, north.key, strange)) as answer:
            first = next(heard(answer))
            assert json.loads(first["data"])["sequence"] == 3, strange


def test_a_long_absence_is_made_up_for_and_a_longer_one_is_said(
    server: Server, books: Books, north: District
) -> None:
    started: EventType = "csv.import.started"
    happen(books, north, *[started] * 500)
    with closing(opened(server, north.key, "0")) as answer:
        events = heard(answer)
        assert json.loads(next(events)["data"])["missed"] is False
        came = [json.loads(next(events)["data"])["sequence"] for _ in range(500)]
        assert came == [*range(1, 501)]
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute("delete from webhook_events where sequence < 490")
    for last, missed in (("488", True), ("489", False), ("500", False)):
        with closing(opened(server, north.key, last)) as answer:
            assert json.loads(next(heard(answer))["data"])["missed"] is missed, last


def test_without_redis_the_events_still_come(serve: Serve, books: Books, north: District) -> None:
    server = serve(redis_url="redis://127.0.0.1:1/0")
    with closing(opened(server, north.key)) as answer:
        events = heard(answer)
        next(events)
        happen(books, north, "csv.import.started")
        assert names(events, 1) == ["csv.import.started"]


def test_the_stream_of_a_district_is_bounded_and_has_no_value_of_a_record(
    north: District, redis_url: str
) -> None:
    tell = district_on(redis_url, lambda _: True)(north.tenant_id)
    for number in range(2300):
        tell(HALFWAY.model_copy(update={"done": number}))
    with RedisClient.from_url(redis_url) as client:
        assert client.xlen(stream(north.tenant_id)) < 2150
        assert 0 < client.ttl(stream(north.tenant_id)) <= 86_400
        ((_, fields),) = client.xrevrange(stream(north.tenant_id), count=1)
    assert {*fields} == {b"event"}
    assert {*json.loads(fields[b"event"])} == {"kind", "run_id", "stage", "file", "done", "total"}


def test_a_run_that_begins_or_ends_rings_for_the_webhooks(north: District, redis_url: str) -> None:
    rung: list[Job] = []

    def ring(job: Job, /) -> bool:
        rung.append(job)
        return True

    tell = district_on(redis_url, ring)(north.tenant_id)
    for event in (STARTED, HALFWAY, RunEnded(run_id=RUN, state="held")):
        tell(event)
    assert rung == [SendWebhooks(tenant_id=north.tenant_id)] * 2


@pytest.mark.parametrize(
    ("scope", "types"),
    [
        ("imports", ["csv.import.started", "csv.export.failed"]),
        ("roster.read", ["roster.version.published"]),
        ("settings", ["webhook.disabled"]),
    ],
)
def test_each_scope_sees_what_it_is_about(
    hub: Client, books: Books, north: District, scope: str, types: list[str]
) -> None:
    happen(
        *(books, north, "csv.import.started", "roster.version.published"),
        *("webhook.disabled", "csv.export.failed"),
    )
    key = books.key(north.tenant_id, scopes=(scope,))
    found = hub.get(HISTORY, key).json["items"]
    assert [each["type"] for each in found] == types
    nothing = books.key(north.tenant_id, scopes=("roster.demographics",))
    assert hub.get(HISTORY, nothing).status_code == 403
    assert hub.get(PATH, nothing).status_code == 403


def test_progress_is_for_who_may_see_imports(
    server: Server, books: Books, north: District, redis_url: str
) -> None:
    key = books.key(north.tenant_id, scopes=("roster.read",))
    with closing(opened(server, key)) as answer:
        events = heard(answer)
        next(events)
        say(redis_url, north, STARTED)
        happen(books, north, "csv.import.started", "roster.version.published")
        assert names(events, 1) == ["roster.version.published"]


def test_the_history_is_read_on_from_a_number(hub: Client, books: Books, north: District) -> None:
    with connect(books.url) as db, tenant(db, north.tenant_id):
        for version in range(1, 6):
            published(db, north.tenant_id, version, {})
    happen(books, north, "csv.import.started")
    page = hub.get(f"{HISTORY}?limit=2&type=roster.version.published", north.key).json
    found = page["items"]
    while page["next"]:
        page = hub.get(page["next"], north.key).json
        found += page["items"]
    assert [each["data"]["version"] for each in found] == [1, 2, 3, 4, 5]
    assert [each["data"]["cursor"] for each in found] == ["1", "2", "3", "4", "5"]
    assert all(each["id"].startswith("evt_") for each in found)
    behind = hub.get(f"{HISTORY}?after=5", north.key).json
    assert ([each["sequence"] for each in behind["items"]], behind["next"]) == ([6], None)
    for wrong in ("after=x", "after=-1", "type=x", "limit=0"):
        assert hub.get(f"{HISTORY}?{wrong}", north.key).status_code == 400, wrong
