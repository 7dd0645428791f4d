"""The only way out of the hub: one POST to one URL, to an address that was looked at.

The name is looked up once, every address is judged by the wall (schemas/wall.py), and the
connection goes to one of these very addresses, with the name for TLS; who it is connected to is
looked at again. Nothing is followed and nobody else is asked: no redirect, no proxy, no setting of
the environment. Five seconds to connect and fifteen in all, however slowly an answer drips, and no
more of it than 16 KiB is read.

`requests` is built to do what is forbidden here, so this is the client of the standard library,
with `connect` in our own hands.
"""

import errno
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final, TypeAlias

from schemas.wall import BadTarget, Target, Wall, all_let, target
from schemas.webhooks import Failure

CONNECT = 5.0  # seconds to look up, connect and shake hands
TOTAL = 15.0  # seconds from beginning to end
READ_MAX = 16 * 1024  # bytes of an answer, its head included
KEPT = 1024  # bytes of an answer's body
PIECE = 4096

Place: TypeAlias = tuple[int, tuple[Any, ...]]
"""A family and an address of it, as a socket takes them."""
Resolve: TypeAlias = Callable[[str, int], list[Place]]
Dial: TypeAlias = Callable[[socket.socket, tuple[Any, ...]], None]

# Of our own network, or of this process.
OUR_ERRORS = frozenset(
    {
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EADDRNOTAVAIL,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
    }
)
UNKNOWN_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; no failure means that the receiver has it."""

    seconds: float
    failure: Failure | None = None
    status: int | None = None
    response: str | None = None
    retry_after: float | None = None


class Failed(Exception):
    """An attempt that came to nothing, and why."""

    def __init__(self, failure: Failure) -> None:
        self.failure: Failure = failure
        super().__init__(failure)


class Enough(Exception):
    """So much of an answer is read, and no more."""


# --- The wire ------------------------------------------------------------------------------


class Measured:
    """What a socket of ours knows: how long it has, and how much it may still read."""

    until: float
    left: int

    def wanted(self, bytes_: int) -> int:
        """How much may be read; raises Enough, or TimeoutError when the time is over."""
        if self.left <= 0:
            raise Enough
        self.settimeout(remaining(self.until))
        return min(bytes_, self.left)

    def settimeout(self, seconds: float | None, /) -> None:
        """What every socket has."""
        raise NotImplementedError


class PlainSocket(socket.socket, Measured):
    """A socket on which no answer takes longer than it may."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:  # noqa: ANN401  # bytes
        """Read a piece within what is left of time and size."""
        read = super().recv_into(buffer, self.wanted(nbytes or len(buffer)), flags)
        self.left -= read
        return read

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: ANN401  # same
        """Send within what is left of time."""
        self.settimeout(remaining(self.until))
        super().sendall(data, flags)


class TlsSocket(ssl.SSLSocket, Measured):
    """The same with TLS."""

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:  # noqa: ANN401  # same
        """Read a piece within what is left of time and size."""
        read = super().recv_into(buffer, self.wanted(nbytes or len(buffer)), flags)
        self.left -= read
        return read

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ANN401  # same
        """Send within what is left of time."""
        self.settimeout(remaining(self.until))
        super().sendall(data, flags)


class Line(HTTPConnection):
    """A connection that is made by the way out, not by name."""

    def __init__(self, wanted: Target, join: Callable[[], PlainSocket | TlsSocket]) -> None:
        super().__init__(wanted.host, wanted.port)
        # Port and host go into the header as the URL has them.
        self.default_port = 443 if wanted.tls else 80
        self._join = join

    def connect(self) -> None:
        """Take the socket that is connected already."""
        self.sock = self._join()


# --- The way out ---------------------------------------------------------------------------


def looked_up(host: str, port: int) -> list[Place]:
    """The addresses of a host, as this system knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [(family, place) for family, _, _, _, place in found]


def tls_context() -> ssl.SSLContext:
    """Certificates as the system trusts them (SSL_CERT_FILE names others), from TLS 1.2 on."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = TlsSocket
    return context


