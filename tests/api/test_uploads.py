"""Bodies over real sockets: cut, chunked, too large, in forms. What is not whole leaves nothing."""

import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest
from falcon.testing import Result

from api.uploads import file_name
from schemas.settings import Settings
from tests.api.conftest import Books, Client, District, Serve

ZIP = {"Content-Type": "application/zip"}


def stored(settings: Settings) -> list[Path]:
    return [path for path in Path(settings.object_store).rglob("*") if path.is_file()]


def form(*parts: tuple[str, str, bytes], end: bytes = b"--xyz--\r\n") -> dict[str, Any]:
    body = b"".join(
        b"--xyz\r\nContent-Disposition: form-data; "
        + disposition.encode()
        + b"\r\nContent-Type: "
        + kind.encode()
        + b"\r\n\r\n"
        + data
        + b"\r\n"
        for disposition, kind, data in parts
    )
    return {"body": body + end, "headers": {"Content-Type": "multipart/form-data; boundary=xyz"}}


def spoken(port: int, *pieces: bytes, vanish: bool = False) -> bytes:
    """The first line of what a server answers to these bytes; a client that vanishes hears none."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as line:
        for piece in pieces:
            line.sendall(piece)
        if vanish:
            line.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := line.recv(65536):
            answer += piece
    return answer.partition(b"\r\n")[0]


def head(key: str, *lines: str) -> bytes:
    return "\r\n".join(
        [
            "POST /api/v1/imports HTTP/1.1",
            "Host: hub",
            f"Authorization: Bearer {key}",
            "Connection: close",
            *lines,
            "",
            "",
        ]
    ).encode()


def test_a_package_is_stored_as_it_came(hub: Client, north: District, settings: Settings) -> None:
    body = bytes(range(256)) * 40_000
    answer: Result = hub.post("/api/v1/imports", north.key, body=body, headers=ZIP)
    assert answer.status_code == 202
    assert answer.json["upload"] == {
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "name": None,
        "deleted_at": None,
    }
    (file,) = stored(settings)
    assert file.read_bytes() == body
    assert file.parts[-3:-1] == ("uploads", str(north.tenant_id))


def test_an_empty_body_is_refused_and_leaves_nothing(
    hub: Client, north: District, settings: Settings
) -> None:
    answer = hub.post("/api/v1/imports", north.key, headers=ZIP | {"Content-Length": "0"})
    assert answer.status_code == 422
    assert stored(settings) == []


@pytest.mark.parametrize("kind", ["application/json", "text/html", ""])
def test_another_kind_of_body_is_refused(hub: Client, north: District, kind: str) -> None:
    answer = hub.post("/api/v1/imports", north.key, body=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_a_form_carries_a_file_and_how_it_is_meant(
    hub: Client, north: District, settings: Settings
) -> None:
    parts = form(
        ('name="entity"', "text/plain", b"users"),
        ('name="file"; filename="C:\\data\\users.csv"', "text/csv", b"sourcedId\r\n"),
        ('name="mode"', "text/plain", b"upsert"),
    )
    answer = hub.post("/api/v1/imports", north.key, **parts)
    assert answer.status_code == 202, answer.text
    assert (answer.json["entity"], answer.json["mode"]) == ("users", "upsert")
    assert answer.json["upload"]["name"] == "users.csv"
    assert stored(settings)[0].read_bytes() == b"sourcedId\r\n"


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ([('name="file"; filename="a.zip"', "application/zip", b"PK")], b""),
        ([('name="file"; filename="a.zip"', "application/zip", b"PK")], b"--xyz"),
        ([('name="file"; filename="a.zip"', "application/zip", b"PK")], b"--xyz\r\nContent-D"),
        ([('name="file"; filename="\xff"', "application/zip", b"PK")] * 2, b"--xyz--\r\n"),
    ],
)
def test_a_form_that_is_cut_or_has_two_files_leaves_nothing(
    hub: Client,
    north: District,
    settings: Settings,
    parts: list[tuple[str, str, bytes]],
    end: bytes,
) -> None:
    answer = hub.post("/api/v1/imports", north.key, **form(*parts, end=end))
    assert answer.status_code == 400, answer.text
    assert stored(settings) == []


def test_a_form_without_a_file_is_refused(hub: Client, north: District) -> None:
    answer = hub.post("/api/v1/imports", north.key, **form(('name="mode"', "text/plain", b"bulk")))
    assert answer.status_code == 422


def test_a_form_with_a_name_that_is_no_text_is_refused(hub: Client, north: District) -> None:
    parts = form(('name="file"; filename="?"', "application/zip", b"PK"))
    parts["body"] = parts["body"].replace(b"?", b"\xff")
    assert hub.post("/api/v1/imports", north.key, **parts).status_code == 400


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, None),
        ("", None),
        ("名簿.zip", "名簿.zip"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\a.zip", "a.zip"),
        ("a\x00b\r\n.zip", "ab.zip"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_name_is_kept_for_people_only(given: str | None, kept: str | None) -> None:
    assert file_name(given) == kept


def test_a_name_in_the_header_is_percent_encoded(hub: Client, north: District) -> None:
    named = ZIP | {"X-Filename": "%E5%90%8D%E7%B0%BF.zip"}
    answer = hub.post("/api/v1/imports", north.key, body=b"PK", headers=named)
    assert answer.json["upload"]["name"] == "名簿.zip"


def test_bodies_that_are_not_whole_are_refused_on_a_real_server(
    serve: Serve, north: District, books: Books, settings: Settings
) -> None:
    server = serve(upload_max=1_000_000)
    key, kind = north.key, "Content-Type: application/zip"

    cut = spoken(server.port, head(key, kind, "Content-Length: 1000"), b"x" * 500, vanish=True)
    assert cut == b""

    chunked = spoken(
        server.port, head(key, kind, "Transfer-Encoding: chunked"), b"3\r\nabc\r\n0\r\n\r\n"
    )
    assert b" 411 " in chunked

    large = spoken(server.port, head(key, kind, "Content-Length: 1000001"), b"x" * 10)
    assert b" 413 " in large

    form_kind = "Content-Type: multipart/form-data; boundary=xyz"
    part = form(('name="file"; filename="a.zip"', "application/zip", b"x" * 1_000_001))["body"]
    long = spoken(server.port, head(key, form_kind, f"Content-Length: {len(part)}"), part)
    assert b" 413 " in long

    whole = form(('name="file"; filename="a.zip"', "application/zip", b"x" * 1000))["body"]
    short = spoken(
        server.port, head(key, form_kind, f"Content-Length: {len(whole)}"), whole[:700], vanish=True
    )
    assert short == b""

    assert stored(settings) == []
    assert books.rows(north.tenant_id, "select from runs") == []
    assert books.rows(north.tenant_id, "select from uploads") == []

    whole_again = server.request("POST", "/api/v1/imports", key, data=b"x" * 1000, headers=ZIP)
    assert whole_again.status_code == 202
