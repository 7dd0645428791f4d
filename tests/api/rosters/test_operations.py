"""The 41 operations: as the official document has them, and as a slow reader joins the rows."""

import json
from typing import Any, TypeAlias

import pytest
from jsonschema import Draft7Validator

from api.rosters.operations import MEMBERS, OPERATIONS, ROOT, SINGLES, Operation
from tests.api.conftest import OFFICIAL
from tests.api.rosters.conftest import Json, Row, Tables, Town

SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
Ids: TypeAlias = set[str]


@pytest.fixture(scope="module")
def official() -> dict[str, Any]:
    if not OFFICIAL.exists():
        pytest.skip("the official OpenAPI document is not beside the repository")
    document: dict[str, Any] = json.loads(OFFICIAL.read_text(encoding="utf-8"))
    return document


def test_the_table_is_that_of_the_standard(official: dict[str, Any]) -> None:
    def plain(path: str) -> str:
        return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))

    def scopes(get: dict[str, Any]) -> set[str]:
        return {
            s.removeprefix(SCOPE) for e in get["security"] for names in e.values() for s in names
        }

    there = {
        (get["operationId"], plain(path.strip("/")), frozenset(scopes(get)))
        for path, methods in official["paths"].items()
        for get in methods.values()
    }
    ours = {
        (o.id, plain(o.path), frozenset(s.removeprefix(SCOPE) for s in o.scopes))
        for o in OPERATIONS
    }
    assert ours == there
    assert len(OPERATIONS) == len(there) == 41


def addresses(operation: Operation, tables: Tables) -> list[tuple[str, str, str]]:
    """The address of every pair of parents, with the two."""
    if "{class_sourced_id}" in operation.path:
        pairs = [(s, c) for s in tables["orgs"] for c in tables["classes"]]
    else:
        table = {
            "schools": "orgs",
            "terms": "academic_sessions",
            "students": "users",
            "teachers": "users",
        }
        plural = operation.path.split("/")[0]
        pairs = [(n, "") for n in tables[table.get(plural, plural)]]
    return [
        (
            operation.path.format(
                sourced_id=first.replace("/", "%2F"), class_sourced_id=second.replace("/", "%2F")
            ),
            first,
            second,
        )
        for first, second in pairs
    ]


def having(tables: Tables, role: str, org: str | None = None) -> Ids:
    """Users who show the role. Rows of these tables carry the version they are of."""
    return {
        row["user_sourced_id"]
        for row in tables["roles"].values()
        if row["role"] == role and org in (None, row["org_sourced_id"])
        if row["status"] == "active"
        or (
            tables["users"].get(row["user_sourced_id"], row)["status"] != "active"
            and row["version"] >= tables["users"][row["user_sourced_id"]]["version"]
        )
    }


def where(tables: Tables, table: str, **values: str) -> Ids:
    rows = tables[table].items()
    return {n for n, row in rows if all(row[name] == value for name, value in values.items())}


def links(tables: Tables, table: str, **values: str) -> list[Row]:
    return [tables[table][n] for n in where(tables, table, status="active", **values)]


