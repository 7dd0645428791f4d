"""The commands of people who manage runs, policies and keys, at a real gateway."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from deploy import cli
from schemas.policybook import FIELDS
from schemas.settings import Settings
from tests.api.conftest import Books, District, Rows, Server, Standing

Say: TypeAlias = Callable[..., tuple[int, str, str]]
NOW = "2026-04-01T00:00:00Z"


@pytest.fixture
def settings(standing: Standing) -> Settings:
    return standing.settings


@pytest.fixture
def server(standing: Standing) -> Server:
    return standing.server


@pytest.fixture
def say(
    server: Server,
    north: District,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Say:
    """Type a command; answer its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("RH_URL", server.url)
    monkeypatch.setenv("RH_KEY", north.key)

    def typed(line: str, key: str | None = None) -> tuple[int, str, str]:
        if key:
            monkeypatch.setenv("RH_KEY", key)
        status = cli.run(line.split())
        said = capsys.readouterr()
        return status, said.out, said.err

    return typed


def failed(books: Books, district: District, **values: object) -> str:
    return books.run(district.tenant_id, **{"state": "failed", "finished_at": NOW, **values})


# --- runs ------------------------------------------------------------------------------------


def test_the_history_is_filtered(say: Say, books: Books, north: District) -> None:
    midnight = datetime(2026, 4, 2).astimezone()  # where the reader is
    early = failed(books, north, created_at=midnight - timedelta(seconds=1))
    late = failed(books, north, created_at=midnight, created_by="sis")
    queued = books.run(north.tenant_id)

    def ids(line: str) -> list[str]:
        status, out, _ = say(f"runs list --json {line}")
        assert status == 0
        return [run["id"] for run in json.loads(out)["items"]]

    assert ids("--state queued") == [queued]
    assert len(ids("--state queued --state failed")) == 3
    assert ids("--created-by sis") == [late]
    assert ids("--state failed --since 2026-04-02") == [late]
    assert ids("--until 2026-04-02T00:00") == [early]
    assert ids(f"--until {midnight.isoformat().replace('+00:00', '+0000')}") == [early]
    assert ids("--until 2026-03-01") == []
    assert ids("--kind undo") == []
    assert ids("--file nothing") == []
    status, out, _ = say("runs list --state failed")
    assert (status, late in out, queued in out) == (0, True, False)


def test_a_run_is_cancelled_and_tried_again(say: Say, books: Books, north: District) -> None:
    run_id = books.run(north.tenant_id)
    status, out, err = say(f"runs cancel {run_id}")
    assert (status, out) == (0, "")
    assert "Nothing was changed" in err
    status, out, err = say(f"runs retry {run_id}")
    again = out.strip().rpartition("/")[2]
    assert status == 0
    assert f"rosterhub runs watch {again}" in err
    status, out, _ = say(f"runs show {again} --json")
    assert json.loads(out)["retry_of"] == run_id
    status, out, err = say(f"runs retry {again}")
    assert (status, out) == (3, "")
    assert "(not_to_retry)" in err


def test_who_waits_for_a_cancelled_run_is_told(say: Say, books: Books, north: District) -> None:
    run_id = books.run(north.tenant_id)
    assert say(f"runs cancel {run_id}")[0] == 0
    status, _, err = say(f"runs watch {run_id}")
    assert status == 3
    assert "cancelled" in err


def test_what_has_ended_is_not_cancelled(say: Say, books: Books, north: District) -> None:
    status, out, err = say(f"runs cancel {failed(books, north)}")
    assert (status, out) == (3, "")
    assert "The run has ended already: failed. (already_ended)" in err


# --- policy ----------------------------------------------------------------------------------


