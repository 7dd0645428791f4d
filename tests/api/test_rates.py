"""How often a client may ask: one window for all processes, and what happens without Redis."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from falcon.testing import Result
from redis import Redis

from api import rates
from schemas.scopes import CORE
from tests.api.conftest import Books, Client, District
from tests.api.test_metrics import samples

IMPORTS, ORGS = "/api/v1/imports", "/ims/oneroster/rostering/v1p2/orgs"
DEAD = "redis://127.0.0.1:1/0"

Hubs = Callable[..., Client]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test machine may be busy; what is tested is not how long Redis may take."""
    monkeypatch.setattr(rates, "DEADLINE", 5.0)


@contextmanager
def two(open_hub: Hubs, url: str, **changes: object) -> Iterator[tuple[Client, Client]]:
    """Two gateways on the same database and Redis."""
    with open_hub(url, **changes) as one, open_hub(url, **changes) as other:
        yield one, other


def passed(answers: list[Result]) -> int:
    return sum(answer.status_code == 200 for answer in answers)


def headers(answer: Result) -> list[int]:
    return [int(answer.headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset")]


def test_two_gateways_let_through_what_one_may(
    open_hub: Hubs, database_url: str, books: Books, north: District
) -> None:
    lms = books.client(north.tenant_id, rate_limit=30)
    with two(open_hub, database_url) as (one, other):
        tokens = [lms.token(one, CORE), lms.token(other, CORE)]
        answers = [hub.get(IMPORTS, tokens[n % 2]) for n in range(5) for hub in (one, other)]
        assert {answer.status_code for answer in answers} == {403}  # also counts
        answers = [hub.get(ORGS, lms_key) for lms_key in [north.key] * 3 for hub in (one, other)]
        assert passed(answers) == 6  # the district's own key is counted for itself
        keys = [tokens[0], tokens[1]] * 10
        answers = [hub.get(IMPORTS, key) for key in keys for hub in (one, other)]
        assert [answer.status_code for answer in answers].count(403) == 30 - 2 - 10
        *_, last = answers
        assert last.status_code == 429
        limit, remaining, reset = headers(last)
        assert (limit, remaining) == (30, 0)
        assert 50 < reset <= 61
        assert int(last.headers["Retry-After"]) == reset
        assert (last.json["code"], last.json["retry_after"]) == ("rate_limited", reset)
        busy = one.get(ORGS, tokens[0])
        minor = busy.json["imsx_CodeMinor"]["imsx_codeMinorField"][0]
        assert (busy.status_code, minor["imsx_codeMinorFieldValue"]) == (429, "server_busy")
        late = lms.asks(one, CORE)
        assert (late.status_code, late.json["error"]) == (429, "temporarily_unavailable")


def test_what_is_taken_in_advance_is_within_three_in_a_hundred(
    open_hub: Hubs, database_url: str, north: District, redis_url: str
) -> None:
    with two(open_hub, database_url, rate_limit=300) as (one, other):
        first = one.get(IMPORTS, north.key)
        assert headers(first) == [300, 299, 61]
        answers = [hub.get(IMPORTS, north.key) for _ in range(170) for hub in (one, other)]
        assert 291 <= 1 + passed(answers) <= 300
        with Redis.from_url(redis_url) as redis:
            [name] = redis.keys(f"{rates.KEY}*")
            assert sum(map(int, redis.hvals(name))) <= 300
            assert 0 < redis.ttl(name) <= 61


def test_a_window_slides(
    open_hub: Hubs, database_url: str, north: District, redis_url: str
) -> None:
    with open_hub(database_url, rate_limit=4) as hub, Redis.from_url(redis_url) as redis:
        assert passed([hub.get(IMPORTS, north.key) for _ in range(6)]) == 4
        [name] = redis.keys(f"{rates.KEY}*")
        now = redis.time()[0]
        redis.delete(name)
        redis.hset(name, mapping={str(now - 61): 3, str(now - 58): 2, str(now - 10): 1})
        time.sleep(rates.HOLD)  # for so long it does not ask again
        assert passed([hub.get(IMPORTS, north.key) for _ in range(3)]) == 1
        refused = hub.get(IMPORTS, north.key)
        assert int(refused.headers["Retry-After"]) <= 3


def test_another_limit_holds_from_the_next_request_on(
    hub: Client, books: Books, north: District
) -> None:
    lms = books.client(north.tenant_id, rate_limit=3)
    token = lms.token(hub, CORE)
    assert [hub.get(IMPORTS, token).status_code for _ in range(3)] == [403, 403, 429]
    path = f"/api/v1/clients/{lms.id}"
    assert hub.ask("PATCH", path, north.key, json={"rate_limit": 5}).json["rate_limit"] == 5
    assert [hub.get(IMPORTS, token).status_code for _ in range(3)] == [403, 403, 429]


class TestWithoutRedis:
    def test_reads_pass_uncounted_and_a_metric_says_so(
        self, open_hub: Hubs, database_url: str, north: District, admin: str
    ) -> None:
        with open_hub(database_url, redis=DEAD, rate_limit=2) as hub:
            answers = [hub.get(IMPORTS, north.key) for _ in range(10)]
            assert passed(answers) == 10
            assert "RateLimit-Limit" not in answers[-1].headers
            found = samples(hub.get("/metrics", admin).text)
        assert found["rosterhub_rate_limits_total", (("outcome", "unchecked"),)] == 11

    def test_writes_are_counted_by_each_process_for_itself(
        self, open_hub: Hubs, database_url: str, north: District, admin: str
    ) -> None:
        with open_hub(database_url, redis=DEAD, rate_limit=2) as hub:
            writes = [hub.ask("PATCH", "/api/v1/policy", north.key, json={}) for _ in range(4)]
            assert [answer.status_code for answer in writes] == [200, 200, 429, 429]
            assert hub.get(IMPORTS, north.key).status_code == 200
            found = samples(hub.get("/metrics", admin).text)
        assert found["rosterhub_rate_limits_total", (("outcome", "refused"),)] == 2

    def test_one_that_does_not_answer_costs_a_fifth_of_a_second_once(
        self,
        open_hub: Hubs,
        database_url: str,
        north: District,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(rates, "DEADLINE", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
            with open_hub(database_url, redis=url, rate_limit=1) as hub:
                hub.get("/health/live")
                began, waits = time.monotonic(), []
                while time.monotonic() - began < 2.5:  # two holds, each with a look behind it
                    start = time.monotonic()
                    assert hub.get(IMPORTS, north.key).status_code == 200
                    waits.append(time.monotonic() - start)
                assert sum(wait > 0.19 for wait in waits) <= 2, sorted(waits)[-5:]

    def test_it_counts_again_when_redis_is_back(
        self,
        open_hub: Hubs,
        database_url: str,
        north: District,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        with open_hub(database_url, rate_limit=1) as hub:
            monkeypatch.setattr(rates, "SCRIPT", "return redis.error_reply('away')")
            assert passed([hub.get(IMPORTS, north.key) for _ in range(3)]) == 3
            monkeypatch.undo()
            deadline = time.monotonic() + 10
            while hub.get(IMPORTS, north.key).status_code == 200:
                assert time.monotonic() < deadline
            assert hub.get(IMPORTS, north.key).status_code == 429