@dataclass(frozen=True, slots=True)
class Outward:
    """Posts to the outside. What it resolves and dials with is a test's to replace."""

    wall: Wall
    context: ssl.SSLContext = field(default_factory=tls_context)
    resolve: Resolve = looked_up
    dial: Dial = socket.socket.connect
    connect_seconds: float = CONNECT
    total_seconds: float = TOTAL

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send it; never raises for what the other side does."""
        began = time.monotonic()
        try:
            status, response, retry_after = self._post(url, headers, body, began)
        except Failed as failed:
            return Answer(time.monotonic() - began, failed.failure)
        seconds = time.monotonic() - began
        return Answer(seconds, judged(status), status, response, retry_after)

    def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, began: float
    ) -> tuple[int, str, float | None]:
        try:
            wanted = target(url)
        except BadTarget as error:
            raise Failed("address_refused") from error
        line = Line(wanted, lambda: self._joined(wanted, began))
        try:
            line.request("POST", wanted.path, body, dict(headers))
            answer = line.getresponse()
            return answer.status, scrubbed(beginning(answer)), asked_pause(answer)
        except Enough as error:
            raise Failed("head_too_large") from error
        except TimeoutError as error:
            raise Failed("timeout") from error
        except ssl.SSLError as error:
            raise Failed("tls_failed") from error
        except HTTPException as error:
            raise Failed("cut_off") from error
        except OSError as error:
            raise Failed(our_fault(error) or "cut_off") from error
        finally:
            line.close()

    def _joined(self, wanted: Target, began: float) -> PlainSocket | TlsSocket:
        """A socket that is connected to an address of the target, and has spoken TLS with it."""
        until = began + self.connect_seconds
        sock = self._dialled(wanted, self._places(wanted, until), until)
        try:
            joined: PlainSocket | TlsSocket = sock
            if wanted.tls:
                sock.settimeout(remaining(until))
                joined = self._with_tls(sock, wanted.host)
            joined.until, joined.left = began + self.total_seconds, READ_MAX
            joined.settimeout(remaining(joined.until))
        except BaseException:
            sock.close()
            raise
        return joined

    def _with_tls(self, sock: PlainSocket, host: str) -> TlsSocket:
        try:
            joined = self.context.wrap_socket(sock, server_hostname=host.rstrip("."))
        except TimeoutError as error:
            raise Failed("connect_timeout") from error
        except OSError as error:  # ssl.SSLError is one
            raise Failed("tls_failed") from error
        if not isinstance(joined, TlsSocket):
            raise TypeError(type(joined).__name__)
        return joined

    def _places(self, wanted: Target, until: float) -> list[Place]:
        """The addresses of the host, all of which the wall lets out."""
        places = patiently(self.resolve, wanted, until)
        addresses = [str(place[0]) for _, place in places]
        if not all_let(self.wall, addresses, wanted.port, tls=wanted.tls):
            raise Failed("address_refused")
        return places

    def _dialled(self, wanted: Target, places: list[Place], until: float) -> PlainSocket:
        """A connection to the first address that takes one."""
        failures: list[Failure] = []
        for number, (family, place) in enumerate(places):
            sock = PlainSocket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(remaining(until) / (len(places) - number))
                self.dial(sock, place)
                self._look_again(sock, place, wanted)
            except TimeoutError:
                failures.append("connect_timeout")
                sock.close()
            except OSError as error:
                failures.append(our_fault(error) or "connect_failed")
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        # Ours is only what failed through us at every address.
        raise Failed(next((f for f in failures if f != "network_away"), "network_away"))

    def _look_again(self, sock: PlainSocket, place: tuple[Any, ...], wanted: Target) -> None:
        """Who is at the other end is who was looked at."""
        peer = str(sock.getpeername()[0])
        if peer != place[0] or not self.wall.lets(peer, wanted.port, tls=wanted.tls):
            raise Failed("address_refused")


def remaining(until: float) -> float:
    """Seconds that are left; raises TimeoutError where none are."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def patiently(resolve: Resolve, wanted: Target, until: float) -> list[Place]:
    """What the resolver says, if it says it in time: it cannot be interrupted, only left alone."""
    said: list[list[Place] | OSError] = []

    def ask() -> None:
        try:
            said.append(resolve(wanted.host, wanted.port))
        except OSError as error:
            said.append(error)
        except UnicodeError as error:  # a label that no name can have
            said.append(socket.gaierror(socket.EAI_NONAME, str(error)))

    asking = threading.Thread(target=ask, name="resolve", daemon=True)
    asking.start()
    asking.join(max(until - time.monotonic(), 0.0))
    match said:
        case [list() as places]:
            return places
        case [socket.gaierror() as error] if error.errno in UNKNOWN_HOST:
            raise Failed("host_unknown") from error
        case _:
            raise Failed("resolver_away")


def our_fault(error: OSError) -> Failure | None:
    """What is no fault of the other side."""
    return "network_away" if error.errno in OUR_ERRORS else None


# --- The answer ----------------------------------------------------------------------------


def judged(status: int) -> Failure | None:
    """Whether the receiver has taken it: any 2xx, and nothing else."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status == HTTPStatus.GONE:
        return "gone"
    moved = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
    return "redirected" if moved else "answer_refused"


def beginning(answer: HTTPResponse) -> bytes:
    """The beginning of the body, after reading all of it or as much as may be read.

    An answer that breaks off counts for nothing: somebody between us may have made it up.
    """
    kept = b""
    try:
        while piece := answer.read1(PIECE):
            kept += piece[: KEPT - len(kept)]
    except Enough:
        return kept
    if answer.length:
        raise Failed("cut_off")
    return kept


def asked_pause(answer: HTTPResponse) -> float | None:
    """The seconds of Retry-After, which may also be a date."""
    said = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", said):
        return float(said)
    if not HTTP_DATE.fullmatch(said):
        return None
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:  # the 32nd of a month
        return None
    return max((moment.astimezone(UTC) - datetime.now(UTC)).total_seconds(), 0.0)


HTTP_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}(:[0-9]{2}){2} GMT")


SCRUBBED: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+\S+"), r"\1 ‹…›"),
    (re.compile(r"(?i)\b(token|key|secret|password)([\"']?\s*[=:]\s*)\S+"), r"\1\2‹…›"),
    (re.compile(r"(?i)\b(?:rh_(?:live|admin)|whsec)_\S+"), "‹key›"),
    (re.compile(r"[^\s@<>\"'=:;,]+@[^\s@<>\"',;]+"), "‹mail›"),
    (re.compile(r"[A-Za-z0-9+/_=-]{32,}"), "‹…›"),
    (re.compile(r"\d(?:[ -]?\d){6,}"), "‹number›"),
)
"""What an error page may quote: credentials, mail addresses, long tokens, numbers of people."""


def scrubbed(body: bytes) -> str:
    """The text of a body as it may be kept and shown."""
    text = body.decode(errors="replace")
    text = "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in text)
    for found, instead in SCRUBBED:
        text = found.sub(instead, text)
    return text
