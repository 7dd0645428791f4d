"""Versions as people see them: what each did, where a record came from, and the way back."""

import csv
import io
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import uuid4

import pytest
from falcon.testing import Result

from api import diffs
from api.spreadsheets import BOM
from schemas.jobs import Job
from schemas.roster import BY_FILE, ROSTERING
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District, Once
from tests.pipeline.conftest import TOWN, Package
from workers.imports import Importer
from workers.objects import open_store

PATH = "/api/v1/versions"
ROOT = "/ims/oneroster/rostering/v1p2"
WEST = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}


@dataclass
class Town:
    """A district that imports and undoes through the gateway; workers come when they are called."""

    hub: Client
    district: District
    work: Callable[[], None]
    jobs: list[Job] = field(default_factory=list)

    def get(self, path: str) -> Any:  # noqa: ANN401  # whatever the JSON is
        answer = self.hub.get(path, self.district.key)
        assert answer.status_code == 200, answer.text
        return answer.json

    def push(self, package: Package) -> dict[str, Any]:
        sent = {"Content-Type": "application/zip", "X-Filename": "roster.zip"}
        answer = self.hub.post(
            "/api/v1/imports", self.district.key, body=package.zip(), headers=sent
        )
        assert answer.status_code == 202, answer.text
        return self.done(answer)

    def must(self, package: Package, version: int) -> None:
        assert self.push(package)["version"] == version

    def ask(self, path: str, **headers: str) -> Result:
        return self.hub.post(f"{PATH}/{path}", self.district.key, headers=headers)

    def undo(self, version: int) -> dict[str, Any]:
        answer = self.ask(f"{version}/undo")
        assert answer.status_code == 202, answer.text
        return self.done(answer)

    def done(self, answer: Result) -> dict[str, Any]:
        self.work()
        run: dict[str, Any] = self.get(answer.headers["Location"])
        return run

    def items(self, path: str) -> list[dict[str, Any]]:
        """Every item of a list, page after page."""
        found = []
        at: str | None = path
        while at:
            page = self.get(at)
            found += page["items"]
            at = page["next"]
        return found


Settle: TypeAlias = Callable[[District], Town]


@pytest.fixture
def settle(hub: Client, settings: Settings, jobs: list[Job]) -> Settle:
    store = open_store(settings.object_store)
    worker = Importer(settings, store, lambda _: None, "test", threading.Event())

    def make(district: District) -> Town:
        def work() -> None:
            while worker.attempt(district.tenant_id):
                pass

        return Town(hub, district, work, jobs)

    return make


@pytest.fixture
def town(settle: Settle, north: District, once: Once) -> Town:
    """A town with one version of its roster."""
    town = settle(north)
    once("town", lambda: town.must(TOWN, 1))
    return town


@pytest.fixture
def changed(town: Town, once: Once) -> Town:
    """The same with a second version."""
    once("changed", lambda: town.must(CHANGED, 2))
    return town


CHANGED = (
    TOWN.change("users", "taro", {"givenName": "太朗", "grades": "P2,P3", "email": "=1+1"})
    .change("roles", "r-teacher2", {"role": "aide"})
    .change("classes", "c3", {"metadata.x": "new", "metadata.jp.specialNeeds": "true"})
    .put("orgs", WEST)
    .drop("enrollments", "e2")
)


