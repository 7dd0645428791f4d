"""From where a request comes: whoever is connected, or whom a configured proxy names.

A forwarded header is a claim of the last one who wrote it. So the hops of `X-Forwarded-For` count
from the right, each is believed only if the one behind it is a proxy of ours, and the first that is
none is the client. Other headers (`Forwarded`, `X-Real-IP`) are never read: a proxy that does not
know one hands on what the client wrote there.
"""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from falcon.asgi import Request

from schemas.settings import networks_in

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED = "X-Forwarded-For"
HOPS = 32  # no chain of proxies is longer; what a client sends may be


class Addresses:
    """What is known of the proxies in front of this process."""

    def __init__(self, proxies: str) -> None:
        self._proxies = tuple(map(ipaddress.ip_network, networks_in(proxies)))
        self._found = lru_cache(maxsize=4096)(self._find)

    def of(self, req: Request) -> Address | None:
        """The address of the client; None: nobody who can be believed says."""
        peer = req.scope.get("client")
        return self._found(peer[0], req.get_header(FORWARDED) or "") if peer else None

    def _find(self, peer: str, forwarded: str) -> Address | None:
        address = address_in(peer)
        hops = forwarded.rsplit(",", HOPS)
        while address is not None and within(address, self._proxies):
            address = address_in(hops.pop()) if hops else None
        return address


def within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether the address lies in one of the networks."""
    return any(address in network for network in networks)


def address_in(text: str) -> Address | None:
    """The address of a hop, which some proxies write with its port."""
    host = text.strip()
    if host.startswith("["):
        host, _, port = host[1:].partition("]")
        host = host if port == "" or is_port(port) else ""
    elif host.count(":") == 1:
        host, colon, port = host.partition(":")
        host = host if is_port(colon + port) else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def is_port(text: str) -> bool:
    """Whether this is a colon and a number."""
    return text.startswith(":") and text[1:].isdecimal() and text[1:].isascii()


@lru_cache(maxsize=1024)
def networks_of(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks of an allow-list as it is stored."""
    return tuple(map(ipaddress.ip_network, texts))
