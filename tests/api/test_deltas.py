"""A consumer that applies the feed holds what a full read shows, at every version and lens."""

import random
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import orjson
import psycopg
import pytest
from psycopg.types.json import Jsonb

from deploy.local.postgres import Postgres
from pipeline.database import connect
from pipeline.deltas import prepare
from schemas.moments import SERVED
from schemas.scopes import CLIENT_SCOPES
from schemas.settings import Settings, plain
from schemas.sums import Sum, weight
from tests.api.conftest import Books, Client, District, LearningSystem
from tests.databases import Shelf
from tests.pipeline.conftest import TOWN, Package
from workers.imports import Importer
from workers.objects import open_store

ROOT = "/ims/oneroster/rostering/v1p2"
FEED = "/api/v1/deltas"
FILES = [entity.file for entity in SERVED]
WEST = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}

Copy = dict[tuple[str, str], dict[str, Any]]


@dataclass
class Pusher:
    """Imports, undoes and prepares, as the workers would."""

    hub: Client
    district: District
    settings: Settings
    books: Books
    worker: Importer

    def push(self, package: Package) -> None:
        sent = {"Content-Type": "application/zip"}
        answer = self.hub.post(
            "/api/v1/imports", self.district.key, body=package.zip(), headers=sent
        )
        self._done(answer.headers["Location"])

    def undo(self, version: int) -> None:
        answer = self.hub.post(
            f"/api/v1/versions/{version}/undo",
            self.district.key,
            headers={"Idempotency-Key": uuid4().hex},
        )
        assert answer.status_code == 202, answer.text
        self._done(answer.headers["Location"])

    def erase(self, *people: str) -> None:
        body = {"users": people, "reference": "2026-17"}
        answer = self.hub.post("/api/v1/erasures", self.district.key, json=body)
        assert answer.status_code == 202, answer.text
        self._done(answer.headers["Location"])

    def _done(self, location: str) -> None:
        assert self.worker.attempt(self.district.tenant_id)
        run = self.hub.get(location, self.district.key).json
        if run["state"] == "held":  # it brings back what was undone
            self.hub.post(f"{location}/reject", self.district.key)

    def prepare(self) -> None:
        with connect(plain(self.settings.database_url)) as db:
            assert prepare(db, self.books.vault, self.district.tenant_id)

    @property
    def version(self) -> int:
        ((version,),) = self.books.rows(self.district.tenant_id, "select version from districts")
        return int(version)


@pytest.fixture
def town(hub: Client, north: District, settings: Settings, books: Books) -> Pusher:
    store = open_store(settings.object_store)
    worker = Importer(settings, store, lambda _: None, "test", threading.Event())
    with books.connected("rosterhub_app", north.tenant_id) as db:
        db.execute("""update districts set policy = '{"guard": {"on": false}}'""")
    return Pusher(hub, north, settings, books, worker)


