"""What an import makes of the roster: who changes, who is left alone, what is kept of before.

The book of conftest.py says what must come out; every test here ends with both in agreement.
"""

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from schemas.roster import ROSTERING
from schemas.runs import Mode

if TYPE_CHECKING:
    from tests.pipeline.conftest import Book, District, Package, Push

ORG = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}


@dataclass(frozen=True)
class Both:
    """A district and its book; whatever happens to both, they agree afterwards."""

    district: "District"
    book: "Book"

    def __call__(
        self, package: "Package", entity: str | None = None, mode: Mode | None = None
    ) -> "Push":
        done = self.district.push(package, entity=entity, mode=mode)
        assert done.state == "applied", done.findings
        expected = self.book.push(package.only(entity) if entity else package, mode)
        assert done.counts == expected
        self.district.agrees(self.book)
        return done

    def begin(self, package: "Package") -> None:
        """A first push of which nothing is asked but what it leaves."""
        self.district.has(package)
        self.book.push(package)
        self.district.agrees(self.book)


@pytest.fixture
def push(district: "District", book: "Book") -> Both:
    return Both(district, book)


class TestMutations:
    def test_exactly_what_differs_is_updated_created_and_deleted(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push(town)
        before = district.writes()
        changed = (
            town.change("users", "taro", {"givenName": "太朗"})
            .change("classes", "c3", {"periods": "1,4"})
            .change("enrollments", "e3", {"endDate": "2026-12-01"})
            .put("orgs", ORG)
            .drop("enrollments", "e2")
            .drop("demographics", "hana")
        )
        done = push(changed)
        assert {f: c for f, c in done.counts.items() if {*c} - {"rows", "unchanged"}} == {
            "orgs": {"rows": 4, "created": 1, "unchanged": 3},
            "classes": {"rows": 3, "updated": 1, "unchanged": 2},
            "users": {"rows": 5, "updated": 1, "unchanged": 4},
            "enrollments": {"rows": 3, "updated": 1, "unchanged": 2, "deleted": 1},
            "demographics": {"rows": 1, "unchanged": 1, "deleted": 1},
        }
        after = district.writes()
        written = {file: {key for key, _ in after[file] - before[file]} for file in after}
        assert {file: keys for file, keys in written.items() if keys} == {
            "orgs": {"west"},
            "classes": {"c3"},
            "users": {"taro"},
            "enrollments": {"e2", "e3"},
            "demographics": {"hana"},
        }

    def test_every_column_counts(self, push: Both, town: "Package") -> None:
        """A value more and a value less in each column of every file, one push for all."""
        push.begin(town)
        more = {"middleName": "M", "sms": "1", "pronouns": "she", "metadata.jp.homeClass": "c2"}
        changed = town.change("users", "mother", more).change("users", "father", {"email": "a@b"})
        changed = changed.change("users", "taro", {"userIds": "", "sms": ""})
        changed = changed.change("classes", "c1", {"grades": ""})
        changed = changed.change("orgs", "board", {"identifier": "", "metadata.x": "new"})
        changed = changed.change("enrollments", "e1", {"metadata.jp.PublicFlg": ""})
        push(changed)
        push(town)

    def test_a_change_and_back_are_two_versions(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        push(town.change("orgs", "south", {"name": "みなみ"}))
        push(town)
        assert [row["version"] for row in district.history("orgs")] == [1, 2]
        assert district.records("orgs")["south"]["version"] == 3
        assert district.records("orgs")["south"]["created_version"] == 1


class TestStates:
    """The state table of the binding: bulk without, bulk with, delta active, delta tobedeleted."""

    def test_no_record(self, push: Both, town: "Package", nothing: "Package") -> None:
        push.begin(town)
        push(nothing.delta("orgs", ORG, status="tobedeleted"))
        push(nothing.delta("orgs", ORG))

    def test_active(self, push: Both, town: "Package", nothing: "Package") -> None:
        push.begin(town.put("orgs", ORG))
        push(town.put("orgs", ORG))
        push(nothing.delta("orgs", {**ORG, "name": "にし"}))
        push(nothing.delta("orgs", ORG, status="tobedeleted"))
        push(nothing.delta("orgs", ORG))
        push(town)

    def test_tombstone(self, push: Both, town: "Package", nothing: "Package") -> None:
        push.begin(town.put("orgs", ORG))
        push(town)
        push(town)  # without it again: nothing
        push(nothing.delta("orgs", ORG, status="tobedeleted"))
        push(nothing.delta("orgs", ORG))
        push(nothing.delta("orgs", ORG, status="tobedeleted"))
        push(town.put("orgs", ORG))
        push(town)
        push(town.put("orgs", {**ORG, "name": "にし"}))

    def test_a_delta_of_an_unknown_record_that_is_to_be_deleted_does_nothing(
        self, district: "District", town: "Package", nothing: "Package"
    ) -> None:
        for first in (nothing, town):
            district.push(first)
            before = district.everything()
            done = district.push(nothing.delta("orgs", ORG, status="tobedeleted"))
            assert done.counts == {"orgs": {"rows": 1, "unchanged": 1}}
            assert district.everything() == before

    def test_a_delta_leaves_alone_what_it_does_not_list(
        self, push: Both, town: "Package", nothing: "Package", district: "District"
    ) -> None:
        push.begin(town)
        before = district.writes()
        push(nothing.delta("enrollments", town.row("enrollments", "e1"), status="tobedeleted"))
        after = district.writes()
        changed = {key for file in after for key, _ in after[file] - before[file]}
        assert changed == {"e1"}

    def test_bulk_and_delta_in_one_package(self, push: Both, town: "Package") -> None:
        push.begin(town)
        mixed = town.only("orgs", "courses").put("orgs", ORG)
        mixed = mixed.delta(
            "enrollments", {**town.row("enrollments", "e1"), "endDate": "2027-03-31"}
        )
        mixed = mixed.delta("enrollments", town.row("enrollments", "e2"), status="tobedeleted")
        push(mixed)

    @pytest.mark.parametrize("mode", ["bulk", "upsert"])
    def test_a_single_file_deletes_only_in_bulk(
        self, push: Both, town: "Package", district: "District", mode: Mode
    ) -> None:
        push.begin(town)
        fewer = town.drop("enrollments", "e1", "e2")
        fewer = fewer.put("enrollments", {**town.row("enrollments", "e1"), "sourcedId": "e9"})
        push(fewer.change("enrollments", "e3", {"endDate": "2027-03-31"}), "enrollments", mode)
        gone = {k for k, r in district.records("enrollments").items() if r["status"] != "active"}
        assert gone == ({"e1", "e2"} if mode == "bulk" else set())

    def test_a_single_delta(self, push: Both, town: "Package", nothing: "Package") -> None:
        push.begin(town)
        delta = nothing.delta("orgs", ORG).delta("orgs", {**ORG, "sourcedId": "east"})
        push(delta, "orgs", "delta")
        push(nothing.delta("orgs", ORG, status="tobedeleted"), "orgs", "delta")

    @pytest.mark.parametrize("mode", ["bulk", "delta", "upsert"])
    def test_a_single_file_may_be_the_first_load(
        self, push: Both, town: "Package", nothing: "Package", mode: Mode
    ) -> None:
        orgs = town.rows["orgs"]
        push(
            nothing.delta("orgs", *orgs) if mode == "delta" else nothing.put("orgs", *orgs),
            "orgs",
            mode,
        )

    def test_absent_leaves_alone(self, push: Both, town: "Package", district: "District") -> None:
        push.begin(town)
        before = district.writes()
        for file in ("demographics", "enrollments", "roles"):
            push(town.only(file))
        assert district.writes() == before


class TestParts:
    """A change of a role or a profile moves the user, who keeps a before-image."""

    def test_a_changed_part_touches_its_user(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        done = push(town.change("roles", "r-teacher2", {"role": "aide"}))
        assert done.counts["users"] == {"rows": 5, "unchanged": 5, "touched": 1}
        assert district.records("users")["teacher"]["version"] == 2
        (before,) = district.history("users")
        assert (before["sourced_id"], before["version"], before["until_version"]) == (
            "teacher",
            1,
            2,
        )

    def test_a_part_alone_in_the_package_touches_too(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        done = push(town.change("userProfiles", "p-taro", {"username": "t"}).only("userProfiles"))
        assert done.counts["users"] == {"touched": 1}
        assert district.record_counts()[("users", "active")] == 5

    def test_a_new_and_a_deleted_part_touch(self, push: Both, town: "Package") -> None:
        push.begin(town)
        role = {**town.row("roles", "r-mother"), "sourcedId": "r-new", "roleType": "secondary"}
        assert push(town.put("roles", role)).counts["users"]["touched"] == 1
        assert push(town).counts["users"]["touched"] == 1
        assert push(town.put("roles", role)).counts["users"]["touched"] == 1

    def test_a_part_that_moves_touches_both_users(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        done = push(town.change("roles", "r-teacher2", {"userSourcedId": "mother"}))
        assert done.counts["users"]["touched"] == 2
        moved = {k for k, row in district.records("users").items() if row["version"] == 2}
        assert moved == {"teacher", "mother"}

    def test_a_user_who_changes_with_a_part_changes_once(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        both = town.change("roles", "r-taro", {"endDate": ""}).change("users", "taro", {"sms": "1"})
        done = push(both)
        assert done.counts["users"] == {"rows": 5, "updated": 1, "unchanged": 4}
        assert len(district.history("users")) == 1

    def test_several_changed_parts_touch_once(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        done = push(
            town.change("roles", "r-taro", {"endDate": ""}).change(
                "userProfiles", "p-taro", {"applicationId": ""}
            )
        )
        assert done.counts["users"]["touched"] == 1
        assert len(district.history("users")) == 1

    def test_the_first_load_touches_nobody(self, push: Both, town: "Package") -> None:
        assert "touched" not in push(town).counts["users"]

    def test_users_whose_parts_are_the_same_are_not_touched(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        push(town.change("demographics", "taro", {"sex": "other"}))
        assert district.history("users") == []

    def test_a_user_goes_with_the_parts(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        alone = town.drop("users", "teacher").drop("roles", "r-teacher", "r-teacher2")
        alone = alone.drop("enrollments", "e4")
        done = push(alone)
        assert done.counts["users"] == {"rows": 4, "unchanged": 4, "deleted": 1}
        assert district.records("users")["teacher"]["family_name"] == "鈴木"
        push(town)


class TestHistory:
    def test_before_images_are_what_stood_before(
        self, push: Both, town: "Package", district: "District"
    ) -> None:
        push.begin(town)
        push(town.change("users", "taro", {"givenName": "一", "grades": "P2,P3"}))
        push(town.change("users", "taro", {"givenName": "二"}).drop("enrollments", "e1"))
        images = [
            (row["version"], row["until_version"], row["given_name"], row["grades"])
            for row in district.history("users")
        ]
        assert images == [(1, 2, "太郎", ["P1"]), (2, 3, "一", ["P2", "P3"])]
        (gone,) = district.history("enrollments")
        assert (gone["sourced_id"], gone["status"], gone["until_version"]) == ("e1", "active", 3)

    @pytest.mark.parametrize("seed", [1, 2])
    def test_every_version_of_a_random_walk_can_be_read_again(
        self, push: Both, town: "Package", district: "District", book: "Book", seed: int
    ) -> None:
        chance = random.Random(seed)
        push.begin(town)
        package = town
        for _ in range(6):
            after = walked(package, town, chance)
            push(*meant(package, after, chance))
            is_in_step(after, book)
            package = after
        assert book.version >= 4
        for version, roster in book.snapshots.items():
            if version:
                assert {e.file: district.as_of(e.file, version) for e in ROSTERING} == roster
        assert {file: row for file, row in once_per_version(district).items() if row} == {}

    def test_a_wrong_book_is_noticed(
        self, push: Both, town: "Package", district: "District", book: "Book"
    ) -> None:
        push.begin(town)
        push(town.change("users", "taro", {"sms": "1"}))
        book.history["users"][0]["until_version"] = 3
        with pytest.raises(AssertionError):
            district.agrees(book)
        book.history["users"][0]["until_version"] = 2
        book.live["users"]["hana"]["family_name"] = "佐藤 "
        with pytest.raises(AssertionError):
            district.agrees(book)


def once_per_version(district: "District") -> dict[str, list[tuple[str, int]]]:
    """Records that begin twice in one version."""
    found = {}
    for entity in ROSTERING:
        begins = [
            (row["sourced_id"], row["version"])
            for row in (*district.history(entity.file), *district.records(entity.file).values())
        ]
        found[entity.file] = [begin for begin in begins if begins.count(begin) > 1]
    return found


def walked(package: "Package", town: "Package", chance: random.Random) -> "Package":
    """Some steps from a sound package to another one."""
    for _ in range(chance.randrange(1, 6)):
        package = chance.choice(STEPS)(package, town, chance)
    return package


def renamed(package: "Package", _: "Package", chance: random.Random) -> "Package":
    key = chance.choice(package.rows["users"])["sourcedId"]
    return package.change(
        "users", key, {"givenName": chance.choice("一二三四"), "grades": "P2, P3"}
    )


def moved_part(package: "Package", _: "Package", chance: random.Random) -> "Package":
    users = [row["sourcedId"] for row in package.rows["users"]]
    part = {"userSourcedId": chance.choice(users), "role": chance.choice(["aide", "ext:x"])}
    return package.change("roles", chance.choice(package.rows["roles"])["sourcedId"], part)


def left(package: "Package", _: "Package", __: random.Random) -> "Package":
    """Hana goes, with everything that is hers."""
    for file in ("roles", "userProfiles", "enrollments"):
        own = [r["sourcedId"] for r in package.rows[file] if r["userSourcedId"] == "hana"]
        package = package.drop(file, *own)
    roles = tuple(
        {**r, "userProfileSourcedId": ""} if r["userProfileSourcedId"] == "p-hana" else r
        for r in package.rows["roles"]
    )
    package = replace(package, rows={**package.rows, "roles": roles})
    return package.drop("demographics", "hana").drop("users", "hana")


def back(package: "Package", town: "Package", _: random.Random) -> "Package":
    """Whatever is missing of the town comes back."""
    for file, rows in town.rows.items():
        there = {row["sourcedId"] for row in package.rows[file]}
        package = package.put(file, *(row for row in rows if row["sourcedId"] not in there))
    return package


def regraded(package: "Package", _: "Package", chance: random.Random) -> "Package":
    key = chance.choice(package.rows["enrollments"])["sourcedId"]
    day = {"endDate": f"2027-03-{chance.randrange(10, 31)}", "metadata.x": chance.choice("ab")}
    return package.change("enrollments", key, day)


def unenrolled(package: "Package", _: "Package", chance: random.Random) -> "Package":
    if len(package.rows["enrollments"]) < 2:
        return package
    key = chance.choice(package.rows["enrollments"])["sourcedId"]
    return package.drop("enrollments", key)


STEPS = (renamed, moved_part, left, back, regraded, unenrolled)


def meant(before: "Package", after: "Package", chance: random.Random) -> tuple[Any, ...]:
    """The same change as a whole package, as changed files only, or as a delta."""
    same = [f for f in after.rows if sorted_rows(after, f) == sorted_rows(before, f)]
    match chance.choice(["bulk", "files", "delta"]):
        case "files":
            return (after.without(*same) if len(same) < len(after.rows) else after,)
        case "delta":
            return (difference(before, after),)
        case _:
            return (after.reversed(),)


def sorted_rows(package: "Package", file: str) -> list[list[tuple[str, str]]]:
    return sorted(sorted(row.items()) for row in package.rows[file])


def difference(before: "Package", after: "Package") -> "Package":
    """What a source that knows its own changes would send."""
    found = replace(after, rows={})
    for file, rows in after.rows.items():
        old = {row["sourcedId"]: row for row in before.rows[file]}
        new = {row["sourcedId"] for row in rows}
        changed = [row for row in rows if old.get(row["sourcedId"]) != row]
        gone = [row for key, row in old.items() if key not in new]
        if changed:
            found = found.delta(file, *changed)
        if gone:
            found = found.delta(file, *gone, status="tobedeleted")
    return found


def is_in_step(package: "Package", book: "Book") -> None:
    """What is active is what the source has, however it was sent."""
    for file, rows in package.rows.items():
        active = {key for key, row in book.live[file].items() if row["status"] == "active"}
        assert active == {row["sourcedId"] for row in rows}, file
