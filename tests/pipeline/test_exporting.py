"""An export: what goes out is what came in, one version of it, and comes in again unchanged."""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, TypeAlias
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from loadtests.rosters import District as Sample
from loadtests.rosters import package_name, write_package
from pipeline import claims, copying, exporting
from pipeline.claims import Watch
from pipeline.database import connect, tenant
from pipeline.exporting import EVERYBODY, Export, Reader
from pipeline.signs import BOM
from schemas.events import Event, ExportAdvanced, RunStarted
from schemas.exports import Wanted
from schemas.lens import Lens
from schemas.profiles import MANIFEST_ORDER, PROFILES
from schemas.pseudonyms import Pseudonyms, keys_of
from schemas.roster import BINDING, ROSTERING
from schemas.roster.people import User
from schemas.secrets import Vault
from schemas.view import View, of_lens
from tests.pipeline.conftest import Package
from tests.pipeline.test_proposals import decide, shown
from tests.pipeline.test_rekey import GUARD, accepted, renamed
from tests.pipeline.test_undo import taken_back

if TYPE_CHECKING:
    from tests.pipeline.conftest import District

FILES = tuple(entity.file for entity in ROSTERING)
SMALL = Sample(schools=2, users=60, enrollments_per_student=2, guardians=0.5)
EXOTIC = {"givenName": '太"郎,', "familyName": "髙橋 ", "middleName": "O'Neil\\", "sms": "=1+1"}

Samples: TypeAlias = Callable[[str], Path]

every_profile = pytest.mark.parametrize("profile", PROFILES)


@dataclass(frozen=True)
class Sent(Package):
    """A package that is bytes already."""

    data: bytes = b""

    def zip(self, **_instead: bytes | None) -> bytes:
        return self.data


@dataclass(frozen=True)
class Made:
    """A package as somebody gets it."""

    data: bytes
    package: exporting.Package
    events: list[Event]

    @property
    def zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(self.data))

    @property
    def files(self) -> dict[str, bytes]:
        return {name.removesuffix(".csv"): self.zip.read(name) for name in self.zip.namelist()}

    def rows(self, file: str, encoding: str = "utf-8") -> list[dict[str, str]]:
        return read(self.files[file], encoding)

    @property
    def delta(self) -> Package:
        """The same bytes, to be pushed where it counts how each file is meant."""
        rows = {file: () for file, mode in self.modes.items() if mode != "absent"}
        return Sent(rows, self.modes, data=self.data)

    @property
    def modes(self) -> dict[str, str]:
        found = {row["propertyName"]: row["value"] for row in self.rows("manifest")}
        return {e.file: found[f"file.{e.file}"] for e in BINDING if e.kept}


def read(data: bytes, encoding: str = "utf-8") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(encoding), newline="")))


def exported(
    district: "District",
    *,
    reader: Reader = EVERYBODY,
    meanwhile: Callable[[], object] = lambda: None,
    schedule: UUID | None = None,
    write: Callable[[bytes], object] | None = None,
    **wanted: object,
) -> Made:
    """Queue an export, claim it and make it; `meanwhile` happens when it has begun."""
    asked = Wanted.model_validate(wanted)
    district.hub.admin.execute(
        "insert into exports (tenant_id, id, wanted, created_by, schedule_id, due_at)"
        " values (%s, %s, %s, 'test', %s, %s)",
        [
            *(district.tenant_id, uuid4(), exporting.as_asked(asked), schedule),
            "2026-04-01T00:00:00Z" if schedule else None,
        ],
    )
    out, told = io.BytesIO(), list[Event]()

    def sink(_name: str) -> Callable[[bytes], object]:
        meanwhile()
        return write or out.write

    with connect(district.hub.url) as db, connect(district.hub.url) as roster:
        claim = exporting.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        assert claim.wanted == asked
        watch = Watch()
        export = Export(claim, roster, watch, told.append, reader)
        made = export.run(sink)
        with claims.holding(db, claim):
            exporting.complete(db, claim, watch, made, "test")
    return Made(out.getvalue(), made, told)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """A clean package of each profile."""
    folder = tmp_path_factory.mktemp("samples")

    def make(profile: str) -> Path:
        sample = replace(SMALL, profile=profile)
        path = folder / f"{profile}-{package_name(sample)}"
        write_package(path, sample)
        return path

    return make


