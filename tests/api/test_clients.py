"""Clients are managed by those who decide for the district, each within their own means."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from schemas.scopes import CLIENT_SCOPES, CORE, DEMOGRAPHICS, ROSTER
from tests.api.conftest import Books, Client, District, LearningSystem, Serve

CLIENTS = "/api/v1/clients"
ORGS = "/ims/oneroster/rostering/v1p2/orgs"
IMPORTS = "/api/v1/imports"
NORTH = {"X-RosterHub-District": "north"}


def test_a_client_is_made_with_a_secret_that_is_shown_once(hub: Client, north: District) -> None:
    answer = hub.post(CLIENTS, north.key, json={"name": "学習システム"})
    assert answer.status_code == 201
    made = answer.json
    assert answer.headers["Location"] == f"{CLIENTS}/{made['id']}"
    assert made["token_url"] == "https://hub.example.org/token"
    assert made["client_secret"].startswith("rh_secret_")
    assert (made["scopes"], made["networks"], made["rate_limit"]) == ([CORE, ROSTER], [], None)
    lms = LearningSystem(made["id"], made["client_secret"])
    assert hub.get(ORGS, lms.token(hub)).status_code == 200
    for path in (CLIENTS, f"{CLIENTS}/{made['id']}", f"{CLIENTS}/{made['id']}/secrets"):
        shown = hub.get(path, north.key)
        assert shown.status_code == 200
        assert lms.secret.split("_")[3] not in shown.text
        assert "hash" not in shown.text
    [secret] = hub.get(f"{CLIENTS}/{made['id']}/secrets", north.key).json["items"]
    assert int(secret["expires_at"][:4]) == int(secret["created_at"][:4]) + 1
    assert secret["last_used_at"] is not None


def test_a_change_is_what_was_named_and_no_more(hub: Client, north: District) -> None:
    wishes = {"name": "LMS", "networks": ["203.0.113.7", "2001:db8::/32"], "rate_limit": 60}
    made = hub.post(CLIENTS, north.key, json=wishes).json
    assert made["networks"] == ["203.0.113.7/32", "2001:db8::/32"]
    path = f"{CLIENTS}/{made['id']}"
    changed = hub.ask("PATCH", path, north.key, json={"rate_limit": None, "networks": []}).json
    shown = {"client_secret", "client_secret_expires_at", "token_url"}
    before = {name: value for name, value in made.items() if name not in shown}
    assert changed == before | {"rate_limit": None, "networks": []}
    changed = hub.ask("PATCH", path, north.key, json={"scopes": [ROSTER, CORE, ROSTER]}).json
    assert changed["scopes"] == [CORE, ROSTER]
    assert hub.get(path, north.key).json == changed
    assert hub.ask("PATCH", path, north.key, json={}).json == changed


WISHES: list[dict[str, Any]] = [
    *({"name": name} for name in ("", None, "x" * 256, "a\nb")),
    *({"scopes": scopes} for scopes in ([], ["roster.read"], [CORE[:-1]], CORE, None)),
    *({"networks": each} for each in (["10.0.0.1/8"], ["x"], "10.0.0.0/8", ["1.2.3.4/33"])),
    *({"rate_limit": limit} for limit in (0, -1, "5", 1.5, 10**8)),
    *({"enabled": each} for each in ("yes", None, 1)),
    {"lens": {}},
    {"id": "x"},
]


def test_wishes_beyond_the_rules_are_refused(hub: Client, north: District) -> None:
    path = f"{CLIENTS}/{hub.post(CLIENTS, north.key, json={'name': 'LMS'}).json['id']}"
    for wishes in WISHES:
        assert hub.post(CLIENTS, north.key, json={"name": "LMS"} | wishes).status_code == 422, (
            wishes
        )
        assert hub.ask("PATCH", path, north.key, json=wishes).status_code == 422, wishes


def test_an_administrator_manages_those_of_a_district(
    hub: Client, admin: str, north: District, south: District
) -> None:
    assert hub.post(CLIENTS, admin, json={"name": "LMS"}).status_code == 400
    made = hub.post(CLIENTS, admin, json={"name": "LMS"}, headers=NORTH)
    assert made.status_code == 201
    path = f"{CLIENTS}/{made.json['id']}"
    assert hub.get(path, north.key).status_code == 200
    for method, at, body in (
        ("GET", path, None),
        ("PATCH", path, {"enabled": False}),
        ("DELETE", path, None),
        ("GET", f"{path}/secrets", None),
        ("POST", f"{path}/secrets", {}),
        ("DELETE", f"{path}/secrets/x", None),
        ("GET", f"{path}/keys", None),
        ("POST", f"{path}/keys", {}),
        ("DELETE", f"{path}/keys/x", None),
        ("GET", f"{CLIENTS}/%00", None),
    ):
        assert hub.ask(method, at, south.key, json=body).status_code == 404, (method, at)
    assert hub.get(CLIENTS, south.key).json == {"items": [], "next": None}
    assert hub.get(path, north.key).json["enabled"] is True


def test_nobody_gives_a_client_more_than_they_have(
    hub: Client, books: Books, north: District
) -> None:
    limited = books.key(north.tenant_id, ("settings", "roster.read"))
    reader = hub.post(CLIENTS, limited, json={"name": "LMS"}).json
    more = {"name": "LMS", "scopes": [DEMOGRAPHICS]}
    refused = hub.post(CLIENTS, limited, json=more)
    assert (refused.status_code, refused.json["code"]) == (403, "forbidden")
    path = f"{CLIENTS}/{reader['id']}"
    assert hub.ask("PATCH", path, limited, json={"scopes": [DEMOGRAPHICS]}).status_code == 403
    whole = books.client(north.tenant_id).id
    for kind in ("secrets", "keys"):  # what is shown then would let its maker in
        assert hub.post(f"{CLIENTS}/{whole}/{kind}", limited, json={}).status_code == 403
        assert hub.post(f"{path}/{kind}", limited, json={}).status_code == 201
    assert hub.ask("PATCH", f"{CLIENTS}/{whole}", limited, json={"enabled": False}).status_code == (
        200
    )


class TestKeys:
    def test_it_reads_as_its_client_may_and_says_which_it_is(
        self, hub: Client, books: Books, north: District, admin: str
    ) -> None:
        lms = books.client(north.tenant_id, networks=["203.0.113.0/24"])
        path = f"{CLIENTS}/{lms.id}/keys"
        made = hub.post(path, north.key, json={"label": "sync", "expires_in_days": 7})
        assert (made.status_code, made.json["client"]) == (201, lms.id)
        assert made.json["scopes"] == list(CLIENT_SCOPES)
        key = made.json["key"]
        assert hub.ask("GET", ORGS, key, address="203.0.113.9").status_code == 200
        assert hub.ask("GET", ORGS, key, address="198.51.100.9").status_code == 403
        assert hub.ask("GET", IMPORTS, key, address="203.0.113.9").status_code == 403
        [listed] = hub.get(path, north.key).json["items"]
        assert "key" not in listed
        both = hub.get("/api/v1/keys", admin, headers=NORTH).json["items"]
        assert {each["id"]: each["client"] for each in both} == {
            made.json["id"]: lms.id,
            north.key.split("_")[2]: None,
        }
        less = {"scopes": [DEMOGRAPHICS]}
        hub.ask("PATCH", f"{CLIENTS}/{lms.id}", north.key, json=less)
        assert hub.ask("GET", ORGS, key, address="203.0.113.9").status_code == 403

    def test_two_live_at_a_time(self, hub: Client, books: Books, north: District) -> None:
        path = f"{CLIENTS}/{books.client(north.tenant_id).id}/keys"
        first, second = (hub.post(path, north.key, json={}).json for _ in range(2))
        assert hub.post(path, north.key, json={}).json["code"] == "two_live"
        assert hub.delete(f"{path}/{first['id']}", north.key).status_code == 204
        assert [hub.get(ORGS, each["key"]).status_code for each in (first, second)] == [401, 200]
        assert hub.post(path, north.key, json={}).status_code == 201

    def test_none_goes_past_its_client(self, hub: Client, books: Books, north: District) -> None:
        path = f"{CLIENTS}/{books.client(north.tenant_id, scopes=[ROSTER]).id}/keys"
        for scopes in ([], [DEMOGRAPHICS], ["imports"], ["settings"], ["roster.read"]):
            assert hub.post(path, north.key, json={"scopes": scopes}).status_code == 422, scopes
        part = hub.post(path, north.key, json={"scopes": [CORE]})
        assert part.json["scopes"] == [CORE]

    def test_requests_at_the_same_moment_make_no_third(
        self, serve: Serve, books: Books, north: District
    ) -> None:
        server = serve(gateway_processes=2)
        path = f"{CLIENTS}/{books.client(north.tenant_id).id}"
        start = Barrier(8)

        def make(number: int) -> int:
            start.wait()
            kind = ("keys", "secrets")[number % 2]
            return server.request("POST", f"{path}/{kind}", north.key, json={}).status_code

        with ThreadPoolExecutor(8) as clients:
            statuses = sorted(clients.map(make, range(8)))
        assert statuses == [201] * 3 + [409] * 5  # a client is made with one secret


def test_a_client_and_what_it_came_in_with_know_their_last_use(
    hub: Client, books: Books, north: District
) -> None:
    lms = books.client(north.tenant_id)
    key = hub.post(f"{CLIENTS}/{lms.id}/keys", north.key, json={}).json["key"]
    assert hub.get(f"{CLIENTS}/{lms.id}", north.key).json["last_used_at"] is None
    hub.get(ORGS, key)
    for _ in range(100):
        used = hub.get(f"{CLIENTS}/{lms.id}", north.key).json["last_used_at"]
        [listed] = hub.get(f"{CLIENTS}/{lms.id}/keys", north.key).json["items"]
        if used and listed["last_used_at"]:
            break
    assert used == listed["last_used_at"]
