"""Every route, with the key of another district and without one. A new route must say its place."""

from typing import Any

import pytest
from falcon.testing import Result

from api.openapi.pages import DISCOVERY
from api.rosters.operations import OPERATIONS, OPERATIONS_1P1, ROOT, SERVICE
from schemas.rest.editions import ONE_ONE
from tests.api.conftest import Books, Client, District, Routes

OPEN = {"/health", "/health/live", "/health/ready", "/token"}
OPEN |= {"/openapi.json", "/docs", "/docs/{name}", *DISCOVERY}
OPEN |= {"/api/v1/downloads/{ticket}"}  # the address is the key
EXPORTS = {
    *("/api/v1/exports", "/api/v1/schedules", "/api/v1/schedules/{schedule_id}"),
    *(f"/api/v1/exports/{{export_id}}{rest}" for rest in ("", "/cancel", "/download", "/events")),
    *("/ims/oneroster/v1p2/csv/export/{entity}", "/ims/oneroster/v1p2/csv/export/{entity}/delta"),
}
DELTAS = {
    *("/api/v1/deltas", "/api/v1/deltas.ndjson", "/api/v1/deltas/packages", "/api/v1/checksums")
}
ADMINISTRATORS = {
    "/metrics",
    "/api/v1/districts",
    "/api/v1/districts/{district_id}",
    "/api/v1/keys",
    "/api/v1/keys/{key_id}",
    "/api/v1/admin-keys",
    "/api/v1/admin-keys/{key_id}",
}
AUDIT = ("/api/v1/audit", "/api/v1/audit.csv", "/api/v1/audit.ndjson")
SETTINGS = {"/api/v1/policy", "/api/v1/origins", "/api/v1/clients", *AUDIT} | {
    f"/api/v1/clients/{{client_id}}{rest}"
    for rest in (
        *("", "/secrets", "/secrets/{secret_id}", "/keys", "/keys/{key_id}"),
        *("/lens", "/lens/explain"),
    )
}
ERASURES = {
    "/api/v1/erasures",
    "/api/v1/erasures/{erasure_id}",
    "/api/v1/erasures/{erasure_id}/release",
}
ROOTS = (ROOT, ONE_ONE.address(SERVICE))
LISTS = {"/api/v1/imports"} | {
    f"{root}/{file}"
    for root in ROOTS
    for file in (
        "academicSessions",
        "classes",
        "courses",
        "demographics",
        "enrollments",
        "orgs",
        "users",
    )
}
RUNS = {f"/api/v1/imports/{{run_id}}{rest}" for rest in ("", "/findings", "/events")}
RUNS |= {
    f"/api/v1/imports/{{run_id}}/findings{rest}"
    for rest in ("/groups", "/rows", "/summary", ".csv", ".ndjson")
}
ACTS = {f"/api/v1/imports/{{run_id}}/{act}" for act in ("cancel", "reject", "retry")}
SHOWN = {
    f"/api/v1/imports/{{run_id}}/{rest}"
    for rest in (
        *("preview", "diff", "diff.csv", "diff.ndjson"),
        *("rekey", "rekey.csv", "rekey.ndjson"),
    )
}
ALIASES = {"/api/v1/aliases"}
ANSWERS = {f"/api/v1/imports/{{run_id}}/{act}" for act in ("approve", "exclusions")}
MAPPINGS = {"/api/v1/mappings", "/ims/oneroster/v1p2/mappings/{entity_type}"} | {
    f"/api/v1/mappings/{rest}"
    for rest in (
        "templates",
        "templates/{template}",
        "lookups",
        "lookups/{name}",
        "previews/{preview_id}",
        "{entity}",
        "{entity}/versions",
        "{entity}/versions/{version}",
        "{entity}/versions/{version}/restore",
        "{entity}/preview",
    )
}
RECORDS = {f"{path}/{{sourced_id}}" for path in LISTS if path.startswith(ROOTS)}
VERSION = "/api/v1/versions/{version}"
HISTORY = {f"{VERSION}{rest}" for rest in ("", "/diff", "/diff.csv", "/diff.ndjson")}
TIMELINES = {"/api/v1/versions", "/api/v1/records/{entity}/{sourced_id}/timeline"}
WAYS_BACK = {f"{VERSION}/{act}" for act in ("undo", "release")}
EVENTS = {"/api/v1/events", "/api/v1/events/history"}
WEBHOOK = "/api/v1/webhooks/{webhook_id}"
WEBHOOKS = {"/api/v1/webhooks"} | {
    f"{WEBHOOK}{rest}"
    for rest in (
        *("", "/secret/rotate", "/test", "/statistics", "/resend", "/deliveries"),
        *("/deliveries/{delivery_id}", "/deliveries/{delivery_id}/resend"),
    )
}
MATRIX = OPEN | ADMINISTRATORS | SETTINGS | LISTS | RUNS | ACTS | MAPPINGS | RECORDS
# What these answer with is looked at in rosters/test_operations.py.
MATRIX |= {operation.route for operation in (*OPERATIONS, *OPERATIONS_1P1)}
MATRIX |= SHOWN | ANSWERS | ALIASES | HISTORY | TIMELINES | WAYS_BACK | ERASURES
MATRIX |= EVENTS | WEBHOOKS | EXPORTS | DELTAS

