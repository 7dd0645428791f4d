"""A receiver is rung by a running hub for what really happened, whatever dies meanwhile."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from standardwebhooks import Webhook

from tests.acceptance.conftest import Client, Hub, heard, wait_until
from tests.acceptance.pushes import package
from tests.workers.receivers import Receiver, answers, receiving

SETTINGS: Mapping[str, object] = {"webhook_allow": "127.0.0.0/8:1-65535"}
SMALL = {"users": 60, "schools": 1, "enrollments_per_student": 1}
OF_AN_IMPORT = ["csv.import.started", "csv.import.completed", "roster.version.published"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def subscribed(client: Client, receiver: Receiver, **values: object) -> Webhook:
    made = client.post("/api/v1/webhooks", {"url": receiver.url("/hook")} | values)
    return Webhook(made["secret"])


def rung(receiver: Receiver, webhook: Webhook) -> list[str]:
    """The types of all that has come, each event once, in the order of their numbers."""
    told = [webhook.verify(got.body, got.headers) for got in receiver.at("/hook")]
    return list({each["sequence"]: each["type"] for each in sorted(told, key=number)}.values())


def states(client: Client, log: str) -> set[str]:
    return {each["state"] for each in client.items(log)}


def number(told: Mapping[str, int]) -> int:
    return told["sequence"]


def test_an_import_rings_and_what_is_rung_can_be_read(hub: Hub, receiver: Receiver) -> None:
    client = hub.district()
    webhook = subscribed(client, receiver, ordered=True)
    answer = client.again().ask("GET", "/api/v1/events", stream=True, timeout=(5, 90))
    with closing(answer):
        events = heard(answer)
        assert next(events)["event"] == "snapshot"
        run = client.applied(package("small", **SMALL).body)
        wait_until(lambda: len(receiver.at("/hook")) >= 3, "the receiver is rung")
        bodies = [json.loads(got.body) for got in receiver.at("/hook")]
        assert [each["type"] for each in bodies] == OF_AN_IMPORT == rung(receiver, webhook)
        assert bodies[-1]["data"]["version"] == run["version"] == 1
        assert bodies[-1]["data"]["counts"] == run["counts"]
        told = []
        while "roster.version.published" not in told:
            told.append(next(events)["event"])
    assert [each for each in told if each in OF_AN_IMPORT] == OF_AN_IMPORT
    assert "run_started" in told
    page = client.page("users", limit=1)
    assert int(page.headers["X-Total-Count"]) == bodies[-1]["data"]["counts"]["users"]["created"]


def test_a_sender_that_is_killed_is_replaced_and_what_it_had_comes_again(
    hub: Hub, receiver: Receiver
) -> None:
    client = hub.district()
    receiver.manners["/hook"] = receiver.hangs
    webhook = subscribed(client, receiver)
    client.applied(package("small", **SMALL).body)
    wait_until(lambda: receiver.at("/hook") != [], "something is in hand")
    [victim] = hub.workers("webhooks")
    os.kill(victim, signal.SIGKILL)
    receiver.manners["/hook"] = answers()
    wait_until(lambda: {*hub.workers("webhooks")} - {victim} != set(), "it is replaced")
    with hub.database() as db:  # the lease of the dead need not be waited for
        db.execute("update webhook_deliveries set next_at = now() where state = 'sending'")
    [hook] = client.items("/api/v1/webhooks")
    log = f"/api/v1/webhooks/{hook['id']}/deliveries"
    wait_until(lambda: states(client, log) == {"delivered"}, "all of it is delivered")
    assert rung(receiver, webhook) == OF_AN_IMPORT
    ids = [got.id for got in receiver.at("/hook")]
    assert len(ids) > len({*ids}) == 3


def test_without_redis_it_is_rung_a_little_later(hub: Hub, receiver: Receiver) -> None:
    client = hub.district()
    webhook = subscribed(client, receiver)
    hub.redis.kill()
    try:
        client.patient = True
        client.applied(package("small", **SMALL).body)
        wait_until(lambda: rung(receiver, webhook) == OF_AN_IMPORT, "found by looking", 10)
    finally:
        hub.redis.start()