@dataclass
class Consumer:
    """Keeps a copy by the feed alone; what it has not written down is lost when it restarts."""

    hub: Client
    key: str
    chance: random.Random
    copy: Copy = field(default_factory=dict)
    cursor: str = "beginning"
    seen: list[int] = field(default_factory=list)
    lists: list[str] | None = None

    def poll(self, limit: int = 1000, **query: object) -> list[dict[str, Any]]:
        given = urlencode({"cursor": self.cursor, "limit": limit, **query})
        answer = self.hub.get(f"{FEED}?{given}", self.key)
        assert answer.status_code == 200, answer.text
        for event in answer.json["items"]:
            self.apply(event)
        self.cursor = answer.json["next"].partition("cursor=")[2]
        return list(answer.json["items"])

    def apply(self, event: dict[str, Any]) -> None:
        name = (event["entity"], event["sourcedId"])
        match event["action"]:
            case "deleted":
                assert event["object"]["status"] == "tobedeleted"
                self.copy.pop(name, None)
            case "published":
                self.seen.append(event["version"])
                sums = event["object"]["checksums"]
                assert sums == self.sums([*sums]), event["version"]
            case _:
                assert event["object"]["status"] == "active"
                self.copy[name] = event["object"]

    def sums(self, files: list[str]) -> dict[str, dict[str, Any]]:
        found = {file: Sum() for file in files}
        for (file, sourced_id), body in self.copy.items():
            found[file].add(weight(file, sourced_id, body["dateLastModified"]))
        return {f: {"records": s.records, "digest": s.digest} for f, s in found.items()}

    def follow(self) -> None:
        """Poll to the end in pages of any size, and forget some of them before they are kept."""
        while True:
            kept = (dict(self.copy), self.cursor, [*self.seen])
            events = self.poll(self.chance.choice([1, 2, 3, 7, 50]))
            if not events:
                return
            if self.chance.random() < 0.2:
                self.copy, self.cursor, self.seen = kept

    def full(self) -> Copy:
        """What a full read shows, deleted records left out."""
        found: Copy = {}
        for file in FILES:
            answer = self.hub.get(f"{ROOT}/{file}?limit=1000", self.key)
            if answer.status_code == 200:
                for body in answer.json[file]:
                    if body["status"] == "active":
                        found[file, body["sourcedId"]] = body
        return found

    def agrees(self) -> None:
        """Children are computed at read and change nobody's version."""
        assert plainly(self.copy) == plainly(self.full())
        answer = self.hub.get("/api/v1/checksums", self.key).json
        told = {
            (item["entity"], item["school"]): (item["records"], item["digest"])
            for item in answer["items"]
            if item["school"] is not None
        }
        mine = self.by_school()
        assert told == {
            name: mine[name] for name in mine if self.lists is None or name[1] in self.lists
        }

    def by_school(self) -> dict[tuple[str, str], tuple[int, str]]:
        """The sums of each school, from nothing but what came."""
        found: dict[tuple[str, str], Sum] = defaultdict(Sum)
        for (file, sourced_id), body in self.copy.items():
            for school in self.schools(file, body):
                number = weight(file, sourced_id, body["dateLastModified"])
                found[file, school].add(number)
        return {name: (one.records, one.digest) for name, one in found.items()}

    def schools(self, file: str, body: dict[str, Any]) -> set[str]:
        """As docs/en/lenses.md says."""
        match file:
            case "orgs":
                return {body["sourcedId"]}
            case "courses":
                taught = [
                    each["school"]
                    for (other, _), each in self.copy.items()
                    if other == "classes" and each["course"]["sourcedId"] == body["sourcedId"]
                ]
                return {each["sourcedId"] for each in (body.get("org"), *taught) if each}
            case "users":
                orgs = [body.get("primaryOrg"), *(role["org"] for role in body["roles"])]
                return {each["sourcedId"] for each in orgs if each}
            case "demographics":
                return self.schools("users", self.copy["users", body["sourcedId"]])
            case "classes" | "enrollments":
                return {body["school"]["sourcedId"]}
            case _:
                return set()


def plainly(copy: Copy) -> Copy:
    return {name: {n: v for n, v in body.items() if n != "children"} for name, body in copy.items()}


def changed(chance: random.Random, package: Package) -> Package:
    """Another package: something comes, changes or goes, what others refer to included."""
    school = chance.choice(["north", "south"])
    match chance.randrange(9):
        case 0:
            return package.change("users", "taro", {"givenName": chance.choice("一二三四五")})
        case 1:
            return package.change("users", "hana", {"primaryOrgSourcedId": school})
        case 2:
            return package.change("classes", "c3", {"schoolSourcedId": school})
        case 3:
            return package.change("roles", "r-teacher", {"orgSourcedId": school})
        case 4:
            parent = chance.choice(["board", "north"])
            return package.change("orgs", "south", {"parentSourcedId": parent})
        case 5:
            return package.change(
                "courses", "ja", {"orgSourcedId": chance.choice(["board", school])}
            )
        case 6:
            left = {row["sourcedId"] for row in package.rows["enrollments"]}
            gone = chance.choice(["e1", "e2", "e3", "e4"])
            if gone in left:
                return package.drop("enrollments", gone)
            return package.put("enrollments", TOWN.row("enrollments", gone))
        case 7:
            known = {row["sourcedId"] for row in package.rows["orgs"]}
            return package.drop("orgs", "west") if "west" in known else package.put("orgs", WEST)
        case _:
            rows = package.rows["enrollments"]
            if not rows:
                return package.put("enrollments", TOWN.row("enrollments", "e1"))
            one = chance.choice(rows)["sourcedId"]
            return package.change("enrollments", one, {"schoolSourcedId": school})


