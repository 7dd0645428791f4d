"""A system that keeps a copy by the feed alone, as `docs/en/stay-in-step.md` tells it to.

    python consumer.py FILE ADDRESS [careless]    with the key in FEED_KEY

It knows the documentation and the standard library, nothing of the hub. Copy and cursor lie in one
file of SQLite and are written in one transaction, so the process may be killed whenever it likes.
`careless` is the bug that such consumers have: it keeps the cursor first and the copy afterwards.
Both do the same at the same pace, so that whoever kills them meets both in the middle.

What it does shows on its output: "(" while it writes, ")" when it has, "." if there was nothing.
"""

import hashlib
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlencode, urlsplit

Json: TypeAlias = dict[str, Any]
Sums: TypeAlias = dict[str, Json]

FEED = "/api/v1/deltas"
LIMITS = (7, 40, 1000)
WAIT = 1  # seconds
PAUSE = 0.03  # seconds between two halves of what is written, for a kill to come between
TABLES = """
    pragma synchronous = off;
    create table if not exists records (
        entity text, id text, weight blob, body text, primary key (entity, id)
    ) without rowid;
    create table if not exists markers (version integer, told text, mine text);
    create table if not exists place (one integer primary key check (one = 1), cursor text);
"""


class Copy:
    """The records, the markers that were passed, and where the feed goes on."""

    def __init__(self, path: str) -> None:
        self.db = sqlite3.connect(path, check_same_thread=False)
        self.db.executescript(TABLES)

    @property
    def cursor(self) -> str:
        """Where to go on."""
        row = self.db.execute("select cursor from place").fetchone()
        return "beginning" if row is None else str(row[0])

    def stand(self, cursor: str) -> None:
        self.db.execute("insert or replace into place values (1, ?)", [cursor])

    def apply(self, events: Iterable[Json]) -> None:
        for event in events:
            name = (event["entity"], event["sourcedId"])
            match event["action"]:
                case "published":
                    told = event["object"]["checksums"]
                    self._mark(event["version"], told, self.sums(told))
                case "deleted":
                    self.db.execute("delete from records where entity = ? and id = ?", name)
                case _:
                    self.put(event["entity"], event["object"])

    def put(self, entity: str, body: Json) -> None:
        row = (entity, body["sourcedId"], weight(entity, body), json.dumps(body))
        self.db.execute("insert or replace into records values (?, ?, ?, ?)", row)

    def sums(self, entities: Iterable[str]) -> Sums:
        """How many records there are of each, and their digest."""
        sums: Sums = {}
        for entity in entities:
            found = self.db.execute("select weight from records where entity = ?", [entity])
            weights = [int.from_bytes(weight) for (weight,) in found]
            sums[entity] = {"records": len(weights), "digest": f"{sum(weights) % 2**256:064x}"}
        return sums

    def _mark(self, version: int, told: Sums, mine: Sums) -> None:
        row = (version, json.dumps(told), json.dumps(mine))
        self.db.execute("insert into markers values (?, ?, ?)", row)

    @property
    def markers(self) -> list[tuple[int, Sums, Sums]]:
        """Each version that was complete, what was told of it, and what the copy added up to."""
        rows = self.db.execute("select version, told, mine from markers order by rowid")
        return [(version, json.loads(told), json.loads(mine)) for version, told, mine in rows]

    @property
    def records(self) -> dict[tuple[str, str], Json]:
        """All that is held."""
        rows = self.db.execute("select entity, id, body from records")
        return {(entity, key): json.loads(body) for entity, key, body in rows}


def weight(entity: str, body: Json) -> bytes:
    """The digest of a record."""
    text = f"{entity}\n{body['sourcedId']}\n{body['dateLastModified']}"
    return hashlib.sha256(text.encode()).digest()


def keep(copy: Copy, events: list[Json], cursor: str) -> None:
    """What came, and where it goes on: both or neither."""
    with copy.db:
        copy.stand(cursor)
        time.sleep(PAUSE)
        copy.apply(events)


def keep_carelessly(copy: Copy, events: list[Json], cursor: str) -> None:
    """The same in two transactions: the bug."""
    with copy.db:
        copy.stand(cursor)
    time.sleep(PAUSE)
    with copy.db:
        copy.apply(events)


def cursor_in(following: str) -> str:
    """The cursor of an address to go on with."""
    [cursor] = parse_qs(urlsplit(following).query)["cursor"]
    return cursor


def say(sign: bytes) -> None:
    os.write(sys.stdout.fileno(), sign)


def follow(path: str, address: str, kept: Callable[[Copy, list[Json], str], None]) -> None:
    """Until the end, which is not ours to choose."""
    copy, line = Copy(path), HTTPConnection(urlsplit(address).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {os.environ['FEED_KEY']}"}
    while True:
        asked = {"cursor": copy.cursor, "limit": random.choice(LIMITS), "wait": WAIT}
        line.request("GET", f"{FEED}?{urlencode(asked)}", headers=headers)
        answer = line.getresponse()
        body = answer.read()
        if answer.status != HTTPStatus.OK:
            if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
                time.sleep(0.1)
                continue
            sys.exit(f"{answer.status}: {body.decode()}")
        page = json.loads(body)
        if not page["items"]:
            with copy.db:
                copy.stand(cursor_in(page["next"]))
            say(b".")
            continue
        say(b"(")
        kept(copy, page["items"], cursor_in(page["next"]))
        say(b")")


if __name__ == "__main__":
    follow(sys.argv[1], sys.argv[2], keep_carelessly if "careless" in sys.argv else keep)
