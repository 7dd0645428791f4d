"""Erasures as people ask for them: accepted, done in their turn, with a receipt, and for good."""

import json
import threading
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from falcon.testing import Result

from schemas.jobs import ImportRoster, Job
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District
from tests.api.test_versions import Town
from tests.pipeline.conftest import TOWN
from workers.imports import Importer
from workers.objects import open_store

PATH = "/api/v1/erasures"
ROOT = "/ims/oneroster/rostering/v1p2"
ASKED = {"users": ["taro"], "reference": "2026-17"}

Ask = Callable[..., Result]


@pytest.fixture
def town(hub: Client, settings: Settings, jobs: list[Job], north: District) -> Town:
    """A town with one version of its roster."""
    store = open_store(settings.object_store)
    worker = Importer(settings, store, lambda _: None, "test", threading.Event())

    def work() -> None:
        while worker.attempt(north.tenant_id):
            pass

    town = Town(hub, north, work, jobs)
    assert town.push(TOWN)["version"] == 1
    jobs.clear()
    return town


@pytest.fixture
def ask(town: Town) -> Ask:
    def asked(body: object = ASKED, **headers: str) -> Result:
        return town.hub.post(PATH, town.district.key, json=body, headers=headers)

    return asked


@pytest.fixture
def done(town: Town, ask: Ask) -> dict[str, Any]:
    """An erasure that is done, as it is read then."""
    return town.done(ask())


class TestRequest:
    def test_it_is_accepted_as_a_run_that_waits_its_turn(self, town: Town, ask: Ask) -> None:
        answer = ask()
        assert answer.status_code == 202
        assert answer.headers["Location"] == f"{PATH}/{answer.json['id']}"
        assert answer.json["state"] == "queued"
        assert (answer.json["users"], answer.json["reference"]) == (["taro"], "2026-17")
        assert (answer.json["keep_out"], answer.json["receipt"]) == (True, None)
        (bell,) = town.jobs
        assert isinstance(bell, ImportRoster)
        assert str(bell.run_id) == answer.json["id"]

    def test_to_ask_again_with_the_same_key_asks_once(self, ask: Ask) -> None:
        once = {"Idempotency-Key": "one"}
        first, again = ask(**once), ask(**once)
        assert again.json["id"] == first.json["id"]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert ask({"users": ["hana"]}, **once).status_code == 422

    def test_the_key_of_an_import_is_none_of_an_erasure(self, town: Town, ask: Ask) -> None:
        sent = {"Content-Type": "application/zip", "Idempotency-Key": "one"}
        key = town.district.key
        town.hub.post("/api/v1/imports", key, body=TOWN.zip(), headers=sent)
        assert ask(**{"Idempotency-Key": "one"}).json["code"] == "idempotency_key_reused"

    def test_what_may_hold_a_name_is_refused(self, ask: Ask) -> None:
        bodies: tuple[object, ...] = (
            {},
            {"users": []},
            {"users": ["a b"]},
            {"users": ["a,b"]},
            {"users": ["a\u0000"]},
            {"users": ["x" * 256]},
            {"users": ["x"] * 1001},
            {"users": ["x"], "reference": "Yamada Taro"},
            {"users": ["x"], "reference": "Yamada"},
            {"users": ["x"], "reason": "moved"},
        )
        for body in bodies:
            answer = ask(body)
            assert answer.status_code == 422, body
            assert "Yamada" not in answer.text

    def test_it_takes_the_scope_of_who_decides(self, books: Books, town: Town) -> None:
        tenant_id = town.district.tenant_id
        for scopes, status in ((("imports", "roster.read"), 403), (("settings",), 202)):
            key = books.key(tenant_id, scopes=scopes)
            assert town.hub.post(PATH, key, json=ASKED).status_code == status


