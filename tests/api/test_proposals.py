"""Review as people do it: look at what would change, leave some of it out, approve or reject."""

import csv
import io
import json
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from falcon.testing import Result

from api import proposals
from api.spreadsheets import BOM
from schemas.jobs import ImportRoster, Job
from schemas.proposals import day_of
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District, Once
from tests.pipeline.conftest import TOWN, Package
from tests.pipeline.test_rekey import renamed
from workers.imports import Importer
from workers.objects import open_store

PATH = "/api/v1/imports"
WEST = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}
CHANGED = (
    TOWN.change("users", "taro", {"givenName": "太朗", "grades": "P2,P3", "email": "=1+1"})
    .change("classes", "c3", {"metadata.x": "new"})
    .put("orgs", WEST)
    .drop("enrollments", "e2")
)


class Town:
    """A district that imports through the gateway; workers come when they are called."""

    def __init__(self, hub: Client, district: District, worker: Importer) -> None:
        self.hub, self.district, self.worker = hub, district, worker

    def work(self) -> None:
        while self.worker.attempt(self.district.tenant_id):
            pass

    def get(self, path: str) -> Any:  # noqa: ANN401  # whatever the JSON is
        answer = self.hub.get(path, self.district.key)
        assert answer.status_code == 200, answer.text
        return answer.json

    def send(self, package: Package, query: str = "", name: str = "roster.zip") -> Result:
        sent = {"Content-Type": "application/zip", "X-Filename": name}
        return self.hub.post(f"{PATH}{query}", self.district.key, body=package.zip(), headers=sent)

    def push(self, package: Package, query: str = "", name: str = "roster.zip") -> dict[str, Any]:
        answer = self.send(package, query, name)
        assert answer.status_code == 202, answer.text
        self.work()
        run: dict[str, Any] = self.get(answer.headers["Location"])
        return run

    def review(self, package: Package) -> dict[str, Any]:
        run = self.push(package, "?apply=review")
        assert run["state"] == "review", run
        return run

    def answer(self, run: dict[str, Any], word: str, body: object = None) -> Result:
        return self.hub.post(f"{PATH}/{run['id']}/{word}", self.district.key, json=body)

    def run(self, run: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"{PATH}/{run['id']}")
        return found

    def items(self, path: str) -> list[dict[str, Any]]:
        found = []
        at: str | None = path
        while at:
            page = self.get(at)
            found += page["items"]
            at = page["next"]
        return found


Settle: TypeAlias = Callable[[District], Town]


@pytest.fixture
def settle(hub: Client, settings: Settings) -> Settle:
    store = open_store(settings.object_store)
    worker = Importer(settings, store, lambda _: None, "test", threading.Event())
    return lambda district: Town(hub, district, worker)


@pytest.fixture
def empty(settle: Settle, north: District) -> Town:
    return settle(north)


@pytest.fixture
def town(empty: Town, once: Once) -> Town:
    """A town with one version of its roster."""

    def push() -> None:
        assert empty.push(TOWN)["version"] == 1

    once("town", push)
    return empty


class TestAsked:
    def test_review_is_asked_for_with_the_package(self, town: Town) -> None:
        run = town.review(CHANGED)
        assert (run["apply"], run["base_version"], run["version"]) == ("review", 1, None)
        assert run["preview"]["orgs"]["created"] == 1
        assert run["links"]["diff"] == f"{PATH}/{run['id']}/diff"
        assert town.get("/api/v1/versions")["items"][0]["version"] == 1

    def test_or_by_the_policy_of_the_district(self, town: Town) -> None:
        answer = town.hub.ask(
            "PATCH", "/api/v1/policy", town.district.key, json={"apply": "review"}
        )
        assert answer.status_code == 200, answer.text
        assert town.push(CHANGED)["state"] == "review"
        assert town.push(CHANGED, "?apply=at_once")["state"] == "applied"

    @pytest.mark.parametrize("query", ["?apply=never", "?as_of=20260401", "?as_of=2026-02-30"])
    def test_anything_else_is_refused(self, town: Town, query: str) -> None:
        assert town.send(CHANGED, query).status_code == 400

    def test_a_package_has_a_day(self, empty: Town) -> None:
        name = "RO_20260405_01.zip"
        assert empty.push(TOWN, "", name)["as_of"] == "2026-04-05"
        assert empty.push(TOWN, "?as_of=2026-04-06", name)["as_of"] == "2026-04-06"
        assert empty.push(TOWN)["as_of"] is None
        run = empty.push(TOWN, "", "RO_20260404_01.zip")
        assert run["state"] == "held"
        (reason,) = run["guard"]["reasons"]
        assert reason["code"] == "older_package"
        assert "2026-04-06" in reason["message"]["ja"]

    def test_a_name_that_is_no_day_tells_none(self) -> None:
        assert str(day_of("ro_20260401_131237.zip")) == "2026-04-01"
        for name in (
            None,
            "roster.zip",
            "RO_20261301.zip",
            "RO_202604011.zip",
            "x_RO_20260401.zip",
        ):
            assert day_of(name) is None

    def test_a_retry_asks_the_same(self, town: Town) -> None:
        run = town.push(CHANGED, "?apply=review&as_of=2026-05-01")
        assert town.answer(run, "reject").status_code == 200
        again = town.answer(run, "retry")
        assert again.status_code == 202
        assert (again.json["apply"], again.json["as_of"]) == ("review", "2026-05-01")


