"""What is let out, and what an operator's list opens."""

import pytest
from pydantic import ValidationError

from schemas.settings import Settings
from schemas.wall import BadEntry, BadTarget, Wall, all_let, target

PUBLIC = ("8.8.8.8", "1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "192.0.1.1")
PUBLIC_6 = ("2001:4860:4860::8888", "2606:4700::1111", "2400:cb00::1", "2001:200::1")


@pytest.mark.parametrize("address", [*PUBLIC, *PUBLIC_6])
def test_the_public_internet_is_let_out_on_its_port_with_tls(address: str) -> None:
    assert Wall().lets(address, 443, tls=True)
    assert not Wall().lets(address, 443, tls=False)
    assert not Wall().lets(address, 80, tls=False)
    assert not Wall().lets(address, 8443, tls=True)
    assert Wall.of("public:8443").lets(address, 8443, tls=True)
    assert not Wall.of("public:8443").lets(address, 8443, tls=False)


def test_an_opening_is_a_network_and_its_ports_and_nothing_beside_it() -> None:
    wall = Wall.of("10.20.0.0/16:8443, [fd00:12::/32]:80-90 ,192.168.7.7:9000")
    assert wall.lets("10.20.255.1", 8443, tls=True)
    assert wall.lets("10.20.255.1", 8443, tls=False)
    assert wall.lets("fd00:12::1", 85, tls=False)
    assert wall.lets("192.168.7.7", 9000, tls=False)
    for address, port in (
        *(("10.20.0.1", 443), ("10.21.0.1", 8443), ("fd00:13::1", 85), ("fd00:12::1", 91)),
        *(("192.168.7.8", 9000), ("127.0.0.1", 8443), ("::ffff:10.20.0.1", 8443)),
        *(("fd00:12::1%eth0", 85), ("ten", 8443), ("", 443)),
    ):
        assert not wall.lets(address, port, tls=True), address


def test_without_a_port_an_opening_is_that_of_https() -> None:
    assert Wall.of("10.0.0.0/8").lets("10.1.1.1", 443, tls=True)
    assert not Wall.of("10.0.0.0/8").lets("10.1.1.1", 80, tls=False)


@pytest.mark.parametrize(
    "entry",
    [
        *("everything", "0.0.0.0/0", "[::/0]", "10.0.0.1/8", "fd00::/8", "10.0.0.0/8:0"),
        *("10.0.0.0/8:90-80", "10.0.0.0/8:65536", "public:https", "https://a.example", "10.0.0"),
    ],
)
def test_an_entry_without_a_meaning_stops_the_start(entry: str) -> None:
    with pytest.raises(BadEntry):
        Wall.of(entry)
    with pytest.raises(ValidationError):
        Settings(webhook_allow=entry)


def test_one_address_that_is_not_let_spoils_the_others_and_none_is_not_all() -> None:
    assert all_let(Wall(), PUBLIC, 443, tls=True)
    assert not all_let(Wall(), [*PUBLIC, "10.0.0.1"], 443, tls=True)
    assert not all_let(Wall(), [], 443, tls=True)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("https://a.example", (True, "a.example", 443, "/")),
        ("HTTPS://A.Example:8443/x?y=z&w", (True, "a.example", 8443, "/x?y=z&w")),
        ("http://a.example/", (False, "a.example", 80, "/")),
        ("https://[2001:db8::1]:444/p", (True, "2001:db8::1", 444, "/p")),
        ("https://xn--r8jz45g.example/%E5%AD%A6", (True, "xn--r8jz45g.example", 443, "/%E5%AD%A6")),
    ],
)
def test_a_url_is_taken_apart(url: str, parts: tuple[bool, str, int, str]) -> None:
    found = target(url)
    assert (found.tls, found.host, found.port, found.path) == parts


@pytest.mark.parametrize(
    "url",
    [
        *("", "a.example", "//a.example", "https://", "https:///x", "ftp://a.example"),
        *("https://u@a.example", "https://u:p@a.example", "https://a.example#", "https://a b"),
        *(
            "https://a.example\\@b",
            "https://a.example\n",
            "https://例え.example",
            "https://a:99999",
        ),
        *("https://a:0", "https://[::1", "https://a/" + "x" * 2048),
    ],
)
def test_what_is_no_plain_url_is_none(url: str) -> None:
    with pytest.raises(BadTarget):
        target(url)


def test_what_is_known_before_a_host_is_looked_up() -> None:
    wall = Wall.of("10.0.0.0/8:8080")
    for url, let in (
        *(("https://a.example/", True), ("https://a.example:8443/", False)),
        *(("http://a.example:8080/", True), ("http://a.example/", False)),
        *(("https://8.8.8.8/", True), ("https://127.0.0.1/", False), ("https://[::1]/", False)),
        *(("http://10.1.1.1:8080/", True), ("http://11.1.1.1:8080/", False)),
    ):
        assert wall.lets_target(target(url)) is let, url
    assert not Wall().lets_target(target("http://a.example:8080/"))
