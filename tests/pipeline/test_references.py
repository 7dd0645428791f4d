"""References: against the state that the import would leave, in both directions."""

from typing import TYPE_CHECKING, TypeAlias

import pytest

from pipeline.limits import Limits
from schemas.columns import Key, Ref, Refs
from schemas.roster import BY_FILE, ROSTERING, AnyEntity

if TYPE_CHECKING:
    from tests.pipeline.conftest import Book, District, Package, Push

Reference: TypeAlias = tuple[AnyEntity, Key | Ref | Refs]
REFERENCES: list[Reference] = [
    (entity, column)
    for entity in ROSTERING
    for column in entity.references()
    if BY_FILE[column.to] in ROSTERING
]
each_reference = pytest.mark.parametrize(
    "reference", REFERENCES, ids=[f"{e.file}.{c.csv}" for e, c in REFERENCES]
)


def lawful(town: "Package", column: Key | Ref | Refs) -> "Package":
    """A town whose rules let the column point anywhere: Japan closes some, and has others."""
    return town if column.extension else town.in_terms()


def pointing(town: "Package", reference: Reference, to: str = "nobody") -> tuple["Package", str]:
    """The town with the first row of a file pointing at somebody else too; and the row's key."""
    entity, column = reference
    row = town.rows[entity.file][0]
    if isinstance(column, Key):
        return town.change(entity.file, row["sourcedId"], {"sourcedId": to}), to
    cell = row.get(column.csv, "")
    value = f"{cell},{to}".strip(",") if isinstance(column, Refs) else to
    return town.change(entity.file, row["sourcedId"], {column.csv: value}), row["sourcedId"]


def seen(
    done: "Push", rule: str
) -> list[tuple[str, int | None, str | None, str | None, str | None]]:
    return [
        (found.file, found.line, found.column, found.sourced_id, found.value)
        for found in done.findings
        if found.rule == rule
    ]


class TestMissing:
    """A row must point at a record that will be there."""

    @each_reference
    def test_in_a_first_load(
        self, district: "District", town: "Package", reference: Reference
    ) -> None:
        entity, column = reference
        package, key = pointing(lawful(town, column), reference)
        done = district.push(package)
        assert done.state == "rejected"
        place = (f"{entity.file}.csv", 2, column.csv, key, "nobody")
        assert seen(done, "reference.missing") == [place]
        assert done.findings[0].facts == {"target": f"{column.to}.csv"}

    def test_later_in_bulk_and_in_a_delta(
        self, loaded: "District", town: "Package", nothing: "Package"
    ) -> None:
        """All at once, for each is looked up on its own."""
        bulk, delta, expected = town.bare(), nothing.bare(), []
        for entity, column in REFERENCES:
            if column.extension:
                continue
            bulk, key = pointing(bulk, (entity, column))
            expected.append((f"{entity.file}.csv", 2, column.csv, key, "nobody"))
        for entity in ROSTERING:
            delta = delta.delta(entity.file, bulk.rows[entity.file][0])
        for package in (bulk, delta):
            found = seen(loaded.push(package), "reference.missing")
            assert sorted(map(str, found)) == sorted(map(str, expected))

    def test_every_line_is_named(self, district: "District", town: "Package") -> None:
        for key in ("e1", "e3", "e4"):
            town = town.change(
                "enrollments", key, {"classSourcedId": "gone", "userSourcedId": "no"}
            )
        done = district.push(town)
        found = seen(done, "reference.missing")
        assert sorted(found) == sorted(
            ("enrollments.csv", line, column, key, value)
            for line, key in ((2, "e1"), (4, "e3"), (5, "e4"))
            for column, value in (("classSourcedId", "gone"), ("userSourcedId", "no"))
        )

    def test_the_right_line_is_named_in_small_pieces(
        self, loaded: "District", district: "District", town: "Package"
    ) -> None:
        bad = town.change("enrollments", "e4", {"classSourcedId": "gone"})
        for each in (loaded, district):
            done = each.push(bad, limits=Limits(piece=100, partition=200))
            place = ("enrollments.csv", 5, "classSourcedId", "e4", "gone")
            assert seen(done, "reference.missing") == [place]

    def test_a_deleted_record_does_not_count(
        self, loaded: "District", town: "Package", nothing: "Package"
    ) -> None:
        mixed = nothing.delta("orgs", town.row("orgs", "south"), status="tobedeleted")
        mixed = mixed.delta("users", {**town.row("users", "teacher"), "sms": "1"})
        done = loaded.push(mixed)
        place = ("users.csv", 2, "primaryOrgSourcedId", "teacher", "south")
        assert seen(done, "reference.missing") == [place]

    def test_a_tombstone_does_not_count(
        self, district: "District", town: "Package", nothing: "Package"
    ) -> None:
        district.has(town)
        district.push(town.drop("enrollments", "e2").only("enrollments"))
        district.push(nothing.delta("classes", town.row("classes", "c3"), status="tobedeleted"))
        done = district.push(nothing.delta("enrollments", town.row("enrollments", "e2")))
        place = ("enrollments.csv", 2, "classSourcedId", "e2", "c3")
        assert seen(done, "reference.missing") == [place]

    def test_a_row_to_be_deleted_may_point_anywhere(
        self, district: "District", town: "Package", nothing: "Package"
    ) -> None:
        district.has(town)
        row = {**town.row("enrollments", "e1"), "classSourcedId": "gone", "userSourcedId": "no"}
        done = district.push(nothing.delta("enrollments", row, status="tobedeleted"))
        assert done.state == "applied", done.findings

    def test_a_reference_into_a_file_that_is_not_stored_is_not_looked_up(
        self, district: "District", town: "Package"
    ) -> None:
        package = type(town)(town.rows, {}, town.profile)
        header = town.header("users")
        at = header.index("preferredGivenName")
        wide = (*header[:at], "resourceSourcedIds", *header[at:])
        rows = town.change("users", "taro", {"resourceSourcedIds": "book1,book2"}).rows["users"]
        lines = [",".join(wide)]
        lines += [",".join('"' + row.get(name, "") + '"' for name in wide) for row in rows]
        done = district.push(package.zip(users="\r\n".join(lines).encode()))
        assert done.state == "applied", done.findings
        assert district.records("users")["taro"]["resource_sourced_ids"] == ["book1", "book2"]


