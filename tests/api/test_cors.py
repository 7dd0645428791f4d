"""Web pages of a district's systems may read answers; pages of anybody else may not."""

from tests.api.conftest import Books, Client, District

IMPORTS, ORIGINS = "/api/v1/imports", "/api/v1/origins"
LMS, OTHER = "https://lms.example.jp", "https://elsewhere.example.jp:8443"
ASKS = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
ALLOW = "Access-Control-Allow-Origin"


def listed(hub: Client, district: District, *origins: str) -> None:
    answer = hub.ask("PUT", ORIGINS, district.key, json={"origins": origins})
    assert (answer.status_code, answer.json) == (200, {"origins": sorted(origins)})


def test_a_preflight_needs_no_credential_and_an_origin_that_somebody_lists(
    hub: Client, north: District
) -> None:
    listed(hub, north, LMS)
    allowed = hub.ask("OPTIONS", IMPORTS, headers=ASKS | {"Origin": LMS})
    assert allowed.status_code == 204
    assert allowed.headers[ALLOW] == LMS
    assert allowed.headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    assert allowed.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in allowed.headers
    for origin in (OTHER, "null", f"{LMS}.evil.example", LMS.upper(), "ü\0", "*"):
        refused = hub.ask("OPTIONS", IMPORTS, headers=ASKS | {"Origin": origin})
        assert (refused.status_code, refused.headers.get(ALLOW)) == (403, None)
    assert hub.ask("OPTIONS", IMPORTS, headers={"Origin": LMS}).status_code == 401


def test_an_answer_is_readable_for_the_origins_of_its_own_district(
    hub: Client, books: Books, north: District, south: District, admin: str
) -> None:
    listed(hub, north, LMS)
    listed(hub, south, OTHER)
    token = books.client(north.tenant_id).token(hub)
    orgs = "/ims/oneroster/rostering/v1p2/orgs"
    answer = hub.get(orgs, token, headers={"Origin": LMS})
    assert answer.headers[ALLOW] == LMS
    assert "X-Total-Count" in answer.headers["Access-Control-Expose-Headers"]
    assert ALLOW not in hub.get(orgs, token, headers={"Origin": OTHER}).headers
    from_other = hub.get(orgs, token, headers={"Origin": OTHER})
    assert from_other.headers["Vary"] == "Accept-Encoding, Origin"
    assert hub.get(orgs, token).headers["Vary"] == "Accept-Encoding"
    for path, key in (("/health", None), (IMPORTS, None), ("/api/v1/districts", admin)):
        for origin in (LMS, OTHER):  # about no district
            assert hub.get(path, key, headers={"Origin": origin}).headers[ALLOW] == origin
    listed(hub, north)
    assert ALLOW not in hub.get(orgs, token, headers={"Origin": LMS}).headers


def test_origins_are_those_that_browsers_send(hub: Client, north: District, books: Books) -> None:
    good = (LMS, OTHER, "http://localhost:3000", "http://[::1]:8080")
    listed(hub, north, *good)
    assert hub.get(ORIGINS, north.key).json == {"origins": sorted(good)}
    for wrong in ("*", "null", "", f"{LMS}/", f"{LMS}/x", "lms.example.jp", LMS.upper(), 7):
        answer = hub.ask("PUT", ORIGINS, north.key, json={"origins": [wrong]})
        assert answer.status_code == 422, wrong
    powerless = books.key(north.tenant_id, ("imports", "roster.read"))
    assert hub.get(ORIGINS, powerless).status_code == 403
