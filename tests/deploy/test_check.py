"""`rosterhub check`: the verdict of a hub, with nothing but the files."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from loadtests.rosters import District, write_package

SMALL = District(users=40, schools=1, enrollments_per_student=2)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, no server and no key, in English."""
    monkeypatch.chdir(tmp_path)
    for name in ("RH_URL", "RH_KEY", "ROSTERHUB_DATABASE_URL", "ROSTERHUB_REDIS_URL", "LC_ALL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "C.UTF-8")


def package(*faults: str) -> Path:
    path = Path("package.zip")
    write_package(path, SMALL, faults=faults)
    return path


def folder() -> Path:
    out = io.BytesIO()
    write_package(out, SMALL)
    path = Path("folder")
    path.mkdir()
    zipfile.ZipFile(out).extractall(path)
    return path


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    cli.run(["check", "--json", *arguments])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


class TestTheVerdict:
    def test_a_clean_package_is_0(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["-q", "check", str(package())]) == 0
        assert "No findings." in capsys.readouterr().out

    def test_errors_are_1_and_the_next_step_is_named(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(["check", str(package("bad_date"))]) == 1
        said = capsys.readouterr()
        assert "demographics.csv" in said.out
        assert "check_found: A hub would reject this: 1 findings" in said.err
        assert "Next: rosterhub check package.zip --json" in said.err

    def test_warnings_alone_are_0(self, capsys: pytest.CaptureFixture[str]) -> None:
        users = folder() / "users.csv"
        text = users.read_text(encoding="utf-8").replace('"P1"', '"H4"')
        users.write_text(text, encoding="utf-8", newline="")
        assert cli.run(["-q", "check", "folder"]) == 0
        assert "value.unusual" in json.dumps(as_json(capsys, "folder"))

    def test_it_speaks_japanese(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["--lang", "ja", "check", str(package("bad_date"))]) == 1
        assert "日付ではありません" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "files", [["a.zip", "b.zip"], ["empty"], ["a.zip", "a.csv"], ["a.csv", "other/a.csv"]]
    )
    def test_what_is_no_package_is_wrong_usage(self, files: list[str]) -> None:
        for name in files:
            path = Path(name)
            path.parent.mkdir(exist_ok=True)
            path.mkdir() if name == "empty" else path.touch()
        assert cli.run(["check", *files]) == 2

    def test_a_file_that_is_not_there_is_wrong_usage(self) -> None:
        assert cli.run(["check", "nothing.zip"]) == 2


class TestWhatCanBeChecked:
    def test_a_folder_is_a_package(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = as_json(capsys, str(folder()))
        assert (found["counts"], found["profile"], found["notLookedUp"]) == ({}, "JP-1.2.1", [])
        assert found["rows"]["users"] == 40

    def test_files_without_a_manifest(self, capsys: pytest.CaptureFixture[str]) -> None:
        path = folder()
        found = as_json(capsys, str(path / "orgs.csv"), str(path / "courses.csv"))
        assert "error" not in found["counts"]
        assert found["notLookedUp"] == ["academicSessions"]

    def test_files_that_are_meant_as_changes(self, capsys: pytest.CaptureFixture[str]) -> None:
        path = folder()
        found = as_json(capsys, "--mode", "delta", str(path / "orgs.csv"))
        assert {each["rule"] for each in found["findings"]} == {"value.required"}

    def test_a_folder_without_a_manifest_is_not_complete_by_itself(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = folder()
        (path / "manifest.csv").unlink()
        assert as_json(capsys, str(path))["counts"] == {}

    def test_another_profile_asks_for_less(self, capsys: pytest.CaptureFixture[str]) -> None:
        path = folder()
        (path / "users.csv").write_text(
            (path / "users.csv").read_text(encoding="utf-8").replace('"P1"', '""'),
            encoding="utf-8",
            newline="",
        )
        rules = {
            profile: {each["rule"] for each in as_json(capsys, *options, str(path))["findings"]}
            for profile, options in (("auto", []), ("1.2.1", ["--profile", "1.2.1"]))
        }
        assert "record.student_without_grades" in rules["auto"] - rules["1.2.1"]


class TestWhatIsShown:
    def test_what_drags_down_most_comes_first(self, capsys: pytest.CaptureFixture[str]) -> None:
        cli.run(["-q", "check", str(package("missing_value"))])
        first, *_ = capsys.readouterr().out.splitlines()[1:]
        assert first.split()[:4] == ["error", "6", "users.csv", "2"]

    def test_followers_name_their_cause(self, capsys: pytest.CaptureFixture[str]) -> None:
        found = as_json(capsys, str(package("missing_value")))
        assert found["counts"] == {"error": 1}
        assert {each["causedBy"] for each in found["findings"]} == {None, 1}
        assert [each["number"] for each in found["findings"]] == [1, 2, 3, 4, 5, 6]

    def test_personal_values_are_shapes_unless_asked_for(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = str(package("bad_date"))
        (hidden,) = as_json(capsys, path)["findings"]
        (shown,) = as_json(capsys, "--show-values", path)["findings"]
        assert hidden["value"] == "9999/99/99"
        assert shown["value"] != hidden["value"]
        assert hidden["value"] in hidden["message"]["en"]

    def test_nothing_is_left_behind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        work = tmp_path / "tmp"
        work.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(work))
        cli.run(["-q", "check", str(folder())])
        assert list(work.iterdir()) == []

    def test_progress_goes_to_standard_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        cli.run(["check", str(package())])
        said = capsys.readouterr()
        assert "read users 100 %  40/40 rows" in said.err
        assert "100 %" not in said.out


def test_without_the_extra_the_message_says_what_to_install() -> None:
    """In a process of its own, in which Polars cannot be found."""
    script = (
        "import sys; sys.modules['polars'] = None\n"
        "from deploy import cli; sys.exit(cli.run(['check', 'package.zip']))"
    )
    package()
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "install the extra `workers`" in done.stderr
