"""What a person at the command line gets out of a hub, against a gateway that really serves."""

import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy import cli
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from tests.api.conftest import Books, District
from workers.exports import Exporter
from workers.objects import open_store

PEOPLE = [
    {"sourced_id": name, "enabled_user": True, "username": name, "given_name": given}
    for name, given in (("a", "太郎"), ("b", "𠮷子"))
]


@pytest.fixture
def working(
    url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[District, threading.Event]]:
    """A district of the hub that the command line speaks to; a worker exports unless it rests."""
    assert settings.secret_key is not None
    with Books(
        plain(settings.database_url), Vault(settings.secret_key.get_secret_value())
    ) as books:
        district = books.district("north")
        books.publish(district.tenant_id, {"users": PEOPLE}, "2026-04-01T00:00:00Z")
    stopping, resting = threading.Event(), threading.Event()
    store = open_store(settings.object_store)
    worker = Exporter(settings, store, lambda _: None, "test", threading.Event())

    def work() -> None:
        while not stopping.wait(0.05):
            if not resting.is_set():
                worker.attempt(district.tenant_id)

    for name, value in {"RH_URL": url, "RH_KEY": district.key, "LANG": "C.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    hand = threading.Thread(target=work)
    hand.start()
    yield district, resting
    stopping.set()
    hand.join()


def test_a_package_is_made_looked_at_fetched_and_asked_for_on_schedule(
    working: tuple[District, threading.Event], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str, status: int = 0) -> str:
        assert cli.run([*words]) == status, capfd.readouterr().err
        return str(capfd.readouterr().out)

    def asked(*words: str) -> Any:  # noqa: ANN401  # whatever the JSON is
        return json.loads(said(*words, "--json"))

    out = said(
        "exports", "create", "--profile", "JP-1.2.1", "--entity", "users", "-o", str(tmp_path)
    )
    assert "Profile JP-1.2.1, version 1, 2 rows." in out
    (package,) = tmp_path.glob("RO_*_north.zip")
    with zipfile.ZipFile(package) as archive:
        assert archive.namelist() == ["manifest.csv", "users.csv"]
    assert package.name in out

    old = asked("exports", "create", "--encoding", "cp932", "--no-metadata", "--wait")
    assert (old["replaced"]["users"]["signs"], old["wanted"]["metadata"]) == (1, False)
    since = asked("exports", "create", "--since", "1", "--wait")
    assert (since["since"], since["counts"]) == (1, {})
    assert [each["id"] for each in asked("exports", "list")["items"]][:2] == [
        *(since["id"], old["id"]),
    ]
    assert "完了" in said("--lang", "ja", "exports", "list")
    assert "Changes since version 1." in said("exports", "show", since["id"])

    whole, target = package.read_bytes(), tmp_path / "again.zip"
    first = asked("exports", "list")["items"][-1]["id"]
    for left in (b"", whole[:100], b"?" * 100, b"?" * 9999):
        part = tmp_path / "again.zip.part"
        part.write_bytes(left)
        damaged = left.startswith(b"?") and len(left) < len(whole)
        said("exports", "download", first, "-o", str(target), status=3 if damaged else 0)
        assert not part.exists()
        assert damaged or target.read_bytes() == whole
    said("exports", "download", str(uuid4()), status=3)

    _, resting = working
    resting.set()
    waiting = asked("exports", "create")["id"]
    said("exports", "cancel", waiting)
    said("exports", "download", waiting, status=3)
    assert "cancelled" in said("exports", "show", waiting)
    said("exports", "create", "--entity", "pupils", status=3)

    made = asked("schedules", "create", "毎晩", "30 2 * * *", "--delta", "--entity", "users")
    assert (made["time_zone"], made["export"]["mode"]) == ("Asia/Tokyo", "delta")
    assert "30 2 * * *" in said("schedules", "list")
    assert "mode=delta" in said("schedules", "show", made["id"])
    assert asked("schedules", "set", made["id"], "--switch", "off")["enabled"] is False
    changed = asked("schedules", "set", made["id"], "--cron", "0 4 * * *", "--switch", "on")
    assert (changed["cron"], changed["enabled"]) == ("0 4 * * *", True)
    said("schedules", "delete", made["id"])
    assert asked("schedules", "list")["items"] == []
    said("schedules", "create", "x", "whenever", status=3)
