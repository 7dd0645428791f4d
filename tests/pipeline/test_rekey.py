"""A source gives its records new sourcedIds: the hub recognises them, and keeps its own."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import polars as pl
import pytest
from psycopg.types.json import Jsonb

from pipeline import aliases, claims
from pipeline.aliases import columns
from pipeline.claims import Fenced, Watch
from pipeline.database import connect
from pipeline.deciding import Deciding
from pipeline.undo import Undo
from schemas.identity import IDENTITIES, space
from schemas.proposals import kept_map
from schemas.roster import BY_FILE, ROSTERING
from tests.pipeline.conftest import TOWN
from tests.pipeline.test_proposals import answered, attempt, decide, image, shown

if TYPE_CHECKING:
    from schemas.events import RunEnded
    from schemas.roster import AnyEntity
    from tests.pipeline.conftest import District, Hub, Package

GUARD = {
    "guard": {
        "deletions": 1,
        "updates": 1,
        "absent_files": False,
        "school_year": False,
        "older_package": False,
        "at_least": 1,
    }
}
EVERYTHING = tuple(entity.file for entity in ROSTERING)


def renamed(package: "Package", *files: str, prefix: str = "new-") -> "Package":
    """The package as it is when its source gives all records of these files other ids."""
    taken = {
        space(BY_FILE[file]): {row["sourcedId"] for row in package.rows[file]}
        for file in files
        if space(BY_FILE[file]) == file
    }

    def put(file: str, cell: str) -> str:
        return ",".join(
            f"{prefix}{key}" if key in taken.get(file, ()) else key for key in cell.split(",")
        )

    rows = {
        file: tuple(
            {
                **row,
                **{
                    name: put(to, row[name])
                    for name, to in spelled(BY_FILE[file]).items()
                    if row.get(name)
                },
            }
            for row in rows
        )
        for file, rows in package.rows.items()
    }
    return replace(package, rows=rows)


def master(number: int) -> str:
    """A userMasterIdentifier that nobody has."""
    return f"{number:08}-0000-4000-8000-000000000000"


def spelled(entity: "AnyEntity") -> Mapping[str, str]:
    """The columns with ids, as a file calls them, and whose these are."""
    return {column.csv: to for column, to in columns(entity)}


def the_map(district: "District", run_id: UUID) -> dict[str, dict[str, str]]:
    """What is proposed: by file, the source's id and the hub's."""
    found: dict[str, dict[str, str]] = {}
    schema, table = kept_map(run_id)
    for entity, source, hub in district.hub.admin.execute(
        f"select entity, source_id, hub_id from {schema}.{table}".encode()  # ours
    ):
        found.setdefault(entity, {})[source] = hub
    return found


def whole(package: "Package", *files: str) -> dict[str, dict[str, str]]:
    """The map when every record of these files has another id."""
    return {
        file: {f"new-{row['sourcedId']}": row["sourcedId"] for row in package.rows[file]}
        for file in files
        if space(BY_FILE[file]) == file
    }


def reasons(district: "District", run_id: UUID) -> dict[str, Mapping[str, Any]]:
    """The reasons of a run that is held for its ids."""
    guard = district.run(run_id)["guard"]
    return {r["entity"]: r for r in guard["reasons"] if r["code"] == "rekey"}


def asked(district: "District", run_id: UUID) -> Mapping[str, Any]:
    """What accepting the map comes to, worked out and shown."""
    before = district.everything()
    assert answered(district, run_id, "rekey").state == "held"
    assert district.everything() == before
    rekey: Mapping[str, Any] = district.run(run_id)["rekey"]
    return rekey


def accepted(district: "District", run_id: UUID) -> "RunEnded":
    """Look at what the map comes to, and approve that."""
    seen = asked(district, run_id)
    end = answered(district, run_id, "approve", diff=seen["diff"], rekey=True)
    assert district.record_counts() == district.counted()
    return end


def taken_back(district: "District", version: int) -> "RunEnded":
    run_id = uuid4()
    district.hub.admin.execute(
        "insert into runs (tenant_id, id, kind, undoes, created_by)"
        " values (%s, %s, 'undo', %s, 'test')",
        [district.tenant_id, run_id, version],
    )
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        return Undo(claim, db, Watch(), lambda _: None).run()


@pytest.fixture
def settled(district: "District", town: "Package") -> "District":
    """A town with one version, guarded."""
    district.has(town)
    decide(district, GUARD)
    return district


@pytest.fixture(scope="module")
def model(hub: "Hub") -> "District":
    """The same after its source gave everything another id, and that was accepted."""
    district = hub.district()
    district.has(TOWN)
    decide(district, GUARD)
    assert accepted(district, shown(district, renamed(TOWN, *EVERYTHING))).state == "applied"
    return district


@pytest.fixture
def rekeyed(hub: "Hub", model: "District", district: "District") -> "District":
    """A copy of it, to push to."""
    hub.copy(model, district)
    decide(district, GUARD)
    return district


class TestRecognised:
    @pytest.mark.parametrize(
        "files",
        [("users",), ("orgs",), ("classes",), ("enrollments", "roles"), EVERYTHING],
        ids=lambda files: "+".join(files) if len(files) < len(EVERYTHING) else "everything",
    )
    def test_new_ids_of_the_same_records_hold_the_run_with_the_map(
        self, settled: "District", town: "Package", files: tuple[str, ...]
    ) -> None:
        run_id = shown(settled, renamed(town, *files))
        assert settled.run(run_id)["state"] == "held"
        assert the_map(settled, run_id) == whole(town, *files)
        found = reasons(settled, run_id)
        for file in files:
            number = len(town.rows[file])
            counts = {name: found[file][name] for name in ("count", "vanished", "new", "stored")}
            assert counts == dict.fromkeys(counts, number), file
            assert found[file]["ambiguous"] == 0

    def test_records_that_are_really_new_stay_new(
        self, settled: "District", town: "Package"
    ) -> None:
        jiro = {"sourcedId": "jiro", "username": "jiro", "userMasterIdentifier": master(9)}
        package = renamed(town, "users").put("users", {**town.row("users", "teacher"), **jiro})
        run_id = shown(settled, package)
        assert the_map(settled, run_id) == whole(town, "users")
        end = accepted(settled, run_id)
        assert end.counts["users"]["created"] == 1
        assert set(settled.records("users")) == {r["sourcedId"] for r in town.rows["users"]} | {
            "jiro"
        }

    def test_twins_that_nothing_tells_apart_are_left_out_and_counted(
        self, district: "District", town: "Package"
    ) -> None:
        twin = {"userMasterIdentifier": "", "username": "", "email": "a@example.jp"}
        package = town
        for key in ("taro", "hana"):
            names = {"givenName": "太郎", "familyName": "山田", "username": "same"}
            package = package.change("users", key, {**twin, **names})
        anything = {"reading": {"profile": "1.2.1"}}  # Japan asks for the identifier
        decide(district, anything)
        district.push(package)
        decide(district, GUARD | anything)
        run_id = shown(district, renamed(package, "users"))
        expected = whole(package, "users")
        del expected["users"]["new-taro"], expected["users"]["new-hana"]
        assert the_map(district, run_id) == expected
        assert reasons(district, run_id)["users"]["ambiguous"] == 2

    def test_another_master_identifier_is_another_person_whatever_the_names_say(
        self, settled: "District", town: "Package"
    ) -> None:
        package = renamed(town, "users").change(
            "users", "new-taro", {"userMasterIdentifier": master(99)}
        )
        assert "new-taro" not in the_map(settled, shown(settled, package))["users"]

    def test_a_real_mass_replacement_proposes_nothing(
        self, settled: "District", town: "Package"
    ) -> None:
        package = renamed(town, "users")
        for number, row in enumerate(package.rows["users"]):
            other = {"userMasterIdentifier": master(number), "username": f"x{number}"}
            package = package.change("users", row["sourcedId"], {**other, "givenName": "別"})
        assert settled.push(package).state == "applied"

    def test_classes_of_another_year_are_not_those_of_this_year(
        self, settled: "District", town: "Package"
    ) -> None:
        package = renamed(town, "academicSessions", "courses", "classes")
        for row in package.rows["academicSessions"]:
            days = {
                n: str(int(row[n][:4]) + 5) + row[n][4:]
                for n in ("startDate", "endDate", "title", "schoolYear")
            }
            package = package.change("academicSessions", row["sourcedId"], days)
        assert settled.push(package).state == "applied"

    def test_a_few_new_ids_are_not_held(self, settled: "District", town: "Package") -> None:
        decide(settled, {"guard": {**GUARD["guard"], "rekey_share": 0.3}})
        one = {**town.row("enrollments", "e1"), "sourcedId": "e9"}
        assert settled.push(town.drop("enrollments", "e1").put("enrollments", one)).state == (
            "applied"
        )

    @pytest.mark.parametrize("off", [{"rekey": False}, {"on": False}, {"at_least": 1000}])
    def test_a_district_may_decide_not_to_look(
        self, settled: "District", town: "Package", off: dict[str, object]
    ) -> None:
        decide(settled, {"guard": GUARD["guard"] | off})
        assert settled.push(renamed(town, "users")).state == "applied"


class TestAccepted:
    @pytest.mark.parametrize(
        "files",
        [("users",), ("orgs",), ("classes",), EVERYTHING],
        ids=lambda files: "+".join(files) if len(files) < len(EVERYTHING) else "everything",
    )
    def test_the_hub_keeps_its_ids_and_writes_no_record(
        self, settled: "District", town: "Package", files: tuple[str, ...]
    ) -> None:
        before, writes = image(settled), settled.writes()
        run_id = shown(settled, renamed(town, *files))
        seen = asked(settled, run_id)
        assert not any(any(counts.values()) for counts in seen["counts"].values())
        end = answered(settled, run_id, "approve", diff=seen["diff"], rekey=True)
        assert (end.state, end.version) == ("applied", 2)
        after = image(settled)
        for what in ("live", "history", "counts"):
            assert after[what] == before[what], what
        assert settled.writes() == writes
        numbers = {file: len(pairs) for file, pairs in whole(town, *files).items()}
        assert {f: c["rekeyed"] for f, c in end.counts.items() if "rekeyed" in c} == numbers
        assert seen["rekeyed"] == numbers
        for file, counts in end.counts.items():
            assert counts["unchanged"] == counts["rows"] == len(town.rows[file])

    def test_the_next_package_with_the_new_ids_is_unchanged(
        self, rekeyed: "District", town: "Package"
    ) -> None:
        writes = rekeyed.writes()
        for _ in range(2):  # by values, then by lines
            done = rekeyed.push(renamed(town, *EVERYTHING))
            assert (done.state, done.end.version) == ("applied", 2)
            assert {name for c in done.counts.values() for name in c} == {"rows", "unchanged"}
        assert rekeyed.writes() == writes

    def test_known_lines_stand_for_the_hubs_ids(self, rekeyed: "District", town: "Package") -> None:
        package = renamed(town.bare(), *EVERYTHING)  # lines with remarks are not known
        rekeyed.push(package)
        assert len(rekeyed.rows("known_lines")) == len(ROSTERING)
        done = rekeyed.push(
            package.drop("enrollments", "new-e2").change("users", "new-taro", {"givenName": "太朗"})
        )
        assert done.counts["enrollments"]["deleted"] == 1
        assert done.counts["users"]["updated"] == 1
        assert rekeyed.records("enrollments")["e2"]["status"] == "tobedeleted"
        assert rekeyed.records("users")["taro"]["given_name"] == "太朗"

    def test_real_changes_beside_the_new_ids_are_applied_to_the_old_records(
        self, settled: "District", town: "Package"
    ) -> None:
        package = (
            renamed(town, *EVERYTHING)
            .change("users", "new-taro", {"grades": "P2", "agentSourcedIds": "new-father"})
            .change("classes", "new-c3", {"periods": "2,4"})
            .drop("enrollments", "new-e2")
        )
        end = accepted(settled, shown(settled, package))
        assert end.counts["users"]["updated"] == 1
        assert end.counts["enrollments"]["deleted"] == 1
        live = settled.records("users")
        assert live["taro"]["agent_sourced_ids"] == ["father"]
        assert (live["taro"]["version"], live["taro"]["created_version"]) == (2, 1)
        writes = settled.writes()
        assert settled.push(package).end.version == 2
        assert settled.writes() == writes, "the digests are those of the file"

    def test_the_digest_is_that_of_the_hubs_ids(
        self, settled: "District", other: "District", town: "Package"
    ) -> None:
        changed = town.change("users", "taro", {"grades": "P2,P3"})
        accepted(settled, shown(settled, renamed(changed, *EVERYTHING)))
        other.push(changed)
        for entity in ROSTERING:
            mine, twin = (
                {row["sourced_id"]: row["digest"] for row in d.rows(entity.table)}
                for d in (settled, other)
            )
            assert mine == twin, entity.file

    def test_a_delta_may_name_the_new_ids(self, rekeyed: "District", town: "Package") -> None:
        source = renamed(town, *EVERYTHING)
        row = {**source.row("enrollments", "new-e1"), "sourcedId": "fresh", "role": "teacher"}
        delta = source.only().delta("enrollments", row)
        gone = {**source.row("enrollments", "new-e3")}
        done = rekeyed.push(delta)
        assert done.state == "applied"
        fresh = rekeyed.records("enrollments")["fresh"]
        assert (fresh["user_sourced_id"], fresh["class_sourced_id"]) == ("taro", "c1")
        rekeyed.push(source.only().delta("enrollments", gone, status="tobedeleted"))
        assert rekeyed.records("enrollments")["e3"]["status"] == "tobedeleted"

    def test_ids_may_change_again(self, rekeyed: "District", town: "Package") -> None:
        again = renamed(town, *EVERYTHING, prefix="v3-")
        run_id = shown(rekeyed, again)
        assert the_map(rekeyed, run_id)["users"]["v3-taro"] == "taro"
        assert accepted(rekeyed, run_id).version == 3
        assert rekeyed.push(again).end.version == 3
        assert rekeyed.push(renamed(town, *EVERYTHING)).end.version == 3


class TestNotAccepted:
    def test_the_plain_diff_may_be_approved_instead(
        self, settled: "District", other: "District", town: "Package"
    ) -> None:
        other.has(town)
        package = renamed(town, *EVERYTHING)
        run_id = shown(settled, package)
        asked(settled, run_id)
        end = answered(settled, run_id, "approve", diff=settled.run(run_id)["diff"])
        other.push(package)
        assert end.state == "applied"
        assert image(settled) == image(other)
        assert settled.rows("aliases") == []

    def test_what_was_not_shown_is_not_applied(self, settled: "District", town: "Package") -> None:
        run_id = shown(settled, renamed(town, "users"))
        plain = settled.run(run_id)["diff"]
        before = settled.everything()
        end = answered(settled, run_id, "approve", diff=plain, rekey=True)
        assert end.state == "held"
        assert settled.run(run_id)["failure"]["code"] == "diff_changed"
        assert settled.everything() == before
        assert settled.rows("aliases") == []

    def test_a_claim_that_is_gone_leaves_no_alias(
        self, settled: "District", town: "Package", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run_id = shown(settled, renamed(town, "users"))
        seen = asked(settled, run_id)
        before = settled.everything()
        settled.hub.admin.execute(
            "update runs set state = 'queued', decision = %s, attempts = 0 where id = %s",
            [Jsonb({"kind": "approve", "diff": seen["diff"], "rekey": True}), run_id],
        )

        def taken(*_: object, **__: object) -> None:
            assert settled.rows("aliases") == [], "seen before the commit"
            raise Fenced

        with connect(settled.hub.url) as db:
            claim = claims.take(db, settled.tenant_id, lease=60, worker="test")
            assert claim is not None
            with monkeypatch.context() as planted:
                planted.setattr(claims, "end", taken)
                with pytest.raises(Fenced):
                    Deciding(claim, db, Watch(), lambda _: None).run()
            claims.release(db, claim, 0)
        assert settled.everything() == before
        assert settled.rows("aliases") == []
        assert attempt(settled, run_id).state == "applied"

    def test_what_the_map_breaks_is_not_applied(self, settled: "District", town: "Package") -> None:
        new = renamed(town, "users")
        package = (
            replace(new, rows={**new.rows, "demographics": ()})
            .delta("demographics", *new.rows["demographics"])
            .delta("demographics", *town.rows["demographics"], status="tobedeleted")
        )
        run_id = shown(settled, package)
        before = settled.everything()
        assert answered(settled, run_id, "rekey").state == "held"
        run = settled.run(run_id)
        assert (run["failure"]["code"], run["rekey"]) == ("rekey_breaks", None)
        assert settled.everything() == before

    def test_other_districts_see_neither_map_nor_aliases(
        self, rekeyed: "District", other: "District", town: "Package"
    ) -> None:
        run_id = shown(rekeyed, renamed(town, "users", prefix="v3-"))
        schema, table = kept_map(run_id)
        with connect(other.hub.url) as db, db.transaction():
            db.execute("select set_config('rosterhub.tenant_id', %s, true)", [str(other.tenant_id)])
            for name in (f"{schema}.{table}", "aliases"):
                query = f"select count(*) from {name}".encode()  # ours
                assert db.execute(query).fetchone() == (0,)


class TestFindings:
    def test_they_name_the_ids_and_lines_of_the_file(
        self, rekeyed: "District", town: "Package"
    ) -> None:
        package = renamed(town, *EVERYTHING)
        wrong = package.change("enrollments", "new-e2", {"userSourcedId": "nobody"}).drop(
            "classes", "new-c2"
        )
        done = rekeyed.push(wrong)
        assert done.state == "rejected"
        found = {(f.file, f.line, f.column, f.sourced_id, f.value) for f in done.findings}
        assert ("enrollments.csv", 3, "userSourcedId", "new-e2", "nobody") in found
        assert ("enrollments.csv", None, "classSourcedId", "new-e3", "new-c2") in found
        assert ("users.csv", None, "metadata.jp.homeClass", "new-hana", "new-c2") in found

    def test_stored_records_go_by_the_ids_that_their_source_uses(
        self, rekeyed: "District", town: "Package"
    ) -> None:
        package = renamed(town, *EVERYTHING).only("classes").drop("classes", "new-c3")
        done = rekeyed.push(package)
        found = {(f.file, f.sourced_id, f.value) for f in done.findings}
        assert ("enrollments.csv", "new-e2", "new-c3") in found

    def test_a_record_may_not_stand_there_under_both_ids(
        self, rekeyed: "District", town: "Package"
    ) -> None:
        package = renamed(town, *EVERYTHING).put("enrollments", town.row("enrollments", "e1"))
        done = rekeyed.push(package)
        assert done.state == "rejected"
        (found,) = [f for f in done.findings if f.rule == "record.aliased_twice"]
        assert (found.line, found.value, found.facts["hub"]) == (6, "new-e1", "e1")

    def test_a_faulty_row_keeps_its_record(self, rekeyed: "District", town: "Package") -> None:
        decide(rekeyed, {**GUARD, "reading": {"faulty_rows": "skip", "tolerance": 1}})
        package = renamed(town, *EVERYTHING).change("enrollments", "new-e1", {"role": "king"})
        done = rekeyed.push(package)
        assert done.state == "applied"
        assert done.counts["enrollments"] == {"rows": 4, "unchanged": 3, "rejected": 1}
        assert rekeyed.records("enrollments")["e1"]["status"] == "active"


class TestUndone:
    def test_undoing_the_version_takes_the_aliases_back(
        self, rekeyed: "District", town: "Package"
    ) -> None:
        live = rekeyed.roster()
        end = taken_back(rekeyed, 2)
        assert (end.state, end.version) == ("applied", 3)
        assert end.counts["users"]["rekeyed"] == len(town.rows["users"])
        assert rekeyed.roster() == live
        assert rekeyed.push(town).end.version == 3
        run_id = shown(rekeyed, renamed(town, *EVERYTHING))
        assert the_map(rekeyed, run_id) == whole(town, *EVERYTHING)
        assert accepted(rekeyed, run_id).version == 4

    def test_undoing_the_undo_brings_them_again(self, rekeyed: "District", town: "Package") -> None:
        taken_back(rekeyed, 2)
        end = taken_back(rekeyed, 3)
        assert end.counts["users"]["rekeyed"] == len(town.rows["users"])
        writes = rekeyed.writes()
        assert rekeyed.push(renamed(town, *EVERYTHING)).end.version == 4
        assert rekeyed.writes() == writes

    def test_ids_that_records_bear_by_now_are_no_aliases_again(
        self, rekeyed: "District", town: "Package"
    ) -> None:
        taken_back(rekeyed, 2)
        decide(rekeyed, {"guard": {"on": False}})
        package = renamed(town, *EVERYTHING)
        rekeyed.push(package)
        taken_back(rekeyed, 3)
        assert rekeyed.push(package).state == "applied"
        assert rekeyed.records("users")["new-taro"]["status"] == "active"


@pytest.mark.parametrize(
    "name",
    sorted({f"{c.entity}.{c.name}" for e in ROSTERING for c, _ in columns(e)}),
)
def test_a_column_that_is_not_translated_would_be_noticed(
    rekeyed: "District", town: "Package", monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    table, _, column = name.partition(".")
    entity = next(e for e in ROSTERING if e.table == table)
    filled = {c.csv: c for c, _ in columns(entity)}
    csv = next(n for n, c in filled.items() if c.name == column)
    if not any(row.get(csv) for row in town.rows[entity.file]):
        pytest.skip("the town has no such reference")

    def planted(of: "AnyEntity") -> list[Any]:
        return [each for each in columns(of) if (of.table, each[0].name) != (table, column)]

    monkeypatch.setattr(aliases, "columns", planted)
    run = rekeyed_again(rekeyed, renamed(town, *EVERYTHING))
    assert run["state"] != "applied" or run["version"] != 2


def rekeyed_again(district: "District", package: "Package") -> Mapping[str, Any]:
    path = district.hub.stored(package, None)
    run_id = district.hub.queued(district.tenant_id, path, None, None)
    attempt(district, run_id, package)
    return district.run(run_id)


def test_lists_are_translated_item_by_item() -> None:
    cells = pl.Series("agents", ['{"a","b"}', None, '{"c"}', '{"ab"}'])
    pairs = pl.DataFrame({"source": ["a", "c"], "hub": ["x", "y"]})
    assert aliases.in_lists(cells, pairs).to_list() == ['{"x","b"}', None, '{"y"}', '{"ab"}']


def test_every_entity_has_an_identity_or_bears_the_ids_of_another() -> None:
    assert set(IDENTITIES) == set(ROSTERING)
    for entity, identities in IDENTITIES.items():
        assert bool(identities) == (space(entity) == entity.file)
        for alike in identities:
            assert all(column in entity.stored() for column in (*alike.by, *alike.also))


def test_identities_refer_to_what_is_loaded_before() -> None:
    order = [entity.file for entity in ROSTERING]
    for entity, identities in IDENTITIES.items():
        for column in (c for alike in identities for c in (*alike.by, *alike.also)):
            if to := getattr(column, "to", None):
                assert order.index(to) < order.index(entity.file)