class TestList:
    def test_the_newest_comes_first_with_its_run_and_counts(self, town: Town) -> None:
        run = town.push(CHANGED)
        newest, first = town.items(PATH)
        assert (newest["version"], first["version"]) == (2, 1)
        assert (newest["run"], newest["kind"]) == (run["id"], "import")
        assert newest["counts"] == run["counts"]
        assert town.get(newest["links"]["run"])["id"] == run["id"]
        assert town.get(f"{PATH}/2") == newest
        assert newest["published_at"] > first["published_at"]
        assert (newest["undoes"], newest["undone_by"], newest["released_at"]) == (None, None, None)

    def test_pages_belong_together(self, town: Town) -> None:
        for name in "abc":
            town.push(TOWN.change("orgs", "south", {"name": name}))
        for limit in (1, 2, 4):
            found = [each["version"] for each in town.items(f"{PATH}?limit={limit}")]
            assert found == [4, 3, 2, 1]

    def test_what_is_no_version_is_missing(self, town: Town) -> None:
        for version in ("0", "2", "-1", "1.0", "x", "٣", "9" * 30):
            for rest in ("", "/diff", "/diff.csv", "/diff.ndjson"):
                answer = town.hub.get(f"{PATH}/{version}{rest}", town.district.key)
                assert (answer.status_code, answer.json["code"]) == (404, "unknownobject"), version
            for act in ("undo", "release"):
                assert town.ask(f"{version}/{act}").status_code == 404, version

    @pytest.mark.parametrize("cursor", ["x", "W10", "WyJhIl0", "Wy0xXQ"])
    def test_a_cursor_of_somebody_else_is_refused(self, town: Town, cursor: str) -> None:
        for path in (PATH, f"{PATH}/1/diff", "/api/v1/records/users/taro/timeline"):
            answer = town.hub.get(f"{path}?cursor={cursor}", town.district.key)
            assert (answer.status_code, answer.json["code"]) == (400, "bad_cursor"), path


class TestUndo:
    def test_a_version_is_taken_back_by_a_run(self, town: Town) -> None:
        before = roster(town)
        town.push(CHANGED)
        assert roster(town) != before
        run = town.undo(2)
        assert (run["kind"], run["state"], run["version"], run["upload"]) == (
            "undo", "applied", 3, None,
        )  # fmt: skip
        assert roster(town) == before
        undo, undone, _ = town.items(PATH)
        assert (undo["kind"], undo["undoes"], undone["undone_by"]) == ("undo", 2, 3)

    def test_the_bell_is_rung_once_the_run_is_there(self, town: Town) -> None:
        town.jobs.clear()
        answer = town.ask("1/undo")
        (job,) = town.jobs
        assert (job.tenant_id, str(getattr(job, "run_id", ""))) == (
            town.district.tenant_id,
            answer.json["id"],
        )
        assert answer.json["state"] == "queued"

    def test_asking_again_with_the_same_key_is_the_same_run(self, changed: Town) -> None:
        once = str(uuid4())
        first = changed.ask("2/undo", **{"Idempotency-Key": once})
        again = changed.ask("2/undo", **{"Idempotency-Key": once})
        changed.work()
        later = changed.ask("2/undo", **{"Idempotency-Key": once})
        assert first.json["id"] == again.json["id"] == later.json["id"]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert [each["version"] for each in changed.items(PATH)] == [3, 2, 1]
        other = changed.ask("1/undo", **{"Idempotency-Key": once})
        assert (other.status_code, other.json["code"]) == (422, "idempotency_key_reused")

    def test_what_is_undone_is_not_undone_again(self, changed: Town) -> None:
        changed.undo(2)
        answer = changed.ask("2/undo")
        assert (answer.status_code, answer.json["code"]) == (409, "already_undone")
        assert answer.json["undone_by"] == 3

    def test_two_that_were_asked_for_at_once_undo_once(self, changed: Town) -> None:
        first, second = changed.ask("2/undo"), changed.ask("2/undo")
        assert changed.done(first)["state"] == "applied"
        late = changed.done(second)
        assert (late["state"], late["findings"]) == ("rejected", {"error": 1})
        (found,) = changed.items(f"/api/v1/imports/{late['id']}/findings")
        assert found["rule"] == "undo.undone_already"
        assert "3" in found["message"]["ja"]

    def test_what_was_changed_since_is_told(self, town: Town) -> None:
        town.push(TOWN.change("users", "taro", {"givenName": "誤"}))
        town.push(TOWN.change("users", "taro", {"givenName": "正"}))
        run = town.undo(2)
        (found,) = town.items(f"/api/v1/imports/{run['id']}/findings")
        assert (found["rule"], found["sourcedId"]) == ("undo.changed_since", "taro")
        assert run["counts"]["users"]["unchanged"] == 1


