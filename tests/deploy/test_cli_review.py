"""What a person at the command line sees of a run that waits, against a gateway that serves."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from deploy.cli.receipt import summary
from deploy.cli.screen import Screen
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from tests.api.conftest import Books
from tests.pipeline.conftest import TOWN, Package
from tests.pipeline.test_rekey import renamed
from workers.imports import Importer
from workers.objects import open_store

WEST = {"sourcedId": "west", "name": "西小学校", "type": "school", "parentSourcedId": "board"}
CHANGED = TOWN.change("users", "taro", {"givenName": "誤"}).put("orgs", WEST)


@pytest.fixture
def working(url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers work on the district that the command line speaks for."""
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
    yield
    stopping.set()
    hand.join()


@pytest.mark.usefixtures("working")
def test_what_waits_is_looked_at_and_answered(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str, status: int = 0) -> str:
        assert cli.run(words) == status, capfd.readouterr().err
        return str(capfd.readouterr().out)

    def push(package: Package, *words: str, status: int = 0) -> str:
        file = tmp_path / "RO_20260401_01.zip"
        file.write_bytes(package.zip())
        return said("push", str(file), "--wait", *words, status=status)

    def asked(*words: str) -> Any:  # noqa: ANN401  # whatever the JSON is
        return json.loads(said(*words, "--json"))

    push(TOWN)
    shown = push(CHANGED, "--review", status=5)
    run = shown.splitlines()[0]
    assert "It would change:" in shown
    assert "It would change:" in said("runs", "show", run)
    assert asked("runs", "show", run)["as_of"] == "2026-04-01"
    table = said("runs", "diff", run)
    assert "givenName" in table
    assert "誤" not in table, "values are hidden"
    assert "誤" in said("runs", "diff", run, "--show-values", "--entity", "users")
    assert "誤" in said("runs", "diff", run, "--csv")
    found = asked("runs", "diff", run)
    assert found["diff"] in table
    assert {each["sourcedId"] for each in found["items"]} == {"west", "taro"}
    said("runs", "approve", run, "--diff", "another", status=3)
    rest = ("--except-school", "west", "--yes", "--wait")
    assert "Applied as version 2" in said("runs", "approve", run, *rest)
    assert [c["sourcedId"] for c in asked("versions", "diff", "2")["items"]] == ["taro"]

    again = push(CHANGED, "--review", status=5).splitlines()[0]
    said("runs", "reject", again)
    assert asked("runs", "show", again)["state"] == "rejected"
    said("runs", "watch", again, status=3)

    held = push(TOWN.only("orgs", "academicSessions"), "--as-of", "2026-03-31", status=5)
    assert "Held: users.csv is required" in held
    assert "2026-03-31" in held
    assert "Applied as version" not in held

    older = push(CHANGED, "--review", status=5).splitlines()[0].rpartition("/")[2]
    newer = push(TOWN.put("orgs", WEST), "--review", status=5)
    assert f"takes the place of {older}, which would have made other changes" in newer
    assert cli.run(("runs", "watch", older)) == 3
    assert "a newer import" in capfd.readouterr().err
    said("runs", "cancel", newer.splitlines()[0])
    assert cli.run(("runs", "watch", newer.splitlines()[0])) == 3
    assert "has cancelled it" in capfd.readouterr().err

    said("policy", "set", "guard.at_least=1", "guard.absent_files=false", "guard.school_year=false")
    run = push(renamed(TOWN, "classes"), status=5).splitlines()[0]
    assert "new-c1" in said("runs", "rekey", run)
    assert "new-c1" in said("runs", "rekey", run, "--csv")
    assert {e["hubSourcedId"] for e in asked("runs", "rekey", run)["items"]} == {"c1", "c2", "c3"}
    said("runs", "approve", run, "--rekey", "--except-school", "north", status=2)
    assert "Applied as version" in said("runs", "approve", run, "--rekey", "--yes", "--wait")
    assert "new-c2" in said("aliases")
    assert [each["sourcedId"] for each in asked("aliases", "c2")["items"]] == ["new-c2"]


def test_a_run_that_waits_again_says_what_came_of_the_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = {"en": "The roster is at version 3 now.", "ja": "名簿は版 3 になりました。"}
    run = {"state": "review", "failure": {"code": "base_moved", "message": said}, "findings": {}}
    for lang, sentence in said.items():
        summary(Screen(lang), run)  # type: ignore[arg-type]  # one of the languages
        assert sentence in capsys.readouterr().out
