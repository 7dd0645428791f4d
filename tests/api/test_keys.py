"""Keys of a district: shown once, two per label, dead when revoked."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from falcon.testing import Result

from schemas.scopes import SCOPES
from tests.api.conftest import Client, District, Serve

PATH = "/api/v1/keys"
NORTH = {"X-RosterHub-District": "north"}

pytestmark = pytest.mark.usefixtures("north", "south")


def made(hub: Client, admin: str, **wishes: object) -> Result:
    return hub.post(PATH, admin, json={"label": "lms"} | wishes, headers=NORTH)


def test_a_key_is_shown_once_and_opens(hub: Client, admin: str) -> None:
    answer = made(hub, admin)
    assert answer.status_code == 201
    key = answer.json
    assert key["scopes"] == list(SCOPES)
    assert int(key["expires_at"][:4]) == int(key["created_at"][:4]) + 1
    assert hub.get("/api/v1/imports", key["key"]).status_code == 200
    listed = hub.get(PATH, admin, headers=NORTH)
    assert key["id"] in [item["id"] for item in listed.json["items"]]
    assert key["key"].split("_")[3] not in listed.text
    assert "hash" not in listed.text


def test_a_key_has_the_scopes_it_was_made_with(hub: Client, admin: str) -> None:
    key = made(hub, admin, scopes=["roster.read", "roster.read"], expires_in_days=1).json
    assert key["scopes"] == ["roster.read"]
    assert hub.get("/api/v1/imports", key["key"]).status_code == 403


@pytest.mark.parametrize(
    "wishes",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"scopes": "imports"},
        {"expires_in_days": 0},
        {"expires_in_days": 366},
        {"expires_in_days": "7"},
        {"label": ""},
        {"label": "x" * 256},
    ],
)
def test_wishes_beyond_the_rules_are_refused(
    hub: Client, admin: str, wishes: dict[str, Any]
) -> None:
    answer = made(hub, admin, **wishes)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"].partition(".")[0] in wishes


def test_two_keys_of_a_label_live_at_a_time(hub: Client, admin: str) -> None:
    first, second = made(hub, admin).json, made(hub, admin).json
    assert made(hub, admin).status_code == 409
    assert made(hub, admin, label="other").status_code == 201
    assert hub.delete(f"{PATH}/{first['id']}", admin, headers=NORTH).status_code == 204
    assert hub.get("/api/v1/imports", first["key"]).status_code == 401
    assert hub.get("/api/v1/imports", second["key"]).status_code == 200
    assert made(hub, admin).status_code == 201


def test_a_key_of_another_district_is_not_found(hub: Client, admin: str) -> None:
    key = made(hub, admin).json
    elsewhere = {"X-RosterHub-District": "south"}
    assert hub.delete(f"{PATH}/{key['id']}", admin, headers=elsewhere).status_code == 404
    assert hub.get("/api/v1/imports", key["key"]).status_code == 200
    assert hub.delete(f"{PATH}/%00", admin, headers=NORTH).status_code == 404


def test_keys_are_for_administrators(hub: Client, north: District) -> None:
    assert hub.get(PATH, north.key).status_code == 403
    assert hub.post(PATH, north.key, json={"label": "x"}).status_code == 403


def test_requests_at_the_same_moment_make_no_third_key(serve: Serve, admin: str) -> None:
    server = serve(gateway_processes=2)
    start = Barrier(12)

    def make(_: int) -> int:
        start.wait()
        answer = server.request("POST", PATH, admin, json={"label": "lms"}, headers=NORTH)
        return answer.status_code

    with ThreadPoolExecutor(12) as clients:
        statuses = sorted(clients.map(make, range(12)))
    assert statuses == [201] * 2 + [409] * 10
