"""Exports as a client asks for them, watches them and fetches them; and single files at once."""

import csv
import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import requests
from falcon.testing import Result
from psycopg.types.json import Jsonb

from pipeline import export_files
from pipeline.database import connect
from schemas.jobs import Job, WriteExport
from schemas.roster.people import User
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from schemas.tickets import Ticket, issue
from tests.api.conftest import Books, Client, District, Serve, secret
from workers.exports import Exporter
from workers.objects import open_store

EXPORTS = "/api/v1/exports"
SCHEDULES = "/api/v1/schedules"
STREAM = "/ims/oneroster/v1p2/csv/export"
AT = "2026-04-01T00:00:00Z"


def org(name: str, **more: object) -> dict[str, Any]:
    return {"sourced_id": name, "name": f"{name}校", "type": "school", **more}


def person(name: str, **more: object) -> dict[str, Any]:
    names = {"given_name": "太郎", "family_name": "山田"}
    return {"sourced_id": name, "enabled_user": True, "username": name, **names, **more}


@pytest.fixture
def rows(books: Books, north: District) -> int:
    """A version of a small roster."""
    return books.publish(
        north.tenant_id,
        {
            "orgs": [org("south"), org("north", parent_sourced_id=None)],
            "users": [
                person("b", grades=["P1"], metadata={"x": '1,"2"'}),
                person("a", status="tobedeleted"),
            ],
            "demographics": [{"sourced_id": "b", "sex": "male"}],
        },
        AT,
    )


Work = Callable[[District], None]


@pytest.fixture
def work(settings: Settings) -> Work:
    """Let a worker make the district's exports."""
    store = open_store(settings.object_store)
    exporter = Exporter(settings, store, lambda _: None, "test", threading.Event())

    def every(district: District) -> None:
        while exporter.attempt(district.tenant_id):
            pass

    return every


def asked(hub: Client, key: str, once: str | None = None, **wanted: object) -> Result:
    headers = {"Idempotency-Key": once} if once else None
    return hub.post(EXPORTS, key, json=wanted, headers=headers)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


