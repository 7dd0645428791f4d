"""The second connection has what is staged, all of it and alone, and ends with who opened it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import Mock

import polars as pl
import pytest
from psycopg.errors import QueryCanceled, UndefinedTable
from psycopg.sql import SQL

from pipeline import loads, stage, twin
from pipeline.database import Connection, connect, tenant
from pipeline.digests import digested
from pipeline.stage import gone, names, staged
from schemas.roster import AnyEntity
from schemas.roster.orgs import Org
from schemas.roster.teaching import Course

if TYPE_CHECKING:
    from tests.pipeline.conftest import District, Hub, Package


def rows(entity: AnyEntity, *keys: str) -> pl.DataFrame:
    """Digested rows, their other columns blank."""
    blank = dict.fromkeys(["line", *(name for name in names(entity) if name != "digest")])
    told = [blank | {"line": at, "sourced_id": key} for at, key in enumerate(keys, 2)]
    schema = {"line": pl.Int64, **dict.fromkeys([*blank][1:], pl.String)}
    return digested(pl.DataFrame(told, schema=schema))


@contextmanager
def staging(hub: "Hub", district: "District") -> Iterator[Connection]:
    """A connection at work on a district, with some of it staged."""
    with connect(hub.url) as db, tenant(db, district.tenant_id):
        stage.create(db)
        stage.copy_rows(db, Org, [rows(Org, "north", "南")])
        stage.copy_gone(db, Org, [pl.DataFrame({"sourced_id": ["west"]})])
        stage.copy_gone(db, Course, [pl.DataFrame({"sourced_id": ["art", "music"]})])
        yield db


def told(db: Connection, entity: AnyEntity) -> list[str]:
    """All that is staged of an entity."""
    rows = SQL("select s::text from {} as s union all select g::text from {} as g order by 1")
    found = db.execute(rows.format(staged(entity), gone(entity)))
    return [text for (text,) in found]


def test_it_has_what_is_staged(hub: "Hub", district: "District") -> None:
    with staging(hub, district) as db:
        sizes = twin.sizes(db)
        assert [*sizes] == [(Org, 2, 1), (Course, 0, 2)]
        with twin.twin(db, district.tenant_id, sizes) as other:
            assert other.info.backend_pid != db.info.backend_pid
            for entity in (Org, Course):
                assert told(other, entity) == told(db, entity) != []


def test_it_sees_the_roster_and_no_other_connection_sees_what_is_staged(
    hub: "Hub", district: "District", town: "Package"
) -> None:
    district.has(town)
    with staging(hub, district) as db, twin.twin(db, district.tenant_id, twin.sizes(db)) as other:
        count = "select count(*) from users"
        assert other.execute(count).fetchone() == db.execute(count).fetchone() != (0,)
        with connect(hub.url) as stranger, pytest.raises(UndefinedTable):
            stranger.execute("select from pg_temp.staged_orgs")


def test_what_it_is_at_ends_with_the_block(hub: "Hub", district: "District") -> None:
    ended: list[BaseException] = []

    def sleep(db: Connection) -> None:
        try:
            db.execute("select pg_sleep(60)")
        except QueryCanceled as error:
            ended.append(error)

    def work() -> None:
        with (
            staging(hub, district) as db,
            twin.twin(db, district.tenant_id, twin.sizes(db)) as other,
        ):
            threads.append(threading.Thread(target=sleep, args=[other]))
            threads[0].start()
            until_asleep(hub)
            raise ZeroDivisionError

    threads: list[threading.Thread] = []
    with pytest.raises(ZeroDivisionError):
        work()
    threads[0].join(10)
    assert ended


def until_asleep(hub: "Hub") -> None:
    """Wait until the statement has begun, or the test would end nothing."""
    asked = "select count(*) from pg_stat_activity where query = 'select pg_sleep(60)'"
    end = time.monotonic() + 10
    while hub.one(asked) == (0,):
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_pays_where_little_is_staged(hub: "Hub", district: "District") -> None:
    with connect(hub.url) as db, tenant(db, district.tenant_id):
        loads.work_for(db, loads.NOBODY)
        stage.create(db)
        assert not twin.few(twin.sizes(db)), "there is nothing to ask"
        stage.copy_gone(db, Org, [pl.DataFrame({"sourced_id": ["west"]})])
        assert twin.few(twin.sizes(db))
        many = pl.DataFrame({"sourced_id": map(str, range(twin.FEW))})
        stage.copy_gone(db, Course, [many])
        assert not twin.few(twin.sizes(db))


def test_what_either_finds_is_told_in_one_attempt(
    district: "District", town: "Package", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that points at nobody, and stored rows that would."""
    district.has(town)
    copied = Mock(wraps=twin.copy)
    monkeypatch.setattr(twin, "copy", copied)
    both = town.only("courses", "users").drop("courses", "ja")
    done = district.push(both.change("users", "hana", {"primaryOrgSourcedId": "nowhere"}))
    assert copied.called, "one connection alone has asked"
    assert (done.state, done.rules) == ("rejected", {"reference.missing", "reference.vanished"})
