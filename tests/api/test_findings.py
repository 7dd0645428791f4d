"""Findings as people use them: in numbers, by what to correct first, and as files."""

import csv
import io
import json
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import requests
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from api.findings_downloads import PAGE
from api.language import accepted
from api.spreadsheets import BOM
from deploy import cli
from pipeline import found
from pipeline.archive import Source
from pipeline.claims import Claim
from pipeline.database import connect, tenant
from pipeline.faults import Findings
from pipeline.limits import Limits
from pipeline.opening import File
from schemas import rules
from schemas.roster.people import User
from schemas.rules import Finding
from schemas.shapes import shape, shape_of_row
from tests.api.conftest import Books, Client, District, Serve

HEADER = tuple(column.csv for column in User.columns if not column.extension)
SUFFIXES = ("", "/groups", "/summary", "/rows?file=users.csv", ".csv", ".ndjson")


def a_row(sourced_id: str, given: str, school: str = "s-1") -> str:
    cells = dict.fromkeys(HEADER, "")
    cells |= {"sourcedId": sourced_id, "givenName": given, "primaryOrgSourcedId": school}
    return ",".join(cells.values())


def wrong(line: int, value: str = "ture", **more: object) -> Finding:
    given: dict[str, Any] = {
        "rule": rules.values.BOOLEAN,
        "file": "users.csv",
        "line": line,
        "column": "enabledUser",
        "sourced_id": f"u-{line}",
        "value": value,
        "row": a_row(f"u-{line}", "太郎"),
        "school": "s-1",
    }
    return Finding(**given | more)


def lost(line: int, value: str, caused_by: int | None = None) -> Finding:
    return Finding(
        rule=rules.records.REFERENCE,
        file="enrollments.csv",
        line=line,
        column="userSourcedId",
        sourced_id=f"e-{line}",
        value=value,
        facts={"target": "users.csv"},
        caused_by=caused_by,
    )


Keep = Callable[..., str]


@pytest.fixture
def keep(books: Books, tmp_path: Path) -> Keep:
    """Ends a run with findings, the way a worker does."""

    def run_with(district: District, *given: Finding, header: Sequence[str] = HEADER) -> str:
        run_id = books.run(district.tenant_id)
        store(books, district.tenant_id, run_id, given, header=header, folder=tmp_path)
        return run_id

    return run_with


def store(
    books: Books,
    tenant_id: int,
    run_id: str,
    given: Sequence[Finding],
    *,
    folder: Path,
    header: Sequence[str] = HEADER,
) -> None:
    findings = Findings(1_000_000)
    findings.add(given)
    source = Source("users.csv", 1, folder / "users.csv", zipped=False, limits=Limits())
    claim = Claim(tenant_id, UUID(run_id), attempt=1, fence=1)
    with connect(books.url) as db, tenant(db, tenant_id):
        found.save(db, claim, findings, [File(User, source, "bulk", tuple(header))])


def under(run_id: str, rest: str = "") -> str:
    return f"/api/v1/imports/{run_id}/findings{rest}"


def masked(books: Books, district: District) -> None:
    with books.connected("rosterhub_app", district.tenant_id) as connection:
        connection.execute(
            """update districts set policy = '{"finding_values": "masked"}' where tenant_id = %s""",
            [district.tenant_id],
        )


def sheet(data: bytes) -> list[list[str]]:
    """What Excel reads: a byte order mark, CRLF, and every cell quoted."""
    assert data.startswith(BOM)
    text = data.removeprefix(BOM).decode()
    assert text.endswith("\r\n")
    assert text.count("\n") == text.count("\r\n")
    for line in text.splitlines():
        assert line.startswith('"')
        assert line.endswith('"')
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


