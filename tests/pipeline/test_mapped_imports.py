"""Imports with a district's mapping: its own columns in, records of OneRoster out."""

import random
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.types.json import Jsonb

from pipeline import claims, text
from pipeline.claims import Watch
from pipeline.database import connect
from pipeline.importing import Import
from pipeline.limits import Limits
from pipeline.mapping import Saved
from pipeline.previewing import preview
from schemas.events import Event, StageStarted
from schemas.mappings import FileMapping, fingerprint
from schemas.policy import Reading
from schemas.roster import BY_FILE
from schemas.roster.people import User
from schemas.rules import RULES, Finding
from schemas.runs import Mode
from schemas.templates import TEMPLATES
from tests.pipeline.conftest import value

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Found, Hub, Package, Push

PUPILS = (
    "児童生徒番号,姓,名,姓ふりがな,名ふりがな,学年,在籍区分,メールアドレス,組\r\n"
    "20260001,山田,太郎,やまだ,たろう,小1,在籍,,1\r\n"
    '20260002,佐藤,花子,ｻﾄｳ,ﾊﾅｺ,中２,転出," Hanako@example.jp ",2'
)
BIRTHDAYS = "児童生徒番号,生年月日,性別\n20260001,令和元年5月1日,男\n20260002,H24.12.6,女\n"
READS_CP932 = {"reading": {"lenient": True, "repairs": ["cp932"]}}
UNMAPPED = {"mapping": None, "fingerprint": None}

Json = Mapping[str, Any]


def direct(source: str, *steps: Json) -> list[Json]:
    return [{"kind": "direct", "source": source}, *steps]


def schools(lookup: Json | None = None, **columns: object) -> Json:
    """A mapping of orgs: code and name, which a lookup may say in another way."""
    return {
        "columns": {
            "sourcedId": direct("code"),
            "name": direct("name", *([lookup] if lookup else [])),
            "type": [{"kind": "constant", "value": "school"}],
            **columns,
        }
    }


def decide(district: "District", policy: Json) -> None:
    district.hub.admin.execute(
        "update districts set policy = %s where tenant_id = %s",
        [Jsonb({"guard": {"on": False}, **policy}), district.tenant_id],
    )


def save(district: "District", entity: str, mapping: object, tables: Json | None = None) -> int:
    """Save a mapping as the gateway does, None for the default; answer its version."""
    for name, entries in (tables or {}).items():
        district.hub.admin.execute(
            "insert into mapping_tables (tenant_id, name, entries, updated_by)"
            " values (%(tenant)s, %(name)s, %(entries)s, 'test')"
            " on conflict (tenant_id, name) do update set entries = excluded.entries",
            {"tenant": district.tenant_id, "name": name, "entries": Jsonb(entries)},
        )
    if isinstance(mapping, FileMapping):
        mapping = mapping.model_dump(mode="json", exclude_defaults=True)
    (version,) = district.hub.one(
        "insert into mappings (tenant_id, entity, version, mapping, created_by)"
        " select %s, %s, coalesce(max(version), 0) + 1, %s, 'test' from mappings"
        " where tenant_id = %s and entity = %s returning version",
        *(district.tenant_id, entity, None if mapping is None else Jsonb(mapping)),
        *(district.tenant_id, entity),
    )
    return int(version)


def send(
    district: "District", entity: str, lines: str, *, mode: Mode = "bulk", encoding: str = "utf-8"
) -> "Push":
    """Push one CSV."""
    return district.push(lines.encode(encoding), entity=entity, mode=mode)


def used(entity: str, version: int | None, mapping: object, tables: Json | None = None) -> Json:
    said = FileMapping.model_validate(mapping)
    return {"mapping": version, "fingerprint": fingerprint(entity, said, tables or {})}


def message(found: "Found") -> dict[str, str]:
    """What readers are told."""
    return Finding(
        rule=RULES[found.rule],
        file=found.file,
        line=found.line,
        column=found.column,
        value=found.value,
        facts=found.facts,
    ).message()


