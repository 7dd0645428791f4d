"""What a person at the command line learns of the audit, beside a gateway that really writes it."""

import json
import time
from pathlib import Path

import psycopg
import pytest
import requests

from deploy import cli
from pipeline.database import connect
from schemas.secrets import Vault
from schemas.settings import PREFIX, Settings, plain
from tests.api.conftest import Books
from workers.audit import export
from workers.heads import Heads
from workers.objects import open_store

USERS = "/ims/oneroster/rostering/v1p2/users"


def count(settings: Settings) -> int:
    with psycopg.connect(plain(settings.database_url)) as db:
        row = db.execute("select count(*) from rosterhub.audit").fetchone()
    assert row is not None
    return int(row[0])


def heads(settings: Settings) -> None:
    """What the service process does every ten minutes."""
    vault = Vault(plain(settings.secret_key))
    with connect(plain(settings.database_url), role="rosterhub_control") as control:
        export(control, Heads(open_store(settings.object_store), vault))


@pytest.fixture
def asked(url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    """A gateway that was asked three things, by a district; its id of the key."""
    with Books(plain(settings.database_url), Vault(plain(settings.secret_key))) as books:
        district = books.district("north")
    bearer = {"Authorization": f"Bearer {district.key}", "Connection": "close"}
    for path in (USERS, f"{USERS}/nobody", "/api/v1/policy"):
        requests.get(f"{url}{path}", headers=bearer, timeout=10)
    for _ in range(100):
        if count(settings) == 3:
            break
        time.sleep(0.05)
    for name, value in {"RH_URL": url, "RH_KEY": district.key, "LANG": "C.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    for name in ("database_url", "secret_key", "object_store"):
        monkeypatch.setenv(f"{PREFIX}{name.upper()}", plain(getattr(settings, name)))
    return district.key.split("_")[2]


def test_who_read_what_is_listed_filtered_and_saved(
    asked: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert cli.run(["audit", "list", "--who", asked, "--outcome", "answered", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert [item["route"] for item in items] == ["/api/v1/policy", USERS]
    assert cli.run(["audit", "list", "--lang", "ja"]) == 0
    said = capsys.readouterr().out
    assert "主体" in said
    assert "404" in said
    file = tmp_path / "audit.csv"
    assert cli.run(["audit", "list", "--route", USERS, "--csv", str(file)]) == 0
    assert len(file.read_text(encoding="utf-8-sig").splitlines()) == 2


def test_an_audit_that_is_whole_ends_with_0_and_one_that_is_not_with_1(
    asked: str, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["audit", "verify"]) == 0
    said = capsys.readouterr().out
    assert "There are no heads" in said
    assert "All of it is as it was written." in said
    heads(settings)
    assert cli.run(["audit", "verify", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["intact"], found["heads"], found["open"], found["faults"]) == (True, 1, 0, [])

    with psycopg.connect(plain(settings.database_url)) as db:
        db.execute("update rosterhub.audit set who = 'somebody' where who = %s", [asked])
    assert cli.run(["audit", "verify", "--lang", "ja"]) == 1
    told = capsys.readouterr()
    assert "north" in told.out
    assert "内容が書き換えられています" in told.out
    assert told.err.startswith("audit_broken: ")
    assert cli.run(["audit", "verify", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {fault["kind"] for fault in found["faults"]} == {"altered"}
    assert {fault["district"] for fault in found["faults"]} == {"north"}


def test_what_is_missing_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for change, status, said in (
        ({"SECRET_KEY": ""}, 2, "setting_missing"),
        ({"SECRET_KEY": "short"}, 2, "setting_wrong"),
        ({"OBJECT_STORE": "nowhere://bucket"}, 3, "store_unreachable"),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, 3, "database_unreachable"),
    ):
        for name in ("DATABASE_URL", "SECRET_KEY", "OBJECT_STORE"):
            value = change.get(name, plain(getattr(settings, name.lower())))
            monkeypatch.setenv(f"{PREFIX}{name}", value)
        assert cli.run(["audit", "verify"]) == status
        assert capsys.readouterr().err.startswith(said)
