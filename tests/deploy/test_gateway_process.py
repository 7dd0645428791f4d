"""A gateway that is told to stop keeps nobody waiting, and nobody keeps it waiting."""

import socket
import time
from urllib.parse import urlsplit

import requests

from schemas.secrets import Vault
from schemas.settings import Settings, plain
from tests.api.conftest import Books
from tests.deploy.conftest import Gateway

QUICKLY = 3.0  # seconds; to `keepalive` it would be five


def line_to(gateway: Gateway) -> socket.socket:
    parts = urlsplit(gateway.url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10)


def test_a_connection_that_a_client_keeps_does_not_delay_a_stop(gateway: Gateway) -> None:
    with requests.Session() as client:
        assert client.get(f"{gateway.url}/health/live", timeout=5).ok
        began = time.monotonic()
        gateway.process.terminate()
        assert gateway.process.wait(20) == 0
    assert time.monotonic() - began < QUICKLY


def test_neither_does_one_on_which_nothing_was_ever_asked(gateway: Gateway) -> None:
    with line_to(gateway) as line:
        began = time.monotonic()
        gateway.process.terminate()
        assert gateway.process.wait(40) == 0
        assert line.recv(1) == b""
    assert time.monotonic() - began < QUICKLY + 1.0


def test_a_request_that_is_on_its_way_is_answered(gateway: Gateway, settings: Settings) -> None:
    assert settings.secret_key is not None
    vault = Vault(settings.secret_key.get_secret_value())
    with Books(plain(settings.database_url), vault) as books:
        key = books.district("north").key
    head = [
        "POST /api/v1/imports HTTP/1.1",
        "Host: hub",
        f"Authorization: Bearer {key}",
        "Content-Type: application/zip",
        "Content-Length: 100",
        "",
    ]
    with line_to(gateway) as line:
        line.sendall("\r\n".join([*head, "x" * 50]).encode())
        time.sleep(0.3)
        gateway.process.terminate()
        time.sleep(2.0)  # longer than whoever is silent has
        line.sendall(b"x" * 50)
        assert line.recv(65536).startswith(b"HTTP/1.1 202 ")
    assert gateway.process.wait(20) == 0
