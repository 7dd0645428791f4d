"""Packages made ahead: the same bytes as without them, made once, and whole or not there."""

import io
import os
import random
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
import psycopg
import pytest
from falcon.testing import Result
from prometheus_client.parser import text_string_to_metric_families
from psycopg.errors import LockNotAvailable
from psycopg.types.json import Jsonb

from deploy.feed_lines import FeedLines
from pipeline import deltas, packages
from pipeline.database import Connection, beside, connect, tenant
from pipeline.deltas import View, prepare
from pipeline.exporting import Sink
from pipeline.packages import Packages
from schemas.scopes import CLIENT_SCOPES
from schemas.settings import Settings, plain
from tests.api import test_deltas as feed
from tests.api.conftest import Books, Client, District
from tests.api.test_deltas import FEED, LENSES, Pusher, changed, edit
from tests.pipeline.conftest import TOWN, Package
from workers.exports import Exporter
from workers.imports import Importer
from workers.objects import open_store

BASE = "https://hub.example.org"
PACKAGES = f"{FEED}/packages"
ROOT = Path(__file__).parents[2]
FIRST = {"givenName": "一"}

SOME = (LENSES[0], *LENSES[1:4:2], LENSES[5])

town = feed.town


@dataclass
class Counted(FeedLines):
    """Says how many times events were computed."""

    computed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(BASE)

    def __call__(
        self,
        db: Connection,
        tenant_id: int,
        view: View,
        version: int,
        write: Sink,
        *,
        demographics: bool,
    ) -> int:
        self.computed.append(version)
        return super().__call__(db, tenant_id, view, version, write, demographics=demographics)


@dataclass
class Packer:
    """Prepares as the worker of the feed does."""

    town: Pusher
    made: Packages
    lines: Counted

    @property
    def tenant_id(self) -> int:
        return self.town.district.tenant_id

    def prepare(self) -> None:
        vault = self.town.books.vault
        with connect(plain(self.town.settings.database_url)) as db:
            assert prepare(db, vault, self.tenant_id, self.made.ahead)
            while self.made.step(db, vault, self.tenant_id):
                pass

    def push(self, package: Package) -> None:
        self.town.push(package)
        self.prepare()

    def rows(self, what: str = "count(*)") -> list[Any]:
        with self.town.books.connected("rosterhub_app", self.tenant_id) as db:
            query = f"select {what} from feed_packages group by version, profile order by version"
            return [row[0] for row in db.execute(query.encode()).fetchall()]

    def files(self) -> list[str]:
        pages = obstore.list(self.made.store, prefix="packages")
        return [each["path"] for page in pages for each in page]


@pytest.fixture
def packer(town: Pusher, settings: Settings) -> Packer:
    lines = Counted()
    return Packer(town, Packages(open_store(settings.object_store), lines), lines)


@pytest.fixture
def without(open_hub: Callable[..., Client], database_url: str, tmp_path: Path) -> Iterator[Client]:
    """A gateway that finds none of the files, so that it computes whatever it tells."""
    with open_hub(database_url, object_store=str(tmp_path / "elsewhere")) as hub:
        yield hub


