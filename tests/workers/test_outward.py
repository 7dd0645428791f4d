"""The only way out: nobody inside is ever reached, and nobody outside keeps us."""

import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from schemas.wall import Target, Wall
from tests.workers.receivers import (
    Listener,
    Manner,
    Receiver,
    answers,
    cuts,
    drops,
    receiving,
    says,
)
from workers import outward
from workers.outward import Answer, Outward, Place, PlainSocket, TlsSocket, looked_up, scrubbed

BODY = b'{"type":"webhook.test"}'
PUBLIC = "93.184.215.14"
CONTEXT = outward.tls_context()

INSIDE_4 = (
    *("0.0.0.0", "0.0.0.1", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1"),
    *("100.100.100.200", "100.127.255.255", "127.0.0.1", "127.0.0.53", "127.1.2.3"),
    *("127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.0.192", "192.0.2.1"),
    *("192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1", "192.168.255.255"),
    *("192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
)
INSIDE_6 = (
    *("::", "::1", "::2", "::7f00:1", "::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1"),
    *("100::1", "100:0:0:1::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1"),
    *("2001:20::1", "2001:1ff::1", "2001:db8::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1"),
    *("5f00::1", "4000::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fe80::a9fe:a9fe"),
    *("fec0::1", "ff00::1", "ff02::1", "ff05::2", "ffff::1"),
)


def carried(address: str) -> Iterator[str]:
    """IPv6 addresses that lead to one of IPv4."""
    number = int(IPv4Address(address))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    yield f"::ffff:{address}"
    yield f"64:ff9b::{high}:{low}"
    yield f"2002:{high}:{low}::1"


def spelled(address: str) -> Iterator[str]:
    """Hosts that a resolver takes for this address."""
    a, b, c, d = address.split(".")
    number = int(IPv4Address(address))
    yield address
    yield str(number)
    yield f"0x{number:x}"
    yield f"0{number:o}"
    yield f"{a}.{int(b) * 65536 + int(c) * 256 + int(d)}"
    yield f"{a}.{b}.{int(c) * 256 + int(d)}"
    yield ".".join(f"0x{int(part):x}" for part in (a, b, c, d))
    yield ".".join(f"0{int(part):o}" for part in (a, b, c, d))
    yield f"{address}."


SPELLED = (
    *("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1", "172.16.0.1", "0.0.0.0"),
    *("100.100.100.200", "168.63.129.16", "127.0.0.53", "192.0.0.192", "198.18.0.1"),
    *("224.0.0.1", "203.0.113.1", "10.255.255.255"),
)
HOSTS = [
    *(host for address in SPELLED for host in spelled(address)),
    *INSIDE_4,
    *(f"[{address}]" for address in INSIDE_6),
    *(f"[{address}]" for inside in INSIDE_4 for address in carried(inside)),
    *("localhost", "localhost.", "LOCALHOST", "[::1%25lo]", "[0:0:0:0:0:0:0:1]"),
    *("①②⑦.⓪.⓪.①", "127。0。0。1", "127.0.0.1%00.example.org", "127.0.0.1\t"),
]
URLS = [
    "https://user@127.0.0.1:{port}/",
    "https://example.org:x@127.0.0.1:{port}/",
    "https://127.0.0.1:{port}#@example.org/",
    "https://127.0.0.1:{port}\\@example.org/",
    "https://example.org\\.127.0.0.1:{port}/",
    "https:///127.0.0.1:{port}/",
    "https:127.0.0.1:{port}",
    "//127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_",
    "ftp://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "https://127.0.0.1:0/",
    "https://127.0.0.1:99999/",
    "https://127.0.0.1 :{port}/",
    "https://[::1:{port}/",
    " https://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/\r\nX: y",
    "",
]


@dataclass
class Wire:
    """What is dialled: really at this machine, and nowhere outside of it."""

    dialled: list[str] = field(default_factory=list)

    def dial(self, sock: socket.socket, place: tuple[Any, ...]) -> None:
        self.dialled.append(str(place[0]))
        address = ip_address(str(place[0]))
        if not (address.is_loopback or address.is_unspecified):
            raise ConnectionRefusedError
        sock.connect(place)


@dataclass
class Liar:
    """A resolver that says one thing when it is asked first, and another thing after that."""

    first: list[str]
    then: list[str]
    asked: int = 0

    def resolve(self, _host: str, port: int) -> list[Place]:
        self.asked += 1
        return places(self.first if self.asked == 1 else self.then, port)


def places(addresses: list[str], port: int) -> list[Place]:
    six = {address for address in addresses if ":" in address}
    return [
        (socket.AF_INET6, (each, port, 0, 0)) if each in six else (socket.AF_INET, (each, port))
        for each in addresses
    ]


class CheckThenConnect(Outward):
    """The planted bug: it looks at the addresses, and then connects by name."""

    def _joined(self, wanted: Target, began: float) -> PlainSocket | TlsSocket:
        until = began + self.connect_seconds
        self._places(wanted, until)
        sock = PlainSocket(socket.AF_INET, socket.SOCK_STREAM)
        self.dial(sock, self.resolve(wanted.host, wanted.port)[0][1])
        sock.until, sock.left = until, outward.READ_MAX
        return self._with_tls(sock, wanted.host)


@pytest.fixture
def inside() -> Iterator[Listener]:
    with Listener() as listener:
        yield listener


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def way_out(port: int, **parts: Any) -> Outward:  # noqa: ANN401  # of a way out
    """A way to the public internet on this port, so that nothing but the address is in the way."""
    return Outward(Wall.of(f"public:{port}"), CONTEXT, connect_seconds=2.0, **parts)


def local(port: int, **parts: Any) -> Outward:  # noqa: ANN401  # same
    """A way to this machine, as an operator can open one."""
    return Outward(Wall.of(f"127.0.0.0/8:{port}"), **{"context": CONTEXT, **parts})


def post(way: Outward, url: str) -> Answer:
    return way.post(url, {"webhook-id": "evt_1"}, BODY)


# --- Nobody inside -------------------------------------------------------------------------


def test_three_hundred_hostile_targets_reach_nobody_inside(inside: Listener) -> None:
    wire = Wire()
    way = way_out(inside.port, dial=wire.dial)
    targets = [f"https://{host}:{inside.port}/" for host in HOSTS]
    targets += [url.format(port=inside.port) for url in URLS]
    assert len({*targets}) > 300
    said = {target: post(way, target).failure for target in targets}
    assert {*said.values()} <= {"address_refused", "host_unknown", "resolver_away"}
    assert wire.dialled == []
    assert inside.visits == 0


def test_a_name_that_leads_inside_reaches_nobody(inside: Listener) -> None:
    wire = Wire()
    for address in (*INSIDE_4, *INSIDE_6):
        for answer in ([address], [PUBLIC, address], [address, PUBLIC]):
            liar = Liar(answer, answer)
            way = way_out(inside.port, dial=wire.dial, resolve=liar.resolve)
            failure = post(way, f"https://fine.example:{inside.port}/").failure
            assert failure == "address_refused", answer
    assert wire.dialled == []
    assert inside.visits == 0


@pytest.mark.parametrize("then", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_resolver_that_lies_the_second_time_is_not_asked_again(
    inside: Listener, then: str
) -> None:
    wire, liar = Wire(), Liar([PUBLIC], [then])
    way = way_out(inside.port, dial=wire.dial, resolve=liar.resolve)
    assert post(way, f"https://fine.example:{inside.port}/").failure == "connect_failed"
    assert (liar.asked, wire.dialled, inside.visits) == (1, [PUBLIC], 0)


def test_a_check_that_is_not_of_the_connection_would_be_noticed(inside: Listener) -> None:
    wire, liar = Wire(), Liar([PUBLIC], ["127.0.0.1"])
    way = CheckThenConnect(
        Wall.of(f"public:{inside.port}"), CONTEXT, dial=wire.dial, resolve=liar.resolve
    )
    post(way, f"https://fine.example:{inside.port}/")
    for _ in range(100):
        if inside.visits:
            break
        time.sleep(0.01)
    assert inside.visits == 1


def test_a_connection_that_ends_elsewhere_is_refused(inside: Listener) -> None:
    """As with an address that the kernel takes for this machine."""

    def dial(sock: socket.socket, place: tuple[Any, ...]) -> None:
        sock.connect(("127.0.0.1", place[1]))

    liar = Liar([PUBLIC], [PUBLIC])
    way = way_out(inside.port, dial=dial, resolve=liar.resolve)
    assert post(way, f"https://fine.example:{inside.port}/").failure == "address_refused"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(
    receiver: Receiver, inside: Listener, status: int
) -> None:
    there = f"http://127.0.0.1:{inside.port}/latest/meta-data"
    receiver.manners["/"] = says(status, f"Location: {there}")
    answer = post(local(receiver.port), receiver.url())
    assert (answer.failure, answer.status) == ("redirected", status)
    assert inside.visits == 0


def test_no_proxy_of_the_environment_is_asked(
    receiver: Receiver, inside: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{inside.port}")
    assert post(local(receiver.port), receiver.url()).failure is None
    assert inside.visits == 0


def test_what_an_operator_opens_is_a_network_with_its_ports(receiver: Receiver) -> None:
    assert post(local(receiver.port), receiver.url()).failure is None
    for wall in (
        "",
        f"public:{receiver.port}",
        f"127.0.0.0/8:{receiver.port % 65535 + 1}",
        f"10.0.0.0/8:{receiver.port}",
        f"127.0.0.2/32:{receiver.port}",
    ):
        answer = post(Outward(Wall.of(wall), CONTEXT), receiver.url())
        assert answer.failure == "address_refused", wall
    assert len(receiver.got) == 1


# --- Nobody outside ------------------------------------------------------------------------

PROMPT: dict[str, Any] = {"total_seconds": 0.6, "connect_seconds": 0.4}


def test_what_is_sent_arrives_byte_by_byte(receiver: Receiver) -> None:
    body = '{"名前":"架空 🏫\u2028"}'.encode()
    way = local(receiver.port)
    assert way.post(receiver.url("/a/b?c=d"), {"webhook-id": "evt_7"}, body).status == 204
    (got,) = receiver.got
    assert (got.path, got.body, got.id) == ("/a/b?c=d", body, "evt_7")
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"


ANSWERED: tuple[tuple[Manner, str | None], ...] = (
    (says(200, body=b"thanks"), None),
    (says(299), None),
    (answers(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"), None),
    (
        answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        None,
    ),
    (answers(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n"), None),
    (says(199), "answer_refused"),
    (says(304), "redirected"),
    (says(400), "answer_refused"),
    (says(410), "gone"),
    (says(500), "answer_refused"),
    (drops, "cut_off"),
    (cuts, "cut_off"),
    (answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok"), "cut_off"),
    (answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), "cut_off"),
    (answers(b"SSH-2.0-OpenSSH_9.2\r\n"), "cut_off"),
    (answers(b"\0" * 100), "cut_off"),
    (answers(b"HTTP/1.1 two OK\r\n\r\n"), "cut_off"),
    (answers(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), None),
    (answers(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000 + b"\r\n"), "cut_off"),
    (answers(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 50_000 + b"\r\n\r\n"), "head_too_large"),
    (answers(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000), "head_too_large"),
)


@pytest.mark.parametrize(
    ("manner", "failure"), ANSWERED, ids=[str(number) for number in range(len(ANSWERED))]
)
def test_an_answer_counts_when_it_is_whole_and_says_so(
    receiver: Receiver, manner: Manner, failure: str | None
) -> None:
    receiver.manners["/"] = manner
    assert post(local(receiver.port), receiver.url()).failure == failure


def test_so_much_of_an_answer_is_read_and_no_more(receiver: Receiver) -> None:
    sent = 0

    def pours(line: socket.socket, _got: object, _before: int) -> None:
        nonlocal sent
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000000\r\n\r\n")
        for _ in range(2000):
            line.sendall(b"z" * 1_000_000)
            sent += 1_000_000

    receiver.manners["/"] = pours
    answer = post(local(receiver.port), receiver.url())
    assert (answer.failure, answer.status) == (None, 200)
    assert answer.seconds < 1
    time.sleep(0.1)
    assert sent < 20_000_000


@pytest.mark.parametrize("manner", ["hangs", "drips"])
def test_an_answer_that_does_not_come_is_not_waited_for(receiver: Receiver, manner: str) -> None:
    receiver.manners["/"] = getattr(receiver, manner)
    answer = post(local(receiver.port, **PROMPT), receiver.url())
    assert answer.failure == "timeout"
    assert 0.5 < answer.seconds < 1


def test_a_body_that_does_not_end_is_not_waited_for(receiver: Receiver) -> None:
    def drips(line: socket.socket, _got: object, _before: int) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        while not receiver.over.wait(0.05):
            line.sendall(b"x")

    receiver.manners["/"] = drips
    answer = post(local(receiver.port, **PROMPT), receiver.url())
    assert answer.failure == "timeout"
    assert answer.seconds < 1


def test_a_resolver_or_a_server_that_is_silent_is_not_waited_for(receiver: Receiver) -> None:
    def slow(host: str, port: int) -> list[Place]:
        receiver.over.wait(5)
        return looked_up(host, port)

    answer = post(local(receiver.port, resolve=slow, **PROMPT), receiver.url())
    assert (answer.failure, answer.seconds < 0.6) == ("resolver_away", True)

    def silent(sock: socket.socket, _place: tuple[Any, ...]) -> None:
        time.sleep(sock.gettimeout() or 60)
        raise TimeoutError

    answer = post(local(receiver.port, dial=silent, **PROMPT), receiver.url())
    assert (answer.failure, answer.seconds < 0.6) == ("connect_timeout", True)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (socket.gaierror(socket.EAI_NONAME, "?"), "host_unknown"),
        (socket.gaierror(socket.EAI_AGAIN, "?"), "resolver_away"),
        (socket.gaierror(socket.EAI_FAIL, "?"), "resolver_away"),
        (UnicodeError("label too long"), "host_unknown"),
    ],
)
def test_whose_fault_a_name_is(error: Exception, failure: str) -> None:
    def resolve(_host: str, _port: int) -> list[Place]:
        raise error

    way = Outward(Wall(), CONTEXT, resolve=resolve)
    assert post(way, "https://some.example/").failure == failure


@pytest.mark.parametrize(
    ("numbers", "failure"),
    [
        ([errno.ENETUNREACH], "network_away"),
        ([errno.ENETUNREACH, errno.ECONNREFUSED], "connect_failed"),
        ([errno.EMFILE], "network_away"),
        ([errno.ECONNREFUSED], "connect_failed"),
        ([errno.EHOSTUNREACH], "connect_failed"),
    ],
)
def test_whose_fault_a_connection_is(numbers: list[int], failure: str) -> None:
    errors = iter([OSError(number, os.strerror(number)) for number in numbers])

    def dial(_sock: socket.socket, _place: tuple[Any, ...]) -> None:
        raise next(errors)

    liar = Liar([PUBLIC] * len(numbers), [])
    way = Outward(Wall(), CONTEXT, resolve=liar.resolve, dial=dial)
    assert post(way, "https://some.example/").failure == failure


def test_an_address_that_does_not_answer_leaves_time_for_the_next(receiver: Receiver) -> None:
    dialled: list[str] = []

    def dial(sock: socket.socket, place: tuple[Any, ...]) -> None:
        dialled.append(place[0])
        if place[0] == "127.0.0.9":
            time.sleep(sock.gettimeout() or 60)
            raise TimeoutError
        sock.connect(place)

    liar = Liar(["127.0.0.9", "127.0.0.1"], [])
    way = local(receiver.port, resolve=liar.resolve, dial=dial, **PROMPT)
    assert post(way, receiver.url(host="fine.example")).failure is None
    assert dialled == ["127.0.0.9", "127.0.0.1"]


# --- TLS -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For receiver.example, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("receiver.example")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "receiver.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@dataclass
class Secure:
    """A receiver with TLS in front of it; the names that were asked for."""

    way: Outward
    url: str
    receiver: Receiver
    names: list[str | None]


@pytest.fixture
def secure(receiver: Receiver, certificate: Path) -> Secure:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    names: list[str | None] = []
    server.sni_callback = lambda _sock, name, _context: names.append(name)
    plain = receiver.serve

    def serve(line: socket.socket) -> None:
        with server.wrap_socket(line, server_side=True) as wrapped:
            plain(wrapped)

    receiver.serve = serve  # type: ignore[method-assign]
    trusting = outward.tls_context()
    trusting.load_verify_locations(certificate)
    liar = Liar(["127.0.0.1"], ["127.0.0.1"])
    way = local(receiver.port, resolve=liar.resolve, context=trusting, **PROMPT)
    return Secure(way, f"https://receiver.example:{receiver.port}/", receiver, names)


def test_the_name_of_the_url_is_asked_for_and_looked_for(secure: Secure) -> None:
    assert post(secure.way, secure.url).status == 204
    assert secure.names == ["receiver.example"]
    assert secure.receiver.got[0].headers["host"].startswith("receiver.example:")
    other = secure.url.replace("receiver.", "another.")
    assert post(secure.way, other).failure == "tls_failed"
    assert post(replace(secure.way, context=CONTEXT), secure.url).failure == ("tls_failed")
    assert len(secure.receiver.got) == 1


@pytest.mark.parametrize("manner", ["hangs", "drips"])
def test_time_and_size_are_limited_under_tls_too(secure: Secure, manner: str) -> None:
    secure.receiver.manners["/"] = getattr(secure.receiver, manner)
    answer = post(secure.way, secure.url)
    assert answer.failure == "timeout"
    assert answer.seconds < 1
    secure.receiver.manners["/"] = says(200, body=b"z" * 1_000_000)
    assert post(secure.way, secure.url).failure is None
    secure.receiver.manners["/"] = says(200, f"X: {'y' * 50_000}")
    assert post(secure.way, secure.url).failure == "head_too_large"


def test_a_server_that_shakes_no_hands_is_not_waited_for(receiver: Receiver) -> None:
    receiver.mute = True
    url = f"https://127.0.0.1:{receiver.port}/"
    answer = post(local(receiver.port, **PROMPT), url)
    assert (answer.failure, answer.seconds < 0.6) == ("connect_timeout", True)


# --- What is kept --------------------------------------------------------------------------


def test_the_pause_that_a_receiver_asks_for_is_understood(receiver: Receiver) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    for said, wanted in (("120", 120), (soon, 89), ("soon", None), ("-5", None), ("", None)):
        receiver.manners["/"] = says(503, f"Retry-After: {said}")
        found = post(local(receiver.port), receiver.url()).retry_after
        assert found == pytest.approx(wanted, abs=2) if wanted else found is None, said


def test_the_beginning_of_an_answer_is_kept_without_what_it_should_not_say(
    receiver: Receiver,
) -> None:
    body = "受付済\0\x1b[31m " + "ok " * 2000
    receiver.manners["/"] = says(500, body=body.encode())
    kept = post(local(receiver.port), receiver.url()).response
    assert kept is not None
    assert kept.startswith("受付済  [31m ok ok")
    assert len(kept.encode()) <= 1024 + 2


@pytest.mark.parametrize(
    "told",
    [
        "rh_live_abcdefghijkl_secretsecret_00000000",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "Authorization: Bearer abc.def",
        'password="tanuki"',
        "taro.yamada@school.example.jp",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9eyJzdWIi",
        "090-1234-5678",
        "2026040112345",
    ],
)
def test_nothing_of_that_kind_is_kept(told: str) -> None:
    kept = scrubbed(f"error: {told} was here".encode())
    secret = told.rpartition(" ")[2].rpartition("=")[2].strip('"')
    assert secret not in kept
    assert kept.startswith("error: ")
    assert kept.endswith("was here")
