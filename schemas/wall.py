"""Where a webhook may be sent: the wall between those who name a URL and the network we stand in.

A host is judged by the addresses it resolves to, at the moment of connecting, and never by its
text: `0x7f.1`, `2130706433` and `①②⑦.⓪.⓪.①` are all 127.0.0.1. Let out is what the registries of
IANA call global unicast and nothing else, on port 443 and with TLS. `ipaddress.is_global` is no
such policy: it also lets out NAT64, 6to4, multicast and the address of Azure's host.

What an operator adds (`ROSTERHUB_WEBHOOK_ALLOW`) is a list of networks with their ports, where
plain HTTP is allowed too, and of ports for the public internet:
`10.20.0.0/16:8443,[fd00:12::/32]:443,public:8443`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import urlsplit

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

URL_MAX = 2048
HTTPS = 443

GLOBAL_IPV6 = IPv6Network("2000::/3")
SPECIAL: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers; metadata of Alibaba Cloud
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # the host of a machine in Azure
            "169.254.0.0/16",  # link-local; metadata of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; metadata of Oracle Cloud
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: carries any IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
"""What is not for the public internet, of IPv4 and of the global part of IPv6."""

PLACE = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
ENTRY = re.compile(
    r"(?:public|\[(?P<v6>[^\]]+)\]|(?P<v4>[0-9./]+))"
    r"(?::(?P<first>[0-9]{1,5})(?:-(?P<last>[0-9]{1,5}))?)?"
)


class BadTarget(ValueError):
    """The text is no URL that a webhook can be sent to; says what it has to be."""


class BadEntry(ValueError):
    """An entry of the allow-list that means nothing, or everything."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL in its parts; `path` has the query."""

    tls: bool
    host: str
    port: int
    path: str


def target(url: str) -> Target:
    """The parts of a URL; raises BadTarget for what a strict reader would not take."""
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or {*url} & {*" \\"}:
        raise BadTarget(f"has up to {URL_MAX} printable ASCII characters without blanks")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadTarget("is not a URL") from error
    if parts.scheme not in ("https", "http"):
        raise BadTarget("begins with https://")
    if not PLACE.fullmatch(parts.netloc) or not parts.hostname or port == 0 or "#" in url:
        raise BadTarget("names a host, and neither a user nor a fragment")
    tls = parts.scheme == "https"
    query = f"?{parts.query}" if parts.query else ""
    return Target(tls, parts.hostname, port or (HTTPS if tls else 80), (parts.path or "/") + query)


@dataclass(frozen=True, slots=True)
class Opening:
    """Ports that an operator has opened: of a network, or (None) of the public internet."""

    network: Network | None
    ports: range


@dataclass(frozen=True, slots=True)
class Wall:
    """What is let out, for one installation."""

    openings: tuple[Opening, ...] = ()

    @classmethod
    def of(cls, allowed: str) -> "Wall":
        """The wall with the openings of a setting; raises BadEntry."""
        return cls(tuple(opening(part.strip()) for part in allowed.split(",") if part.strip()))

    def lets(self, address: str, port: int, *, tls: bool) -> bool:
        """Whether a connection may be made to this very address."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            return False
        if any(within(parsed, each) and port in each.ports for each in self.openings):
            return True
        return tls and self._for_public(port) and is_public(parsed)

    def lets_target(self, given: Target) -> bool:
        """Whether the URL may be let out at all: what is known before its host is looked up."""
        try:
            ip_address(given.host)
        except ValueError:
            opened = any(each.network and given.port in each.ports for each in self.openings)
            return opened or (given.tls and self._for_public(given.port))
        return self.lets(given.host, given.port, tls=given.tls)

    def _for_public(self, port: int) -> bool:
        return port == HTTPS or any(e.network is None and port in e.ports for e in self.openings)


def within(address: Address, opened: Opening) -> bool:
    """Whether an operator has named the network of the address."""
    network = opened.network
    return network is not None and network.version == address.version and address in network


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public internet, as far as that is assigned."""
    if address.version == GLOBAL_IPV6.version and address not in GLOBAL_IPV6:
        return False
    return not any(address.version == n.version and address in n for n in SPECIAL)


def opening(entry: str) -> Opening:
    """What an entry of the allow-list opens."""
    match = ENTRY.fullmatch(entry)
    if match is None:
        raise BadEntry(f"{entry}: write 10.20.0.0/16:8443, [fd00::/8]:443 or public:8443")
    try:
        named = match["v4"] or match["v6"]
        network = ip_network(named) if named else None
    except ValueError as error:
        raise BadEntry(f"{entry}: {error}") from error
    if network is not None and network.prefixlen == 0:
        raise BadEntry(f"{entry}: that is everything; write public:PORT for the internet")
    first = int(match["first"] or HTTPS)
    last = int(match["last"] or first)
    if not 0 < first <= last < 1 << 16:
        raise BadEntry(f"{entry}: ports are between 1 and 65535")
    return Opening(network, range(first, last + 1))


def all_let(wall: Wall, addresses: Iterable[str], port: int, *, tls: bool) -> bool:
    """Whether every address of a host is let out: one that is not spoils the others."""
    found = [*addresses]
    return bool(found) and all(wall.lets(each, port, tls=tls) for each in found)