def slow(operation: Operation, tables: Tables, first: str, second: str) -> Ids | None:
    """The members by hand; None: there is no such parent."""
    plural = operation.path.split("/")[0]
    parents = {
        "classes": tables["classes"],
        "courses": tables["courses"],
        "users": tables["users"],
        "schools": where(tables, "orgs", type="school"),
        "terms": where(tables, "academic_sessions", type="term"),
        "students": having(tables, "student"),
        "teachers": having(tables, "teacher"),
    }[plural]
    if first not in parents:
        return None
    if second and tables["classes"][second]["school_sourced_id"] != first:
        return None
    in_class = second or first

    def enrolled(role: str) -> Ids:
        rows = links(tables, "enrollments", class_sourced_id=in_class, role=role)
        return {row["user_sourced_id"] for row in rows}

    def attended(**of: str) -> Ids:
        rows = links(tables, "enrollments", user_sourced_id=first, **of)
        return {row["class_sourced_id"] for row in rows}

    taught = links(tables, "classes", school_sourced_id=first)
    match operation.id:
        case "getStudentsForClass" | "getStudentsForClassInSchool":
            return enrolled("student")
        case "getTeachersForClass" | "getTeachersForClassInSchool":
            return enrolled("teacher")
        case "getEnrollmentsForClassInSchool":
            return where(tables, "enrollments", class_sourced_id=second)
        case "getClassesForCourse":
            return where(tables, "classes", course_sourced_id=first)
        case "getClassesForSchool":
            return where(tables, "classes", school_sourced_id=first)
        case "getCoursesForSchool":
            own = where(tables, "courses", org_sourced_id=first)
            return own | {row["course_sourced_id"] for row in taught}
        case "getEnrollmentsForSchool":
            return where(tables, "enrollments", school_sourced_id=first)
        case "getStudentsForSchool":
            return having(tables, "student", first)
        case "getTeachersForSchool":
            return having(tables, "teacher", first)
        case "getTermsForSchool":
            held = {name for row in taught for name in row["term_sourced_ids"]}
            return held & where(tables, "academic_sessions", type="term")
        case "getClassesForStudent":
            return attended(role="student")
        case "getClassesForTeacher":
            return attended(role="teacher")
        case "getClassesForUser":
            return attended()
        case "getClassesForTerm":
            rows = tables["classes"].items()
            return {n for n, row in rows if first in row["term_sourced_ids"]}
        case "getGradingPeriodsForTerm":
            kind = {"type": "gradingPeriod", "parent_sourced_id": first}
            return where(tables, "academic_sessions", **kind)
        case _:
            pytest.fail(operation.id)


def dated(versions: list[Tables]) -> Tables:
    """The rows of the last version, each with the version that it is of."""
    found: Tables = {}
    for number, tables in enumerate(versions, start=1):
        for table, rows in tables.items():
            kept = found.setdefault(table, {})
            for sourced_id, row in rows.items():
                before = kept.get(sourced_id)
                if before is None or {**before, "version": 0} != {**row, "version": 0}:
                    kept[sourced_id] = {**row, "version": number}
    return found


def visible(ids: Ids, tables: Tables, operation: Operation) -> list[str]:
    """Members that are there, in the order of a page."""
    return sorted(ids & tables[operation.entity.table].keys(), key=str.encode)


@pytest.mark.parametrize("version", [None, 1])
@pytest.mark.parametrize("operation", MEMBERS, ids=lambda operation: operation.id)
def test_members_are_those_that_a_slow_join_finds(
    town: Town, operation: Operation, version: int | None
) -> None:
    tables = dated(town.versions[:version])
    asked: Json = {} if version is None else {"asOf": version}
    found, refused = [], 0
    places = addresses(operation, tables)
    for path, first, second in places if len(places) < 40 else places[::3]:
        right = slow(operation, tables, first, second)
        answer = town.get(path, limit=1000, **asked)
        if right is None:
            refused += 1
            assert answer.status_code == 404, path
            assert "unknownobject" in answer.text
        else:
            ids = [record["sourcedId"] for record in answer.json[operation.key]]
            assert ids == visible(right, tables, operation), path
            assert answer.headers["X-Total-Count"] == str(len(ids))
            found.append(len(ids))
    assert any(found), "nothing was compared"
    whole = operation.path.split("/")[0] in ("classes", "courses", "users")
    assert whole or refused, "no parent was outside of its view"


@pytest.mark.parametrize("operation", SINGLES, ids=lambda operation: operation.id)
def test_a_single_record_is_the_one_of_its_view_and_no_other(
    town: Town, operation: Operation
) -> None:
    view = operation.path.split("/")[0]
    records = {record["sourcedId"]: record for record in town.records(view)}
    assert records
    for sourced_id in town.versions[-1][operation.entity.table]:
        answer = town.get(f"{view}/{sourced_id.replace('/', '%2F')}")
        if sourced_id in records:
            assert answer.json == {operation.key: records[sourced_id]}
        else:
            assert answer.status_code == 404
            assert "unknownobject" in answer.text


