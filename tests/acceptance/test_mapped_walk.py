"""A district whose register knows nothing of OneRoster: its own CSV files in, REST out.

Every file is in the layout of a shipped template, in CP932, as such a system writes it.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from schemas.templates import TEMPLATES

if TYPE_CHECKING:
    from tests.acceptance.conftest import Client, Hub, Json

MAPPINGS = "/api/v1/mappings"
SCHOOL = "B127210000018"
FRAME = {
    "orgs": (
        "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId",
        "board-122211,,,架空市教育委員会,district,,",
    ),
    "academicSessions": (
        "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear",
        "year-2026,,,2026年度,schoolYear,2026-04-01,2027-03-31,,2026",
    ),
    "courses": (
        (
            "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,"
            "orgSourcedId,subjects,subjectCodes"
        ),
        f"homeroom-2026-{SCHOOL},,,year-2026,ホームルーム,,,{SCHOOL},,",
    ),
}
"""What a register does not hold, and somebody has written by hand."""


def lines(template: str) -> bytes:
    """What the register writes."""
    return "".join(f"{line}\r\n" for line in TEMPLATES[template].sample).encode("cp932")


def framed(entity: str) -> bytes:
    return "".join(f"{line}\r\n" for line in FRAME[entity]).encode()


@pytest.fixture(scope="module")
def district(hub: "Hub") -> "Client":
    """A district that allows CP932 and begins with the templates."""
    client = hub.district()
    reading = {"lenient": True, "repairs": ["cp932"]}
    answer = client.ask("PATCH", "/api/v1/policy", json={"reading": reading})
    assert answer.status_code == HTTPStatus.OK, answer.text
    for name in ("schools", "classes", "students", "birthdays", "enrollments"):
        template = client.get(f"{MAPPINGS}/templates/{name}")
        path = f"{MAPPINGS}/{template['entity']}"
        saved = client.ask("PUT", path, json=template["mapping"])
        assert (saved.status_code, saved.json()["version"]) == (HTTPStatus.OK, 1), saved.text
    return client


def sent(client: "Client", entity: str, body: bytes, mode: str = "upsert") -> "Json":
    return client.applied(body, entity=entity, mode=mode)


def test_what_a_register_writes_is_what_rest_serves(district: "Client") -> None:
    runs = [
        sent(district, "orgs", framed("orgs")),
        sent(district, "orgs", lines("schools")),
        *(sent(district, entity, framed(entity)) for entity in ("academicSessions", "courses")),
        sent(district, "classes", lines("classes"), "bulk"),
        sent(district, "users", lines("students"), "bulk"),
        sent(district, "demographics", lines("birthdays"), "bulk"),
        sent(district, "enrollments", lines("enrollments"), "bulk"),
    ]
    used = [run["mappings"][run["entity"]]["mapping"] for run in runs]
    assert used == [None, 1, None, None, 1, 1, 1, 1]

    schools = {each["sourcedId"]: each for each in district.collection("orgs")}
    assert schools[SCHOOL]["name"] == "第一小学校"
    assert schools[SCHOOL]["parent"]["sourcedId"] == "board-122211"

    taro = district.single("users", "user", "student-20260001")
    hana = district.single("users", "user", "student-20260002")
    assert (taro["familyName"], taro["givenName"], taro["grades"]) == ("山田", "太郎", ["P1"])
    assert (hana["grades"], hana["email"]) == (["J2"], "hanako@example.jp")
    assert hana["metadata"]["jp"] == {"kanaGivenName": "ハナコ", "kanaFamilyName": "サトウ"}
    assert taro["enabledUser"] == "true"

    born = {each["sourcedId"]: each for each in district.collection("demographics")}
    assert born["student-20260001"]["birthDate"] == "2019-05-01"
    assert born["student-20260002"]["sex"] == "female"

    home = district.single("classes", "class", f"class-2026-{SCHOOL}-0101")
    assert (home["title"], home["grades"]) == ("1年1組", ["P1"])
    seats = {each["user"]["sourcedId"]: each for each in district.collection("enrollments")}
    assert {each["beginDate"] for each in seats.values()} == {"2026-04-01", "2026-04-08"}
    numbers = {key: each["metadata"]["jp"]["shussekiNo"] for key, each in seats.items()}
    assert numbers == {"student-20260001": 7, "student-20260002": 8}


def test_the_same_push_again_changes_nothing(district: "Client") -> None:
    before = sent(district, "users", lines("students"), "bulk")
    after = sent(district, "users", lines("students"), "bulk")
    assert after["version"] == before["version"]
    assert after["counts"]["users"]["unchanged"] == 2


def test_back_to_the_default_the_same_push_is_refused_and_says_what_to_do(
    district: "Client",
) -> None:
    sent(district, "users", lines("students"), "bulk")
    answer = district.ask("DELETE", f"{MAPPINGS}/users")
    assert answer.status_code == HTTPStatus.NO_CONTENT
    run = district.ended(district.push(lines("students"), entity="users", mode="bulk"))
    assert run["state"] == "rejected"
    assert run["mappings"] == {"users": {"mapping": None, "fingerprint": None}}
    (wrong,) = [each for each in district.findings(run["id"]) if each["severity"] == "error"]
    assert (wrong["file"], wrong["line"], wrong["rule"]) == (
        "users.csv",
        1,
        "mapping.template_fits",
    )
    assert "rosterhub mappings set users --template students" in wrong["hint"]["ja"]
    restored = district.ask("POST", f"{MAPPINGS}/users/versions/1/restore")
    assert restored.status_code == HTTPStatus.CREATED
    run = sent(district, "users", lines("students"), "bulk")
    assert run["mappings"]["users"]["mapping"] == 3


def test_a_faulty_row_comes_back_as_the_register_wrote_it(district: "Client") -> None:
    body = lines("birthdays").replace("令和元年".encode("cp932"), "令和百年".encode("cp932"))
    run = district.ended(district.push(body, entity="demographics", mode="bulk"))
    assert run["state"] == "rejected"
    (wrong,) = [each for each in district.findings(run["id"]) if each["severity"] == "error"]
    assert (wrong["line"], wrong["column"], wrong["source"]) == (2, "birthDate", "生年月日")
    answer = district.ask(
        "GET",
        f"/api/v1/imports/{run['id']}/findings/rows?file=demographics.csv&severity=error&lang=ja",
    )
    head, row = answer.content.decode("utf-8-sig").splitlines()
    assert head.endswith('"児童生徒番号","生年月日","性別"')
    assert row.endswith('"20260001","令和百年5月1日","男"')
