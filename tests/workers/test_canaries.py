"""A pupil with a value of their own in every personal column, wherever a hub keeps one, is erased.

Afterwards every table is searched as the superuser sees it, every object of the store unpacked,
every key of Redis read, and the log. A store that an erasure leaves out is found by the same
search. A worker that dies in the middle has changed nothing, and who comes after it does the rest.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import obstore
import polars as pl
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from pydantic import SecretStr
from redis import Redis as RedisClient
from structlog.testing import capture_logs

from deploy.feed_lines import FeedLines
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis
from pipeline.database import connect
from pipeline.deltas import prepare
from pipeline.erasing import files, job, stores
from pipeline.packages import Packages
from schemas.columns import Choice, Day, Flag, Key, Pairs, Refs, Text, Texts, Whole
from schemas.erasure import OWNERS, SEEN_BY, personal
from schemas.roster import AnyEntity
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from tests.databases import renamed
from tests.pipeline.conftest import TOWN, Package
from tests.workers.conftest import ROOT, Hub
from workers.exports import Exporter
from workers.imports import Importer
from workers.objects import open_store
from workers.observers import all_of, to_log, to_stream

PUPIL = "taro"
RECORDS = {"users": "taro", "userProfiles": "p-taro", "demographics": "taro", "enrollments": "e1"}
RECORDS |= {"roles": "r-taro"}


# --- Canaries ------------------------------------------------------------------------------


def cells(entity: AnyEntity, generation: int) -> dict[str, str]:
    """A value of its own for every column that is wiped, and for one that no standard knows."""
    found = {"metadata.canary": f"canary{generation}unknown{entity.file}"}
    for column in (c for c in entity.columns if c.personal and c not in SEEN_BY):
        value = f"canary{generation}{column.name.replace('_', '')}"
        match column:
            case Flag():
                found[column.csv] = "true"
            case Day():
                found[column.csv] = f"193{generation}-07-13"
            case Whole():
                found[column.csv] = f"97531{generation}"
            case Choice():
                found[column.csv] = f"ext:{value}"
            case Pairs():
                found[column.csv] = f"{{Koumu:{value}}}"
            case Refs():
                found[column.csv] = "mother"
            case Text() | Texts():
                found[column.csv] = value
            case _:
                raise NotImplementedError(column)
    return found


def with_canaries(package: Package, generation: int) -> Package:
    for entity in OWNERS:
        package = package.change(entity.file, RECORDS[entity.file], cells(entity, generation))
    return package


GENERATIONS = range(1, 6)
"""As imported, as updated, in a rejected package, in one that waits, in a sample."""
NEEDLES = tuple(
    value.encode()
    for generation in GENERATIONS
    for entity in OWNERS
    for csv, value in cells(entity, generation).items()
    if value not in ("true", "mother")
    for value in (value.removeprefix("ext:"),)
)


def found_in(texts: Iterator[tuple[str, bytes]]) -> set[str]:
    """The places in which a canary stands, as it is or in hexadecimal digits."""
    needles = (*NEEDLES, *(needle.hex().encode() for needle in NEEDLES))
    return {place for place, text in texts if any(needle in text for needle in needles)}


# --- Where it is looked for ----------------------------------------------------------------


def rows_of(admin: psycopg.Connection[Any]) -> Iterator[tuple[str, bytes]]:
    """Every row of every table there is, whatever a column holds."""
    tables = admin.execute(
        "select schemaname, tablename from pg_tables"
        " where schemaname not in ('pg_catalog', 'information_schema')"
    ).fetchall()
    for schema, table in tables:
        for (text,) in admin.execute(
            SQL("select t::text from {} as t").format(Identifier(schema, table))
        ):
            yield table, text.encode()


def objects_of(hub: Hub) -> Iterator[tuple[str, bytes]]:
    """Every object, unpacked."""
    for page in obstore.list(hub.store):
        for each in page:
            data = bytes(obstore.get(hub.store, each["path"]).bytes())
            place = each["path"].split("/")[0]
            yield place, data
            if zipfile.is_zipfile(io.BytesIO(data)):
                with zipfile.ZipFile(io.BytesIO(data)) as archive:
                    yield from ((place, archive.read(name)) for name in archive.namelist())


def told_in(redis: RedisClient) -> Iterator[tuple[str, bytes]]:
    """Every key, whatever its type."""
    read: Mapping[str, Callable[[bytes], object]] = {
        "stream": redis.xrange,
        "string": redis.get,
        "hash": redis.hgetall,
        "set": redis.smembers,
        "list": lambda key: redis.lrange(key, 0, -1),
        "zset": lambda key: redis.zrange(key, 0, -1),
    }
    for key in redis.scan_iter():
        kind = redis.type(key)
        assert isinstance(kind, bytes)
        yield "redis", key + repr(read[kind.decode()](key)).encode()


def lines_about(hub: Hub) -> int:
    """How many known lines stand for the pupil's records: their digests tell who guesses them."""
    keys = [each["path"] for page in obstore.list(hub.store, prefix="lines") for each in page]
    shelves = [
        pl.read_ipc(io.BytesIO(bytes(obstore.get(hub.store, key).bytes())))
        for key in keys
        if key.endswith(".sourced_id")
    ]
    return sum(s.filter(pl.col("sourced_id").is_in([*RECORDS.values()])).height for s in shelves)


