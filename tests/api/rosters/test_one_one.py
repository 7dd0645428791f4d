"""OneRoster 1.1: the shapes written down by hand, every route, and what consumers really send."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from falcon.testing import Result
from jsonschema import Draft7Validator

from api.rosters.filters import Clause, Predicate
from api.rosters.operations import OPERATIONS_1P1, ROOT, Operation
from schemas.rest.editions import ONE_ONE
from schemas.rest.properties import BY_EDITION
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, User
from schemas.roster.teaching import Class, Enrollment
from schemas.scopes import CORE, CORE_1P1, DEMOGRAPHICS_1P1, ROSTER, ROSTER_1P1
from tests.api.rosters.conftest import Json, Town
from tests.api.rosters.slow_reader import expected, values_at, written

ROOT_1P1 = "/ims/oneroster/v1p1"
DAY = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
FLAG = {"enum": ["true", "false"]}


def reference(collection: str, noun: str) -> Json:
    names = ("href", "sourcedId", "type")
    address = rf"^https://hub\.example\.org/ims/oneroster/v1p1/{collection}/[^/]+$"
    return {
        "type": "object",
        "properties": {
            "href": {"type": "string", "pattern": address},
            "sourcedId": TEXT,
            "type": {"const": noun},
        },
        "required": [*names],
        "additionalProperties": False,
    }


def references(collection: str, noun: str) -> Json:
    return {"type": "array", "items": reference(collection, noun)}


def schema(required: str, **properties: Json) -> Json:
    """A class of 1.1: what every record has, and what it has of its own."""
    base = {
        "sourcedId": TEXT,
        "status": {"enum": ["active", "tobedeleted"]},
        "dateLastModified": {"type": "string", "pattern": r"T\d\d:\d\d:\d\d\.\d{3}Z$"},
        "metadata": {"type": "object"},
    }
    return {
        "type": "object",
        "properties": base | properties,
        "required": ["sourcedId", "status", "dateLastModified", *required.split()],
        "additionalProperties": False,
    }


ROLES = ["administrator", "aide", "guardian", "parent"]
ROLES += ["proctor", "relative", "student", "teacher"]
SHAPES = {
    "user": schema(
        "username enabledUser givenName familyName role orgs",
        username=TEXT,
        userIds={
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"type": TEXT, "identifier": TEXT},
                "required": ["type", "identifier"],
                "additionalProperties": False,
            },
        },
        enabledUser=FLAG,
        givenName=TEXT,
        familyName=TEXT,
        middleName=TEXT,
        role={"enum": ROLES},
        identifier=TEXT,
        email=TEXT,
        sms=TEXT,
        phone=TEXT,
        agents=references("users", "user"),
        orgs=references("orgs", "org"),
        grades=TEXTS,
    ),
    "org": schema(
        "name type",
        name=TEXT,
        type={"enum": ["department", "school", "district", "local", "state", "national"]},
        identifier={"type": "string", "minLength": 1},
        parent=reference("orgs", "org"),
        children=references("orgs", "org"),
    ),
    "academicSession": schema(
        "title startDate endDate type schoolYear",
        title=TEXT,
        startDate=DAY,
        endDate=DAY,
        type={"enum": ["gradingPeriod", "semester", "schoolYear", "term"]},
        parent=reference("academicSessions", "academicSession"),
        children=references("academicSessions", "academicSession"),
        schoolYear={"type": "string", "pattern": r"^\d{4}$"},
    ),
    "course": schema(
        "title courseCode org",
        title=TEXT,
        courseCode=TEXT,
        schoolYear=reference("academicSessions", "academicSession"),
        grades=TEXTS,
        subjects=TEXTS,
        subjectCodes=TEXTS,
        org=reference("orgs", "org"),
    ),
    "class": schema(
        "title classType course school terms",
        title=TEXT,
        classCode=TEXT,
        classType={"enum": ["homeroom", "scheduled"]},
        location=TEXT,
        grades=TEXTS,
        subjects=TEXTS,
        subjectCodes=TEXTS,
        periods=TEXTS,
        course=reference("courses", "course"),
        school=reference("orgs", "org"),
        terms=references("academicSessions", "academicSession") | {"minItems": 1},
    ),
    "enrollment": schema(
        "user class school role",
        user=reference("users", "user"),
        school=reference("orgs", "org"),
        role={"enum": ROLES},
        primary=FLAG,
        beginDate=DAY,
        endDate=DAY,
        **{"class": reference("classes", "class")},
    ),
    "demographics": schema(
        "",
        birthDate=DAY,
        sex={"enum": ["male", "female"]},
        asian=FLAG,
        cityOfBirth=TEXT,
    ),
}


def get(town: Town, path: str, key: str = "", **query: Any) -> Result:  # noqa: ANN401 -- any parameter
    given = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    return town.hub.get(f"{ROOT_1P1}/{path}?{given}", key or town.district.key)


def records(town: Town, path: str, **query: Any) -> list[Json]:  # noqa: ANN401 -- any parameter
    answer = get(town, path, limit=1000, **query)
    assert answer.status_code == 200, answer.text
    ((_, found),) = answer.json.items()
    assert answer.headers["X-Total-Count"] == str(len(found))
    return list(found)


def ids(town: Town, path: str, **query: Any) -> list[str]:  # noqa: ANN401 -- any parameter
    return [record["sourcedId"] for record in records(town, path, **query)]


def places(town: Town, operation: Operation) -> Iterator[str]:
    """Addresses of an operation by all that is there."""
    if "{" not in operation.path:
        yield operation.path
        return
    first, *_ = operation.path.split("/")
    for key in ids(town, first):
        if "{class_sourced_id}" not in operation.path:
            yield operation.path.format(sourced_id=quote(key, safe=""))
            continue
        for inner in ids(town, f"schools/{quote(key, safe='')}/classes"):
            yield operation.path.format(
                sourced_id=quote(key, safe=""), class_sourced_id=quote(inner, safe="")
            )


@pytest.mark.parametrize("operation", OPERATIONS_1P1, ids=lambda operation: operation.id)
def test_every_body_has_the_shape_of_1_1(town: Town, operation: Operation) -> None:
    validator = Draft7Validator(SHAPES[operation.entity.noun])
    seen = 0
    for path in places(town, operation):
        answer = get(town, path, limit=1000) if not operation.single else get(town, path)
        assert answer.status_code == 200, path
        assert [*answer.json] == [operation.key]
        found = answer.json[operation.key]
        for record in [found] if operation.single else found:
            assert [error.message for error in validator.iter_errors(record)] == []
            seen += 1
        if seen > 30:
            break
    assert seen, "nothing was looked at"


def role_of(user: Json) -> str:
    """The role of a user in 1.1, from what 1.2 says of it."""
    words: dict[str, str] = {
        "counselor": "aide",
        "principal": "administrator",
        "districtAdministrator": "administrator",
        "siteAdministrator": "administrator",
        "systemAdministrator": "administrator",
    }
    order = ["teacher", "administrator", "student", "aide", "proctor"]
    order += ["guardian", "parent", "relative"]
    known = [
        (
            role["org"]["sourcedId"] != user.get("primaryOrg", {}).get("sourcedId"),
            role["roleType"] != "primary",
            order.index(words.get(role["role"], role["role"])),
        )
        for role in user["roles"]
        if words.get(role["role"], role["role"]) in order
    ]
    return order[min(known)[2]] if known else "relative"


def test_a_user_has_the_role_and_the_orgs_of_its_roles(town: Town) -> None:
    several = 0
    for user, other in zip(records(town, "users"), town.records("users"), strict=True):
        assert user["role"] == role_of(other)
        orgs = {role["org"]["sourcedId"] for role in other["roles"]}
        orgs |= {other["primaryOrg"]["sourcedId"]} if "primaryOrg" in other else set()
        assert {org["sourcedId"] for org in user["orgs"]} == orgs
        assert len(user["orgs"]) == len(orgs)
        assert user.get("metadata") == other.get("metadata")
        several += len({role["role"] for role in other["roles"]}) > 1
    assert several > 3


def test_students_are_those_who_are_shown_as_students(town: Town) -> None:
    users = records(town, "users")
    for role, view in (("student", "students"), ("teacher", "teachers")):
        right = [user for user in users if user["role"] == role]
        assert records(town, view) == right != []
        assert records(town, "users", filter=f"role='{role}'") == right
        for user in users:
            path = f"{view}/{quote(user['sourcedId'], safe='')}"
            assert get(town, path).status_code == (200 if user in right else 404)
        assert all(u["role"] == role for u in records(town, f"schools/S-1/{view}"))


COMPARED: tuple[Predicate, ...] = ("=", "!=", "~", ">")
PATHS: dict[AnyEntity, tuple[str, ...]] = {
    User: ("role", "orgs.sourcedId", "orgs.href", "orgs.type", "username", "metadata.vendor"),
    Org: ("type", "identifier", "parent.href"),
    AcademicSession: ("type", "children.sourcedId"),
    Class: ("classType", "school.href", "terms.href"),
    Enrollment: ("role", "class.href"),
    Demographics: ("sex",),
}


@pytest.mark.parametrize("entity", PATHS, ids=lambda entity: entity.file)
def test_a_filter_means_what_is_read(town: Town, entity: AnyEntity) -> None:
    everything = records(town, entity.file)
    compared = 0
    for path in PATHS[entity]:
        values = sorted({v for record in everything for v in values_at(record, path)})
        for value in [*values[:6], "captain", "bunkou"]:
            for predicate in COMPARED:
                if predicate == ">" and "." in path:
                    continue
                groups = [[Clause(path, predicate, value)]]
                right = expected(entity, everything, groups)
                found = ids(town, entity.file, filter=written(groups))
                assert right == found, groups
                compared += bool(found)
    assert compared


@pytest.mark.parametrize("path", ["roles.role", "primaryOrg.sourcedId", "pronouns", "orgs"])
def test_what_1_1_does_not_have_is_unknown_there(town: Town, path: str) -> None:
    answer = get(town, "users", filter=f"{path}='x'")
    assert answer.status_code == 400
    assert minor(answer) == "invalid_filter_field"


def test_sorting_goes_by_the_words_of_1_1(town: Town) -> None:
    for path, name in (("users", "role"), ("orgs", "type"), ("classes", "classType")):
        shown = [record[name].lower() for record in records(town, path, sort=name)]
        assert shown == sorted(shown)
        assert len(set(shown)) > 1


def minor(answer: Result) -> str:
    """The code of a refusal, whose shape is looked at."""
    (status,) = answer.json["statusInfoSet"]
    assert [*answer.json] == ["statusInfoSet"]
    assert (status["imsx_codeMajor"], status["imsx_severity"]) == ("failure", "error")
    assert status["imsx_description"]
    return str(status["imsx_codeMinor"])


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("users/nobody", {}, 404, "unknown object"),
        ("schools/d-1/classes", {}, 404, "unknown object"),
        ("nothing", {}, 404, "unknown object"),
        ("users", {"limit": 0}, 400, "invalid data"),
        ("users", {"offset": "x"}, 400, "invalid data"),
        ("users", {"orderBy": "up"}, 400, "invalid data"),
        ("users", {"filter": "colour='x'"}, 400, "invalid_filter_field"),
        ("users", {"filter": "role"}, 400, "invalid_filter_field"),
        ("users", {"fields": ""}, 400, "invalid_blank_selection_field"),
        ("users", {"fields": "role,"}, 400, "invalid_blank_selection_field"),
    ],
)
def test_refusals_are_told_in_the_words_of_1_1(
    town: Town, path: str, query: dict[str, Any], status: int, code: str
) -> None:
    answer = get(town, path, **query)
    assert (answer.status_code, minor(answer)) == (status, code)


def test_who_may_not_is_told_so(town: Town) -> None:
    answer = town.hub.get(f"{ROOT_1P1}/users")
    assert (answer.status_code, minor(answer)) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    answer = get(town, "users", town.books.key(town.district.tenant_id, scopes=()))
    assert (answer.status_code, minor(answer)) == (403, "forbidden")
    assert "statusInfoSet" not in town.get("users/nobody").text


def test_what_is_passed_over_is_answered_with_a_warning(town: Town) -> None:
    for query, code in (
        ({"fields": "role,roles"}, "invalid_selection_field"),
        ({"sort": "colour"}, "invalid_sort_field"),
    ):
        answer = get(town, "users", **query)
        (status,) = answer.json.pop("statusInfoSet")
        assert (status["imsx_codeMajor"], status["imsx_severity"]) == ("success", "warning")
        assert status["imsx_codeMinor"] == code
        assert answer.json["users"] == get(town, "users").json["users"]
    told = get(town, "users/U-01", fields="colour").json
    assert "'colour'" in told["statusInfoSet"][0]["imsx_description"]
    assert told["user"]["sourcedId"] == "U-01"


def test_fields_are_those_that_are_named(town: Town) -> None:
    whole = records(town, "users")
    for names in (("role",), ("orgs", "sourcedId"), ("givenName", "role")):
        chosen = records(town, "users", fields=",".join(names))
        assert chosen == [{name: user[name] for name in user if name in names} for user in whole]


def test_links_and_totals_stay_in_1_1(town: Town) -> None:
    answer = get(town, "users", limit=7, filter="role='student'")
    assert int(answer.headers["X-Total-Count"]) > 7
    links = answer.headers["Link"].split(", ")
    assert all(f"<https://hub.example.org{ROOT_1P1}/users?filter=" in link for link in links)
    path = f"{ROOT_1P1}/users?limit=7&filter=role%3D%27student%27"
    tag = town.hub.get(path, town.district.key).headers["ETag"]
    again = town.hub.get(path, town.district.key, headers={"If-None-Match": tag})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["orgs", "academicSessions", "users", "classes", "enrollments"])
def test_school_data_sync_gets_what_it_asks_for(town: Town, path: str) -> None:
    """Its requests to the letter, with and without encoding."""
    everything = records(town, path)
    active = [record for record in everything if record["status"] == "active"]
    for text in ("status='active'", quote("status='active'", safe="")):
        url = f"{ROOT_1P1}/{path}?offset=0&limit=5000&filter={text}"
        answer = town.hub.get(url, town.district.key)
        assert answer.json == {path: active}
        assert answer.headers["X-Total-Count"] == str(len(active))
    instants = sorted({record["dateLastModified"] for record in everything})
    for since in instants:
        for text in (f"dateLastModified>'{since}'", quote(f"dateLastModified>'{since}'", safe="")):
            url = f"{ROOT_1P1}/{path}?offset=0&limit=5000&filter={text}"
            later = [r for r in everything if r["dateLastModified"] > since]
            assert town.hub.get(url, town.district.key).json == {path: later}
    assert active
    assert len(instants) > 1


def test_scopes_of_either_edition_open_1_1_and_its_own_open_nothing_else(town: Town) -> None:
    lms = town.books.client(town.district.tenant_id)

    def statuses(scope: str) -> tuple[int, ...]:
        token = lms.token(town.hub, scope)
        paths = ("users", "users/U-01", "schools/S-1/students", "demographics")
        return (
            *(get(town, path, token).status_code for path in paths),
            town.hub.get(f"{ROOT}/users", token).status_code,
        )

    assert statuses(ROSTER_1P1) == (200, 200, 200, 403, 403)
    assert statuses(CORE_1P1) == (200, 200, 403, 403, 403)
    assert statuses(DEMOGRAPHICS_1P1) == (403, 403, 403, 200, 403)
    assert statuses(ROSTER) == (200, 200, 200, 403, 200)
    assert statuses(CORE)[:4] == (200, 200, 403, 403)


def test_the_shapes_by_hand_have_every_property_and_no_more() -> None:
    """Those that the hub never sends aside: passwords and learning resources, and flags of race."""
    for entity, properties in BY_EDITION[ONE_ONE].items():
        if entity.noun not in SHAPES or entity is Demographics:
            continue
        ours = {path.partition(".")[0] for path in properties} - {"password", "resources"}
        by_hand = SHAPES[entity.noun]["properties"].keys() | set()
        assert ours | {"metadata"} == by_hand | {"metadata"}, entity
