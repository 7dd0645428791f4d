"""A hub with a district of odd values that serves as a process of its own, and what was made there.

Nothing works for it: what it rings for stays where it is, and nothing leaves this machine.
"""

import os
import random
import re
import threading
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlsplit

import orjson
import pytest
import requests

from deploy.local.redis import Redis
from pipeline.database import connect
from pipeline.deltas import prepare
from schemas.exports import Wanted
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from schemas.tickets import Ticket, issue
from tests.api.conftest import Books, District, LearningSystem, Server, secret, serving
from tests.api.rosters.conftest import Tables, changed, made, write
from tests.conftest import settings_on
from tests.databases import Shelf
from tests.pipeline.conftest import TOWN
from workers.imports import Importer
from workers.objects import open_store

Json: TypeAlias = dict[str, Any]
Names: TypeAlias = dict[str, str]
Templates: TypeAlias = Mapping[str, re.Pattern[str]]

SEED = int(os.environ.get("ROSTERHUB_SEED", "1"))
KEPT = 30
"""Things of a kind that are remembered, the newest: what is older may be gone."""

TABLES = {
    "schools": "orgs",
    "terms": "academic_sessions",
    "gradingPeriods": "academic_sessions",
    "academicSessions": "academic_sessions",
    "students": "users",
    "teachers": "users",
}
PLACEHOLDER = re.compile(r"\{(\w+)\}")
ENDING = ("/reject", "/cancel")


def before(path: str) -> str:
    """Where the things are whose last one an address names."""
    return path[: path.rindex("{")].rstrip("/")


@dataclass
class Village:
    """The hub, a district in it with three versions, and what was made there since."""

    server: Server
    district: District
    admin: str
    client: LearningSystem
    tables: Tables
    waiting: str
    """A run that waits for an answer, which nobody gives it."""
    made: dict[str, deque[Names]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT))
    )
    cursors: dict[str, deque[str]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=KEPT))
    )
    tags: dict[str, str] = field(default_factory=dict)
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    def names_for(self, path: str, wanted: list[str]) -> Names:
        """Identifiers for an address: of something that was made, or of a record."""
        if known := self.made.get(before(path)):
            found = self.chance.choice([*known])
            names = {name: found[name] for name in wanted if name in found}
        elif {"schoolSourcedId", "classSourcedId"} <= {*wanted}:
            sourced_id, row = self.chance.choice([*self.tables["classes"].items()])
            names = {"schoolSourcedId": row["school_sourced_id"], "classSourcedId": sourced_id}
        else:
            names = {name: self._record(path, name) for name in wanted}
        if "run_id" in names and self.chance.random() < 0.5 and not path.endswith(ENDING):
            names["run_id"] = self.waiting
        return {name: quote(value, safe="") for name, value in names.items()}

    def _record(self, path: str, name: str) -> str:
        """The identifier of a record, or a word that often fits."""
        if name.endswith("ourcedId"):
            plural = path.split(f"/{{{name}}}", maxsplit=1)[0].rpartition("/")[2]
            return self.chance.choice(sorted(self.tables[TABLES.get(plural, plural)]))
        words = {"version": str(self.chance.randint(1, 3)), "sourced_id": "u-00"}
        words["name"] = "docs.js" if path.startswith("/docs") else "table"
        return words.get(name, "users" if name.startswith("entity") else "x")

    def learn(self, templates: Templates, answer: requests.Response) -> None:
        """Remember what an answer says that it made, or ended, and where its list goes on."""
        path, method = urlsplit(str(answer.request.url)).path, answer.request.method
        said = orjson.loads(answer.content) if is_json(answer) and answer.content else None
        body = said if isinstance(said, dict) else {}
        if "ETag" in answer.headers:
            self.tags[path] = answer.headers["ETag"]
        place = answer.headers.get("Location")
        if method == "POST" and "id" in body:
            place = place or f"{path}/{body['id']}"
        if method == "PUT" and answer.ok:
            place = place or path
        if place is not None:
            self.remember(templates, place)
        if method == "DELETE" and answer.ok:
            self.forget(templates, path)
        following = body.get("next") or answer.links.get("next", {}).get("url")
        if isinstance(following, str):
            self.cursors[path] += parse_qs(urlsplit(following).query).get("cursor", [])

    def remember(self, templates: Templates, place: str) -> None:
        """What is at this address, for every operation on it."""
        for template, names in matching(templates, place):
            self.made[before(template)].append(names)

    def forget(self, templates: Templates, place: str) -> None:
        """It is there no more, nor is what belonged to it."""
        for _, gone in matching(templates, place):
            for known in self.made.values():
                for names in [each for each in known if gone.items() <= each.items()]:
                    known.remove(names)