class TestAsking:
    def test_an_export_is_a_run_that_rings_and_can_be_watched_and_fetched(
        self, hub: Client, north: District, rows: int, work: Work, jobs: list[Job]
    ) -> None:
        answer = asked(hub, north.key, entities=["users", "orgs"], profile="JP-1.2.1")
        assert answer.status_code == 202
        run = answer.json
        assert answer.headers["Location"] == f"{EXPORTS}/{run['id']}"
        assert jobs == [WriteExport(tenant_id=north.tenant_id, export_id=UUID(run["id"]))]
        assert (run["state"], run["package"], run["wanted"]["entities"]) == (
            *("queued", None),
            ["orgs", "users"],
        )
        early = hub.get(f"{EXPORTS}/{run['id']}/download", north.key)
        assert (early.status_code, early.json["code"]) == (409, "not_completed")
        work(north)
        done = hub.get(f"{EXPORTS}/{run['id']}", north.key).json
        assert (done["state"], done["version"], done["profile"], done["counts"]) == (
            *("completed", rows, "JP-1.2.1"),
            {"orgs": 2, "users": 1},
        )
        again = hub.post(f"{EXPORTS}/{run['id']}/cancel", north.key)
        assert (again.status_code, again.json["code"]) == (409, "already_ended")
        address = hub.get(f"{EXPORTS}/{run['id']}/download", north.key).json
        assert address["sha256"] == done["package"]["sha256"]
        assert address["url"].startswith("https://hub.example.org/api/v1/downloads/")
        data = hub.get(urlsplit(address["url"]).path).content
        assert hashlib.sha256(data).hexdigest() == address["sha256"]
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.namelist() == ["manifest.csv", "orgs.csv", "users.csv"]
            (only,) = read(archive.read("users.csv").decode())
            assert (only["sourcedId"], only["metadata.x"]) == ("b", '1,"2"')

    @pytest.mark.usefixtures("rows")
    def test_the_same_key_means_the_same_export(
        self, hub: Client, north: District, jobs: list[Job]
    ) -> None:
        first = asked(hub, north.key, "once", entities=["users"])
        second = asked(hub, north.key, "once", entities=["users"])
        assert second.json["id"] == first.json["id"]
        assert second.headers["Idempotent-Replayed"] == "true"
        assert len(jobs) == 1
        other = asked(hub, north.key, "once", entities=["orgs"])
        assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")

    @pytest.mark.usefixtures("rows")
    def test_what_makes_no_sense_is_refused(self, hub: Client, north: District) -> None:
        for wanted, status in (
            ({"entities": ["pupils"]}, 422),
            ({"entities": []}, 422),
            ({"mode": "delta"}, 422),
            ({"since": 1}, 422),
            ({"mode": "delta", "since": 2}, 400),
            ({"mode": "delta", "since": -1}, 422),
            ({"mode": "delta", "since": "-1"}, 422),
            ({"mode": "delta", "since": 1.5}, 422),
            ({"mode": "delta", "since": "2999-01-01T00:00:00Z"}, 400),
            ({"mode": "delta", "since": "2026-04-01T00:00:00"}, 422),
            ({"profile": "1.1"}, 422),
            ({"encoding": "utf-16"}, 422),
            ({"schools": ["nowhere"]}, 422),
            ({"schools": ["a b"]}, 422),
            ({"strange": True}, 422),
        ):
            assert asked(hub, north.key, **wanted).status_code == status, wanted

    @pytest.mark.usefixtures("rows")
    def test_an_instant_becomes_the_version_that_stood_then(
        self, hub: Client, north: District
    ) -> None:
        since = [
            asked(hub, north.key, mode="delta", since=moment).json["wanted"]["since"]
            for moment in (AT, "2026-03-31T23:59:59Z", 1, 0)
        ]
        assert since == [1, 0, 1, 0]

    @pytest.mark.usefixtures("rows")
    def test_the_history_is_of_the_own_district_newest_first_and_can_be_narrowed(
        self, hub: Client, north: District, south: District, work: Work
    ) -> None:
        ids = [asked(hub, north.key).json["id"] for _ in range(3)]
        assert hub.post(f"{EXPORTS}/{ids[0]}/cancel", north.key).json["state"] == "cancelled"
        work(north)
        first = hub.get(f"{EXPORTS}?limit=2", north.key).json
        rest = hub.get(first["next"], north.key).json
        assert [each["id"] for each in first["items"] + rest["items"]] == ids[::-1]
        assert rest["next"] is None
        found = hub.get(f"{EXPORTS}?state=cancelled", north.key).json["items"]
        assert [each["id"] for each in found] == [ids[0]]
        assert hub.get(f"{EXPORTS}?schedule={uuid4()}", north.key).json["items"] == []
        assert hub.get(EXPORTS, south.key).json["items"] == []
        for path in (f"{EXPORTS}/{ids[1]}", f"{EXPORTS}/{ids[1]}/download", f"{EXPORTS}/x"):
            assert hub.get(path, south.key).status_code == 404
        assert hub.get(f"{EXPORTS}?state=applied", north.key).status_code == 400

    @pytest.mark.usefixtures("rows")
    def test_demographics_need_their_own_right_to_ask_for_and_to_fetch(
        self, hub: Client, north: District, books: Books, work: Work
    ) -> None:
        reader = books.key(north.tenant_id, ("roster.read",))
        nobody = books.key(north.tenant_id, ("imports", "settings"))
        assert asked(hub, nobody).status_code == 403
        assert asked(hub, reader, entities=["demographics"]).status_code == 403
        own = asked(hub, reader).json
        assert "demographics" not in own["wanted"]["entities"]
        whole = asked(hub, north.key).json
        work(north)
        assert hub.get(f"{EXPORTS}/{own['id']}/download", reader).status_code == 200
        assert hub.get(f"{EXPORTS}/{whole['id']}/download", reader).status_code == 403
        assert hub.get(f"{EXPORTS}/{whole['id']}/download", north.key).status_code == 200
        assert hub.get(f"{STREAM}/demographics", reader).status_code == 403


