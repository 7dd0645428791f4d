"""Every request that reads or changes a roster or a setting is in the audit, and no value is."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from psycopg.rows import dict_row

from api import audit_book
from api.audit import to_its_end
from api.audit_book import Book
from api.audit_entries import Seen, Speaker
from api.database import Database
from schemas.audit import INSTALLATION
from schemas.scopes import CORE
from schemas.secrets import ApiKey, parse_key
from tests.api.conftest import Books, Client, District, LearningSystem, Relay, Serve

USERS = "/ims/oneroster/rostering/v1p2/users"
POLICY = "/api/v1/policy"
DISTRICT = "X-RosterHub-District"
CANARY = "Hanakoyamada"
AT = "2026-04-01T00:00:00Z"

Entry = dict[str, Any]


def person(number: int) -> dict[str, Any]:
    return {
        "sourced_id": f"person-{number}",
        "enabled_user": True,
        "username": f"u{number}",
        "given_name": CANARY,
        "family_name": CANARY,
    }


@pytest.fixture
def town(books: Books, north: District) -> District:
    """A district with three people."""
    books.publish(north.tenant_id, {"users": [person(number) for number in range(3)]}, AT)
    return north


def entries(url: str, tenant_id: int | None = None) -> list[Entry]:
    """What is written, in the order of time."""
    with psycopg.connect(url, row_factory=dict_row) as db:
        rows = db.execute("select * from rosterhub.audit order by at, seq").fetchall()
    return [row for row in rows if tenant_id is None or row["tenant_id"] == tenant_id]


def until(done: Callable[[], bool], patience: float = 5.0) -> None:
    deadline = time.monotonic() + patience
    while not done():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


Written = Callable[..., list[Entry]]


@pytest.fixture
def written(database_url: str, hub: Client) -> Written:
    """The entries of a tenant as soon as there are so many; the hub works meanwhile."""

    def wait(tenant_id: int, number: int = 1) -> list[Entry]:
        def there() -> bool:
            hub.get("/health/live")  # the loop of the gateway turns only while somebody asks
            return len(entries(database_url, tenant_id)) >= number

        until(there)
        return entries(database_url, tenant_id)

    return wait


def test_who_what_when_and_from_where_is_written_within_a_moment(
    hub: Client, town: District, written: Written
) -> None:
    hub.get(f"{USERS}?limit=2&fields=sourcedId,givenName&offset=1&colour=red", town.key)
    (entry,) = written(town.tenant_id)
    assert {name: entry[name] for name in ("party", "who", "operation", "method", "route")} == {
        "party": "key",
        "who": town.key.split("_")[2],
        "operation": "read",
        "method": "GET",
        "route": USERS,
    }
    assert (entry["fields"], entry["filter"]) == ("sourcedId,givenName", None)
    assert entry["page"] == "limit=2&offset=1"
    assert (entry["records"], entry["status_code"], entry["code"]) == (2, 200, None)
    assert entry["address"] == "127.0.0.1"
    assert (entry["seq"], len(entry["hash"])) == (1, 32)
    assert entry["previous"] == bytes(32)


def test_the_records_of_an_answer_are_counted(
    hub: Client, town: District, written: Written
) -> None:
    expected: dict[str, tuple[int | None, str | None]] = {
        USERS: (3, None),
        f"{USERS}?limit=1": (1, None),
        f"{USERS}?offset=99": (0, None),
        f"{USERS}/person-1": (1, "person-1"),
        "/api/v1/versions": (1, None),
        "/api/v1/versions/1/diff.ndjson": (3, "1"),
        "/api/v1/versions/1/diff.csv": (3, "1"),
        "/api/v1/records/users/person-1/timeline": (1, "users/person-1"),
        POLICY: (None, None),
    }
    for address in expected:
        assert hub.get(address, town.key).status_code == 200
    found = written(town.tenant_id, len(expected))
    counted = [(entry["records"], entry["target"]) for entry in found]
    assert dict(zip(expected, counted, strict=True)) == expected


def test_an_answer_that_was_not_sent_again_holds_no_records(
    hub: Client, town: District, written: Written
) -> None:
    tag = hub.get(USERS, town.key).headers["ETag"]
    assert hub.get(USERS, town.key, headers={"If-None-Match": tag}).status_code == 304
    first, second = written(town.tenant_id, 2)
    assert (first["records"], second["records"]) == (3, None)
    assert second["status_code"] == 304
    assert second["previous"] == first["hash"]


def test_what_is_refused_is_written_without_what_was_guessed(
    hub: Client, town: District, written: Written
) -> None:
    assert hub.get(f"{USERS}/{CANARY}?fields={CANARY}", town.key).status_code == 400
    assert hub.get(f"{USERS}/{CANARY}", town.key).status_code == 404
    assert hub.get(f"{USERS}?filter=canary%3D'{CANARY}'", town.key).status_code == 400
    for entry in written(town.tenant_id, 3):
        assert CANARY not in str(entry)
        assert entry["target"] is None
    codes = [entry["code"] for entry in written(town.tenant_id, 3)]
    assert codes == ["invalid_selection_field", "unknownobject", "invalid_filter_field"]


def test_who_is_not_let_in_is_known_by_the_id_of_a_key_and_counted(
    hub: Client, town: District, written: Written
) -> None:
    wrong = town.key[:-8]
    for _ in range(5):
        hub.get(USERS, f"{wrong}00000000")
    hub.get(USERS, "rh_live_" + "x" * 20)
    hub.get(USERS)
    other = District("other", 0, key_like(town.key))
    for _ in range(3):
        hub.get(USERS, other.key)
    found = written(INSTALLATION, 2)
    assert {(entry["party"], entry["code"]) for entry in found} == {
        ("anonymous", "unauthorisedrequest")
    }
    times: dict[str | None, int] = {}
    for entry in found:
        times[entry["who"]] = times.get(entry["who"], 0) + (entry["times"] or 1)
    assert times == {None: 7, town.key.split("_")[2]: 3}


def key_like(key: str) -> str:
    """A well-formed key with the same id and another secret."""
    parsed = parse_key(key)
    assert parsed is not None
    return str(ApiKey("live", parsed.id, "y" * 43))


def test_tokens_are_written_in_the_district_of_their_client_given_or_refused(
    hub: Client, books: Books, town: District, written: Written
) -> None:
    lms = books.client(town.tenant_id)
    for secret, scope, status in (
        (lms.secret, CORE, 200),
        (lms.secret, "nothing", 400),
        (f"{lms.secret[:-1]}!", CORE, 400),
        (CANARY, CORE, 400),
    ):
        assert LearningSystem(lms.id, secret).asks(hub, scope).status_code == status
    found = written(town.tenant_id, 3)
    assert [(e["party"], e["status_code"], e["code"], e["times"]) for e in found] == [
        ("client", 200, None, None),
        ("client", 400, "invalid_scope", None),
        ("anonymous", 400, "invalid_client", 2),
    ]
    assert {(e["who"], e["route"], e["operation"]) for e in found} == {(lms.id, "/token", "change")}
    assert found[0]["credential"] == lms.secret.split("_")[2]
    assert CANARY not in str(found)


def test_who_asks_for_a_token_as_nobody_is_written_in_no_district(
    hub: Client, written: Written
) -> None:
    for client in (CANARY, "x\0y"):
        assert LearningSystem(client, CANARY).asks(hub, CORE).status_code == 400
    (entry,) = written(INSTALLATION)
    assert (entry["party"], entry["who"], entry["times"]) == ("anonymous", None, 2)
    assert CANARY not in str(entry)


def test_administrators_are_audited_in_the_district_they_name_or_in_none(
    hub: Client, admin: str, town: District, written: Written
) -> None:
    hub.post("/api/v1/keys", admin, json={"label": "LMS"}, headers={DISTRICT: "north"})
    hub.post("/api/v1/districts", admin, json={"id": "west", "name": "West"})
    (made,) = written(town.tenant_id)
    (founded,) = written(INSTALLATION)
    assert [(e["party"], e["who"], e["operation"], e["route"]) for e in (made, founded)] == [
        ("administrator", admin.split("_")[2], "change", "/api/v1/keys"),
        ("administrator", admin.split("_")[2], "change", "/api/v1/districts"),
    ]


def test_health_metrics_and_unknown_addresses_are_not_looked_at(
    hub: Client, admin: str, town: District, written: Written, database_url: str
) -> None:
    for path in ("/health", "/health/ready", "/metrics", "/api/v1/nothing", "/ims/nothing"):
        hub.get(path, admin)
    hub.get(POLICY, town.key)
    written(town.tenant_id)
    assert len(entries(database_url)) == 1


def test_each_process_has_its_own_chain_in_each_district(
    open_hub: Callable[[str], Client], database_url: str, town: District, south: District
) -> None:
    with open_hub(database_url) as one, open_hub(database_url) as two:
        for number in range(20):
            for gateway in (one, two):
                for district in (town, south):
                    gateway.get(f"{USERS}?limit={number + 1}", district.key)
    found = entries(database_url)
    chains: dict[tuple[int, UUID], list[Entry]] = {}
    for entry in found:
        chains.setdefault((entry["tenant_id"], entry["chain"]), []).append(entry)
    assert len(chains) == 4
    for chain in chains.values():
        assert [entry["seq"] for entry in chain] == list(range(1, 21))
        assert [e["previous"] for e in chain[1:]] == [e["hash"] for e in chain[:-1]]


class TestOutages:
    def test_what_waited_for_the_database_is_written_when_it_is_back(
        self, hub_behind: Callable[[Relay], Client], relay: Relay, town: District, database_url: str
    ) -> None:
        with hub_behind(relay) as hub:
            assert hub.get(USERS, town.key).status_code == 200
            relay.cut()
            assert hub.get(USERS, town.key).status_code == 429
            time.sleep(0.5)
            hub.get("/health/live")
            relay.mend()
            until(lambda: hub.get(USERS, town.key).status_code == 200)
        assert [e["seq"] for e in entries(database_url, town.tenant_id)] == [1, 2]
        (refused,) = entries(database_url, INSTALLATION)[:1]
        assert (refused["status_code"], refused["code"]) == (429, "server_busy")

    def test_what_finds_no_room_is_lost_and_the_next_entry_says_so(
        self,
        open_hub: Callable[[str], Client],
        town: District,
        database_url: str,
        admin: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(audit_book, "ROOM", 3)
        monkeypatch.setattr(audit_book, "PAUSE", 0.05)
        with open_hub(database_url) as hub:
            monkeypatch.setattr(audit_book, "PAUSE", 1.5)
            hub.get(USERS, town.key)  # the task is about to pause for long
            for _ in range(6):
                hub.get(USERS, town.key)
            until(lambda: len(turned(hub, database_url, town)) == 3)
            hub.get(USERS, town.key)
            assert "rosterhub_audit_lost_total 4.0" in hub.get("/metrics", admin).text
        *before, last = entries(database_url, town.tenant_id)
        lost = [entry["lost"] for entry in (*before, last)]
        assert sum(filter(None, lost)) == 4
        assert last["seq"] == 8

    def test_a_batch_that_the_database_will_never_take_is_given_up_and_told_of(
        self, database_url: str, town: District
    ) -> None:
        def seen(records: int) -> Seen:
            speaker = Speaker(town.tenant_id, "key", "abcdefghijkl")
            now = datetime.now(UTC)
            return Seen(speaker, "GET", USERS, "::1", 200, None, now, records, {}, "", "0" * 32)

        async def write() -> None:
            database = Database(database_url, size=2, query_timeout=5)
            await database.open()
            book = Book(database, CollectorRegistry())
            await book.process_startup(None, None)
            for records in (1, 2**80, 3):
                book.take(seen(records))
                await asyncio.sleep(2 * audit_book.PAUSE)
            await book.process_shutdown(None, None)
            await database.close()

        asyncio.run(write())
        one, three = entries(database_url, town.tenant_id)
        assert [(e["seq"], e["records"], e["lost"]) for e in (one, three)] == [
            (1, 1, None),
            (3, 3, 1),
        ]
        assert three["previous"] == one["hash"]

    def test_a_process_that_is_asked_to_stop_writes_what_it_has(
        self, serve: Serve, town: District, database_url: str
    ) -> None:
        server = serve()
        assert server.request("GET", USERS, town.key).status_code == 200
        server.process.terminate()
        server.process.wait(20)
        (entry,) = entries(database_url, town.tenant_id)
        assert entry["records"] == 3

    def test_a_download_that_nobody_reads_to_its_end_is_written_down(self) -> None:
        async def leave() -> list[str]:
            told: list[str] = []

            async def pieces() -> AsyncIterator[bytes]:
                yield b"a"
                yield b"b"

            stream = to_its_end(pieces(), lambda: told.append("then"))
            async for _ in stream:
                break
            del stream
            await asyncio.sleep(0.01)
            return told

        assert asyncio.run(leave()) == ["then"]


def turned(hub: Client, url: str, district: District) -> list[Entry]:
    hub.get("/health/live")
    return entries(url, district.tenant_id)


class TestRights:
    """What the app role may do to its own entries."""

    @pytest.fixture
    def some(self, hub: Client, town: District, written: Written) -> District:
        hub.get(USERS, town.key)
        written(town.tenant_id)
        return town

    def test_nobody_who_serves_changes_or_deletes_an_entry(
        self, books: Books, some: District
    ) -> None:
        for role in ("rosterhub_app", "rosterhub_control"):
            for statement in (
                "update audit set records = 0",
                "delete from audit",
                "truncate audit",
                "delete from audit_chains",
            ):
                with (
                    pytest.raises(psycopg.errors.InsufficientPrivilege),
                    books.connected(role, some.tenant_id) as db,
                ):
                    db.execute(statement.encode())

    def test_a_district_reads_its_own_entries_and_the_control_role_none(
        self, books: Books, some: District, south: District
    ) -> None:
        with books.connected("rosterhub_app", south.tenant_id) as db:
            assert db.execute("select count(*) from audit").fetchone() == (0,)
        with books.connected("rosterhub_app", some.tenant_id) as db:
            assert db.execute("select count(*) from audit").fetchone() == (1,)
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            books.connected("rosterhub_control") as db,
        ):
            db.execute("select from audit")

    def test_the_function_that_forgets_spares_the_last_thirty_days(
        self, books: Books, some: District, database_url: str
    ) -> None:
        (entry,) = entries(database_url, some.tenant_id)
        call = "select forget_audit(%s, %s, 1, 10)"
        with books.connected("rosterhub_control") as db:
            assert db.execute(call, [some.tenant_id, entry["chain"]]).fetchone() == (0,)
        with psycopg.connect(database_url) as owner:
            owner.execute("update rosterhub.audit set at = now() - interval '31 days'")
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            books.connected("rosterhub_app", some.tenant_id) as db,
        ):
            db.execute(call, [some.tenant_id, entry["chain"]])
        with books.connected("rosterhub_control") as db:
            assert db.execute(call, [some.tenant_id, entry["chain"]]).fetchone() == (1,)
