"""JSON bodies that are too long, too deep, or not what they should be: never a 500."""

import pytest

from api.bodies import DEPTH, deeper_than
from schemas.settings import Settings
from tests.api.conftest import Client

PATH = "/api/v1/districts"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"id": "a"}', 422),
        (b'{"id": "a", "name": 1}', 422),
        (b'{"id": "a", "name": " "}', 422),
        (b'{"id": "a", "name": "x", "more": 1}', 422),
        (b'{"id": "a\\u0000", "name": "x"}', 422),
        (b'{"id": "a", "name": "\\u0000"}', 422),
        (b'{"id": "a", "name": "\\ud800"}', 400),
        (b'{"id": "a", "name": "\xff"}', 400),
        (b'{"id": "A", "name": "x"}', 422),
        (b'{"id": NaN, "name": "x"}', 400),
        (b"[" * 200_000, 400),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 400),
    ],
)
def test_a_body_that_does_not_fit_is_the_clients_fault(
    hub: Client, admin: str, body: bytes, status: int
) -> None:
    headers = JSON | {"Content-Length": str(len(body))}
    answer = hub.post(PATH, admin, body=body, headers=headers)
    assert answer.status_code == status, answer.text


def test_the_field_that_does_not_fit_is_named(hub: Client, admin: str) -> None:
    answer = hub.post(PATH, admin, json={"id": "Nord", "name": "Nord"})
    assert [fault["field"] for fault in answer.json["errors"]] == ["id"]
    answer = hub.post(PATH, admin, json={"id": "x"})
    assert [fault["field"] for fault in answer.json["errors"]] == ["name"]


def test_a_body_of_unknown_or_too_much_length_is_not_read(
    hub: Client, admin: str, settings: Settings
) -> None:
    assert hub.post(PATH, admin, headers=JSON).status_code == 411
    headers = JSON | {"Content-Length": str(settings.json_max + 1)}
    assert hub.post(PATH, admin, headers=headers).status_code == 413
    headers = JSON | {"Content-Length": "1000"}
    assert hub.post(PATH, admin, headers=headers).status_code == 400
    headers = {"Content-Type": "text/plain"}
    assert hub.post(PATH, admin, body=b"{}", headers=headers).status_code == 415


def test_brackets_inside_strings_are_not_depth() -> None:
    assert not deeper_than(DEPTH, b'{"a": "' + b"[" * 100 + b'\\"' + b"{" * 100 + b'"}')
    assert not deeper_than(DEPTH, b"[]" * 100)
    assert deeper_than(DEPTH, b"[" * 65)