LENSES: tuple[dict[str, Any], ...] = (
    {},
    {"schools": ["south"]},
    {"schools": ["north"], "fields": ["demographics", "agents"]},
    {"roles": ["student"], "schools": ["north"]},
    {"roles": ["teacher"], "fields": ["demographics"]},
    {"grades": ["P1"], "fields": ["demographics"]},
    {"schools": ["south"], "pseudonyms": ["sourcedIds", "names"], "fields": ["demographics"]},
)


@pytest.fixture
def chance() -> random.Random:
    return random.Random(2)


def test_copies_by_the_feed_equal_full_reads_at_every_version_under_every_lens(
    town: Pusher, hub: Client, books: Books, chance: random.Random
) -> None:
    clients = [books.client(town.district.tenant_id, lens=Jsonb(lens)) for lens in LENSES]
    keys = [town.district.key, *(client.token(hub, *CLIENT_SCOPES) for client in clients)]
    lists = [None, *(lens.get("schools") for lens in LENSES)]
    consumers = [
        Consumer(hub, key, random.Random(chance.random()), lists=schools)
        for key, schools in zip(keys, lists, strict=True)
    ]
    base = TOWN.put("orgs", WEST).change("users", "teacher", {"primaryOrgSourcedId": "west"})
    for package in (
        base,
        base.change("orgs", "south", {"parentSourcedId": "west"}),
        base.change("classes", "c3", {"schoolSourcedId": "north"}),
        base,
    ):
        town.push(package)
        town.prepare()
        for consumer in consumers:
            consumer.follow()
            consumer.agrees()
    packages = [base]
    for _ in range(8):
        for _ in range(chance.choice([1, 1, 2])):
            before = town.version
            if chance.random() < 0.2 and len(packages) > 1:
                town.undo(before)
                packages = packages[-2:-1]  # an undo is not undone here
            else:
                package = changed(chance, packages[-1])
                town.push(package)
                packages += [package] if town.version > before else []
        town.prepare()
        for consumer in consumers:
            if chance.random() < 0.7:
                consumer.follow()
                consumer.agrees()
    town.push(base.change("classes", "c1", {"title": "一年一組"}))
    town.prepare()
    for consumer in consumers[::2]:
        consumer.follow()
    town.erase("taro")  # who is behind is told nothing of him any more, and that he went
    town.prepare()
    assert any(("users", "taro") in consumer.copy for consumer in consumers)
    for consumer in consumers:
        consumer.follow()
        consumer.agrees()
        assert ("users", "taro") not in consumer.copy
        assert consumer.seen == [*range(consumer.seen[0], town.version + 1)]
    flips = books.rows(town.district.tenant_id, "select action from feed_flips")
    assert {action for (action,) in flips} == {"created", "updated", "deleted"}


def edit(hub: Client, town: Pusher, client: LearningSystem, **lens: object) -> None:
    path = f"/api/v1/clients/{client.id}/lens"
    answer = hub.ask("PUT", path, town.district.key, json=lens)
    assert answer.status_code == 200, answer.text


