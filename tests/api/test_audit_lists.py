"""The audit as a list: what an administrator and a district find in it."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from api import audit_lists
from schemas.audit import INSTALLATION, SQL, Chains, Entry, instant
from schemas.scopes import SCOPES
from tests.api.conftest import Books, Client, District

AUDIT = "/api/v1/audit"
DISTRICT = "X-RosterHub-District"
USERS = "/ims/oneroster/rostering/v1p2/users"
BEFORE = datetime(2026, 4, 1, tzinfo=UTC)
ENTRIES = 40


def entry(number: int) -> Entry:
    """Two a minute: now a page of users, now one of them."""
    single = bool(number % 2)
    return {
        "at": instant(BEFORE + timedelta(seconds=30 * number)),
        "party": ("key", "client", "administrator")[number % 3],
        "who": f"key-{number % 4}",
        "credential": "a-key-of-it" if number % 3 == 1 else None,
        "operation": "read",
        "method": "GET",
        "route": f"{USERS}/{{sourced_id}}" if single else USERS,
        "target": f"person%2F{number}" if single else None,
        "filter": None if single else "familyName='*'",
        "records": 1 if single else 100 * number,
        "address": "10.0.0.1",
        "status_code": 200 if number % 5 else 503,
        "request_id": f"0000-{number}",
    }


@pytest.fixture
def trail(books: Books, north: District, south: District) -> District:
    """Forty entries of the north by two processes; one of the south, one of the installation."""
    with books.connected("rosterhub_control") as db:
        processes = [Chains(str(uuid4()), "gateway") for _ in range(2)]
        for number in range(ENTRIES):
            chains = processes[number % 2]
            db.execute(SQL["append"], chains.batch([chains.add(north.tenant_id, entry(number))]))
        for tenant_id in (south.tenant_id, INSTALLATION):
            row = processes[0].add(tenant_id, entry(99))
            db.execute(SQL["append"], processes[0].batch([row]))
    return north


def found(hub: Client, key: str, **query: object) -> list[dict[str, Any]]:
    """All that match, page by page; what asking for it has written is left out."""
    items: list[dict[str, Any]] = []
    asked = {"to": instant(BEFORE + timedelta(days=1)), **query}
    address: str | None = f"{AUDIT}?{urlencode(asked)}"
    while address:
        answer = hub.get(address, key)
        assert answer.status_code == 200, answer.text
        items += answer.json["items"]
        address = answer.json["next"]
    return items


def numbers(items: list[dict[str, Any]]) -> list[int]:
    return [int(item["request"].rpartition("-")[2]) for item in items]


def test_the_newest_come_first_and_pages_hold_each_once(
    hub: Client, trail: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = list(reversed(range(ENTRIES)))
    assert numbers(found(hub, trail.key)) == wanted
    assert numbers(found(hub, trail.key, limit=7)) == wanted
    for window in (1, 5, 40, 41):
        monkeypatch.setattr(audit_lists, "WINDOW", window)
        assert numbers(found(hub, trail.key, limit=3)) == wanted
        assert numbers(found(hub, trail.key, who="key-3")) == [n for n in wanted if n % 4 == 3]


FILTERS: tuple[tuple[dict[str, object], Callable[[int], bool]], ...] = (
    ({"who": "key-1"}, lambda n: n % 4 == 1),
    ({"who": "a-key-of-it"}, lambda n: n % 3 == 1),
    ({"party": "client"}, lambda n: n % 3 == 1),
    ({"route": USERS}, lambda n: n % 2 == 0),
    ({"target": "person/7"}, lambda n: n == 7),
    ({"records": 1000}, lambda n: n % 2 == 0 and n >= 10),
    ({"outcome": "failed"}, lambda n: n % 5 == 0),
    ({"outcome": "refused"}, lambda _: False),
    ({"operation": "read", "method": "GET", "address": "10.0.0.1"}, lambda _: True),
    ({"operation": "change"}, lambda _: False),
    ({"request_id": "0000-12"}, lambda n: n == 12),
    ({"from": "2026-04-01T00:10:00Z"}, lambda n: n >= 20),
    ({"to": "2026-04-01T09:05:00+09:00"}, lambda n: n < 10),
)


def test_filters(hub: Client, trail: District) -> None:
    for query, matches in FILTERS:
        wanted = [number for number in reversed(range(ENTRIES)) if matches(number)]
        assert numbers(found(hub, trail.key, **query)) == wanted, query


def test_an_entry_says_all_of_it(hub: Client, trail: District) -> None:
    item = found(hub, trail.key, request_id="0000-1")[0]
    assert {name: item[name] for name in item if name not in ("chain", "hash")} == {
        "at": "2026-04-01T00:00:30.000Z",
        "party": "client",
        "who": "key-1",
        "credential": "a-key-of-it",
        "operation": "read",
        "method": "GET",
        "route": f"{USERS}/{{sourced_id}}",
        "target": "person%2F1",
        "filter": None,
        "fields": None,
        "page": None,
        "records": 1,
        "address": "10.0.0.1",
        "status": 200,
        "code": None,
        "request": "0000-1",
        "times": 1,
        "lost": 0,
        "seq": 1,
    }
    assert len(item["hash"]) == 64


def test_a_district_sees_its_own_and_an_administrator_what_they_name(
    hub: Client, books: Books, trail: District, south: District, admin: str
) -> None:
    until = urlencode({"to": instant(BEFORE + timedelta(days=1))})
    address = f"{AUDIT}?{until}"
    assert numbers(hub.get(address, south.key).json["items"]) == [99]
    assert numbers(hub.get(address, admin).json["items"]) == [99]
    named = hub.get(address, admin, headers={DISTRICT: "north"}).json["items"]
    assert len(named) == ENTRIES
    lesser = books.key(trail.tenant_id, tuple(s for s in SCOPES if s != "settings"))
    for path in (AUDIT, f"{AUDIT}.csv", f"{AUDIT}.ndjson"):
        assert hub.get(path, lesser).status_code == 403


def test_files_hold_every_entry(hub: Client, trail: District) -> None:
    query = urlencode({"to": instant(BEFORE + timedelta(days=1)), "who": "key-1"})
    lines = hub.get(f"{AUDIT}.ndjson?{query}", trail.key).text.splitlines()
    assert numbers([json.loads(line) for line in lines]) == list(range(37, 0, -4))
    for language, at in (("ja", "日時"), ("en", "at")):
        answer = hub.get(f"{AUDIT}.csv?{query}&lang={language}", trail.key)
        assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
        heading, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig")))
        assert (heading[0], len(heading), len(rows)) == (at, 21, 10)
        assert {len(row) for row in rows} == {21}


def test_what_cannot_be_meant_is_refused(hub: Client, north: District) -> None:
    for query in (
        *("party=nobody", "operation=guess", "outcome=good", "from=yesterday", "to=1"),
        *("records=-1", "records=many", "records=" + "9" * 19, "who=%00", "limit=0"),
        *("cursor=x", "cursor=W10", "cursor=WyIxIiwiMiIsM10"),
    ):
        answer = hub.get(f"{AUDIT}?{query}", north.key)
        assert answer.status_code == 400, query
        assert answer.headers["Content-Type"].startswith("application/problem+json")
