"""The policy of a district: one document, checked to the field, and nobody's change is lost."""

import threading
from typing import Any

import pytest
from falcon.testing import Result

from api.policy import patched
from schemas.policy import Policy
from schemas.scopes import SCOPES
from tests.api.conftest import Books, Client, District

PATH = "/api/v1/policy"


def ask(
    hub: Client, method: str, key: str, body: object, headers: dict[str, str] | None = None
) -> Result:
    return hub.ask(method, PATH, key, json=body, headers=headers)


def kept(books: Books, district: District) -> Any:  # noqa: ANN401  # JSON
    return books.rows(district.tenant_id, "select policy from districts")[0][0]


def defaults() -> dict[str, Any]:
    said = Policy().model_dump(mode="json")
    said["reading"]["repairs"].sort()
    return said


def test_a_district_that_has_decided_nothing_has_the_defaults(
    hub: Client, books: Books, north: District
) -> None:
    answer = hub.get(PATH, north.key)
    assert (answer.status_code, answer.json) == (200, defaults())
    assert kept(books, north) == {}


def test_a_change_is_merged_and_only_it_is_kept(
    hub: Client, books: Books, north: District, south: District
) -> None:
    change = {"apply": "review", "reading": {"faulty_rows": "skip", "lenient": False}}
    answer = ask(hub, "PATCH", north.key, change)
    assert answer.status_code == 200
    assert answer.json["reading"] == defaults()["reading"] | {"faulty_rows": "skip"}
    assert hub.get(PATH, north.key).json == answer.json
    assert kept(books, north) == {"apply": "review", "reading": {"faulty_rows": "skip"}}
    assert Policy.model_validate(kept(books, north)).reading.faulty_rows == "skip"
    more = ask(hub, "PATCH", north.key, {"guard": {"deletions": 0.5}})
    assert (more.json["apply"], more.json["guard"]["deletions"]) == ("review", 0.5)
    assert hub.get(PATH, south.key).json == defaults()


def test_null_goes_back_to_the_default(hub: Client, books: Books, north: District) -> None:
    ask(hub, "PATCH", north.key, {"apply": "review", "guard": {"on": False, "updates": 1}})
    ask(hub, "PATCH", north.key, {"guard": {"on": None}})
    assert kept(books, north) == {"apply": "review", "guard": {"updates": 1.0}}
    ask(hub, "PATCH", north.key, {"guard": None})
    assert kept(books, north) == {"apply": "review"}


def test_a_whole_policy_leaves_nothing_of_the_one_before(
    hub: Client, books: Books, north: District
) -> None:
    ask(hub, "PATCH", north.key, {"apply": "review"})
    answer = ask(hub, "PUT", north.key, {"runs_days": 30})
    assert answer.json == defaults() | {"runs_days": 30}
    assert kept(books, north) == {"runs_days": 30}
    whole = hub.get(PATH, north.key)
    again = ask(hub, "PUT", north.key, whole.json)
    assert (again.json, again.headers["ETag"]) == (whole.json, whole.headers["ETag"])
    assert ask(hub, "PUT", north.key, {}).json == defaults()
    assert kept(books, north) == {}


