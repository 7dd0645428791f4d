"""Reads of the rosters: bodies, pages, versions. Every body is held against the official schema."""

import json
import re
from typing import Any

import pytest
from falcon.testing import Result
from jsonschema import Draft7Validator, FormatChecker

from schemas.ddl import not_null
from schemas.rest.properties import top_level
from schemas.rest.records import ALWAYS, PARENTS, Records
from schemas.roster import PARTS, ROSTERING, AnyEntity
from tests.api.conftest import OFFICIAL, Books, Client, District

ROOT = "/ims/oneroster/rostering/v1p2"
BASE = f"https://hub.example.org{ROOT}"
FIRST = "2026-04-01T00:00:00.123999Z"
SECOND = "2026-05-01T00:00:00Z"
PROFILE = "7b1f0c52-9f0a-4f3e-8f61-000000000001"
ENTITIES = [entity for entity in ROSTERING if entity not in PARTS]
JP = {"kana_given_name": "ハナコ", "kana_family_name": "ヤマダ", "home_class": "c-1"}

FULL: dict[str, list[dict[str, Any]]] = {
    "orgs": [
        {"sourced_id": "d-1", "name": "区", "type": "district"},
        {
            "sourced_id": "s-1",
            "name": "第一中学校",
            "type": "school",
            "identifier": "13A001",
            "parent_sourced_id": "d-1",
        },
        {"sourced_id": "s/2", "name": "分校", "type": "bunkou", "parent_sourced_id": "d-1"},
        {
            "sourced_id": "s-3",
            "name": "Closed",
            "type": "school",
            "parent_sourced_id": "d-1",
            "status": "tobedeleted",
        },
    ],
    "academic_sessions": [
        {
            "sourced_id": "y-1",
            "title": "令和8年度",
            "type": "schoolYear",
            "start_date": "2026-04-01",
            "end_date": "2027-04-01",
            "school_year": "2026",
        },
        {
            "sourced_id": "t-1",
            "title": "1 学期",
            "type": "ext:trimester",
            "start_date": "2026-04-01",
            "end_date": "2026-08-01",
            "school_year": "2026",
            "parent_sourced_id": "y-1",
        },
    ],
    "courses": [
        {
            "sourced_id": "k-1",
            "title": "数学",
            "org_sourced_id": "s-1",
            "school_year_sourced_id": "y-1",
            "grades": ["J1"],
            "subjects": ["数学"],
            "subject_codes": ["020"],
        },
        {"sourced_id": "k-2", "title": "国語", "org_sourced_id": "s-1", "course_code": "JA"},
    ],
    "classes": [
        {
            "sourced_id": "c-1",
            "title": "1 年 1 組",
            "course_sourced_id": "k-1",
            "class_code": "1-1",
            "class_type": "homeroom",
            "location": "北校舎",
            "school_sourced_id": "s-1",
            "term_sourced_ids": ["t-1", "y-1"],
            "grades": ["J1"],
            "periods": ["1"],
            "special_needs": False,
        }
    ],
    "users": [
        {
            "sourced_id": "u-1",
            "enabled_user": True,
            "username": "hanako",
            "user_ids": ["{LDAP:hanako@school:1}"],
            "given_name": "花子",
            "family_name": "山田",
            "middle_name": "M",
            "identifier": "1",
            "email": "hanako@example.org",
            "agent_sourced_ids": ["u-2"],
            "grades": ["J1"],
            "user_master_identifier": "m-1",
            "resource_sourced_ids": ["r-1"],
            "preferred_given_name": "はな",
            "preferred_family_name": "山田",
            "primary_org_sourced_id": "s-1",
            "metadata": {"jp.kanaNickname": "ハナ", "vendor": "x", "vendor.id": "7", "none": None},
            **JP,
        },
        {"sourced_id": "u-2", "enabled_user": False, "grades": []},
        {
            "sourced_id": "u-3",
            "enabled_user": True,
            "given_name": "太郎",
            "family_name": "山田",
            "status": "tobedeleted",
        },
    ],
    "user_profiles": [
        {
            "sourced_id": PROFILE,
            "user_sourced_id": "u-1",
            "profile_type": "LMS",
            "vendor_id": "vendor",
            "application_id": "app",
            "description": "For the tablets.",
            "credential_type": "oidc",
            "username": "hanako",
        },
        {
            "sourced_id": "p/1",
            "user_sourced_id": "u-1",
            "profile_type": "MDM",
            "vendor_id": "vendor",
            "credential_type": "saml",
        },
        {
            "sourced_id": "p-gone",
            "user_sourced_id": "u-1",
            "profile_type": "MDM",
            "vendor_id": "vendor",
            "credential_type": "saml",
            "status": "tobedeleted",
        },
    ],
    "roles": [
        {
            "sourced_id": "r-1",
            "user_sourced_id": "u-1",
            "role_type": "primary",
            "role": "student",
            "begin_date": "2026-04-01",
            "end_date": "2027-04-01",
            "org_sourced_id": "s-1",
            "user_profile_sourced_id": PROFILE,
        },
        {
            "sourced_id": "r-2",
            "user_sourced_id": "u-1",
            "role_type": "secondary",
            "role": "ext:captain",
            "org_sourced_id": "s/2",
            "user_profile_sourced_id": "p/1",
        },
        {
            "sourced_id": "r-gone",
            "user_sourced_id": "u-1",
            "role_type": "secondary",
            "role": "aide",
            "org_sourced_id": "s-1",
            "status": "tobedeleted",
        },
        {
            "sourced_id": "r-3",
            "user_sourced_id": "u-3",
            "role_type": "primary",
            "role": "teacher",
            "org_sourced_id": "s-1",
            "status": "tobedeleted",
        },
    ],
    "demographics": [
        {
            "sourced_id": "u-1",
            "birth_date": "2013-05-06",
            "sex": "female",
            "asian": True,
            "white": False,
            "city_of_birth": "港区",
        }
    ],
    "enrollments": [
        {
            "sourced_id": "e-1",
            "class_sourced_id": "c-1",
            "school_sourced_id": "s-1",
            "user_sourced_id": "u-1",
            "role": "student",
            "primary": False,
            "begin_date": "2026-04-01",
            "end_date": "2027-04-01",
            "shusseki_no": 7,
            "public_flg": True,
        },
        {
            "sourced_id": "e-2",
            "class_sourced_id": "c-1",
            "school_sourced_id": "s-1",
            "user_sourced_id": "u-2",
            "role": "guardian",
        },
    ],
}


