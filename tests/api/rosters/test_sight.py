"""What a caller may not see leaves through nothing: no page, total, parent, filter or order."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from falcon.testing import Result
from psycopg.sql import SQL

from api.rosters.filters import Clause
from api.rosters.operations import MEMBERS, OPERATIONS, VIEWS
from api.rosters.sight import Sight
from schemas.rest.faces import profile_uri
from schemas.roster.orgs import Org
from schemas.roster.people import Demographics, Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment
from tests.api.rosters.conftest import Json, Town
from tests.api.rosters.slow_reader import expected, paths_of, values_at, written
from tests.api.rosters.test_operations import addresses, dated

ORG, PERSON = "s-2", "u-00"
REQUIRED = ("school", "org", "user", "class", "course")
HIDDEN = frozenset(
    {
        *("email", "givenName", "roles.beginDate", "userProfiles.credentials.username"),
        *("metadata.jp", "metadata.vendor.id", "primaryOrg"),
    }
)
SIGHT = Sight(
    tag="narrow",
    visible={
        Org: lambda _: SQL("live.sourced_id <> %(sight_org)s"),
        User: lambda _: SQL("live.sourced_id <> %(sight_person)s"),
        Class: lambda _: SQL("live.school_sourced_id <> %(sight_org)s"),
        Course: lambda _: SQL("live.org_sourced_id <> %(sight_org)s"),
        Role: lambda _: SQL(
            "live.org_sourced_id <> %(sight_org)s and live.user_sourced_id <> %(sight_person)s"
        ),
        UserProfile: lambda _: SQL("live.user_sourced_id <> %(sight_person)s"),
        Demographics: lambda _: SQL("live.sourced_id <> %(sight_person)s"),
        Enrollment: lambda rows: SQL(
            "live.school_sourced_id <> %(sight_org)s and live.user_sourced_id <> %(sight_person)s"
            " and exists (select from {} as class where class.tenant_id = %(tenant_id)s"
            " and class.sourced_id = live.class_sourced_id"
            " and class.school_sourced_id <> %(sight_org)s)"
        ).format(rows(Class)),
    },
    hidden={User: HIDDEN},
    parameters={"sight_org": ORG, "sight_person": PERSON},
)


@pytest.fixture(scope="module")
def narrow(town: Town) -> Callable[..., Result]:
    """Reads as a caller who sees neither the school nor the person, and no hidden property."""
    return town.mounted("/ims/narrow", sight_of=lambda _: SIGHT)


def listed(answer: Result) -> list[Json]:
    assert answer.status_code == 200, answer.text
    ((_, found),) = answer.json.items()
    assert answer.headers["X-Total-Count"] == str(len(found))
    return list(found)


def without(value: object, there: set[str]) -> Any:  # noqa: ANN401 -- JSON of any kind
    """The JSON that is left where only references to what is there stay."""
    if isinstance(value, list):
        kept = [without(item, there) for item in value]
        return [item for item in kept if item is not None]
    if not isinstance(value, dict):
        return value
    if set(value) == {"href", "sourcedId", "type"}:
        return value if value["sourcedId"] in there or value["type"] == "resource" else None
    left = {
        name: item if name in REQUIRED else without(item, there) for name, item in value.items()
    }
    return {n: item for n, item in left.items() if item not in (None, [], {}) or n == "roles"}


def plucked(user: Json, profiles: set[str]) -> Json:
    """A user without what is hidden; what REST requires is empty."""
    left = {name: value for name, value in user.items() if name not in HIDDEN}
    left["givenName"] = ""
    metadata = user.get("metadata", {})
    shown = {name: metadata[name] for name in metadata if name not in ("jp", "vendor.id")}
    left["roles"] = [
        {
            name: value
            for name, value in role.items()
            if name != "beginDate" and (name != "userProfile" or value in profiles)
        }
        for role in user["roles"]
        if role["org"]["sourcedId"] != ORG
    ]
    for profile in left.get("userProfiles", []):
        profile["credentials"] = [{**c, "username": ""} for c in profile["credentials"]]
    left.pop("metadata", None)
    return left | ({"metadata": shown} if shown else {})


def required(record: Json) -> set[str]:
    """What the record must lead to."""
    return {value for name in REQUIRED for value in values_at(record, f"{name}.sourcedId")}


@pytest.mark.parametrize("moment", [{}, {"asOf": 1}], ids=["now", "then"])
def test_a_collection_is_the_visible_records_with_what_is_shown_of_them(
    town: Town, narrow: Callable[..., Result], moment: dict[str, int]
) -> None:
    tables = dated(town.versions[: moment.get("asOf")])
    classes = {n for n, row in tables["classes"].items() if row["school_sourced_id"] == ORG}
    invisible = {ORG, PERSON, *classes}
    there = {sourced_id for rows in tables.values() for sourced_id in rows} - invisible
    for view in ("orgs", "academicSessions", "classes", "courses", "enrollments", "demographics"):
        right = [
            without(record, there)
            for record in town.records(view, **moment)
            if record["sourcedId"] not in invisible and invisible.isdisjoint(required(record))
        ]
        assert right
        assert listed(narrow(view, limit=1000, **moment)) == right, view
    users = [u for u in town.records("users", **moment) if u["sourcedId"] != PERSON]
    rows = tables["user_profiles"].items()
    profiles = {profile_uri(n) for n, row in rows if row["user_sourced_id"] != PERSON}
    right = [without(plucked(user, profiles), there) for user in users]
    for mine, theirs in zip(listed(narrow("users", limit=1000, **moment)), right, strict=True):
        assert mine == theirs


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    else:
        yield str(value)


def test_no_operation_lets_anything_out(town: Town, narrow: Callable[..., Result]) -> None:
    tables = dated(town.versions)
    classes = {n for n, row in tables["classes"].items() if row["school_sourced_id"] == ORG}
    assert classes
    invisible = {ORG, PERSON, *classes}
    for operation in OPERATIONS:
        if operation.single:
            view = operation.path.split("/")[0]
            paths = [f"{view}/{name.replace('/', '%2F')}" for name in invisible]
        elif operation in MEMBERS:
            paths = [path for path, *_ in addresses(operation, tables)][::2]
            gone = [p for p, *parents in addresses(operation, tables) if invisible & {*parents}]
            assert all(narrow(path).status_code == 404 for path in gone)
        else:
            paths = [operation.path]
        for path in paths:
            answer = narrow(path, limit=1000)
            if operation.single:
                assert answer.status_code == 404, path
            if answer.status_code == 200:
                assert not invisible & {*texts(answer.json)}, path
                words = {*json.dumps(answer.json).split('"')}
                assert operation.entity is not User or words.isdisjoint(
                    {"email", "primaryOrg", "jp"}
                )
                assert answer.headers["X-Total-Count"] == str(len(answer.json[operation.key]))


def test_a_hidden_property_is_asked_for_as_if_there_were_none(
    narrow: Callable[..., Result],
) -> None:
    def told(answer: Result, name: str) -> tuple[int, str]:
        return answer.status_code, answer.text.replace(name, "…")

    for name in ("email", "givenName", "roles.beginDate", "metadata.jp.kanaFamilyName"):
        for query in ("filter={}='x'", "filter={}>'x'", "filter=status='active' OR {}~''"):
            hidden = narrow("users", **dict([query.format(name).split("=", 1)]))
            unknown = narrow("users", **dict([query.format("nobody").split("=", 1)]))
            assert hidden.status_code == 400
            assert told(hidden, name) == told(unknown, "nobody")
        assert narrow("users", sort=name).content == narrow("users", sort="nobody").content
    for name in ("email", "givenName", "primaryOrg"):
        hidden, unknown = narrow("users", fields=name), narrow("users", fields="nobody")
        assert told(hidden, name) == told(unknown, "nobody")
    assert narrow("users", filter="metadata.vendor.id~''").status_code == 400
    assert listed(narrow("users", filter="metadata.vendor='x'", limit=1000))


@pytest.mark.parametrize("view", ["users", "orgs", "classes"])
def test_a_filter_sees_what_the_caller_sees(
    town: Town, narrow: Callable[..., Result], view: str
) -> None:
    entity = next(each.entity for each in VIEWS if each.path == view)
    records, seen = town.records(view), listed(narrow(view, limit=1000))
    for path in paths_of(entity):
        if entity is User and SIGHT.hides(User, path):
            continue
        values = {str(value) for record in records for value in values_at(record, path)}
        for value in sorted(values)[:2] + [v for v in (ORG, PERSON) if v in values]:
            for predicate in ("=", "!="):
                groups = [[Clause(path, predicate, value)]]
                right = expected(entity, seen, groups)
                if right is not None and not value.startswith("["):
                    found = listed(narrow(view, filter=written(groups), limit=1000))
                    assert [r["sourcedId"] for r in found] == right, groups


def test_a_tag_is_of_one_sight(town: Town, narrow: Callable[..., Result]) -> None:
    other = town.mounted("/ims/other", sight_of=lambda _: Sight(tag="other"))
    assert narrow("orgs").headers["ETag"] != other("orgs").headers["ETag"]
