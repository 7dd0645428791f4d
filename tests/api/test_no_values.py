"""Whatever a client writes, and wherever: no log, no metric, no key in Redis, no audit repeats it.

A canary is planted in every place that a request has, in requests that succeed and that fail, with
a real server that logs as much as it can.
"""

import io
import threading
import zipfile
from typing import Any

import psycopg
import requests
import structlog
from redis import Redis

from loadtests.rosters import District as Town
from loadtests.rosters import write_package
from schemas.settings import Settings, plain
from tests.api.conftest import Books, District, Serve
from workers.imports import Importer
from workers.objects import open_store
from workers.observers import all_of, to_log, to_stream

CANARY = "Canaria"
USERS = "/ims/oneroster/rostering/v1p2/users"
AT = "2026-04-01T00:00:00Z"

OF_HEADERS = (
    *("User-Agent", "Cookie", "Referer", "X-Forwarded-For", "X-Real-IP", "Forwarded", "From"),
    *("X-Request-ID", "Accept-Language", "If-None-Match", "X-Filename", "Idempotency-Key"),
    *(f"X-{CANARY}", "Origin", "traceparent", "Last-Event-ID", "If-Match"),
)
HEADERS = dict.fromkeys(OF_HEADERS, CANARY)
QUERY = "&".join(
    f"{name}={CANARY}"
    for name in (
        *("filter", "fields", "sort", "orderBy", "limit", "offset", "asOf", "cursor", CANARY),
        *("state", "kind", "entity", "change", "school", "lang", "who", "target", "file", "q"),
    )
)
PATHS = (
    *(USERS, f"{USERS}/{CANARY}", f"{USERS}/person-1", f"/ims/{CANARY}", f"/{CANARY}"),
    *("/api/v1/imports", f"/api/v1/imports/{CANARY}", f"/api/v1/imports/{CANARY}/events"),
    *("/api/v1/policy", f"/api/v1/versions/{CANARY}", "/api/v1/versions/1/diff.csv"),
    *(f"/api/v1/records/users/{CANARY}/timeline", f"/api/v1/mappings/{CANARY}"),
    *(f"/api/v1/keys/{CANARY}", f"/api/v1/districts/{CANARY}", "/api/v1/audit", "/health/ready"),
)


def person(number: int) -> dict[str, Any]:
    values = dict.fromkeys(("username", "given_name", "family_name", "email", "phone"), CANARY)
    return {"sourced_id": f"person-{number}", "enabled_user": True, **values}


def package() -> bytes:
    """A package in which a name is a canary, and so is what is wrong with it."""
    out, changed = io.BytesIO(), io.BytesIO()
    write_package(out, Town(schools=1, users=9, enrollments_per_student=1))
    with zipfile.ZipFile(out) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            text = source.read(name).decode()
            if name == "users.csv":
                header, first, second, *rest = text.splitlines(keepends=True)
                wrong = ",".join([CANARY] * (header.count(",") + 1)) + "\r\n"
                text = "".join([header, first, second, wrong, *rest])
            target.writestr(name, text)
    return changed.getvalue()


def kept_by_redis(url: str) -> bytes:
    with Redis.from_url(url) as client:
        keys: list[bytes] = list(client.scan_iter("*"))
        return b"\n".join([*keys, *filter(None, map(client.dump, keys))])


def test_no_canary_leaves_a_request(
    serve: Serve, books: Books, north: District, admin: str, settings: Settings
) -> None:
    books.publish(north.tenant_id, {"users": [person(1), person(2)]}, AT)
    server = serve(log_level="debug")
    key = north.key
    for path in PATHS:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            for headers in ({}, HEADERS):
                body = {CANARY: CANARY, "label": CANARY, "apply": CANARY, "id": CANARY}
                answer = server.request(method, f"{path}?{QUERY}", key, json=body, headers=headers)
                assert answer.status_code < 500, (method, path)
    wanted = f"filter=familyName='{CANARY}'&fields=sourcedId,givenName&sort={CANARY}&{CANARY}=1"
    for good in (f"{USERS}?fields=givenName&sort={CANARY}&x={CANARY}", f"{USERS}?{wanted}"):
        server.request("GET", good, key, headers={"User-Agent": CANARY})
    for credential in (f"Basic {CANARY}", f"Bearer rh_live_{CANARY}_{CANARY}_00000000", CANARY):
        requests.get(f"{server.url}{USERS}", headers={"Authorization": credential}, timeout=5)
    csv = f"sourcedId,{CANARY}\n{CANARY},{CANARY}\n".encode()
    for kind, data in (("text/csv", csv), ("application/zip", csv), (CANARY, csv)):
        headers = {"Content-Type": kind, "X-Filename": CANARY}
        server.request(
            "POST", "/api/v1/imports?entity=users&mode=bulk", key, data=data, headers=headers
        )
    pushed = server.request(
        "POST", "/api/v1/imports", key, data=package(), headers={"Content-Type": "application/zip"}
    )
    assert pushed.status_code == 202
    metrics = server.request("GET", "/metrics", admin).text
    emit = all_of(to_stream(plain(settings.redis_url)), to_log)
    store = open_store(settings.object_store)
    importer = Importer(settings, store, emit, "test", threading.Event())
    with structlog.testing.capture_logs() as lines:
        while importer.attempt(north.tenant_id):
            pass
    server.process.terminate()
    server.process.wait(20)

    with psycopg.connect(plain(settings.database_url)) as db:
        entries = db.execute("select * from rosterhub.audit").fetchall()
        findings = db.execute("select * from rosterhub.findings").fetchall()
    assert CANARY in str(findings), "the canary came as far as that"
    log = server.log.read_text()
    assert len(entries) > 50
    assert log.count('"event": "request"') > 100
    assert "run_ended" in {line["event"] for line in lines}
    redis = kept_by_redis(plain(settings.redis_url))
    assert b"run" in redis
    where = {
        "log": log,
        "log of the worker": str(lines),
        "metrics": metrics,
        "redis": redis.decode("latin-1"),
        "audit": str(entries),
    }
    assert [name for name, text in where.items() if CANARY.lower() in text.lower()] == []
