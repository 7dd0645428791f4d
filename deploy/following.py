"""Follow a run until it is settled: its event stream if there is one, else by asking.

A stream that breaks is opened again with `Last-Event-ID`, so that nothing is missed. Where none can
be held open (some filters collect a whole answer before they pass it on), the run is polled.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, assert_never

from pydantic import TypeAdapter, ValidationError

from deploy.client import Client, Json
from deploy.messages import DENIED, UNREACHABLE, Failure
from schemas import exports
from schemas.events import (
    EVENT,
    Event,
    ExportAdvanced,
    ExportEnded,
    FileAdvanced,
    RunEnded,
    RunStarted,
    StageStarted,
)
from schemas.runs import ENDED, State

WAITING: tuple[State, ...] = ("review", "held")
"""Not ended, but it is a person's turn."""

PAUSE = 1.0  # seconds between two connections
POLL = 2.0  # seconds between two questions
QUIET = 15.0  # seconds without an event and without a stream, before asking takes over
ABSENCE = 60.0  # seconds that a hub may be away, for example to restart


SNAPSHOT = TypeAdapter(Json)
"""The whole run, which begins every stream."""


class Said(NamedTuple):
    """One event of a stream, as it came."""

    name: str
    data: str
    id: str | None


def follow(
    client: Client,
    run_id: str,
    *,
    root: str = "/api/v1/imports",
    polling: Callable[[], None] = lambda: None,
) -> Iterator[Json]:
    """The run after each thing that happens to it; the last one is how it stands in the end."""
    path = f"{root}/{run_id}"
    run = client.get(path)
    yield run
    for heard in listened(client, path, run):
        run = heard
        yield run
    if not settled(run):
        polling()
    while not settled(run):
        time.sleep(POLL)
        run = patiently(client, path)
        yield run
    yield patiently(client, path)  # with counts and findings, which events may leave out


def listened(client: Client, path: str, run: Json) -> Iterator[Json]:
    """The run after each event, until it is settled or streams turn out not to work here."""
    last_id: str | None = None
    heard = time.monotonic()
    while not settled(run) and time.monotonic() - heard < QUIET:
        spoke = False
        try:
            with client.stream(f"{path}/events", last_id) as arriving:
                for said in parse(arriving):
                    spoke, last_id = True, said.id or last_id
                    run = after(run, said)
                    yield run
                    if settled(run):
                        return
        except Failure as failure:
            if failure.problem.exit == DENIED:
                raise
        if spoke:
            heard = time.monotonic()
        time.sleep(PAUSE)


def patiently(client: Client, path: str) -> Json:
    """The run, from a hub that may be restarting."""
    until = time.monotonic() + ABSENCE
    while True:
        try:
            return client.get(path)
        except Failure as failure:
            if failure.problem is not UNREACHABLE or time.monotonic() > until:
                raise
        time.sleep(POLL)


def parse(pieces: Iterable[bytes]) -> Iterator[Said]:
    """Server-sent events; comments keep a line open and say nothing."""
    name, data, last_id = "message", list[str](), None
    for line in lines(pieces):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "" if not line:
                if data:
                    yield Said(name, "\n".join(data), last_id)
                name, data = "message", []
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id":
                last_id = value
            case _:
                pass  # a comment, or a field of the future


def lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The complete lines of a stream of bytes; what a broken line began is dropped."""
    rest = b""
    for piece in pieces:
        *complete, rest = (rest + piece).split(b"\n")
        yield from (line.rstrip(b"\r").decode(errors="replace") for line in complete)


def after(run: Json, said: Said) -> Json:
    """The run as it is after an event."""
    try:
        if said.name == "snapshot":
            return SNAPSHOT.validate_json(said.data)
        return folded(run, EVENT.validate_json(said.data))
    except ValidationError:
        return run  # a newer hub says more than we know


def folded(run: Json, event: Event) -> Json:
    """What an event changes."""
    match event:
        case RunStarted():
            return {**run, "state": "running", "files": {}}
        case StageStarted(stage=stage):
            return {**run, "state": "running", "stage": stage, "files": {}}
        case FileAdvanced(stage=stage, file=file, done=done, total=total):
            files = run["files"] if run["stage"] == stage else {}
            progress = {"done": done, "total": total}
            files = {**files, file: progress}
            return {**run, "state": "running", "stage": stage, "files": files}
        case ExportAdvanced(file=file, done=done, total=total):
            files = {**run["files"], file: {"done": done, "total": total}}
            return {**run, "state": "running", "files": files}
        case RunEnded(state=state, version=version) | ExportEnded(state=state, version=version):
            return {**run, "state": state, "version": version}
    assert_never(event)


def settled(run: Json) -> bool:
    """Whether nothing more happens by itself."""
    return run["state"] in (*ENDED, *WAITING, *exports.ENDED)
