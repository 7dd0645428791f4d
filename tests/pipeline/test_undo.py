"""An undo: what a version changed is as it was, value by value, and what came later stays."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from pipeline import claims, stage
from pipeline.claims import Claim, Fenced, Watch
from pipeline.database import Connection, connect, tenant
from pipeline.limits import Limits
from pipeline.stage import gone, names, staged
from pipeline.undo import Redo, Undo, redoes
from schemas.events import Event, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.roster import BY_FILE, ROSTERING
from schemas.rules import RULES, Finding

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Package

WEST = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}
TIME = {"version", "created_version", "tenant_id"}
"""What an undo moves on: a restored record has the version of the undo."""


def queued(district: "District", version: int) -> UUID:
    run_id = uuid4()
    district.hub.admin.execute(
        "insert into runs (tenant_id, id, kind, undoes, created_by)"
        " values (%s, %s, 'undo', %s, 'test')",
        [district.tenant_id, run_id, version],
    )
    return run_id


def claimed(db: Connection, district: "District") -> Claim:
    claim = claims.take(db, district.tenant_id, lease=60, worker="test")
    assert claim is not None
    return claim


def taken_back(district: "District", version: int, **limits: int) -> RunEnded:
    """Undo a version, and look at every law that holds for every run."""
    run_id = queued(district, version)
    before = district.everything()
    told: list[Event] = []
    with connect(district.hub.url) as db:
        claim = claimed(db, district)
        assert (claim.id, claim.kind, claim.undoes) == (run_id, "undo", version)
        end = Undo(claim, db, Watch(), told.append, Limits(**limits)).run()
    run = district.run(run_id)
    assert (run["state"], run["counts"], run["version"]) == (end.state, end.counts, end.version)
    severities = [found.severity for found in district.findings(run_id)]
    assert run["findings"] == end.findings == {s: severities.count(s) for s in {*severities}}
    assert isinstance(told[0], RunStarted)
    if end.state == "rejected":
        assert district.everything() == before
        return end
    assert district.record_counts() == district.counted()
    assert district.versions() == [*range(1, (end.version or 0) + 1)]
    for file, counts in end.counts.items():
        became = counts.get("updated", 0) + counts.get("deleted", 0) + counts.get("unchanged", 0)
        assert counts.get("rows", 0) == became, file
    return end


def released(district: "District") -> None:
    """Let packages bring back what was undone."""
    district.hub.admin.execute(
        "update versions set released_at = now() where tenant_id = %s and kind = 'undo'",
        [district.tenant_id],
    )


def active(district: "District") -> dict[str, dict[str, dict[str, Any]]]:
    """What a bulk export has: values and digests of the active records."""
    return {
        entity.file: {
            row["sourced_id"]: {name: row[name] for name in names(entity)}
            for row in district.rows(entity.table)
            if row["status"] == "active"
        }
        for entity in ROSTERING
    }


def named(district: "District", run: str = "undo") -> list[tuple[str, str | None, str]]:
    """What the newest run of the kind found."""
    runs = [row for row in district.rows("runs") if row["kind"] == run]
    newest = max(runs, key=lambda row: row["created_at"])
    return [(f.file, f.sourced_id, f.rule) for f in district.findings(newest["id"])]


def changed(town: "Package") -> "Package":
    """Something of everything: new, changed, gone, in most files, and parts of a user."""
    return (
        town.change("users", "taro", {"givenName": "太朗", "grades": "P2, P3", "sms": "1"})
        .change("classes", "c3", {"periods": "1,4", "metadata.x": "new"})
        .change("roles", "r-teacher2", {"role": "aide"})
        .change("userProfiles", "p-taro", {"applicationId": ""})
        .put("orgs", WEST)
        .put("enrollments", {**town.row("enrollments", "e1"), "sourcedId": "e9"})
        .drop("enrollments", "e2")
        .drop("demographics", "hana")
    )


class TestBulk:
    def test_what_is_active_afterwards_is_what_was_active_before(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        before = active(district)
        district.push(changed(town))
        assert active(district) != before
        end = taken_back(district, 2)
        assert end.version == 3
        assert active(district) == before

    def test_each_record_is_counted_by_what_became_of_it(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town, changed(town))
        counts = taken_back(district, 2).counts
        assert counts["orgs"] == {
            "rows": 1, "created": 0, "updated": 0, "deleted": 1, "unchanged": 0, "rejected": 0,
        }  # fmt: skip
        assert counts["enrollments"]["updated"] == counts["enrollments"]["deleted"] == 1
        assert counts["users"]["updated"] == 1
        assert counts["users"]["touched"] == 1, "the teacher, for a role"
        assert counts["demographics"]["updated"] == 1
        assert "courses" not in counts

    def test_what_the_version_had_made_is_a_tombstone(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town, town.put("orgs", WEST))
        taken_back(district, 2)
        west = district.records("orgs")["west"]
        assert (west["status"], west["version"], west["created_version"]) == ("tobedeleted", 3, 2)
        assert west["name"] == "西小学校"

    def test_the_first_load_can_be_taken_back(self, district: "District", town: "Package") -> None:
        district.has(town)
        end = taken_back(district, 1)
        assert end.version == 2
        assert {file: rows for file, rows in active(district).items() if rows} == {}
        assert end.counts["users"]["deleted"] == 5
        released(district)
        again = district.push(town)
        assert again.counts["users"]["updated"] == 5
        assert all(active(district).values())

    def test_a_record_that_had_come_back_is_a_tombstone_again(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town.put("orgs", WEST))
        district.push(town)
        before = district.rows("orgs")
        district.push(town.put("orgs", {**WEST, "name": "にし"}))
        taken_back(district, 3)

        def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            ordered = sorted(rows, key=lambda row: str(row["sourced_id"]))
            return [{n: v for n, v in row.items() if n not in TIME} for row in ordered]

        assert plain(district.rows("orgs")) == plain(before)

    def test_the_same_package_changes_nothing_after_the_undo_of_a_wrong_one(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town, changed(town))
        taken_back(district, 2)
        assert district.push(town).end.version == 3, "a digest was not restored"

    def test_every_version_before_can_still_be_read(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town, changed(town))
        then = {v: {e.file: district.as_of(e.file, v) for e in ROSTERING} for v in (1, 2)}
        taken_back(district, 2)
        for version, roster in then.items():
            assert {e.file: district.as_of(e.file, version) for e in ROSTERING} == roster

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_an_undo_of_any_last_version_restores_the_one_before(
        self, district: "District", town: "Package", seed: int
    ) -> None:
        chance = random.Random(seed)
        district.has(town)
        for _ in range(4):
            before = active(district)
            package = town
            for file in ("enrollments", "demographics", "roles"):
                for row in town.rows[file]:
                    key = row["sourcedId"]
                    match chance.randrange(4):
                        case 0 if file != "roles":
                            package = package.drop(file, key)
                        case 1:
                            cells = {"metadata.x": chance.choice("abc")}
                            package = package.change(file, key, cells)
            version = district.push(package).end.version
            assert version is not None
            if active(district) != before:
                taken_back(district, version)
                released(district)
            assert active(district) == before


class TestSince:
    def test_what_was_changed_since_is_named_and_left(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        wrong = town.change("users", "taro", {"givenName": "誤"})
        wrong = wrong.change("users", "hana", {"givenName": "誤"}).drop("demographics", "hana")
        district.push(wrong)
        district.push(wrong.change("users", "hana", {"givenName": "花"}))
        end = taken_back(district, 2)
        users = district.records("users")
        assert users["taro"]["given_name"] == "太郎"
        assert users["hana"]["given_name"] == "花"
        assert named(district) == [("users.csv", "hana", "undo.changed_since")]
        assert end.counts["users"] == {
            "rows": 2, "created": 0, "updated": 1, "deleted": 0, "unchanged": 1, "rejected": 0,
        }  # fmt: skip
        assert district.records("demographics")["hana"]["status"] == "active"
        assert "users.csv の hana は、その後の版 3 で" in message(district, "ja")
        assert "by version 3" in message(district, "en")

    def test_a_user_of_whom_only_a_part_changed_since_is_not_changed_since(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        wrong = town.change("users", "teacher", {"givenName": "誤"})
        district.push(wrong)
        district.push(wrong.change("roles", "r-teacher2", {"role": "aide"}))
        taken_back(district, 2)
        assert named(district) == []
        assert district.records("users")["teacher"]["given_name"] == "次郎"
        assert district.records("roles")["r-teacher2"]["role"] == "aide"

    def test_what_is_as_it_was_already_is_left_without_a_word(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town, changed(town))
        district.push(town)
        end = taken_back(district, 2)
        assert end.version == 3, "there was nothing to change, so there is no version"
        assert named(district) == []
        assert {c["unchanged"] - c["rows"] for c in end.counts.values()} == {0}

    def test_a_record_that_was_made_and_changed_since_stays(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town, town.put("orgs", WEST))
        district.push(town.put("orgs", {**WEST, "name": "にし"}))
        end = taken_back(district, 2)
        assert end.version == 3
        assert district.records("orgs")["west"]["status"] == "active"
        assert named(district) == [("orgs.csv", "west", "undo.changed_since")]

    def test_a_version_long_ago_can_be_taken_back(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        district.push(town.put("orgs", WEST).drop("enrollments", "e1"))
        district.push(town.put("orgs", WEST).drop("enrollments", "e1", "e2"))
        taken_back(district, 2)
        assert district.records("orgs")["west"]["status"] == "tobedeleted"
        enrollments = district.records("enrollments")
        assert (enrollments["e1"]["status"], enrollments["e2"]["status"]) == (
            "active",
            "tobedeleted",
        )

    def test_what_is_named_has_room(self, district: "District", town: "Package") -> None:
        district.has(town)
        wrong = [{"givenName": name} for name in ("誤", "再")]
        for cells in wrong:
            package = town
            for row in town.rows["users"]:
                package = package.change("users", row["sourcedId"], cells)
            district.push(package)
        end = taken_back(district, 2, findings_max=20)
        assert end.findings == {"info": 2}
        assert end.counts["users"]["unchanged"] == 5, "counted are all of them"


class TestReferences:
    def test_a_record_that_something_newer_needs_keeps_the_undo_from_happening(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town, town.put("orgs", WEST))
        newer = {**town.row("roles", "r-mother"), "sourcedId": "r-w", "orgSourcedId": "west"}
        newer["roleType"] = "secondary"
        district.push(town.put("orgs", WEST).put("roles", newer))
        end = taken_back(district, 2)
        assert end.state == "rejected"
        assert named(district) == [("roles.csv", "r-w", "reference.vanished")]
        taken_back(district, 3)
        assert taken_back(district, 2).state == "applied"

    def test_a_record_cannot_return_to_what_is_gone(
        self, district: "District", town: "Package"
    ) -> None:
        branch = {**WEST, "sourcedId": "w2", "parentSourcedId": "west"}
        district.push(town.put("orgs", WEST, branch))
        district.push(town.put("orgs", WEST))
        district.push(town)
        assert taken_back(district, 2).state == "rejected"
        assert named(district) == [("orgs.csv", "w2", "reference.missing")]


class TestUndone:
    def test_an_undo_can_be_undone(self, district: "District", town: "Package") -> None:
        district.has(town)
        before = active(district)
        district.push(changed(town))
        wrong = active(district)
        taken_back(district, 2)
        taken_back(district, 3)
        assert active(district) == wrong
        assert marks(district) == {1: (None, None), 2: (None, None), 3: (2, 4), 4: (3, None)}
        taken_back(district, 4)
        assert active(district) == before
        assert marks(district)[3] == (2, None)

    def test_a_version_is_undone_once(self, district: "District", town: "Package") -> None:
        district.has(town, changed(town))
        taken_back(district, 2)
        assert marks(district)[2] == (None, 3)
        assert taken_back(district, 2).state == "rejected"
        assert named(district) == [("versions", None, "undo.undone_already")]

    def test_it_can_be_undone_again_once_it_stands_again(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        before = active(district)
        district.push(changed(town))
        taken_back(district, 2)
        taken_back(district, 3)
        taken_back(district, 2)
        assert active(district) == before
        assert marks(district)[2] == (None, 5)

    def test_the_other_district_is_left_alone(
        self, district: "District", other: "District", town: "Package"
    ) -> None:
        for each in (district, other):
            each.push(town)
            each.push(changed(town))
        before = other.everything()
        taken_back(district, 2)
        assert other.everything() == before


def marks(district: "District") -> dict[int, tuple[int | None, int | None]]:
    return {row["version"]: (row["undoes"], row["undone_by"]) for row in district.rows("versions")}


def message(district: "District", language: str) -> str:
    runs = [row for row in district.rows("runs") if row["kind"] == "undo"]
    (found,) = district.findings(runs[-1]["id"])
    said = Finding(
        rule=RULES[found.rule], file=found.file, sourced_id=found.sourced_id, facts=found.facts
    )
    return said.message()[language]


class TestInterrupted:
    """Wherever an attempt ends, the old version stands, and the next attempt does all of it."""

    STAGES = ("read", "check", "apply", "publish")

    @pytest.mark.parametrize("at", STAGES)
    def test_a_fenced_attempt_changes_nothing(
        self, district: "District", town: "Package", at: str
    ) -> None:
        district.has(town)
        before = active(district)
        district.push(changed(town))
        run_id = queued(district, 2)
        stood = district.everything()

        def lose(event: Event) -> None:
            if isinstance(event, StageStarted) and event.stage == at:
                district.hub.admin.execute(
                    "update runs set lease_until = now() - interval '1 s' where id = %s", [run_id]
                )
                with connect(district.hub.url) as rival:
                    heir.append(claimed(rival, district))

        heir: list[Claim] = []
        with connect(district.hub.url) as db, pytest.raises(Fenced):
            Undo(claimed(db, district), db, Watch(), lose).run()
        assert district.everything() == stood
        with connect(district.hub.url) as db:
            assert Undo(heir[0], db, Watch(), lambda _: None).run().state == "applied"
        assert active(district) == before

    @pytest.mark.parametrize("at", STAGES)
    def test_a_connection_that_is_cut_changes_nothing(
        self, district: "District", town: "Package", at: str
    ) -> None:
        district.has(town, changed(town))
        queued(district, 2)
        stood = district.everything()

        def cut(event: Event) -> None:
            if isinstance(event, StageStarted) and event.stage == at:
                db.close()

        with connect(district.hub.url) as db, pytest.raises(Exception, match="closed"):
            Undo(claimed(db, district), db, Watch(), cut).run()
        assert district.everything() == stood

    def test_it_says_how_far_it_is(self, district: "District", town: "Package") -> None:
        district.has(town, changed(town))
        queued(district, 2)
        told: list[Event] = []
        with connect(district.hub.url) as db:
            Undo(claimed(db, district), db, Watch(), told.append).run()
        assert [e.stage for e in told if isinstance(e, StageStarted)] == [*self.STAGES]
        files = {e.file: (e.done, e.total) for e in told if isinstance(e, FileAdvanced)}
        assert files["enrollments"] == (2, 2)


class TestRedo:
    def test_the_undone_package_is_recognised(self, district: "District", town: "Package") -> None:
        wrong_and_undone(district, town)
        assert would_redo(district, changed(town)) == [
            Redo(2, 3, "orgs", 1),
            Redo(2, 3, "classes", 1),
            Redo(2, 3, "users", 1),
            Redo(2, 3, "userProfiles", 1),
            Redo(2, 3, "roles", 1),
            Redo(2, 3, "demographics", 1),
            Redo(2, 3, "enrollments", 2),
        ]

    def test_other_changes_are_none_of_its_business(
        self, district: "District", town: "Package"
    ) -> None:
        wrong_and_undone(district, town)
        harmless = town.change("users", "taro", {"givenName": "次"}).drop("enrollments", "e1")
        harmless = harmless.put("orgs", {**WEST, "name": "にし"})
        assert would_redo(district, harmless) == []
        assert would_redo(district, town) == []

    def test_a_deletion_in_a_delta_is_recognised_too(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        district.push(town.drop("enrollments", "e1"))
        taken_back(district, 2)
        with staging(district) as db:
            db.execute(
                SQL(
                    "insert into {} (sourced_id, status) values (%s, 'tobedeleted'),"
                    " (%s, 'tobedeleted')"
                ).format(staged(BY_FILE["enrollments"])),
                ["e1", "e2"],
            )
            assert redoes(db, district.tenant_id) == [Redo(2, 3, "enrollments", 1)]

    def test_an_undone_undo_keeps_out_what_it_had_done(
        self, district: "District", town: "Package"
    ) -> None:
        wrong_and_undone(district, town)
        taken_back(district, 3)
        assert {redo.undone for redo in would_redo(district, town)} == {3}

    def test_what_was_released_keeps_nothing_out(
        self, district: "District", town: "Package"
    ) -> None:
        wrong_and_undone(district, town)
        district.hub.admin.execute(
            "update versions set released_at = now() where tenant_id = %s and version = 3",
            [district.tenant_id],
        )
        assert would_redo(district, changed(town)) == []


def wrong_and_undone(district: "District", town: "Package") -> None:
    district.has(town, changed(town))
    taken_back(district, 2)


@contextmanager
def staging(district: "District") -> Iterator[Connection]:
    """The transaction of an import that has staged nothing yet."""
    with connect(district.hub.url) as db, tenant(db, district.tenant_id):
        stage.create(db)
        yield db


def would_redo(district: "District", package: "Package") -> list[Redo]:
    """What a bulk package would do again; another district shows what the package makes."""
    wanted, stands = active(district.hub.loaded(package)), active(district)
    with staging(district) as db:
        for entity in ROSTERING:
            columns = SQL(", ").join(map(Identifier, names(entity)))
            values = SQL(", ").join(SQL("%s") for _ in names(entity))
            insert = SQL("insert into {} ({}) values ({})").format(staged(entity), columns, values)
            for key, row in wanted[entity.file].items():
                if stands[entity.file].get(key) != row:
                    own = {**row, "metadata": row["metadata"] and Jsonb(row["metadata"])}
                    db.execute(insert, [*own.values()])
            for key in stands[entity.file].keys() - wanted[entity.file].keys():
                db.execute(SQL("insert into {} values (%s)").format(gone(entity)), [key])
        return redoes(db, district.tenant_id)
