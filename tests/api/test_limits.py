"""Queries and headers that are too much, refused in the words of the interface or by the server."""

import socket

from tests.api.conftest import Client, District, Serve

ORGS = "/ims/oneroster/rostering/v1p2/orgs"


def minor(text: object) -> object:
    return text["imsx_CodeMinor"]["imsx_codeMinorField"][0]["imsx_codeMinorFieldValue"]  # type: ignore[index]


def test_a_long_query_is_414(hub: Client, north: District) -> None:
    query = f"fields=name&x={'y' * (16 * 1024 - 14)}"
    assert hub.get(f"{ORGS}?{query}", north.key).status_code == 200
    long = hub.get(f"{ORGS}?{query}y", north.key)
    assert (long.status_code, minor(long.json)) == (414, "invaliddata")
    elsewhere = hub.get(f"/api/v1/imports?{query}y", north.key)
    assert (elsewhere.status_code, elsewhere.json["code"]) == (414, "uri_too_long")
    assert elsewhere.headers["X-Content-Type-Options"] == "nosniff"


def test_the_server_leaves_room_for_our_own_words_and_ends_the_rest(serve: Serve) -> None:
    server = serve()

    def status(head: str) -> str:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as line:
            line.sendall(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while piece := line.recv(65536):
                answer += piece
        return answer.decode()

    ours = status(f"GET {ORGS}?x={'y' * 40_000} HTTP/1.1")
    assert ours.startswith("HTTP/1.1 414")
    assert "imsx_codeMajor" in ours
    many = "".join(f"\r\nX-{n}: {'y' * 8000}" for n in range(6))
    ours = status(f"GET {ORGS} HTTP/1.1{many}")
    assert ours.startswith("HTTP/1.1 431")
    assert "imsx_codeMajor" in ours
    assert status(f"GET /?x={'y' * 100_000} HTTP/1.1").startswith("HTTP/1.1 414")
    assert status(f"GET / HTTP/1.1\r\nX-One: {'y' * 20_000}").startswith("HTTP/1.1 431")