def told(hub: Client, admin: str) -> dict[str, float]:
    """How many answers of the feed were made from what."""
    text = hub.get("/metrics", admin).text
    return {
        sample.labels["source"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "rosterhub_feed_answers_total"
    }


def following(hub: Client, key: str) -> str:
    """A consumer that is there and follows."""
    cursor: str = hub.get(f"{FEED}?cursor=now", key).json["next"]
    cursor = hub.get(cursor, key).json["next"]
    return cursor.partition("cursor=")[2]


def test_answers_from_packages_are_those_that_are_computed_under_every_lens(  # noqa: PLR0917  # two gateways
    packer: Packer,
    hub: Client,
    without: Client,
    books: Books,
    admin: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chance, town = random.Random(7), packer.town
    clients = [books.client(packer.tenant_id, lens=Jsonb(lens)) for lens in SOME]
    keys = [town.district.key, *(client.token(hub, *CLIENT_SCOPES) for client in clients)]
    keys.append(books.key(packer.tenant_id, ("roster.read",)))  # and no demographics
    packer.push(TOWN)
    places = {key: following(hub, key) for key in keys}
    package = TOWN
    for turn in range(6):
        # Of every other version packages are made behind it, as after one that did much.
        monkeypatch.setattr(deltas, "FEW", (turn % 2) * 1000)
        for _ in range(chance.choice([1, 2])):
            before = town.version
            if turn == 4:
                town.undo(before)
            else:
                after = changed(chance, package)
                if turn in (1, 2):  # who sees a class may depend on its school alone
                    school = {"schoolSourcedId": ("south", "north")[turn % 2]}
                    after = after.change("classes", "c3", school)
                town.push(after)
                package = after if town.version > before else package
        if turn == 3:
            edit(hub, town, clients[1], schools=["north"])
        packer.prepare()
        for key, cursor in places.items():
            for path in (
                f"{FEED}.ndjson?limit=1000&cursor={cursor}",
                f"{FEED}?limit=3&cursor={cursor}",
                f"{FEED}?entity=users&cursor={cursor}",
            ):
                ours, computed = hub.get(path, key), without.get(path, key)
                assert ours.status_code == 200, ours.text
                assert ours.content == computed.content
                assert ours.headers.get("Link") == computed.headers.get("Link")
            after_all = hub.get(f"{FEED}?cursor={cursor}&limit=1000", key).json["next"]
            places[key] = after_all.partition("cursor=")[2]
    actions = books.rows(packer.tenant_id, "select distinct action from feed_flips")
    assert {action for (action,) in actions} >= {"created", "deleted"}
    assert told(hub, admin)["package"] > len(keys)
    assert set(told(without, admin)) == {"computed"}


def test_a_thousand_pollers_after_a_version_cost_one_computation(
    packer: Packer, hub: Client, books: Books, admin: str
) -> None:
    packer.push(TOWN)
    clients = [books.client(packer.tenant_id, lens=Jsonb({"schools": ["north"]})) for _ in "ab"]
    packer.prepare()
    keys = [client.token(hub, *CLIENT_SCOPES) for client in clients]
    cursors = [following(hub, key) for key in keys]
    packer.push(TOWN.change("users", "taro", FIRST))
    assert packer.lines.computed == [2]
    answers = [
        answer
        for key, cursor in zip(keys, cursors, strict=True)
        for answer in hub.ask_together([f"{FEED}?cursor={cursor}"] * 500, key)
    ]
    assert len(answers) == 1000
    assert {len(answer.json["items"]) for answer in answers} == {2}
    assert told(hub, admin) == {"package": 1000}
    assert packer.lines.computed == [2]


def test_nobody_gets_a_package_of_what_nobody_asked_for_or_of_nothing(
    packer: Packer, hub: Client, books: Books
) -> None:
    client = books.client(packer.tenant_id, lens=Jsonb({"schools": ["south"]}))
    packer.push(TOWN)
    key = client.token(hub, *CLIENT_SCOPES)
    hub.get(f"{FEED}?cursor=beginning", key)
    packer.push(TOWN.change("users", "taro", FIRST))
    assert packer.rows() == [], "to read everything is not to follow"
    following(hub, key)
    package = TOWN.change("users", "hana", FIRST).change("orgs", "north", {"name": "北"})
    packer.push(package.change("users", "taro", {"givenName": "二"}))
    assert packer.rows() == [], "of what it does not see"
    packer.push(package.change("orgs", "south", {"name": "南"}))
    assert packer.rows("min(since)") == [2]
    with books.connected("rosterhub_control") as db:
        db.execute("update clients set enabled = false")
    packer.push(package.change("orgs", "south", {"name": "西"}))
    assert packer.rows() == []


# --- Files --------------------------------------------------------------------------------------


def fetched(hub: Client, item: dict[str, Any]) -> bytes:
    """The file of an item, in two pieces."""
    path = urlsplit(item["url"]).path
    half = item["bytes"] // 2
    first = hub.get(path, headers={"Range": f"bytes=0-{half - 1}"})
    rest = hub.get(path, headers={"Range": f"bytes={half}-", "If-Range": first.headers["ETag"]})
    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.headers["ETag"].strip('"') == item["sha256"]
    return first.content + rest.content


def listed(hub: Client, key: str, address: str) -> tuple[list[dict[str, Any]], str]:
    """All packages behind an address, page by page, and where to go on."""
    items: list[dict[str, Any]] = []
    while found := hub.get(address, key).json["items"]:
        items += found
        address = hub.get(address, key).json["next"]
    return items, hub.get(address, key).json["next"]


@dataclass
class Mirror:
    """A hub of somebody else, which gets packages and nothing else."""

    hub: Client
    district: District
    books: Books
    worker: Importer

    def take(self, body: bytes) -> None:
        sent = {"Content-Type": "application/zip"}
        answer = self.hub.post("/api/v1/imports", self.district.key, body=body, headers=sent)
        assert self.worker.attempt(self.district.tenant_id)
        run = self.hub.get(answer.headers["Location"], self.district.key).json
        assert run["state"] == "applied", run


def active(hub: Client, key: str, left_out: set[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """What a full read shows, but for what a package does not say."""
    found = {}
    for file in feed.FILES:
        answer = hub.get(f"{feed.ROOT}/{file}?limit=1000&filter=status='active'", key)
        if answer.status_code == 200:
            for body in answer.json[file]:
                found[file, body["sourcedId"]] = stripped(body, left_out)
    return found


def stripped(value: Any, names: set[str]) -> Any:  # noqa: ANN401  # of JSON
    if isinstance(value, dict):
        return {k: stripped(v, names) for k, v in value.items() if k not in names}
    return [stripped(each, names) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("lens", "profile", "left_out"),
    [
        (None, "JP-1.2.1", {"dateLastModified"}),
        ({"schools": ["south"]}, "1.2.1", {"dateLastModified", "metadata"}),
    ],
)
def test_who_applies_csv_packages_in_order_has_what_is_there(  # noqa: PLR0917  # a hub and another
    packer: Packer,
    hub: Client,
    books: Books,
    south: District,
    settings: Settings,
    lens: dict[str, Any] | None,
    profile: str,
    left_out: set[str],
) -> None:
    town, key = packer.town, packer.town.district.key
    if lens is not None:
        key = books.client(packer.tenant_id, lens=Jsonb(lens)).token(hub, *CLIENT_SCOPES)
    with books.connected("rosterhub_app", south.tenant_id) as db:
        db.execute("""update districts set policy = '{"guard": {"on": false}}'""")
    mirror = Mirror(hub, south, books, town.worker)
    packer.push(TOWN)
    begun = hub.get(f"{PACKAGES}?profile={profile}&limit=1", key).json
    assert begun["items"] == []
    export = hub.post("/api/v1/exports", key, json={"profile": profile}).json
    exporter = Exporter(settings, packer.made.store, lambda _: None, "t", town.worker.stopping)
    assert exporter.attempt(packer.tenant_id)
    address = hub.get(export["links"]["download"], key).json["url"]
    mirror.take(hub.get(urlsplit(address).path).content)

    chance, package, address, profiles = random.Random(3), TOWN, begun["next"], set()
    for turn in range(4):
        before = town.version
        if turn == 2:
            town.undo(before)
        after = changed(chance, changed(chance, package))
        town.push(after)
        package = after if town.version > before else package
        if turn % 2 == 0:
            continue
        packer.prepare()
        items, address = listed(hub, key, address)
        for item in items:
            body = fetched(hub, item)
            profiles.add((item["format"], item["profile"]))
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                assert b",bulk" not in archive.read("manifest.csv")
            mirror.take(body)
        assert active(hub, key, left_out) == active(hub, south.key, left_out), turn
    assert profiles == {("csv", profile)}
    assert packer.rows("profile"), "nobody has asked for lines"


def test_lines_are_listed_too_and_a_chain_that_is_broken_says_so(
    packer: Packer, hub: Client, books: Books, south: District
) -> None:
    tenant_id = packer.tenant_id
    client = books.client(tenant_id)
    packer.push(TOWN)
    key = client.token(hub, *CLIENT_SCOPES)
    cursor = following(hub, key)
    for name in "一二三":
        packer.push(TOWN.change("users", "taro", {"givenName": name}))
    items, _ = listed(hub, key, f"{PACKAGES}?cursor={cursor}&limit=2")
    assert [(item["since"], item["version"], item["entries"]) for item in items] == [
        (1, 2, 2),
        (2, 3, 2),
        (3, 4, 2),
    ]
    poll = hub.get(f"{FEED}.ndjson?cursor={cursor}", key)
    assert b"".join(fetched(hub, item) for item in items) == poll.content
    assert hub.get(f"{PACKAGES}?cursor={cursor}", south.key).json["code"] == "bad_cursor"
    assert hub.get(f"{PACKAGES}?cursor=", key).json["code"] == "bad_cursor"
    assert hub.get(f"{PACKAGES}?profile=auto", key).status_code == 400

    with connect(plain(packer.town.settings.database_url)) as db, tenant(db, tenant_id):
        assert packages.recall(db, tenant_id, version=2) == 1, "it goes on from before"
    again(hub.get(f"{PACKAGES}?cursor={cursor}", key), "not_packaged")
    later = hub.get(poll.headers["Link"][1:].partition(">")[0].removeprefix(BASE), key)
    assert later.status_code == 200
    assert hub.get(f"{FEED}.ndjson?cursor={cursor}", key).content == poll.content, "computed"
    gone = hub.get(urlsplit(items[0]["url"]).path)
    assert gone.status_code == 404
    again(hub.get(f"{PACKAGES}?cursor={cursor}&profile=1.2.1", key), "not_packaged")
    kept = urlsplit(items[2]["url"]).path
    assert hub.ask("HEAD", kept).status_code == 200
    edit(hub, packer.town, client, schools=["south"])
    assert hub.ask("HEAD", kept).status_code == 410, "it shows what may be seen no more"
    packer.prepare()
    cursor = later.json["next"].partition("cursor=")[2] if later.json else cursor
    again(hub.get(f"{PACKAGES}?cursor={cursor}", key), "lens_changed")


def again(answer: Result, reason: str) -> None:
    assert (answer.status_code, answer.json["code"]) == (410, "start_again"), answer.text
    assert answer.json["reason"] == reason
    assert answer.json["start_again"].startswith(f"{BASE}{PACKAGES}")


# --- Workers that die, and what goes ------------------------------------------------------------

DYING = """
import os, signal, sys, threading
from pathlib import Path
from deploy.feed_lines import FeedLines
from pipeline import packages
from pipeline.database import connect
from pipeline.deltas import prepare
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from workers.objects import open_store

settings, tenant_id, where = Settings.from_env(), int(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

class Lines(FeedLines):
    def __call__(self, *given, write=None, **more):
        *before, write = given
        def writing(data):
            write(data.ljust(12_000_000) if where == "begun" else data)
            if where == "begun":
                die()
        return super().__call__(*before, writing, **more)

made = packages.Packages(open_store(settings.object_store), Lines(""), die)
with connect(plain(settings.database_url)) as db:
    prepare(db, Vault(plain(settings.secret_key)), tenant_id, made.ahead)
"""


def test_a_worker_that_dies_over_a_package_leaves_nothing_to_be_seen(
    packer: Packer, hub: Client, settings: Settings
) -> None:
    key, town = packer.town.district.key, packer.town
    packer.push(TOWN)
    cursor = following(hub, key)
    town.push(TOWN.change("users", "taro", FIRST))
    # In the middle of a file, and when the file is whole and its row written.
    for where in ("begun", "made"):
        env = {**os.environ, **settings.to_env(), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-P", "-c", DYING, str(packer.tenant_id), where]
        done = subprocess.run(command, env=env, check=False)
        assert done.returncode == -signal.SIGKILL
        assert packer.rows() == []
        assert hub.get(f"{FEED}?cursor={cursor}", key).json["items"] == []
    assert len(packer.files()) == 1
    packer.prepare()
    assert packer.rows() == [1]
    assert len(hub.get(f"{FEED}?cursor={cursor}", key).json["items"]) == 2
    folder = Path(settings.object_store)
    left = [*folder.glob(f"packages/{packer.tenant_id}/*")]
    assert len(left) == 3
    with connect(plain(settings.database_url)) as db:
        assert packages.sweep(db, packer.made.store, packer.tenant_id) == 2
        assert packages.forget(db, packer.tenant_id, 30) == 0
        with psycopg.connect(town.books.url, autocommit=True) as admin:
            admin.execute("update rosterhub.feed_packages set made_at = now() - interval '31 days'")
        assert packages.forget(db, packer.tenant_id, 30) == 1
        packages.sweep(db, packer.made.store, packer.tenant_id)
    assert packer.files() == []


class Watched(Counted):
    """While events are written, somebody wants packages to go."""

    def __call__(self, db: Connection, tenant_id: int, *given: Any, **more: Any) -> int:  # noqa: ANN401  # handed on
        with beside(db, name="test") as other, tenant(other, tenant_id):
            other.execute("set local lock_timeout = '50ms'")
            with pytest.raises(LockNotAvailable):
                packages.recall(other, tenant_id)
        return super().__call__(db, tenant_id, *given, **more)


def test_nothing_is_recalled_while_a_package_is_made(packer: Packer, hub: Client) -> None:
    packer.push(TOWN)
    following(hub, packer.town.district.key)
    lines = Watched()
    made = Packages(packer.made.store, lines)
    Packer(packer.town, made, lines).push(TOWN.change("users", "taro", FIRST))
    assert lines.computed == [2]
    assert packer.rows() == [1]


def test_the_feed_does_not_wait_for_a_store_and_packages_come_later(
    packer: Packer, hub: Client, tmp_path: Path, settings: Settings
) -> None:
    key, vault = packer.town.district.key, packer.town.books.vault
    packer.push(TOWN)
    cursor = following(hub, key)
    packer.town.push(TOWN.change("users", "taro", FIRST))
    away = tmp_path / "store"
    store = open_store(str(away))
    away.rmdir()
    away.write_text("no folder")
    with connect(plain(settings.database_url)) as db:
        made = Packages(store, packer.lines)
        assert prepare(db, vault, packer.tenant_id, made.ahead)
        assert packer.rows() == []
        assert len(hub.get(f"{FEED}?cursor={cursor}", key).json["items"]) == 2
        assert packer.made.step(db, vault, packer.tenant_id)
    assert packer.rows() == [1]
