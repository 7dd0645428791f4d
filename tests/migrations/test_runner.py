"""From nothing to the newest migration, once, whoever else tries."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import psycopg
import pytest

from deploy.local.postgres import Postgres
from migrations import runner
from pipeline.database import connect

FILES = sorted(
    path.name.removesuffix(".sql") for path in (resources.files("migrations") / "sql").iterdir()
)
UP = "import sys; from migrations import runner; print(*runner.up(sys.argv[1]))"

CATALOGUE = """
    select 'column', attrelid::regclass::text, attname::text, a.xmin::text
    from pg_attribute as a join pg_class as c on c.oid = attrelid
    where relnamespace = 'rosterhub'::regnamespace
    union all select 'relation', relname, relacl::text, xmin::text from pg_class
    where relnamespace = 'rosterhub'::regnamespace
    union all select 'policy', polrelid::regclass::text, polname, xmin::text from pg_policy
    union all select 'function', proname, proacl::text, xmin::text from pg_proc
    where pronamespace = 'rosterhub'::regnamespace
    union all select 'books', migration_id, applied_at_utc::text, xmin::text
    from public._yoyo_migration
    order by 1, 2, 3
"""


def catalogue(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as db:
        return db.execute(CATALOGUE).fetchall()


def test_an_empty_database_gets_every_file_in_order(empty_url: str) -> None:
    assert runner.up(empty_url) == FILES


def test_applying_twice_changes_nothing(empty_url: str) -> None:
    runner.up(empty_url)
    before = catalogue(empty_url)
    assert runner.up(empty_url) == []
    assert catalogue(empty_url) == before


def test_the_status_tells_what_is_applied(empty_url: str) -> None:
    assert runner.status(empty_url) == [(name, False) for name in FILES]
    runner.up(empty_url)
    assert runner.status(empty_url) == [(name, True) for name in FILES]


def test_asking_for_the_status_applies_nothing(empty_url: str) -> None:
    runner.status(empty_url)
    with psycopg.connect(empty_url) as db:
        assert db.execute("select to_regnamespace('rosterhub')").fetchone() == (None,)


def test_two_processes_at_once_take_turns(empty_url: str) -> None:
    both = [
        subprocess.Popen([sys.executable, "-c", UP, empty_url], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[0].split() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert said == [[], FILES]


def test_the_lock_of_a_killed_process_is_nobodys(empty_url: str) -> None:
    runner.status(empty_url)
    with psycopg.connect(empty_url) as db:
        db.execute("insert into yoyo_lock (locked, ctime, pid) values (1, now(), 1)")
    assert runner.up(empty_url) == FILES


def test_a_broken_migration_leaves_nothing_behind(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "0001_half.sql").write_text("create table half (); select 1 / 0;")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    with pytest.raises(psycopg.errors.DivisionByZero):
        runner.up(empty_url)
    assert runner.status(empty_url) == [("0001_half", False)]
    with psycopg.connect(empty_url) as db:
        assert db.execute("select to_regclass('half')").fetchone() == (None,)


def test_a_migration_behind_a_long_reader_gives_up(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "0001_wait.sql").write_text("alter table busy add column more int;")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    monkeypatch.setattr(runner, "OPTIONS", runner.OPTIONS.replace("2s", "200ms"))
    with psycopg.connect(empty_url) as reader:
        reader.execute("create table busy ()")
        reader.commit()
        reader.execute("select from busy")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            runner.up(empty_url)
    assert runner.up(empty_url) == ["0001_wait"]


def test_the_login_becomes_a_member_of_the_three_roles(database_url: str) -> None:
    with psycopg.connect(database_url) as db:
        roles = db.execute("""
            select rolname, rolcanlogin, rolinherit, rolsuper, rolbypassrls,
                pg_has_role(current_user, oid, 'member')
            from pg_roles where rolname like 'rosterhub\\_%' order by 1
        """).fetchall()
    assert roles == [
        (name, False, False, False, False, True)
        for name in ("rosterhub_app", "rosterhub_control", "rosterhub_owner")
    ]


def test_a_login_that_is_no_superuser_migrates_and_serves(tmp_path: Path) -> None:
    """Its own server, for roles belong to a whole one; CREATEROLE is all that the login needs."""
    with Postgres(tmp_path / "server", settings={"fsync": "off"}) as server:
        with psycopg.connect(server.url, autocommit=True) as db:
            db.execute("create role hub login createrole password 'hub'")
            db.execute("create database hub owner hub")
        url = f"postgresql://hub:hub@127.0.0.1:{server.port}/hub"
        assert runner.up(url) == FILES
        with connect(url) as serving:
            assert serving.execute("select count(*) from orgs").fetchone() == (0,)