class TestClients:
    def test_a_client_exports_what_its_lens_shows_and_sees_its_own_exports_only(
        self, hub: Client, north: District, books: Books, rows: int, work: Work
    ) -> None:
        lens = Jsonb({"schools": ["south"], "pseudonyms": ["sourcedIds"], "fields": ["agents"]})
        reader = books.client(north.tenant_id, lens=lens)
        token, other = reader.token(hub), books.client(north.tenant_id).token(hub)
        pupil = {"user_sourced_id": "b", "role_type": "primary", "role": "student"}
        seen = [{"sourced_id": "r", "org_sourced_id": "south", **pupil}]
        books.publish(
            north.tenant_id, {"roles": seen, "users": [person("c")]}, "2026-04-02T00:00:00Z"
        )

        (streamed,) = read(hub.get(f"{STREAM}/users", token).text)
        assert (streamed["sourcedId"][:2], streamed["grades"]) == ("p_", "P1")
        assert read(hub.get(f"{STREAM}/demographics", token).text) == []
        assert [row["sourcedId"] for row in read(hub.get(f"{STREAM}/orgs", token).text)] == [
            "south"
        ]
        delta = read(hub.get(f"{STREAM}/users/delta?since=1", token).text)
        assert [(row["sourcedId"], row["status"]) for row in delta] == [
            (streamed["sourcedId"], "active")
        ], "who came into sight by a role"

        own, whole = asked(hub, token, "once").json, asked(hub, north.key).json
        named = asked(hub, north.key, client=reader.id).json
        work(north)
        assert (own["client"], whole["client"], named["client"]) == (reader.id, None, reader.id)
        assert {e["id"] for e in hub.get(EXPORTS, token).json["items"]} == {own["id"], named["id"]}
        assert len(hub.get(EXPORTS, north.key).json["items"]) == 3
        assert hub.get(EXPORTS, other).json["items"] == []
        for path in ("", "/download", "/events"):
            assert hub.get(f"{EXPORTS}/{whole['id']}{path}", token).status_code == 404
        assert hub.post(f"{EXPORTS}/{whole['id']}/cancel", token).status_code == 404
        assert asked(hub, other, "once").status_code == 422, "a key is of one client"
        assert asked(hub, other, client=reader.id).status_code == 403
        assert asked(hub, north.key, client="nobody").status_code == 422
        for run in (own, named):
            address = hub.get(f"{EXPORTS}/{run['id']}/download", token).json["url"]
            data = hub.get(urlsplit(address).path).content
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                (only,) = read(archive.read("users.csv").decode())
            assert only["sourcedId"] == streamed["sourcedId"]
        schedule = {"name": "x", "cron": "0 3 * * *", "client": reader.id}
        assert hub.post(SCHEDULES, north.key, json=schedule).json["client"] == reader.id
        assert hub.post(SCHEDULES, token, json=schedule).status_code == 403
        assert rows == 1


@dataclass(frozen=True)
class Offered:
    """A completed export, the path of its file, and its bytes."""

    id: str
    path: str
    data: bytes
    tag: str


@pytest.fixture
def offered(hub: Client, north: District, rows: int, work: Work) -> Offered:
    assert rows == 1
    export_id = asked(hub, north.key).json["id"]
    work(north)
    address = hub.get(f"{EXPORTS}/{export_id}/download", north.key).json
    path = urlsplit(address["url"]).path
    return Offered(export_id, path, hub.get(path).content, f'"{address["sha256"]}"')