def test_a_policy_is_shown_changed_and_reset(say: Say) -> None:
    status, out, _ = say("policy show")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == [field.key for field in FIELDS]
    status, out, err = say(
        "policy set apply=review guard.deletions=0.2 guard.on=false"
        " reading.repairs=null_text,cp932 reading.profile=1.2 --json"
    )
    policy = json.loads(out)
    assert (status, policy["apply"], policy["guard"]["deletions"]) == (0, "review", 0.2)
    assert policy["guard"]["on"] is False
    assert policy["reading"]["repairs"] == ["cp932", "null_text"]
    assert policy["reading"]["profile"] == "1.2"
    assert "The policy is changed." in err
    status, out, _ = say("policy reset guard.on reading.repairs --json")
    policy = json.loads(out)
    assert (policy["guard"]["on"], policy["guard"]["deletions"]) == (True, 0.2)
    assert len(policy["reading"]["repairs"]) > 2
    status, out, _ = say("policy reset")
    assert status == 0
    assert {line.split()[1] for line in out.splitlines() if line.startswith("apply ")} == {
        "at_once"
    }


def test_a_set_of_no_words_is_typed_so(say: Say) -> None:
    status, out, _ = say("policy set reading.repairs= --json")
    assert (status, json.loads(out)["reading"]["repairs"]) == (0, [])


@pytest.mark.parametrize("line", ["set apply", "set aply=review", "set guard=on", "reset aply"])
def test_what_is_no_decision_is_wrong_usage(say: Say, line: str) -> None:
    status, out, err = say(f"policy {line}")
    assert (status, out) == (2, "")
    assert err.startswith("not_a_decision: ")


@pytest.mark.parametrize("line", ["apply=later", "runs_days=many", "guard.updates=2"])
def test_what_does_not_fit_is_named(say: Say, line: str) -> None:
    status, _, err = say(f"policy set {line}")
    assert status == 3
    assert line.partition("=")[0] in err


def test_a_policy_takes_a_key_that_may(say: Say, books: Books, north: District) -> None:
    assert say("policy show", books.key(north.tenant_id, ("imports",)))[0] == 4


# --- administrators' keys ----------------------------------------------------------------------


def test_administrators_keys_are_listed_and_revoked(say: Say, books: Books, admin: str) -> None:
    other = books.admin_key().split("_")[2]
    status, out, _ = say("keys list --admin --json", admin)
    listed = [key["id"] for key in json.loads(out)["items"]]
    assert (status, listed) == (0, [admin.split("_")[2], other])
    assert say(f"keys revoke {other} --admin")[0] == 0
    status, _, err = say(f"keys revoke {admin.split('_')[2]} --admin")
    assert status == 3
    assert "(last_key)" in err


def test_a_district_that_is_named_stays_out_of_it(
    say: Say, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RH_DISTRICT", "nowhere")
    assert say("keys list --admin", admin)[0] == 0
    assert say("keys list", admin)[0] == 3


# --- lenses ------------------------------------------------------------------------------------


def test_a_lens_is_shown_set_and_explained(say: Say, books: Books, north: District) -> None:
    roster: dict[str, Rows] = {
        "orgs": [{"sourced_id": "s-north", "name": "北", "type": "school"}],
        "users": [{"sourced_id": "u1", "enabled_user": True, "primary_org_sourced_id": "s-south"}],
    }
    books.publish(north.tenant_id, roster, NOW)
    lens = f"clients lens {{}} {books.client(north.tenant_id).id}"
    status, out, _ = say(lens.format("show"))
    assert status == 0
    assert out.splitlines()[1].split() == ["schools", "everything"]
    status, out, err = say(f"{lens.format('set')} schools=s-north,s-west fields=email,phone --json")
    said = json.loads(out)
    assert (status, said["schools"], said["revision"]) == (0, ["s-north", "s-west"], 2)
    assert "no org with these sourcedIds: s-west" in err
    status, out, _ = say(f"{lens.format('explain')} u1 --lang ja")
    assert status == 0
    assert out.splitlines()[0] == "users u1: 見えません"
    assert "s-south" in out
    status, out, _ = say(f"{lens.format('set')} schools= fields= --json")
    said = json.loads(out)
    assert (said["schools"], said["fields"]) == (None, [])
    status, out, _ = say(f"{lens.format('explain')} u1 --entity users")
    assert out.splitlines()[:2] == [
        "users u1: visible",
        "  ✓ Nothing in the lens limits users.",
    ]
    assert say(f"{lens.format('set')} colour=blue")[0] == 2
    assert say(f"{lens.format('explain')} nobody")[0] == 3
