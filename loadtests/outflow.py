"""What leaving costs: an export, a page of the feed, and those who wait for something new.

One district of a million enrollments. The export is compared with a plain COPY of the same rows to
a client that throws them away, in the same run; the page of the feed is read anew each time, for no
two ask for the same number of events; the long polls are held by one gateway process while another
client reads the roster.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import click
import psycopg
import requests
from psycopg.sql import SQL, Identifier

from loadtests.hub import Hub, cmdline, descendants, fresh_database, peak, running, share
from loadtests.reads import GATEWAY, ROOT, Measured
from schemas.roster import BY_FILE

FEED = "/api/v1/deltas"
EXPORTS = "/api/v1/exports"
FILE = "enrollments"
TIMES = 3
PAGES = 40  # pages of the feed that are read anew
PAGE = 1000  # events of the largest
POLLS = 5_000
CONNECTING = 200  # at a time
WAIT = 30  # seconds that each poll asks for
HELD = 20.0  # of them, in which the others read
USERS = f"{ROOT}/users?limit=100"
LOOK = 0.02
SELDOM = 0.25
KIB = 1024.0


def measured(
    folder: Path, server: str, redis: str, first: Path, changed: Path
) -> Iterator[Measured]:
    """Every figure about what leaves, on a fresh database; the second package changes little."""
    with running(folder, fresh_database(server), redis, GATEWAY) as hub:
        key = hub.district("bench")
        out = Outflow(hub, key, hub.client("bench"))
        out.push(first)
        yield from out.exports()
        begin = out.now()
        out.push(changed)
        yield from out.pages(begin)
        yield from asyncio.run(out.polls())


class Outflow:
    """A district, one of its clients, and what is measured with them."""

    def __init__(self, hub: Hub, key: str, client: str) -> None:
        self._hub = hub
        self._key = key
        self._headers = {"Authorization": f"Bearer {client}"}
        self._session = requests.Session()
        self._session.headers.update({**self._headers, "Accept-Encoding": "identity"})

    def push(self, package: Path) -> None:
        """Import a package, and wait until the feed has it."""
        run, _ = self._hub.push(self._key, package)
        if run["state"] != "applied":
            raise RuntimeError(f"{run['state']}: {run['failure']}")
        while f"version={run['version']}" not in self._get(f"{FEED}?cursor=now").headers[AS_OF]:
            time.sleep(1)

    def now(self) -> str:
        """The place behind everything."""
        following: str = self._get(f"{FEED}?cursor=now").json()["next"]
        return following

    # --- Exports ----------------------------------------------------------------------------

    def exports(self) -> Iterator[Measured]:
        """A file of a million rows as a package, and as PostgreSQL alone would copy it."""
        rounds = [(plain_seconds(self._hub.database_url), self._export()) for _ in range(TIMES)]
        plain, seconds = (median(each) for each in zip(*rounds, strict=True))
        yield {
            "name": "export",
            "value": seconds,
            "unit": "s",
            "compared_with": f"COPY … TO STDOUT, {plain:.2f} s",
            "ratio": median(copied / exported for copied, exported in rounds),
        }
        (exporter,) = (p for p in descendants(self._hub.workers.pid) if b"exports" in cmdline(p))
        yield {"name": "export_memory", "value": peak(exporter), "unit": "MiB"}

    def _export(self) -> float:
        """Seconds from the question until there is a package, by the clock of the database.

        Whoever looks 50 times a second takes a fifth of the two cores from what is measured.
        """
        headers = {"Authorization": f"Bearer {self._key}"}
        wanted = {"entities": [FILE]}
        asked = requests.post(f"{self._hub.url}{EXPORTS}", headers=headers, json=wanted, timeout=30)
        asked.raise_for_status()
        run: dict[str, Any] = asked.json()
        while run["state"] in ("queued", "running"):
            time.sleep(SELDOM)
            path = f"{self._hub.url}{EXPORTS}/{run['id']}"
            run = requests.get(path, headers=headers, timeout=30).json()
        if run["state"] != "completed":
            raise RuntimeError(f"{run['state']}: {run['failure']}")
        asked_at, made_at = (
            datetime.fromisoformat(run[f"{w}_at"]) for w in ("created", "finished")
        )
        return (made_at - asked_at).total_seconds()

    # --- The feed ---------------------------------------------------------------------------

    def pages(self, begin: str) -> Iterator[Measured]:
        """What a version of some thousand changes costs who comes first, and who comes later."""
        first = f"{begin}&limit={PAGE}"
        events = len(self._get(first).json()["items"])
        anew = sorted(self._milliseconds(f"{begin}&limit={PAGE - n}") for n in range(1, PAGES + 1))
        kept = sorted(self._milliseconds(first) for _ in range(PAGES))
        yield {"name": "delta_page", "value": p95(anew), "unit": "ms", "compared_with": f"{events}"}
        yield {"name": "delta_page_median", "value": median(anew), "unit": "ms"}
        yield {"name": "delta_page_kept", "value": p95(kept), "unit": "ms"}

    # --- Those who wait ---------------------------------------------------------------------

    async def polls(self) -> list[Measured]:
        """What reads take while one process holds so many who wait, and how these end."""
        (gateway,) = descendants(self._hub.gateway.pid)
        target = f"{self.now()}&wait={WAIT}"
        before = share(gateway)
        polls: list[asyncio.Task[bool]] = []
        for begin in range(0, POLLS, CONNECTING):
            some = [asyncio.create_task(self._poll(target)) for _ in range(CONNECTING)]
            polls += some
            await asyncio.sleep(LOOK * 10)
            click.echo(f"  {begin + CONNECTING} wait", nl=begin + CONNECTING == POLLS)
        reads = await asyncio.to_thread(self._reads)
        held, memory = sum(not each.done() for each in polls), share(gateway) - before
        ended = [await each for each in polls]
        return [
            {"name": "polls_held", "value": held, "unit": "", "compared_with": f"of {POLLS}"},
            {"name": "polls_ended_well", "value": sum(ended), "unit": ""},
            {"name": "polls_reads", "value": p95(reads), "unit": "ms"},
            {"name": "polls_reads_median", "value": median(reads), "unit": "ms"},
            {"name": "polls_memory", "value": memory * KIB / POLLS, "unit": "KiB each"},
        ]

    async def _poll(self, target: str) -> bool:
        """Whether a poll was answered, with nothing new, when its time was over."""
        where, began = urlsplit(self._hub.url), time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection(where.hostname, where.port)
            writer.write(request(target, self._headers))
            head = await reader.readuntil(b"\r\n\r\n")
            writer.close()
        except (OSError, EOFError):
            return False
        return head.split(b" ", 2)[1] == b"200" and time.perf_counter() - began > WAIT - 1

    def _reads(self) -> list[float]:
        """Milliseconds of reads, one after the other, none of which is kept."""
        end, found = time.perf_counter() + HELD, list[float]()
        while time.perf_counter() < end:
            found.append(self._milliseconds(f"{USERS}&offset={7 * len(found)}"))
            time.sleep(LOOK)
        return sorted(found)

    def _milliseconds(self, path: str) -> float:
        began = time.perf_counter()
        self._get(path)
        return (time.perf_counter() - began) * 1000

    def _get(self, path: str) -> requests.Response:
        answer = self._session.get(f"{self._hub.url}{path}", timeout=60)
        while answer.status_code == requests.codes.too_many_requests:
            time.sleep(1)  # the feed is being prepared
            answer = self._session.get(f"{self._hub.url}{path}", timeout=60)
        answer.raise_for_status()
        return answer


AS_OF = "X-RosterHub-Data-As-Of"


def request(target: str, headers: Mapping[str, str]) -> bytes:
    """A request as it goes over the wire."""
    told = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "bench", **headers}.items())
    return f"GET {target} HTTP/1.1\r\n{told}\r\n".encode()


def p95(times: list[float]) -> float:
    """Of sorted times."""
    return times[len(times) * 95 // 100]


def plain_seconds(database_url: str) -> float:
    """Seconds of a COPY of the stored columns of the same rows, thrown away as they come."""
    entity = BY_FILE[FILE]
    columns = SQL(", ").join(Identifier(column.name) for column in entity.stored())
    with psycopg.connect(database_url) as db:
        began = time.perf_counter()
        with db.cursor().copy(
            SQL("copy {} ({}) to stdout (format csv)").format(
                Identifier("rosterhub", entity.table), columns
            )
        ) as rows:
            for _ in rows:
                pass
        return time.perf_counter() - began