class TestRoundTrip:
    @every_profile
    def test_what_came_in_goes_out_and_comes_in_again_without_a_finding(
        self, profile: str, district: "District", other: "District", *, samples: Samples
    ) -> None:
        """Every line as it came where the profile's text is canonical, every value elsewhere."""
        path = samples(profile)
        came = {name.removesuffix(".csv"): data for name, data in contents(path)}
        assert district.push(path).state == "applied"
        made = exported(district, profile=profile)
        assert {*made.files} == {*came}
        for file in FILES:
            header, *lines = came[file].split(b"\r\n")
            if PROFILES[profile].quoted:
                assert made.files[file].split(b"\r\n") == [header, *sorted(lines[:-1]), b""]
            assert made.rows(file) == sorted(read(came[file]), key=lambda r: r["sourcedId"])
            assert made.files[file].startswith(header + b"\r\n")
        version = district.versions()
        again = district.push(made.data)
        assert (again.state, again.findings, district.versions()) == ("applied", [], version)
        assert {name for counts in again.counts.values() for name in counts} == {
            "rows",
            "unchanged",
        }
        fresh = other.push(made.data)
        assert (fresh.state, fresh.findings) == ("applied", [])
        assert values(other) == values(district)
        assert exported(other, profile=profile).files.keys() == made.files.keys()
        for file in FILES:
            assert exported(other, profile=profile).files[file] == made.files[file]

    def test_signs_that_csv_must_quote_lists_and_unknown_columns_come_back(
        self, district: "District", other: "District", town: Package
    ) -> None:
        unknown = {"metadata.b{}'%": "x;y", "metadata.z": ""}
        strange = town.change("users", "taro", {**EXOTIC, **unknown})
        assert district.push(strange).state == "applied"
        for profile in ("JP-1.2.1", "1.2.1"):
            taro = by_id(exported(district, profile=profile), "users")["taro"]
            assert {name: taro[name] for name in EXOTIC} == EXOTIC
            assert (taro["metadata.b{}'%"], taro["agentSourcedIds"]) == ("x;y", "mother,father")
        made = exported(district)
        assert district.push(made.data).counts["users"] == {"rows": 5, "unchanged": 5}
        assert other.push(made.data).state == "applied"
        assert values(other) == values(district)
        assert "metadata.b{}'%" not in exported(district, metadata=False).rows("users")[0]

    def test_each_record_keeps_the_unknown_columns_that_it_has_and_gets_none_of_the_others(
        self, district: "District", other: "District", town: Package
    ) -> None:
        some = town.change("users", "taro", {"metadata.b": "1", "metadata.a": ""}).change(
            "users", "mother", {"metadata.a": "2", "metadata.b": ""}
        )
        district.push(some)
        late = {**town.row("users", "father"), "metadata.c": "3"}
        assert district.push(Package({}).delta("users", late)).state == "applied"
        kept = {key: row["metadata"] for key, row in district.roster()["users"].items()}
        assert kept.pop("father") == {"c": "3"}
        assert (kept.pop("taro"), kept.pop("mother")) == ({"b": "1"}, {"a": "2"})
        assert {*kept.values()} == {None}
        version, made = district.versions(), exported(district)
        again = district.push(made.data)
        assert (again.counts["users"], district.versions()) == (
            {"rows": 5, "unchanged": 5},
            version,
        )
        assert other.push(made.data).state == "applied"
        assert values(other) == values(district)

    def test_a_profile_writes_what_its_readers_understand(
        self, district: "District", town: Package
    ) -> None:
        guarded = town.put(
            "enrollments",
            {
                **town.row("enrollments", "e1"),
                "sourcedId": "e9",
                "userSourcedId": "mother",
                "role": "guardian",
                "metadata.jp.ShussekiNo": "",
            },
        )
        assert district.push(guarded).state == "applied"
        roles = {
            profile: by_id(exported(district, profile=profile), "enrollments")["e9"]["role"]
            for profile in PROFILES
        }
        assert roles == {
            "1.2": "ext:guardian",
            "1.2.1": "ext:guardian",
            **dict.fromkeys(("JP-1.2.1", "PSE-6.00", "K12-1.0"), "guardian"),
        }
        header = exported(district, profile="PSE-6.00").files["enrollments"].split(b"\r\n")[0]
        assert header.endswith(b",metadata.jp.shussekiNo,metadata.jp.publicFlg")
        bare = district.hub.district()
        coded = town.bare().change("courses", "hr", {"courseCode": "HR"})
        assert bare.push(coded).state == "applied"
        assert [r["courseCode"] for r in exported(bare).rows("courses")] == ["HR", ""]
        japanese = exported(bare, profile="JP-1.2.1").rows("courses")
        assert [row["courseCode"] for row in japanese] == ["", ""]


