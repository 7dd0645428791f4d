"""An erasure: nothing is left of a person but ids, and neither undo nor package brings more."""

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import obstore
import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from pipeline import claims, lines
from pipeline.claims import Watch
from pipeline.database import connect
from pipeline.erasing import retention
from pipeline.erasing.job import Erasure, sealed
from pipeline.importing import Import
from schemas.digests import ERASED
from schemas.erasure import MARK, OWNERS, SEEN_BY, personal, wiped
from schemas.events import Event, RunEnded
from schemas.policy import Policy
from schemas.proposals import kept_rows
from schemas.roster import ROSTERING
from schemas.roster.people import User
from tests.pipeline.test_undo import named, taken_back

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Package


def asked(district: "District", *users: str, keep_out: bool = True) -> UUID:
    """The rows of an erasure, as the gateway writes them."""
    run_id = uuid4()
    district.hub.admin.execute(
        "insert into runs (tenant_id, id, kind, created_by) values (%s, %s, 'erasure', 'test')",
        [district.tenant_id, run_id],
    )
    district.hub.admin.execute(
        "insert into erasures (tenant_id, run_id, cause, users, reference, keep_out)"
        " values (%s, %s, 'request', %s, '2026-17', %s)",
        [district.tenant_id, run_id, [*users], keep_out],
    )
    return run_id


def worked(district: "District", run_id: UUID) -> RunEnded:
    """Do the next run, which is this erasure, and look at every law that holds for one."""
    before = len(district.versions())
    told: list[Event] = []
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        assert (claim.id, claim.kind) == (run_id, "erasure")
        end = Erasure(claim, db, Watch(), told.append, district.hub.objects).run()
    run = district.run(run_id)
    assert (run["state"], run["counts"], run["version"]) == ("applied", end.counts, end.version)
    assert district.versions() == [*range(1, before + 2)]
    assert district.record_counts() == district.counted()
    receipt = receipt_of(district, run_id)
    assert sealed({k: v for k, v in receipt.items() if k != "sha256"}) == receipt
    assert receipt["version"] == end.version == before + 1
    return end


def erased(district: "District", *users: str, keep_out: bool = True) -> RunEnded:
    return worked(district, asked(district, *users, keep_out=keep_out))


def receipt_of(district: "District", run_id: UUID) -> dict[str, Any]:
    rows = district.rows("erasures")
    found: dict[str, Any] = next(row["receipt"] for row in rows if row["run_id"] == run_id)
    return found


def of(district: "District", user: str) -> dict[str, list[dict[str, Any]]]:
    """All rows of a person, by table."""
    return {
        table: [row for row in district.rows(table) if row[owner] == user]
        for entity, owner in OWNERS.items()
        for table in (entity.table, f"{entity.table}_history")
    }


