"""A receiver of webhooks on a real socket, with a manner of its own for every path."""

import socket
import socketserver
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self, TypeAlias

OK = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass(frozen=True)
class Got:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers.get("webhook-id", "")


Manner: TypeAlias = Callable[[socket.socket, Got, int], None]
"""What is done on the line with a request, and how many came before it on this path."""


def answers(data: bytes = OK, *, after: float = 0.0) -> Manner:
    def manner(line: socket.socket, _got: Got, _before: int) -> None:
        time.sleep(after)
        line.sendall(data)

    return manner


def says(status: int, *headers: str, body: bytes = b"") -> Manner:
    head = [f"HTTP/1.1 {status} Because", f"Content-Length: {len(body)}", *headers, "", ""]
    return answers("\r\n".join(head).encode() + body)


def drops(_line: socket.socket, _got: Got, _before: int) -> None:
    """Takes the request and says nothing."""


def cuts(line: socket.socket, _got: Got, _before: int) -> None:
    """Announces more than it says."""
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")


def in_turn(*manners: Manner) -> Manner:
    """One manner after the other, and again."""

    def manner(line: socket.socket, got: Got, before: int) -> None:
        manners[before % len(manners)](line, got, before)

    return manner


def each_in_turn(*manners: Manner) -> Manner:
    """The same for every message by itself: none meets the same manner again and again."""
    turns: defaultdict[tuple[str, str], int] = defaultdict(int)
    lock = threading.Lock()

    def manner(line: socket.socket, got: Got, before: int) -> None:
        with lock:
            turn = turns[got.path, got.id]
            turns[got.path, got.id] += 1
        manners[turn % len(manners)](line, got, before)

    return manner


@dataclass
class Receiver:
    """What has come, path by path."""

    port: int = 0
    manners: dict[str, Manner] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    mute: bool = False
    seen: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Got]:
        with self.lock:
            return [each for each in self.got if each.path == path]

    def hangs(self, _line: socket.socket, _got: Got, _before: int) -> None:
        """Never answers."""
        self.over.wait(60)

    def drips(self, line: socket.socket, _got: Got, _before: int) -> None:
        """An answer that comes byte by byte, and never to its end."""
        line.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.over.wait(0.05):
            line.sendall(b"x")

    def serve(self, line: socket.socket) -> None:
        if self.mute:
            self.over.wait(60)
        with line.makefile("rb") as read:
            _, path, _ = read.readline().decode().split(" ")
            headers: dict[str, str] = {}
            while text := read.readline().decode().strip():
                name, _, value = text.partition(": ")
                headers[name.lower()] = value
            body = read.read(int(headers.get("content-length", 0)))
        if len(body) < int(headers.get("content-length", 0)):
            return  # who was killed says half a request
        got = Got(path, headers, body, time.monotonic())
        with self.lock:
            self.got.append(got)
            before = self.seen[path]
            self.seen[path] += 1
        self.manners.get(path, answers())(line, got, before)


@contextmanager
def receiving(**manners: Manner) -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver(manners={f"/{name}": manner for name, manner in manners.items()})

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError, ValueError):  # or half a head
                receiver.serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 200

    with Server(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        try:
            yield receiver
        finally:
            receiver.over.set()
            server.shutdown()
            serving.join()


@dataclass
class Listener:
    """Somebody inside, at every address of this machine, who must never be reached."""

    port: int = 0
    visits: int = 0
    sockets: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Self:
        first = socket.create_server(("0.0.0.0", 0))
        self.port = first.getsockname()[1]
        self.sockets.append(first)
        with suppress(OSError):
            self.sockets.append(socket.create_server(("::", self.port), family=socket.AF_INET6))
        for each in self.sockets:
            threading.Thread(target=self._listen, args=(each,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self, door: socket.socket) -> None:
        with suppress(OSError):
            while True:
                line, _ = door.accept()
                self.visits += 1
                line.close()
