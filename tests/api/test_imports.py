"""A package comes in once, becomes a run, and can be read."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from falcon.testing import Result
from psycopg.types.json import Jsonb
from redis import Redis

from api.history import FILES
from schemas.jobs import ImportRoster, Job
from schemas.settings import Settings
from schemas.statements import load
from tests.api.conftest import Books, Client, District, Serve

PATH = "/api/v1/imports"
ZIP = {"Content-Type": "application/zip"}
CSV = {"Content-Type": "text/csv"}
LOCK = load("pipeline", "runs.sql")["lock_district"]


def sent(hub: Client, key: str, body: bytes = b"PK", query: str = "", **headers: str) -> Result:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return hub.post(f"{PATH}{query}", key, body=body, headers=ZIP | named)


def objects(settings: Settings) -> int:
    return sum(path.is_file() for path in Path(settings.object_store).rglob("*"))


def test_a_package_becomes_a_queued_run_and_the_bell_rings(
    hub: Client, north: District, jobs: list[Job], books: Books
) -> None:
    answer = sent(hub, north.key, X_Filename="roster.zip")
    assert answer.status_code == 202
    run = answer.json
    assert answer.headers["Location"] == f"{PATH}/{run['id']}"
    assert (run["kind"], run["state"], run["stage"]) == ("import", "queued", None)
    assert (run["entity"], run["mode"], run["attempts"]) == (None, None, 0)
    assert run["files"] == run["counts"] == run["findings"] == run["mappings"] == {}
    assert run["failure"] is run["rows_per_second"] is run["eta_seconds"] is run["version"] is None
    assert run["upload"]["name"] == "roster.zip"
    assert run["links"]["findings"] == f"{PATH}/{run['id']}/findings"
    assert run["links"]["events"] == f"{PATH}/{run['id']}/events"
    assert hub.get(f"{PATH}/{run['id']}", north.key).json == run
    (job,) = jobs
    assert isinstance(job, ImportRoster)
    assert (job.tenant_id, str(job.run_id)) == (north.tenant_id, run["id"])
    (created_by,) = books.rows(north.tenant_id, "select created_by from runs")[0]
    assert created_by == north.key.split("_")[2]


def test_a_single_csv_says_what_it_is(hub: Client, north: District) -> None:
    answer = hub.post(f"{PATH}?entity=users&mode=delta", north.key, body=b"x", headers=CSV)
    assert answer.status_code == 202
    assert (answer.json["entity"], answer.json["mode"]) == ("users", "delta")


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("", CSV, "entity"),
        ("?entity=users", CSV, "mode"),
        ("?mode=bulk", CSV, "entity"),
        ("?mode=bulk", ZIP, "entity"),
        ("?entity=users", ZIP, "mode"),
        ("?entity=people&mode=bulk", CSV, "entity"),
        ("?entity=lineItems&mode=bulk", CSV, "entity"),
        ("?entity=users&mode=absent", ZIP, "mode"),
        ("?entity=users&mode=", CSV, "mode"),
        ("?entity=&mode=bulk", CSV, "entity"),
    ],
)
def test_how_a_csv_is_meant_is_never_guessed(  # noqa: PLR0917 -- fixtures and cases
    hub: Client,
    north: District,
    settings: Settings,
    query: str,
    headers: dict[str, str],
    field: str,
) -> None:
    answer = hub.post(f"{PATH}{query}", north.key, body=b"x", headers=headers)
    assert answer.status_code == 400
    assert answer.json["field"] == field
    allowed = list(FILES) if field == "entity" else ["bulk", "delta", "upsert"]
    assert answer.json["allowed"] == allowed
    assert objects(settings) == 0


def test_a_csv_in_a_form_is_not_guessed_either(
    hub: Client, north: District, settings: Settings
) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="users.csv"\r\n\r\n'
        b"x\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = hub.post(PATH, north.key, body=body, headers=headers)
    assert (answer.status_code, answer.json["field"]) == (400, "entity")
    assert objects(settings) == 0


def test_sending_again_with_the_key_answers_with_the_first_run(
    hub: Client, north: District, south: District, settings: Settings, jobs: list[Job]
) -> None:
    first = sent(hub, north.key, Idempotency_Key="a")
    again = sent(hub, north.key, Idempotency_Key="a")
    assert (again.status_code, again.json) == (202, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert sent(hub, north.key, Idempotency_Key="b").json["id"] != first.json["id"]
    assert sent(hub, south.key, Idempotency_Key="a").json["id"] != first.json["id"]
    assert objects(settings) == 3
    assert len(jobs) == 3


def test_a_key_used_for_other_content_or_another_treatment_is_refused(
    hub: Client, north: District, settings: Settings
) -> None:
    assert sent(hub, north.key, Idempotency_Key="a").status_code == 202
    assert sent(hub, north.key, b"other", Idempotency_Key="a").status_code == 422
    single = sent(hub, north.key, query="?entity=users&mode=bulk", Idempotency_Key="a")
    assert single.status_code == 422
    review = sent(hub, north.key, query="?apply=review", Idempotency_Key="a")
    assert review.status_code == 422, "who asks for a review is not told that it was applied"
    assert objects(settings) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ä"])
def test_a_key_that_is_no_key_is_refused(hub: Client, north: District, key: str) -> None:
    assert sent(hub, north.key, Idempotency_Key=key).status_code == 400


def test_the_same_upload_at_the_same_moment_is_one_run(
    serve: Serve, north: District, books: Books, settings: Settings
) -> None:
    server = serve(gateway_processes=2)
    headers = ZIP | {"Idempotency-Key": "once"}

    def send(_: int) -> tuple[int, str]:
        answer = server.request("POST", PATH, north.key, data=b"PK" * 50_000, headers=headers)
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(12) as clients:
        answers = set(clients.map(send, range(24)))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 202
    assert len(books.rows(north.tenant_id, "select from runs")) == 1
    assert len(books.rows(north.tenant_id, "select from uploads")) == 1
    assert objects(settings) == 1


def test_the_list_is_newest_first_in_pages(hub: Client, north: District, books: Books) -> None:
    made = [books.run(north.tenant_id) for _ in range(7)]
    seen: list[str] = []
    path = f"{PATH}?limit=3"
    pages = 0
    while path:
        page = hub.get(path, north.key).json
        seen += [run["id"] for run in page["items"]]
        path = page["next"]
        pages += 1
    assert seen == made[::-1]
    assert pages == 3


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=", "cursor=x", "cursor=W10", "cursor=WzEsMl0"],
)
def test_a_page_that_cannot_be_is_refused(
    hub: Client, north: District, books: Books, query: str
) -> None:
    run_id = books.run(north.tenant_id)
    assert hub.get(f"{PATH}?{query}", north.key).status_code == 400
    assert hub.get(f"{PATH}/{run_id}/findings?{query}", north.key).status_code == 400


def test_a_limit_beyond_the_largest_is_cut(hub: Client, north: District) -> None:
    assert hub.get(f"{PATH}?limit={'9' * 5000}", north.key).status_code == 200


def test_a_running_import_tells_its_pace(hub: Client, north: District, books: Books) -> None:
    now = datetime.now(UTC)
    run_id = books.run(
        north.tenant_id,
        state="running",
        stage="read",
        started_at=now - timedelta(seconds=10),
        lease_until=now,
        progress={"users": {"done": 500, "total": 1000}, "orgs": {"done": 500, "total": 500}},
    )
    run = hub.get(f"{PATH}/{run_id}", north.key).json
    assert run["files"]["users"] == {"done": 500, "total": 1000}
    assert 80 < run["rows_per_second"] <= 100
    assert 5 <= run["eta_seconds"] < 7


def test_a_failure_speaks_both_languages(hub: Client, north: District, books: Books) -> None:
    run_id = books.run(
        north.tenant_id,
        state="failed",
        finished_at=datetime.now(UTC),
        failure={"code": "upload_damaged", "ja": "壊れています。", "en": "It is damaged."},
    )
    assert hub.get(f"{PATH}/{run_id}", north.key).json["failure"] == {
        "code": "upload_damaged",
        "message": {"ja": "壊れています。", "en": "It is damaged."},
    }


@pytest.mark.parametrize("strange", ["x", "%00", pytest.param(str(uuid4()), id="of nobody"), "1"])
def test_an_unknown_run_is_404(hub: Client, north: District, strange: str) -> None:
    for path in ("", "/findings", "/events"):
        assert hub.get(f"{PATH}/{strange}{path}", north.key).status_code == 404


def found(books: Books, tenant_id: int, run_id: str, *rows: tuple[Any, ...]) -> None:
    with books.connected("rosterhub_app", tenant_id) as connection:
        for seq, row in enumerate(rows):
            connection.execute(
                'insert into findings (tenant_id, run_id, seq, file, line, "column", sourced_id,'
                " rule, severity, value, facts)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [tenant_id, run_id, seq, *row[:-1], Jsonb(row[-1])],
            )


def test_a_finding_says_where_and_what_in_both_languages(
    hub: Client, north: District, books: Books
) -> None:
    run_id = books.run(north.tenant_id)
    found(
        books,
        north.tenant_id,
        run_id,
        ("users", 7, "userMasterIdentifier", "u-1", "value.date", "error", "2026-02-30", {}),
        ("users", None, None, None, "gone.rule", "warning", "{x}", {"limit": 3}),
    )
    first, second = hub.get(f"{PATH}/{run_id}/findings", north.key).json["items"]
    assert set(first) == {
        "file", "line", "column", "sourcedId", "rule", "severity", "value", "message",
        "seq", "school", "row", "causedBy", "hint", "docs", "source",
    }  # fmt: skip
    assert (first["file"], first["line"], first["sourcedId"]) == ("users", 7, "u-1")
    assert "2026-02-30" in first["message"]["en"]
    assert "2026-02-30" in first["message"]["ja"]
    assert second["message"]["en"].startswith("gone.rule")


def test_findings_are_filtered_and_paged(hub: Client, north: District, books: Books) -> None:
    run_id = books.run(north.tenant_id)
    rows: list[tuple[Any, ...]] = [
        (file, line, "c", None, rule, severity, None, {})
        for line in range(2, 12)
        for file in ("users", "orgs")
        for rule, severity in (("value.date", "error"), ("header.spelling", "info"))
    ]
    found(books, north.tenant_id, run_id, *rows)
    path = f"{PATH}/{run_id}/findings?severity=error&file=users&rule=value.date&limit=4"
    lines = []
    while path:
        page = hub.get(path, north.key).json
        lines += [item["line"] for item in page["items"]]
        path = page["next"]
    assert lines == list(range(2, 12))
    wrong = hub.get(f"{PATH}/{run_id}/findings?severity=fatal", north.key)
    assert (wrong.status_code, wrong.json["field"]) == (400, "severity")
    assert hub.get(f"{PATH}/{run_id}/findings?file=%00", north.key).json["items"] == []


def test_a_redis_that_is_gone_delays_no_answer(serve: Serve, north: District) -> None:
    server = serve(redis_url="redis://127.0.0.1:1/0")
    before = time.monotonic()
    for _ in range(20):
        answer = server.request("POST", PATH, north.key, data=b"PK", headers=ZIP)
        assert answer.status_code == 202
    assert time.monotonic() - before < 2


def test_two_hundred_uploads_pass_a_hung_redis(
    serve: Serve, north: District, redis_url: str
) -> None:
    with Redis.from_url(redis_url) as client:
        pid = client.info("server")["process_id"]
    server = serve()
    os.kill(pid, signal.SIGSTOP)
    try:

        def send(_: int) -> tuple[int, float]:
            before = time.monotonic()
            answer = server.request("POST", PATH, north.key, data=b"PK", headers=ZIP)
            return answer.status_code, time.monotonic() - before

        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(send, range(200)))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert {status for status, _ in answers} == {202}
    assert sorted(seconds for _, seconds in answers)[197] < 1.0


# --- History ---------------------------------------------------------------------------------


@pytest.fixture
def history(books: Books, north: District) -> dict[str, str]:
    """Four runs, the oldest first, and one of them undoes."""
    day = "2026-04-0{}T00:00:00Z".format
    failed: dict[str, Any] = {"state": "failed", "finished_at": day(9)}
    runs = {
        "nightly": {"created_at": day(1), "created_by": "sis", **failed},
        "users": {"created_at": day(2), "entity": "users", "mode": "upsert"},
        "held": {"created_at": day(3), "state": "held"},
        "undo": {"created_at": day(4), "kind": "undo", "undoes": 1, "upload_id": None},
    }
    made = {name: books.run(north.tenant_id, **values) for name, values in runs.items()}
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        for name, file in (("nightly", "RO_20260401_架空市.zip"), ("users", "USERS_100%.csv")):
            connection.execute(
                "insert into uploads (tenant_id, id, object_key, bytes, sha256, name)"
                " values (%(t)s, %(u)s, 'k', 1, '\\x00', %(n)s)",
                {"t": north.tenant_id, "u": (upload := uuid4()), "n": file},
            )
            connection.execute("update runs set upload_id = %s where id = %s", [upload, made[name]])
    return made


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["undo", "held", "users", "nightly"]),
        ("state=failed", ["nightly"]),
        ("state=held,failed", ["held", "nightly"]),
        ("kind=undo", ["undo"]),
        ("kind=import", ["held", "users", "nightly"]),
        ("entity=users", ["users"]),
        ("created_by=sis", ["nightly"]),
        ("created_by=nobody", []),
        ("since=2026-04-02T00:00:00Z", ["undo", "held", "users"]),
        ("until=2026-04-02T00:00:00Z", ["nightly"]),
        ("since=2026-04-02T09:00:00%2B09:00&until=2026-04-02T09:00:01+09:00", ["users"]),
        ("file=ro_2026", ["nightly"]),
        ("file=%E6%9E%B6%E7%A9%BA", ["nightly"]),
        ("file=100%25", ["users"]),
        ("file=1_0", []),
        ("state=queued&entity=users&kind=import&file=users", ["users"]),
        ("state=failed&entity=users", []),
    ],
)
def test_the_history_is_filtered(
    hub: Client, north: District, history: dict[str, str], query: str, names: list[str]
) -> None:
    answer = hub.get(f"{PATH}?{query}", north.key)
    assert answer.status_code == 200
    assert [item["id"] for item in answer.json["items"]] == [history[name] for name in names]


def test_filters_hold_from_page_to_page(
    hub: Client, north: District, history: dict[str, str]
) -> None:
    found, address = [], f"{PATH}?limit=1&state=queued,failed&since=2026-04-01T09:00:00%2B09:00"
    while address:
        page = hub.get(address, north.key).json
        found += [item["id"] for item in page["items"]]
        address = page["next"]
    assert found == [history[name] for name in ("undo", "users", "nightly")]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=done", "state"),
        ("state=failed,", "state"),
        ("kind=export", "kind"),
        ("entity=people", "entity"),
        ("since=yesterday", "since"),
        ("since=2026-04-01", "since"),
        ("until=2026-04-01T00:00:00", "until"),
        ("until=", "until"),
        ("file=", "file"),
        ("created_by=%00", "created_by"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    hub: Client, north: District, query: str, field: str
) -> None:
    answer = hub.get(f"{PATH}?{query}", north.key)
    assert (answer.status_code, answer.json["field"]) == (400, field)


def test_a_package_is_taken_while_another_one_is_imported(
    hub: Client, books: Books, north: District
) -> None:
    """An import holds its district until it ends; whoever pushes does not wait for that."""
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute(LOCK, {"tenant_id": north.tenant_id})
        before = time.monotonic()
        assert sent(hub, north.key).status_code == 202
        assert time.monotonic() - before < 2
