"""Who may ask, for which district, and what the log learns of it."""

import time
from typing import Any

import pytest
import structlog
from falcon.asgi import Request, Response

from api.caller import DISTRICT, Needs, caller_of
from schemas.scopes import CORE, ROSTER
from schemas.secrets import new_key
from tests.api.conftest import Books, Client, District

IMPORTS = "/api/v1/imports"
ORGS = "/ims/oneroster/rostering/v1p2/orgs"
DEMOGRAPHICS = "/ims/oneroster/rostering/v1p2/demographics"
TRACE = "0123456789abcdef-0123"


def test_a_key_is_taken_from_either_header(hub: Client, north: District) -> None:
    assert hub.get(IMPORTS, north.key).status_code == 200
    assert hub.get(IMPORTS, headers={"X-API-Key": north.key}).status_code == 200
    assert hub.get(IMPORTS, headers={"Authorization": f"bearer  {north.key}"}).status_code == 200


@pytest.mark.usefixtures("north")
@pytest.mark.parametrize(
    "authorization",
    [
        *(None, "", "Bearer", "Bearer x", "Basic eDp5", "Bearer ü"),
        pytest.param(f"Bearer {new_key('live')}", id="a key of nobody"),
    ],
)
def test_without_a_key_that_fits_there_is_401(hub: Client, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    refused = hub.get(IMPORTS, headers=headers)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.headers["Content-Type"] == "application/problem+json"
    refused = hub.get(ORGS, headers=headers)
    assert refused.status_code == 401
    minor = refused.json["imsx_CodeMinor"]["imsx_codeMinorField"][0]
    assert minor["imsx_codeMinorFieldValue"] == "unauthorisedrequest"


def test_an_expired_key_is_refused(hub: Client, books: Books, north: District) -> None:
    assert hub.get(IMPORTS, books.key(north.tenant_id, until="-1 second")).status_code == 401


def test_a_key_of_another_kind_or_secret_is_refused(hub: Client, north: District) -> None:
    parts = north.key.split("_")
    assert hub.get("/api/v1/districts", north.key).status_code == 403
    forged = new_key("live")
    forged = type(forged)("live", parts[2], forged.secret)
    assert hub.get(IMPORTS, str(forged)).status_code == 401
    swapped = type(forged)("admin", parts[2], parts[3])
    assert hub.get("/api/v1/districts", str(swapped)).status_code == 401


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("imports", IMPORTS, 200),
        ("imports", ORGS, 403),
        ("roster.read", ORGS, 200),
        ("roster.read", DEMOGRAPHICS, 403),
        ("roster.read", IMPORTS, 403),
        ("roster.demographics", DEMOGRAPHICS, 200),
        ("roster.demographics", ORGS, 403),
    ],
)
def test_a_key_does_what_its_scopes_say(  # noqa: PLR0917 -- fixtures and cases
    hub: Client, books: Books, north: District, scope: str, path: str, status: int
) -> None:
    assert hub.get(path, books.key(north.tenant_id, (scope,))).status_code == status


class Core:
    """A resource that the core opens, and whatever opens more."""

    needs = Needs(any_of=frozenset({CORE, ROSTER}))

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.media = [caller_of(req).client, caller_of(req).version]


def test_one_of_several_scopes_is_enough_and_each_is_a_whole_word(
    hub: Client, books: Books, north: District, admin: str
) -> None:
    hub.app.add_route("/api/v1/planted", Core())
    books.publish(north.tenant_id, {}, "2026-04-01T00:00:00Z")
    for scope, status in (
        (CORE, 200),
        (ROSTER, 200),
        ("roster.read", 200),
        ("roster.demographics", 403),
        ("roster", 403),
        (CORE[:-1], 403),
        (f"{CORE}x", 403),
        (f"{CORE} {ROSTER}", 403),
    ):
        key = books.key(north.tenant_id, (scope,))
        answer = hub.get("/api/v1/planted", key)
        assert answer.status_code == status, scope
    assert hub.get("/api/v1/planted", north.key).json == [None, 1]
    named = hub.get("/api/v1/planted", admin, headers={DISTRICT: "north"})
    assert named.json == [None, 1]
    lms = books.client(north.tenant_id, scopes=[CORE])
    token = lms.token(hub)
    assert hub.get("/api/v1/planted", token).json == [lms.id, 1]


def test_an_administrator_names_the_district(
    hub: Client, admin: str, north: District, south: District
) -> None:
    run = hub.post(
        IMPORTS, admin, body=b"PK", headers={"Content-Type": "application/zip", DISTRICT: "north"}
    )
    assert run.status_code == 202
    assert len(hub.get(IMPORTS, north.key).json["items"]) == 1
    assert hub.get(IMPORTS, south.key).json["items"] == []
    assert hub.get(IMPORTS, admin).status_code == 400
    assert hub.get(IMPORTS, admin, headers={DISTRICT: "nowhere"}).status_code == 404
    assert hub.get(IMPORTS, admin, headers={DISTRICT: "no\x7f"}).status_code == 404


@pytest.mark.usefixtures("south")
def test_a_district_key_speaks_for_no_other(hub: Client, north: District) -> None:
    assert hub.get(IMPORTS, north.key, headers={DISTRICT: "south"}).status_code == 403
    assert hub.get(IMPORTS, north.key, headers={DISTRICT: "north"}).status_code == 200


def test_the_last_use_is_written_once_a_minute_behind_the_answer(
    hub: Client, books: Books, north: District
) -> None:
    def used() -> list[Any]:
        with books.connected("rosterhub_control") as connection:
            return connection.execute(
                "select xmin::text, last_used_at is not null from keys where tenant_id = %s",
                [north.tenant_id],
            ).fetchall()

    before = used()
    hub.get(IMPORTS, north.key)
    deadline = time.monotonic() + 5
    while used() == before and time.monotonic() < deadline:
        hub.get("/health/live")
    first = used()
    assert first[0][1]
    for _ in range(5):
        hub.get(IMPORTS, north.key)
    assert used() == first


def test_the_log_line_names_the_key_and_the_route_and_no_value(
    hub: Client, north: District
) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = hub.get(
            f"{ORGS}/secret-person?fields=name", north.key, headers={"X-Request-ID": TRACE}
        )
    assert answer.headers["X-Request-ID"] == TRACE
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line["key"] == north.key.split("_")[2]
    assert line["route"] == "/ims/oneroster/rostering/v1p2/orgs/{sourced_id}"
    assert (line["status"], line["request_id"]) == (404, TRACE)
    assert "secret-person" not in str(lines)
    assert north.key.split("_")[3] not in str(lines)


def test_a_request_id_that_is_no_id_is_replaced(hub: Client) -> None:
    for text in ("a b\tc", "hanako@example.jp", "090-1234-5678"):
        given = hub.get("/health/live", headers={"X-Request-ID": text})
        assert len(given.headers["X-Request-ID"]) == 32