def row_of(district: "District", done: "Push", rule: str) -> Json:
    """The one stored finding of a rule, row and school included."""
    rows = [
        row
        for row in district.rows("findings")
        if (row["run_id"], row["rule"]) == (done.run["id"], rule)
    ]
    (row,) = rows
    return row


@pytest.fixture
def mapped(district: "District") -> "District":
    """A district whose register writes the layouts of two templates, in CP932."""
    decide(district, READS_CP932)
    save(district, "users", TEMPLATES["students"].mapping)
    save(district, "demographics", TEMPLATES["birthdays"].mapping)
    return district


class TestAnotherLayout:
    def test_its_rows_become_records(self, mapped: "District") -> None:
        done = send(mapped, "users", PUPILS, encoding="cp932")
        assert (done.state, done.counts) == ("applied", {"users": {"rows": 2, "created": 2}})
        people = mapped.records("users")
        taro, hana = people["student-20260001"], people["student-20260002"]
        assert (taro["kana_family_name"], taro["kana_given_name"]) == ("ヤマダ", "タロウ")
        assert (hana["kana_family_name"], hana["kana_given_name"]) == ("サトウ", "ハナコ")
        assert (taro["grades"], hana["grades"]) == (["P1"], ["J2"])
        assert (taro["enabled_user"], hana["enabled_user"]) == (True, False)
        assert (taro["email"], hana["email"]) == (None, "hanako@example.jp")
        assert (taro["given_name"], taro["middle_name"]) == ("太郎", None)
        done = send(mapped, "demographics", BIRTHDAYS, encoding="cp932")
        assert done.state == "applied"
        born = {key: row["birth_date"] for key, row in mapped.records("demographics").items()}
        assert born == {
            "student-20260001": date(2019, 5, 1),
            "student-20260002": date(2012, 12, 6),
        }

    def test_the_run_says_what_it_was_read_with(self, mapped: "District", town: "Package") -> None:
        done = send(mapped, "users", PUPILS, encoding="cp932")
        mapping = TEMPLATES["students"].mapping
        assert done.run["mappings"] == {"users": used("users", 1, mapping)}
        assert done.rules == {"mapping.used", "mapping.source_ignored", "repair.cp932"} | (
            done.rules & {"record.user_without_role"}
        )
        assert done.run["profile"] == "1.2.1", "a mapped file shows no profile"
        done = mapped.push(town)
        assert (done.state, done.rules) == ("applied", {"mapping.not_needed"})
        assert done.run["mappings"] == dict.fromkeys(town.rows, UNMAPPED)

    def test_one_file_of_a_package_may_be_mapped(self, mapped: "District", town: "Package") -> None:
        package = town.only("orgs", "users").drop("users", "taro")
        done = mapped.push(package.zip(users=PUPILS.encode("cp932")))
        assert done.state == "applied"
        assert {file for file, use in done.run["mappings"].items() if use["mapping"]} == {"users"}
        assert mapped.records("users").keys() == {"student-20260001", "student-20260002"}
        assert mapped.records("orgs").keys() == {"board", "north", "south"}

    def test_back_to_the_default_the_same_file_is_refused_in_one_finding(
        self, mapped: "District"
    ) -> None:
        assert send(mapped, "users", PUPILS, encoding="cp932").state == "applied"
        save(mapped, "users", None)
        done = send(mapped, "users", PUPILS, encoding="cp932")
        assert done.state == "rejected"
        (wrong,) = [found for found in done.findings if found.severity == "error"]
        assert wrong.place == ("users.csv", 1, None, "mapping.template_fits")
        assert "the template students reads such a file" in message(wrong)["en"]
        assert "rosterhub mappings set users --template students" in message(wrong)["ja"]
        assert done.run["mappings"] == {"users": UNMAPPED}

    def test_a_source_column_that_is_missing_is_named(self, mapped: "District") -> None:
        done = send(mapped, "users", PUPILS.replace("学年", "年"), encoding="cp932")
        assert done.state == "rejected"
        (wrong,) = [found for found in done.findings if found.severity == "error"]
        assert wrong.place == ("users.csv", 1, "学年", "mapping.source_missing")
        assert (
            "which version 1 of the mapping reads. Fix: export the column" in (message(wrong)["en"])
        )
        assert done.run["mappings"]["users"]["mapping"] == 1

    def test_a_delta_needs_a_status_and_no_instant(self, district: "District") -> None:
        save(district, "orgs", schools())
        done = send(district, "orgs", "code,name\n1,北\n", mode="delta")
        assert done.rules >= {"mapping.no_status"}
        save(district, "orgs", schools(status=direct("state")))
        done = send(district, "orgs", "code,name,state\n1,北,active\n2,南,active\n", mode="delta")
        assert (done.state, done.counts["orgs"]["created"]) == ("applied", 2)
        done = send(district, "orgs", "code,name,state\n2,南,tobedeleted\n", mode="delta")
        assert done.counts["orgs"] == {"rows": 1, "deleted": 1}

    def test_an_upsert_adds_and_deletes_nothing(self, mapped: "District") -> None:
        head, first, second = PUPILS.split("\r\n")
        for line in (first, second):
            done = send(mapped, "users", f"{head}\n{line}", mode="upsert", encoding="cp932")
            assert done.counts["users"] == {"rows": 1, "created": 1}
        assert len(mapped.records("users")) == 2

    def test_what_a_chosen_profile_requires_is_asked_of_the_mapping_once(
        self, mapped: "District"
    ) -> None:
        decide(mapped, {"reading": {"profile": "JP-1.2.1"}})
        done = send(mapped, "users", PUPILS)
        assert done.state == "rejected"
        wrong = [found.place for found in done.findings if found.severity == "error"]
        assert ("users.csv", 1, "userMasterIdentifier", "mapping.profile_requires") in wrong
        assert len({*wrong}) == len(wrong)

    def test_a_run_that_waits_remembers_it_too(self, mapped: "District") -> None:
        decide(mapped, {**READS_CP932, "apply": "review"})
        path = mapped.hub.stored(PUPILS.encode("cp932"), None)
        run_id = mapped.hub.queued(mapped.tenant_id, path, "users", "bulk")
        with connect(mapped.hub.url) as db:
            claim = claims.take(db, mapped.tenant_id, lease=60, worker="test")
            assert claim is not None
            folder = mapped.hub.folder / f"work-{run_id}"
            folder.mkdir()
            Import(claim, db, path, folder, Watch(), lambda _: None).run()
        run = mapped.run(run_id)
        assert (run["state"], run["mappings"]["users"]["mapping"]) == ("review", 1)


