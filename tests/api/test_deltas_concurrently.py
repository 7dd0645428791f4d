"""Nothing is lost while others write; one checker judges, and finds what a naive cursor loses."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterable

import psycopg

from pipeline.database import connect
from pipeline.deltas import prepare
from schemas.moments import SERVED
from schemas.settings import Settings, plain
from tests.api.conftest import Books, Client, District
from tests.pipeline.conftest import TOWN
from workers.imports import Importer
from workers.objects import open_store

IMPORTS = 8


def judged(told: Iterable[object], written: Iterable[object]) -> tuple[int, int]:
    """How many were lost, and how many doubled."""
    counted = Counter(told)
    return sum(each not in counted for each in written), sum(n - 1 for n in counted.values())


def test_the_feed_loses_and_doubles_nothing_while_imports_run(
    hub: Client, north: District, settings: Settings, books: Books
) -> None:
    url = plain(settings.database_url)
    with connect(url) as db:
        assert prepare(db, books.vault, north.tenant_id)
    cursor = hub.get("/api/v1/deltas?cursor=now", north.key).json["next"]
    sent = {"Content-Type": "application/zip"}
    for number in range(IMPORTS):
        package = TOWN.change("users", "taro", {"givenName": f"太郎{number}"})
        package = package.change("classes", "c1", {"title": f"{number}組"})
        answer = hub.post("/api/v1/imports", north.key, body=package.zip(), headers=sent)
        assert answer.status_code == 202
    over = threading.Event()

    def imports() -> None:
        store = open_store(settings.object_store)
        worker = Importer(settings, store, lambda _: None, "test", threading.Event())
        while not over.is_set():
            if not worker.attempt(north.tenant_id):
                time.sleep(0.02)

    def prepares() -> None:
        with connect(url) as db:
            while not over.is_set():
                prepare(db, books.vault, north.tenant_id)
                time.sleep(0.05)

    threads = [threading.Thread(target=work) for work in (imports, imports, prepares, prepares)]
    for thread in threads:
        thread.start()
    events: list[tuple[int, str | None, str | None]] = []
    until = time.monotonic() + 60
    try:
        while (IMPORTS, None, None) not in events and time.monotonic() < until:
            page = hub.get(f"{cursor}&limit=3&wait=1", north.key).json
            events += [(e["version"], e["entity"], e["sourcedId"]) for e in page["items"]]
            cursor = page["next"]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    written: list[tuple[int, str | None, str | None]] = [
        (version, None, None) for version in range(1, IMPORTS + 1)
    ]
    with books.connected("rosterhub_app", north.tenant_id) as db:
        for entity in SERVED:
            for table in (entity.table, f"{entity.table}_history"):
                rows = db.execute(f"select version, sourced_id from {table}".encode())
                written += [(version, entity.file, key) for version, key in rows]
    assert judged(events, written) == (0, 0)
    assert [event[0] for event in events] == sorted(event[0] for event in events)


def test_the_same_checker_finds_what_a_serial_cursor_loses(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute("create table naive (id bigserial primary key, name text)")
        over = threading.Event()
        told: list[object] = []

        def writes(seed: int) -> None:
            chance = random.Random(seed)
            with psycopg.connect(database_url) as db:
                for number in range(20):
                    db.execute("insert into naive (name) values (%s)", [f"{seed}-{number}"])
                    time.sleep(chance.uniform(0, 0.03))
                    db.commit()

        def polls() -> None:
            last = 0
            with psycopg.connect(database_url, autocommit=True) as db:
                while True:
                    ending = over.is_set()
                    rows = db.execute(
                        "select id, name from naive where id > %s order by id", [last]
                    ).fetchall()
                    told.extend(name for _, name in rows)
                    last = rows[-1][0] if rows else last
                    if ending:
                        return

        poller = threading.Thread(target=polls)
        writers = [threading.Thread(target=writes, args=[seed]) for seed in range(4)]
        for thread in (poller, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        over.set()
        poller.join()
        written = [name for (name,) in admin.execute("select name from naive")]
    lost, doubled = judged(told, written)
    assert lost > 0
    assert doubled == 0