class TestReceipt:
    def test_it_says_what_was_wiped_and_proves_that_it_is_whole(self, done: dict[str, Any]) -> None:
        assert (done["state"], done["version"]) == ("applied", 2)
        receipt = done["receipt"]
        assert receipt["rows"]["users"] == 1
        assert receipt["files"] == {"uploads": 1, "lines": 18}
        assert (receipt["district"], receipt["reference"]) == ("north", "2026-17")
        said = {name: value for name, value in receipt.items() if name != "sha256"}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert sha256(text.encode()).hexdigest() == receipt["sha256"]

    def test_it_is_a_version_and_a_run(self, town: Town, done: dict[str, Any]) -> None:
        version = town.get(done["links"]["version"])
        assert (version["kind"], version["run"]) == ("erasure", done["id"])
        assert version["published_at"] == done["receipt"]["erased_at"]
        assert version["counts"]["users"] == {"deleted": 1, "erased": 1}
        run = town.get(done["links"]["run"])
        assert (run["kind"], run["state"], run["upload"]) == ("erasure", "applied", None)
        listed = town.get("/api/v1/imports?kind=erasure")["items"]
        assert [each["id"] for each in listed] == [done["id"]]

    def test_a_list_has_the_newest_first_page_by_page(self, town: Town, ask: Ask) -> None:
        ids = [ask({"users": [user]}).json["id"] for user in ("taro", "hana", "mother")]
        assert [each["id"] for each in town.items(f"{PATH}?limit=2")] == ids[::-1]

    def test_what_is_none_is_not_found(self, town: Town, done: dict[str, Any]) -> None:
        for other in ("x", str(uuid4()), town.get("/api/v1/versions/1")["run"]):
            answer = town.hub.get(f"{PATH}/{other}", town.district.key)
            assert answer.status_code == 404, done["id"]

    def test_another_district_sees_nothing_of_it(
        self, town: Town, books: Books, done: dict[str, Any]
    ) -> None:
        south = books.district("south")
        assert town.hub.get(PATH, south.key).json["items"] == []
        assert town.hub.get(f"{PATH}/{done['id']}", south.key).status_code == 404
        assert town.hub.post(f"{PATH}/{done['id']}/release", south.key).status_code == 404


class TestReaders:
    def test_now_and_then_there_is_an_id_and_a_mark(self, town: Town, done: dict[str, Any]) -> None:
        assert done["version"] == 2
        for query, status in (("", "tobedeleted"), ("?asOf=1", "active")):
            user = town.get(f"{ROOT}/users/taro{query}")["user"]
            assert user["status"] == status
            assert user["metadata"] == {"rosterhub": {"erased": "true"}, "jp": {"homeClass": "c1"}}
            assert (user["givenName"], user["familyName"]) == ("", "")
            assert {"username", "userIds", "agents"}.isdisjoint(user)
            assert user["grades"] == ["P1"], "lenses of grades see by it that he went"
        demographics = town.get(f"{ROOT}/demographics/taro?asOf=1")["demographics"]
        assert {"birthDate", "sex"}.isdisjoint(demographics)

    def test_timeline_and_diff_say_that_it_was_erased(
        self, town: Town, done: dict[str, Any]
    ) -> None:
        newest, first = town.items("/api/v1/records/users/taro/timeline")
        assert (newest["kind"], newest["change"]) == ("erasure", "deleted")
        assert first["fields"]["metadata.rosterhub.erased"]["after"] == "true"
        assert "givenName" not in first["fields"]
        changes = town.items(f"/api/v1/versions/{done['version']}/diff")
        assert {(each["entity"], each["sourcedId"], each["change"]) for each in changes} == {
            ("users", "taro", "deleted"),
            ("userProfiles", "p-taro", "deleted"),
            ("roles", "r-taro", "deleted"),
            ("demographics", "taro", "deleted"),
            ("enrollments", "e1", "deleted"),
            ("enrollments", "e2", "deleted"),
        }
        assert "太郎" not in json.dumps([first, newest, changes], ensure_ascii=False)

    def test_it_cannot_be_taken_back(self, town: Town, done: dict[str, Any]) -> None:
        answer = town.ask(f"{done['version']}/undo")
        assert (answer.status_code, answer.json["code"]) == (409, "erasure_stands")

    def test_the_upload_of_before_is_not_to_be_had(self, town: Town, done: dict[str, Any]) -> None:
        assert done["state"] == "applied"
        (run,) = town.get("/api/v1/imports?kind=import")["items"]
        assert run["upload"]["deleted_at"] is not None


class TestRelease:
    def test_packages_bring_back_who_is_released_and_nobody_before(
        self, town: Town, done: dict[str, Any]
    ) -> None:
        town.push(TOWN)
        assert town.get(f"{ROOT}/users/taro")["user"]["status"] == "tobedeleted"
        answer = town.hub.post(f"{PATH}/{done['id']}/release", town.district.key)
        assert answer.status_code == 200
        assert answer.json["released_at"] is not None
        town.push(TOWN)
        assert town.get(f"{ROOT}/users/taro")["user"]["givenName"] == "太郎"
        past = town.get(f"{ROOT}/users/taro?asOf=1")["user"]
        assert past["givenName"] == ""

    def test_one_that_keeps_nobody_out_has_nothing_to_release(self, town: Town, ask: Ask) -> None:
        found = town.done(ask({"users": ["taro"], "keep_out": False}))
        answer = town.hub.post(f"{PATH}/{found['id']}/release", town.district.key)
        assert (answer.status_code, answer.json["code"]) == (409, "not_kept_out")
