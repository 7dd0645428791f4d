"""What the feed must tell, read from the tables; who is told; and what is wrong with it.

One checker judges every consumer, the naive one with a serial number included: what it was told
against what was written, each event by itself.
"""

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, LiteralString, NamedTuple, TypeAlias

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier, Literal

from schemas.moments import SERVED
from tests.acceptance.conftest import Client, Json
from tests.acceptance.consumer import FEED, Copy, Sums, cursor_in

Event: TypeAlias = tuple[int, str, str, str]
"""Version, entity, sourcedId and what was done to it."""

FILES = tuple(entity.file for entity in SERVED)
AS_OF = "X-RosterHub-Data-As-Of"


class Verdict(NamedTuple):
    """How many events were lost, how many came twice, how many were never written."""

    lost: int
    doubled: int
    invented: int


RIGHT = Verdict(0, 0, 0)


def judged(told: Iterable[object], written: Collection[object]) -> Verdict:
    """The checker."""
    counted, expected = Counter(told), Counter(written)
    return Verdict(
        lost=(expected - counted).total(),
        doubled=sum(n - 1 for n in counted.values()),
        invented=len(counted.keys() - expected.keys()),
    )


def written(db: psycopg.Connection[TupleRow], tenant_id: int) -> list[Event]:
    """All that happened in a district, from its rows and their before-images."""
    return [
        row
        for entity in SERVED
        for row in db.execute(
            SQL(WRITTEN).format(
                live=Identifier(entity.table),
                history=Identifier(f"{entity.table}_history"),
                file=Literal(entity.file),
                tenant=Literal(tenant_id),
            )
        ).fetchall()
    ]


WRITTEN: LiteralString = """
    with state as (
        select version, sourced_id, status from {live} where tenant_id = {tenant}
        union all
        select version, sourced_id, status from {history} where tenant_id = {tenant}
    )
    select version, {file}, sourced_id, case
        when state.status <> 'active' then 'deleted'
        when before.status = 'active' then 'updated'
        else 'created'
    end
    from state left join (
        select sourced_id, until_version as version, status from {history}
        where tenant_id = {tenant}
    ) as before using (version, sourced_id)
    where state.status = 'active' or before.status = 'active'
"""


@dataclass(frozen=True)
class Pace:
    """How a poller goes about it."""

    name: str
    limit: int
    wait: int = 0
    pause: float = 0.0


@dataclass
class Poller:
    """Follows the feed of a district, and keeps both a copy and what it was told."""

    client: Client
    pace: Pace
    copy: Copy = field(default_factory=lambda: Copy(":memory:"))
    told: list[Event] = field(default_factory=list)
    cursor: str = "beginning"
    since: int | None = None
    polls: int = 0
    last: int | None = None
    """The version at which it may end, once that is known."""

    def from_now(self) -> None:
        """Begin with what comes from now on, on top of a full read of the version that now is."""
        answer = self.client.ask("GET", FEED, params={"cursor": "now"})
        assert answer.ok, answer.text
        self.cursor = cursor_in(answer.json()["next"])
        self.since = int(answer.headers[AS_OF].partition("version=")[2].partition(",")[0])
        if self.since:
            for (entity, _), body in full(self.client, asOf=self.since).items():
                self.copy.put(entity, body)

    def follow(self, over: threading.Event) -> None:
        """Until it has been told of the last version; or until it is over with everything."""
        while not over.is_set() and (self.last is None or self.version < self.last):
            events = self._poll()
            over.wait(self.pace.pause if events < self.pace.limit else 0.0)

    def _poll(self) -> int:
        asked = {"cursor": self.cursor, "limit": self.pace.limit, "wait": self.pace.wait}
        page = self.client.get(FEED, params=asked)
        with self.copy.db:
            self.copy.apply(page["items"])
        self.told += [
            (each["version"], each["entity"], each["sourcedId"], each["action"])
            for each in page["items"]
        ]
        if self.since is None and self.copy.markers:
            # Up to the first marker the roster as it was, told as records that came.
            self.since = self.copy.markers[0][0]
        self.cursor = cursor_in(page["next"])
        self.polls += 1
        return len(page["items"])

    @property
    def version(self) -> int:
        """The last one that was complete."""
        row = self.copy.db.execute("select max(version) from markers").fetchone()
        return int(row[0] or self.since or 0)

    def events(self) -> list[Event]:
        """What was told of the versions after the first one that was complete."""
        return [each for each in self.told if each[1] is not None and each[0] > (self.since or 0)]

    def faults(self) -> list[str]:
        """What is wrong with the order, and with what the copy added up to."""
        versions = [each[0] for each in self.told]
        wrong = [f"{b} after {a}" for a, b in pairwise(versions) if b < a]
        return [*wrong, *unproven(self.copy), *gaps(self.copy, self.last)]


def unproven(copy: Copy) -> list[str]:
    """The versions at which the copy did not add up to what was told."""
    return [f"version {v}: {mine}, not {told}" for v, told, mine in copy.markers if told != mine]


def gaps(copy: Copy, last: int | None) -> list[str]:
    """Whether every version was told once, in order, up to the last."""
    told = [version for version, *_ in copy.markers]
    expected = [*range(told[0], (last or told[-1]) + 1)] if told else [last]
    return [] if told == expected else [f"versions {told}, not {expected}"]


def full(client: Client, **query: Any) -> dict[tuple[str, str], Json]:  # noqa: ANN401  # goes to collection
    """What a full read shows, deleted records left out."""
    return {
        (file, body["sourcedId"]): body
        for file in FILES
        for body in client.collection(file, **query)
        if body["status"] == "active"
    }


def unlike_hub(copy: Copy, client: Client) -> list[str]:
    """How a copy differs from what the hub shows now. Children are computed, and make no event."""
    mine, hubs = map(plain, (copy.records, full(client)))
    wrong = [f"{name}: not as in the hub" for name in mine if mine[name] != hubs.get(name)]
    wrong += [f"{name}: missing" for name in hubs.keys() - mine.keys()]
    sums = checksums(client)
    if copy.sums(sums) != sums:
        wrong.append("checksums")
    return wrong


def plain(records: dict[tuple[str, str], Json]) -> dict[tuple[str, str], Json]:
    return {
        name: {key: value for key, value in body.items() if key != "children"}
        for name, body in records.items()
    }


def checksums(client: Client, version: int | None = None) -> Sums:
    """What the hub says that a copy must add up to."""
    asked = {} if version is None else {"version": version}
    return {
        item["entity"]: {"records": item["records"], "digest": item["digest"]}
        for item in client.get("/api/v1/checksums", params=asked)["items"]
        if item["school"] is None
    }


def caught_up(client: Client, patience: float) -> int:
    """The newest version, once the feed is prepared up to it."""
    newest = int(client.get("/api/v1/versions", params={"limit": 1})["items"][0]["version"])
    until = time.monotonic() + patience
    while client.get("/api/v1/checksums")["version"] < newest:
        assert time.monotonic() < until, f"version {newest} is not prepared"
        time.sleep(0.05)
    return newest