@pytest.fixture
def roster(books: Books, north: District) -> District:
    books.publish(north.tenant_id, FULL, FIRST)
    return north


def records(hub: Client, district: District, file: str, query: str = "") -> list[dict[str, Any]]:
    answer = hub.get(f"{ROOT}/{file}{query}", district.key)
    assert answer.status_code == 200, answer.text
    assert list(answer.json) == [file]
    found: list[dict[str, Any]] = answer.json[file]
    return found


def one(hub: Client, district: District, file: str, sourced_id: str) -> dict[str, Any]:
    answer = hub.get(f"{ROOT}/{file}/{sourced_id}", district.key)
    assert answer.status_code == 200, answer.text
    (record,) = answer.json.values()
    return dict(record)


@pytest.fixture(scope="session")
def official() -> dict[str, Any]:
    if not OFFICIAL.exists():
        pytest.skip("the official OpenAPI document is not beside the repository")
    document: dict[str, Any] = json.loads(OFFICIAL.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="session")
def formats() -> FormatChecker:
    checker = FormatChecker(formats=["date"])

    def uri(value: object) -> bool:
        return bool(re.fullmatch(r"[a-z]+:[!#$&-;=?-Z_a-z~%\[\]]+", str(value)))

    def moment(value: object) -> bool:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(value)))

    checker.checkers |= {"uri": (uri, ()), "date-time": (moment, ())}
    return checker


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.file)
def test_bodies_are_what_the_standard_says(
    hub: Client,
    roster: District,
    official: dict[str, Any],
    formats: FormatChecker,
    entity: AnyEntity,
) -> None:
    def errors(name: str, body: object) -> list[str]:
        schema = {"$ref": f"#/components/schemas/{name}", "components": official["components"]}
        found = Draft7Validator(schema, format_checker=formats).iter_errors(body)
        return [error.message for error in found if list(error.path)[-1:] != ["roles"]]

    body = hub.get(f"{ROOT}/{entity.file}", roster.key).json
    assert len(body[entity.file]) == len(FULL[entity.table])
    assert errors(f"{entity.rest}SetDType", body) == []
    for record in body[entity.file]:
        sourced_id = record["sourcedId"].replace("/", "%2F")
        single = hub.get(f"{ROOT}/{entity.file}/{sourced_id}", roster.key).json
        assert single == {entity.noun: record}
        assert errors(f"Single{entity.rest}DType", single) == []


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.file)
def test_every_property_of_the_standard_is_served_or_known_to_be_absent(
    official: dict[str, Any], entity: AnyEntity
) -> None:
    schema = official["components"]["schemas"][f"{entity.rest}DType"]
    names = set(Records(entity, "https://hub").names)
    assert names <= set(schema["properties"])
    assert set(schema["properties"]) == top_level(entity)
    absent = {"password"} if entity.rest == "User" else set()
    absent |= {"resources"} if entity.rest in ("Class", "Course") else set()
    assert set(schema["properties"]) - names == absent
    always = {c.json for c in entity.stored() if not_null(c) or c in ALWAYS}
    computed = {"dateLastModified", "roles", "sourcedId"}
    assert set(schema["required"]) <= always | computed