def matching(templates: Templates, place: str) -> Iterator[tuple[str, Names]]:
    for template, pattern in templates.items():
        if template.endswith("}") and (match := pattern.fullmatch(place)):
            yield template, {name: unquote(value) for name, value in match.groupdict().items()}


def pattern_of(path: str) -> re.Pattern[str]:
    """Matches the addresses that a template stands for."""
    return re.compile(PLACEHOLDER.sub(r"(?P<\1>[^/]+)", path.replace(".", r"\.")))


def is_json(answer: requests.Response) -> bool:
    return answer.headers.get("Content-Type", "").partition(";")[0] == "application/json"


@pytest.fixture(scope="module")
def village(
    shelf: Shelf, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Village]:
    """A hub that counts no requests, or most would be refused for being too many."""
    folder = tmp_path_factory.mktemp("village")
    with shelf.lent() as url:
        asked = settings_on(url, redis.url, folder).model_copy(update={"rate_limit": 10_000_000})
        vault = Vault(secret(asked))
        with Books(plain(asked.database_url), vault) as books, serving(asked, folder) as serve:
            yield settled(books, vault, asked, serve())


def settled(books: Books, vault: Vault, asked: Settings, server: Server) -> Village:
    """A village with something of everything that a worker leaves behind."""
    north = books.district("north")
    versions = [made(1), changed(made(1), 2), changed(changed(made(1), 2), 3)]
    write(books, north.tenant_id, versions)
    with connect(plain(asked.database_url)) as db:
        assert prepare(db, vault, north.tenant_id)
    client = books.client(north.tenant_id)
    found = Village(
        server, north, books.admin_key(), client, versions[-1], reviewed(asked, server, north)
    )
    found.made["/api/v1/imports"].append({"run_id": books.run(north.tenant_id)})
    export = exported(books, north, Path(asked.object_store))
    found.made["/api/v1/exports"].append({"export_id": str(export)})
    ticket = Ticket(north.tenant_id, export, datetime.now(UTC) + timedelta(days=2))
    found.made["/api/v1/downloads"].append({"ticket": issue(vault, ticket)})
    for _ in range(KEPT):
        key = books.admin_key().split("_")[2]
        found.made["/api/v1/admin-keys"].append({"key_id": key})
    for each in server.request("GET", "/api/v1/mappings/templates", north.key).json()["items"]:
        found.made["/api/v1/mappings/templates"].append({"template": each["id"]})
    return found


def reviewed(asked: Settings, server: Server, district: District) -> str:
    """A run that a worker has brought to where somebody has to look at it."""
    kind = {"Content-Type": "application/zip"}
    run = server.request(
        "POST", "/api/v1/imports?apply=review", district.key, data=TOWN.zip(), headers=kind
    )
    assert run.status_code == HTTPStatus.ACCEPTED, run.text
    store = open_store(asked.object_store)
    worker = Importer(asked, store, lambda _: None, "test", threading.Event())
    assert worker.attempt(district.tenant_id)
    state = server.request("GET", run.headers["Location"], district.key).json()["state"]
    assert state in ("review", "held", "proposed"), state
    return str(run.json()["id"])


def exported(books: Books, district: District, store: Path) -> uuid.UUID:
    """An export as a worker would have left it."""
    export, content = uuid.uuid4(), b"PK of a package"
    store.mkdir(parents=True, exist_ok=True)
    (store / "package").write_bytes(content)
    with books.connected("rosterhub_app", district.tenant_id) as db:
        db.execute(
            "insert into exports (tenant_id, id, state, wanted, created_by, finished_at, version,"
            " name, object_key, bytes, sha256)"
            " values (%s, %s, 'completed', %s, 'test', now(), 3, 'RO.zip', 'package', %s,"
            " sha256(%s))",
            [district.tenant_id, export, Wanted().model_dump_json(), len(content), content],
        )
    return export