def whole(rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Those of which something is left."""
    entities = {t: e for e in OWNERS for t in (e.table, f"{e.table}_history")}
    return {
        table: [
            row
            for row in found
            if row["digest"] != UUID(ERASED)
            or row["metadata"] != MARK
            or any(row[column.name] is not None for column in personal(entities[table]))
        ]
        for table, found in rows.items()
    }


def told(district: "District", package: "Package") -> list[tuple[str, str | None]]:
    """What an import says about who was erased."""
    push = district.push(package)
    assert push.state == "applied"
    return [(f.file, f.sourced_id) for f in push.findings if f.rule == "record.erased"]


def waiting(district: "District", package: "Package") -> UUID:
    """Push a package that is to be reviewed."""
    path = district.hub.stored(package, None)
    run_id = district.hub.queued(district.tenant_id, path, None, None)
    district.hub.admin.execute("update runs set apply = 'review' where id = %s", [run_id])
    folder = district.hub.folder / f"review-{run_id}"
    folder.mkdir()
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        Import(claim, db, path, folder, Watch(), lambda _: None).run()
    assert district.run(run_id)["state"] == "review"
    return run_id


def kept(district: "District", run_id: UUID) -> list[tuple[str, str | None]]:
    """The users that a waiting run would change, and a value of them."""
    table = Identifier(*kept_rows(run_id, User))
    query = SQL("select sourced_id, sms from {} order by 1").format(table)
    return district.hub.admin.execute(query).fetchall()


class TestDeclarations:
    def test_every_personal_value_is_somebodys(self) -> None:
        assert {e.file for e in ROSTERING if personal(e)} <= {e.file for e in OWNERS}

    def test_what_has_to_name_a_person_is_that_persons(self) -> None:
        assert {entity.file: column for entity, column in OWNERS.items()} == {
            "users": "sourced_id",
            "userProfiles": "user_sourced_id",
            "roles": "user_sourced_id",
            "demographics": "sourced_id",
            "enrollments": "user_sourced_id",
        }


class TestRecords:
    def test_ids_and_versions_stay_and_nothing_else(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        district.push(
            town.change("users", "taro", {"givenName": "太朗", "metadata.x": "y"})
            .change("demographics", "taro", {"sex": "other"})
            .drop("enrollments", "e2")
        )
        before = of(district, "taro")
        others = {user: of(district, user) for user in ("hana", "mother", "teacher")}
        counts = erased(district, "taro").counts
        after = of(district, "taro")
        assert not any(whole(after).values())
        for entity in OWNERS:
            live = [
                (row["sourced_id"], row["status"], row["version"]) for row in after[entity.table]
            ]
            assert live == [(key, "tobedeleted", 3) for key, *_ in live]
            history = f"{entity.table}_history"
            spans = {(row["sourced_id"], row["version"], row["status"]) for row in after[history]}
            assert spans == {
                (row["sourced_id"], row["version"], row["status"])
                for row in before[history] + before[entity.table]
            }
        assert {user: of(district, user) for user in others} == others
        assert counts["users"] == {"deleted": 1, "erased": 1}
        assert counts["enrollments"] == {"deleted": 1, "erased": 2}

    def test_what_has_been_the_persons_is_wiped_where_it_is_anothers_now(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        district.push(town.change("enrollments", "e1", {"userSourcedId": "hana"}))
        live = [row for row in district.rows("enrollments") if row["sourced_id"] == "e1"]
        erased(district, "taro")
        assert [r for r in district.rows("enrollments") if r["sourced_id"] == "e1"] == live
        images = [r for r in district.rows("enrollments_history") if r["sourced_id"] == "e1"]
        assert [row["shusseki_no"] for row in images] == [None]

    def test_the_receipt_says_where_and_how_much_and_of_whom_there_was_nothing(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        run_id = asked(district, "taro", "nobody")
        worked(district, run_id)
        receipt = receipt_of(district, run_id)
        assert receipt["without_record"] == ["nobody"]
        assert receipt["users"] == ["nobody", "taro"]
        assert receipt["rows"]["users"] == receipt["rows"]["user_profiles"] == 1
        assert receipt["rows"]["enrollments"] == 2
        assert receipt["rows"]["users_history"] == 0, "its one image is made without values"

    def test_to_erase_again_finds_nothing(self, district: "District", town: "Package") -> None:
        district.push(town)
        erased(district, "taro")
        before = of(district, "taro")
        assert erased(district, "taro").counts == {}
        assert of(district, "taro") == before

    def test_another_district_keeps_everything(
        self, district: "District", other: "District", town: "Package"
    ) -> None:
        district.push(town)
        other.push(town)
        before = other.everything()
        erased(district, "taro", "hana")
        assert other.everything() == before


class TestFindings:
    def test_what_they_say_of_the_person_goes_and_what_they_say_of_others_stays(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        faulty = (
            town.change("users", "taro", {"enabledUser": "vielleicht"})
            .change("users", "hana", {"enabledUser": "nie"})
            .change("enrollments", "e1", {"classSourcedId": "c9"})
        )
        text = faulty.text("users").encode() + '"","太郎","山田"\r\n'.encode()
        run = district.push(faulty.zip(users=text))
        assert run.state == "rejected"
        erased(district, "taro")
        rows = {
            (row["file"], row["sourced_id"], row["value"]): row["row"]
            for row in district.rows("findings")
            if row["run_id"] == run.run["id"]
        }
        assert ("users.csv", "taro", None) in rows
        assert ("enrollments.csv", "e1", None) in rows
        assert {row for (_, key, _), row in rows.items() if key in ("taro", "e1")} == {None}
        assert "花子" in rows["users.csv", "hana", "nie"]
        assert not any("太郎" in (row or "") for row in rows.values())


class TestUndo:
    def test_what_was_erased_is_left_and_named(self, district: "District", town: "Package") -> None:
        district.push(town)
        district.push(
            town.change("users", "taro", {"sms": "1"})
            .change("users", "hana", {"sms": "2"})
            .drop("enrollments", "e2")
        )
        erased(district, "taro")
        before = of(district, "taro")
        assert taken_back(district, 2).version == 4
        assert of(district, "taro") == before
        assert {row["sms"] for row in of(district, "hana")["users"]} == {None}
        assert ("users.csv", "taro", "undo.erased") in named(district)
        assert ("enrollments.csv", "e2", "undo.erased") in named(district)

    def test_a_deletion_of_who_was_erased_is_not_undone(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        gone = town.drop("users", "taro").drop("roles", "r-taro").drop("userProfiles", "p-taro")
        gone = gone.drop("demographics", "taro").drop("enrollments", "e1", "e2")
        district.push(gone)
        erased(district, "taro")
        before = of(district, "taro")
        assert district.versions() == [1, 2, 3]
        assert taken_back(district, 2).version == 3, "nothing is to be had back"
        assert of(district, "taro") == before


class TestPackages:
    def test_one_that_still_has_the_person_leaves_them_out_and_says_so(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        erased(district, "taro")
        before = of(district, "taro")
        renamed = town.change("users", "hana", {"givenName": "はな"})
        assert told(district, renamed) == [
            ("users.csv", "taro"),
            ("userProfiles.csv", "p-taro"),
            ("roles.csv", "r-taro"),
            ("demographics.csv", "taro"),
            ("enrollments.csv", "e1"),
            ("enrollments.csv", "e2"),
        ]
        assert of(district, "taro") == before
        assert district.records("users")["hana"]["given_name"] == "はな"
        assert not any("太郎" in str(row) for row in district.rows("findings"))

    def test_nothing_changes_when_it_comes_again_and_its_other_lines_are_known(
        self, district: "District", town: "Package", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lines, "MANY", 1.0)  # the town is small, and its lines are few
        town = town.bare()
        district.push(town)
        erased(district, "taro")
        told(district, town)
        assert {row["entity"]: row["records"] for row in district.rows("known_lines")} == {
            entity: records
            for (entity, status), records in district.record_counts().items()
            if status == "active"
        }
        shelves = {(row["base"], row["patch"]) for row in district.rows("known_lines")}
        again = district.push(town)
        assert again.counts["users"] == {"rows": 5, "unchanged": 4, "rejected": 1}
        assert again.end.version == 2
        assert again.findings
        kept = {(row["base"], row["patch"]) for row in district.rows("known_lines")}
        assert kept == shelves, "kept once"

    def test_others_may_go_on_naming_who_was_erased(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        erased(district, "mother")
        assert ("users.csv", "mother") in told(district, town.change("users", "taro", {"sms": "1"}))
        agents = district.records("users")["taro"]["agent_sourced_ids"]
        assert agents == ["mother", "father"]

    def test_a_faulty_row_about_the_person_is_told_without_its_values(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        erased(district, "taro")
        push = district.push(town.change("users", "taro", {"enabledUser": "vielleicht"}))
        assert push.state == "rejected"
        assert {f.value for f in push.findings if f.sourced_id == "taro"} == {None}
        assert not any("太郎" in str(row) for row in district.rows("findings"))

    @pytest.mark.parametrize("mode", ["delta", "upsert"])
    def test_a_deletion_with_values_brings_none_of_them(
        self, district: "District", town: "Package", nothing: "Package", mode: str
    ) -> None:
        district.push(town)
        erased(district, "taro", keep_out=False)
        before = of(district, "taro")
        if mode == "delta":
            district.push(nothing.delta("users", town.row("users", "taro"), status="tobedeleted"))
        else:
            only = town.only("roles").drop("roles", "r-hana")
            assert district.push(only, entity="roles", mode="upsert").state == "applied"
        assert of(district, "taro") == before

    def test_who_is_not_kept_out_comes_back_as_a_person_like_any_other(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        erased(district, "taro", keep_out=False)
        assert told(district, town) == []
        live = of(district, "taro")["users"][0]
        assert (live["status"], live["given_name"], live["version"]) == ("active", "太郎", 3)
        assert not any(whole({"users_history": of(district, "taro")["users_history"]}).values())
        taken_back(district, 3)
        assert of(district, "taro")["users"][0]["status"] == "tobedeleted"
        assert not any(whole({"users": of(district, "taro")["users"]}).values())

    def test_a_change_set_that_waits_loses_the_person_and_a_later_one_never_has_them(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        changed = town.change("users", "taro", {"sms": "090"}).change("users", "hana", {"sms": "1"})
        before = waiting(district, changed)
        erased(district, "taro")
        assert kept(district, before) == [("hana", "1"), ("taro", None)]
        assert kept(district, waiting(district, changed)) == [("hana", "1")]


class TestAliases:
    def test_a_person_is_erased_by_the_id_of_the_source_as_well(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        district.hub.admin.execute(
            "insert into aliases (tenant_id, entity, source_id, hub_id, version)"
            " values (%s, 'users', 'new-taro', 'taro', 1)",
            [district.tenant_id],
        )
        erased(district, "new-taro")
        assert not any(whole(of(district, "taro")).values())
        kept = {row["sourced_id"] for row in district.rows("kept_out")}
        assert kept == {"taro", "new-taro"}


class TestFiles:
    def test_packages_and_lines_go_and_are_counted(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        store, tenant_id = district.hub.objects, district.tenant_id
        (upload,) = district.rows("uploads")
        key = f"uploads/{tenant_id}/{upload['id']}"
        obstore.put(store, key, town.zip())
        district.hub.admin.execute(
            "update uploads set object_key = %s where tenant_id = %s", [key, tenant_id]
        )
        run_id = asked(district, "taro")
        worked(district, run_id)
        assert [*obstore.list(store, prefix=f"uploads/{tenant_id}")] in ([], [[]])
        assert [*obstore.list(store, prefix=f"lines/{tenant_id}")] in ([], [[]])
        assert district.rows("uploads")[0]["deleted_at"] is not None
        files = receipt_of(district, run_id)["files"]
        assert files["uploads"] == 1
        assert files["lines"] == 2 * len(town.rows)


class TestRetention:
    @staticmethod
    def filed(district: "District", **policy: Any) -> UUID | None:  # noqa: ANN401  # of a policy
        district.hub.admin.execute(
            "update districts set policy = policy || %s where tenant_id = %s",
            [Jsonb(policy), district.tenant_id],
        )
        with connect(district.hub.url) as db:
            return retention.file(db, district.tenant_id, Policy(**policy))

    @staticmethod
    def aged(district: "District", days: int = 31) -> None:
        district.hub.admin.execute(
            "update versions set published_at = published_at - make_interval(days => %s)"
            " where tenant_id = %s",
            [days, district.tenant_id],
        )

    def without_taro(self, town: "Package") -> "Package":
        gone = town.drop("users", "taro").drop("roles", "r-taro").drop("userProfiles", "p-taro")
        return gone.drop("demographics", "taro").drop("enrollments", "e1", "e2")

    def test_who_was_deleted_long_enough_ago_is_erased_and_may_come_back(
        self, district: "District", town: "Package"
    ) -> None:
        town = town.put("demographics", {"sourcedId": "mother", "sex": "female"})
        district.push(town)
        gone = self.without_taro(town).drop("demographics", "hana")
        assert district.push(gone).state == "applied"
        assert self.filed(district, deleted_days=30) is None, "not yet"
        self.aged(district)
        assert self.filed(district) is None, "the district has not decided so"
        run_id = self.filed(district, deleted_days=30)
        assert run_id is not None
        assert self.filed(district, deleted_days=30) is None, "once a day"
        known = district.rows("known_lines")
        counts = worked(district, run_id).counts
        assert not any(whole(of(district, "taro")).values())
        hana = of(district, "hana")
        assert [row["birth_date"] for row in hana["demographics"]] == [None]
        assert [row["birth_date"] for row in hana["demographics_history"]] == [None] * 2
        assert hana["users"][0]["given_name"] == "花子"
        assert counts["users"] == {"deleted": 0, "erased": 1}
        assert district.rows("known_lines") == known, "no active record was written"
        assert district.rows("kept_out") == []
        assert told(district, town) == []
        assert of(district, "taro")["users"][0]["given_name"] == "太郎"

    def test_what_was_said_long_ago_is_erased_from_the_history(
        self, district: "District", town: "Package"
    ) -> None:
        district.push(town)
        district.push(town.change("users", "taro", {"sms": "1"}))
        self.aged(district)
        district.push(town.change("users", "taro", {"sms": "2"}))
        run_id = self.filed(district, history_days=30)
        assert run_id is not None
        assert worked(district, run_id).counts == {}
        history = sorted(of(district, "taro")["users_history"], key=lambda row: row["version"])
        assert [(row["version"], row["given_name"], row["sms"]) for row in history] == [
            (1, None, None),
            (2, "太郎", "1"),
        ]
        assert district.records("users")["taro"]["given_name"] == "太郎"
        district.hub.admin.execute(
            "update erasures set due_on = due_on - 1 where tenant_id = %s", [district.tenant_id]
        )
        assert self.filed(district, history_days=30) is None, "nothing more is due"
        taken_back(district, 2)
        assert ("users.csv", "taro", "undo.erased") in named(district)
        assert district.records("users")["taro"]["given_name"] == "太郎"


def test_what_is_wiped_of_a_row_is_what_is_declared() -> None:
    for entity in OWNERS:
        stored = {c.name for c in entity.stored() if c.personal and c not in SEEN_BY}
        assert {*wiped(entity)} == stored | {"metadata"}