class TestDownloads:
    def test_a_file_says_what_it_is(self, hub: Client, offered: Offered) -> None:
        answer = hub.get(offered.path)
        name = answer.headers["Content-Disposition"]
        assert name.startswith('attachment; filename="RO_20')
        assert (answer.headers["Content-Type"], answer.headers["Accept-Ranges"]) == (
            *("application/zip", "bytes"),
        )
        assert answer.headers["ETag"] == offered.tag
        assert int(answer.headers["Content-Length"]) == len(offered.data)
        assert answer.headers["Cache-Control"] == "no-store"
        head = hub.ask("HEAD", offered.path)
        assert (head.content, head.headers["ETag"]) == (b"", offered.tag)
        known = hub.get(offered.path, headers={"If-None-Match": offered.tag})
        assert (known.status_code, known.content) == (304, b"")

    def test_a_part_is_given_and_what_is_no_range_is_passed_over(
        self, hub: Client, offered: Offered
    ) -> None:
        for asked_for, begin, end in (
            ("bytes=0-0", 0, 1),
            ("bytes=10-19", 10, 20),
            ("bytes=10-", 10, None),
            ("bytes=-7", -7, None),
            ("bytes=10-999999999", 10, None),
            ("bytes=0-1,5-6", None, None),
            ("bytes=5-1", None, None),
            ("lines=1-2", None, None),
            ("bytes=-", None, None),
        ):
            answer = hub.get(offered.path, headers={"Range": asked_for})
            assert answer.content == offered.data[begin:end], asked_for
            assert answer.status_code == (200 if begin is None else 206), asked_for
            if begin is not None:
                first = begin % len(offered.data)
                last = first + len(answer.content) - 1
                told = f"bytes {first}-{last}/{len(offered.data)}"
                assert answer.headers["Content-Range"] == told

    def test_beyond_the_end_there_is_nothing_and_of_another_file_there_is_no_rest(
        self, hub: Client, offered: Offered
    ) -> None:
        for beyond in (f"bytes={len(offered.data)}-", "bytes=-0"):
            answer = hub.get(offered.path, headers={"Range": beyond})
            assert answer.status_code == 416
            assert answer.headers["Content-Range"] == f"bytes */{len(offered.data)}"
        for tag, status in ((offered.tag, 206), ('"other"', 200), (f"W/{offered.tag}", 200)):
            answer = hub.get(offered.path, headers={"Range": "bytes=5-", "If-Range": tag})
            assert answer.status_code == status, tag

    def test_an_address_is_for_one_file_and_for_a_day(
        self, hub: Client, north: District, offered: Offered, settings: Settings
    ) -> None:
        root, _, ticket = offered.path.rpartition("/")
        flipped = ("A" if ticket[0] != "A" else "B") + ticket[1:]
        strange = Vault("another secret that is long enough to be one")
        mine, late = Vault(secret(settings)), datetime.now(UTC) - timedelta(seconds=1)
        soon = datetime.now(UTC) + timedelta(hours=1)
        own = UUID(offered.id)
        for text, status in (
            (flipped, 404),
            ("x", 404),
            ("é", 404),
            (issue(strange, Ticket(north.tenant_id, own, soon)), 404),
            (issue(mine, Ticket(north.tenant_id, uuid4(), soon)), 404),
            (issue(mine, Ticket(north.tenant_id + 1, own, soon)), 404),
            (issue(mine, Ticket(north.tenant_id, own, late)), 410),
            (issue(mine, Ticket(north.tenant_id, own, soon)), 200),
        ):
            assert hub.get(f"{root}/{text}").status_code == status, text
        expires = hub.get(f"{EXPORTS}/{offered.id}/download", north.key).json["expires_at"]
        left = datetime.fromisoformat(expires) - datetime.now(UTC)
        assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)

    def test_a_file_that_is_deleted_is_gone_for_every_address(
        self, hub: Client, north: District, offered: Offered, settings: Settings
    ) -> None:
        with connect(plain(settings.database_url)) as db:
            export_files.wipe(db, open_store(settings.object_store), north.tenant_id)
        answer = hub.get(offered.path)
        assert (answer.status_code, answer.json["code"]) == (410, "export_deleted")
        assert hub.get(f"{EXPORTS}/{offered.id}/download", north.key).status_code == 410
        package = hub.get(f"{EXPORTS}/{offered.id}", north.key).json["package"]
        assert package["deleted_at"] is not None

    @pytest.mark.usefixtures("rows")
    def test_what_a_client_was_shown_is_not_given_out_under_another_lens(
        self, hub: Client, north: District, books: Books, work: Work
    ) -> None:
        client = books.client(north.tenant_id)
        token = client.token(hub)
        address = f"{EXPORTS}/{asked(hub, token).json['id']}/download"
        work(north)
        path = urlsplit(hub.get(address, token).json["url"]).path
        assert hub.get(path).status_code == 200
        narrowed = hub.ask(
            "PUT", f"/api/v1/clients/{client.id}/lens", north.key, json={"schools": ["south"]}
        )
        assert narrowed.status_code == 200
        for answer in (hub.get(path), hub.get(address, token), hub.get(address, north.key)):
            assert (answer.status_code, answer.json["code"]) == (410, "lens_changed")
        again = f"{EXPORTS}/{asked(hub, token).json['id']}/download"
        work(north)
        assert hub.get(urlsplit(hub.get(again, token).json["url"]).path).status_code == 200

    def test_a_download_is_in_the_audit_under_who_asked_for_its_address(
        self, hub: Client, north: District, books: Books, offered: Offered, work: Work
    ) -> None:
        client = books.client(north.tenant_id)
        token = client.token(hub)
        own = asked(hub, token).json["id"]
        work(north)
        path = urlsplit(hub.get(f"{EXPORTS}/{own}/download", token).json["url"]).path
        for each in (offered.path, path, f"{path}x"):
            hub.get(each)
        hub.get(path, headers={"Range": "bytes=9999999-"})

        def fetched() -> list[tuple[str, str, str | None, int]]:
            items = hub.get("/api/v1/audit?limit=200", north.key).json["items"]
            return [
                (item["party"], item["who"], item["target"], item["status"])
                for item in items
                if item["route"] == "/api/v1/downloads/{ticket}"
            ]

        deadline = time.monotonic() + 5
        while len(found := fetched()) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        expected: list[tuple[str, str, str | None, int]] = [
            ("client", client.id, None, 416),
            ("client", client.id, own, 200),
            *[("key", north.key.split("_")[2], offered.id, 200)] * 2,
        ]
        assert sorted(found, key=str) == sorted(expected, key=str)


