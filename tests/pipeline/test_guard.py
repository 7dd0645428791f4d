"""The guard: every reason just below its threshold and just above it."""

from datetime import date
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from pipeline import claims, proposals
from pipeline.claims import Watch
from pipeline.database import connect, tenant
from pipeline.deciding import Deciding
from pipeline.importing import Import
from pipeline.undo import Undo
from schemas.guard import REASONS, SKIPPED, Reason

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Package

OFF = {
    "deletions": 1,
    "updates": 1,
    "absent_files": False,
    "older_package": False,
    "school_year": False,
}


def decide(district: "District", **guard: object) -> None:
    district.hub.admin.execute(
        "update districts set policy = %s where tenant_id = %s",
        [Jsonb({"guard": OFF | guard}), district.tenant_id],
    )


def pushed(district: "District", package: "Package", as_of: date | None = None) -> dict[str, Any]:
    """The run of a package, held or not."""
    hub = district.hub
    path = hub.stored(package, None)
    run_id = hub.queued(district.tenant_id, path, None, None)
    hub.admin.execute("update runs set as_of = %s where id = %s", [as_of, run_id])
    before = district.everything()
    work(district, run_id, path)
    run = dict(district.run(run_id))
    assert run["state"] in {"applied", "held"}
    if run["state"] == "held":
        assert district.everything() == before
    return run


def work(district: "District", run_id: UUID, path: Any) -> None:  # noqa: ANN401  # a Path
    folder = district.hub.folder / f"work-{run_id}"
    folder.mkdir()
    with connect(district.hub.url) as db:
        claim = claims.take(db, district.tenant_id, lease=60, worker="test")
        assert claim is not None
        assert claim.id == run_id
        Import(claim, db, path, folder, Watch(), lambda _: None).run()


def reasons(run: dict[str, Any]) -> list[tuple[str, str | None, str | None]]:
    """Code, entity and school of each reason."""
    for reason in run["guard"]["reasons"]:
        assert reason["message"]["ja"] != reason["message"]["en"]
    return [(r["code"], r["entity"], r["school"]) for r in run["guard"]["reasons"]]


def full(town: "Package", pupils: int = 20) -> "Package":
    """The town with more enrollments: `pupils` at each of the two schools."""
    rows = [
        {**town.row("enrollments", "e3"), "sourcedId": f"{school}{number:02}"} | cells
        for school, cells in (
            ("n", {"classSourcedId": "c1", "schoolSourcedId": "north"}),
            ("s", {"classSourcedId": "c3", "schoolSourcedId": "south"}),
        )
        for number in range(pupils)
    ]
    return town.drop("enrollments", "e1", "e2", "e3", "e4").put("enrollments", *rows)


def first(package: "Package", letter: str, number: int) -> list[str]:
    keys = [row["sourcedId"] for row in package.rows["enrollments"]]
    return [key for key in keys if key.startswith(letter)][:number]


