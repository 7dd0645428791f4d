"""An import from the upload to the tables: what is read, what is stored, and what is said."""

import csv
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from loadtests.rosters import District as Generated
from loadtests.rosters import write_package
from pipeline import lookup
from pipeline.limits import Limits
from schemas.events import FileAdvanced, StageStarted
from schemas.profiles import PROFILES, V1_2_1
from schemas.roster import BINDING, BY_FILE, ROSTERING
from schemas.runs import STAGES, Mode

if TYPE_CHECKING:
    from tests.pipeline.conftest import Book, District, Hub, Package

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
SMALL = Generated(users=60, schools=2, enrollments_per_student=3, guardians=0.3)

TINY = replace(SMALL, users=24, schools=1, enrollments_per_student=2)


@pytest.fixture
def of_zip(nothing: "Package") -> Callable[[bytes, str], "Package"]:
    """A package read back by Python's csv, for the book."""

    def read(data: bytes, profile: str) -> "Package":
        found = nothing
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                file = name.removesuffix(".csv")
                if file in BY_FILE:
                    text = io.StringIO(archive.read(name).decode("utf-8-sig"), newline="")
                    found = found.put(file, *csv.DictReader(text, strict=True))
        return type(found)(found.rows, {}, PROFILES[profile])

    return read


def generated(district: Generated) -> bytes:
    out = io.BytesIO()
    write_package(out, district)
    return out.getvalue()


