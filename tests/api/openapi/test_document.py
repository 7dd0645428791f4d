"""The documents say what the app serves, no more and no less; the page shows them by itself."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from falcon import inspect
from openapi_spec_validator import validate

from api.cors import METHODS
from api.errors import ROOT_1P1
from api.openapi.classes import filter_schema
from api.openapi.pages import DISCOVERY
from api.rosters.filters import parse
from api.rosters.operations import OPERATIONS, ROOT
from schemas.roster.people import User
from tests.api.conftest import OFFICIAL, Client

Json = dict[str, Any]


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, said in methods.items():
            yield method, path, said


def nameless(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


@pytest.fixture
def document(hub: Client) -> Json:
    answer = hub.get("/openapi.json")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json
    return found


def test_the_document_has_the_routes_of_the_app_and_no_others(hub: Client, document: Json) -> None:
    routes = {
        (method.method.lower(), nameless(route.path))
        for route in inspect.inspect_routes(hub.app)
        for method in route.methods
        if method.method in METHODS and not method.internal
    }
    said = {(method, nameless(path)) for method, path, _ in operations(document)}
    assert said == routes
    assert len(said) > 130


def test_every_operation_says_who_may_what_it_answers_and_how_it_refuses(document: Json) -> None:
    names = []
    for method, path, said in operations(document):
        where = f"{method} {path}"
        names.append(said["operationId"])
        assert said["summary"].endswith("."), where
        assert "security" in said, where
        good = [status for status in said["responses"] if status < "400"]
        assert good, where
        assert {"400", "429", "500"} <= said["responses"].keys(), where
        for status in good:
            content = said["responses"][status].get("content", {})
            assert all(kind["schema"] for kind in content.values()), f"{where} is not described"
        edition = "StatusInfoSet" if path.startswith(f"{ROOT_1P1}/") else "StatusInfo"
        kind = edition if path.startswith("/ims/") else "Problem"
        wanted = "TokenRefusal" if path == "/token" else kind
        refusal = said["responses"]["400"]["$ref"]
        assert refusal == f"#/components/responses/{wanted}400", where
    assert len(names) == len({*names})


def test_the_documents_are_valid_openapi(hub: Client, document: Json) -> None:
    validate(document)
    for name in DISCOVERY:
        answer = hub.get(name)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        validate(answer.json)


def test_discovery_names_this_hub_and_the_rostering_reads_alone(hub: Client) -> None:
    first, second = (hub.get(name) for name in DISCOVERY)
    assert first.content == second.content
    assert first.json["servers"] == [{"url": f"https://hub.example.org{ROOT}"}]
    flow = first.json["components"]["securitySchemes"]["OAuth2"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == "https://hub.example.org/token"
    found = {said["operationId"] for _, _, said in operations(first.json)}
    assert found == {operation.id for operation in OPERATIONS}
    for service in ("gradebook", "resources"):
        path = f"/ims/oneroster/{service}/v1p2/discovery/imsorv1p2_{service}_openapi3_v1p0.json"
        assert hub.get(path).status_code == 404


def test_both_editions_have_their_shapes_and_every_page_its_cursor(document: Json) -> None:
    schemas = document["components"]["schemas"]
    assert {"role", "orgs"} <= schemas["UserOf1p1InPart"]["properties"].keys()
    assert {"roles", "userProfiles"} <= schemas["UserInPart"]["properties"].keys()
    assert "pronouns" not in schemas["UserOf1p1InPart"]["properties"]
    assert schemas["OrgOf1p1InPart"]["properties"]["type"]["enum"][0] == "department"
    pages = [
        said
        for _, path, said in operations(document)
        if path.startswith((f"{ROOT}/", f"{ROOT_1P1}/"))
        and "X-Total-Count" in said["responses"]["200"].get("headers", {})
    ]
    assert len(pages) == 2 * sum(not operation.single for operation in OPERATIONS)
    for said in pages:
        names = {given["name"] for given in said["parameters"]}
        assert {"limit", "offset", "cursor", "sort", "orderBy", "filter", "fields", "asOf"} <= names


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the official documents are not here")
def test_discovery_has_the_paths_and_names_of_the_official_document(hub: Client) -> None:
    official = orjson.loads(OFFICIAL.read_bytes())
    ours = {(path, said["operationId"]) for _, path, said in operations(hub.get(DISCOVERY[0]).json)}
    assert ours == {(path, said["operationId"]) for _, path, said in operations(official)}


def test_documents_are_cached_and_packed(hub: Client) -> None:
    plain = hub.get("/openapi.json")
    assert "max-age" in plain.headers["Cache-Control"]
    tag = plain.headers["ETag"]
    assert hub.get("/openapi.json", headers={"If-None-Match": tag}).status_code == 304
    packed = hub.get("/openapi.json", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.content) < len(plain.content) / 4
    assert packed.headers["ETag"] != tag
    refused = hub.get("/openapi.json", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


def test_the_page_loads_its_own_files_and_has_no_script_inside(hub: Client) -> None:
    page = hub.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|style=", page.text)
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) >= 5
    for each in linked:
        assert "//" not in each
        answer = hub.get(f"/{each}")
        assert answer.status_code == 200, each
        assert answer.headers["Content-Security-Policy"] == policy or each == "openapi.json"
    style = hub.get("/docs/swagger-ui.css").text
    assert all(u.strip("\"'").startswith("data:") for u in re.findall(r"url\(([^)]{0,20})", style))
    assert "http" not in hub.get("/docs/docs.js").text


@pytest.mark.parametrize(
    "name", ["swagger-editor.js", "..%2Fdocs.html", "__init__.py", "docs.html"]
)
def test_no_other_file_is_served(hub: Client, name: str) -> None:
    assert hub.get(f"/docs/{name}").status_code == 404


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("familyName='jones'", True),
        ("familyName='O''Brien' AND dateLastModified>='2015-01-01'", True),
        ("roles.org.sourcedId='1' OR enabledUser='true'", True),
        ("metadata.jp='x'", True),
        ("dateLastModified>'2026-04-01T00:00:00.000Z'", True),
        ("familyName", False),
        ("nothing='x'", False),
        ("enabledUser='perhaps'", False),
        ("dateLastModified>'2026-13-01'", False),
        ("grades>'1'", False),
    ],
)
def test_the_pattern_of_filters_tells_right_from_wrong(text: str, *, fits: bool) -> None:
    matched = re.search(filter_schema(User)["pattern"], text) is not None
    assert matched == fits
    if fits:
        assert parse(text)
