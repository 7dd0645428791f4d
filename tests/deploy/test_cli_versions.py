"""What a person at the command line sees of versions, against a gateway that really serves."""

import csv
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from deploy import cli
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from tests.api.conftest import Books
from tests.pipeline.conftest import TOWN, Package
from workers.imports import Importer
from workers.objects import open_store

WRONG = TOWN.change("users", "taro", {"givenName": "誤"}).drop("enrollments", "e2")
Push = Callable[[Package], int]


@pytest.fixture
def push(
    url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Package], int]]:
    """Send a package to the hub that the command line speaks to; workers work meanwhile."""
    assert settings.secret_key is not None
    vault = Vault(settings.secret_key.get_secret_value())
    with Books(plain(settings.database_url), vault) as books:
        district = books.district("north")
    stopping = threading.Event()
    store = open_store(settings.object_store)
    worker = Importer(settings, store, lambda _: None, "test", stopping)

    def work() -> None:
        while not stopping.wait(0.05):
            worker.attempt(district.tenant_id)

    for name, value in {"RH_URL": url, "RH_KEY": district.key, "LANG": "C.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    hand = threading.Thread(target=work)
    hand.start()
    bearer = {"Authorization": f"Bearer {district.key}"}

    def send(package: Package) -> int:
        name = {"X-Filename": quote("名簿.zip"), "Content-Type": "application/zip"}
        answer = requests.post(
            f"{url}/api/v1/imports", data=package.zip(), headers=bearer | name, timeout=10
        )
        path = answer.headers["Location"]
        for _ in range(200):
            run = requests.get(f"{url}{path}", headers=bearer, timeout=10).json()
            if run["finished_at"]:
                assert run["state"] == "applied", run
                return int(run["version"])
            time.sleep(0.05)
        raise AssertionError(run)

    yield send
    stopping.set()
    hand.join()


def test_a_wrong_import_is_found_looked_at_and_taken_back(
    push: Push, capfd: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str, status: int = 0) -> str:
        assert cli.run(["versions", *words]) == status, capfd.readouterr().err
        return str(capfd.readouterr().out)

    def asked(*words: str) -> Any:  # noqa: ANN401  # whatever the JSON is
        return json.loads(said(*words, "--json"))

    push(TOWN)
    assert push(WRONG) == 2
    assert [v["version"] for v in asked("list")["items"]] == [2, 1]
    assert "updated 1, deleted 1" in said("list")
    assert len(said("list", "--limit", "1").splitlines()) == 2
    assert "enrollments" in said("show", "2")

    shown = said("diff", "2", "--entity", "users")
    assert "givenName" in shown
    assert "誤" not in shown, "values are hidden"
    assert "誤" in said("diff", "2", "--show-values")
    assert {c["sourcedId"] for c in asked("diff", "2")["items"]} == {"taro", "e2"}
    assert [c["sourcedId"] for c in asked("diff", "2", "--change", "deleted")["items"]] == ["e2"]
    rows = [*csv.reader(io.StringIO(said("diff", "2", "--csv").removeprefix("\ufeff")))]
    assert ["users", "taro", "updated", "givenName", "太郎", "誤"] in rows

    assert "Applied as version 3" in said("undo", "2", "--wait")
    assert "Undone by version 3." in said("show", "2")
    said("undo", "2", status=3)
    said("release", "2")
    assert asked("show", "3")["released_at"]
    assert asked("release", "2")["version"] == 3
    assert asked("undo", "3")["kind"] == "undo"


def test_what_is_no_version_is_named_with_the_next_command(
    push: Push, capfd: pytest.CaptureFixture[str]
) -> None:
    push(TOWN)
    for lang, word in (("en", "version"), ("ja", "rosterhub versions list")):
        assert cli.run(["--lang", lang, "versions", "show", "9"]) == 3
        assert word in capfd.readouterr().err
    assert cli.run(["versions", "show", "x"]) == 2