class TestCleanPackages:
    def test_a_town_is_stored_value_by_value(
        self, district: "District", town: "Package", book: "Book"
    ) -> None:
        done = district.push(town)
        assert (done.state, done.findings) == ("applied", [])
        assert done.counts == book.push(town)
        district.agrees(book)

    @pytest.mark.parametrize("profile", PROFILES)
    def test_a_generated_district_of_every_profile_has_no_finding_and_reads_back(
        self, district: "District", book: "Book", profile: str, of_zip: Callable[..., "Package"]
    ) -> None:
        data = generated(Generated(users=60, schools=2, profile=profile, guardians=0.3))
        done = district.push(data)
        assert (done.state, done.findings) == ("applied", [])
        assert done.counts == book.push(of_zip(data, profile))
        district.agrees(book)
        assert district.rows("runs")[0]["profile"] == profile.replace("PSE-6.00", "K12-1.0")

    @pytest.mark.parametrize(
        ("folder", "profile"), [("jp-1.2.1", "JP-1.2.1"), ("k12-1.0", "K12-1.0")]
    )
    def test_a_shared_sample_has_no_finding_and_reads_back(
        self,
        district: "District",
        book: "Book",
        folder: str,
        profile: str,
        of_zip: Callable[..., "Package"],
    ) -> None:
        if not SAMPLES.exists():
            pytest.skip("needs ../shared/samples, which is not part of the repository")
        (path,) = (SAMPLES / folder).glob("*.zip")
        done = district.push(path)
        assert (done.state, done.findings) == ("applied", [])
        assert done.counts == book.push(of_zip(path.read_bytes(), profile))
        district.agrees(book)

    def test_a_manifest_alone_changes_nothing(
        self, district: "District", town: "Package", book: "Book", nothing: "Package"
    ) -> None:
        for package in (nothing, town, nothing):
            assert district.push(package).counts == book.push(package)
            district.agrees(book)

    def test_odd_but_legal_values_are_stored_as_they_came(
        self, district: "District", town: "Package", book: "Book"
    ) -> None:
        odd = {
            "name": "𠮷野か\u3099葛\U000e0100①髙﨑ソ表〜",
            "identifier": "0012",
            "metadata.colour": '表"\\ \u2028,',
            "metadata.own.unknown": "0",
        }
        package = town.bare().change("orgs", "north", odd)
        package = package.change("users", "taro", {"grades": 'P"1, P\\2 ,{x},NULL', "sms": " "})
        assert district.push(package).findings == []
        book.push(package)
        district.agrees(book)
        record = district.records("orgs")["north"]
        assert record["metadata"] == {"colour": '表"\\ \u2028,', "own.unknown": "0"}
        assert district.records("orgs")["south"]["metadata"] is None
        assert district.records("users")["taro"]["grades"] == ['P"1', "P\\2", "{x}", "NULL"]

    def test_a_version_is_later_than_the_one_before(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        for name in ("西", "東", "中央"):
            district.push(town.change("orgs", "north", {"name": name}))
        versions = sorted(district.rows("versions"), key=lambda row: int(row["version"]))
        times = [row["published_at"] for row in versions]
        assert times == sorted({*times})
        assert district.rows("districts")[0]["published_at"] == times[-1]

    def test_files_outside_of_the_roster_are_checked_and_not_stored(
        self, district: "District", town: "Package"
    ) -> None:
        book = {"sourcedId": "book", "vendorResourceId": "isbn", "roles": "student"}
        done = district.push(town.put("resources", book))
        assert (done.state, done.places) == (
            "applied",
            [("resources.csv", None, None, "package.not_stored")],
        )
        assert "resources" not in done.counts or done.counts["resources"].get("created", 0) == 0
        done = district.push(town.put("resources", {**book, "roles": "pupil"}))
        assert done.state == "rejected"
        assert ("resources.csv", 2, "roles", "value.vocabulary") in done.places

    def test_all_21_files_in_one_package_are_looked_at(
        self, district: "District", town: "Package"
    ) -> None:
        for entity in BINDING:
            if entity not in ROSTERING:
                town = town.put(entity.file, {"sourcedId": "x"})
        done = district.push(town)
        named = {found.file for found in done.findings if found.rule == "value.required"}
        required = {e for e in BINDING if any(c.required for c in e.columns[3:])}
        assert named == {f"{e.file}.csv" for e in required if e not in ROSTERING}


class TestUnchanged:
    def test_the_same_again_in_another_order_writes_nothing(
        self, district: "District", town: "Package"
    ) -> None:
        first = district.push(town)
        writes, everything = district.writes(), district.everything()
        again = district.push(town.reversed())
        assert district.writes() == writes
        assert district.everything() == everything
        assert again.end.version == first.end.version == 1
        assert again.counts == {
            file: {"rows": count["rows"], "unchanged": count["rows"]}
            for file, count in first.counts.items()
        }

    def test_a_single_file_that_is_the_same_writes_nothing(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        writes = district.writes()
        modes: tuple[Mode, Mode] = ("bulk", "upsert")
        for number, file in enumerate(town.rows):
            done = district.push(town.reversed(), entity=file, mode=modes[number % 2])
            assert done.state == "applied", done.findings
        assert district.writes() == writes
        assert district.versions() == [1]

    def test_a_delta_that_repeats_what_is_stored_writes_nothing(
        self, district: "District", town: "Package", nothing: "Package"
    ) -> None:
        district.has(town)
        writes = district.writes()
        delta = nothing
        for file, rows in town.rows.items():
            delta = delta.delta(file, *rows)
        assert district.push(delta).state == "applied"
        assert district.writes() == writes

    def test_metadata_columns_in_another_order_are_no_change(
        self, district: "District", town: "Package"
    ) -> None:
        one = town.change("orgs", "north", {"metadata.a": "1", "metadata.b": "2"})
        two = town.change("orgs", "north", {"metadata.b": "2", "metadata.a": "1"})
        district.push(one)
        district.push(two)
        assert district.versions() == [1]

    def test_a_large_district_in_another_order_writes_nothing(self, district: "District") -> None:
        district.push(generated(SMALL))
        writes = district.writes()
        done = district.push(generated(replace(SMALL, order=5)))
        assert done.state == "applied"
        assert district.writes() == writes


class TestPieces:
    @pytest.mark.parametrize(("piece", "partition"), [(400, 1_000), (3_000, 5_000)])
    def test_many_pieces_and_partitions_give_the_same_as_one(
        self, hub: "Hub", piece: int, partition: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lookup, "AT_HAND", 20)  # beyond, what is stored is compared in parts
        before = generated(TINY)
        after = generated(replace(TINY, generation=1, mutations=0.4))
        whole, parted = hub.district(), hub.district()
        limits = Limits(piece=piece, partition=partition)
        for data in (before, after, before):
            assert parted.push(data, limits=limits).counts == whole.push(data).counts
            assert parted.roster() == whole.roster()
            for entity in ROSTERING:
                assert parted.history(entity.file) == whole.history(entity.file)

    def test_digests_are_equal_for_equal_records(self, hub: "Hub", town: "Package") -> None:
        one, two = hub.district(), hub.district()
        one.push(town)
        two.push(town.reversed(), limits=Limits(piece=64))
        for entity in ROSTERING:
            digests = [
                {row["sourced_id"]: row["digest"] for row in each.rows(entity.table)}
                for each in (one, two)
            ]
            assert digests[0] == digests[1]


class TestDistricts:
    def test_the_planner_knows_a_new_one_at_once(
        self, hub: "Hub", district: "District", other: "District"
    ) -> None:
        """Otherwise it takes every join of the next import for one of a single row."""
        district.push(generated(SMALL))
        hub.admin.execute("analyze enrollments")
        other.push(generated(SMALL))
        query = f"explain (format json) select from enrollments where tenant_id = {other.tenant_id}"
        (plan,) = hub.one(query)
        there = len(other.rows("enrollments"))
        assert there / 2 < plan[0]["Plan"]["Plan Rows"] < there * 2

    def test_two_districts_with_the_same_identifiers_stay_apart(
        self, district: "District", other: "District", town: "Package", book: "Book"
    ) -> None:
        district.push(town)
        book.push(town)
        changed = town.change("users", "taro", {"givenName": "次郎"}).drop("enrollments", "e1")
        other.push(changed)
        district.agrees(book)
        assert other.records("users")["taro"]["given_name"] == "次郎"
        other.push(town.drop("enrollments", "e1", "e2"))
        district.agrees(book)
        assert district.push(town).counts == book.push(town)
        district.agrees(book)

    def test_a_reference_is_not_satisfied_by_another_district(
        self, district: "District", other: "District", town: "Package"
    ) -> None:
        district.has(town)
        done = other.push(town.only("enrollments"))
        assert done.state == "rejected"
        assert done.rules >= {"reference.missing"}
        other.push(town)
        done = other.push(town.only("orgs").drop("orgs", "south"))
        assert done.state == "rejected"
        district.push(town.reversed())


class TestSecrets:
    def test_a_password_is_in_no_table(self, hub: "Hub", town: "Package") -> None:
        canary = "canary-7f3a"
        district = hub.district()
        package = town.change("users", "taro", {"password": canary})
        package = package.change("userProfiles", "p-taro", {"password": canary})
        assert district.push(package).state == "applied"
        assert district.push(package.change("users", "taro", {"sms": "1"})).state == "applied"
        broken = package.change("users", "taro", {"enabledUser": "yes"})
        assert district.push(broken).state == "rejected"
        long = package.change("users", "taro", {"password": canary * 5000})
        assert district.push(long).state == "rejected"
        assert found_anywhere(hub.admin, "架空市") != []  # the search finds what is there
        assert found_anywhere(hub.admin, canary) == []

    def test_another_password_is_no_change(self, district: "District", town: "Package") -> None:
        district.push(town.change("users", "taro", {"password": "one"}))
        district.push(town.change("users", "taro", {"password": "two"}))
        assert district.versions() == [1]


def found_anywhere(admin: psycopg.Connection, text: str) -> list[tuple[str, str]]:
    """The tables of the whole database in which a text stands."""
    tables = admin.execute("""
        select nspname, relname from pg_class join pg_namespace as n on n.oid = relnamespace
        where relkind in ('r', 'm') and nspname not in ('pg_catalog', 'information_schema')
    """).fetchall()
    return [
        (schema, name)
        for schema, name in tables
        if admin.execute(
            SQL("select from {} as t where t::text like %s limit 1").format(
                Identifier(schema, name)
            ),
            [f"%{text}%"],
        ).fetchone()
        is not None
    ]


class TestWhatARunSays:
    def test_stages_are_told_in_order_and_files_row_by_row(
        self, district: "District", town: "Package"
    ) -> None:
        done = district.push(town, limits=Limits(piece=300))
        stages = [event.stage for event in done.events if isinstance(event, StageStarted)]
        assert stages == [*STAGES]
        for file, rows in town.rows.items():
            told = [e for e in done.events if isinstance(e, FileAdvanced) and e.file == file]
            assert [e.done for e in told] == sorted(e.done for e in told)
            assert (told[-1].done, told[-1].total) == (len(rows), len(rows))
            assert done.run["progress"][file] == {"done": len(rows), "total": len(rows)}

    def test_no_event_holds_a_personal_value(self, district: "District", town: "Package") -> None:
        for package in (town, town.change("users", "taro", {"enabledUser": "太郎"})):
            done = district.push(package)
            said = " ".join(event.model_dump_json() for event in done.events)
            assert "taro" not in said
            assert "太郎" not in said

    def test_rows_with_errors_are_the_rejected_ones(
        self, district: "District", town: "Package"
    ) -> None:
        broken = town.change("users", "taro", {"enabledUser": "yes", "userIds": "x"})
        broken = broken.change("users", "hana", {"sourcedId": "ha na"})
        done = district.push(broken)
        assert done.counts["users"] == {"rows": 5, "rejected": 2}
        assert done.counts["orgs"] == {"rows": 3}

    def test_the_next_push_after_a_rejected_one_is_applied(
        self, district: "District", town: "Package", book: "Book"
    ) -> None:
        district.push(town.change("users", "taro", {"enabledUser": "yes"}))
        district.push(town)
        book.push(town)
        district.push(town.change("users", "taro", {"enabledUser": "yes"}))
        district.agrees(book)
        assert district.push(town).counts == book.push(town)


SCHOOL_OF = {"c2": "north", "c3": "south"}


class TestFindings:
    @pytest.mark.parametrize("limit", [1, 5, 100])
    def test_reading_stops_when_there_are_too_many(
        self, district: "District", town: "Package", limit: int
    ) -> None:
        broken = town
        for number in range(50):
            broken = broken.put("orgs", {"sourcedId": f"o{number}", "name": "x", "type": "School"})
        done = district.push(broken, limits=Limits(findings_max=limit))
        assert done.state == "rejected"
        if limit < 50:
            assert len(done.findings) == limit + 1
            assert done.findings[-1].rule == "csv.too_many_findings"
            assert done.findings[-1].facts == {"limit": limit}
        else:
            assert len(done.findings) == 50

    def test_warnings_are_not_limited(self, district: "District", town: "Package") -> None:
        strangers = [
            {
                **town.row("users", "father"),
                "sourcedId": f"stranger-{n}",
                "username": f"stranger-{n}",
                "userMasterIdentifier": f"00000000-0000-4000-8000-00000000000{n}",
            }
            for n in range(4)
        ]
        poor = town.put("users", *strangers)
        district.has(town)
        done = district.push(poor, limits=Limits(findings_max=3))
        assert (done.state, len(done.findings)) == ("applied", 4)

    def test_of_very_many_warnings_some_are_kept_and_all_are_counted(
        self, district: "District", town: "Package"
    ) -> None:
        """Also by school and by group; and the lines are read, and counted, again."""
        more = [
            {**town.row("enrollments", "e3"), "sourcedId": f"more-{n}", "classSourcedId": school}
            for n in range(1500)
            for school in (("c2", "c3")[n % 3 == 0],)
        ]
        many = town.put(
            "enrollments",
            *({**row, "schoolSourcedId": SCHOOL_OF[row["classSourcedId"]]} for row in more),
        )
        for push in (many, many.reversed()):
            done = district.push(push, limits=Limits(findings_max=3, piece=4096))
            assert done.state == "applied"
            own = {"run_id": done.run["id"], "rule": "value.uuid", "file": "enrollments.csv"}
            counts = [row for row in district.rows("finding_counts") if own.items() <= row.items()]
            assert {row["school"]: row["findings"] for row in counts} == {
                "north": 1000 + 3,
                "south": 500 + 1,
            }
            kept = [row for row in district.rows("findings") if own.items() <= row.items()]
            assert len(kept) == 1000
            groups = district.rows("finding_groups")
            assert 1504 in {row["findings"] for row in groups if row["run_id"] == own["run_id"]}

    def test_all_faults_of_all_files_are_named_in_one_attempt(
        self, district: "District", town: "Package"
    ) -> None:
        broken = (
            town.change("orgs", "north", {"type": "School"})
            .change("users", "taro", {"enabledUser": "yes"})
            .change("enrollments", "e4", {"primary": "1", "beginDate": "2026-02-30"})
            .change("demographics", "hana", {"birthDate": "2018/02/28"})
        )
        assert {*district.push(broken).places} >= {
            ("orgs.csv", 3, "type", "value.vocabulary"),
            ("users.csv", 2, "enabledUser", "value.boolean"),
            ("enrollments.csv", 5, "primary", "value.boolean"),
            ("enrollments.csv", 5, "beginDate", "value.date"),
            ("demographics.csv", 3, "birthDate", "value.date"),
        }

    @pytest.mark.parametrize("loaded", [False, True], ids=["first load", "later"])
    def test_a_new_user_without_a_role_is_a_warning(
        self, district: "District", town: "Package", *, loaded: bool
    ) -> None:
        if loaded:
            district.push(town)
        stranger = {
            **town.row("users", "father"),
            "sourcedId": "stranger",
            "username": "stranger",
            "userMasterIdentifier": "00000000-0000-4000-8000-000000000009",
        }
        done = district.push(town.put("users", stranger))
        assert (done.state, done.places) == (
            "applied",
            [("users.csv", 7, None, "record.user_without_role")],
        )
        assert done.findings[0].sourced_id == "stranger"

    def test_an_old_user_without_a_role_is_none(
        self, district: "District", town: "Package"
    ) -> None:
        alone = town.drop("roles", "r-father")
        assert len(district.push(alone).findings) == 1
        changed = alone.change("users", "father", {"sms": "1"})
        assert district.push(changed).findings == []

    def test_spelling_is_remarked_and_read(self, district: "District", town: "Package") -> None:
        text = town.text("enrollments").replace("metadata.jp.ShussekiNo", "metadata.jp.shussekino")
        done = district.push(town.zip(enrollments=text.encode()))
        assert (done.state, done.places) == (
            "applied",
            [("enrollments.csv", 1, "metadata.jp.shussekino", "header.spelling")],
        )
        assert district.records("enrollments")["e3"]["shusseki_no"] == 12


class TestHostileText:
    """What the database would choke on becomes a finding, not a failure."""

    @pytest.mark.parametrize("column", ["x\0y", "metadata.x\0", "metadata.\x1b[31m"])
    def test_a_control_character_in_a_header(
        self, district: "District", town: "Package", column: str
    ) -> None:
        text = town.text("orgs").replace("parentSourcedId\r", f"parentSourcedId,{column}\r")
        done = district.push(town.zip(orgs=text.encode()))
        assert done.places == [("orgs.csv", 1, None, "csv.control_character")]

    def test_a_control_character_in_the_manifest(
        self, district: "District", town: "Package"
    ) -> None:
        text = town.manifest() + '"a\0b","\0"\r\n'
        done = district.push(town.zip(manifest=text.encode()))
        assert done.places == [("manifest.csv", 25, None, "csv.control_character")]

    def test_a_control_character_in_the_name_of_an_entry(
        self, district: "District", town: "Package"
    ) -> None:
        data = town.zip(a_b=b"x").replace(b"a_b.csv", b"a\0b.csv")
        assert district.push(data).rules == {"package.entry_name"}

    @pytest.mark.parametrize("number", ["1２", "一", "9" * 19, "1e5"])
    def test_a_number_that_only_looks_like_one(
        self, district: "District", town: "Package", number: str
    ) -> None:
        column = "metadata.jp.ShussekiNo"
        done = district.push(town.change("enrollments", "e1", {column: number}))
        assert done.places == [("enrollments.csv", 2, column, "value.integer")]

    @pytest.mark.parametrize("code", [0xD800, 0xDFFF])
    def test_half_a_sign(self, district: "District", town: "Package", code: int) -> None:
        text = town.text("orgs").replace("北小学校", f"北{chr(code)}")
        data = town.zip(orgs=text.encode("utf-8", "surrogatepass"))
        assert district.push(data).places == [("orgs.csv", 3, None, "csv.encoding")]

    def test_an_unknown_column_named_like_one_of_ours(
        self, district: "District", town: "Package"
    ) -> None:
        names = [
            "metadata.line",
            "metadata.digest",
            "metadata.sourced_id",
            "metadata.",
            'metadata."',
        ]
        package = town.change("orgs", "north", dict.fromkeys(names, "x"))
        assert district.push(package).findings == []
        assert district.records("orgs")["north"]["metadata"] == dict.fromkeys(
            ("line", "digest", "sourced_id", "", '"'), "x"
        )

    def test_a_long_unknown_value_is_refused(self, district: "District", town: "Package") -> None:
        done = district.push(town.change("orgs", "north", {"metadata.x": "x" * 40_000}))
        assert done.places == [("orgs.csv", 3, "metadata.x", "csv.field_size")]


class TestSingleFiles:
    def test_a_single_file_of_the_base_layout_is_read(
        self, district: "District", nothing: "Package", town: "Package"
    ) -> None:
        base = type(nothing)(town.only("orgs").rows, {}, V1_2_1)
        done = district.push(base, entity="orgs", mode="bulk")
        assert (done.state, done.counts["orgs"]["created"]) == ("applied", 3)

    def test_a_single_japanese_file_needs_no_users_to_be_recognised(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        guarded = town.change("enrollments", "e2", {"role": "guardian"})
        done = district.push(guarded, entity="enrollments", mode="upsert")
        assert (done.state, done.rules) == ("applied", {"value.unusual"})

    def test_a_japanese_package_without_users_is_recognised(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        guarded = town.change("enrollments", "e2", {"role": "guardian"}).only("enrollments")
        done = district.push(guarded)
        assert (done.state, done.rules) == ("applied", {"value.unusual"})

    @pytest.mark.parametrize("mode", ["bulk", "delta", "upsert"])
    def test_a_single_file_without_rows_changes_nothing(
        self, district: "District", town: "Package", mode: Mode
    ) -> None:
        district.has(town)
        header = town.text("demographics").split("\r\n")[0].encode()
        for data in (header, header + b"\r\n"):
            done = district.push(data, entity="demographics", mode=mode)
            assert done.places == [("demographics.csv", None, None, "csv.no_rows")]

    def test_a_zip_that_is_said_to_be_one_file_is_refused(
        self, district: "District", town: "Package"
    ) -> None:
        assert district.push(town.zip(), entity="orgs", mode="bulk").state == "rejected"