class TestStreams:
    def test_one_file_comes_at_once_with_its_version(
        self, hub: Client, north: District, rows: int
    ) -> None:
        answer = hub.get(f"{STREAM}/users", north.key)
        assert answer.headers["X-RosterHub-Version"] == str(rows)
        assert answer.headers["Content-Type"].startswith("text/csv")
        (only,) = read(answer.text)
        assert (only["sourcedId"], only["status"], only["grades"]) == ("b", "", "P1")
        japanese = hub.get(f"{STREAM}/users?profile=PSE-6.00&metadata=false", north.key).text
        assert japanese.splitlines()[1].startswith('"b","","","true","b",""')
        assert "metadata.x" not in japanese
        marked = hub.get(f"{STREAM}/orgs?encoding=utf-8-bom&schools=south", north.key)
        assert marked.content.startswith(b"\xef\xbb\xbfsourcedId")
        assert [row["sourcedId"] for row in read(marked.content.decode("utf-8-sig"))] == ["south"]
        empty = hub.get(f"{STREAM}/classes", north.key).text
        assert empty.endswith("\r\n")
        assert empty.count("\r\n") == 1

    @pytest.mark.usefixtures("rows")
    def test_a_delta_has_what_changed_behind_a_version(
        self, hub: Client, north: District, books: Books
    ) -> None:
        books.publish(north.tenant_id, {"users": [person("c")]}, "2026-04-02T00:00:00.5Z")
        found = read(hub.get(f"{STREAM}/users/delta?since=1", north.key).text)
        assert [(r["sourcedId"], r["status"], r["dateLastModified"]) for r in found] == [
            ("c", "active", "2026-04-02T00:00:00.500Z")
        ]
        every = read(hub.get(f"{STREAM}/users/delta?since=2026-03-01T00:00:00Z", north.key).text)
        assert [(r["sourcedId"], r["status"]) for r in every] == [
            *(("a", "tobedeleted"), ("b", "active"), ("c", "active"))
        ]

    @pytest.mark.usefixtures("rows")
    def test_what_makes_no_sense_is_refused_in_the_shape_of_the_standard(
        self, hub: Client, north: District
    ) -> None:
        for path, status in (
            ("pupils", 404),
            ("users?since=1", 400),
            ("users/delta", 400),
            ("users/delta?since=9", 400),
            ("users/delta?since=yesterday", 400),
            ("users?encoding=cp932", 400),
            ("users?profile=1.1", 422),
            ("users?schools=nowhere", 422),
            ("users?metadata=no", 400),
        ):
            answer = hub.get(f"{STREAM}/{path}", north.key)
            assert answer.status_code == status, path
            assert "imsx_codeMajor" in answer.json

    def test_a_long_file_is_one_version_though_newer_ones_come_meanwhile(
        self, north: District, books: Books, serve: Serve
    ) -> None:
        many = 12_000
        books.publish(north.tenant_id, {}, AT)
        with books.connected("rosterhub_app", north.tenant_id) as connection:
            connection.execute(
                "insert into users (tenant_id, sourced_id, status, enabled_user, username,"
                " given_name, version, created_version, digest)"
                " select %s, 'u' || lpad(n::text, 6, '0'), 'active', true, n, repeat('x', 2000), 1,"
                " 1, gen_random_uuid() from generate_series(1, %s) as n",
                [north.tenant_id, many],
            )
        server = serve()
        run = server.request("POST", EXPORTS, north.key, json={}).json()
        server.request("POST", f"{EXPORTS}/{run['id']}/cancel", north.key)
        told = server.request("GET", f"{EXPORTS}/{run['id']}/events", north.key).text
        assert [line for line in told.splitlines() if line.startswith("event:")] == [
            *("event: snapshot", "event: export_ended")
        ]
        with slowly(server.url, north.key) as arriving:
            first = next(arriving)
            with books.connected("rosterhub_app", north.tenant_id) as connection:
                names = ", ".join(f'"{c.name}"' for c in User.stored())
                names += ", tenant_id, version, created_version, digest"
                keep = f"insert into users_history ({names}, until_version) select {names}, 2"
                late = " where substr(sourced_id, 2)::integer > 9000"
                connection.execute(f"{keep} from users{late}".encode())
                connection.execute(
                    f"update users set version = 2, given_name = 'new'{late}".encode()
                )
                connection.execute("update districts set version = 2")
            text = (first + b"".join(arriving)).decode()
        found = read(text)
        assert len(found) == many
        assert [row["sourcedId"] for row in found] == sorted(row["sourcedId"] for row in found)
        assert {row["givenName"] for row in found} == {"x" * 2000}


