"""Webhooks as somebody manages them, and what their log says."""

from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from falcon.testing import Result
from psycopg.types.json import Jsonb

from deploy.local.redis import Redis
from pipeline import deliveries
from pipeline.database import connect, tenant
from pipeline.deliveries import Outcome
from pipeline.events import disable, emit, published
from schemas.jobs import Job, SendWebhooks
from schemas.scopes import CORE, SCOPES
from schemas.sealing import Seal
from schemas.settings import Settings, plain
from schemas.webhooks import SEALED_FOR, WEBHOOKS_MAX, WEBHOOKS_OF_CLIENT_MAX, of_run
from tests.api.conftest import Books, Client, District
from tests.conftest import settings_on
from tests.databases import Shelf

PATH = "/api/v1/webhooks"
URL = "https://receiver.example/hook"

Json = dict[str, Any]
Make = Callable[..., Json]
Attempted = Callable[..., None]


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
    north = books.district(f"north-{uuid4().hex}")
    with books.connected("rosterhub_control") as connection:
        for client in ("lms", "sis"):
            connection.execute(
                "insert into clients (tenant_id, id, name, scopes) values (%s, %s, '', '{}')",
                [north.tenant_id, client],
            )
    return north


@pytest.fixture
def make(hub: Client, north: District) -> Make:
    """Subscribe as the north."""

    def made(**values: object) -> Json:
        answer = hub.post(PATH, north.key, json={"url": URL} | values)
        assert answer.status_code == 201, answer.text
        found: Json = answer.json
        return found

    return made


def happen(books: Books, district: District, number: int = 1) -> None:
    """So many versions were published."""
    with connect(books.url) as db, tenant(db, district.tenant_id):
        for version in range(1, number + 1):
            published(db, district.tenant_id, version, {})


@pytest.fixture
def attempted(books: Books, north: District) -> Callable[..., None]:
    """One delivery of the north was attempted, as a sender does it."""

    def attempt(webhook: Json, **outcome: Any) -> None:  # noqa: ANN401  # parts of one
        with connect(books.url) as db:
            (letter,) = deliveries.claim(db, north.tenant_id, [UUID(webhook["id"])])
            deliveries.record(db, north.tenant_id, [Outcome(letter, 0.25, **outcome)])

    return attempt


def states(hub: Client, district: District, webhook: Json) -> list[str]:
    found = hub.get(f"{PATH}/{webhook['id']}/deliveries", district.key).json["items"]
    return [each["state"] for each in found]


# --- Subscriptions -------------------------------------------------------------------------


def test_a_subscription_is_made_read_changed_and_ended(
    hub: Client, north: District, make: Make, jobs: list[Job]
) -> None:
    made = make(events=["csv.import.held"], description="保留の通知", ordered=True, client="lms")
    assert (made["url"], made["enabled"], made["created_by"]) == (
        *(URL, True, north.key.split("_")[2]),
    )
    secret = made.pop("secret")
    where = f"{PATH}/{made['id']}"
    assert hub.get(where, north.key).json == made
    assert hub.get(PATH, north.key).json == {"items": [made], "next": None}
    answer = hub.ask("PATCH", where, north.key, json={"events": None, "description": ""})
    assert answer.status_code == 200
    assert (answer.json["events"], answer.json["description"]) == (None, "")
    assert (answer.json["ordered"], answer.json["client"]) == (True, "lms")
    assert jobs[-1] == SendWebhooks(tenant_id=north.tenant_id)
    assert hub.delete(where, north.key).status_code == 204
    assert hub.get(where, north.key).status_code == 404
    assert hub.delete(where, north.key).status_code == 404
    assert secret not in hub.get(PATH, north.key).text