class TestRelease:
    @pytest.mark.parametrize("named", [2, 3])
    def test_it_is_named_by_what_was_undone_or_by_the_undo(self, changed: Town, named: int) -> None:
        changed.undo(2)
        answer = changed.ask(f"{named}/release")
        assert (answer.status_code, answer.json["version"]) == (200, 3)
        assert answer.json["released_at"] is not None
        again = changed.ask(f"{named}/release")
        assert again.json == answer.json

    def test_what_is_not_undone_cannot_be_released(self, town: Town) -> None:
        answer = town.ask("1/release")
        assert (answer.status_code, answer.json["code"]) == (409, "not_undone")


class TestDiff:
    def test_each_change_has_its_fields_before_and_after(self, changed: Town) -> None:
        found = {(c["entity"], c["sourcedId"]): c for c in changed.items(f"{PATH}/2/diff")}
        assert {key: change["change"] for key, change in found.items()} == {
            ("orgs", "west"): "created",
            ("classes", "c3"): "updated",
            ("users", "taro"): "updated",
            ("roles", "r-teacher2"): "updated",
            ("enrollments", "e2"): "deleted",
        }
        assert found["users", "taro"]["fields"] == {
            "givenName": {"before": "太郎", "after": "太朗"},
            "grades": {"before": ["P1"], "after": ["P2", "P3"]},
            "email": {"before": None, "after": "=1+1"},
        }
        assert found["classes", "c3"]["fields"] == {
            "metadata.jp.specialNeeds": {"before": None, "after": "true"},
            "metadata.x": {"before": None, "after": "new"},
        }
        assert found["orgs", "west"]["fields"] == {
            "name": {"before": None, "after": "西小学校"},
            "type": {"before": None, "after": "school"},
            "parentSourcedId": {"before": None, "after": "board"},
        }
        deleted = found["enrollments", "e2"]["fields"]
        assert deleted["classSourcedId"] == {"before": "c3", "after": None}
        assert {values["after"] for values in deleted.values()} == {None}

    def test_it_stays_the_same_when_the_records_change_again(self, changed: Town) -> None:
        then = changed.items(f"{PATH}/2/diff")
        first = changed.items(f"{PATH}/1/diff")
        changed.push(TOWN.drop("demographics", "taro"))
        changed.undo(2)
        changed.push(CHANGED)
        assert changed.items(f"{PATH}/2/diff") == then
        assert changed.items(f"{PATH}/1/diff") == first

    def test_an_undo_is_the_diff_turned_around(self, changed: Town) -> None:
        changed.undo(2)
        there, back = (
            {(c["entity"], c["sourcedId"]): c for c in changed.items(f"{PATH}/{v}/diff")}
            for v in (2, 3)
        )
        assert there.keys() == back.keys()
        assert back["orgs", "west"]["change"] == "deleted"
        assert back["enrollments", "e2"]["fields"] == {
            "status": {"before": "tobedeleted", "after": "active"}
        }
        turned = back["users", "taro"]["fields"]
        assert {n: (v["after"], v["before"]) for n, v in turned.items()} == {
            n: (v["before"], v["after"]) for n, v in there["users", "taro"]["fields"].items()
        }

    def test_the_first_version_made_everything(self, town: Town) -> None:
        found = town.items(f"{PATH}/1/diff")
        assert {change["change"] for change in found} == {"created"}
        assert len(found) == sum(len(rows) for rows in TOWN.rows.values())
        ranks = [[e.file for e in ROSTERING].index(change["entity"]) for change in found]
        assert ranks == sorted(ranks)
        for entity in ROSTERING:
            ids = [c["sourcedId"] for c in found if c["entity"] == entity.file]
            assert ids == sorted(ids)

    @pytest.mark.parametrize("limit", [1, 2, 7])
    def test_pages_belong_together(self, town: Town, limit: int) -> None:
        whole = town.get(f"{PATH}/1/diff?limit=1000")
        assert whole["next"] is None
        assert town.items(f"{PATH}/1/diff?limit={limit}") == whole["items"]

    def test_it_can_be_narrowed(self, changed: Town) -> None:
        expected = {
            "entity=users": {"taro"},
            "change=created": {"west"},
            "change=deleted": {"e2"},
            "change=updated&entity=roles": {"r-teacher2"},
            "entity=courses": set(),
            "school=south": {"c3", "e2"},
            "school=west": {"west"},
            "school=north&change=updated": {"taro", "r-teacher2"},
            "school=nowhere": set(),
        }
        for query, keys in expected.items():
            path = f"{PATH}/2/diff?{query}&limit=1"
            assert {change["sourcedId"] for change in changed.items(path)} == keys, query
            rows = changed.hub.get(f"{PATH}/2/diff.ndjson?{query}", changed.district.key).text
            assert {json.loads(line)["sourcedId"] for line in rows.splitlines()} == keys, query

    @pytest.mark.parametrize("query", ["entity=nothing", "change=touched", "school=", "limit=0"])
    def test_a_filter_that_is_none_is_refused(self, town: Town, query: str) -> None:
        assert town.hub.get(f"{PATH}/1/diff?{query}", town.district.key).status_code == 400

    def test_a_moved_record_concerns_both_schools(self, town: Town) -> None:
        town.push(TOWN.change("classes", "c1", {"schoolSourcedId": "south"}))
        for school in ("north", "south"):
            (change,) = town.items(f"{PATH}/2/diff?school={school}&entity=classes")
            assert change["sourcedId"] == "c1"