def test_an_org_lists_its_living_children_with_absolute_addresses(
    hub: Client, roster: District
) -> None:
    assert one(hub, roster, "orgs", "d-1") == {
        "sourcedId": "d-1",
        "status": "active",
        "dateLastModified": "2026-04-01T00:00:00.123Z",
        "name": "区",
        "type": "district",
        "identifier": "",
        "children": [
            {"href": f"{BASE}/orgs/s-1", "sourcedId": "s-1", "type": "org"},
            {"href": f"{BASE}/orgs/s%2F2", "sourcedId": "s/2", "type": "org"},
        ],
    }
    branch = one(hub, roster, "orgs", "s%2f2")
    assert branch["type"] == "ext:bunkou"
    assert branch["parent"] == {"href": f"{BASE}/orgs/d-1", "sourcedId": "d-1", "type": "org"}


def test_a_user_carries_roles_profiles_and_metadata(hub: Client, roster: District) -> None:
    user = one(hub, roster, "users", "u-1")
    assert user["enabledUser"] == "true"
    assert user["userIds"] == [{"type": "LDAP", "identifier": "hanako@school:1"}]
    assert (user["preferredFirstName"], user["preferredLastName"]) == ("はな", "山田")
    assert user["metadata"] == {
        "jp": {
            "kanaGivenName": "ハナコ",
            "kanaFamilyName": "ヤマダ",
            "homeClass": "c-1",
            "kanaNickname": "ハナ",
        },
        "vendor": "x",
        "vendor.id": "7",
    }
    assert user["roles"] == [
        {
            "roleType": "primary",
            "role": "student",
            "beginDate": "2026-04-01",
            "endDate": "2027-04-01",
            "org": {"href": f"{BASE}/orgs/s-1", "sourcedId": "s-1", "type": "org"},
            "userProfile": f"urn:uuid:{PROFILE}",
        },
        {
            "roleType": "secondary",
            "role": "ext:captain",
            "org": {"href": f"{BASE}/orgs/s%2F2", "sourcedId": "s/2", "type": "org"},
            "userProfile": "urn:rosterhub:profile:p%2F1",
        },
    ]
    assert user["userProfiles"] == [
        {
            "profileId": f"urn:uuid:{PROFILE}",
            "profileType": "LMS",
            "vendorId": "vendor",
            "applicationId": "app",
            "description": "For the tablets.",
            "credentials": [{"type": "oidc", "username": "hanako"}],
        },
        {
            "profileId": "urn:rosterhub:profile:p%2F1",
            "profileType": "MDM",
            "vendorId": "vendor",
            "credentials": [{"type": "saml", "username": ""}],
        },
    ]
    assert user["primaryOrg"]["sourcedId"] == "s-1"
    assert user["agents"] == [{"href": f"{BASE}/users/u-2", "sourcedId": "u-2", "type": "user"}]
    resource = "https://hub.example.org/ims/oneroster/resources/v1p2/resources/r-1"
    assert user["resources"] == [{"href": resource, "sourcedId": "r-1", "type": "resource"}]
    assert "password" not in user