def test_after_an_edit_of_the_lens_the_feed_leads_to_what_is_seen_now(
    town: Pusher, hub: Client, books: Books, chance: random.Random
) -> None:
    client = books.client(town.district.tenant_id)
    consumer = Consumer(hub, client.token(hub, *CLIENT_SCOPES), chance)
    town.push(TOWN)
    town.prepare()
    consumer.follow()
    package = TOWN
    for lens in ({"schools": ["south"]}, {"roles": ["student"]}, {"schools": ["north"]}, {}):
        package = changed(chance, changed(chance, package))
        town.push(package)
        town.prepare()
        consumer.poll(2)  # in the middle of a version
        edit(hub, town, client, **lens)
        consumer.lists = lens.get("schools")
        package = package.change("users", "taro", {"givenName": f"太郎{len(lens)}{lens}"[:9]})
        town.push(package)
        town.prepare()
        consumer.follow()
        consumer.agrees()
    edit(hub, town, client, fields=["email"])
    town.prepare()
    refused(hub, consumer.key, consumer.cursor, "lens_changed")


def refused(hub: Client, key: str, cursor: str, reason: str) -> None:
    answer = hub.get(f"{FEED}?cursor={cursor}", key)
    assert (answer.status_code, answer.json["code"]) == (410, "start_again"), answer.text
    assert answer.json["reason"] == reason
    assert answer.json["start_again"].endswith(f"{FEED}?cursor=beginning")


def test_a_cursor_that_cannot_be_continued_says_why_and_where_to_start_again(
    town: Pusher, hub: Client, books: Books, south: District
) -> None:
    tenant_id, key = town.district.tenant_id, town.district.key
    client = books.client(tenant_id)
    town.push(TOWN)
    town.prepare()
    mine = Consumer(hub, key, random.Random(0))
    mine.poll(2)
    theirs = Consumer(hub, client.token(hub, *CLIENT_SCOPES), random.Random(0))
    theirs.poll(2)
    for cursor in (theirs.cursor, mine.cursor[:-2] + "AA", "e30", "x", ""):
        assert hub.get(f"{FEED}?cursor={cursor}", key).json["code"] == "bad_cursor"
    assert hub.get(f"{FEED}?cursor={mine.cursor}", south.key).json["code"] == "bad_cursor"

    town.push(TOWN.change("users", "taro", {"givenName": "一"}))
    with psycopg.connect(books.url, autocommit=True) as db:
        db.execute("update rosterhub.versions set published_at = published_at - interval '31 days'")
        refused(hub, key, mine.cursor, "expired")
        db.execute("update rosterhub.versions set published_at = published_at + interval '31 days'")
        mine.poll(2)
        db.execute("update rosterhub.districts set feed_epoch = gen_random_uuid()")
    refused(hub, key, mine.cursor, "restored")


def test_after_a_restore_consumers_are_told_to_begin_again(  # noqa: PLR0917 -- fixtures
    town: Pusher,
    hub: Client,
    books: Books,
    open_hub: Callable[..., Client],
    postgres: Postgres,
    shelf: Shelf,
) -> None:
    town.push(TOWN)
    town.prepare()
    mine = Consumer(hub, town.district.key, random.Random(0))
    mine.poll(2)
    dump, load = (postgres._program(name) for name in ("pg_dump", "psql"))  # noqa: SLF001
    saved = subprocess.run([dump, books.url], check=True, capture_output=True).stdout
    with shelf.lent() as url:
        with psycopg.connect(url, autocommit=True) as db:
            db.execute("drop schema rosterhub, rosterhub_staging cascade")
        subprocess.run([load, "--quiet", url], check=True, input=saved, capture_output=True)
        with open_hub(url) as restored:
            refused(restored, town.district.key, mine.cursor, "restored")
            assert restored.get(f"{FEED}?cursor=beginning", town.district.key).status_code == 200