class TestFindings:
    def test_they_name_the_line_and_the_column_of_the_source(self, mapped: "District") -> None:
        send(mapped, "users", PUPILS, encoding="cp932")
        wrong = BIRTHDAYS.replace("H24.12.6", "平成二十四年")
        done = send(mapped, "demographics", wrong, encoding="cp932")
        (found,) = [found for found in done.findings if found.severity == "error"]
        assert found.place == ("demographics.csv", 3, "birthDate", "value.date")
        assert (found.value, found.sourced_id) == ("平成二十四年", "student-20260002")
        assert found.facts["source"] == "生年月日"
        assert message(found)["ja"].endswith("元の列: 生年月日。")

    def test_so_do_those_between_records(self, mapped: "District") -> None:
        done = send(mapped, "demographics", BIRTHDAYS, encoding="cp932")
        lost = [found for found in done.findings if found.severity == "error"]
        assert {(found.line, found.facts["source"]) for found in lost} == {
            (2, "児童生徒番号"),
            (3, "児童生徒番号"),
        }

    def test_they_keep_the_row_as_it_came_and_its_header(self, district: "District") -> None:
        save(district, "enrollments", TEMPLATES["enrollments"].mapping)
        head = "年度,学校コード,学級コード,児童生徒番号,出席番号,編入日"
        line = '2026,B127210000018,0101,"20260001",07,いつか'
        done = send(district, "enrollments", f"{head}\n{line}\n")
        row = row_of(district, done, "value.date")
        assert (row["line"], row["row"], row["school"]) == (2, line, "B127210000018")
        (named,) = [f for f in district.rows("finding_files") if f["run_id"] == done.run["id"]]
        assert named["header"] == head.split(",")

    def test_a_misshapen_line_is_told_by_the_width_of_the_source(self, mapped: "District") -> None:
        done = send(mapped, "users", f"{PUPILS}\n1,2", encoding="cp932")
        (found,) = [found for found in done.findings if found.severity == "error"]
        assert found.place == ("users.csv", 4, None, "csv.row_width")
        assert (found.facts["found"], found.facts["expected"]) == (2, 9)
        assert found.sourced_id is None, "its first cell is no sourcedId"

    @pytest.mark.parametrize("name", ["パスワード", "initial_password"])
    def test_a_password_is_not_kept_though_nothing_maps_it(
        self, district: "District", name: str
    ) -> None:
        save(district, "orgs", schools())
        done = send(district, "orgs", f"code,name,{name}\na b,北,hush\n")
        assert row_of(district, done, "value.guid")["row"] == '"a b","北",""'

    def test_neither_is_what_a_password_is_made_of(self, district: "District") -> None:
        mapping = TEMPLATES["students"].mapping.model_dump(mode="json")
        mapping["columns"]["password"] = direct("組")
        save(district, "users", mapping)
        done = send(district, "users", PUPILS.replace("20260001", "a b").replace(",,1", ",,hush"))
        assert "hush" not in row_of(district, done, "value.guid")["row"]