class TestShown:
    def test_each_change_has_before_and_after_by_field(self, town: Town) -> None:
        run = town.review(CHANGED)
        found = {
            (each["entity"], each["sourcedId"]): each
            for each in town.items(f"{PATH}/{run['id']}/diff?limit=1")
        }
        assert {key: each["change"] for key, each in found.items()} == {
            ("orgs", "west"): "created",
            ("classes", "c3"): "updated",
            ("users", "taro"): "updated",
            ("enrollments", "e2"): "deleted",
        }
        assert found["users", "taro"]["fields"] == {
            "givenName": {"before": "太郎", "after": "太朗"},
            "grades": {"before": ["P1"], "after": ["P2", "P3"]},
            "email": {"before": None, "after": "=1+1"},
        }
        assert found["orgs", "west"]["fields"]["name"] == {"before": None, "after": "西小学校"}
        assert found["enrollments", "e2"]["fields"]["role"] == {"before": "student", "after": None}

    def test_it_is_the_diff_of_the_version_that_comes_of_it(self, town: Town) -> None:
        run = town.review(CHANGED)
        before = town.items(f"{PATH}/{run['id']}/diff")
        town.answer(run, "approve", {"diff": run["diff"]})
        town.work()
        version = town.run(run)["version"]
        assert town.items(f"/api/v1/versions/{version}/diff") == before
        assert town.items(f"{PATH}/{run['id']}/diff") == before

    def test_filters(self, town: Town) -> None:
        run = town.review(CHANGED)
        expected = {
            "entity=users": {"taro"},
            "change=created": {"west"},
            "change=deleted": {"e2"},
            "school=south": {"c3", "e2"},
            "school=north": {"taro"},
            "school=west": {"west"},
            "school=nowhere": set(),
            "school=south&change=deleted": {"e2"},
        }
        for query, keys in expected.items():
            found = town.items(f"{PATH}/{run['id']}/diff?{query}")
            assert {each["sourcedId"] for each in found} == keys, query

    def test_schools_follow_the_people(self, town: Town) -> None:
        run = town.review(
            TOWN.change("demographics", "taro", {"sex": "female"}).drop("roles", "r-teacher2")
        )
        for school, keys in (("north", {"taro", "r-teacher2"}), ("south", set())):
            found = town.items(f"{PATH}/{run['id']}/diff?school={school}")
            assert {each["sourcedId"] for each in found} == keys

    def test_a_first_load_is_all_new(self, empty: Town) -> None:
        run = empty.review(TOWN)
        found = empty.items(f"{PATH}/{run['id']}/diff?limit=3")
        assert len(found) == sum(len(rows) for rows in TOWN.rows.values())
        assert {each["change"] for each in found} == {"created"}

    def test_counts_by_school_are_paged(self, town: Town) -> None:
        run = town.review(CHANGED)
        path = f"{PATH}/{run['id']}/preview"
        page = town.get(path)
        assert (page["diff"], page["counts"]) == (run["diff"], run["preview"])
        found = {(row["school"], row["entity"]): row for row in town.items(f"{path}?limit=1")}
        assert set(found) == {
            ("north", "users"),
            ("south", "classes"),
            ("south", "enrollments"),
            ("west", "orgs"),
        }
        assert found["south", "enrollments"]["deleted"] == 1
        assert len(town.items(f"{path}?school=south")) == 2
        assert len(town.items(f"{path}?entity=orgs")) == 1

    def test_a_download_is_safe_in_excel_and_whole_as_ndjson(
        self, town: Town, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(proposals, "PAGE", 1)
        run = town.review(CHANGED)
        path = f"{PATH}/{run['id']}/diff"
        lines = town.hub.get(f"{path}.ndjson", town.district.key).text.splitlines()
        assert [json.loads(line) for line in lines] == town.items(path)
        body = town.hub.get(f"{path}.csv?lang=ja", town.district.key).content
        assert body.startswith(BOM)
        head, *rows = csv.reader(io.StringIO(body.decode("utf-8-sig")))
        assert head == ["ファイル", "sourcedId", "変更", "項目", "前", "後"]
        assert ["users", "taro", "変更", "email", "", "'=1+1"] in rows

    def test_before_is_what_it_was_shown_for(self, town: Town) -> None:
        run = town.review(CHANGED)
        before = town.items(f"{PATH}/{run['id']}/diff")
        delta = TOWN.only().delta("users", {**TOWN.row("users", "taro"), "givenName": "別"})
        assert town.push(delta)["version"] == 2
        assert town.run(run)["state"] == "review"
        assert town.items(f"{PATH}/{run['id']}/diff") == before

    def test_a_run_that_has_not_waited_shows_nothing(self, town: Town) -> None:
        run = town.push(CHANGED)
        for rest in ("diff", "diff.csv", "diff.ndjson", "preview"):
            answer = town.hub.get(f"{PATH}/{run['id']}/{rest}", town.district.key)
            assert (answer.status_code, answer.json["code"]) == (409, "nothing_shown")

    def test_what_is_deleted_is_gone(self, town: Town, books: Books) -> None:
        run = town.review(CHANGED)
        with books.connected("rosterhub_app") as connection:
            names = connection.execute(
                "select tablename from pg_tables where schemaname = 'rosterhub_staging'"
            ).fetchall()
            for (name,) in names:
                connection.execute(f"drop table rosterhub_staging.{name}")  # ours
        answer = town.hub.get(f"{PATH}/{run['id']}/diff", town.district.key)
        assert (answer.status_code, answer.json["code"]) == (410, "diff_deleted")
        assert town.get(f"{PATH}/{run['id']}/preview")["counts"] == run["preview"]


class TestAnswers:
    def test_an_approval_rings_and_is_applied(self, town: Town, jobs: list[Job]) -> None:
        run = town.review(CHANGED)
        jobs.clear()
        answer = town.answer(run, "approve", {"diff": run["diff"]})
        assert (answer.status_code, answer.json["state"]) == (202, "queued")
        assert answer.json["decision"]["kind"] == "approve"
        assert answer.json["decision"]["by"]
        assert answer.json["decision"]["at"]
        town.work()
        done = town.run(run)
        assert (done["state"], done["version"]) == ("applied", 2)
        assert all(isinstance(job, ImportRoster) for job in jobs)
        assert done["counts"]["orgs"]["created"] == 1

    def test_another_hash_is_refused(self, town: Town) -> None:
        run = town.review(CHANGED)
        answer = town.answer(run, "approve", {"diff": "0" * 64})
        assert (answer.status_code, answer.json["code"]) == (409, "diff_changed")
        assert town.run(run)["state"] == "review"

    def test_a_roster_that_has_moved_is_named_with_both_versions(self, town: Town) -> None:
        run = town.review(CHANGED)
        town.push(TOWN.only().delta("orgs", {**TOWN.row("orgs", "south"), "name": "新南小学校"}))
        answer = town.answer(run, "approve", {"diff": run["diff"]})
        assert (answer.status_code, answer.json["code"]) == (409, "base_moved")
        assert (answer.json["version"], answer.json["base_version"]) == (2, 1)
        assert "version 2" in answer.json["detail"]
        assert "version 1" in answer.json["detail"]
        assert town.run(run)["state"] == "review"

    def test_a_rejection_drops_it_and_says_who(self, town: Town) -> None:
        run = town.review(CHANGED)
        answer = town.answer(run, "reject")
        assert (answer.status_code, answer.json["state"]) == (200, "rejected")
        assert answer.json["decision"]["kind"] == "reject"
        assert answer.json["finished_at"] is not None
        assert town.answer(run, "reject").status_code == 200
        for word, body in (("approve", {"diff": run["diff"]}), ("exclusions", {"schools": ["x"]})):
            answer = town.answer(run, word, body)
            assert (answer.status_code, answer.json["code"]) == (409, "not_waiting")
            assert "rejected" in answer.json["detail"]

    def test_a_run_that_does_not_wait_cannot_be_answered(self, town: Town) -> None:
        run = town.push(CHANGED)
        bodies = {"approve": {"diff": "x"}, "exclusions": {"entities": ["orgs"]}, "reject": None}
        for word, body in bodies.items():
            answer = town.answer(run, word, body)
            assert (answer.status_code, answer.json["code"]) == (409, "not_waiting"), word
            assert "applied" in answer.json["detail"]

    def test_bodies_that_make_no_sense_are_refused(self, town: Town) -> None:
        run = town.review(CHANGED)
        bodies: list[tuple[str, object]] = [
            ("approve", {}),
            ("approve", {"diff": 1}),
            ("approve", {"diff": "x", "more": 1}),
            ("approve", {"diff": "x", "except": {"schools": "north"}}),
            ("exclusions", {}),
            ("exclusions", {"entities": ["nothing"]}),
            ("exclusions", {"schools": ["a\0"]}),
        ]
        for word, body in bodies:
            assert town.answer(run, word, body).status_code == 422, body
        assert town.run(run)["state"] == "review"

    def test_two_approvals_are_one(self, town: Town) -> None:
        run = town.review(CHANGED)
        assert town.answer(run, "approve", {"diff": run["diff"]}).status_code == 202
        again = town.answer(run, "approve", {"diff": run["diff"]})
        assert (again.status_code, again.json["code"]) == (409, "not_waiting")

    def test_a_waiting_run_is_cancelled_like_any_other(self, town: Town) -> None:
        run = town.review(CHANGED)
        assert town.answer(run, "cancel").json["state"] == "cancelled"

    def test_a_waiting_run_keeps_nobody_waiting(self, town: Town) -> None:
        run = town.review(CHANGED)
        newer = town.push(CHANGED)
        assert newer["state"] == "applied"
        assert newer["supersedes"]["run"] == run["id"]
        assert newer["supersedes"]["same"] is True
        old = town.run(run)
        assert (old["state"], old["superseded_by"]) == ("superseded", newer["id"])


class TestExclusions:
    def test_all_but_a_school(self, town: Town) -> None:
        run = town.review(CHANGED)
        given = {"schools": ["south"], "entities": []}
        assert town.answer(run, "exclusions", given).status_code == 202
        town.work()
        left = town.run(run)
        assert left["state"] == "review"
        found = left["exclusions"]
        assert found["except"] == given
        assert found["diff"] != left["diff"] == run["diff"]
        assert found["excluded"]["enrollments"]["deleted"] == 1
        unseen = {"diff": found["diff"], "except": {"schools": ["north"]}}
        assert town.answer(run, "approve", unseen).json["code"] == "diff_changed"
        whole = {"diff": run["diff"], "except": given}
        assert town.answer(run, "approve", whole).json["code"] == "diff_changed"
        seen = {"diff": found["diff"], "except": {"schools": ["south"]}}
        assert town.answer(run, "approve", seen).status_code == 202
        town.work()
        assert town.run(run)["state"] == "applied"
        changed = town.items("/api/v1/versions/2/diff")
        assert {each["sourcedId"] for each in changed} == {"west", "taro"}

    def test_nothing_left_out_is_still_an_answer(self, town: Town) -> None:
        run = town.review(CHANGED)
        town.answer(run, "exclusions", {"schools": ["south"]})
        town.work()
        assert town.answer(run, "approve", {"diff": run["diff"]}).status_code == 202
        town.work()
        assert len(town.items("/api/v1/versions/2/diff")) == 4


def test_another_district_neither_sees_nor_answers(
    town: Town, settle: Settle, south: District
) -> None:
    run = town.review(CHANGED)
    other = settle(south)
    for rest in ("preview", "diff", "diff.csv", "diff.ndjson"):
        assert other.hub.get(f"{PATH}/{run['id']}/{rest}", south.key).status_code == 404
    bodies = {
        "approve": {"diff": run["diff"]},
        "exclusions": {"schools": ["south"]},
        "reject": None,
    }
    for word, body in bodies.items():
        assert other.answer(run, word, body).status_code == 404
    assert town.run(run)["state"] == "review"


class TestRekey:
    """Every user of the town has another sourcedId."""

    USERS = renamed(TOWN, "users")

    @pytest.fixture
    def held(self, town: Town) -> dict[str, Any]:
        policy = {"guard": {"at_least": 1, "absent_files": False, "school_year": False}}
        town.hub.ask("PATCH", "/api/v1/policy", town.district.key, json=policy)
        run = town.push(self.USERS)
        assert run["state"] == "held", run
        return run

    def test_the_map_is_paged_and_downloaded(self, town: Town, held: dict[str, Any]) -> None:
        path = held["links"]["rekey"]
        found = town.items(f"{path}?limit=2")
        assert len(found) == len(TOWN.rows["users"])
        assert found[0] == {
            "entity": "users",
            "sourcedId": "new-father",
            "hubSourcedId": "father",
            "alike": ["userMasterIdentifier"],
        }
        assert town.items(f"{path}?entity=orgs") == []
        text = town.hub.get(f"{path}.csv?lang=en", town.district.key).content
        assert text.startswith(BOM)
        rows = [*csv.reader(io.StringIO(text.decode("utf-8-sig")))]
        assert rows[1] == ["users", "new-father", "father", "userMasterIdentifier"]
        lines = town.hub.get(f"{path}.ndjson", town.district.key).text.splitlines()
        assert [json.loads(line) for line in lines] == found

    def test_accepting_it_takes_two_steps_and_keeps_the_ids(
        self, town: Town, held: dict[str, Any]
    ) -> None:
        users = "/ims/oneroster/rostering/v1p2/users"
        before = town.hub.get(users, town.district.key)
        refused = town.answer(held, "approve", {"diff": held["diff"], "rekey": True})
        assert (refused.status_code, refused.json["code"]) == (409, "diff_changed")
        asked = town.answer(held, "rekey")
        assert asked.status_code == 202
        town.work()
        run = town.run(held)
        assert (run["state"], run["version"]) == ("held", None)
        assert run["rekey"]["rekeyed"] == {"users": len(TOWN.rows["users"])}
        assert run["rekey"]["diff"] != run["diff"]
        wrong = town.answer(held, "approve", {"diff": run["diff"], "rekey": True})
        assert (wrong.status_code, wrong.json["code"]) == (409, "diff_changed")
        done = town.answer(held, "approve", {"diff": run["rekey"]["diff"], "rekey": True})
        assert done.status_code == 202
        town.work()
        run = town.run(held)
        assert (run["state"], run["version"]) == ("applied", 2)
        after = town.hub.get(users, town.district.key)
        assert after.json == before.json
        assert town.push(self.USERS)["version"] == 2

    def test_aliases_are_listed_and_found_by_either_id(
        self, town: Town, held: dict[str, Any], south: District
    ) -> None:
        town.answer(held, "rekey")
        town.work()
        town.answer(held, "approve", {"diff": town.run(held)["rekey"]["diff"], "rekey": True})
        town.work()
        found = town.items("/api/v1/aliases?limit=2")
        assert len(found) == len(TOWN.rows["users"])
        taro = {
            "entity": "users",
            "sourcedId": "new-taro",
            "hubSourcedId": "taro",
            "version": 2,
        }
        for query in ("sourcedId=taro", "sourcedId=new-taro", "entity=users&sourcedId=taro"):
            assert town.items(f"/api/v1/aliases?{query}") == [taro]
        assert town.hub.get("/api/v1/aliases", south.key).json["items"] == []
        assert town.hub.get("/api/v1/aliases?entity=nothing", south.key).status_code == 400

    def test_it_is_accepted_for_the_whole_run(self, town: Town, held: dict[str, Any]) -> None:
        body = {"diff": "x", "rekey": True, "except": {"schools": ["north"], "entities": []}}
        assert town.answer(held, "approve", body).status_code == 422

    def test_a_run_without_a_map_has_none(self, town: Town) -> None:
        run = town.review(CHANGED)
        assert "rekey" not in run["links"]
        for answer in (
            town.hub.get(f"{PATH}/{run['id']}/rekey", town.district.key),
            town.answer(run, "rekey"),
        ):
            assert (answer.status_code, answer.json["code"]) == (409, "nothing_to_rekey")
