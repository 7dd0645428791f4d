"""A client of the hub's HTTP interface: what the commands say, and what they understand.

Every answer that is not a success is raised as a `Failure` with the hub's own words in it. The key
goes into a header and nowhere else: not into a URL, not into a message.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, TypeAlias
from urllib.parse import quote, urljoin, urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from deploy.messages import (
    NOT_ALLOWED,
    NOT_FOUND,
    NOT_SIGNED_IN,
    REFUSED,
    UNREACHABLE,
    Failure,
    Problem,
)

Json: TypeAlias = dict[str, Any]

PATIENCE = (5.0, 60.0)  # seconds to connect, and between two bytes of an answer
SILENCE = 20.0  # seconds; a living event stream says something every 15
PIECE = 65_536
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
ADMIN = "rh_admin_"


class Refused(Failure):
    """The hub answered, and the answer is no."""

    def __init__(self, status: int, detail: str, look: str) -> None:
        self.status = status
        super().__init__(refusal(status), status=status, detail=detail, look=look)


def refusal(status: int) -> Problem:
    """What a status means to the person at the command line."""
    match status:
        case 401:
            return NOT_SIGNED_IN
        case 403:
            return NOT_ALLOWED
        case 404:
            return NOT_FOUND
        case _:
            return REFUSED


class Sent(Protocol):
    """Be told how many bytes are sent, of how many."""

    def __call__(self, done: int, total: int, /) -> None:
        """Some more bytes are sent."""


class Bearer(AuthBase):
    """The key as a header. As `auth`, it keeps requests from looking into ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign the request."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Client:
    """One hub, one key. An administrator's key speaks for the district that is named."""

    def __init__(self, url: str, key: str, district: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.auth = Bearer(key)
        # A proxy of the environment is for the world outside, not for this machine.
        self._session.trust_env = urlsplit(self.url).hostname not in LOOPBACK
        self._is_admin = key.startswith(ADMIN)
        self.speak_for(district)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def speak_for(self, district: str | None) -> None:
        """Name the district that an administrator's key acts in; None: in none."""
        self._session.headers.pop("X-RosterHub-District", None)
        if district and self._is_admin:
            self._session.headers["X-RosterHub-District"] = district

    def get(self, path: str, **query: object) -> Json:
        """Read a resource."""
        return self._json("GET", path, params=query)

    def post(self, path: str, body: Json) -> Json:
        """Create a resource."""
        return self._json("POST", path, json=body)

    def put(self, path: str, body: Json) -> Json:
        """Put a resource in the place of what is there."""
        return self._json("PUT", path, json=body)

    def patch(self, path: str, body: Json) -> Json:
        """Change a part of a resource."""
        return self._json("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """Delete a resource."""
        self._ask("DELETE", path).close()

    def items(self, path: str, limit: int, **query: object) -> Iterator[Json]:
        """The records of a list, page after page of `limit`."""
        page = self.get(path, limit=limit, **query)
        while True:
            yield from page["items"]
            if not page["next"]:
                return
            page = self._json("GET", page["next"])

    def download(self, path: str, into: BinaryIO, /, **query: object) -> None:
        """Read a file of the hub into an open one; raises where it does not come whole."""
        with self._ask("GET", path, params=query, stream=True) as answer:
            try:
                into.writelines(answer.iter_content(PIECE))
            except requests.RequestException as error:
                raise self._unreachable(error) from error

    def resume(self, path: str, into: Path, sha256: str) -> None:
        """Read a file of the hub, from where `into` ends; anew where it is another file by now."""
        done = into.stat().st_size if into.exists() else 0
        asked = {"Range": f"bytes={done}-", "If-Range": f'"{sha256}"'} if done else {}
        with self._ask("GET", path, headers=asked, stream=True) as answer:
            goes_on = answer.status_code == requests.codes.partial_content
            try:
                with into.open("ab" if goes_on else "wb") as out:
                    out.writelines(answer.iter_content(PIECE))
            except requests.RequestException as error:
                raise self._unreachable(error) from error

    def upload(self, file: Path, query: Mapping[str, str], once: str, sent: Sent) -> Json:
        """Stream a package or a CSV to the hub; the answer is its run.

        `once` is the idempotency key: sending again after a broken line starts no second run.
        """
        with file.open("rb") as opened:
            return self._json(
                "POST",
                "/api/v1/imports",
                params=query,
                data=Told(opened, file.stat().st_size, sent),
                headers={
                    "Content-Type": "text/csv" if "entity" in query else "application/zip",
                    "X-Filename": quote(file.name),
                    "Idempotency-Key": once,
                },
            )

    @contextmanager
    def stream(self, path: str, last_id: str | None) -> Iterator[Iterator[bytes]]:
        """The bytes of an event stream, as they arrive."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id:
            headers["Last-Event-ID"] = last_id
        with self._ask(
            "GET", path, headers=headers, stream=True, timeout=(PATIENCE[0], SILENCE)
        ) as answer:
            yield self._arriving(answer)

    def _arriving(self, answer: requests.Response) -> Iterator[bytes]:
        try:
            while piece := answer.raw.read1(PIECE):
                yield piece
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from error

    def _json(self, method: str, path: str, **how: Any) -> Json:  # noqa: ANN401 -- goes to requests
        answer = self._ask(method, path, **how)
        try:
            body: Json = answer.json()
        except requests.JSONDecodeError as error:
            raise Failure(UNREACHABLE, url=self.url, reason="not a RosterHub") from error
        return body

    def _ask(self, method: str, path: str, **how: Any) -> requests.Response:  # noqa: ANN401 -- same
        try:
            answer = self._session.request(
                method,
                urljoin(f"{self.url}/", path),
                allow_redirects=False,  # a redirected upload would become a GET
                **{"timeout": PATIENCE, **how},
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self._unreachable(error) from error
        if answer.status_code >= requests.codes.multiple_choices:
            with answer:
                raise Refused(answer.status_code, reason_of(answer), look_at(path))
        return answer

    def _unreachable(self, error: Exception) -> Failure:
        return Failure(UNREACHABLE, url=self.url, reason=type(error).__name__)


class Told:
    """A file that tells how much of it was read; requests sends it piece by piece."""

    def __init__(self, file: BinaryIO, size: int, sent: Sent) -> None:
        self._file, self._size, self._sent = file, size, sent
        self._done = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def read(self, size: int = -1) -> bytes:
        """Hand on the next piece; urllib3 asks for small ones, a disk prefers large ones."""
        piece = self._file.read(max(size, PIECE) if size > 0 else -1)
        self._done += len(piece)
        self._sent(self._done, self._size)
        return piece


def reason_of(answer: requests.Response) -> str:
    """The hub's own words about a refusal (problem+json)."""
    try:
        problem = answer.json()
        return f"{problem['detail']} ({problem['code']})"
    except (requests.JSONDecodeError, TypeError, KeyError):
        return answer.reason or "?"


def look_at(path: str) -> str:
    """The command whose `list` shows what exists there."""
    groups = {
        "clients": "rosterhub clients",
        "origins": "rosterhub clients",
        "keys": "rosterhub keys",
        "admin-keys": "rosterhub keys",
        "policy": "rosterhub policy",
        "districts": "rosterhub districts",
        "mappings": "rosterhub mappings",
        "versions": "rosterhub versions",
        "exports": "rosterhub exports",
        "downloads": "rosterhub exports",
        "schedules": "rosterhub schedules",
        "audit": "rosterhub audit",
        "webhooks": "rosterhub webhooks",
    }
    return next((group for name, group in groups.items() if f"/{name}" in path), "rosterhub runs")
