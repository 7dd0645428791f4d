"""Whose address a request bears, whatever its headers claim."""

import random

import pytest
from falcon import testing
from falcon.asgi import Request

from api.addresses import Addresses, address_in

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