def test_a_set_of_words_is_replaced_and_has_one_order(
    hub: Client, books: Books, north: District
) -> None:
    answer = ask(hub, "PATCH", north.key, {"reading": {"repairs": ["null_text", "cp932"]}})
    assert answer.json["reading"]["repairs"] == ["cp932", "null_text"]
    assert kept(books, north) == {"reading": {"repairs": ["cp932", "null_text"]}}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"apply": "later"}, "apply"),
        ({"aply": "review"}, "aply"),
        ({"reading": {"profil": "1.2"}}, "reading.profil"),
        ({"reading": {"tolerance": 1.5}}, "reading.tolerance"),
        ({"reading": {"tolerance": "0.5"}}, "reading.tolerance"),
        ({"reading": {"lenient": "yes"}}, "reading.lenient"),
        ({"reading": {"repairs": ["bom"]}}, "reading.repairs.0"),
        ({"reading": "lenient"}, "reading"),
        ({"guard": {"at_least": -1}}, "guard.at_least"),
        ({"guard": {"at_least": 2.5}}, "guard.at_least"),
        ({"uploads_hours": 24 * 366}, "uploads_hours"),
        ({"runs_days": 0}, "runs_days"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(  # noqa: PLR0917 -- cases
    hub: Client, books: Books, north: District, method: str, change: dict[str, Any], field: str
) -> None:
    answer = ask(hub, method, north.key, change | {"finding_values": "masked"})
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [fault["field"] for fault in answer.json["errors"]] == [field]
    assert field in answer.json["detail"]
    assert kept(books, north) == {}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_body_that_is_no_object_is_refused(hub: Client, north: District, method: str) -> None:
    assert ask(hub, method, north.key, [1]).status_code == 422
    headers = {"Content-Type": "application/json"}
    assert hub.ask(method, PATH, north.key, body=b"{", headers=headers).status_code == 400
    assert hub.ask(method, PATH, north.key, body=b"{}").status_code == 415


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_change_to_what_somebody_else_has_changed_is_refused(
    hub: Client, books: Books, north: District, method: str
) -> None:
    tag = hub.get(PATH, north.key).headers["ETag"]
    assert tag.startswith('"')
    mine = ask(hub, method, north.key, {"apply": "review"}, {"If-Match": tag})
    assert mine.status_code == 200
    assert mine.headers["ETag"] == hub.get(PATH, north.key).headers["ETag"] != tag
    late = ask(hub, method, north.key, {"apply": "at_once"}, {"If-Match": tag})
    assert (late.status_code, late.json["code"]) == (412, "precondition_failed")
    assert "ETag" not in late.headers
    assert kept(books, north) == {"apply": "review"}


def test_any_policy_several_and_weak_tags_mean_what_http_says(hub: Client, north: District) -> None:
    tag = hub.get(PATH, north.key).headers["ETag"]
    for given, status in (("*", 200), (f'"x", {tag}', 200), (f"W/{tag}", 412), ('"x"', 412)):
        answer = ask(hub, "PATCH", north.key, {}, {"If-Match": given})
        assert answer.status_code == status, given


def test_two_changes_at_once_are_both_kept(hub: Client, books: Books, north: District) -> None:
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute("select policy from districts for update")
        changing = threading.Thread(target=ask, args=[hub, "PATCH", north.key, {"apply": "review"}])
        changing.start()
        changing.join(0.2)
        connection.execute("update districts set policy = '{\"runs_days\": 30}'")
    changing.join()
    assert kept(books, north) == {"apply": "review", "runs_days": 30}


def test_an_import_under_way_is_not_waited_for(hub: Client, books: Books, north: District) -> None:
    with books.connected("rosterhub_app", north.tenant_id) as connection:
        connection.execute("select version from districts for update")
        answer = ask(hub, "PATCH", north.key, {"apply": "review"})
        assert hub.get(PATH, north.key).status_code == 200
    assert (answer.status_code, answer.json["code"]) == (429, "server_busy")
    assert "import" in answer.json["detail"]
    assert answer.headers["Retry-After"]


def test_it_takes_the_scope_or_an_administrator(
    hub: Client, books: Books, north: District, admin: str
) -> None:
    others = books.key(north.tenant_id, tuple(s for s in SCOPES if s != "settings"))
    own = books.key(north.tenant_id, ("settings",))
    named = {"X-RosterHub-District": "north"}
    for method in ("GET", "PUT", "PATCH"):
        assert ask(hub, method, others, {}).status_code == 403
        assert ask(hub, method, own, {}).status_code == 200
        assert ask(hub, method, admin, {}, named).status_code == 200
        assert ask(hub, method, admin, {}).status_code == 400
    assert hub.get("/api/v1/imports", own).status_code == 403


@pytest.mark.parametrize(
    ("value", "changes", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_is_that_of_rfc_7396(
    value: dict[str, Any], changes: dict[str, Any], result: dict[str, Any]
) -> None:
    assert patched(value, changes) == result
