"""Mappings are saved whole or refused with every field that is wrong; every save is a version."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import Result

from deploy import cli
from pipeline.database import connect
from pipeline.limits import Limits
from pipeline.previewing import answer_due
from schemas.jobs import Job, PreviewMapping
from schemas.roster import ROSTERING
from schemas.templates import TEMPLATES
from tests.api.conftest import Books, Client, District, Serve

PATH = "/api/v1/mappings"
STANDARD = "/ims/oneroster/v1p2/mappings"
ORGS: dict[str, Any] = {
    "columns": {
        "sourcedId": [{"kind": "direct", "source": "番号"}],
        "name": [{"kind": "direct", "source": "名称"}, {"kind": "trim"}],
        "type": [{"kind": "constant", "value": "school"}],
    }
}
LOOKED_UP = {
    "columns": ORGS["columns"]
    | {"type": [{"kind": "direct", "source": "種別"}, {"kind": "lookup", "table": "types"}]}
}
SAMPLE = "番号,名称\n1, 第一小学校 \n2,\n".encode()


def put(hub: Client, key: str, path: str, body: object) -> Result:
    return hub.ask("PUT", f"{PATH}/{path}", key, json=body)


def fields(answer: Result) -> list[str]:
    assert answer.status_code == 422
    return [fault["field"] for fault in answer.json["errors"]]


def versions(hub: Client, key: str) -> list[int]:
    items = hub.get(f"{PATH}/orgs/versions", key).json["items"]
    return [item["version"] for item in items]


def test_whoever_saves_nothing_has_the_default(hub: Client, north: District) -> None:
    items = hub.get(PATH, north.key).json["items"]
    assert [item["entity"] for item in items] == [entity.file for entity in ROSTERING]
    assert {(item["version"], item["default"]) for item in items} == {(0, True)}
    shown = hub.get(f"{PATH}/orgs", north.key).json
    assert shown["mapping"]["columns"]["name"] == [{"kind": "direct", "source": "name"}]
    assert versions(hub, north.key) == []


def test_a_save_is_a_version_and_any_can_come_back(hub: Client, north: District) -> None:
    first = put(hub, north.key, "orgs", ORGS)
    assert (first.status_code, first.json["version"], first.json["default"]) == (200, 1, False)
    assert first.json["mapping"] == ORGS
    second = put(hub, north.key, "orgs", TEMPLATES["schools"].mapping.model_dump(mode="json")).json
    assert (second["version"], second["mapping"] == ORGS) == (2, False)
    assert hub.delete(f"{PATH}/orgs", north.key).status_code == 204
    assert hub.delete(f"{PATH}/orgs", north.key).status_code == 204  # nothing to reset any more
    assert hub.get(f"{PATH}/orgs", north.key).json["default"]
    assert versions(hub, north.key) == [3, 2, 1]
    assert hub.get(f"{PATH}/orgs/versions/2", north.key).json["mapping"] == second["mapping"]
    back = hub.post(f"{PATH}/orgs/versions/1/restore", north.key)
    assert (back.status_code, back.json["version"], back.json["restored_from"]) == (201, 4, 1)
    assert back.json["mapping"] == ORGS
    assert back.json["fingerprint"] == first.json["fingerprint"] != second["fingerprint"]
    current = {item["entity"]: item for item in hub.get(PATH, north.key).json["items"]}
    assert (current["orgs"]["version"], current["users"]["version"]) == (4, 0)


def test_a_mapping_comes_with_the_tables_it_names(hub: Client, north: District) -> None:
    for name in ("types", "others"):
        hub.ask("PUT", f"{PATH}/lookups/{name}", north.key, json={"entries": {"1": "school"}})
    assert put(hub, north.key, "orgs", LOOKED_UP).json["tables"] == {"types": {"1": "school"}}
    assert hub.get(f"{PATH}/orgs", north.key).json["tables"] == {"types": {"1": "school"}}
    assert hub.get(f"{PATH}/users", north.key).json["tables"] == {}
    assert put(hub, north.key, "orgs", ORGS).json["tables"] == {}
    hub.delete(f"{PATH}/lookups/types", north.key)
    assert hub.get(f"{PATH}/orgs/versions/1", north.key).json["tables"] == {}


def test_versions_come_page_by_page(hub: Client, north: District) -> None:
    for _ in range(3):
        put(hub, north.key, "orgs", ORGS)
    page = hub.get(f"{PATH}/orgs/versions?limit=2", north.key).json
    rest = hub.get(page["next"], north.key).json
    assert [item["version"] for item in page["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None
    assert hub.get(f"{PATH}/orgs/versions?cursor=x", north.key).status_code == 400


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, ["columns.sourcedId", "columns.name", "columns.type"]),
        (ORGS["columns"] | {"type": [{"kind": "constant", "value": "学校"}]}, ["columns.type"]),
        (
            ORGS["columns"] | {"nickname": [{"kind": "constant", "value": "x"}]},
            ["columns.nickname"],
        ),
        (ORGS["columns"] | {"identifier": [{"kind": "trim"}]}, ["columns.identifier.0"]),
        (LOOKED_UP["columns"], ["columns.type.1.table"]),
        (ORGS["columns"] | {"name": [{"kind": "script"}]}, ["columns.name.0"]),
        (ORGS["columns"] | {"name": []}, ["columns.name"]),
        ("all", ["columns"]),
    ],
)
def test_a_mapping_that_cannot_be_used_is_refused_with_its_fields(
    hub: Client, north: District, columns: object, said: list[str]
) -> None:
    assert fields(put(hub, north.key, "orgs", {"columns": columns})) == said
    assert versions(hub, north.key) == []


@pytest.mark.parametrize("path", ["cats", "resources", "users/versions/1", "users/versions/x"])
def test_what_is_not_there_is_404(hub: Client, north: District, path: str) -> None:
    assert hub.get(f"{PATH}/{path}", north.key).status_code == 404
    assert hub.get(f"{PATH}/users/versions/{'9' * 5000}", north.key).status_code == 404
    assert hub.get(f"{PATH}/templates/none", north.key).status_code == 404
    assert hub.get(f"{PATH}/previews/none", north.key).status_code == 404


def test_changes_need_the_scope_settings(hub: Client, books: Books, north: District) -> None:
    reader = books.key(north.tenant_id, scopes=("imports",))
    put(hub, north.key, "orgs", ORGS)
    for method, path in (
        ("PUT", "orgs"),
        ("DELETE", "orgs"),
        ("POST", "orgs/versions/1/restore"),
        ("PUT", "lookups/types"),
        ("DELETE", "lookups/types"),
    ):
        refused = hub.ask(method, f"{PATH}/{path}", reader, json=ORGS)
        assert (refused.status_code, refused.json.get("scope")) == (403, "settings"), path
    assert hub.get(f"{PATH}/orgs", reader).json["version"] == 1


def test_an_administrator_names_the_district(hub: Client, admin: str, north: District) -> None:
    named = {"X-RosterHub-District": "north"}
    assert hub.ask("PUT", f"{PATH}/orgs", admin, json=ORGS, headers=named).status_code == 200
    assert hub.ask("PUT", f"{PATH}/orgs", admin, json=ORGS).status_code == 400
    assert versions(hub, north.key) == [1]


def test_the_address_of_the_standard_is_the_same_mapping(hub: Client, north: District) -> None:
    assert hub.ask("PUT", f"{STANDARD}/orgs", north.key, json=ORGS).json["version"] == 1
    assert hub.get(f"{STANDARD}/orgs", north.key).json == hub.get(f"{PATH}/orgs", north.key).json
    refused = hub.ask("PUT", f"{STANDARD}/orgs", north.key, json={"columns": {}})
    assert (refused.status_code, refused.json["imsx_codeMajor"]) == (422, "failure")
    assert hub.delete(f"{STANDARD}/orgs", north.key).status_code == 404


def test_two_districts_have_their_own(hub: Client, north: District, south: District) -> None:
    put(hub, north.key, "lookups/types", {"entries": {"1": "school"}})
    put(hub, north.key, "orgs", LOOKED_UP)
    assert hub.get(f"{PATH}/orgs", south.key).json["version"] == 0
    assert hub.get(f"{PATH}/orgs/versions/1", south.key).status_code == 404
    assert hub.get(f"{PATH}/lookups/types", south.key).status_code == 404
    assert hub.get(f"{PATH}/lookups", south.key).json["items"] == []
    assert hub.delete(f"{PATH}/lookups/types", south.key).status_code == 404
    assert fields(put(hub, south.key, "orgs", LOOKED_UP)) == ["columns.type.1.table"]


class TestTables:
    def test_a_table_is_made_and_replaced(self, hub: Client, north: District) -> None:
        made = put(hub, north.key, "lookups/types", {"entries": {"1": "school"}})
        assert (made.status_code, made.json["version"]) == (200, 1)
        again = put(hub, north.key, "lookups/types", {"entries": {"1": "school", "2": "local"}})
        assert (again.json["version"], again.json["entries"]) == (2, {"1": "school", "2": "local"})
        assert hub.get(f"{PATH}/lookups/types", north.key).json == again.json
        (listed,) = hub.get(f"{PATH}/lookups", north.key).json["items"]
        assert (listed["name"], listed["entries"]) == ("types", 2)
        assert hub.delete(f"{PATH}/lookups/types", north.key).status_code == 204
        assert hub.get(f"{PATH}/lookups/types", north.key).status_code == 404

    def test_a_table_in_use_stays_and_stays_fit(self, hub: Client, north: District) -> None:
        put(hub, north.key, "lookups/types", {"entries": {"1": "school"}})
        before = put(hub, north.key, "orgs", LOOKED_UP).json["fingerprint"]
        refused = hub.delete(f"{PATH}/lookups/types", north.key)
        assert (refused.status_code, refused.json["entities"]) == (409, ["orgs"])
        unfit = put(hub, north.key, "lookups/types", {"entries": {"1": "学校"}})
        assert fields(unfit) == ["columns.type"]
        put(hub, north.key, "lookups/types", {"entries": {"1": "local"}})
        assert hub.get(f"{PATH}/orgs", north.key).json["fingerprint"] != before
        hub.delete(f"{PATH}/orgs", north.key)
        assert hub.delete(f"{PATH}/lookups/types", north.key).status_code == 204
        restored = hub.post(f"{PATH}/orgs/versions/1/restore", north.key)
        assert fields(restored) == ["columns.type.1.table"]

    def test_the_schools_of_the_district_fill_a_table(
        self, hub: Client, books: Books, north: District
    ) -> None:
        assert fields(put(hub, north.key, "lookups/schools", {"from": "schools"})) == ["from"]
        org = {"name": "第一", "type": "school"}
        rows = [
            org | {"sourced_id": "a", "identifier": "B127210000018"},
            org | {"sourced_id": "b", "identifier": "twice"},
            org | {"sourced_id": "c", "identifier": "twice"},
            org | {"sourced_id": "d", "identifier": "122211", "type": "district"},
        ]
        books.publish(north.tenant_id, {"orgs": rows}, "2026-04-01T00:00:00Z")
        made = put(hub, north.key, "lookups/schools", {"from": "schools"})
        assert made.json["entries"] == {"B127210000018": "a"}

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("Types", {"entries": {"1": "2"}}),
            ("t", {"entries": {}}),
            ("t", {"entries": {"": "x"}}),
            ("t", {"entries": {"a": 1}}),
            ("t", {"entries": {"a\n": "x"}}),
            ("t", {}),
            ("t", {"entries": {"1": "2"}, "from": "schools"}),
            ("t", {"from": "classes"}),
        ],
    )
    def test_what_is_no_table_is_refused(
        self, hub: Client, north: District, name: str, body: object
    ) -> None:
        assert fields(put(hub, north.key, f"lookups/{name}", body))
        assert hub.get(f"{PATH}/lookups", north.key).json["items"] == []


def test_templates_are_shown_with_a_sample(hub: Client, north: District) -> None:
    listed = hub.get(f"{PATH}/templates", north.key).json["items"]
    assert [item["id"] for item in listed] == [*TEMPLATES]
    for item in listed:
        shown = hub.get(f"{PATH}/templates/{item['id']}", north.key).json
        assert shown["sample"][0]
        assert set(shown["title"]) == {"ja", "en"}
        assert put(hub, north.key, shown["entity"], shown["mapping"]).status_code == 200


@pytest.fixture
def worker(database_url: str) -> Iterator[None]:
    """Somebody who makes previews."""
    over = threading.Event()

    def work() -> None:
        with (
            connect(database_url, role="rosterhub_control") as control,
            connect(database_url) as db,
        ):
            while not over.wait(0.02):
                answer_due(db, control, Limits())

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture
def hub_without_patience(
    open_hub: Callable[[str], Client], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    """A gateway that does not wait for a worker."""
    monkeypatch.setattr("api.app.PATIENCE", 0.0)
    with open_hub(database_url) as hub:
        yield hub


class TestPreview:
    path = f"{PATH}/orgs/preview"
    csv = frozenset({("Content-Type", "text/csv")})

    def post(self, hub: Client, key: str, query: str = "", body: bytes = SAMPLE) -> Result:
        return hub.post(f"{self.path}{query}", key, body=body, headers=dict(self.csv))

    @pytest.mark.usefixtures("worker")
    def test_rows_are_shown_before_and_after_with_what_is_wrong(
        self, hub: Client, books: Books, north: District, jobs: list[Job]
    ) -> None:
        put(hub, north.key, "orgs", ORGS)
        answer = self.post(hub, north.key)
        assert answer.status_code == 200
        assert answer.json["header"] == ["番号", "名称"]
        assert answer.json["columns"] == ["sourcedId", "name", "type"]
        assert answer.json["rows"] == [
            {"line": 2, "before": ["1", " 第一小学校 "], "after": ["1", "第一小学校", "school"]},
            {"line": 3, "before": ["2", None], "after": ["2", None, "school"]},
        ]
        (wrong,) = [f for f in answer.json["findings"] if f["severity"] == "error"]
        assert (wrong["line"], wrong["column"], wrong["source"]) == (3, "name", "名称")
        assert [type(job) for job in jobs] == [PreviewMapping]
        assert books.rows(north.tenant_id, "select id from mapping_previews") == []

    @pytest.mark.usefixtures("worker")
    def test_a_mapping_can_be_tried_before_it_is_saved(self, hub: Client, north: District) -> None:
        body = {"mapping": ORGS, "sample": SAMPLE.decode()}
        tried = hub.post(self.path, north.key, json=body).json
        assert tried["rows"][0]["after"] == ["1", "第一小学校", "school"]
        template = TEMPLATES["schools"]
        sample = "\r\n".join(template.sample).encode()
        tried = self.post(hub, north.key, "?template=schools&rows=1", sample).json
        assert len(tried["rows"]) == 1
        assert tried["rows"][0]["after"][0] == "B127210000018"
        put(hub, north.key, "orgs", ORGS)
        put(hub, north.key, "orgs", template.mapping.model_dump(mode="json"))
        old = self.post(hub, north.key, "?version=1").json
        assert old["rows"][0]["after"] == ["1", "第一小学校", "school"]
        assert versions(hub, north.key) == [2, 1]

    @pytest.mark.usefixtures("worker")
    def test_a_sample_that_cannot_be_read_is_a_finding(self, hub: Client, north: District) -> None:
        shown = self.post(hub, north.key, "?template=schools", '"名'.encode("cp932"))
        assert shown.status_code == 200
        assert shown.json["rows"] == []
        assert [f["rule"] for f in shown.json["findings"]] == ["csv.encoding"]

    def test_whoever_is_told_to_wait_asks_again_and_nobody_else(
        self, hub_without_patience: Client, database_url: str, north: District, south: District
    ) -> None:
        hub = hub_without_patience
        put(hub, north.key, "orgs", ORGS)
        told = self.post(hub, north.key)
        assert (told.status_code, told.json["state"]) == (202, "waiting")
        later = told.headers["Location"]
        assert hub.get(later, north.key).status_code == 202
        with (
            connect(database_url, role="rosterhub_control") as control,
            connect(database_url) as db,
        ):
            answer_due(db, control, Limits())
        ready = hub.get(later, north.key)
        assert (ready.status_code, len(ready.json["rows"])) == (200, 2)
        assert hub.get(later, south.key).status_code == 404

    def test_what_is_not_shown_is_not_kept(
        self, hub_without_patience: Client, north: District, books: Books
    ) -> None:
        self.post(hub_without_patience, north.key, "?rows=1&template=schools")
        ((sample,),) = books.rows(north.tenant_id, "select sample from mapping_previews")
        assert bytes(sample) == SAMPLE[: SAMPLE.index(b"2,")]

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("?rows=0", 400),
            ("?rows=x", 400),
            ("?mode=sideways", 400),
            ("?template=none", 404),
            ("?template=students", 400),
            ("?version=7", 404),
        ],
    )
    def test_what_cannot_be_shown_is_refused(
        self, hub: Client, north: District, query: str, status: int
    ) -> None:
        assert self.post(hub, north.key, query).status_code == status

    def test_a_body_that_is_none_is_refused(self, hub: Client, north: District) -> None:
        assert self.post(hub, north.key, body=b"").status_code in (411, 422)
        assert hub.post(self.path, north.key, body=b"x").status_code == 415
        assert fields(hub.post(self.path, north.key, json={"sample": ""})) == ["sample"]
        body = {"mapping": {"columns": {}}, "sample": "x"}
        assert "columns.name" in fields(hub.post(self.path, north.key, json=body))


class TestCommands:
    """`rosterhub mappings`, against a gateway over HTTP and somebody who makes previews."""

    @pytest.fixture(autouse=True)
    def elsewhere(
        self, serve: Serve, north: District, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("RH_URL", serve().url)
        monkeypatch.setenv("RH_KEY", north.key)
        monkeypatch.setenv("LC_ALL", "C.UTF-8")

    def says(self, capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
        assert cli.run(["mappings", *words]) == status, capsys.readouterr()
        said = capsys.readouterr()
        return said.out + said.err

    def test_a_mapping_is_saved_shown_restored_and_reset(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "schools" in self.says(capsys, "templates")
        Path("orgs.json").write_text(self.says(capsys, "templates", "schools", "--json"))
        assert "version 1" in self.says(capsys, "set", "orgs", "orgs.json")
        assert "version 2" in self.says(capsys, "set", "orgs", "--template", "schools")
        assert "学校コード → trim → width(ascii=half) → upper" in self.says(capsys, "show", "orgs")
        assert "version 3" in self.says(capsys, "restore", "orgs", "1")
        self.says(capsys, "reset", "orgs")
        listed = json.loads(self.says(capsys, "versions", "orgs", "--json"))["items"]
        assert [each["version"] for each in listed] == [4, 3, 2, 1]
        assert "orgs" in self.says(capsys, "list")
        old = json.loads(self.says(capsys, "show", "orgs", "--version", "1", "--json"))
        assert old["restored_from"] is None

    def test_what_is_refused_is_said_with_its_place(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("bad.json").write_text('{"columns": {}}')
        said = self.says(capsys, "set", "orgs", "bad.json", status=3)
        assert "columns.name is required and not mapped" in said
        assert "rosterhub mappings" in said
        Path("bad.json").write_text("[]")
        assert "not_json" in self.says(capsys, "set", "orgs", "bad.json", status=2)
        self.says(capsys, "set", "orgs", status=2)
        assert "enrollments" in self.says(capsys, "show", "cats", status=3)

    @pytest.mark.usefixtures("worker")
    def test_a_preview_shows_rows_and_ends_with_1_for_errors(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = "\n".join(TEMPLATES["schools"].sample)
        Path("schools.csv").write_bytes(lines.encode("cp932"))
        said = self.says(capsys, "preview", "orgs", "schools.csv", "--template", "schools")
        assert "CP932" in said
        assert "第一小学校" in said
        self.says(capsys, "set", "orgs", "--template", "schools")
        Path("schools.csv").write_text(lines + "\n?,,\n")
        said = self.says(capsys, "preview", "orgs", "schools.csv", status=1)
        assert "学校名" in said
        Path("mine.json").write_text(json.dumps(ORGS))
        Path("mine.csv").write_bytes(SAMPLE[: SAMPLE.index(b"2,")])
        words = ("preview", "orgs", "mine.csv", "--mapping", "mine.json", "--json")
        assert json.loads(self.says(capsys, *words))["rows"][0]["after"][1] == "第一小学校"

    def test_lookup_tables_come_and_go(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("types.json").write_text('{"1": "school"}')
        assert "1 entries" in self.says(capsys, "lookups", "types", "--set", "types.json")
        assert "types" in self.says(capsys, "lookups")
        assert "school" in self.says(capsys, "lookups", "types")
        self.says(capsys, "lookups", "schools", "--schools", status=3)
        self.says(capsys, "lookups", "types", "--delete")
        assert json.loads(self.says(capsys, "lookups", "--json"))["items"] == []
