"""From where a request comes: whoever is connected, or whom a configured proxy names.

A forwarded header is a claim of the last one who wrote it. So the hops of `X-Forwarded-For` count
from the right, each is believed only if the one behind it is a proxy of ours, and the first that is
none is the client. Other headers (`Forwarded`, `X-Real-IP`) are never read: a proxy that does not
know one hands on what the client wrote there.
"""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from falcon.asgi import Request

from schemas.settings import networks_in

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED = "X-Forwarded-For"
HOP = re.compile(
    r"\[(?P<bracketed>[0-9a-f:.]+)\](?::[0-9]{1,5})?"
    r"|(?P<v4>[0-9.]+)(?::[0-9]{1,5})?"
    r"|(?P<v6>[0-9a-f:.]+)",
    re.IGNORECASE,
)
HOPS = 32  # no chain of proxies is longer; what a client sends may be


class Addresses:
    """What is known of the proxies in front of this process."""

    def __init__(self, proxies: str) -> None:
        self._proxies = tuple(map(ipaddress.ip_network, networks_in(proxies)))
        self._found = lru_cache(maxsize=4096)(self._find)

    def of(self, req: Request) -> Address | None:
        """The address of the client; None: nobody who can be believed says."""
        peer = peer_of(req)
        if peer is None:  # not a network at all
            return None
        return self._found(peer, req.get_header(FORWARDED) or "")

    def _find(self, peer: str, forwarded: str) -> Address | None:
        address = address_in(peer)
        hops = forwarded.rsplit(",", HOPS)
        while address is not None and within(address, self._proxies):
            address = address_in(hops.pop()) if hops else None
        return address


def peer_of(req: Request) -> str | None:
    """Who is connected; None: no network at all. Servers may say it once only."""
    if not hasattr(req.context, "peer"):
        client = req.scope.get("client")
        req.context.peer = None if client is None else next(iter(client))
    peer: str | None = req.context.peer
    return peer


def within(address: Address, networks: Sequence[Network]) -> bool:
    """Whether the address lies in one of the networks."""
    return any(address in network for network in networks)


def address_in(text: str) -> Address | None:
    """The address of a hop, which some proxies write with its port."""
    match = HOP.fullmatch(text.strip())
    try:
        address = ipaddress.ip_address(match[match.lastgroup or 0]) if match else None
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


@lru_cache(maxsize=1024)
def networks_of(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks of an allow-list as it is stored."""
    return tuple(map(ipaddress.ip_network, texts))
