"""Reads that are answered in front of Falcon: the same answer, and nothing of the way left out."""

import gzip
import time
from dataclasses import replace
from typing import Any, LiteralString

import falcon.asgi
import psycopg
import pytest
from falcon.testing import Result
from psycopg.types.json import Jsonb

from api.app import Front
from api.repeats import Receive, Scope, Send
from api.rosters.operations import ROOT
from schemas.scopes import CLIENT_SCOPES
from schemas.secrets import new_key
from tests.api.conftest import Books, Client, District

USERS = f"{ROOT}/users"
OWN = {"x-request-id", "ratelimit-remaining", "ratelimit-reset"}


@pytest.fixture
def long_ways(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of the requests that have reached Falcon."""
    reached: list[str] = []
    real = falcon.asgi.App.__call__

    async def counted(app: Front, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            reached.append(scope["path"])
        await real(app, scope, receive, send)

    monkeypatch.setattr(falcon.asgi.App, "__call__", counted)
    return reached


def write(books: Books, statement: LiteralString, *values: object) -> None:
    """Something that another process writes."""
    with psycopg.connect(books.url, options="-c search_path=rosterhub") as db:
        assert db.execute(statement, values).rowcount > 0


@pytest.fixture
def town(books: Books, north: District) -> District:
    people = [
        {"sourced_id": f"u-{n}", "enabled_user": True, "email": f"canary-{n}@example.org"}
        for n in range(30)
    ]
    books.publish(north.tenant_id, {"users": people}, "2026-04-01T00:00:00Z")
    return north


@pytest.fixture
def key(books: Books, town: District) -> str:
    """The key of a client."""
    lms, key = books.client(town.tenant_id), books.key(town.tenant_id, CLIENT_SCOPES)
    write(books, "update keys set client_id = %s where id = %s", lms.id, key.split("_")[2])
    return key


def asked(hub: Client, key: str, times: int = 3, path: str = USERS, **headers: str) -> list[Result]:
    """The first answer is made, the second is kept, and from the third on it is repeated."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return [hub.get(path, key, named) for _ in range(times)]


def told(answer: Result) -> tuple[int, bytes, dict[str, str]]:
    others = {name: text for name, text in answer.headers.items() if name not in OWN}
    return answer.status_code, answer.content, others


@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_a_repeated_answer_is_the_one_before_but_for_what_each_has_of_its_own(
    hub: Client, key: str, long_ways: list[str], coding: str
) -> None:
    made, kept, *repeated = asked(hub, key, 5, accept_encoding=coding)
    assert len(long_ways) == 2
    assert {
        len({answer.headers[name] for answer in repeated}) for name in OWN - {"ratelimit-reset"}
    } == {3}
    for answer in (kept, *repeated):
        assert told(answer) == told(made)
    left = [int(answer.headers["RateLimit-Remaining"]) for answer in (made, kept, *repeated)]
    assert left == [*range(left[0], left[0] - 5, -1)]
    body = repeated[-1].content
    assert b"u-29" in (gzip.decompress(body) if coding == "gzip" else body)


def test_who_has_the_answer_is_told_so_again(hub: Client, key: str, long_ways: list[str]) -> None:
    tag = asked(hub, key, 1)[0].headers["ETag"]
    first, *repeated = asked(hub, key, 3, if_none_match=tag)
    assert len(long_ways) == 2
    assert (first.status_code, first.content) == (304, b"")
    assert [told(answer) for answer in repeated] == [told(first)] * 2


CHANGES: dict[str, tuple[LiteralString, int]] = {
    "revoked": ("update keys set revoked_at = now() where client_id is not null", 401),
    "expired": ("update keys set expires_at = now() where client_id is not null", 401),
    "key without scopes": ("update keys set scopes = '{}' where client_id is not null", 403),
    "disabled": ("update clients set enabled = false", 401),
    "client without scopes": ("update clients set scopes = '{}'", 403),
    "from elsewhere only": ("update clients set networks = '{192.0.2.0/24}'", 403),
    "district deleted": ("update districts set deleted_at = now()", 401),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_taken_from_a_caller_is_taken_from_the_next_request_on(
    hub: Client, key: str, books: Books, long_ways: list[str], change: str
) -> None:
    assert [answer.status_code for answer in asked(hub, key)] == [200] * 3
    assert len(long_ways) == 2
    statement, status = CHANGES[change]
    write(books, statement)
    refused = asked(hub, key, 2)
    assert [answer.status_code for answer in refused] == [status] * 2
    assert not any(b"canary" in answer.content for answer in refused)


def test_another_lens_shows_something_else_at_once(
    hub: Client, key: str, books: Books, long_ways: list[str]
) -> None:
    assert not any(b"canary" in answer.content for answer in asked(hub, key))
    assert len(long_ways) == 2
    statement = "update clients set lens = %s, lens_revision = lens_revision + 1"
    write(books, statement, Jsonb({"fields": ["email"]}))
    assert all(b"canary" in answer.content for answer in asked(hub, key))


def test_a_limit_holds_to_the_request_and_another_one_at_once(
    hub: Client, key: str, books: Books, long_ways: list[str]
) -> None:
    write(books, "update clients set rate_limit = 7")
    answers = asked(hub, key, 9)
    assert [answer.status_code for answer in answers] == [200] * 7 + [429] * 2
    assert len(long_ways) == 4  # made, kept, and whoever is refused
    write(books, "update clients set rate_limit = 100")
    assert asked(hub, key, 1)[0].headers["RateLimit-Limit"] == "100"


def test_nobody_is_repeated_what_somebody_else_asked(
    hub: Client, key: str, books: Books, south: District, long_ways: list[str]
) -> None:
    asked(hub, key)
    del long_ways[:]
    name = key.split("_")[2]
    wrong = str(replace(new_key("live"), id=name))  # well-formed, of the same id
    for other, status in ((wrong, 401), (south.key, 200), (books.key(south.tenant_id, ()), 403)):
        answer = hub.get(USERS, other)
        assert answer.status_code == status
        assert b"u-29" not in answer.content
    assert hub.get(USERS).status_code == 401
    assert hub.ask("GET", USERS, key, headers={"X-RosterHub-District": "south"}).status_code == 403
    hub.ask("GET", USERS, key, address="192.0.2.7")
    hub.ask("GET", USERS, key, headers={"Origin": "https://lms.example.jp"})
    hub.ask("HEAD", USERS, key)
    assert len(long_ways) == 8


def test_each_is_taken_down_with_its_own_id(
    hub: Client, key: str, town: District, database_url: str, long_ways: list[str]
) -> None:
    given = [f"{n:032x}" for n in range(5)]
    answers = [hub.get(USERS, key, {"X-Request-ID": each}) for each in given]
    assert len(long_ways) == 2
    assert [answer.headers["X-Request-ID"] for answer in answers] == given
    rows: list[tuple[Any, ...]] = []
    while len(rows) < len(given):
        hub.get("/health/live")  # the loop of the gateway turns only while somebody asks
        with psycopg.connect(database_url) as db:
            rows = db.execute(
                "select request_id, who, route, records, status_code, at from rosterhub.audit"
                " where tenant_id = %s order by seq",
                [town.tenant_id],
            ).fetchall()
    assert [row[0] for row in rows] == given
    assert len({row[1:5] for row in rows}) == 1
    assert len({row[5] for row in rows}) == len(given)


def test_a_token_is_repeated_as_long_as_it_lives(
    hub: Client, books: Books, town: District, long_ways: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = books.client(town.tenant_id).token(hub)
    del long_ways[:]
    assert [answer.status_code for answer in asked(hub, token)] == [200] * 3
    assert len(long_ways) == 2
    now = time.time()
    monkeypatch.setattr("api.tokens.time.time", lambda: now + 100_000)
    assert asked(hub, token, 1)[0].status_code == 401


def test_what_goes_on_by_offset_is_looked_at_each_time(
    hub: Client, key: str, long_ways: list[str]
) -> None:
    asked(hub, key, 4, f"{USERS}?limit=10&offset=10")
    assert len(long_ways) == 4


def test_of_an_older_version_nothing_is_remembered(
    hub: Client, key: str, books: Books, town: District
) -> None:
    """Addresses may hold what somebody looked for, and an erasure is a version, too."""
    assert isinstance(hub.app, Front)
    known = hub.app.repeats._known  # noqa: SLF001 -- what is in memory is said nowhere else
    for path in (USERS, f"{USERS}?filter=givenName='canary'", f"{USERS}/u-1"):
        asked(hub, key, path=path)
    assert len(known) == 3
    books.publish(town.tenant_id, {"users": []}, "2026-04-02T00:00:00Z")
    asked(hub, key, 1)
    assert not known
