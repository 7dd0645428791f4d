"""A run that waits: what it shows, what it keeps, and what an answer makes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from pipeline import claims, proposals
from pipeline.claims import Claim, Fenced, Watch
from pipeline.database import Connection, connect, one, tenant
from pipeline.deciding import Deciding
from pipeline.importing import Import
from pipeline.stage import names
from schemas.events import Event, RunEnded, StageStarted
from schemas.proposals import SCHEMA, kept_keys, kept_rows
from schemas.roster import BY_FILE, ROSTERING

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Hub, Package

REVIEW = {"apply": "review", "guard": {"on": False}}
WEST = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}

OTHER = "00000000-0000-4000-8000-0000000000a9"


def decide(district: "District", policy: object) -> None:
    district.hub.admin.execute(
        "update districts set policy = %s where tenant_id = %s",
        [Jsonb(policy), district.tenant_id],
    )


@pytest.fixture
def careful(district: "District") -> "District":
    """A district that reviews everything."""
    decide(district, REVIEW)
    return district


def attempt(
    district: "District", run_id: UUID, package: "Package | None" = None, **values: object
) -> RunEnded:
    """Work on the next run of the district, which is to be this one."""
    told: list[Event] = []
    for name, value in values.items():
        query = SQL("update runs set {} = %s where id = %s").format(Identifier(name))
        district.hub.admin.execute(query, [value, run_id])
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        assert claim.id == run_id
        if claim.decided:
            return Deciding(claim, db, Watch(), told.append).run()
        assert package is not None
        path = district.hub.stored(package, None)
        folder = district.hub.folder / f"work-{run_id}"
        folder.mkdir()
        objects = district.hub.objects
        return Import(claim, db, path, folder, Watch(), told.append, store=objects).run()


def shown(district: "District", package: "Package", **values: object) -> UUID:
    """Push what has to wait; answer its run."""
    path = district.hub.stored(package, None)
    run_id = district.hub.queued(district.tenant_id, path, None, None)
    before = district.everything()
    end = attempt(district, run_id, package, **values)
    assert end.state in {"review", "held"}, end
    assert district.run(run_id)["state"] == end.state
    assert district.everything() == before, "a run that waits has changed something"
    return run_id


def answered(district: "District", run_id: UUID, kind: str, **answer: object) -> RunEnded:
    """Answer as the gateway does, and let a worker carry it out."""
    district.hub.admin.execute(
        "update runs set state = 'queued', decision = %s, attempts = 0 where id = %s",
        [Jsonb({"kind": kind, **answer}), run_id],
    )
    return attempt(district, run_id)


def approved(district: "District", run_id: UUID) -> RunEnded:
    end = answered(district, run_id, "approve", diff=district.run(run_id)["diff"])
    assert district.record_counts() == district.counted()
    return end


def image(district: "District") -> dict[str, Any]:
    """Everything by which two districts could differ."""
    return {
        "live": district.roster(),
        "history": {entity.file: district.history(entity.file) for entity in ROSTERING},
        "counts": district.record_counts(),
        "versions": [
            (row["version"], row["kind"], row["counts"])
            for row in sorted(district.rows("versions"), key=lambda row: row["version"])
        ],
    }


def kept(hub: "Hub", run_id: UUID) -> set[str]:
    found = hub.admin.execute(
        "select tablename from pg_tables where schemaname = %s and starts_with(tablename, %s)",
        [SCHEMA, f"kept_{run_id.hex}_"],
    )
    return {name for (name,) in found}


def changed(town: "Package") -> "Package":
    """Something of everything: new, changed, gone, and parts of a user."""
    return (
        town.change("users", "taro", {"givenName": "太朗"})
        .change("classes", "c3", {"periods": "1,4", "metadata.x": "new"})
        .change("roles", "r-teacher2", {"role": "aide"})
        .put("orgs", WEST)
        .put("enrollments", {**town.row("enrollments", "e1"), "sourcedId": "e9"})
        .drop("enrollments", "e2")
        .drop("demographics", "hana")
    )


class TestReview:
    @pytest.mark.parametrize("first", [True, False], ids=["first load", "later"])
    def test_what_is_approved_is_what_would_have_been_applied_at_once(
        self, district: "District", other: "District", town: "Package", *, first: bool
    ) -> None:
        package = town if first else changed(town)
        if not first:
            district.push(town)
            other.push(town)
        decide(district, REVIEW)
        run_id = shown(district, package)
        end = approved(district, run_id)
        assert end.state == "applied"
        twin = other.push(package)
        assert end.counts == twin.end.counts
        assert image(district) == image(other)
        run = district.run(run_id)
        assert (run["version"], run["counts"]) == (end.version, end.counts)

    def test_what_is_shown_is_what_comes(self, district: "District", town: "Package") -> None:
        district.has(town)
        decide(district, REVIEW)
        run_id = shown(district, changed(town))
        preview = district.run(run_id)["preview"]
        counts = approved(district, run_id).counts
        for file, seen in preview.items():
            assert seen == {n: v for n, v in counts[file].items() if n != "touched"}, file
        assert preview["enrollments"]["created"] == 1
        assert preview["enrollments"]["deleted"] == 1

    def test_schools_are_counted_with_what_happens_in_them(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        run_id = shown(district, changed(town))
        found = {
            (row["entity"], row["school"]): (row["created"], row["updated"], row["deleted"])
            for row in district.rows("run_previews")
            if row["run_id"] == run_id
        }
        assert found == {
            ("orgs", "west"): (1, 0, 0),
            ("classes", "south"): (0, 1, 0),
            ("users", "north"): (0, 1, 0),
            ("roles", "north"): (0, 1, 0),
            ("demographics", "north"): (0, 0, 1),
            ("enrollments", "north"): (1, 0, 0),
            ("enrollments", "south"): (0, 0, 1),
        }

    def test_a_run_may_ask_for_review_by_itself(
        self, district: "District", town: "Package"
    ) -> None:
        run_id = shown(district, town, apply="review")
        assert district.run(run_id)["version"] is None

    def test_a_run_may_ask_to_be_applied_at_once(
        self, careful: "District", town: "Package"
    ) -> None:
        path = careful.hub.stored(town, None)
        run_id = careful.hub.queued(careful.tenant_id, path, None, None)
        assert attempt(careful, run_id, town, apply="at_once").state == "applied"

    def test_errors_are_still_errors(self, careful: "District", town: "Package") -> None:
        wrong = town.change("enrollments", "e1", {"userSourcedId": "nobody"})
        done = careful.push(wrong)
        assert done.state == "rejected"
        assert ("enrollments.csv", 2, "userSourcedId", "reference.missing") in done.places
        assert kept(careful.hub, done.run["id"]) == set()

    def test_a_key_that_stands_twice_is_found_in_a_first_load(
        self, careful: "District", town: "Package"
    ) -> None:
        done = careful.push(town.put("orgs", town.row("orgs", "north")))
        assert done.state == "rejected"
        assert "record.duplicate" in done.rules

    def test_the_hash_tells_change_sets_apart_and_their_order_not(
        self, district: "District", town: "Package"
    ) -> None:
        decide(district, {**REVIEW, "newer": "wait"})
        hashes = []
        for package in (
            town,
            town.reversed(),
            town.change("users", "taro", {"givenName": "花子"}).change(
                "users", "hana", {"givenName": "太郎"}
            ),
            town.drop("enrollments", "e1"),
        ):
            run_id = shown(district, package)
            hashes.append(district.run(run_id)["diff"])
            answered_no(district, run_id)
        assert hashes[0] == hashes[1]
        assert len(set(hashes)) == 3

    def test_unchanged_packages_wait_too_and_make_no_version(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        end = approved(district, shown(district, town))
        assert (end.state, end.version) == ("applied", 1)

    def test_findings_stay_with_the_run(self, careful: "District", town: "Package") -> None:
        jiro = {"sourcedId": "jiro", "username": "jiro", "userMasterIdentifier": OTHER}
        package = town.put("users", {**town.row("users", "teacher"), **jiro})
        run_id = shown(careful, package)
        before = careful.findings(run_id)
        assert "record.user_without_role" in {found.rule for found in before}
        end = approved(careful, run_id)
        assert careful.findings(run_id) == before
        assert careful.run(run_id)["findings"] == end.findings != {}


def answered_no(district: "District", run_id: UUID) -> None:
    """Reject as the gateway does."""
    district.hub.admin.execute(
        "update runs set state = 'rejected', finished_at = now() where id = %s", [run_id]
    )


class TestBase:
    def test_nothing_is_applied_to_another_version(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, {**REVIEW, "newer": "wait"})
        run_id = shown(district, changed(town))
        district.hub.admin.execute(
            "update districts set version = version + 1 where tenant_id = %s", [district.tenant_id]
        )
        before = district.everything()
        assert approved(district, run_id).state == "review"
        assert district.everything() == before
        run = district.run(run_id)
        assert (run["state"], run["decision"]) == ("review", None)
        assert run["failure"]["code"] == "base_moved"
        assert "2" in run["failure"]["ja"]
        assert "1" in run["failure"]["en"]

    def test_nothing_is_applied_that_was_not_shown(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        run_id = shown(district, changed(town))
        table = Identifier(*kept_rows(run_id, BY_FILE["users"]))
        district.hub.admin.execute(SQL("update {} set digest = gen_random_uuid()").format(table))
        assert approved(district, run_id).state == "review"
        assert district.run(run_id)["failure"]["code"] == "diff_changed"
        assert district.versions() == [1]

    def test_a_stale_worker_applies_nothing(self, careful: "District", town: "Package") -> None:
        run_id = shown(careful, town)
        careful.hub.admin.execute(
            "update runs set state = 'queued', decision = %s where id = %s",
            [Jsonb({"kind": "approve", "diff": careful.run(run_id)["diff"]}), run_id],
        )
        with connect(careful.hub.url) as db:
            claim = claims.take(db, careful.tenant_id, lease=60, worker="test")
            assert claim is not None
            careful.hub.admin.execute("update runs set fence = fence + 1 where id = %s", [run_id])
            with pytest.raises(Fenced):
                Deciding(claim, db, Watch(), lambda _: None).run()
        assert careful.versions() == []


class Broken(Exception):
    """What kills an attempt, at a stage."""


class TestInterrupted:
    @pytest.mark.parametrize("stage", ["check", "apply", "publish"])
    def test_an_approval_that_is_interrupted_is_carried_out_by_the_next_attempt(
        self, district: "District", town: "Package", stage: str
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        run_id = shown(district, changed(town))
        diff = district.run(run_id)["diff"]
        district.hub.admin.execute(
            "update runs set state = 'queued', decision = %s where id = %s",
            [Jsonb({"kind": "approve", "diff": diff}), run_id],
        )
        before = district.everything()

        def emit(event: Event) -> None:
            if isinstance(event, StageStarted) and event.stage == stage:
                raise Broken

        with connect(district.hub.url) as db:
            claim = claims.take(db, district.tenant_id, lease=60, worker="test")
            assert claim is not None
            with pytest.raises(Broken):
                Deciding(claim, db, Watch(), emit).run()
            assert district.everything() == before
            claims.release(db, claim, 0)
        assert attempt(district, run_id).version == 2
        assert district.record_counts() == district.counted()

    def test_a_review_that_is_interrupted_leaves_nothing(
        self, careful: "District", town: "Package", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = careful.hub.stored(town, None)
        run_id = careful.hub.queued(careful.tenant_id, path, None, None)

        def broken(*_: object, **__: object) -> None:
            raise Broken

        with monkeypatch.context() as patch:
            patch.setattr(proposals, "wait", broken)
            with pytest.raises(Broken):
                attempt(careful, run_id, town)
        assert kept(careful.hub, run_id) == set()
        careful.hub.admin.execute(
            "update runs set lease_until = now() - interval '1 s' where id = %s", [run_id]
        )
        (careful.hub.folder / f"work-{run_id}").rename(careful.hub.folder / f"old-{run_id}")
        assert attempt(careful, run_id, town).state == "review"
        assert len(kept(careful.hub, run_id)) == 18


@contextmanager
def looking(hub: "Hub", tenant_id: int) -> Iterator[Connection]:
    with connect(hub.url) as db, tenant(db, tenant_id):
        yield db


class TestKept:
    def test_another_district_sees_nothing_of_it(
        self, careful: "District", other: "District", town: "Package"
    ) -> None:
        run_id = shown(careful, town)
        tables = [kept_rows(run_id, e) for e in ROSTERING] + [
            kept_keys(run_id, e) for e in ROSTERING
        ]
        assert {name for _, name in tables} == kept(careful.hub, run_id)
        for table in tables:
            count = SQL("select count(*) from {}").format(Identifier(*table))
            with looking(careful.hub, other.tenant_id) as db:
                assert db.execute(count).fetchone() == (0,), table
        users = Identifier(*kept_rows(run_id, BY_FILE["users"]))
        with looking(careful.hub, careful.tenant_id) as db:
            assert db.execute(SQL("select count(*) from {}").format(users)).fetchone() == (5,)
        with (
            looking(careful.hub, other.tenant_id) as db,
            pytest.raises(InsufficientPrivilege),
        ):
            db.execute(SQL("insert into {} (sourced_id) values ('x')").format(users))

    def test_it_is_kept_until_the_run_has_ended_and_its_upload_goes(
        self, careful: "District", town: "Package"
    ) -> None:
        run_id = shown(careful, town)
        hub = careful.hub
        with connect(hub.url) as db, connect(hub.url, role="rosterhub_control") as control:
            proposals.sweep(db, control)
            assert len(kept(hub, run_id)) == 18
            approved(careful, run_id)
            proposals.sweep(db, control)
            assert len(kept(hub, run_id)) == 18
            hub.admin.execute(
                "update runs set finished_at = now() - interval '25 hours' where id = %s", [run_id]
            )
            proposals.sweep(db, control)
            assert kept(hub, run_id) == set()

    def test_what_a_forgotten_run_has_left_is_swept(
        self, careful: "District", town: "Package"
    ) -> None:
        run_id = shown(careful, town)
        hub = careful.hub
        hub.admin.execute("delete from runs where id = %s", [run_id])
        with connect(hub.url) as db, connect(hub.url, role="rosterhub_control") as control:
            assert proposals.sweep(db, control) >= 18
        assert kept(hub, run_id) == set()

    def test_what_is_held_later_is_copied_whole(
        self, district: "District", other: "District", town: "Package"
    ) -> None:
        district.has(town)
        other.has(town)
        decide(district, {"guard": {"deletions": 0.1, "at_least": 1, "absent_files": False}})
        run_id = shown(district, changed(town))
        assert district.run(run_id)["state"] == "held"
        assert approved(district, run_id).state == "applied"
        other.push(changed(town))
        assert image(district) == image(other)


class TestNewer:
    def test_a_newer_package_takes_the_place_of_one_that_waits(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        first = shown(district, changed(town))
        second = shown(district, changed(town).reversed())
        old, new = district.run(first), district.run(second)
        assert (old["state"], old["superseded_by"]) == ("superseded", second)
        assert old["finished_at"] is not None
        assert new["supersedes"]["run"] == str(first)
        assert new["supersedes"]["same"] is True
        assert new["supersedes"]["counts"]["enrollments"] == {
            "created": 1,
            "updated": 0,
            "deleted": 1,
        }
        third = shown(district, town)
        assert district.run(third)["supersedes"]["same"] is False

    @pytest.mark.parametrize("first", [True, False], ids=["first load", "later"])
    def test_so_does_one_that_is_applied_at_once(
        self, district: "District", town: "Package", *, first: bool
    ) -> None:
        if not first:
            district.push(town)
        waiting = shown(district, changed(town), apply="review")
        done = district.push(changed(town))
        assert district.run(waiting)["superseded_by"] == done.run["id"]
        assert done.run["supersedes"]["same"] is True
        ended = [e.state for e in done.events if isinstance(e, RunEnded)]
        assert ended == ["applied", "superseded"]

    def test_one_that_waits_can_be_answered_while_a_newer_one_is_applied(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        waiting = shown(district, changed(town), apply="review")
        path = district.hub.stored(changed(town), None)
        district.hub.queued(district.tenant_id, path, None, None)
        answered: list[UUID] = []

        def answer(event: Event) -> None:
            if isinstance(event, StageStarted) and event.stage == "publish":
                with connect(district.hub.url) as db, tenant(db, district.tenant_id):
                    hold = "select id from runs where id = %s for update nowait"
                    answered.extend(one(db, hold, [waiting]))

        folder = district.hub.folder / "newer"
        folder.mkdir()
        with connect(district.hub.url) as db:
            claim = claims.take(db, district.tenant_id, lease=60, worker="test")
            assert claim is not None
            assert Import(claim, db, path, folder, Watch(), answer).run().state == "applied"
        assert answered == [waiting]
        assert district.run(waiting)["state"] == "superseded"

    def test_changes_that_the_newer_one_does_not_say_again_are_not_dropped(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        waiting = shown(district, changed(town))
        delta = town.only().delta("orgs", WEST)
        shown(district, delta)
        assert district.run(waiting)["state"] == "review"

    def test_under_the_policy_to_wait_a_newer_import_is_not_claimed(
        self, district: "District", town: "Package"
    ) -> None:
        decide(district, {**REVIEW, "newer": "wait"})
        waiting = shown(district, town)
        path = district.hub.stored(town, None)
        newer = district.hub.queued(district.tenant_id, path, None, None)
        with (
            connect(district.hub.url) as db,
            connect(district.hub.url, role="rosterhub_control") as control,
        ):

            def due() -> bool:
                rows = control.execute(claims.SQL["due"]).fetchall()
                return (district.tenant_id,) in rows

            assert claims.take(db, district.tenant_id, lease=60, worker="test") is None
            assert not due()
            answered_no(district, waiting)
            assert due()
            claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        assert claim.id == newer

    def test_an_answer_is_claimed_under_the_policy_to_wait(
        self, district: "District", town: "Package"
    ) -> None:
        decide(district, {**REVIEW, "newer": "wait"})
        waiting = shown(district, town)
        assert approved(district, waiting).state == "applied"


def excluded(district: "District", run_id: UUID, **given: list[str]) -> dict[str, Any]:
    """Ask what leaving these out comes to."""
    before = district.everything()
    exception = {"schools": [], "entities": [], **given}
    end = answered(district, run_id, "exclude", **{"except": exception})
    assert end.state in {"review", "held"}
    assert district.everything() == before
    found = district.run(run_id)["exclusions"]
    assert found is not None
    return dict(found)


class TestExclusions:
    def test_what_depends_on_an_excluded_record_is_excluded_too(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        package = (
            town.put("orgs", WEST)
            .put(
                "courses", {**town.row("courses", "hr"), "sourcedId": "cw", "orgSourcedId": "west"}
            )
            .put(
                "classes",
                {
                    **town.row("classes", "c1"),
                    "sourcedId": "w1",
                    "courseSourcedId": "cw",
                    "schoolSourcedId": "north",
                },
            )
            .put(
                "enrollments",
                {**town.row("enrollments", "e1"), "sourcedId": "e8", "classSourcedId": "w1"},
            )
            .change("users", "teacher", {"givenName": "三郎"})
        )
        run_id = shown(district, package)
        found = excluded(district, run_id, schools=["west"])
        assert found["counts"] == {"users": {"created": 0, "updated": 1, "deleted": 0}}
        assert found["excluded"]["enrollments"] == {"created": 1, "updated": 0, "deleted": 0}
        assert {
            "entity": "enrollments",
            "sourcedId": "e8",
            "because": "reference",
            "via": "w1",
        } in (found["examples"])
        end = answered(
            district, run_id, "approve", diff=found["diff"], **{"except": found["except"]}
        )
        assert end.state == "applied"
        assert set(district.records("orgs")) == {"board", "north", "south"}
        assert set(district.records("enrollments")) == {"e1", "e2", "e3", "e4"}
        assert district.records("users")["teacher"]["given_name"] == "三郎"
        assert end.counts["enrollments"]["excluded"] == 1

    def test_a_deletion_stays_out_where_a_record_would_be_left_without_it(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        package = town.drop("classes", "c3").drop("enrollments", "e2")
        run_id = shown(district, package)
        found = excluded(district, run_id, entities=["enrollments"])
        assert found["counts"] == {}
        assert found["excluded"]["classes"]["deleted"] == 1
        assert found["examples"] == [
            {"entity": "classes", "sourcedId": "c3", "because": "deletion", "via": "e2"}
        ]

    def test_parts_stay_out_with_their_user(self, district: "District", town: "Package") -> None:
        district.has(town)
        decide(district, REVIEW)
        package = town.change("users", "taro", {"givenName": "x"}).change(
            "roles", "r-taro", {"beginDate": "2026-04-02"}
        )
        run_id = shown(district, package)
        found = excluded(district, run_id, entities=["users"])
        assert found["counts"] == {}
        assert found["excluded"]["roles"]["updated"] == 1

    def test_what_is_gone_belongs_to_the_school_where_it_was(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        run_id = shown(district, town.drop("enrollments", "e2", "e3"))
        found = excluded(district, run_id, schools=["south"])
        assert found["counts"]["enrollments"]["deleted"] == 1
        assert found["excluded"]["enrollments"]["deleted"] == 1

    def test_the_approval_names_the_hash_of_what_remains(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        decide(district, REVIEW)
        run_id = shown(district, changed(town))
        whole = district.run(run_id)["diff"]
        found = excluded(district, run_id, entities=["enrollments"])
        assert found["diff"] != whole
        end = answered(district, run_id, "approve", diff=whole, **{"except": found["except"]})
        assert end.state == "review"
        assert district.run(run_id)["failure"]["code"] == "diff_changed"

    def test_a_first_load_can_leave_a_school_out(
        self, careful: "District", town: "Package"
    ) -> None:
        run_id = shown(careful, town)
        found = excluded(careful, run_id, schools=["south"])
        end = answered(
            careful, run_id, "approve", diff=found["diff"], **{"except": found["except"]}
        )
        assert end.state == "applied"
        assert set(careful.records("orgs")) == {"board", "north"}
        assert set(careful.records("classes")) == {"c1", "c2"}
        assert "teacher" not in careful.records("users")
        assert set(careful.records("enrollments")) == {"e1", "e3"}
        assert careful.record_counts() == careful.counted()


def test_every_kept_table_has_the_columns_of_staging(careful: "District", town: "Package") -> None:
    run_id = shown(careful, town)
    for entity in ROSTERING:
        columns = careful.hub.admin.execute(
            "select column_name from information_schema.columns"
            " where table_schema = %s and table_name = %s order by ordinal_position",
            kept_rows(run_id, entity),
        )
        assert [name for (name,) in columns] == ["line", *names(entity)]


def test_a_claim_knows_whether_it_was_answered(careful: "District", town: "Package") -> None:
    run_id = shown(careful, town)
    careful.hub.admin.execute(
        "update runs set state = 'queued', decision = '{\"kind\": \"approve\"}' where id = %s",
        [run_id],
    )
    with connect(careful.hub.url) as db:
        claim = claims.take(db, careful.tenant_id, lease=60, worker="test")
    assert isinstance(claim, Claim)
    assert claim.decided
