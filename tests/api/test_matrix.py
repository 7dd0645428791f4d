"""Every route, with every scope, for every kind of district, through a lens.

The routes come from the app. What opens them is said here once more, in the words of the binding
and of the guides, so that a resource that asks for less than it should is found; a new route must
say its place.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from api.rosters.operations import OPERATIONS
from pipeline.database import connect
from pipeline.deltas import prepare
from schemas.scopes import CLIENT_SCOPES, SCOPES
from tests.api.conftest import Books, Client, District, Routes
from tests.api.test_tenants import OPEN, SECRET, roster

V1P2, V1P1 = (
    f"https://purl.imsglobal.org/spec/or/{edition}/scope/" for edition in ("v1p2", "v1p1")
)
FULL = {"roster.read", f"{V1P2}roster.readonly"}
CORE = {*FULL, f"{V1P2}roster-core.readonly"}
PRIVATE = {"roster.demographics", f"{V1P2}roster-demographics.readonly"}
OLD = f"{V1P1}roster.readonly"
NEWER, OLDER = "/ims/oneroster/rostering/v1p2", "/ims/oneroster/v1p1"
STREAMS = re.compile(r"/api/v1/(imports/.*/|exports/.*/)?events$")

GUARDED = [
    (r"GET {NEWER}/demographics(/x)?", PRIVATE),
    (r"GET {OLDER}/demographics(/x)?", {*PRIVATE, f"{V1P1}roster-demographics.readonly"}),
    (r"GET {NEWER}/\w+(/x)?", CORE),
    (r"GET {OLDER}/\w+(/x)?", {*CORE, OLD, f"{V1P1}roster-core.readonly"}),
    (r"GET {NEWER}/.*", FULL),
    (r"GET {OLDER}/.*", {*FULL, OLD}),
    (r"GET /ims/oneroster/v1p2/csv/.*", FULL),
    (r"\w+ /api/v1/(exports|deltas|checksums)\b.*", FULL),
    (r"GET /api/v1/events(/history)?", {*FULL, "imports", "settings"}),
    (r"(PUT|DELETE) /api/v1/mappings/.*", set()),  # imports and settings together
    (r"POST /api/v1/mappings/x/versions/x/restore", set()),
    (r"PUT /ims/oneroster/v1p2/mappings/x", set()),
    (r"GET /ims/oneroster/v1p2/mappings/x", {"imports"}),
    (r"\w+ /api/v1/(imports|mappings|aliases|versions|records)\b.*", {"imports"}),
    (r"\w+ /api/v1/(clients|origins|policy|schedules|erasures|webhooks|audit)\b.*", {"settings"}),
    (r"\w+ (/metrics|/api/v1/(districts|keys|admin-keys)\b.*)", set()),  # administrators only
]
"""Which scopes open what; the first that fits."""


def asked(routes: Routes) -> Iterator[tuple[str, str, str]]:
    """Method, address and template of every guarded route."""
    for path, methods in routes.items():
        for method in methods:
            if path not in OPEN:
                yield method, re.sub(r"\{\w+\}", "x", path), path


def opens(method: str, path: str) -> set[str]:
    for pattern, scopes in GUARDED:
        known = pattern.replace("{NEWER}", NEWER).replace("{OLDER}", OLDER)
        if re.fullmatch(known, f"{method} {path}"):
            return scopes
    raise LookupError(f"{method} {path}: say above who may")


def publish(books: Books, district: District, rows: dict[str, list[dict[str, Any]]]) -> None:
    """A version, which the feed can tell of at once."""
    books.publish(district.tenant_id, rows, "2026-04-01T00:00:00Z")
    with connect(books.url) as db:
        assert prepare(db, books.vault, district.tenant_id)


@pytest.fixture
def both(books: Books, north: District, south: District) -> None:
    publish(books, north, roster(SECRET))
    publish(books, south, roster("southern"))


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("scope", [*SCOPES, *CLIENT_SCOPES])
def test_a_scope_opens_what_it_says_and_nothing_else(
    hub: Client, routes: Routes, books: Books, north: District, scope: str
) -> None:
    key = books.key(north.tenant_id, (scope,))
    for method, path, _ in asked(routes):
        opened = scope in opens(method, path)
        if not (opened and STREAMS.fullmatch(path)):
            answer = hub.ask(method, path, key, json=None if method == "GET" else {})
            assert (answer.status_code != 403) == opened, (method, path, answer.status_code)
            assert answer.status_code < 500, (method, path)


@pytest.mark.usefixtures("both")
def test_no_route_tells_of_another_district_whatever_it_is_asked_with(
    hub: Client, routes: Routes, books: Books, north: District, south: District
) -> None:
    made = hub.post("/api/v1/webhooks", north.key, json={"url": f"https://{SECRET}.example/"})
    client = books.client(north.tenant_id, name=SECRET)
    run_id = books.run(north.tenant_id, state="failed", finished_at="2026-04-01T00:00:00Z")
    ids = {"webhook_id": made.json["id"], "run_id": run_id, "client_id": client.id}
    ids |= {"version": "1", "entity": "users", "entity_type": "users", "district_id": "north"}
    told = 0
    for method, _, path in asked(routes):
        real = re.sub(r"\{(\w+)\}", lambda found: ids.get(found[1], "x"), path)
        if STREAMS.fullmatch(real):
            continue
        answer = hub.ask(method, real, south.key, json=None if method == "GET" else {})
        assert SECRET not in answer.text, (method, path)
        assert answer.status_code < 500, (method, path)
        told += method == "GET" and SECRET in hub.get(real, north.key).text
    assert told > len(OPERATIONS), "the secret is nowhere to be seen"


@pytest.mark.usefixtures("both")
def test_no_route_knows_the_key_of_a_district_that_is_gone(
    hub: Client, routes: Routes, admin: str, north: District
) -> None:
    assert hub.delete("/api/v1/districts/north", admin).status_code == 202
    for method, path, _ in asked(routes):
        assert hub.ask(method, path, north.key).status_code == 401, (method, path)


@pytest.mark.parametrize("granted", [False, True])
def test_no_route_tells_a_client_what_its_lens_hides(
    hub: Client, routes: Routes, books: Books, north: District, *, granted: bool
) -> None:
    rows = roster("name")
    rows["users"][0] |= {
        "email": "canary.email",
        "phone": "canary.phone",
        "identifier": "canary.id",
    }
    rows["demographics"][0] |= {"city_of_birth": "canary.city"}
    groups = ["email", "phone", "identifiers", "demographics"]
    lens = {"lens": Jsonb({"fields": groups})} if granted else {}
    token = books.client(north.tenant_id, **lens).token(hub)
    publish(books, north, rows)
    seen: set[str] = set()
    for method, path, _ in asked(routes):
        if method == "GET" and not STREAMS.fullmatch(path):
            real = path.replace("/csv/export/x", "/csv/export/users")
            seen |= {*re.findall(r"canary\.\w+", hub.get(real, token).text)}
    canaries = {"canary.email", "canary.phone", "canary.id", "canary.city"}
    assert seen == (canaries if granted else set())