class TestForward:
    """Rows may point at rows below them, at themselves, and in circles."""

    def test_agents_may_stand_below(
        self, district: "District", town: "Package", book: "Book"
    ) -> None:
        assert town.rows["users"][0]["agentSourcedIds"] == "mother,father"
        for package in (town, town.reversed()):
            assert district.push(package).state == "applied"
            book.push(package)
        district.agrees(book)

    @pytest.mark.parametrize("later", [False, True], ids=["first load", "later"])
    def test_users_may_point_at_themselves_and_at_each_other(
        self, district: "District", town: "Package", *, later: bool
    ) -> None:
        if later:
            district.push(town)
        circle = town.change("users", "mother", {"agentSourcedIds": "father,mother"}).change(
            "users", "father", {"agentSourcedIds": "mother"}
        )
        done = district.push(circle)
        assert (done.state, done.findings) == ("applied", [])

    def test_parts_may_come_with_their_user_or_after(
        self, district: "District", town: "Package", book: "Book"
    ) -> None:
        base = town.without("roles", "userProfiles", "enrollments", "demographics")
        done = district.push(base)
        assert done.rules == {
            "record.user_without_role",
            "record.home_class_without_enrollment",
        }
        book.push(base)
        rest = town.only("roles", "userProfiles", "enrollments", "demographics")
        assert district.push(rest).state == "applied"
        book.push(rest)
        district.agrees(book)