class TestList:
    def test_an_item_says_everything_about_a_finding(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        run_id = keep(north, wrong(2), wrong(3, caused_by=1, row=None, school=None))
        first, second = hub.get(under(run_id), north.key).json["items"]
        assert {n: first[n] for n in ("seq", "file", "line", "column", "sourcedId", "rule")} == {
            "seq": 1,
            "file": "users.csv",
            "line": 2,
            "column": "enabledUser",
            "sourcedId": "u-2",
            "rule": "value.boolean",
        }
        assert (first["severity"], first["value"], first["school"]) == ("error", "ture", "s-1")
        assert (first["causedBy"], first["row"]) == (None, a_row("u-2", "太郎"))
        for language in ("ja", "en"):
            assert "ture" in first["message"][language]
            assert first["hint"][language] in first["message"][language]
            assert first["docs"][language].endswith("#value.boolean")
        assert (second["causedBy"], second["row"], second["school"]) == (1, None, None)

    def test_the_first_page_says_how_much_there_is_and_the_next_does_not_count_again(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        given = [wrong(2), lost(2, "u-2", caused_by=1), lost(3, "u-2", caused_by=1)]
        page = hub.get(under(keep(north, *given), "?limit=2"), north.key).json
        head = page["summary"]
        assert (head["findings"], head["followers"], head["values"]) == (1, 2, "full")
        assert head["severities"] == {"error": {"findings": 1, "followers": 2}}
        assert {r["rule"]: (r["findings"], r["followers"]) for r in head["rules"]} == {
            "value.boolean": (1, 0),
            "reference.missing": (0, 2),
        }
        rest = hub.get(page["next"], north.key).json
        assert [item["seq"] for item in rest["items"]] == [3]
        assert (rest["next"], rest["summary"]) == (None, None)

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("?file=users.csv", [1, 4]),
            ("?rule=reference.missing", [2, 3]),
            ("?severity=warning", []),
            ("?school=s-2", [4]),
            ("?causes=only", [1, 4]),
            ("?causes=none", [2, 3]),
            ("?caused_by=1", [2, 3]),
            ("?group=1", [1, 2, 3]),
            ("?group=2&causes=only", [4]),
            ("?school=%00", []),
        ],
    )
    def test_filters_narrow_lists_and_downloads_alike(
        self, hub: Client, north: District, keep: Keep, query: str, expected: list[int]
    ) -> None:
        run_id = keep(
            north,
            wrong(2),
            lost(2, "u-2", caused_by=1),
            lost(3, "u-2", caused_by=1),
            wrong(5, school="s-2"),
        )
        items = hub.get(under(run_id, query), north.key).json["items"]
        assert [item["seq"] for item in items] == expected
        told = hub.get(under(run_id, f".ndjson{query}"), north.key).content.splitlines()
        assert [json.loads(line) for line in told] == items
        rows = sheet(hub.get(under(run_id, f".csv{query}"), north.key).content)[1:]
        assert [int(row[0]) for row in rows] == expected

    @pytest.mark.parametrize(
        "query",
        [
            "causes=some",
            "caused_by=x",
            "group=-1",
            "group=99999999999",
            "severity=fatal",
            "cursor=x",
        ],
    )
    def test_what_is_no_filter_is_refused(
        self, hub: Client, north: District, keep: Keep, query: str
    ) -> None:
        assert hub.get(under(keep(north), f"?{query}"), north.key).status_code == 400

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_a_run_without_findings_is_empty_everywhere(
        self, hub: Client, north: District, keep: Keep, suffix: str
    ) -> None:
        answer = hub.get(under(keep(north), suffix), north.key)
        assert answer.status_code == 200
        assert "sourcedId" not in answer.text or suffix == ".csv"

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_an_unknown_run_is_404_before_a_file_begins(
        self, hub: Client, north: District, suffix: str
    ) -> None:
        assert hub.get(under(str(uuid4()), suffix), north.key).status_code == 404