def test_empty_values_are_left_out_unless_required(hub: Client, roster: District) -> None:
    assert one(hub, roster, "users", "u-2") == {
        "sourcedId": "u-2",
        "status": "active",
        "dateLastModified": "2026-04-01T00:00:00.123Z",
        "enabledUser": "false",
        "givenName": "",
        "familyName": "",
        "roles": [],
    }
    assert one(hub, roster, "courses", "k-1")["courseCode"] == ""


def test_a_deleted_record_is_read_with_what_it_last_had(hub: Client, roster: District) -> None:
    user = one(hub, roster, "users", "u-3")
    assert user["status"] == "tobedeleted"
    assert [role["role"] for role in user["roles"]] == ["teacher"]
    assert [u["sourcedId"] for u in records(hub, roster, "users")] == ["u-1", "u-2", "u-3"]


def test_flags_numbers_and_words_look_as_the_standard_wants(hub: Client, roster: District) -> None:
    first, second = records(hub, roster, "enrollments")
    assert first["primary"] == "false"
    assert first["metadata"] == {"jp": {"shussekiNo": 7, "publicFlg": "true"}}
    assert (first["role"], second["role"]) == ("student", "ext:guardian")
    assert "metadata" not in second
    assert one(hub, roster, "classes", "c-1")["metadata"] == {"jp": {"specialNeeds": "false"}}
    (person,) = records(hub, roster, "demographics")
    assert (person["asian"], person["white"], person["birthDate"]) == (
        "true",
        "false",
        "2013-05-06",
    )
    assert "blackOrAfricanAmerican" not in person


def test_a_change_shows_when_its_version_was_published(
    hub: Client, roster: District, books: Books
) -> None:
    books.publish(
        roster.tenant_id, {"orgs": [{"sourced_id": "z", "name": "Z", "type": "local"}]}, SECOND
    )
    assert one(hub, roster, "orgs", "z")["dateLastModified"] == "2026-05-01T00:00:00.000Z"
    assert one(hub, roster, "orgs", "d-1")["dateLastModified"] == "2026-04-01T00:00:00.123Z"


@pytest.fixture
def many(books: Books, north: District) -> District:
    orgs = [{"sourced_id": f"o-{n:03}", "name": "N", "type": "local"} for n in range(503)]
    orgs[7]["status"] = "tobedeleted"
    books.publish(north.tenant_id, {"orgs": orgs}, FIRST)
    return north


def test_pages_follow_the_links_and_lose_nothing(hub: Client, many: District) -> None:
    seen: list[str] = []
    url = f"{ROOT}/orgs?limit=50"
    while url:
        answer = hub.get(url.removeprefix("https://hub.example.org"), many.key)
        assert answer.headers["X-Total-Count"] == "503"
        seen += [record["sourcedId"] for record in answer.json["orgs"]]
        url = links(answer).get("next", "")
    assert seen == [f"o-{n:03}" for n in range(503)]


def links(answer: Result) -> dict[str, str]:
    pairs = [item.split("; rel=") for item in answer.headers["Link"].split(", ")]
    return {rel.strip('"'): without_cursor(url.strip("<>")) for url, rel in pairs}


def without_cursor(url: str) -> str:
    return url.partition("&cursor=")[0]


def test_links_keep_other_parameters_and_the_last_has_the_remainder(
    hub: Client, many: District
) -> None:
    answer = hub.get(f"{ROOT}/orgs?limit=10&fields=sourcedId,name&offset=10&x=<y>", many.key)
    other = f"{BASE}/orgs?fields=sourcedId,name&x=%3Cy%3E&"
    assert links(answer) == {
        "first": f"{other}limit=10&offset=0",
        "prev": f"{other}limit=10&offset=0",
        "next": f"{other}limit=10&offset=20",
        "last": f"{other}limit=3&offset=500",
    }
    assert set(links(hub.get(f"{ROOT}/orgs", many.key))) == {"first", "next", "last"}
    last = hub.get(f"{ROOT}/orgs?limit=3&offset=500", many.key)
    assert set(links(last)) == {"first", "prev", "last"}


