"""Whose address a request bears, whatever its headers claim."""

import random

import pytest
from falcon import testing
from falcon.asgi import Request

from api.addresses import Addresses, address_in
from tests.api.conftest import Books, Client, District, Serve

PROXY, SECOND, CLIENT, STRANGER = "10.0.0.5", "10.1.2.3", "203.0.113.7", "198.51.100.9"
PROXIES = "10.0.0.5, 10.1.0.0/16"


def found(peer: str, headers: dict[str, str], proxies: str = PROXIES) -> str | None:
    scope = testing.create_scope(headers=headers, remote_addr=peer)
    address = Addresses(proxies).of(Request(scope, None))  # type: ignore[arg-type]
    return None if address is None else str(address)


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (CLIENT, None, CLIENT),
        (CLIENT, STRANGER, CLIENT),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"{STRANGER}, {CLIENT}", CLIENT),
        (PROXY, f"{STRANGER},{CLIENT},{SECOND}", CLIENT),
        (PROXY, f"{CLIENT}, {STRANGER}, {SECOND}", STRANGER),
        (PROXY, "203.0.113.7:4711", CLIENT),
        (PROXY, "[2001:db8::1]:443", "2001:db8::1"),
        (PROXY, "2001:db8::1", "2001:db8::1"),
        (PROXY, "::ffff:203.0.113.7", CLIENT),
        ("::ffff:10.0.0.5", CLIENT, CLIENT),
        (PROXY, None, None),
        (PROXY, "", None),
        (PROXY, "unknown", None),
        (PROXY, f"{CLIENT}, unknown", None),
        (PROXY, SECOND, None),
        (PROXY, f"{CLIENT},", None),
        (PROXY, "203.0.113.7:x", None),
        (PROXY, ",".join(["10.0.0.5"] * 5000), None),
    ],
)
def test_hops_count_from_the_right_as_far_as_proxies_are_ours(
    peer: str, forwarded: str | None, address: str | None
) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    assert found(peer, headers) == address


def test_no_proxy_configured_means_no_header_believed() -> None:
    headers = {"X-Forwarded-For": CLIENT, "Forwarded": f"for={CLIENT}", "X-Real-IP": CLIENT}
    assert found(STRANGER, headers, proxies="") == STRANGER


def test_500_forged_headers_move_nobody() -> None:
    draw = random.Random(4)
    names = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Client-IP", "True-Client-IP")
    for _ in range(500):
        forged = {
            name: ", ".join(draw.choices([CLIENT, PROXY, SECOND, "::1", "x"], k=draw.randint(1, 5)))
            for name in draw.sample(names, draw.randint(1, 5))
        }
        assert found(STRANGER, forged) == STRANGER
        hops = draw.choices([PROXY, SECOND], k=draw.randint(0, 2))
        true = ", ".join([forged.pop("X-Forwarded-For", CLIENT), STRANGER, *hops])
        assert found(PROXY, forged | {"X-Forwarded-For": true}) == STRANGER


@pytest.mark.parametrize("text", ["", " ", "x", "1.2.3", "[::1", "::1]", "1.2.3.4:", "1.2.3.4:²"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert address_in(text) is None


def test_the_server_hands_on_what_we_judge_and_nothing_of_its_own(
    serve: Serve, books: Books, north: District, hub: Client
) -> None:
    lms = books.client(north.tenant_id, networks=["203.0.113.0/24"])
    token = lms.token(hub, address=CLIENT)
    server = serve(proxies="127.0.0.1/32", public_url="https://hub.example.org/")

    def status(**headers: str) -> int:
        named = {name.replace("__", "-"): value for name, value in headers.items()}
        path = "/ims/oneroster/rostering/v1p2/orgs"
        return server.request("GET", path, token, headers=named).status_code

    assert status(X__Forwarded__For=CLIENT) == 200
    assert status(X__Forwarded__For=f"{CLIENT}, {STRANGER}") == 403
    assert status(X_Forwarded_For=CLIENT) == 403  # another name, which it must not take for ours
    assert status(Forwarded=f"for={CLIENT}", X__Real__IP=CLIENT) == 403
    assert status() == 403