class TestRepairs:
    def test_they_put_mapped_rows_right(self, district: "District") -> None:
        decide(district, {"reading": {"lenient": True}})
        save(district, "orgs", schools(identifier=direct("id")))
        done = send(district, "orgs", "code,name,id\n1,ｷﾀ小,NULL\n2 , 南,x\n")
        assert done.state == "applied"
        found = {key: (r["name"], r["identifier"]) for key, r in district.records("orgs").items()}
        assert found == {"1": ("キタ小", None), "2": ("南", "x")}
        counts = {f.rule: f.facts["count"] for f in done.findings if f.rule.startswith("repair.")}
        assert counts == {
            "repair.half_width_kana": 1,
            "repair.null_text": 1,
            "repair.trailing_blanks": 2,
        }


class TestKnownLines:
    @pytest.fixture
    def read(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many lines are parsed, piece by piece."""
        parsed: list[int] = []
        records = text.records

        def counted(piece: text.Piece, *rest: Any) -> Any:  # noqa: ANN401  # as records has it
            parsed.append(piece.height)
            return records(piece, *rest)

        monkeypatch.setattr(text, "records", counted)
        return parsed

    lines = "code,name\n" + "".join(f"{number},school {number}\n" for number in range(40))

    def test_a_known_mapped_line_is_not_read(self, district: "District", read: list[int]) -> None:
        save(district, "orgs", schools())
        send(district, "orgs", self.lines)
        assert sum(read) == 2 * 40  # once more behind the commit, to be learnt
        read.clear()
        done = send(district, "orgs", self.lines)
        assert (sum(read), done.counts["orgs"]["unchanged"]) == (0, 40)
        assert done.run["mappings"] == {"orgs": used("orgs", 1, schools())}

    def test_under_another_mapping_no_line_is_known(self, district: "District") -> None:
        save(district, "orgs", schools())
        send(district, "orgs", self.lines)
        save(district, "orgs", schools({"kind": "upper"}))
        done = send(district, "orgs", self.lines)
        assert done.counts["orgs"] == {"rows": 40, "updated": 40}
        assert district.records("orgs")["7"]["name"] == "SCHOOL 7"

    def test_nor_with_another_lookup_table(self, district: "District") -> None:
        named = schools({"kind": "lookup", "table": "names"})
        save(district, "orgs", named, {"names": {"school 7": "Seven"}})
        send(district, "orgs", self.lines)
        assert district.records("orgs")["7"]["name"] == "Seven"
        save(district, "orgs", named, {"names": {"school 8": "Eight"}})
        done = send(district, "orgs", self.lines)
        assert done.counts["orgs"] == {"rows": 40, "updated": 2, "unchanged": 38}
        assert district.records("orgs")["7"]["name"] == "school 7"

    def test_a_mapping_that_comes_back_changes_what_another_has_changed(
        self, district: "District"
    ) -> None:
        for mapping in (schools(), schools({"kind": "upper"}), schools()):
            save(district, "orgs", mapping)
            send(district, "orgs", self.lines)
        assert district.records("orgs")["7"]["name"] == "school 7"


def test_the_version_that_a_run_names_is_the_one_it_used(district: "District") -> None:
    save(district, "orgs", schools())
    path = district.hub.stored(b"code,name\n1,north\n", None)
    run_id = district.hub.queued(district.tenant_id, path, "orgs", "bulk")

    def meddle(event: Event) -> None:
        """Somebody saves a mapping while the district imports."""
        if isinstance(event, StageStarted) and event.stage == "read":
            save(district, "orgs", schools({"kind": "upper"}))

    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        folder = district.hub.folder / f"work-{run_id}"
        folder.mkdir()
        Import(claim, db, path, folder, Watch(), meddle).run()
    assert district.run(run_id)["mappings"] == {"orgs": used("orgs", 1, schools())}
    assert district.records("orgs")["1"]["name"] == "north"
    assert send(district, "orgs", "code,name\n1,north\n").run["mappings"]["orgs"]["mapping"] == 2


GRADES = ("小1", "中２", "高3", "小学校第1学年", "年長", "", "1", "P1")
NAMES = ("山田", "ﾔﾏﾀﾞ", "やまだ", " 花子 ", "Ｔａｒｏ", "", "O'Neil", "髙﨑", "た,ろう", 'お"か')
STATES = ("在籍", "転出", "休学", "", "退学")
MAILS = ("", "A@EXAMPLE.jp", " x@y.jp ", "名@例.jp")
KEYS = ("{0}", "{0:06}", "Ｎ{0}", "{0} ", "")


def register(seed: int, rows: int) -> str:
    """A register as people fill it in, good and bad rows mixed; every key once."""
    dice = random.Random(seed)  # a test, not a secret

    def line(number: int) -> str:
        cells = [
            dice.choices(KEYS, (20, 20, 1, 1, 1))[0].format(number),
            *(dice.choice(NAMES) for _ in range(4)),
            dice.choice(GRADES),
            dice.choice(STATES),
            dice.choice(MAILS),
        ]
        return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells)

    head = TEMPLATES["students"].sample[0]
    return "\n".join([head, *(line(number) for number in range(1, rows + 1))]) + "\n"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lenient", [False, True], ids=["strict", "lenient"])
def test_what_a_preview_shows_is_what_an_import_stores(
    hub: "Hub", *, seed: int, lenient: bool
) -> None:
    district, lines = hub.district(), register(seed, 120)
    reading = {"lenient": lenient, "faulty_rows": "skip", "tolerance": 1}
    decide(district, {"reading": reading})
    mapping = TEMPLATES["students"].mapping
    save(district, "users", mapping)
    done = send(district, "users", lines)
    assert done.state == "applied"
    shown = preview(
        Saved(User, None, mapping),
        "bulk",
        lines.encode(),
        120,
        Limits(),
        reading=Reading.model_validate(reading),
    )
    wrong = {each["line"] for each in shown["findings"] if each["severity"] == "error"}
    assert 0 < len(wrong) < 120
    stored = district.records("users")
    expected = {
        cells["sourcedId"]: cells
        for row in shown["rows"]
        if row["line"] not in wrong
        and (cells := dict(zip(shown["columns"], row["after"], strict=True)))
    }
    assert stored.keys() == expected.keys()
    for key, cells in expected.items():
        for column in BY_FILE["users"].stored():
            if column.csv in cells:
                assert stored[key][column.name] == value(column, cells[column.csv] or ""), column
    told = {
        (f.line, f.column, f.rule, f.value)
        for f in done.findings
        if f.rule.split(".")[0] in {"value", "csv"}
    }
    assert told == {
        (each["line"], each["column"], each["rule"], each["value"])
        for each in shown["findings"]
        if each["rule"].split(".")[0] in {"value", "csv"}
    }