SECRET = "northern-secret"


def roster(name: str) -> dict[str, list[dict[str, Any]]]:
    """The same identifiers in each district, other values."""
    day = {"start_date": "2026-04-01", "end_date": "2027-04-01", "school_year": "2026"}
    return {
        "orgs": [{"sourced_id": "x", "name": name, "type": "school", "parent_sourced_id": "x"}],
        "academic_sessions": [{"sourced_id": "x", "title": name, "type": "term", **day}],
        "courses": [{"sourced_id": "x", "title": name, "org_sourced_id": "x"}],
        "classes": [
            {
                "sourced_id": "x",
                "title": name,
                "course_sourced_id": "x",
                "class_type": "homeroom",
                "school_sourced_id": "x",
                "term_sourced_ids": ["x"],
            }
        ],
        "users": [{"sourced_id": "x", "enabled_user": True, "given_name": name}],
        "roles": [
            {
                "sourced_id": "x",
                "user_sourced_id": "x",
                "role_type": "primary",
                "role": f"ext:{name}",
                "org_sourced_id": "x",
            }
        ],
        "user_profiles": [
            {
                "sourced_id": "x",
                "user_sourced_id": "x",
                "profile_type": name,
                "vendor_id": "v",
                "credential_type": "t",
            }
        ],
        "demographics": [{"sourced_id": "x", "city_of_birth": name}],
        "enrollments": [
            {
                "sourced_id": "x",
                "class_sourced_id": "x",
                "school_sourced_id": "x",
                "user_sourced_id": "x",
                "role": "student",
                "metadata": {"name": name},
            }
        ],
    }


@pytest.fixture
def run_id(books: Books, north: District, south: District) -> str:
    """A run of the north, after both districts have published."""
    books.publish(north.tenant_id, roster(SECRET), "2026-04-01T00:00:00Z")
    books.publish(south.tenant_id, roster("southern"), "2026-04-02T00:00:00Z")
    run: str = books.run(
        north.tenant_id, state="failed", finished_at="2026-04-01T00:00:00Z", profile=SECRET
    )
    return run


def test_every_route_is_in_the_matrix(routes: Routes) -> None:
    assert set(routes) == MATRIX


def test_every_guarded_route_asks_for_a_key(hub: Client, routes: Routes, run_id: str) -> None:
    for path, methods in routes.items():
        real = path.replace("{run_id}", run_id).replace("{sourced_id}", "x")
        for method in (*methods, "OPTIONS"):
            status = hub.ask(method, real).status_code
            assert (status == 401) == (path not in OPEN), (method, path, status)


def test_a_key_without_scopes_gets_nowhere(
    hub: Client, routes: Routes, books: Books, north: District
) -> None:
    powerless = books.key(north.tenant_id, scopes=())
    for path, methods in routes.items():
        for method in methods:
            if path not in OPEN:
                assert hub.ask(method, path, powerless).status_code == 403, (method, path)