def test_an_offset_past_the_end_is_an_empty_page(hub: Client, many: District) -> None:
    answer = hub.get(f"{ROOT}/orgs?offset=9999", many.key)
    assert answer.json == {"orgs": []}
    assert answer.headers["X-Total-Count"] == "503"
    assert links(answer)["prev"].endswith("limit=100&offset=500")
    empty = hub.get(f"{ROOT}/users", many.key)
    assert (empty.json, empty.headers["X-Total-Count"]) == ({"users": []}, "0")


def test_a_large_limit_is_cut_to_the_largest_page(hub: Client, many: District) -> None:
    answer = hub.get(f"{ROOT}/orgs?limit={'9' * 30}", many.key)
    assert len(answer.json["orgs"]) == 503
    assert "limit=10000&" in links(answer)["first"]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=-1", "limit=x", "limit=", "limit=1.5", "limit=%D9%A1"),
        *("offset=-1", "offset=x", "offset=", f"offset={2**31}", f"offset={'9' * 5000}"),
    ],
)
def test_a_page_that_cannot_be_is_refused(hub: Client, north: District, query: str) -> None:
    answer = hub.get(f"{ROOT}/orgs?{query}", north.key)
    assert answer.status_code == 400
    minor = answer.json["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"]
    assert minor == "invaliddata"


def test_fields_select_top_level_properties_and_only_those(hub: Client, roster: District) -> None:
    chosen = records(hub, roster, "users", "?fields=sourcedId,roles&fields=givenName")
    assert set(chosen[0]) == {"sourcedId", "roles", "givenName"}
    single = hub.get(f"{ROOT}/users/u-1?fields=familyName", roster.key)
    assert single.json == {"user": {"familyName": "山田"}}
    assert records(hub, roster, "orgs", "?fields=children")[1:] == [{}, {}, {}]


@pytest.mark.parametrize(
    "query", ["fields=", "fields=name,", "fields=nothing", "fields=Name", "fields=parent.sourcedId"]
)
def test_a_field_that_is_none_is_refused(hub: Client, north: District, query: str) -> None:
    for path in (f"{ROOT}/orgs", f"{ROOT}/orgs/x"):
        answer = hub.get(f"{path}?{query}", north.key)
        assert answer.status_code == 400
        assert "invalid_selection_field" in answer.text


def test_the_tag_of_an_answer_saves_the_page_until_the_next_version(
    hub: Client, roster: District, books: Books
) -> None:
    for path in (f"{ROOT}/orgs?limit=2", f"{ROOT}/orgs/d-1"):
        answer = hub.get(path, roster.key)
        tag = answer.headers["ETag"]
        assert tag.startswith('"')
        assert answer.headers["Cache-Control"] == "private, no-cache"
        again = hub.get(path, roster.key, headers={"If-None-Match": f'"x", {tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == tag
        books.publish(roster.tenant_id, {}, SECOND if "?" in path else "2026-06-01T00:00:00Z")
        assert hub.get(path, roster.key, headers={"If-None-Match": tag}).status_code == 200
    assert hub.get(f"{ROOT}/orgs?limit=3", roster.key).headers["ETag"] != tag
    missing = hub.get(f"{ROOT}/orgs/none", roster.key, headers={"If-None-Match": "*"})
    assert missing.status_code == 404
    assert "ETag" not in missing.headers


@pytest.mark.parametrize("strange", ["none", "%00", "%C3%28", "d-1%20", "D-1", "d-1/x"])
def test_an_unknown_record_is_404(hub: Client, roster: District, strange: str) -> None:
    answer = hub.get(f"{ROOT}/orgs/{strange}", roster.key)
    assert answer.status_code == 404
    assert "unknownobject" in answer.text


def test_parents_are_orgs_and_sessions() -> None:
    assert [entity.file for entity in PARENTS] == ["orgs", "academicSessions"]
    assert [e.file for e in ROSTERING if Records(e, "").has_parts] == ["users"]
