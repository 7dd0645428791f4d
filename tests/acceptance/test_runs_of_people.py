"""Runs as people manage them: given up and tried again, kept while they wait, each in its turn."""

import os
import signal
import time
from collections.abc import Mapping
from http import HTTPStatus

import pytest

from tests.acceptance.conftest import SETTLED, Client, Hub, Json, wait_until
from tests.acceptance.pushes import package
from tests.acceptance.test_kills import LOOK
from tests.acceptance.twins import state_of

SETTINGS: Mapping[str, object] = {"import_processes": 2, "attempts": 2}

ROSTER = package("first load", users=60).body
CHANGED = package("changes", users=60, generation=1, mutations=0.2).body


def swept(hub: Hub) -> None:
    """Let maintenance make a round: it also does so when a district is deleted."""
    gone = hub.district()
    deleted = hub.admin.ask("DELETE", f"/api/v1/districts/{gone.district}")
    assert deleted.ok, deleted.text
    wait_until(
        lambda: not hub.rows("select from districts where tenant_id = %s", gone.tenant_id),
        "the district is purged",
    )


def refused(client: Client, method: str, path: str) -> tuple[int, str]:
    """The status and the code of a request that is not granted."""
    answer = client.ask(method, path)
    return answer.status_code, str(answer.json()["code"])


@pytest.mark.chaos
def test_a_run_that_was_given_up_is_tried_again_from_the_same_upload(hub: Hub) -> None:
    client = hub.district()
    client.applied(ROSTER)
    large = package("changes")
    run_id, fence = client.push(large.body), 0
    with hub.database() as db:
        before = state_of(db, client.tenant_id)
        while (found := db.execute(LOOK, [run_id]).fetchall()[0])[0] not in SETTLED:
            state, now, worker = found
            if state == "running" and now > fence:
                fence = now
                os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
            time.sleep(0.01)
        assert state_of(db, client.tenant_id) == before
    run = client.run(run_id)
    assert (run["state"], run["failure"]["code"]) == ("failed", "attempts_exhausted")
    again = client.post(f"/api/v1/imports/{run_id}/retry")
    assert again["retry_of"] == run_id
    assert again["upload"] == run["upload"]
    assert client.settled(again["id"])["state"] in ("applied", "held")


def test_upload_and_diff_are_kept_while_a_run_waits_and_go_after_its_end(hub: Hub) -> None:
    client = hub.district(uploads_hours=0)
    client.applied(ROSTER)
    run = client.settled(client.push(CHANGED, apply="review"))
    path = f"/api/v1/imports/{run['id']}"
    shown = client.get(f"{path}/diff")
    swept(hub)
    assert client.run(run["id"])["upload"]["deleted_at"] is None
    assert client.get(f"{path}/diff") == shown
    client.post(f"{path}/reject")
    swept(hub)
    assert client.run(run["id"])["upload"]["deleted_at"] is not None
    assert refused(client, "GET", f"{path}/diff") == (HTTPStatus.GONE, "diff_deleted")
    assert refused(client, "POST", f"{path}/retry") == (HTTPStatus.GONE, "upload_deleted")
    assert client.get(f"{path}/preview")["counts"], "how much it was stays with the run"


def test_under_the_policy_to_wait_a_newer_package_is_begun_when_the_older_is_answered(
    hub: Hub,
) -> None:
    client, neighbour = hub.district(newer="wait"), hub.district()
    client.applied(ROSTER)
    older = client.settled(client.push(CHANGED, apply="review"))
    newer = client.push(CHANGED)
    for body in (ROSTER, CHANGED):
        neighbour.settled(neighbour.push(body))
    assert client.run(newer)["state"] == "queued"
    client.post(f"/api/v1/imports/{older['id']}/reject")
    assert client.settled(newer)["state"] == "applied"
    assert client.run(older["id"])["state"] == "rejected"


def test_an_approval_is_refused_once_the_roster_has_moved(hub: Hub) -> None:
    client = hub.district()
    client.applied(ROSTER)
    run = client.settled(client.push(CHANGED, apply="review"))
    path = f"/api/v1/imports/{run['id']}"
    client.post(f"/api/v1/versions/{run['base_version']}/undo")
    wait_until(lambda: len(client.items("/api/v1/versions")) > 1, "the roster has moved")
    answer = client.ask("POST", f"{path}/approve", json={"diff": run["diff"]})
    refusal: Json = answer.json()
    assert (answer.status_code, refusal["code"]) == (HTTPStatus.CONFLICT, "base_moved")
    assert (refusal["version"], refusal["base_version"]) == (2, 1)
    assert client.run(run["id"])["state"] == "review"
