"""`rosterhub check`: the verdict of a hub, with nothing but the files."""

import io
import json
import os
import pty
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from loadtests.rosters import District, write_package
from schemas.policy import Policy, Reading
from schemas.templates import TEMPLATES

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


PUPILS = "\n".join(TEMPLATES["students"].sample) + "\n"


def saved(name: str = "students", tables: object = None, **more: object) -> str:
    """A mapping as the hub gives it, in a file; answer its path."""
    template = TEMPLATES[name].model_dump(mode="json", exclude_defaults=True)
    said = {"entity": template["entity"], "version": 3, "default": False, "tables": tables or {}}
    path = Path(f"{name}.json")
    path.write_text(json.dumps({**said, "mapping": template["mapping"], **more}))
    return str(path)


ORGS = {
    "entity": "orgs",
    "mapping": TEMPLATES["schools"].mapping.model_dump(mode="json", exclude_defaults=True),
}


class TestALenientDistrict:
    def test_puts_right_what_a_strict_one_refuses(self, capsys: pytest.CaptureFixture[str]) -> None:
        users = folder() / "users.csv"
        text = users.read_text(encoding="utf-8").replace('"true"', '"TRUE "')
        users.write_text(text.replace("givenName", "GivenName"), encoding="utf-8", newline="")
        assert cli.run(["-q", "check", "folder"]) == 1
        assert cli.run(["-q", "check", "--lenient", "folder"]) == 0
        found = as_json(capsys, "--lenient", "folder")
        assert {each["rule"] for each in found["findings"]} == {
            "repair.header_case",
            "repair.boolean_case",
            "repair.trailing_blanks",
        }

    def test_a_policy_says_more(self, capsys: pytest.CaptureFixture[str]) -> None:
        users = folder() / "users.csv"
        users.write_bytes(users.read_text(encoding="utf-8").encode("cp932"))
        reading = Reading(profile="1.2.1", lenient=True, repairs=frozenset({"cp932"}))
        Path("policy.json").write_text(Policy(reading=reading).model_dump_json())
        assert cli.run(["-q", "check", "--lenient", "folder"]) == 1
        found = as_json(capsys, "--policy", "policy.json", "folder")
        assert "error" not in found["counts"]
        assert found["profile"] == "1.2.1"
        found = as_json(capsys, "--policy", "policy.json", "--profile", "1.2", "folder")
        assert found["profile"] == "1.2"
        Path("policy.json").write_text('{"reading": {"lenient": "perhaps"}}')
        assert cli.run(["check", "--policy", "policy.json", "folder"]) == 2
        assert "bad_policy: policy.json is not a policy: reading.lenient." in (
            capsys.readouterr().err
        )


class TestAMapping:
    def test_reads_what_is_named_and_laid_out_otherwise(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("児童生徒.csv").write_text(PUPILS, encoding="utf-8")
        assert cli.run(["-q", "check", "--mapping", saved(), "児童生徒.csv"]) == 0
        assert "Read with the district's mapping: users.csv (version 3)." in capsys.readouterr().out
        found = as_json(capsys, "--mapping", saved(), "児童生徒.csv")
        assert (found["rows"], found["counts"].get("error")) == ({"users": 2}, None)
        assert found["mappings"]["users"]["mapping"] == 3

    def test_names_the_source_column(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("pupils.csv").write_text(PUPILS.replace("20260002", "a b"), encoding="utf-8")
        assert cli.run(["check", "--mapping", saved(), "pupils.csv"]) == 1
        said = capsys.readouterr().out
        assert "Source column: 児童生徒番号" in said
        wrong = [
            (each["line"], each["source"])
            for each in as_json(capsys, "--mapping", saved(), "pupils.csv")["findings"]
            if each["severity"] == "error"
        ]
        assert wrong == [(3, "児童生徒番号")]

    def test_brings_its_lookup_tables(self, capsys: pytest.CaptureFixture[str]) -> None:
        template = TEMPLATES["schools"].mapping.model_dump(mode="json")
        template["columns"]["name"].append({"kind": "lookup", "table": "names"})
        Path("orgs.csv").write_text("\n".join(TEMPLATES["schools"].sample) + "\n")
        mapping = saved("schools", {"names": {"第一小学校": "First"}}, mapping=template)
        found = as_json(capsys, "--mapping", mapping, "orgs.csv")
        assert {each["rule"] for each in found["findings"] if each["severity"] == "error"} <= {
            "reference.missing"  # the board
        }
        mapping = saved("schools", mapping=template)
        assert cli.run(["check", "--mapping", mapping, "orgs.csv"]) == 2
        assert "tables.names" in capsys.readouterr().err

    def test_a_file_may_be_said_to_be_an_entity(self, capsys: pytest.CaptureFixture[str]) -> None:
        template = TEMPLATES["birthdays"]
        Path("users.csv").write_text("\n".join(template.sample) + "\n", encoding="utf-8")
        given = ("--mapping", saved("birthdays"), "--mapping", saved())
        assert as_json(capsys, *given, "users.csv")["rows"] == {}
        found = as_json(capsys, *given, "--entity", "demographics", "users.csv")
        assert found["rows"] == {"demographics": 2}
        assert cli.run(["check", "--entity", "cats", "users.csv"]) == 2

    def test_the_default_is_no_mapping(self, capsys: pytest.CaptureFixture[str]) -> None:
        Path("users.csv").write_text(PUPILS, encoding="utf-8")
        found = as_json(capsys, "--mapping", saved(default=True), "users.csv")
        assert [each["rule"] for each in found["findings"] if each["severity"] == "error"] == [
            "mapping.template_fits"
        ]

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ("[]", "not_json"),
            ('{"mapping": {"columns": {}}}', "bad_mapping"),
            ('{"entity": "orgs", "mapping": {"columns": {}}}', "bad_mapping"),
            ('{"entity": "orgs", "mapping": {"columns": {"name": [1]}}}', "bad_mapping"),
            ('{"entity": "orgs"}', "bad_mapping"),
            (json.dumps({**ORGS, "tables": 5}), "bad_mapping"),
            (json.dumps({**ORGS, "tables": {"t": {"a": 1}}}), "bad_mapping"),
        ],
    )
    def test_what_cannot_be_used_is_wrong_usage(
        self, capsys: pytest.CaptureFixture[str], said: str, code: str
    ) -> None:
        Path("bad.json").write_text(said)
        Path("users.csv").write_text(PUPILS, encoding="utf-8")
        assert cli.run(["check", "--mapping", "bad.json", "users.csv"]) == 2
        assert code in capsys.readouterr().err


def test_on_a_terminal_progress_is_a_bar() -> None:
    """The real command, with a terminal for its standard error."""
    path = package()
    here, there = pty.openpty()
    script = f"import sys; from deploy import cli; sys.exit(cli.run(['check', '{path}']))"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=there,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(there)
        shown = b""
        with suppress(OSError):  # the terminal ends with the process
            while piece := os.read(here, 4096):
                shown += piece
        assert process.stdout
        out = process.stdout.read().decode()
    os.close(here)
    assert process.returncode == 0
    assert "40/40" in shown.decode()
    assert "━" in shown.decode()
    assert "\x1b" not in out


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
