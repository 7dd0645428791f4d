"""Erasures at the command line, against a gateway that really serves and workers that work."""

import json
from typing import Any

import pytest

from deploy import cli
from tests.deploy.test_cli_versions import Push, push
from tests.pipeline.conftest import TOWN

__all__ = ["push"]


def test_a_person_is_erased_shown_and_released(
    push: Push,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def said(*words: str, status: int = 0) -> str:
        assert cli.run(["erasures", *words]) == status, capfd.readouterr().err
        return str(capfd.readouterr().out)

    def asked(*words: str) -> Any:  # noqa: ANN401  # whatever the JSON is
        return json.loads(said(*words, "--json"))

    push(TOWN)
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    assert cli.run(["--lang", "ja", "erasures", "request", "taro"]) == 2
    assert "not_erased: 誰も消去していません。" in capfd.readouterr().err
    out = said("request", "taro", "nobody", "--reference", "2026-17", "--yes", "--wait")
    assert "Erased as version 2" in out
    assert "users" in out
    assert "There was no record under: nobody" in out
    (listed,) = asked("list")["items"]
    assert listed["receipt"]["version"] == 2
    assert "2026-17" in said("list")
    assert listed["receipt"]["sha256"] in said("show", listed["id"])
    assert "Files deleted from uploads: 1" in said("show", listed["id"])
    assert asked("release", listed["id"])["released_at"]
    again = asked("request", "hana", "--may-return", "--yes", "--reference", "1")
    assert again["keep_out"] is False
    said("release", again["id"], status=3)
    said("request", "hana", "--yes", "--reference", "Yamada", status=3)