def test_parents_come_first_and_go_last_and_each_version_ends_with_its_marker(
    town: Pusher, hub: Client
) -> None:
    town.prepare()
    key = town.district.key
    now = hub.get(f"{FEED}?cursor=now", key)
    assert now.json["items"] == []
    assert now.headers["X-RosterHub-Data-As-Of"] == "version=0"
    town.push(TOWN.put("orgs", {**WEST, "parentSourcedId": "north"}))
    town.prepare()
    first = hub.get(now.json["next"].replace(FEED, f"{FEED}.ndjson"), key)
    assert first.headers["Content-Type"] == "application/x-ndjson"
    assert first.headers["X-RosterHub-Data-As-Of"].startswith('version=1, instant="20')
    events = [orjson.loads(line) for line in first.content.splitlines()]
    assert [event["sourcedId"] for event in events[:4]] == ["board", "north", "south", "west"]
    order = [FILES.index(event["entity"]) for event in events[:-1]]
    assert order == sorted(order)
    assert events[-1]["action"] == "published"
    beginning = hub.get(f"{FEED}?cursor=beginning", key)
    assert beginning.json["items"] == events, "whoever begins later misses nothing"

    without = TOWN.drop("enrollments", "e2").drop("classes", "c3")
    town.push(without)
    town.prepare()
    following = first.headers["Link"].partition("<")[2].partition(">")[0].partition(FEED)[2]
    asked = FEED + following.removeprefix(".ndjson")
    went = hub.get(asked, key).json["items"]
    assert [(event["action"], event["sourcedId"]) for event in went] == [
        ("deleted", "e2"),
        ("deleted", "c3"),
        ("deleted", "west"),
        ("published", None),
    ]
    some = hub.get(f"{asked}&entity=classes", key).json["items"]
    assert [event["sourcedId"] for event in some] == ["c3", None]


def test_who_waits_is_told_of_a_new_version_and_holds_no_connection(
    town: Pusher, hub: Client
) -> None:
    town.push(TOWN)
    town.prepare()
    key = town.district.key
    now = hub.get(f"{FEED}?cursor=now", key).json["next"]
    began = time.monotonic()
    assert hub.get(f"{now}&wait=1", key).json["items"] == []
    assert 0.9 < time.monotonic() - began < 3

    town.push(TOWN.change("users", "taro", {"givenName": "一"}))
    later = threading.Timer(1.0, town.prepare)
    later.start()
    began = time.monotonic()
    # The pool of the app has three connections.
    answers = hub.ask_together([f"{now}&wait=20"] * 30, key)
    later.join()
    assert time.monotonic() - began < 15
    for answer in answers:
        assert [event["sourcedId"] for event in answer.json["items"]] == ["taro", None]
    assert hub.get(f"{now}&wait=x", key).status_code == 400


def test_checksums_are_kept_for_every_school_and_version(
    town: Pusher, hub: Client, books: Books
) -> None:
    town.push(TOWN)
    town.push(TOWN.change("classes", "c3", {"schoolSourcedId": "north"}))
    town.prepare()
    town.push(TOWN)
    town.prepare()
    answer = hub.get("/api/v1/checksums?entity=users", town.district.key).json
    assert answer["version"] == 3
    assert {item["school"]: item["records"] for item in answer["items"]} == {
        None: 5,  # the teacher of both schools counts once
        "north": 5,
        "south": 1,
    }
    courses = hub.get("/api/v1/checksums?entity=courses&version=2", town.district.key).json
    assert {item["school"]: item["records"] for item in courses["items"]} == {
        None: 2,
        "board": 1,
        "north": 2,
    }
    other = hub.get("/api/v1/checksums?entity=courses&version=3", town.district.key).json
    assert {item["school"]: item["records"] for item in other["items"]} == {
        None: 2,
        "board": 1,
        "north": 1,
        "south": 1,
    }
    assert hub.get("/api/v1/checksums?version=4", town.district.key).status_code == 404
    # What was added up version by version is what is summed at once.
    with books.connected("rosterhub_app", town.district.tenant_id) as db:
        (kept,) = db.execute("select sums from feed_sums where version = 3").fetchone() or ({},)
        db.execute("delete from feed_sums")
    town.prepare()
    assert books.rows(town.district.tenant_id, "select sums from feed_sums") == [(kept,)]