# --- A district full of them ---------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A hub, its Redis, and the district of the pupil."""

    hub: Hub
    redis: RedisClient
    tenant_id: int

    def importer(self) -> Importer:
        settings = self.hub.settings
        assert settings.redis_url is not None
        emit = all_of(to_stream(settings.redis_url.get_secret_value()), to_log)
        return Importer(settings, self.hub.store, emit, "test", threading.Event())

    def exporter(self) -> Exporter:
        own = self.importer()
        return Exporter(own.settings, own.store, own.emit, own.worker, own.stopping)

    def push(self, body: bytes, state: str, **run: object) -> UUID:
        run_id = self.hub.push(self.tenant_id, body)
        if run:
            self.hub.change(run_id, **run)
        assert self.importer().attempt(self.tenant_id)
        assert self.hub.run(run_id)["state"] == state, self.hub.admin.execute(
            "select rule, file, line, \"column\", value from findings where severity = 'error'"
        ).fetchall()
        return run_id

    def ask(self, *users: str) -> UUID:
        run_id = uuid4()
        admin = self.hub.admin
        admin.execute(
            "insert into runs (tenant_id, id, kind, created_by) values (%s, %s, 'erasure', 'test')",
            [self.tenant_id, run_id],
        )
        admin.execute(
            "insert into erasures (tenant_id, run_id, cause, users, keep_out)"
            " values (%s, %s, 'request', %s, true)",
            [self.tenant_id, run_id, [*users]],
        )
        return run_id

    def places(self) -> set[str]:
        """Where a canary is."""
        found = found_in(rows_of(self.hub.admin)) | found_in(objects_of(self.hub))
        if lines_about(self.hub):
            found.add("lines")
        return found | found_in(told_in(self.redis))

    def rest(self) -> dict[str, str]:
        """What must be as it was when an attempt has died: the database, but for what it counts."""
        moving = {"runs", "erasures", "uploads", "known_lines", "exports"}
        moving |= {"feed_followers", "feed_packages"}
        digest = SQL(
            "select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {} t"
        )
        tables = self.hub.admin.execute(
            "select schemaname, tablename from pg_tables where schemaname like 'rosterhub%'"
        ).fetchall()
        return {
            table: self.hub.one(digest.format(Identifier(schema, table)).as_string(self.hub.admin))[
                0
            ]
            for schema, table in tables
            if table not in moving
        }


SORT_KEYS = """
    create table if not exists sort_keys (tenant_id integer, value text, key bytea);
    grant select, delete on sort_keys to rosterhub_app;
"""


def settled(site: Site) -> None:
    """Canaries in the roster and its history, findings, a waiting change set, samples, files."""
    bare = TOWN.bare()
    site.push(with_canaries(bare, 1).zip(), "applied")
    site.push(with_canaries(bare, 2).zip(), "applied")
    faulty = with_canaries(bare, 3).change("users", PUPIL, {"enabledUser": "canary3flag"})
    words = cells(next(iter(OWNERS)), 2)
    nobodys = f'"","{words["givenName"]}","{words["familyName"]}"\r\n'
    site.push(faulty.zip(users=(faulty.text("users") + nobodys).encode()), "rejected")
    site.push(with_canaries(bare, 4).zip(), "review", apply="review")
    sample = with_canaries(bare, 5).text("users")
    site.hub.admin.execute(
        "insert into mapping_previews (tenant_id, id, entity, mapping, sample) values"
        " (%(t)s, gen_random_uuid(), 'users', '{}', %(s)s)",
        {"t": site.tenant_id, "s": sample.encode()},
    )
    site.hub.admin.execute(
        "insert into mapping_previews (tenant_id, id, entity, mapping, state, answer) values"
        " (%s, gen_random_uuid(), 'users', '{}', 'done', %s)",
        [site.tenant_id, Jsonb({"rows": sample})],
    )
    site.hub.admin.execute(SORT_KEYS)
    site.hub.admin.execute(
        "insert into sort_keys (tenant_id, value, key) values (%s, %s, '')",
        [site.tenant_id, NEEDLES[0].decode()],
    )
    site.hub.export(site.tenant_id)
    site.exporter().attempt(site.tenant_id)
    follow(site)