class TestShares:
    @pytest.fixture
    def loaded(self, district: "District", town: "Package") -> "District":
        district.has(full(town))
        return district

    @pytest.mark.parametrize(("gone", "state"), [(4, "applied"), (5, "held")])
    def test_deletions_of_a_file(
        self, loaded: "District", town: "Package", gone: int, state: str
    ) -> None:
        decide(loaded, deletions=0.1, at_least=5 if gone == 5 else 1)
        keys = first(full(town), "n", gone // 2) + first(full(town), "s", gone - gone // 2)
        run = pushed(loaded, full(town).drop("enrollments", *keys))
        assert run["state"] == state
        if state == "held":
            (reason,) = run["guard"]["reasons"]
            assert (reason["count"], reason["stored"]) == (5, 40)
            assert (reason["share"], reason["threshold"]) == (0.125, 0.1)
            assert "12.5" in reason["message"]["ja"]
            assert "12.5" in reason["message"]["en"]

    @pytest.mark.parametrize(("gone", "state"), [(4, "applied"), (5, "held")])
    def test_deletions_of_a_school(
        self, loaded: "District", town: "Package", gone: int, state: str
    ) -> None:
        decide(loaded, deletions=0.2, at_least=1)
        run = pushed(loaded, full(town).drop("enrollments", *first(full(town), "n", gone)))
        assert run["state"] == state
        expected = [("deletions", "enrollments", "north")] if state == "held" else []
        assert reasons(run) == expected

    @pytest.mark.parametrize(("changed", "state"), [(15, "applied"), (16, "held")])
    def test_updates_of_a_school(
        self, loaded: "District", town: "Package", changed: int, state: str
    ) -> None:
        decide(loaded, updates=0.75)
        package = full(town)
        for key in first(package, "s", changed):
            package = package.change("enrollments", key, {"endDate": "2027-01-31"})
        run = pushed(loaded, package)
        assert run["state"] == state
        expected = [("updates", "enrollments", "south")] if state == "held" else []
        assert reasons(run) == expected

    def test_a_school_that_is_known_to_be_large_is_not_counted(
        self, loaded: "District", town: "Package"
    ) -> None:
        """Enough is found class by class, tombstones and other schools left out."""
        decide(loaded)
        pushed(loaded, full(town).drop("enrollments", *first(full(town), "n", 3)))
        with connect(loaded.hub.url) as db, tenant(db, loaded.tenant_id):
            for school, records in (("north", 17), ("south", 20)):
                counted = {("enrollments", school): records}
                for enough in (0, records + 1):
                    wanted = {"enrollments": {school: enough}}
                    assert proposals.stored(db, loaded.tenant_id, wanted) == counted
                wanted = {"enrollments": {school: records}}
                assert proposals.stored(db, loaded.tenant_id, wanted) == {}

    def test_updates_of_a_file(self, loaded: "District", town: "Package") -> None:
        decide(loaded, updates=0.75)
        package = full(town)
        for row in package.rows["enrollments"][:31]:
            package = package.change("enrollments", row["sourcedId"], {"endDate": "2027-01-31"})
        run = pushed(loaded, package)
        assert reasons(run) == [
            ("updates", "enrollments", None),
            ("updates", "enrollments", "north"),
        ]

    @pytest.mark.parametrize(("least", "state"), [(5, "held"), (6, "applied")])
    def test_small_numbers_hold_nothing(
        self, loaded: "District", town: "Package", least: int, state: str
    ) -> None:
        decide(loaded, deletions=0.1, at_least=least)
        run = pushed(loaded, full(town).drop("enrollments", *first(full(town), "n", 5)))
        assert run["state"] == state

    def test_a_guard_that_is_off_holds_nothing(self, loaded: "District", town: "Package") -> None:
        decide(loaded, on=False, deletions=0, updates=0, absent_files=True)
        run = pushed(loaded, full(town).drop("enrollments", *first(full(town), "n", 20)))
        assert run["state"] == "applied"

    def test_what_is_held_is_applied_when_it_is_approved(
        self, loaded: "District", town: "Package"
    ) -> None:
        decide(loaded, deletions=0.1)
        run = pushed(loaded, full(town).drop("enrollments", *first(full(town), "n", 20)))
        assert run["state"] == "held"
        loaded.hub.admin.execute(
            "update runs set state = 'queued', decision = %s where id = %s",
            [Jsonb({"kind": "approve", "diff": run["diff"]}), run["id"]],
        )
        with connect(loaded.hub.url) as db:
            claim = claims.take(db, loaded.tenant_id, lease=60, worker="test")
            assert claim is not None
            assert Deciding(claim, db, Watch(), lambda _: None).run().state == "applied"
        gone = [r for r in loaded.records("enrollments").values() if r["status"] != "active"]
        assert len(gone) == 20


class TestAbsentFiles:
    @pytest.mark.parametrize("loaded", [True, False])
    def test_a_full_package_without_a_required_file_is_held(
        self, district: "District", town: "Package", *, loaded: bool
    ) -> None:
        if loaded:
            district.push(town)
        decide(district, absent_files=True)
        run = pushed(district, town.only("orgs", "academicSessions"))
        assert run["state"] == "held"
        assert ("absent_file", "users", None) in reasons(run)

    def test_a_delta_is_never_full(self, district: "District", town: "Package") -> None:
        district.has(town)
        decide(district, absent_files=True)
        west = {"sourcedId": "west", "name": "西小学校", "type": "school"}
        assert pushed(district, town.only().delta("orgs", west))["state"] == "applied"

    def test_a_complete_package_is_not_held(self, district: "District", town: "Package") -> None:
        decide(district, absent_files=True)
        assert pushed(district, town)["state"] == "applied"


class TestDays:
    @pytest.mark.parametrize(
        ("day", "state"), [(date(2026, 5, 2), "applied"), (date(2026, 5, 1), "held")]
    )
    def test_a_package_older_than_the_newest_is_held(
        self, district: "District", town: "Package", day: date, state: str
    ) -> None:
        decide(district, older_package=True)
        assert pushed(district, town, date(2026, 5, 2))["state"] == "applied"
        run = pushed(district, town.drop("enrollments", "e1"), day)
        assert run["state"] == state
        if state == "held":
            (reason,) = run["guard"]["reasons"]
            assert (reason["as_of"], reason["newest"]) == ("2026-05-01", "2026-05-02")

    @pytest.mark.parametrize("loaded", [True, False], ids=["later", "first load"])
    @pytest.mark.parametrize(
        ("day", "state"),
        [
            (date(2026, 3, 31), "held"),
            (date(2026, 4, 1), "applied"),
            (date(2028, 3, 31), "applied"),
            (date(2028, 4, 1), "held"),
        ],
    )
    def test_a_day_outside_of_every_school_year_is_held(
        self, district: "District", town: "Package", day: date, state: str, *, loaded: bool
    ) -> None:
        if loaded:
            district.push(town)
        decide(district, school_year=True)
        package = town.drop("enrollments", "e1") if loaded else town
        run = pushed(district, package, day)
        assert run["state"] == state
        assert reasons(run) == ([("school_year", None, None)] if state == "held" else [])
        assert run["preview"] is None or run["preview"]["enrollments"]["rows"] == len(
            package.rows["enrollments"]
        )

    def test_without_a_day_both_are_skipped_and_it_says_so(
        self, district: "District", town: "Package"
    ) -> None:
        decide(district, school_year=True, older_package=True)
        run = pushed(district, town)
        assert run["state"] == "applied"
        assert [each["code"] for each in run["guard"]["skipped"]] == [
            "older_package",
            "school_year",
        ]


class TestUndone:
    def test_what_was_undone_is_held_until_it_is_released(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        wrong = town.drop("enrollments", "e1").change("users", "taro", {"givenName": "誤"})
        district.push(wrong)
        district.hub.admin.execute(
            "insert into runs (tenant_id, id, kind, undoes, created_by)"
            " values (%s, gen_random_uuid(), 'undo', 2, 'test')",
            [district.tenant_id],
        )
        with connect(district.hub.url) as db:
            claim = claims.take(db, district.tenant_id, lease=60, worker="test")
            assert claim is not None
            assert Undo(claim, db, Watch(), lambda _: None).run().state == "applied"
        decide(district)
        run = pushed(district, wrong)
        assert set(reasons(run)) == {("redoes", "enrollments", None), ("redoes", "users", None)}
        assert pushed(district, town)["state"] == "applied"
        district.hub.admin.execute(
            "update versions set released_at = now() where tenant_id = %s", [district.tenant_id]
        )
        assert pushed(district, wrong)["state"] == "applied"


def test_every_reason_is_said_in_both_languages() -> None:
    facts = {"as_of": "1", "newest": "2", "undone": 3, "undo": 4}
    facts |= {"vanished": 5, "new": 6, "ambiguous": 7}
    for name in REASONS:
        school = "north" if name.startswith("school_") and name != "school_year" else None
        code = name.removeprefix("school_") if school else name
        said = Reason(code, "users", school, 5, 40, 0.125, 0.1, facts).json()["message"]
        assert said["ja"] != said["en"]
        assert "None" not in said["ja"] + said["en"]
    for sentence in SKIPPED.values():
        assert sentence.ja != sentence.en