def test_a_secret_has_256_bits_is_shown_once_and_lies_there_sealed(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    made = make()
    secret = b64decode(made["secret"].removeprefix("whsec_"))
    assert len(secret) == 32
    assert "secret" not in hub.get(f"{PATH}/{made['id']}", north.key).json
    ((sealed,),) = books.rows(north.tenant_id, "select secret from webhooks")
    assert secret not in bytes(sealed)
    assert Seal(books.vault, SEALED_FOR).open(UUID(made["id"]), bytes(sealed)) == secret


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": 7}, "url"),
        ({"url": "http://receiver.example/"}, "url"),
        ({"url": "https://receiver.example:8443/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://[::1]/"}, "url"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "https://somebody@receiver.example/"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"),
        ({"url": "https://例え.example/"}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "events": ["csv.import.sung"]}, "events.0"),
        ({"url": URL, "description": "\x00"}, "description"),
        ({"url": URL, "description": "x" * 256}, "description"),
        ({"url": URL, "enabled": "yes"}, "enabled"),
        ({"url": URL, "client": ""}, "client"),
        ({"url": URL, "secret": "mine"}, "secret"),
    ],
)
def test_what_does_not_fit_is_named(hub: Client, north: District, body: Json, field: str) -> None:
    answer = hub.post(PATH, north.key, json=body)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json["errors"]] == [field]
    assert hub.get(PATH, north.key).json["items"] == []


@pytest.mark.parametrize("name", ["url", "description", "ordered"])
def test_only_events_have_a_null(hub: Client, north: District, make: Make, name: str) -> None:
    where = f"{PATH}/{make()['id']}"
    answer = hub.ask("PATCH", where, north.key, json={name: None})
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == name
    refused = hub.ask("PATCH", where, north.key, json={"url": "https://10.0.0.1/"})
    assert (refused.status_code, refused.json["code"]) == (422, "url_refused")