def test_another_district_gets_nothing_though_its_identifiers_are_the_same(
    hub: Client, routes: Routes, run_id: str, north: District, south: District
) -> None:
    def get(path: str, key: str) -> Result:
        answer: Result = hub.get(path, key)
        return answer

    for path in LISTS | RECORDS:
        real = path.replace("{sourced_id}", "x")
        assert SECRET in get(real, north.key).text
        other = get(real, south.key)
        assert other.status_code == 200
        assert SECRET not in other.text
        assert other.text.count("southern") == get(real, north.key).text.count(SECRET) or (
            path == "/api/v1/imports"
        )
    for path in RUNS | SHOWN:
        assert get(path.replace("{run_id}", run_id), south.key).status_code == 404
    for path in ACTS:
        real = path.replace("{run_id}", run_id)
        assert hub.post(real, south.key).status_code == 404
    for path in ANSWERS:
        body = {"diff": "x"} if path.endswith("approve") else {"schools": ["x"]}
        real = path.replace("{run_id}", run_id)
        assert hub.post(real, south.key, json=body).status_code == 404
    assert hub.post(f"/api/v1/imports/{run_id}/rekey", south.key).status_code == 404
    for path in ADMINISTRATORS:
        real = path.replace("{district_id}", "north").replace("{key_id}", "x")
        for method in routes[path]:
            assert hub.ask(method, real, south.key).status_code == 403
    assert get("/api/v1/imports", south.key).json["items"] == []


@pytest.mark.usefixtures("run_id")
def test_another_district_has_a_history_of_its_own(
    hub: Client, books: Books, north: District, south: District
) -> None:
    books.publish(north.tenant_id, {"orgs": []}, "2026-05-01T00:00:00Z")

    def real(path: str, version: int) -> str:
        named = path.replace("{version}", str(version)).replace("{entity}", "users")
        return named.replace("{sourced_id}", "x")

    for path in (HISTORY | TIMELINES) - {VERSION, "/api/v1/versions"}:
        assert SECRET in hub.get(real(path, 1), north.key).text, path
        own = hub.get(real(path, 1), south.key)
        assert own.status_code == 200
        assert SECRET not in own.text
        assert "southern" in own.text
    assert [v["version"] for v in hub.get("/api/v1/versions", south.key).json["items"]] == [1]
    for path in HISTORY:
        assert hub.get(real(path, 2), north.key).status_code == 200
        assert hub.get(real(path, 2), south.key).status_code == 404
    for path in WAYS_BACK:
        assert hub.post(real(path, 2), south.key).status_code == 404
    assert hub.post(real(f"{VERSION}/undo", 1), south.key).status_code == 202
    assert books.rows(north.tenant_id, "select from runs where kind = 'undo'") == []
    assert books.rows(north.tenant_id, "select from versions where released_at is not null") == []


@pytest.mark.usefixtures("run_id")
def test_a_tag_of_one_district_does_not_answer_another(
    hub: Client, north: District, south: District
) -> None:
    tag = hub.get(f"{ROOT}/orgs", north.key).headers["ETag"]
    answer = hub.get(f"{ROOT}/orgs", south.key, headers={"If-None-Match": tag})
    assert answer.status_code == 200


def test_another_district_neither_sees_nor_rings_nor_changes_a_webhook(
    hub: Client, routes: Routes, north: District, south: District
) -> None:
    url = f"https://{SECRET}.example/"
    made = hub.post("/api/v1/webhooks", north.key, json={"url": url}).json
    trial = hub.post(f"/api/v1/webhooks/{made['id']}/test", north.key).json
    for path in WEBHOOKS - {"/api/v1/webhooks"}:
        real = path.replace("{webhook_id}", made["id"]).replace("{delivery_id}", trial["id"])
        for method in routes[path]:
            body = {"after": 0} if path.endswith("}/resend") and "deliveries" not in path else {}
            answer = hub.ask(method, real, south.key, json=body)
            assert answer.status_code == 404, (method, path)
    assert hub.get("/api/v1/webhooks", south.key).json["items"] == []
    assert hub.get("/api/v1/events/history", south.key).json["items"] == []
    assert SECRET in hub.get("/api/v1/webhooks", north.key).text
    assert len(hub.get("/api/v1/events/history", north.key).json["items"]) == 1
    assert hub.get(f"/api/v1/webhooks/{made['id']}", north.key).json["enabled"]
