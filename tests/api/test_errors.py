"""What a client reads when something is wrong, and what it never reads."""

from collections.abc import Callable

import falcon.asgi
import psycopg
import pytest
import structlog
from falcon import testing
from falcon.asgi import Request, Response
from falcon.testing import Result

from api import errors
from api.app import App
from schemas.errors import Rejected, Unavailable
from tests.api.conftest import Client, District

PROBLEM = "application/problem+json"


class Broken:
    """Raises what it is given."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def on_get(self, _req: Request, resp: Response) -> None:
        resp.etag = "x"
        raise self._error


def answered(error: Exception, path: str = "/api/v1/x") -> Result:
    app: App = falcon.asgi.App()
    errors.install(app)
    app.add_route(path, Broken(error))
    answer: Result = testing.TestClient(app).simulate_get(path)
    return answer


def minor(answer: Result) -> str:
    return str(answer.json["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"])


def test_an_error_of_ours_is_a_problem_with_its_facts() -> None:
    answer = answered(Rejected("No.", field="id"))
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == PROBLEM
    assert "ETag" not in answer.headers
    assert answer.json == {
        "type": "urn:rosterhub:problem:invaliddata",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "No.",
        "code": "invaliddata",
        "field": "id",
    }


def test_under_the_standards_path_it_is_the_bare_status_object() -> None:
    answer = answered(Rejected("No.", field="id"), "/ims/x")
    assert answer.json == {
        "imsx_codeMajor": "failure",
        "imsx_severity": "error",
        "imsx_description": "No.",
        "imsx_CodeMinor": {
            "imsx_codeMinorField": [
                {
                    "imsx_codeMinorFieldName": "TargetEndSystem",
                    "imsx_codeMinorFieldValue": "invaliddata",
                }
            ]
        },
    }


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("host=secret"), psycopg.InterfaceError(), Unavailable()]
)
def test_a_service_that_is_away_says_come_back(error: Exception) -> None:
    answer = answered(error)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
    assert "secret" not in answer.text
    assert minor(answered(error, "/ims/x")) == "server_busy"


def test_a_fault_of_ours_is_logged_and_tells_nothing() -> None:
    with structlog.testing.capture_logs() as lines:
        answer = answered(KeyError("hanako yamada"))
    assert answer.status_code == 500
    assert "hanako" not in answer.text + str(lines)
    (line,) = lines
    assert line["error"] == "KeyError"
    assert "on_get" in line["where"][-1]
    assert minor(answered(KeyError("x"), "/ims/x")) == "internal_server_error"


def test_an_unknown_address_is_404_and_a_wrong_method_405(hub: Client, north: District) -> None:
    for path in ("/", "/api/v1/nothing", "/api/v2/imports", "/docs/x"):
        answer = hub.get(path, north.key)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)
    wrong = hub.ask("PUT", "/api/v1/imports", north.key)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, POST, OPTIONS")
    unknown = hub.get("/ims/oneroster/rostering/v1p2/nothing", north.key)
    assert (unknown.status_code, minor(unknown)) == (404, "unknownobject")
    wrong = hub.post("/ims/oneroster/rostering/v1p2/orgs", north.key)
    assert (wrong.status_code, minor(wrong)) == (404, "unknownobject")
    assert wrong.headers["Allow"] == "GET, OPTIONS"


def test_every_answer_has_safe_headers(hub: Client, north: District) -> None:
    for path in ("/health/live", "/api/v1/imports", "/nothing", "/api/v1/districts"):
        headers = hub.get(path, north.key).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_who_is_known_by_http_asks_no_browser_for_https(
    open_hub: Callable[..., Client], database_url: str
) -> None:
    with open_hub(database_url, public_url="http://hub.example.org") as hub:
        assert "Strict-Transport-Security" not in hub.get("/health/live").headers