class TestSummary:
    def test_it_counts_by_severity_rule_file_and_school(
        self, hub: Client, north: District, keep: Keep, books: Books
    ) -> None:
        schools = [
            {"sourced_id": "s-1", "name": "第一小", "type": "school"},
            {"sourced_id": "s-2", "name": "第二小", "type": "school"},
        ]
        books.publish(north.tenant_id, {"orgs": schools}, "2026-04-01T00:00:00Z")
        given = [wrong(line, school="s-2" if line % 3 else "s-1") for line in range(2, 11)]
        given += [wrong(11, school="s-9"), wrong(12, school=None), lost(2, "u-x")]
        given += [lost(3, "u-2", caused_by=1)]
        said = hub.get(under(keep(north, *given), "/summary"), north.key).json
        assert (said["findings"], said["followers"]) == (12, 1)
        assert [(f["file"], f["findings"], f["followers"]) for f in said["files"]] == [
            ("users.csv", 11, 0),
            ("enrollments.csv", 1, 1),
        ]
        assert [
            (s["school"], s["name"], s["findings"], s["followers"]) for s in said["schools"]
        ] == [
            ("s-2", "第二小", 6, 0),
            ("s-1", "第一小", 3, 0),
            (None, None, 2, 1),
            ("s-9", None, 1, 0),
        ]
        assert said["schools_total"] == 4
        for name in ("findings", "groups", "summary", "csv", "ndjson", "rows"):
            asked = "?file=users.csv" if name == "rows" else ""
            assert hub.get(said["links"][name] + asked, north.key).status_code == 200

    def test_each_rule_has_its_first_examples_of_different_schools(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        given = [wrong(line, school=f"s-{min(line, 4)}") for line in range(2, 40)]
        (rule,) = hub.get(under(keep(north, *given), "/summary"), north.key).json["rules"]
        assert [(e["line"], e["school"]) for e in rule["examples"]] == [
            (2, "s-2"), (3, "s-3"), (4, "s-4"),
        ]  # fmt: skip


class TestGroups:
    def test_what_drags_down_most_comes_first_with_its_sentence(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        given = [wrong(line) for line in range(2, 7)]  # the same fault in five rows
        given += [wrong(7)] + [lost(line, "u-7", caused_by=6) for line in range(2, 1205)]
        given += [lost(line, "u-none") for line in range(2000, 2003)]  # one record is missing
        given += [wrong(9, rule=rules.values.CHARACTERS)]
        run_id = keep(north, *given)
        groups = hub.get(under(run_id, "/groups"), north.key).json["items"]
        assert [(g["group"], g["cause"], g["findings"], g["resolves"]) for g in groups] == [
            (1, "row", 1, 1204),
            (2, "record", 3, 3),
            (3, "rule", 5, 5),
            (4, "row", 1, 1),
        ]
        assert groups[0]["sentence"] == {
            "ja": "この 1 件を直すと 1,204 件が解消します。",
            "en": "Fixing this one row resolves 1,204.",
        }
        assert (groups[0]["first"]["line"], groups[0]["first"]["rule"]) == (7, "value.boolean")
        members = hub.get(groups[1]["links"]["findings"], north.key).json["items"]
        assert [item["line"] for item in members] == [2000, 2001, 2002]

    def test_they_are_paged_and_filtered(self, hub: Client, north: District, keep: Keep) -> None:
        given = [lost(line, f"u-{line}") for line in range(2, 9)] + [wrong(2)]
        path, seen = under(keep(north, *given), "/groups?limit=3&file=enrollments.csv"), []
        while path:
            page = hub.get(path, north.key).json
            seen += [group["first"]["value"] for group in page["items"]]
            path = page["next"]
        assert seen == [f"u-{line}" for line in range(2, 9)]

    def test_a_chain_of_causes_ends_at_its_first(self) -> None:
        chain = [wrong(2), lost(2, "a", caused_by=1), lost(3, "b", caused_by=2)]
        assert found.causes(chain) == [1, 1, 1]
        assert found.causes([lost(2, "a", caused_by=3), lost(3, "b", caused_by=1), wrong(4)]) == [
            *(3, 3, 3),
        ]

    def test_causes_that_go_round_or_nowhere_do_not_hang(self) -> None:
        assert found.causes([wrong(2, caused_by=2), wrong(3, caused_by=1)]) == [2, 2]
        assert found.causes([wrong(2, caused_by=1), wrong(3, caused_by=99)]) == [1, 2]


class TestFiles:
    @pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
    def test_no_cell_is_a_formula(
        self, hub: Client, north: District, keep: Keep, sign: str
    ) -> None:
        evil = f'{sign}HYPERLINK("http://x","y")'
        row = '"{}",{}'.format(evil.replace('"', '""'), "," * (len(HEADER) - 2))
        run_id = keep(north, wrong(2, evil, sourced_id=evil, school=evil, column=evil, row=row))
        for path in (".csv", "/rows?file=users.csv"):
            text = hub.get(under(run_id, path), north.key).content.removeprefix(BOM).decode()
            cells = [c for r in csv.reader(io.StringIO(text, newline=""), strict=True) for c in r]
            assert not [cell for cell in cells if cell.startswith(sign)]
            assert f"'{evil}" in cells

    @pytest.mark.parametrize(
        ("query", "browser", "heading"),
        [
            ("", None, "number"),
            ("", "ja,en;q=0.9", "番号"),
            ("", "en;q=0.5, ja-JP", "番号"),
            ("", "fr, de", "number"),
            ("", "ja;q=0, en;q=0.1", "number"),
            ("?lang=en", "ja", "number"),
            ("?lang=ja", None, "番号"),
        ],
    )
    def test_a_file_speaks_the_language_of_its_reader(  # noqa: PLR0917 -- fixtures and cases
        self,
        hub: Client,
        north: District,
        keep: Keep,
        query: str,
        browser: str | None,
        heading: str,
    ) -> None:
        headers = {"Accept-Language": browser} if browser else {}
        answer = hub.get(under(keep(north, wrong(2)), f".csv{query}"), north.key, headers=headers)
        head, row = sheet(answer.content)
        assert head[0] == heading
        assert row[1] == ("要修正" if heading == "番号" else "error")
        assert answer.headers["Content-Disposition"].startswith("attachment")

    def test_another_language_is_refused_and_nonsense_is_passed_over(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        assert hub.get(under(keep(north), ".csv?lang=fr"), north.key).status_code == 400
        assert accepted("ja;q=x, ;;, en;q=0.2") == ["", "en"]

    def test_files_hold_everything_in_order_over_many_pages(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        number = 2 * PAGE + 7
        run_id = keep(north, *(wrong(number - at) for at in range(number)))
        rows = sheet(hub.get(under(run_id, ".csv"), north.key).content)
        assert [int(row[0]) for row in rows[1:]] == list(range(1, number + 1))
        told = hub.get(under(run_id, ".ndjson"), north.key)
        assert told.headers["Content-Type"] == "application/x-ndjson"
        assert [json.loads(line)["seq"] for line in told.content.splitlines()] == list(
            range(1, number + 1)
        )
        own = sheet(hub.get(under(run_id, "/rows?file=users.csv"), north.key).content)
        assert [int(row[0]) for row in own[1:]] == list(range(1, number + 1))


class TestRows:
    def test_a_row_comes_back_once_with_all_that_is_wrong_with_it(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        run_id = keep(
            north,
            wrong(5),
            wrong(2, row=a_row("u-2", "花子")),
            wrong(2, "x y", rule=rules.values.GUID, column="sourcedId", row=None),
            Finding(rule=rules.text.NO_ROWS, file="users.csv"),
        )
        answer = hub.get(under(run_id, "/rows?file=users.csv&lang=ja"), north.key)
        head, first, second = sheet(answer.content)
        assert tuple(head) == ("行番号", "項目", "内容", "直し方", *HEADER)
        assert first[:2] == ["2", "enabledUser / sourcedId"]
        assert "ture" in first[2]
        assert "x y" in first[2]
        assert ",".join(first[4:]) == a_row("u-2", "花子")
        assert second[0] == "5"
        assert "users_" in answer.headers["Content-Disposition"]

    def test_a_row_of_a_mapped_file_comes_back_in_its_own_columns(
        self, hub: Client, north: District, keep: Keep, books: Books
    ) -> None:
        header = ("番号", "氏", "名", "在籍")
        finding = wrong(2, row="7,山田,太郎,真", facts={"source": "在籍"})
        run_id = keep(north, finding, header=header)
        head, row = sheet(hub.get(under(run_id, "/rows?file=users.csv"), north.key).content)
        assert head[4:] == list(header)
        assert (row[0], row[1], row[4:]) == ("2", "在籍", ["7", "山田", "太郎", "真"])
        names, cells = sheet(hub.get(under(run_id, ".csv"), north.key).content)
        told = dict(zip(names, cells, strict=True))
        assert (told["column"], told["source"]) == ("enabledUser", "在籍")
        masked(books, north)
        (item,) = hub.get(under(run_id), north.key).json["items"]
        assert (item["source"], item["row"]) == ("在籍", "9,漢漢,漢漢,漢")

    def test_a_row_on_the_edge_of_two_pages_stays_one_row(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        given = [wrong(line) for line in range(2, PAGE + 1)]
        given += [wrong(PAGE + 1, f"v{number}") for number in range(PAGE + 2)] + [wrong(9999)]
        own = sheet(hub.get(under(keep(north, *given), "/rows?file=users.csv"), north.key).content)
        assert [int(row[0]) for row in own[1:]] == [*range(2, PAGE + 2), 9999]
        assert f"v{PAGE + 1}" in own[-2][2]

    def test_a_row_that_was_not_kept_still_says_what_is_wrong(
        self, hub: Client, north: District, keep: Keep
    ) -> None:
        run_id = keep(north, wrong(2, row=None), wrong(3, row='"a"b,c'))
        _, second, third = sheet(hub.get(under(run_id, "/rows?file=users.csv"), north.key).content)
        assert (second[0], len(second)) == ("2", 4)
        assert third[4:] == ['"a"b,c']

    def test_it_is_the_rows_of_one_file(self, hub: Client, north: District, keep: Keep) -> None:
        run_id = keep(north, wrong(2))
        refused = hub.get(under(run_id, "/rows"), north.key)
        assert (refused.status_code, refused.json["field"]) == (400, "file")
        other = hub.get(under(run_id, "/rows?file=orgs.csv"), north.key)
        assert len(sheet(other.content)) == 1


class TestMasking:
    SECRETS = ("太郎", "ture", "1234")

    def hidden(self, hub: Client, district: District, run_id: str) -> None:
        for suffix in SUFFIXES:
            text = hub.get(under(run_id, suffix), district.key).text
            assert not [secret for secret in self.SECRETS if secret in text], suffix
        (item,) = hub.get(under(run_id), district.key).json["items"]
        assert (item["value"], item["sourcedId"], item["school"]) == ("aaaa", "u-2", "s-1")
        assert item["row"].startswith("u-2,")
        assert "漢漢" in item["row"]
        assert "aaaa" in item["message"]["ja"]

    def given(self) -> Finding:
        return wrong(2, facts={"found": "1234", "limit": 9})

    def test_a_district_that_masks_is_served_shapes_of_what_was_stored(
        self, hub: Client, north: District, keep: Keep, books: Books
    ) -> None:
        run_id = keep(north, self.given())
        assert "太郎" in hub.get(under(run_id), north.key).text
        masked(books, north)
        self.hidden(hub, north, run_id)

    def test_a_district_that_masks_stores_shapes_only(
        self, hub: Client, north: District, keep: Keep, books: Books
    ) -> None:
        masked(books, north)
        run_id = keep(north, self.given())
        (stored,) = books.rows(north.tenant_id, "select findings::text from findings")
        assert not [secret for secret in self.SECRETS if secret in stored[0]]
        self.hidden(hub, north, run_id)

    def test_the_summary_says_that_values_are_masked(
        self, hub: Client, north: District, keep: Keep, books: Books
    ) -> None:
        masked(books, north)
        assert hub.get(under(keep(north), "/summary"), north.key).json["values"] == "masked"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("佐々木 Taro-2", "漢漢漢 Aaaa-9"),
            ("ﾀﾛｳ１Ａｂ", "ｱｱｱ９Ａａ"),
            ("たろー", "ああア"),
            ("葛\U000e0100城\ue000", "漢漢漢"),
            ("é e\u0301 Ⅲ ①", "a a 9 9"),
            ("2026/02/30", "9999/99/99"),
            ("=1+x", "=9+a"),
        ],
    )
    def test_a_shape_keeps_the_kind_of_sign_and_nothing_else(
        self, text: str, expected: str
    ) -> None:
        assert shape(text) == expected
        assert shape(shape(text)) == expected

    def test_the_shape_of_a_row_keeps_its_identifier(self) -> None:
        assert shape_of_row('"u-1",太郎,"a,b"', "u-1") == '"u-1",漢漢,"a,a"'
        assert shape_of_row("u-1,太郎", "other") == "a-9,漢漢"


class TestBrokenDownloads:
    def test_a_file_that_cannot_be_finished_does_not_look_whole(
        self, serve: Serve, north: District, keep: Keep, database_url: str
    ) -> None:
        run_id = keep(north, *(wrong(line, row="x" * 4000) for line in range(2, 8000)))
        server = serve()
        url, headers = server.url + under(run_id, ".ndjson"), bearer(north.key)
        with requests.get(url, headers=headers, stream=True, timeout=20) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_content(65536)
            next(pieces)
            close(database_url)
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                list(pieces)

    def test_a_slow_reader_holds_no_connection(
        self, serve: Serve, north: District, keep: Keep
    ) -> None:
        run_id = keep(north, *(wrong(line, row="x" * 4000) for line in range(2, 8000)))
        server = serve(database_pool=2)
        url, headers = server.url + under(run_id, ".ndjson"), bearer(north.key)
        with ExitStack() as stack:
            for _ in range(4):
                slow = requests.get(url, headers=headers, stream=True, timeout=20)
                stack.enter_context(slow)
            quick = requests.get(server.url + under(run_id), headers=headers, timeout=20)
            assert quick.status_code == 200


class TestCommand:
    @pytest.fixture
    def run_id(
        self,
        serve: Serve,
        north: District,
        keep: Keep,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> str:
        monkeypatch.setenv("RH_URL", serve().url)
        monkeypatch.setenv("RH_KEY", north.key)
        monkeypatch.chdir(tmp_path)
        given = [wrong(2), *(lost(line, "u-2", caused_by=1) for line in range(2, 5)), wrong(9)]
        return keep(north, *given)

    def test_it_lists_filters_and_groups(
        self, run_id: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(["runs", "findings", run_id, "--file", "users.csv", "--lang", "ja"]) == 0
        assert capsys.readouterr().out.count("ture") == 2
        assert cli.run(["runs", "findings", run_id, "--rule", "reference.missing", "--json"]) == 0
        items = json.loads(capsys.readouterr().out)["items"]
        assert [item["causedBy"] for item in items] == [1, 1, 1]
        assert cli.run(["runs", "findings", run_id, "--groups"]) == 0
        _, first, _ = capsys.readouterr().out.splitlines()
        assert first.split()[:3] == ["4", "users.csv", "2"]

    def test_it_writes_files_for_excel(
        self, run_id: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["runs", "findings", run_id, "--lang", "ja"]
        assert cli.run([*command, "--csv", "all.csv", "--severity", "error"]) == 0
        head, *rows = sheet(Path("all.csv").read_bytes())
        assert (head[0], len(rows)) == ("番号", 5)
        assert cli.run([*command, "--file", "users.csv", "--rows", "own.csv"]) == 0
        head, *rows = sheet(Path("own.csv").read_bytes())
        assert (head[0], [row[0] for row in rows]) == ("行番号", ["2", "9"])
        assert "own.csv" in capsys.readouterr().err
        assert sorted(path.name for path in Path().iterdir() if path.suffix == ".csv") == [
            "all.csv",
            "own.csv",
        ]

    def test_it_says_why_it_cannot_write(
        self, run_id: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = ["runs", "findings", run_id]
        assert cli.run([*command, "--rows", "own.csv"]) == 2
        assert "--file" in capsys.readouterr().err
        assert cli.run([*command, "--csv", "nowhere/all.csv"]) == 3
        said = capsys.readouterr().err
        assert said.startswith("cannot_save: nowhere/all.csv")
        assert f"rosterhub runs findings {run_id} --csv" in said

    def test_a_download_that_breaks_leaves_no_file(
        self,
        run_id: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as door:
            breaking = threading.Thread(target=half_an_answer, args=(door,))
            breaking.start()
            monkeypatch.setenv("RH_URL", f"http://127.0.0.1:{door.getsockname()[1]}")
            assert cli.run(["runs", "findings", run_id, "--csv", "all.csv"]) == 3
            breaking.join()
        assert capsys.readouterr().err.startswith("unreachable")
        assert not [path for path in Path().iterdir() if "all.csv" in path.name]


def half_an_answer(door: socket.socket) -> None:
    """A hub that dies while it sends a file."""
    line, _ = door.accept()
    with line:
        line.recv(65536)
        line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")


def close(url: str) -> None:
    """A database that ends every connection and takes no new one."""
    name = str(conninfo_to_dict(url)["dbname"])
    with psycopg.connect(url, dbname="postgres", autocommit=True) as admin:
        admin.execute(SQL("alter database {} allow_connections false").format(Identifier(name)))
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name]
        )


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_two_districts_with_the_same_run_id_see_their_own(
    hub: Client, north: District, south: District, books: Books, tmp_path: Path
) -> None:
    run_id = books.run(north.tenant_id)
    with books.connected("rosterhub_app", south.tenant_id) as connection:
        connection.execute(
            "with upload as (insert into uploads (tenant_id, id, object_key, bytes, sha256)"
            " values (%(t)s, gen_random_uuid(), 'k', 1, '\\x00') returning id)"
            " insert into runs (tenant_id, id, kind, upload_id, created_by)"
            " select %(t)s, %(r)s, 'import', id, 'somebody' from upload",
            {"t": south.tenant_id, "r": run_id},
        )
    store(
        books,
        north.tenant_id,
        run_id,
        [wrong(2, "northern")],
        header=("northern",),
        folder=tmp_path,
    )
    store(
        books,
        south.tenant_id,
        run_id,
        [wrong(2, "southern")],
        header=("southern",),
        folder=tmp_path,
    )
    for suffix in SUFFIXES:
        for district, own, other in (
            (north, "northern", "southern"),
            (south, "southern", "northern"),
        ):
            text = hub.get(under(run_id, suffix), district.key).text
            assert own in text
            assert other not in text


def test_a_second_attempt_takes_the_place_of_the_first(
    hub: Client, north: District, keep: Keep, books: Books, tmp_path: Path
) -> None:
    run_id = keep(north, *(wrong(line) for line in range(2, 9)))
    store(books, north.tenant_id, run_id, [wrong(30, "again")], folder=tmp_path)
    said = hub.get(under(run_id, "/summary"), north.key).json
    assert (said["findings"], len(said["files"])) == (1, 1)
    (group,) = hub.get(under(run_id, "/groups"), north.key).json["items"]
    assert group["first"]["value"] == "again"
    store(books, north.tenant_id, run_id, [], folder=tmp_path)
    assert hub.get(under(run_id, "/groups"), north.key).json["items"] == []
