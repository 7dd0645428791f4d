"""The lens of a client: said by whoever decides for the district, kept, and explained."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import pytest

from tests.api.conftest import Books, Client, District, LearningSystem

Json: TypeAlias = dict[str, Any]

OPEN: Json = {
    "schools": None,
    "grades": None,
    "roles": None,
    "entities": None,
    "fields": [],
    "pseudonyms": [],
}

TOWN: dict[str, list[Json]] = {
    "orgs": [
        {"sourced_id": "board", "name": "B", "type": "district"},
        {"sourced_id": "north", "name": "N", "type": "school", "parent_sourced_id": "board"},
        {"sourced_id": "south", "name": "S", "type": "school", "parent_sourced_id": "board"},
    ],
    "courses": [{"sourced_id": "k1", "title": "国語", "org_sourced_id": "board"}],
    "classes": [
        {
            "sourced_id": f"c-{school}",
            "title": "1年1組",
            "class_type": "homeroom",
            "course_sourced_id": "k1",
            "school_sourced_id": school,
            "term_sourced_ids": ["y1"],
            "grades": ["P1"],
        }
        for school in ("north", "south")
    ],
    "users": [
        {
            "sourced_id": "taro",
            "enabled_user": True,
            "email": "taro@example.jp",
            "grades": ["P1"],
            "agent_sourced_ids": ["mother", "father"],
            "primary_org_sourced_id": "north",
            "home_class": "c-north",
        },
        {"sourced_id": "hana", "enabled_user": True, "grades": ["P1"], "home_class": "c-south"},
        {"sourced_id": "mother", "enabled_user": True},
        {"sourced_id": "father", "enabled_user": True},
    ],
    "roles": [
        {
            "sourced_id": f"r-{user}-{school}",
            "user_sourced_id": user,
            "role_type": "primary",
            "role": role,
            "org_sourced_id": school,
            "status": status,
        }
        for user, role, school, status in (
            ("taro", "student", "north", "active"),
            ("hana", "student", "south", "active"),
            ("hana", "student", "north", "tobedeleted"),
            ("mother", "guardian", "north", "active"),
            ("father", "guardian", "south", "active"),
        )
    ],
    "demographics": [{"sourced_id": "taro"}],
    "enrollments": [
        {
            "sourced_id": f"e-{user}",
            "class_sourced_id": f"c-{school}",
            "school_sourced_id": school,
            "user_sourced_id": user,
            "role": "student",
        }
        for user, school in (("taro", "north"), ("hana", "south"))
    ],
}


@pytest.fixture
def town(books: Books, north: District) -> District:
    books.publish(north.tenant_id, TOWN, "2026-04-01T00:00:00Z")
    return north


@pytest.fixture
def lms(books: Books, north: District) -> LearningSystem:
    return books.client(north.tenant_id)


def at(lms: LearningSystem) -> str:
    return f"/api/v1/clients/{lms.id}/lens"


def set_lens(hub: Client, lms: LearningSystem, district: District, **lens: object) -> Json:
    answer = hub.ask("PUT", at(lms), district.key, json=lens)
    assert answer.status_code == 200, answer.text
    said: Json = answer.json
    return said


def explained(
    hub: Client, lms: LearningSystem, district: District, named: str, entity: str
) -> Json:
    answer = hub.get(f"{at(lms)}/explain?sourcedId={named}&entity={entity}", district.key)
    assert answer.status_code == 200, answer.text
    (item,) = answer.json["items"]
    found: Json = item
    return found


def failing(item: Mapping[str, Any]) -> list[str]:
    return [reason["rule"] for reason in item["reasons"] if not reason["holds"]]


def test_a_lens_is_kept_and_raises_the_revision_only_if_it_differs(
    hub: Client, books: Books, town: District, lms: LearningSystem
) -> None:
    assert hub.get(at(lms), town.key).json == OPEN | {"revision": 1, "unknown_schools": []}
    lens = {"schools": ["south", "north", "north", "noth"], "fields": ["email"]}
    said = set_lens(hub, lms, town, **lens)
    kept = {"schools": ["north", "noth", "south"], "fields": ["email"]}
    assert said == OPEN | kept | {"revision": 2, "unknown_schools": ["noth"]}
    assert set_lens(hub, lms, town, **said) == said
    assert hub.get(at(lms), town.key).json == said
    assert books.rows(town.tenant_id, "select lens, lens_revision from clients") == [(kept, 2)]
    assert set_lens(hub, lms, town)["revision"] == 3
    assert hub.get(f"/api/v1/clients/{lms.id}", town.key).json["lens_revision"] == 3


MEANINGLESS: tuple[object, ...] = (
    {"fields": ["passwords"]},
    {"schools": "north"},
    {"schools": [1]},
    {"schools": ["no\0rth"]},
    {"entities": ["enrollments"]},
    {"colour": "blue"},
    [],
)


def test_what_cannot_be_meant_changes_nothing_and_nobody_overwrites_what_they_have_not_read(
    hub: Client, town: District, lms: LearningSystem
) -> None:
    for lens in MEANINGLESS:
        assert hub.ask("PUT", at(lms), town.key, json=lens).status_code == 422, lens
    read = hub.get(at(lms), town.key)
    assert read.json["revision"] == 1
    tag = read.headers["ETag"]
    set_lens(hub, lms, town, fields=["email"])
    late = hub.ask("PUT", at(lms), town.key, json={}, headers={"If-Match": tag})
    assert late.status_code == 412
    assert hub.ask("PUT", at(lms), town.key, json=read.json).status_code == 412
    now = hub.get(at(lms), town.key).headers["ETag"]
    assert hub.ask("PUT", at(lms), town.key, json={}, headers={"If-Match": now}).status_code == 200


def test_a_lens_is_of_its_district_and_not_for_its_client(
    hub: Client, books: Books, north: District, south: District, lms: LearningSystem
) -> None:
    for path in (at(lms), f"{at(lms)}/explain?sourcedId=taro"):
        assert hub.get(path, south.key).status_code == 404
        assert hub.get(path, lms.token(hub)).status_code == 403
        assert hub.get(path, books.key(north.tenant_id, ("imports",))).status_code == 403
    assert hub.ask("PUT", at(lms), south.key, json={}).status_code == 404
    assert hub.ask("PUT", at(lms), lms.token(hub), json={}).status_code == 403
    assert hub.get("/api/v1/clients/%00/lens", north.key).status_code == 404


def test_each_rule_says_why_in_both_languages(
    hub: Client, town: District, lms: LearningSystem
) -> None:
    item = explained(hub, lms, town, "hana", "users")
    assert (item["visible"], [r["rule"] for r in item["reasons"]]) == (True, ["none"])
    assert set(item["reasons"][0]["message"]) == {"en", "ja"}
    hidden = {left["property"]: left["group"] for left in item["left_out"]}
    assert hidden["email"] == "email"
    assert hidden["userProfiles.credentials.username"] == "identifiers"
    assert failing(explained(hub, lms, town, "taro", "demographics")) == ["grant"]

    set_lens(hub, lms, town, schools=["north"])
    item = explained(hub, lms, town, "hana", "users")
    assert (item["visible"], failing(item)) == (False, ["school"])
    assert item["reasons"][0]["schools"] == ["south"]  # the role in the north is a tombstone
    assert "south" in item["reasons"][0]["message"]["ja"]
    assert item["left_out"] == []

    set_lens(hub, lms, town, schools=["north"], grades=["P2"])
    item = explained(hub, lms, town, "e-taro", "enrollments")
    assert failing(item) == ["reference", "reference"]
    because = {r["property"]: r["because"] for r in item["reasons"] if not r["holds"]}
    assert (because["class"]["entity"], because["class"]["sourcedId"]) == ("classes", "c-north")
    assert failing(because["class"]) == failing(because["user"]) == ["grade"]

    set_lens(hub, lms, town, roles=["teacher"])
    item = explained(hub, lms, town, "taro", "users")
    assert (failing(item), item["reasons"][0]["roles"]) == (["role"], ["student"])

    set_lens(hub, lms, town, entities=["users"])
    assert failing(explained(hub, lms, town, "c-north", "classes"))[0] == "entity"


def test_references_that_are_left_out_are_named(
    hub: Client, town: District, lms: LearningSystem
) -> None:
    for lens, agents in (
        ({"schools": ["north"]}, ["father"]),
        ({"roles": ["student"]}, ["father", "mother"]),
    ):
        set_lens(hub, lms, town, fields=["agents"], **lens)
        item = explained(hub, lms, town, "taro", "users")
        named = {left["property"]: left.get("sourcedIds") for left in item["left_out"]}
        assert named["agents"] == agents
        assert "metadata.jp.homeClass" not in named


def test_a_record_is_found_by_its_own_name_and_by_its_pseudonym(
    hub: Client, town: District, lms: LearningSystem
) -> None:
    answer = hub.get(f"{at(lms)}/explain?sourcedId=taro", town.key)
    assert [item["entity"] for item in answer.json["items"]] == ["users", "demographics"]
    set_lens(hub, lms, town, pseudonyms=["sourcedIds"])
    pseudonym = explained(hub, lms, town, "taro", "users")["seen_as"]
    assert pseudonym.startswith("p_")
    assert explained(hub, lms, town, pseudonym, "users")["sourcedId"] == "taro"
    for query, status in (
        ("", 400),
        ("?sourcedId=", 400),
        ("?sourcedId=%00", 400),
        ("?sourcedId=taro&entity=people", 400),
        ("?sourcedId=nobody", 404),
        ("?sourcedId=taro&entity=orgs", 404),
    ):
        assert hub.get(f"{at(lms)}/explain{query}", town.key).status_code == status, query