class TestDownload:
    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(diffs, "PAGE", 2)

    def test_ndjson_has_what_the_pages_have(self, changed: Town) -> None:
        for version in (1, 2):
            answer = changed.hub.get(f"{PATH}/{version}/diff.ndjson", changed.district.key)
            assert answer.headers["Content-Type"] == "application/x-ndjson"
            assert [json.loads(line) for line in answer.text.splitlines()] == changed.items(
                f"{PATH}/{version}/diff"
            )

    @pytest.mark.parametrize(
        ("lang", "headings", "word"),
        [("en", "file sourcedId change field before after", "updated"),
         ("ja", "ファイル sourcedId 変更 項目 前 後", "変更")],
    )  # fmt: skip
    def test_csv_opens_in_excel_and_calculates_nothing(
        self, town: Town, lang: str, headings: str, word: str
    ) -> None:
        town.push(CHANGED)
        answer = town.hub.get(f"{PATH}/2/diff.csv?lang={lang}", town.district.key)
        assert answer.content.startswith(BOM)
        assert "version-2.csv" in answer.headers["Content-Disposition"]
        head, *rows = csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""))
        assert head == headings.split()
        assert ["users", "taro", word, "grades", "P1", "P2,P3"] in rows
        assert ["users", "taro", word, "email", "", "'=1+1"] in rows

    def test_a_page_that_is_just_full_is_followed_by_nothing(self, town: Town) -> None:
        town.push(
            TOWN.change("orgs", "south", {"name": "a"}).change("orgs", "north", {"name": "b"})
        )
        text = town.hub.get(f"{PATH}/2/diff.ndjson", town.district.key).text
        assert [json.loads(line)["sourcedId"] for line in text.splitlines()] == ["north", "south"]