def test_a_district_has_so_many_and_no_more(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    make()
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute(
            "insert into webhooks (tenant_id, id, url, secret, created_by)"
            " select tenant_id, gen_random_uuid(), url, secret, '' from webhooks,"
            " generate_series(2, %s)",
            [WEBHOOKS_MAX],
        )
    answer = hub.post(PATH, north.key, json={"url": URL})
    assert (answer.status_code, answer.json["code"]) == (409, "too_many_webhooks")


def test_it_takes_the_scope_and_an_administrator_names_the_district(
    hub: Client, books: Books, north: District, admin: str, make: Make
) -> None:
    make()
    other = books.key(north.tenant_id, scopes=tuple(s for s in SCOPES if s != "settings"))
    assert hub.get(PATH, other).status_code == 403
    assert hub.post(PATH, other, json={"url": URL}).status_code == 403
    named = hub.get(PATH, admin, headers={"X-RosterHub-District": north.id})
    assert len(named.json["items"]) == 1
    assert hub.get(PATH, admin).status_code == 400


def test_a_client_sees_and_makes_its_own(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    lms = books.client(north.tenant_id)
    token = lms.token(hub)
    other, none, mine = make(client="sis"), make(), make(client=lms.id)
    own = hub.post(PATH, token, json={"url": URL, "client": "sis"})
    assert (own.status_code, own.json["client"]) == (201, lms.id)
    listed = [each["id"] for each in hub.get(PATH, token).json["items"]]
    assert listed == [mine["id"], own.json["id"]]
    for hidden in (other, none):
        assert hub.get(f"{PATH}/{hidden['id']}", token).status_code == 404
        assert hub.delete(f"{PATH}/{hidden['id']}", token).status_code == 404
        assert hub.post(f"{PATH}/{hidden['id']}/test", token).status_code == 404
        assert hub.get(f"{PATH}/{hidden['id']}/deliveries", token).status_code == 404
    for _ in range(len(listed), WEBHOOKS_OF_CLIENT_MAX):
        assert hub.post(PATH, token, json={"url": URL}).status_code == 201
    full = hub.post(PATH, token, json={"url": URL})
    assert (full.status_code, full.json["code"]) == (409, "too_many_webhooks")
    make()  # which is the district's own affair
    core = lms.token(hub, CORE)
    assert hub.get(PATH, core).status_code == 403


def test_a_client_is_told_no_more_than_its_lens_shows(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    lms = books.client(north.tenant_id, lens=Jsonb({"grades": ["P1"]}))
    token = lms.token(hub)
    mine, ours = make(client=lms.id), make()
    counts = {name: {"created": 7} for name in ("orgs", "users", "demographics")}
    with connect(books.url) as db, tenant(db, north.tenant_id):
        published(db, north.tenant_id, 1, {"jobId": "j", "counts": counts})
        told = of_run(uuid4(), None, "applied", {"counts": counts, "findings": {"r": 3}})
        emit(db, north.tenant_id, "csv.import.completed", told)
        for client in (lms.id, "sis"):
            exported = of_run(uuid4(), None, "completed", {"client": client})
            emit(db, north.tenant_id, "csv.export.completed", exported)
        emit(db, north.tenant_id, "webhook.disabled", {"webhookId": ours["id"]})
    assert len(states(hub, north, ours)) == 5
    log = hub.get(f"{PATH}/{mine['id']}/deliveries", token).json["items"]
    kinds = ["csv.export.completed", "csv.import.completed", "roster.version.published"]
    assert [each["type"] for each in log] == kinds
    bodies = [
        orjson.loads(hub.get(f"{PATH}/{mine['id']}/deliveries/{each['id']}", token).json["body"])
        for each in log
    ]
    assert [each["data"].get("metadata") for each in bodies] == [{"client": lms.id}, {}, None]
    assert bodies[-1]["data"]["counts"] == {"orgs": {"created": 7}}
    again = hub.post(f"{PATH}/{mine['id']}/resend", token, json={"after": 0, "which": "everything"})
    assert again.json["deliveries"] == 3
    with connect(books.url) as db:
        sent = deliveries.claim(db, north.tenant_id, [UUID(mine["id"]), UUID(ours["id"])])
    whole = {each.webhook_id: orjson.loads(each.body)["data"]["counts"] for each in sent}
    assert whole == {UUID(mine["id"]): {"orgs": {"created": 7}}, UUID(ours["id"]): counts}
    (seen,) = hub.get("/api/v1/events/history", token).json["items"]
    assert seen["data"]["counts"] == {"orgs": {"created": 7}}


def test_the_webhooks_of_a_client_end_with_it(hub: Client, north: District, make: Make) -> None:
    made, kept = make(client="lms"), make()
    refused = hub.post(PATH, north.key, json={"url": URL, "client": "nobody"})
    assert (refused.status_code, refused.json["field"]) == (422, "client")
    assert hub.delete("/api/v1/clients/lms", north.key).status_code == 204
    assert [each["id"] for each in hub.get(PATH, north.key).json["items"]] == [kept["id"]]
    assert hub.get(f"{PATH}/{made['id']}", north.key).status_code == 404


def test_what_is_no_id_is_no_webhook(hub: Client, north: District, make: Make) -> None:
    made = make()
    for strange in ("x", str(uuid4()), "%00", "evt_1"):
        assert hub.get(f"{PATH}/{strange}", north.key).status_code == 404
        answer = hub.get(f"{PATH}/{made['id']}/deliveries/{strange}", north.key)
        assert answer.status_code == 404


# --- On and off ----------------------------------------------------------------------------


def test_what_it_missed_while_it_was_off_waits_and_is_sent_or_dropped(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    made = make()
    where = f"{PATH}/{made['id']}"
    happen(books, north)
    off = hub.ask("PATCH", where, north.key, json={"enabled": False}).json
    assert (off["enabled"], off["disabled"]["because"]) == (False, "asked")
    happen(books, north)
    assert states(hub, north, made) == ["held", "held"]
    on = hub.ask("PATCH", where, north.key, json={"enabled": True}).json
    assert (on["enabled"], on["disabled"]) == (True, None)
    assert states(hub, north, made) == ["waiting", "waiting"]
    hub.ask("PATCH", where, north.key, json={"enabled": False})
    hub.ask("PATCH", where, north.key, json={"enabled": True, "backlog": "drop"})
    assert states(hub, north, made) == ["dropped", "dropped"]


def test_why_it_is_off_and_since_when_it_fails_is_said_in_both_languages(
    hub: Client, books: Books, north: District, make: Make, attempted: Attempted
) -> None:
    made = make()
    happen(books, north)
    attempted(made, failure="gone", status=410)
    found = hub.get(f"{PATH}/{made['id']}", north.key).json
    assert found["disabled"]["because"] == "gone"
    (notice,) = found["notices"]
    assert notice["kind"] == "disabled_gone"
    assert {*notice["message"]} == {"ja", "en"}
    assert found["failing_since"] is not None
    again = hub.ask("PATCH", f"{PATH}/{made['id']}", north.key, json={"enabled": True}).json
    assert again["failing_since"] is None
    assert [each["kind"] for each in again["notices"]] == ["disabled_gone"], "what was said stays"


def test_another_url_is_another_receiver(
    hub: Client, books: Books, north: District, make: Make, attempted: Attempted
) -> None:
    made = make()
    happen(books, north)
    attempted(made, failure="timeout")
    where = f"{PATH}/{made['id']}"
    hub.ask("PATCH", where, north.key, json={"description": "slow"})
    assert hub.get(where, north.key).json["failing_since"] is not None
    hub.ask("PATCH", where, north.key, json={"url": f"{URL}/new"})
    assert hub.get(where, north.key).json["failing_since"] is None


@contextmanager
def holding_events(books: Books, district: District) -> Any:  # noqa: ANN401  # a context
    """An event that is written and not committed yet."""
    with connect(books.url) as db, tenant(db, district.tenant_id):
        published(db, district.tenant_id, 1, {})
        yield db


def test_a_change_takes_turns_with_events_and_does_not_wait_for_ever(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    made = make()
    with holding_events(books, north):
        answer = hub.ask("PATCH", f"{PATH}/{made['id']}", north.key, json={"enabled": False})
        assert answer.status_code == 429
        assert hub.get(f"{PATH}/{made['id']}", north.key).json["enabled"]
    assert hub.ask("PATCH", f"{PATH}/{made['id']}", north.key, json={"enabled": False}).json[
        "disabled"
    ]
    assert states(hub, north, made) == ["held"]


# --- Secrets -------------------------------------------------------------------------------


def test_a_rotation_overlaps_for_a_day_and_is_not_begun_twice(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    made = make()
    where = f"{PATH}/{made['id']}/secret/rotate"
    rotated = hub.post(where, north.key)
    assert rotated.status_code == 200
    new = rotated.json
    assert new["secret"] != made["secret"]
    assert new["previous_secret_until"] is not None
    assert "secret" not in hub.get(f"{PATH}/{made['id']}", north.key).json
    seal = Seal(books.vault, SEALED_FOR)
    ((secret, previous, hours),) = books.rows(
        north.tenant_id,
        "select secret, previous_secret, extract(epoch from previous_until - now()) / 3600"
        " from webhooks",
    )
    opened = [seal.open(UUID(made["id"]), bytes(each)) for each in (secret, previous)]
    assert opened == [
        b64decode(shown.removeprefix("whsec_")) for shown in (new["secret"], made["secret"])
    ]
    assert 23.9 < hours <= 24
    again = hub.post(where, north.key)
    assert (again.status_code, again.json["code"]) == (409, "rotation_under_way")
    at_once = hub.post(where, north.key, json={"overlap_hours": 0})
    assert at_once.json["previous_secret_until"] is None
    assert books.rows(north.tenant_id, "select previous_secret from webhooks") == [(None,)]
    assert hub.post(where, north.key, json={"overlap_hours": 25}).status_code == 422


# --- The log -------------------------------------------------------------------------------


def test_a_trial_rings_the_one_that_is_tried_whatever_it_wants(
    hub: Client, north: District, make: Make, jobs: list[Job], attempted: Attempted
) -> None:
    tried, other = make(events=["csv.import.held"], enabled=False), make()
    answer = hub.post(f"{PATH}/{tried['id']}/test", north.key)
    assert answer.status_code == 202
    assert jobs[-1] == SendWebhooks(tenant_id=north.tenant_id)
    assert states(hub, north, other) == []
    attempted(tried, status=200, response="ok")
    found = hub.get(answer.headers["Location"], north.key).json
    assert (found["id"], found["type"], found["state"]) == (
        *(answer.json["id"], "webhook.test", "delivered"),
    )
    (attempt,) = found["attempts"]
    assert (attempt["number"], attempt["status"], attempt["failure"], attempt["response"]) == (
        *(1, 200, None, "ok"),
    )
    assert attempt["seconds"] == 0.25
    assert attempt["at"].endswith("Z")
    assert '"type":"webhook.test"' in found["body"]


def test_the_log_is_paged_newest_first_and_filtered(
    hub: Client, books: Books, north: District, make: Make, attempted: Attempted
) -> None:
    made = make()
    happen(books, north, 7)
    for _ in range(2):
        attempted(made, failure="answer_refused", status=500)
    hub.post(f"{PATH}/{made['id']}/test", north.key)
    path = f"{PATH}/{made['id']}/deliveries"

    def items(query: str) -> list[Json]:
        found: list[Json] = hub.get(f"{path}?{query}", north.key).json["items"]
        return found

    assert [each["sequence"] for each in items("")] == [8, 7, 6, 5, 4, 3, 2, 1]
    page = hub.get(f"{path}?limit=3&type=roster.version.published", north.key).json
    assert [each["version"] for each in page["items"]] == [7, 6, 5]
    rest = hub.get(page["next"], north.key).json
    assert [each["version"] for each in rest["items"]] == [4, 3, 2]
    last = hub.get(rest["next"], north.key).json
    assert ([each["version"] for each in last["items"]], last["next"]) == ([1], None)
    assert [each["type"] for each in items("type=webhook.test")] == ["webhook.test"]
    failed = [each for each in items("state=waiting,failed") if each["attempts"]]
    assert len(failed) == 2
    message = failed[0]["attempts"][0]["failure"]
    assert message["code"] == "answer_refused"
    assert {*message["message"]} == {"ja", "en"}
    assert failed[0]["next_attempt_at"] is not None
    assert items("since=2100-01-01T00:00:00Z") == []
    assert len(items("until=2100-01-01T00:00:00Z")) == 8
    for wrong in ("state=sung", "type=x", "cursor=x", "since=yesterday", "limit=0"):
        assert hub.get(f"{path}?{wrong}", north.key).status_code == 400, wrong


def test_one_delivery_is_sent_again_with_its_log(
    hub: Client, north: District, make: Make, jobs: list[Job], attempted: Attempted
) -> None:
    made = make()
    hub.post(f"{PATH}/{made['id']}/test", north.key)
    attempted(made, status=200)
    (delivery,) = hub.get(f"{PATH}/{made['id']}/deliveries", north.key).json["items"]
    where = f"{PATH}/{made['id']}/deliveries/{delivery['id']}/resend"
    again = hub.post(where, north.key)
    assert again.status_code == 202
    assert (again.json["id"], again.json["state"]) == (delivery["id"], "waiting")
    assert again.json["resent_at"] is not None
    assert jobs[-1] == SendWebhooks(tenant_id=north.tenant_id)
    attempted(made, status=200)
    (twice,) = hub.get(f"{PATH}/{made['id']}/deliveries", north.key).json["items"]
    assert [each["number"] for each in twice["attempts"]] == [1, 2]


def test_what_is_off_is_not_sent_again_one_by_one(
    hub: Client, books: Books, north: District, make: Make, attempted: Attempted
) -> None:
    made = make()
    happen(books, north)
    attempted(made, status=200)
    (delivery,) = hub.get(f"{PATH}/{made['id']}/deliveries", north.key).json["items"]
    hub.ask("PATCH", f"{PATH}/{made['id']}", north.key, json={"enabled": False})
    refused = hub.post(f"{PATH}/{made['id']}/deliveries/{delivery['id']}/resend", north.key)
    assert (refused.status_code, refused.json["code"]) == (409, "webhook_disabled")


def resent(hub: Client, district: District, webhook: Json, body: Json) -> Result:
    answer: Result = hub.post(f"{PATH}/{webhook['id']}/resend", district.key, json=body)
    return answer


def test_a_range_is_sent_again_also_from_before_the_subscription(
    hub: Client, books: Books, north: District, make: Make, attempted: Attempted
) -> None:
    happen(books, north, 4)
    made = make(events=["roster.version.published"])
    assert states(hub, north, made) == []
    answer = resent(hub, north, made, {"version": 3})
    assert (answer.status_code, answer.json) == (202, {"deliveries": 2, "last": 4, "more": False})
    assert resent(hub, north, made, {"version": 3}).json["deliveries"] == 0, "they wait already"
    assert resent(hub, north, made, {"after": 1}).json["deliveries"] == 1
    attempted(made, status=200)
    assert resent(hub, north, made, {"after": 0}).json["deliveries"] == 1
    since = {"since": "2020-01-01T00:00:00Z", "which": "everything"}
    assert resent(hub, north, made, since).json["deliveries"] == 4
    assert resent(hub, north, made, {"until": "2020-01-01T00:00:00Z"}).json["deliveries"] == 0
    apart = books.rows(north.tenant_id, "select next_at from webhook_deliveries order by sequence")
    moments = [moment for (moment,) in apart]
    assert moments == sorted(moments)
    assert (moments[-1] - moments[0]).total_seconds() > 0.1, "at a pace of its own"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": 1, "after": 1},
        {"version": 0},
        {"after": -1},
        {"after": 1 << 63},
        {"since": "2026-04-01T00:00:00"},
        {"since": 1},
        {"until": "1764230400"},
        {"since": "2026-04-01T00:00:00Z", "version": 1},
        {"after": 1, "which": "some"},
    ],
)
def test_a_range_is_one_thing(hub: Client, north: District, make: Make, body: Json) -> None:
    assert resent(hub, north, make(), body).status_code == 422


def test_a_range_is_not_sent_to_who_is_off(hub: Client, north: District, make: Make) -> None:
    answer = resent(hub, north, make(enabled=False), {"after": 0})
    assert (answer.status_code, answer.json["code"]) == (409, "webhook_disabled")


def test_numbers_say_how_it_goes(
    hub: Client, books: Books, north: District, make: Make, attempted: Attempted
) -> None:
    made = make()
    where = f"{PATH}/{made['id']}/statistics"
    assert hub.get(where, north.key).json["last_24_hours"]["success_rate"] is None
    happen(books, north, 5)
    attempted(made, status=200)
    attempted(made, status=200)
    attempted(made, failure="answer_refused", status=500)
    attempted(made, failure="timeout")
    found = hub.get(where, north.key).json
    assert found["deliveries"] == {"delivered": 2, "waiting": 3}
    assert found["oldest_undelivered_at"] is not None
    lately = found["last_24_hours"]
    assert (lately["attempts"], lately["delivered"], lately["failed"]) == (4, 2, 2)
    assert lately["success_rate"] == 0.5
    assert lately["failures"] == {"answer_refused": 1, "timeout": 1}
    assert lately["statuses"] == {"200": 2, "500": 1}
    assert lately["seconds"]["p95"] == 0.25


# --- What the gateway itself tells ---------------------------------------------------------


def test_who_cancels_or_rejects_a_run_tells_that_it_has_failed(
    hub: Client, books: Books, north: District
) -> None:
    cancelled = books.run(north.tenant_id)
    hub.post(f"/api/v1/imports/{cancelled}/cancel", north.key)
    hub.post(f"/api/v1/imports/{cancelled}/cancel", north.key)
    rejected = books.run(north.tenant_id, state="held")
    hub.post(f"/api/v1/imports/{rejected}/reject", north.key)
    hub.post(f"/api/v1/imports/{rejected}/reject", north.key)
    found = hub.get("/api/v1/events/history", north.key).json["items"]
    assert [(e["type"], e["data"]["jobId"], e["data"]["status"]) for e in found] == [
        ("csv.import.failed", cancelled, "cancelled"),
        ("csv.import.failed", rejected, "rejected"),
    ]


def test_a_disabled_webhook_of_a_killed_sender_can_be_enabled_again(
    hub: Client, books: Books, north: District, make: Make
) -> None:
    made = make()
    happen(books, north)
    with connect(books.url) as db:
        (letter,) = deliveries.claim(db, north.tenant_id, [UUID(made["id"])])
        with tenant(db, north.tenant_id):
            disable(db, north.tenant_id, letter.webhook_id, "failing")
    assert states(hub, north, made) == ["sending"], "it comes back when its lease is over"