def by_id(made: Made, file: str) -> dict[str, dict[str, str]]:
    return {row["sourcedId"]: row for row in made.rows(file)}


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            yield name, archive.read(name)


def values(district: "District") -> dict[str, dict[str, dict[str, Any]]]:
    """The active records, without what tells of their time in this district."""
    mine = ("version", "created_version")
    return {
        file: {
            key: {name: value for name, value in row.items() if name not in mine}
            for key, row in rows.items()
            if row["status"] == "active"
        }
        for file, rows in district.roster().items()
    }


class TestPackage:
    def test_its_manifest_names_what_is_there_and_nothing_has_a_time(
        self, district: "District", town: Package
    ) -> None:
        district.push(town.without("demographics"))
        made = exported(district, entities=("users", "demographics", "roles"), profile="JP-1.2.1")
        assert made.zip.namelist() == ["manifest.csv", "users.csv", "roles.csv"]
        assert {entry.date_time for entry in made.zip.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {f for f, mode in made.modes.items() if mode == "bulk"} == {"users", "roles"}
        lines = made.files["manifest"].decode().split("\r\n")
        assert lines[:3] == [
            "propertyName,value",
            '"manifest.version","1.0"',
            '"oneroster.version","1.2"',
        ]
        assert [*MANIFEST_ORDER] == [
            line.split('"')[1].removeprefix("file.") for line in lines if line.startswith('"file.')
        ]
        assert sorted(MANIFEST_ORDER) == sorted(entity.file for entity in BINDING)
        assert made.package.counts == {"users": 5, "roles": 6}
        assert isinstance(made.events[0], RunStarted)
        last = [e for e in made.events if isinstance(e, ExportAdvanced)][-1]
        assert (last.file, last.done, last.total) == ("roles", 6, 6)

    def test_its_name_is_that_of_the_day_in_the_district_and_of_its_code(
        self, district: "District", town: Package
    ) -> None:
        def name(*schools: str) -> str:
            return exported(district, schools=schools).package.settled.name

        (day,) = district.hub.one("select to_char(now() at time zone 'Asia/Tokyo', 'YYYYMMDD')")
        fallback = district.hub.one(
            "select id from districts where tenant_id = %s", district.tenant_id
        )
        assert name() == f"RO_{day}_{fallback[0].replace('-', '')}.zip"
        school = {"identifier": "B113299999010"}
        district.push(town.change("orgs", "south", school))
        assert name() == f"RO_{day}_139999.zip"
        assert name("south") == f"RO_{day}_B113299999010.zip"
        assert name("north") == f"RO_{day}_139999.zip", "a school without a code"

    def test_the_profile_is_the_policys_or_that_of_the_last_package(
        self, district: "District", town: Package
    ) -> None:
        def profile() -> str:
            return exported(district).package.settled.plan.profile.name

        assert profile() == "1.2.1"
        district.push(town)
        assert profile() == "JP-1.2.1"
        district.hub.admin.execute(
            "update districts set policy = %s where tenant_id = %s",
            [Jsonb({"reading": {"profile": "PSE-6.00"}}), district.tenant_id],
        )
        assert profile() == "PSE-6.00"

    def test_it_is_one_version_though_another_is_published_meanwhile(
        self, district: "District", town: Package
    ) -> None:
        district.push(town)
        before = exported(district)
        changed = town.change("users", "taro", {"givenName": "次郎"}).drop("enrollments", "e2")
        during = exported(district, meanwhile=lambda: district.push(changed))
        assert during.data == before.data
        assert during.package.settled.plan.version == 1
        assert exported(district).data != before.data

    def test_it_is_the_same_to_the_byte_after_an_import_and_its_undo(
        self, district: "District", samples: Samples, tmp_path: Path
    ) -> None:
        district.push(samples("JP-1.2.1"))
        before = exported(district)
        later = tmp_path / "later.zip"
        write_package(later, replace(SMALL, generation=1, mutations=0.5))
        assert district.push(later).state == "applied"
        assert exported(district).data != before.data
        assert taken_back(district, 2).state == "applied"
        assert exported(district).data == before.data

    def test_a_spreadsheet_gets_a_mark_or_cp932_and_is_told_what_that_cannot_hold(
        self, district: "District", town: Package
    ) -> None:
        signs = {"givenName": "𠮷郎", "familyName": "波〜—髙"}
        district.push(town.bare().change("users", "taro", signs))
        plain = exported(district)
        marked = exported(district, encoding="utf-8-bom")
        assert marked.files == {
            file: data if file == "manifest" else BOM + data for file, data in plain.files.items()
        }
        old = exported(district, encoding="cp932")
        taro = next(r for r in old.rows("users", "cp932") if r["sourcedId"] == "taro")
        assert (taro["givenName"], taro["familyName"]) == ("〓郎", "波～―髙")
        line = 2 + [row["sourcedId"] for row in plain.rows("users")].index("taro")
        assert old.package.replaced == {"users": {"signs": 1, "lines": [line]}}
        others = [row for row in plain.rows("users") if row["sourcedId"] != "taro"]
        assert [r for r in old.rows("users", "cp932") if r["sourcedId"] != "taro"] == others


class TestDelta:
    def test_whoever_held_the_version_before_holds_this_one_after(
        self, district: "District", other: "District", town: Package
    ) -> None:
        for each in (district, other):
            each.push(town)
        changed = (
            town.change("users", "taro", {"givenName": "次郎"})
            .drop("enrollments", "e2")
            .change("roles", "r-mother", {"orgSourcedId": "south"})
        )
        district.push(changed)
        made = exported(district, mode="delta", since=1)
        published = district.hub.one(
            'select to_char(published_at, \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\') from versions'
            " where tenant_id = %s and version = 2",
            district.tenant_id,
        )
        assert {f for f, mode in made.modes.items() if mode == "delta"} == {
            *("users", "roles", "enrollments")
        }
        (gone,) = made.rows("enrollments")
        assert (gone["sourcedId"], gone["status"]) == ("e2", "tobedeleted")
        assert {row["dateLastModified"] for f in ("users", "roles") for row in made.rows(f)} == {
            *published
        }
        assert {row["sourcedId"] for row in made.rows("users")} == {"taro", "mother"}, "a part too"
        done = other.push(made.delta)
        assert (done.state, done.findings) == ("applied", [])
        assert values(other) == values(district)
        again = other.push(made.delta)
        assert again.counts["users"] == {"rows": 2, "unchanged": 2}

    def test_where_nothing_changed_there_is_a_manifest_only(
        self, district: "District", town: Package
    ) -> None:
        district.push(town)
        made = exported(district, mode="delta", since=1)
        assert made.zip.namelist() == ["manifest.csv"]
        assert {*made.modes.values()} == {"absent"}
        assert district.push(made.data).state == "applied"

    def test_a_schedule_goes_on_from_what_it_has_told(
        self, district: "District", town: Package
    ) -> None:
        schedule = uuid4()
        district.push(town)
        first = exported(district, mode="delta", schedule=schedule)
        assert (first.package.settled.plan.since, first.modes["users"]) == (None, "bulk")
        district.push(town.change("users", "taro", {"givenName": "次郎"}))
        district.hub.admin.execute("update exports set due_at = due_at - interval '1 day'")
        second = exported(district, mode="delta", schedule=schedule)
        assert (second.package.settled.plan.since, second.modes["users"]) == (1, "delta")
        district.hub.admin.execute("update exports set due_at = due_at - interval '2 days'")
        other = exported(district, mode="delta", schedule=schedule, schools=("north",))
        assert other.package.settled.plan.since is None, "it asks for something else now"


class TestView:
    def test_some_schools_are_a_package_of_their_own(
        self, district: "District", other: "District", samples: Samples
    ) -> None:
        district.push(samples("JP-1.2.1"))
        orgs = {
            r["identifier"]: r["sourced_id"] for r in district.rows("orgs") if r["type"] == "school"
        }
        school = orgs[min(orgs)]
        made = exported(district, schools=(school,), profile="JP-1.2.1")
        assert {row["type"] for row in made.rows("orgs")} == {"district", "school"}
        assert len(made.rows("orgs")) == 2
        for file, column in (("classes", "schoolSourcedId"), ("enrollments", "schoolSourcedId")):
            assert {row[column] for row in made.rows(file)} == {school}, file
        assert {row["orgSourcedId"] for row in made.rows("roles")} == {school}
        users = {row["sourcedId"] for row in made.rows("users")}
        assert users == {
            r["user_sourced_id"] for r in district.rows("roles") if r["org_sourced_id"] == school
        }
        done = other.push(made.delta)
        assert (done.state, done.findings) == ("applied", [])
        rest = exported(district, schools=tuple({*orgs.values()} - {school}))
        assert users.isdisjoint(row["sourcedId"] for row in rest.rows("users"))

    def test_who_leaves_the_school_is_deleted_there_and_who_comes_is_told(
        self, district: "District", other: "District", town: Package
    ) -> None:
        north: Mapping[str, Any] = {"schools": ("north",), "profile": "JP-1.2.1"}
        district.push(town)
        first = other.push(exported(district, **north).data)
        assert first.state == "applied", first.findings
        moved = (
            town.change("roles", "r-hana", {"orgSourcedId": "south"})
            .change(
                "users", "hana", {"primaryOrgSourcedId": "south", "metadata.jp.homeClass": "c3"}
            )
            .change("enrollments", "e3", {"classSourcedId": "c3", "schoolSourcedId": "south"})
            .change("roles", "r-teacher", {"orgSourcedId": "north"})
            .change("users", "teacher", {"primaryOrgSourcedId": "north"})
        )
        assert district.push(moved).state == "applied"
        made = exported(district, **north, mode="delta", since=1)
        state = by_id(made, "users")
        assert (state["hana"]["status"], state["hana"]["metadata.jp.homeClass"]) == (
            "tobedeleted",
            "c2",
        )
        assert (state["teacher"]["status"], state["teacher"]["primaryOrgSourcedId"]) == (
            "active",
            "north",
        )
        assert {r["sourcedId"] for r in made.rows("demographics")} == {"hana"}, "though unchanged"
        done = other.push(made.delta)
        assert done.state == "applied", done.findings
        assert exported(other, **north).files == exported(district, **north).files | {
            "manifest": exported(other, **north).files["manifest"]
        }

    def test_a_hidden_column_is_blank_and_what_it_points_at_is_kept_back(
        self, district: "District", town: Package
    ) -> None:
        district.push(
            town.put(
                "users",
                {
                    **town.row("users", "hana"),
                    "sourcedId": "x",
                    "username": "x",
                    "userMasterIdentifier": "00000000-0000-4000-8000-0000000000b1",
                    "metadata.private": "1",
                },
            )
        )
        view = View(
            visible={User: "{row}.sourced_id = any({shown})"},
            kept={User.agent_sourced_ids: "{value} = any({shown})"},
            facts={"shown": ["taro", "mother", "x"]},
            hidden=frozenset({User.username}),
            bare=frozenset({User}),
        )
        made = exported(district, reader=Reader(view), profile="JP-1.2.1")
        users = by_id(made, "users")
        assert {*users} == {"taro", "mother", "x"}
        assert {row["username"] for row in users.values()} == {""}
        assert users["taro"]["agentSourcedIds"] == "mother"
        assert "metadata.private" not in users["x"]
        assert "metadata.private" in exported(district).rows("users")[0]

    def test_a_lens_lets_out_what_it_shows_and_pseudonyms_for_the_rest(
        self, district: "District", town: Package
    ) -> None:
        district.push(town)
        lens = Lens(
            schools=frozenset({"north"}),
            fields=frozenset({"agents", "demographics"}),
            pseudonyms=frozenset({"sourcedIds", "names"}),
        )
        veil = Pseudonyms(keys_of(Vault("a secret of 32 characters or more"), 1, "reader"), lens)
        reader = Reader(of_lens(lens), veil, 1)
        made = exported(district, reader=reader, profile="JP-1.2.1", identifiers="source")
        assert made.package.settled.identifiers == "hub"
        assert {row["sourcedId"] for row in made.rows("classes")} == {"c1", "c2"}
        assert {row["sourcedId"] for row in made.rows("orgs")} == {"board", "north"}
        shown = {veil.shown("users", key): key for key in ("taro", "hana", "mother", "father")}
        users = by_id(made, "users")
        assert {*shown} <= {*users}
        taro = users[veil.shown("users", "taro")]
        assert {shown[key] for key in taro["agentSourcedIds"].split(",")} == {"mother", "father"}
        assert (taro["email"], taro["userMasterIdentifier"], taro["metadata.jp.homeClass"]) == (
            *("", ""),
            "",
        )
        assert {row["userSourcedId"] for row in made.rows("enrollments")} <= {*users}
        assert {shown[row["sourcedId"]] for row in made.rows("demographics")} == {"taro", "hana"}
        data = b"".join(made.files.values()).decode()
        for real in ("taro", "hana", "太郎", "佐藤", "タロウ"):
            assert real not in data, real
        assert made.files["users"].splitlines()[1].startswith(b'"p_'), "quoted as the profile asks"
        unveiled = exported(district, reader=Reader(of_lens(Lens())), profile="JP-1.2.1")
        assert {*by_id(unveiled, "users")} == {row["sourcedId"] for row in town.rows["users"]}
        assert unveiled.modes["demographics"] == "absent", "nobody granted it"


class TestIdentifiers:
    def test_the_sources_own_ids_are_written_where_the_district_wants_it(
        self, district: "District", town: Package
    ) -> None:
        district.push(town)
        decide(district, GUARD | {"identifiers": "source"})
        assert accepted(district, shown(district, renamed(town, *FILES))).state == "applied"
        theirs, ours = exported(district), exported(district, identifiers="hub")
        new = renamed(town, *FILES)
        for file in FILES:
            wanted = {row["sourcedId"]: row for row in new.rows[file]}
            rows = theirs.rows(file)
            assert {row["sourcedId"] for row in rows} == {*wanted}, file
            for row in rows:
                mine = wanted[row["sourcedId"]]
                assert {name: row[name] for name in mine} == mine, file
        assert {row["sourcedId"] for row in ours.rows("users")} == {
            row["sourcedId"] for row in town.rows["users"]
        }
        for made in (theirs, ours):
            done = district.push(made.data)
            assert {n for counts in done.counts.values() for n in counts} == {"rows", "unchanged"}
        late = exported(district, mode="delta", since=1)
        assert late.modes["users"] == "bulk", "no delta tells new names of unchanged records"
        assert exported(district, mode="delta", since=2).modes["users"] == "absent"


def test_lines_end_as_they_must_whatever_stands_in_them_and_an_error_is_no_end(
    district: "District",
) -> None:
    def read(query: LiteralString, size: int) -> list[tuple[bytes, int]]:
        with connect(district.hub.url) as db, tenant(db, district.tenant_id):
            return [
                *copying.lines(db, SQL(f"copy ({query}) to stdout (format csv)").format(), size)
            ]

    broken = "select E'a\\nb' union all select 'c'"
    assert read(broken, 5) == [(b'"a\nb"\r\nc\r\n', 2)]
    for rows, pieces in ((0, []), (2, [2]), (3, [3]), (7, [3, 3, 1])):
        found = read(f"select n from generate_series(1, {rows}) as n", 3)
        assert [count for _, count in found] == pieces
        assert b"".join(data for data, _ in found).split() == [
            b"%d" % n for n in range(1, rows + 1)
        ]
    with pytest.raises(psycopg.errors.DivisionByZero):
        read("select 1 / (10000 - n) from generate_series(1, 10000) as n", 3)


def test_a_disk_that_is_full_ends_the_attempt_and_not_the_connection(
    district: "District", town: Package
) -> None:
    district.push(town)
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(OSError, match="No space"),
    ):
        exported(district, write=full.write)


def test_an_export_that_was_lost_meanwhile_writes_nothing(
    district: "District", town: Package
) -> None:
    district.push(town)

    def cancel() -> None:
        with psycopg.connect(district.hub.url, autocommit=True) as db:
            db.execute(
                "update rosterhub.exports set state = 'cancelled', lease_until = null,"
                " finished_at = now() where state = 'running' and tenant_id = %s",
                [district.tenant_id],
            )

    with pytest.raises(claims.Fenced):
        exported(district, meanwhile=cancel)
    assert [row["object_key"] for row in district.rows("exports")] == [None]