@pytest.mark.parametrize("version", [None, 1])
def test_views_are_those_that_a_slow_reader_finds(town: Town, version: int | None) -> None:
    tables = dated(town.versions[:version])
    asked: Json = {} if version is None else {"asOf": version}
    for view, right in {
        "schools": where(tables, "orgs", type="school"),
        "terms": where(tables, "academic_sessions", type="term"),
        "gradingPeriods": where(tables, "academic_sessions", type="gradingPeriod"),
        "students": having(tables, "student"),
        "teachers": having(tables, "teacher"),
    }.items():
        assert town.ids(view, **asked) == sorted(right, key=str.encode), view
    for role, view in (("student", "students"), ("teacher", "teachers")):
        shown = [r for r in town.records("users", **asked) if has_role(r, role)]
        assert town.records(view, **asked) == shown


def has_role(user: Json, role: str) -> bool:
    return any(each["role"] == role for each in user["roles"])


def test_a_known_parent_without_members_answers_an_empty_page(town: Town) -> None:
    tables = dated(town.versions)
    for operation in MEMBERS:
        for path, first, second in addresses(operation, tables):
            if slow(operation, tables, first, second) == set():
                answer = town.get(path)
                assert (answer.status_code, answer.json) == (200, {operation.key: []})
                assert answer.headers["X-Total-Count"] == "0"
                break


def test_an_unknown_parent_is_unknown_whatever_it_looks_like(town: Town) -> None:
    for operation in MEMBERS:
        for strange in ("none", "%00", "%C3%28", "'", "%25s"):
            path = operation.path.format(sourced_id=strange, class_sourced_id="c%2F1")
            assert town.get(path).status_code == 404, path


def test_every_body_is_valid_against_the_official_schema(
    town: Town, official: dict[str, Any]
) -> None:
    tables = dated(town.versions)

    def errors(operation: Operation, body: object) -> list[str]:
        rest = operation.entity.rest
        name = f"Single{rest}DType" if operation.single else f"{rest}SetDType"
        schema = {"$ref": f"#/components/schemas/{name}", "components": official["components"]}
        # A user without a role says so; the district hears of it from its findings.
        found = Draft7Validator(schema).iter_errors(body)
        return [error.message for error in found if list(error.path)[-1:] != ["roles"]]

    for operation in OPERATIONS:
        paths = [operation.path]
        if operation.single:
            view = operation.path.split("/")[0]
            paths = [f"{view}/{i.replace('/', '%2F')}" for i in town.ids(view)[:3]]
        elif operation in MEMBERS:
            paths = [
                path
                for path, first, second in addresses(operation, tables)
                if slow(operation, tables, first, second)
            ][:2]
        assert paths, operation.id
        for path in paths:
            body = town.get(path).json
            assert [*body] == [operation.key]
            assert errors(operation, body) == [], path


def test_pages_of_members_follow_the_links_and_lose_nothing(town: Town) -> None:
    url = f"{ROOT}/schools/S-1/enrollments?limit=3&filter=status%3D'active'&sort=role"
    seen: list[str] = []
    while url:
        answer = town.hub.get(url.removeprefix("https://hub.example.org"), town.district.key)
        seen += [record["sourcedId"] for record in answer.json["enrollments"]]
        links = [item.split("; rel=") for item in answer.headers["Link"].split(", ")]
        assert all("filter=status%3D'active'&sort=role&" in link for link, _ in links)
        url = "".join(link.strip("<>") for link, rel in links if rel == '"next"')
    everything = town.ids("schools/S-1/enrollments", filter="status='active'", sort="role")
    assert seen == everything
    assert len(seen) > 3


def test_another_district_answers_from_its_own_rows_though_the_identifiers_are_the_same(
    town: Town,
) -> None:
    def rows(tenant_id: int) -> set[tuple[str, str]]:
        return {*town.books.rows(tenant_id, "select sourced_id, name from orgs")}

    mine, other = rows(town.district.tenant_id), rows(town.other.tenant_id)
    assert {sourced_id for sourced_id, _ in other} == {sourced_id for sourced_id, _ in mine}
    assert other != mine
    query = "limit=1000&sort=name&filter=name!='-' OR sourcedId='s-1' OR name>'a'"
    answer = town.hub.get(f"{ROOT}/orgs?{query.replace(' ', '+')}", town.other.key)
    assert {(org["sourcedId"], org["name"]) for org in answer.json["orgs"]} == other
    assert answer.headers["X-Total-Count"] == str(len(other))