class TestTimeline:
    PATH = "/api/v1/records/users/taro/timeline"

    def test_it_says_which_line_of_which_import_gave_each_value(self, changed: Town) -> None:
        new, old = changed.items(self.PATH)
        assert (new["version"], new["change"], new["upload"]) == (2, "updated", "roster.zip")
        assert (new["file"], new["line"]) == ("users.csv", 2)
        assert new["fields"]["givenName"] == {"before": "太郎", "after": "太朗"}
        assert (old["version"], old["change"], old["line"]) == (1, "created", 2)
        assert old["fields"]["givenName"] == {"before": None, "after": "太郎"}
        assert changed.get(new["links"]["run"])["version"] == 2

    def test_an_undo_and_a_deletion_have_no_line(self, changed: Town) -> None:
        changed.undo(2)
        restored = changed.items(self.PATH)[0]
        assert (restored["version"], restored["kind"], restored["undoes"]) == (3, "undo", 2)
        assert (restored["change"], restored["file"], restored["line"]) == ("updated", None, None)
        back, gone, made = changed.items("/api/v1/records/enrollments/e2/timeline")
        assert [each["change"] for each in (back, gone, made)] == ["updated", "deleted", "created"]
        assert gone["line"] is None
        assert made["line"] == 3

    def test_a_user_of_whom_a_part_changed_was_touched(self, town: Town) -> None:
        town.push(TOWN.change("roles", "r-teacher2", {"role": "aide"}))
        touched, made = town.items("/api/v1/records/users/teacher/timeline")
        assert (touched["version"], touched["change"], touched["fields"]) == (2, "touched", {})
        assert touched["line"] is None
        assert made["change"] == "created"
        role, _ = town.items("/api/v1/records/roles/r-teacher2/timeline")
        assert role["fields"] == {"role": {"before": "siteAdministrator", "after": "aide"}}

    def test_pages_belong_together(self, town: Town) -> None:
        for name in "abcd":
            town.push(TOWN.change("users", "taro", {"givenName": name}))
        whole = town.items(self.PATH)
        assert [each["version"] for each in whole] == [5, 4, 3, 2, 1]
        for limit in (1, 2, 5):
            assert town.items(f"{self.PATH}?limit={limit}") == whole

    def test_an_identifier_with_a_slash_is_sent_as_ever(self, town: Town) -> None:
        town.push(TOWN.put("orgs", {**WEST, "sourcedId": "w/1"}))
        town.push(TOWN)
        path = "/api/v1/records/orgs/w%2F1/timeline?limit=1"
        assert [each["change"] for each in town.items(path)] == ["deleted", "created"]

    @pytest.mark.parametrize("path", ["users/nobody", "nothing/taro", "results/taro", "users/%00"])
    def test_what_never_was_is_missing(self, town: Town, path: str) -> None:
        answer = town.hub.get(f"/api/v1/records/{path}/timeline", town.district.key)
        assert (answer.status_code, answer.json["code"]) == (404, "unknownobject")


class TestWhoMay:
    def test_only_who_may_import_sees_what_imports_did(self, town: Town, books: Books) -> None:
        reader = books.key(town.district.tenant_id, scopes=("roster.read", "roster.demographics"))
        for path in ("", "/1", "/1/diff", "/1/diff.csv", "/1/diff.ndjson"):
            assert town.hub.get(f"{PATH}{path}", reader).status_code == 403
        for act in ("undo", "release"):
            assert town.hub.post(f"{PATH}/1/{act}", reader).status_code == 403
        assert town.hub.get("/api/v1/records/users/taro/timeline", reader).status_code == 403

    def test_another_district_has_its_own(
        self, town: Town, settle: Settle, south: District
    ) -> None:
        town.push(CHANGED)
        other = settle(south)
        other.push(TOWN.change("users", "taro", {"givenName": "南"}))
        assert [each["version"] for each in other.items(PATH)] == [1]
        assert other.ask("2/undo").status_code == 404
        assert "太朗" not in json.dumps(
            [other.items(f"{PATH}/1/diff"), other.items("/api/v1/records/users/taro/timeline")]
        )
        town.undo(2)
        assert other.items("/api/v1/records/users/taro/timeline")[0]["version"] == 1


def roster(town: Town) -> dict[str, list[dict[str, Any]]]:
    """What an LMS reads of the active records, their instants left out."""
    found = {}
    for entity in ("orgs", "classes", "users", "enrollments"):
        rows = town.get(f"{ROOT}/{entity}?limit=1000")[BY_FILE[entity].file]
        found[entity] = [
            {name: value for name, value in row.items() if name != "dateLastModified"}
            for row in rows
            if row["status"] == "active"
        ]
    return found