@contextmanager
def slowly(url: str, key: str) -> Iterator[Iterator[bytes]]:
    """The pieces of a file, which nobody reads on before the next one is asked for."""
    bearer = {"Authorization": f"Bearer {key}", "Connection": "close"}
    with requests.get(f"{url}{STREAM}/users", headers=bearer, stream=True, timeout=20) as answer:
        assert answer.headers["X-RosterHub-Version"] == "1"
        yield answer.iter_content(65536)


class TestSchedules:
    def test_a_schedule_is_made_shown_changed_and_deleted(
        self, hub: Client, north: District
    ) -> None:
        body = {
            "name": "毎晩",
            "cron": "30  2 * * *",
            "export": {"mode": "delta", "profile": "JP-1.2.1"},
        }
        answer = hub.post(SCHEDULES, north.key, json=body)
        assert answer.status_code == 201
        made = answer.json
        assert (made["cron"], made["time_zone"], made["enabled"]) == (
            *("30 2 * * *", "Asia/Tokyo"),
            True,
        )
        due = datetime.fromisoformat(made["next_at"])
        assert (due.hour, due.minute) == (17, 30), "half past two in Tokyo"
        assert timedelta() < due - datetime.now(UTC) <= timedelta(days=1)
        path = f"{SCHEDULES}/{made['id']}"
        assert hub.get(path, north.key).json == made
        off = hub.ask("PATCH", path, north.key, json={"enabled": False}).json
        assert (off["next_at"], off["enabled"]) == (None, False)
        on = hub.ask("PATCH", path, north.key, json={"enabled": True, "time_zone": "UTC"}).json
        assert datetime.fromisoformat(on["next_at"]).hour == 2
        renamed = hub.ask("PATCH", path, north.key, json={"name": "夜"}).json
        assert (renamed["name"], renamed["next_at"]) == ("夜", on["next_at"])
        assert hub.get(SCHEDULES, north.key).json == {"items": [renamed], "next": None}
        assert hub.delete(path, north.key).status_code == 204
        assert hub.get(path, north.key).status_code == 404
        assert hub.delete(path, north.key).status_code == 404

    def test_the_time_zone_is_the_districts_and_a_list_has_pages(
        self, hub: Client, north: District, south: District
    ) -> None:
        hub.ask("PATCH", "/api/v1/policy", north.key, json={"time_zone": "Pacific/Auckland"})
        body = {"name": "x", "cron": "0 0 * * 1"}
        ids = [hub.post(SCHEDULES, north.key, json=body).json["id"] for _ in range(3)]
        assert hub.get(f"{SCHEDULES}/{ids[0]}", north.key).json["time_zone"] == "Pacific/Auckland"
        assert hub.get(f"{SCHEDULES}/{ids[0]}", south.key).status_code == 404
        first = hub.get(f"{SCHEDULES}?limit=2", north.key).json
        rest = hub.get(first["next"], north.key).json
        assert [each["id"] for each in first["items"] + rest["items"]] == ids
        bad = hub.ask("PATCH", "/api/v1/policy", north.key, json={"time_zone": "Mars/Base"})
        assert bad.status_code == 422

    def test_what_never_comes_or_makes_no_sense_is_refused(
        self, hub: Client, north: District
    ) -> None:
        for wrong in (
            {"cron": "* * * *"},
            {"cron": "* * * * * *"},
            {"cron": "@daily"},
            {"cron": "61 * * * *"},
            {"cron": "0 0 30 2 *"},
            {"time_zone": "Tokyo"},
            {"export": {"mode": "delta", "since": 1}},
            {"export": {"schools": ["nowhere"]}},
            {"name": " "},
        ):
            body = {"name": "x", "cron": "0 3 * * *", **wrong}
            assert hub.post(SCHEDULES, north.key, json=body).status_code == 422, wrong

    def test_it_needs_the_right_to_settle_things(
        self, hub: Client, north: District, books: Books
    ) -> None:
        reader = books.key(north.tenant_id, ("roster.read",))
        assert hub.get(SCHEDULES, reader).status_code == 403
