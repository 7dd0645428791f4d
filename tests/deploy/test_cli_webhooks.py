"""What a person at the command line does with webhooks, against a hub that really sends."""

import json
import re
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from deploy import cli
from pipeline.database import connect, tenant
from pipeline.events import published
from schemas.secrets import Vault
from schemas.settings import Settings, plain
from tests.api.conftest import Books, District
from tests.conftest import settings_on
from tests.workers.receivers import Receiver, answers, receiving, says
from workers.webhooks import Sender

Run = Callable[..., str]


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    given = settings_on(database_url, redis_url, tmp_path)
    return given.model_copy(update={"webhook_allow": "127.0.0.0/8:1-65535"})


@pytest.fixture
def district(settings: Settings, url: str, monkeypatch: pytest.MonkeyPatch) -> District:
    with Books(plain(settings.database_url), Vault(plain(settings.secret_key))) as books:
        made = books.district("north")
    for name, value in {"RH_URL": url, "RH_KEY": made.key, "LANG": "C.UTF-8"}.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def sender(settings: Settings) -> Iterator[None]:
    stopping = threading.Event()
    sender = Sender.of(settings, stopping)
    thread = threading.Thread(target=sender.watch, args=(0.05,))
    thread.start()
    yield
    stopping.set()
    thread.join()


@pytest.fixture
def run(district: District, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command; answer what it prints."""
    assert district.key

    def command(*words: str, status: int = 0) -> str:
        assert cli.run(["webhooks", *words]) == status, capfd.readouterr().err
        out, err = capfd.readouterr()
        return out if status == 0 else err

    return command


@pytest.mark.usefixtures("sender")
def test_from_the_subscription_to_the_log(
    run: Run, receiver: Receiver, settings: Settings, district: District
) -> None:
    made = json.loads(
        run("create", receiver.url("/hook"), "--event", "roster.version.published", "--json")
    )
    webhook, secret = made["id"], made["secret"]
    tried = run("test", webhook, "--wait")
    assert "delivered" in tried
    assert "204" in tried
    told = Webhook(secret).verify(receiver.got[0].body, receiver.got[0].headers)
    assert told["data"] == {"webhookId": webhook}
    receiver.manners["/hook"] = says(500)
    failed = run("test", webhook, "--wait", status=3)
    receiver.manners["/hook"] = answers()
    assert "trial_failed" in failed
    assert "other than 2xx" in failed
    with connect(plain(settings.database_url)) as db, tenant(db, district.tenant_id):
        published(db, district.tenant_id, 1, {})
    found = json.loads(run("show", webhook, "--json"))
    assert found["events"] == ["roster.version.published"]
    rotated = run("rotate", webhook)
    assert re.fullmatch(r"whsec_\S+\n", rotated)
    assert len(b64decode(rotated.strip().removeprefix("whsec_"))) == 32
    run("set", webhook, "--all-events", "--description", "架空", "--ordered")
    changed = run("show", webhook)
    assert "架空" in changed
    run("disable", webhook)
    assert json.loads(run("show", webhook, "--json"))["enabled"] is False
    run("enable", webhook)
    again = json.loads(run("resend", webhook, "--from-version", "1", "--everything", "--json"))
    assert again["deliveries"] == 1
    delivery = json.loads(run("deliveries", webhook, "--json"))["items"][0]
    assert delivery["type"] == "roster.version.published"
    run("resend", webhook, delivery["id"])
    assert "success_rate" in run("statistics", webhook)
    assert "webhook.test" in run("deliveries", webhook, "--type", "webhook.test", "--limit", "5")
    assert webhook in run("list")
    run("delete", webhook)
    assert json.loads(run("list", "--json"))["items"] == []


def test_what_is_refused_is_said_in_the_readers_language(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    refused = run("create", "https://10.0.0.1/", status=3)
    assert "サーバーが断りました" in refused
    assert "url_refused" in refused
    assert "usage" in run("resend", "x", status=2)