class TestVanished:
    """A stored row must not be left pointing at a record that goes."""

    @each_reference
    def test_a_stored_row_is_named(
        self, district: "District", town: "Package", nothing: "Package", reference: Reference
    ) -> None:
        """Delete each record that the column points at, and leave whoever points."""
        entity, column = reference
        town = lawful(town, column)
        district.has(town)
        wanted = {
            (row["sourcedId"], key)
            for row in town.rows[entity.file]
            for key in row.get(column.csv, "").split(",")
            if key
        }
        pointing = {row for row, _ in wanted} if entity.file == column.to else set()
        targets = {key for _, key in wanted} - pointing
        assert targets, "the town has none of these"
        rows = (town.row(column.to, key) for key in targets)
        nothing = nothing if column.extension else nothing.bare()
        done = district.push(nothing.delta(column.to, *rows, status="tobedeleted"))
        named = {
            (line, key, value)
            for file, line, name, key, value in seen(done, "reference.vanished")
            if (file, name) == (f"{entity.file}.csv", column.csv)
        }
        assert named == {(None, row, key) for row, key in wanted if key in targets}

    def test_a_delta_may_not_delete_what_is_pointed_at(
        self, loaded: "District", town: "Package", nothing: "Package"
    ) -> None:
        done = loaded.push(nothing.delta("users", town.row("users", "hana"), status="tobedeleted"))
        assert {(f.file, f.sourced_id) for f in done.findings} == {
            ("userProfiles.csv", "p-hana"),
            ("roles.csv", "r-hana"),
            ("demographics.csv", "hana"),
            ("enrollments.csv", "e3"),
        }

    def test_it_may_go_with_all_that_points_at_it(
        self, district: "District", town: "Package", nothing: "Package"
    ) -> None:
        district.has(town)
        gone = nothing
        for file, key in (
            ("users", "hana"),
            ("userProfiles", "p-hana"),
            ("roles", "r-hana"),
            ("demographics", "hana"),
            ("enrollments", "e3"),
        ):
            gone = gone.delta(file, town.row(file, key), status="tobedeleted")
        done = district.push(gone)
        assert (done.state, done.findings) == ("applied", [])

    def test_it_may_go_when_what_pointed_at_it_points_elsewhere(
        self, district: "District", town: "Package"
    ) -> None:
        district.has(town)
        moved = town.change(
            "enrollments", "e2", {"classSourcedId": "c1", "schoolSourcedId": "north"}
        )
        done = district.push(moved.drop("classes", "c3").only("classes", "enrollments"))
        assert done.state == "applied", done.findings

    def test_tombstones_may_point_at_what_goes(
        self, district: "District", town: "Package", nothing: "Package"
    ) -> None:
        district.has(town)
        district.push(town.only("enrollments").drop("enrollments", "e2"))
        done = district.push(
            nothing.delta("classes", town.row("classes", "c3"), status="tobedeleted")
        )
        assert (done.state, done.findings) == ("applied", [])


class TestDuplicates:
    """A record stands in a file once; the second and later rows are named."""

    @pytest.mark.parametrize("first", [True, False], ids=["first load", "later"])
    @pytest.mark.parametrize("changed", [True, False], ids=["with other values", "twice the same"])
    @pytest.mark.parametrize("piece", [100, 10_000], ids=["in small pieces", "in one piece"])
    def test_in_bulk(
        self,
        loaded: "District",
        district: "District",
        town: "Package",
        *,
        first: bool,
        changed: bool,
        piece: int,
    ) -> None:
        again = {**town.row("enrollments", "e2"), **({"endDate": "2027-03-31"} if changed else {})}
        bad = town.put("enrollments", again, again)
        done = (district if first else loaded).push(bad, limits=Limits(piece=piece, partition=500))
        assert done.state == "rejected"
        assert seen(done, "record.duplicate") == [
            ("enrollments.csv", line, "sourcedId", "e2", "e2") for line in (6, 7)
        ]

    @pytest.mark.parametrize("status", ["active", "tobedeleted"])
    @pytest.mark.parametrize("first", [True, False], ids=["first load", "later"])
    def test_in_a_delta(
        self,
        loaded: "District",
        district: "District",
        town: "Package",
        nothing: "Package",
        *,
        status: str,
        first: bool,
    ) -> None:
        board = town.row("orgs", "board")
        bad = nothing.delta("orgs", board).delta("orgs", board, status=status)
        done = (district if first else loaded).push(bad)
        assert done.state == "rejected"
        assert seen(done, "record.duplicate") == [("orgs.csv", 3, "sourcedId", "board", "board")]

    def test_in_several_files_at_once(self, loaded: "District", town: "Package") -> None:
        bad = town.put("orgs", town.row("orgs", "north")).put("roles", town.row("roles", "r-hana"))
        done = loaded.push(bad)
        assert {(f.file, f.line) for f in done.findings} == {("orgs.csv", 5), ("roles.csv", 8)}

    def test_the_same_identifier_in_two_files_is_none(
        self, loaded: "District", district: "District", town: "Package"
    ) -> None:
        done = district.push(town.change("academicSessions", "y2027", {"sourcedId": "north"}))
        assert (done.state, done.findings) == ("applied", [])
        assert loaded.versions() == [1]

    def test_identifiers_differ_by_case(self, district: "District", town: "Package") -> None:
        upper = {**town.row("orgs", "north"), "sourcedId": "NORTH"}
        assert district.push(town.put("orgs", upper)).state == "applied"
        assert {"north", "NORTH"} <= {*district.records("orgs")}