def follow(site: Site) -> None:
    """Somebody has followed the feed, and somebody CSV packages, since the first version."""
    settings, tenant_id = site.hub.settings, site.tenant_id
    for profile in ("", "1.2.1"):
        site.hub.admin.execute(
            "insert into feed_followers (tenant_id, lens, demographics, profile, since, version)"
            " values (%s, '', true, %s, 1, 1)",
            [tenant_id, profile],
        )
    vault = Vault(plain(settings.secret_key))
    made = Packages(site.hub.store, FeedLines(""))
    with connect(plain(settings.database_url)) as db:
        assert prepare(db, vault, tenant_id)
        while made.step(db, vault, tenant_id):
            pass


@pytest.fixture(scope="module")
def polluted(
    postgres: Postgres, template: str, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A district in which the pupil is everywhere. Tests work on copies of it."""
    name = f"canaries_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        copy_database(admin, template, name)
    folder = tmp_path_factory.mktemp("canaries")
    with site_in(renamed(postgres.url, name), redis.url, folder) as site:
        settled(site)
    yield site
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def copy_database(admin: psycopg.Connection[Any], source: str, name: str) -> None:
    admin.execute(
        SQL("create database {} template {}").format(Identifier(name), Identifier(source))
    )
    admin.execute(SQL("grant temporary on database {} to rosterhub_app").format(Identifier(name)))


@contextmanager
def site_in(url: str, redis_url: str, folder: Path, tenant_id: int = 0) -> Iterator[Site]:
    settings = Settings(
        database_url=SecretStr(url),
        redis_url=SecretStr(redis_url),
        object_store=str(folder / "objects"),
        secret_key=SecretStr("a secret of the tests that is long enough to be one"),
        lease=60.0,
    )
    with psycopg.connect(url, autocommit=True) as admin, RedisClient.from_url(redis_url) as redis:
        admin.execute("set search_path = rosterhub")
        hub = Hub(settings, admin, open_store(settings.object_store))
        yield Site(hub, redis, tenant_id or unguarded(hub))


def unguarded(hub: Hub) -> int:
    """A district without a guard, for a town of five is changed by half; any value is fine."""
    tenant_id = hub.district()
    policy = {"guard": {"on": False}, "reading": {"profile": "1.2.1"}}
    hub.admin.execute("update districts set policy = %s", [Jsonb(policy)])
    return tenant_id


@pytest.fixture
def site(polluted: Site, postgres: Postgres, tmp_path: Path) -> Iterator[Site]:
    """A copy of the district that a test may change."""
    settings = polluted.hub.settings
    assert settings.database_url is not None
    assert settings.redis_url is not None
    source = settings.database_url.get_secret_value().rpartition("/")[2]
    name = f"canaries_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        copy_database(admin, source, name)
        shutil.copytree(settings.object_store, tmp_path / "objects")
        redis_url, tenant_id = settings.redis_url.get_secret_value(), polluted.tenant_id
        with site_in(renamed(postgres.url, name), redis_url, tmp_path, tenant_id) as copied:
            yield copied
        admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


# --- The search ----------------------------------------------------------------------------

ROSTER = {
    *(e.table for e in OWNERS),
    *(f"{e.table}_history" for e in OWNERS),
}


def test_nothing_is_left_anywhere(site: Site) -> None:
    kept = {place for place in site.places() if place.startswith("kept_")}
    assert {place.rpartition("kept_")[2].partition("_")[2] for place in kept} == {
        entity.table for entity in OWNERS
    }
    others = {"findings", "mapping_previews", "sort_keys", "uploads", "lines", "exports"}
    others |= {"packages"}
    assert site.places() - kept == ROSTER | others, "the canaries are where they are looked for"
    run_id = site.ask(PUPIL)
    with capture_logs() as log:
        assert site.importer().attempt(site.tenant_id)
    assert site.hub.run(run_id)["state"] == "applied"
    assert site.places() == set()
    assert found_in(iter([("log", repr(log).encode())])) == set()
    (receipt,) = site.hub.one("select receipt from erasures")
    assert {store for store, rows in receipt["rows"].items() if rows} >= ROSTER | {
        *("findings", "changes", "previews", "sort_keys")
    }
    assert [receipt["files"][name] for name in ("uploads", "exports", "packages")] == [4, 1, 2]


def test_what_no_canary_can_stand_in_is_empty_too(site: Site) -> None:
    site.ask(PUPIL)
    assert site.importer().attempt(site.tenant_id)
    for entity in OWNERS:
        for table in (entity.table, f"{entity.table}_history"):
            for column in personal(entity):
                assert not isinstance(column, Key)
                query = SQL("select {} from {} where {} = %s").format(
                    Identifier(column.name), Identifier(table), Identifier(OWNERS[entity])
                )
                values = site.hub.admin.execute(query, [PUPIL]).fetchall()
                assert {value for (value,) in values} == {None}, (table, column.name)


LEFT_OUT: tuple[tuple[str, str, object], ...] = (
    *(("STORES", store.name, store) for store in stores.STORES),
    *(("FILES", wipe.__name__.removeprefix("wipe_"), wipe) for wipe in files.FILES),
    *(("OWNERS", entity.table, entity) for entity in OWNERS),
)


@pytest.mark.parametrize(
    ("name", "store", "left"), LEFT_OUT, ids=[store for _, store, _ in LEFT_OUT]
)
def test_a_store_that_is_left_out_is_found(
    site: Site, monkeypatch: pytest.MonkeyPatch, name: str, store: str, left: object
) -> None:
    kept: object = tuple(each for each in getattr(job, name) if each is not left)
    monkeypatch.setattr(job, name, kept)
    site.ask(PUPIL)
    assert site.importer().attempt(site.tenant_id)
    found = {"changes": "kept_", "previews": "mapping_previews"}.get(store, store)
    assert any(place.startswith(found) for place in site.places())


# --- Workers that die ----------------------------------------------------------------------

DYING = """
import os, signal, sys, threading
from pipeline import publish
from pipeline.erasing import files
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from workers.exports import Exporter
from workers.imports import Importer
from workers.objects import open_store

number, settings = int(sys.argv[2]), Settings.from_env()
seen = 0

def count(*given):
    global seen
    seen += 1
    if seen > number:
        os.kill(os.getpid(), signal.SIGKILL)

def removing(store, key, remove=files.remove):
    was_there = remove(store, key)
    count()
    return was_there

def showing(*given, show=publish.show):
    show(*given)
    count()

emit = lambda _: None
match sys.argv[3]:
    case "files":
        files.remove = removing
    case "events":
        emit = count
    case "commit":
        publish.show = showing
worker = Importer(settings, open_store(settings.object_store), emit, "dying", threading.Event())
worker.attempt(int(sys.argv[1]))
"""


def die(site: Site, where: str, number: int) -> None:
    """An attempt in a process that kills itself: after so many files, or events, or at the end."""
    env = {**os.environ, **site.hub.settings.to_env(), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", DYING, str(site.tenant_id), str(number), where],
        env=env,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def test_a_worker_that_dies_has_changed_nothing_and_the_next_one_does_the_rest(site: Site) -> None:
    before = site.rest()
    run_id = site.ask(PUPIL)
    deaths = (("files", 2), ("files", 12), ("events", 6), ("commit", 0))
    for where, number in deaths:
        die(site, where, number)
        assert site.rest() == before, (where, number)
        assert site.hub.one("select receipt from erasures") == (None,)
        site.hub.let_lapse(run_id)
    assert site.importer().attempt(site.tenant_id)
    run = site.hub.run(run_id)
    assert (run["state"], run["attempts"]) == ("applied", len(deaths) + 1)
    assert site.places() == set()
    (receipt,) = site.hub.one("select receipt from erasures")
    assert receipt["files"]["uploads"] == 4, "each is counted once, whoever has deleted it"
