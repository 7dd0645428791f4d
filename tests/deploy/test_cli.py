"""What a person at the command line can count on."""

import json
import os
import re
import string
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import click
import psycopg
import pytest

from deploy import cli, messages
from deploy.admin_keys import is_valid_admin_key
from deploy.messages import LANGS, Failure, Problem, Text, spoken
from loadtests.rosters import FAULTS
from migrations.runner import status

RUN = "0b9f1f0a-3c1e-4a58-9c55-7f3f1d3b2a10"
PATH = f"/api/v1/imports/{RUN}"
KEY = "rh_live_abcdefghijkl_secret_00000000"
SECRET = "a-secret-of-at-least-thirty-two-characters"
JAPANESE = re.compile(r"[ぁ-んァ-ヶ一-龠]")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder and an environment that names no hub, in English."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("RH_", "ROSTERHUB_", "LC_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANG", "C.UTF-8")


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Script:
    """A hub that says what a test wants it to say, over real HTTP."""

    url: str = ""
    answers: dict[tuple[str, str], list[tuple[int, object]]] = field(default_factory=dict)
    streams: list[str] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def says(self, method: str, path: str, *answers: tuple[int, object]) -> None:
        """Answer so, one after another; the last answer for ever."""
        self.answers[method, path] = list(answers)

    def next(self, method: str, path: str) -> tuple[int, object]:
        waiting = self.answers.get((method, path))
        if not waiting:
            return 404, problem("unknownobject", "There is no import with this id.", 404)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            script.asked.append(Asked(self.command, self.path, dict(self.headers), body))
            if path.endswith("/events") and script.streams:
                self.stream(script.streams.pop(0))
                return
            code, said = script.next(self.command, path)
            data = json.dumps(said).encode() if said is not None else b""
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def stream(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(text.encode())
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 -- the server looks for these names

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        script.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("RH_URL", script.url)
        monkeypatch.setenv("RH_KEY", KEY)
        yield script
        server.shutdown()
        serving.join()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same behaviour with shorter waits."""
    for name in ("PAUSE", "POLL"):
        monkeypatch.setattr(f"deploy.following.{name}", 0.01)
    monkeypatch.setattr("deploy.following.QUIET", 0.2)
    monkeypatch.setattr("deploy.following.ABSENCE", 0.2)
    monkeypatch.setattr(import_module("deploy.cli.push"), "BACKOFF", 0.01)


def a_run(**changed: object) -> dict[str, Any]:
    return {
        "id": RUN,
        "kind": "import",
        "state": "queued",
        "stage": None,
        "files": {},
        "counts": {},
        "findings": {},
        "failure": None,
        "mappings": {},
        "version": None,
        **changed,
    }


APPLIED = a_run(
    state="applied",
    stage="publish",
    version=7,
    counts={"users": {"created": 12, "updated": 3, "unchanged": 1}},
    findings={"warning": 2},
)
REJECTED = a_run(state="rejected", stage="check", findings={"error": 12})


def problem(code: str, detail: str, number: int) -> dict[str, object]:
    return {
        "type": f"urn:rosterhub:problem:{code}",
        "code": code,
        "detail": detail,
        "status": number,
    }


def event(name: str, number: int, **data: object) -> str:
    text = json.dumps(data if name == "snapshot" else {"kind": name, "run_id": RUN, **data})
    return f": ping\n\nevent: {name}\nid: {number}\ndata: {text}\n\n"


def advanced(number: int, done: int) -> str:
    return event("file_advanced", number, stage="read", file="users", done=done, total=100)


def package() -> Path:
    file = Path("名簿.zip")
    with ZipFile(file, "w") as archive:
        archive.writestr("manifest.csv", "propertyName,value\n" * 10_000)
    return file


def finding(line: int) -> dict[str, object]:
    said = {"en": f"enabledUser is ture in {line}.", "ja": f"enabledUser が ture です({line})。"}
    return {"file": "users", "line": line, "column": "enabledUser", "message": said}


def texts() -> dict[str, Text]:
    found: dict[str, Text] = {}
    for name, value in vars(messages).items():
        match value:
            case Text():
                found[name] = value
            case Problem():
                found[name] = value.sentence
            case dict():
                found |= {f"{name}.{k}": v for k, v in value.items() if isinstance(v, Text)}
    return found


def gaps(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


class TestCatalogue:
    def test_everything_is_said_in_both_languages_with_the_same_facts(self) -> None:
        assert len(texts()) > 50
        for name, text in texts().items():
            assert text.en, name
            assert gaps(text.en) == gaps(text.ja), name
            assert JAPANESE.search(text.ja) or name == "HEADINGS.id", name

    def test_every_problem_has_its_own_code_and_a_next_command(self) -> None:
        problems = [value for value in vars(messages).values() if isinstance(value, Problem)]
        assert len({each.code for each in problems}) == len(problems)
        for each in problems:
            assert each.exit in {1, 2, 3, 4, 5}
            for command in re.findall(r"^rosterhub (\w+)", each.next):
                assert command in cli.rosterhub.commands

    def test_a_failure_says_code_sentence_and_next_command(self) -> None:
        failure = Failure(messages.PORT_TAKEN, port=8080)
        for lang in LANGS:
            first, second = failure.say(lang).splitlines()
            assert first.startswith("port_taken: ")
            assert second.endswith(": ROSTERHUB_PORT=0 rosterhub dev")

    @pytest.mark.parametrize(
        ("env", "lang"),
        [
            ({"LANG": "ja_JP.UTF-8"}, "ja"),
            ({"LANG": "en_US.UTF-8"}, "en"),
            ({"LANG": "ja_JP.UTF-8", "LC_ALL": "C"}, "en"),
            ({}, "en"),
        ],
    )
    def test_the_language_is_that_of_the_environment(self, env: dict[str, str], lang: str) -> None:
        assert spoken(env) == lang


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*above, name)
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


class TestEveryCommand:
    @pytest.mark.parametrize("words", list(commands(cli.rosterhub)), ids=" ".join)
    def test_explains_itself(
        self, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run([*words, "--help"]) == 0
        assert f"Usage: rosterhub {' '.join(words)}" in capsys.readouterr().out

    def test_help_loads_nothing_heavy(self) -> None:
        heavy = {"requests", "rich", "pydantic", "psycopg", "polars", "structlog", "falcon"}
        said = subprocess.run(
            [sys.executable, "-c", "import deploy.cli, sys; print(*sys.modules)"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(cli.__file__).parents[2],
        )
        assert not heavy & set(said.stdout.split())

    @pytest.mark.parametrize(
        ("words", "shown"),
        [
            (["--lang", "en", "push"], "Missing argument 'FILE'"),
            (["--lang", "ja", "push"], "使い方が違います"),
            (["--lang=ja", "bush"], "使い方が違います"),
        ],
    )
    def test_wrong_usage_ends_with_2_and_the_way_to_the_help(
        self, words: list[str], shown: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(words) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert "usage: " in said.err
        assert shown in said.err
        assert said.err.rstrip().endswith("--help")


class TestWhichHub:
    def test_none_named_is_wrong_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["runs", "list"]) == 2
        assert "Next: rosterhub dev" in capsys.readouterr().err

    def test_the_hub_of_this_folder_is_found(
        self, hub: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        announce(hub.url)
        monkeypatch.delenv("RH_URL")
        monkeypatch.delenv("RH_KEY")
        hub.says("GET", "/api/v1/imports", (200, {"items": [APPLIED], "next": None}))
        assert cli.run(["runs", "list"]) == 0
        assert hub.asked[0].headers["Authorization"] == f"Bearer {KEY}"

    def test_keys_are_made_with_the_administrators_key_for_the_district(
        self, hub: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        announce(hub.url)
        monkeypatch.delenv("RH_URL")
        monkeypatch.delenv("RH_KEY")
        hub.says("POST", "/api/v1/keys", (201, {"id": "x", "key": "rh", "expires_at": "2027"}))
        assert cli.run(["keys", "create", "LMS", "--scope", "roster.read"]) == 0
        assert hub.asked[0].headers["Authorization"] == "Bearer rh_admin_x_y_z"
        assert hub.asked[0].headers["X-RosterHub-District"] == "demo"
        assert json.loads(hub.asked[0].body) == {"label": "LMS", "scopes": ["roster.read"]}

    def test_its_keys_are_never_sent_to_another_hub(
        self, hub: Script, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        announce("http://127.0.0.1:1")
        monkeypatch.delenv("RH_KEY")
        assert cli.run(["runs", "list"]) == 4
        assert hub.asked == []

    @pytest.mark.parametrize(
        ("code", "name", "ends"),
        [
            (401, "not_signed_in", 4),
            (403, "not_allowed", 4),
            (404, "not_found", 3),
            (422, "refused", 3),
        ],
    )
    @pytest.mark.parametrize("lang", LANGS)
    def test_a_refusal_is_told_with_the_hubs_own_words(  # noqa: PLR0917 -- a table
        self,
        hub: Script,
        capsys: pytest.CaptureFixture[str],
        code: int,
        name: str,
        ends: int,
        lang: str,
    ) -> None:
        hub.says("GET", PATH, (code, problem("a_code", "The words.", code)))
        assert cli.run(["--lang", lang, "runs", "show", RUN]) == ends
        said = capsys.readouterr().err
        assert said.startswith(f"{name}: ")
        assert "The words. (a_code)" in said
        assert KEY not in said

    def test_a_hub_that_is_not_there_ends_with_3(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["runs", "list", "--url", "http://127.0.0.1:1", "--key", KEY]) == 3
        assert capsys.readouterr().err.startswith("unreachable: http://127.0.0.1:1")

    def test_a_redirect_is_not_followed_with_the_key(self, hub: Script) -> None:
        hub.says("GET", PATH, (302, {}))
        assert cli.run(["runs", "show", RUN]) == 3


def announce(url: str) -> None:
    Path(".rosterhub").mkdir()
    facts = {"base_url": url, "district": "demo", "api_key": KEY, "admin_key": "rh_admin_x_y_z"}
    Path(".rosterhub/run.json").write_text(json.dumps(facts))


class TestPush:
    def test_streams_the_file_and_prints_the_address_first(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file = package()
        hub.says("POST", "/api/v1/imports", (202, a_run()))
        assert cli.run(["push", str(file)]) == 0
        asked = hub.asked[0]
        assert asked.body == file.read_bytes()
        assert asked.headers["Content-Type"] == "application/zip"
        assert asked.headers["X-Filename"] == "%E5%90%8D%E7%B0%BF.zip"
        assert asked.headers["Idempotency-Key"]
        assert capsys.readouterr().out == f"{hub.url}{PATH}\n"

    def test_a_busy_hub_is_tried_again_as_the_same_upload(self, hub: Script) -> None:
        busy = (429, problem("server_busy", "Busy.", 429))
        hub.says("POST", "/api/v1/imports", busy, (202, a_run()))
        assert cli.run(["push", str(package())]) == 0
        first, second = hub.asked
        assert first.body == second.body
        assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]

    def test_a_single_csv_says_what_it_is(self, hub: Script) -> None:
        Path("users.csv").write_text("sourcedId\n1\n")
        hub.says("POST", "/api/v1/imports", (202, a_run()))
        assert cli.run(["push", "users.csv"]) == 2
        assert cli.run(["push", "users.csv", "--entity", "users", "--mode", "upsert"]) == 0
        assert hub.asked[0].path == "/api/v1/imports?entity=users&mode=upsert"
        assert hub.asked[0].headers["Content-Type"] == "text/csv"

    def test_an_empty_file_is_not_sent(self, hub: Script) -> None:
        Path("empty.zip").touch()
        assert cli.run(["push", "empty.zip"]) == 2
        assert hub.asked == []

    def test_waits_until_applied_and_ends_with_0(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hub.says("POST", "/api/v1/imports", (202, a_run()))
        hub.says("GET", PATH, (200, a_run()), (200, APPLIED))
        hub.streams.append(
            event("snapshot", 1, **a_run())
            + event("stage_started", 2, stage="read")
            + "".join(advanced(3 + done, done) for done in range(0, 101, 5))
            + event("run_ended", 200, state="applied", version=7)
        )
        assert cli.run(["push", str(package()), "--wait"]) == 0
        said = capsys.readouterr()
        assert said.out.splitlines()[0] == f"{hub.url}{PATH}"
        assert re.search(r"^users +12 +3 +1 +0 +0 +0", said.out, re.MULTILINE)
        assert "Applied as version 7." in said.out
        assert "Findings: warnings 2" in said.out
        tenths = re.findall(r"^read users (\d+) %", said.err, re.MULTILINE)
        assert tenths == [str(10 * tenth) for tenth in range(1, 11)]

    def test_says_which_files_a_mapping_has_read(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        by_default, mapped = (
            {"mapping": version, "fingerprint": version and "f"} for version in (None, 4)
        )
        done = {**APPLIED, "mappings": {"orgs": by_default, "users": mapped}}
        hub.says("POST", "/api/v1/imports", (202, a_run()))
        hub.says("GET", PATH, (200, done))
        assert cli.run(["push", str(package()), "--wait"]) == 0
        said = capsys.readouterr().out
        assert "Read with the district's mapping: users.csv (version 4)." in said

    def test_says_it_in_json_and_nothing_else_on_standard_output(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hub.says("POST", "/api/v1/imports", (202, a_run()))
        hub.says("GET", PATH, (200, APPLIED))
        assert cli.run(["push", str(package()), "--wait", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == APPLIED

    @pytest.mark.parametrize(("lang", "words"), [("en", "is ture in"), ("ja", "が ture です")])
    def test_a_rejected_package_shows_the_first_ten_findings_and_ends_with_1(
        self, hub: Script, capsys: pytest.CaptureFixture[str], lang: str, words: str
    ) -> None:
        hub.says("POST", "/api/v1/imports", (202, a_run()))
        hub.says("GET", PATH, (200, REJECTED))
        pages = [[finding(line) for line in lines] for lines in (range(2, 9), range(9, 14))]
        hub.says(
            "GET",
            f"{PATH}/findings",
            (200, {"items": pages[0], "next": f"{PATH}/findings?cursor=x"}),
            (200, {"items": pages[1], "next": None}),
        )
        assert cli.run(["--lang", lang, "push", str(package()), "--wait"]) == 1
        said = capsys.readouterr()
        shown = [line for line in said.out.splitlines() if words in line]
        assert len(shown) == 10
        assert re.match(r"users +2 +enabledUser +", shown[0])
        assert f"rosterhub runs findings {RUN}" in said.err

    @pytest.mark.parametrize(
        ("state", "ends"), [("held", 5), ("review", 5), ("failed", 3), ("cancelled", 3)]
    )
    def test_the_exit_status_tells_every_other_outcome(
        self, hub: Script, state: str, ends: int
    ) -> None:
        hub.says("GET", PATH, (200, a_run(state=state)))
        assert cli.run(["runs", "watch", RUN]) == ends


class TestWatch:
    def test_a_broken_stream_goes_on_where_it_broke(self, hub: Script) -> None:
        hub.says("GET", PATH, (200, a_run()), (200, APPLIED))
        hub.streams += [
            event("snapshot", 1, **a_run()) + advanced(5, 10) + "event: file_adv",
            advanced(6, 20) + event("run_ended", 7, state="applied", version=7),
        ]
        assert cli.run(["runs", "watch", f"{hub.url}{PATH}"]) == 0
        streams = [asked for asked in hub.asked if asked.path.endswith("/events")]
        assert [asked.headers.get("Last-Event-ID") for asked in streams] == [None, "5"]

    def test_without_streams_it_asks_again_and_again(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        running = a_run(state="running", stage="read", files={"users": {"done": 1, "total": 2}})
        hub.says("GET", PATH, (200, a_run()), (200, running), (200, APPLIED))
        assert cli.run(["runs", "watch", RUN]) == 0
        said = capsys.readouterr().err
        assert "No live updates here" in said
        assert "read users 50 %  1/2 rows" in said

    def test_a_key_that_may_not_read_the_stream_is_told_so(self, hub: Script) -> None:
        hub.says("GET", PATH, (200, a_run()))
        hub.says("GET", f"{PATH}/events", (401, problem("unauthorisedrequest", "No.", 401)))
        assert cli.run(["runs", "watch", RUN]) == 4

    def test_events_of_a_newer_hub_are_passed_over(self, hub: Script) -> None:
        hub.says("GET", PATH, (200, a_run()), (200, APPLIED))
        hub.streams.append(
            event("guard_tripped", 1, share=0.4) + event("run_ended", 2, state="applied", version=7)
        )
        assert cli.run(["runs", "watch", RUN]) == 0

    @pytest.mark.parametrize(
        "words", [["--quiet", "runs", "watch", RUN], ["runs", "watch", RUN, "-q"]]
    )
    def test_quiet_prints_results_only(
        self, hub: Script, capsys: pytest.CaptureFixture[str], words: list[str]
    ) -> None:
        hub.says("GET", PATH, (200, a_run()), (200, APPLIED))
        hub.streams.append(advanced(1, 50) + event("run_ended", 2, state="applied", version=7))
        assert cli.run(words) == 0
        assert capsys.readouterr().err == ""


class TestLists:
    @pytest.mark.parametrize(
        "words", [["--lang", "ja", "runs", "list"], ["runs", "list", "--lang=ja"]]
    )
    def test_runs_in_the_readers_language(
        self, hub: Script, capsys: pytest.CaptureFixture[str], words: list[str]
    ) -> None:
        hub.says("GET", "/api/v1/imports", (200, {"items": [APPLIED, REJECTED], "next": None}))
        assert cli.run(words) == 0
        head, applied, rejected = capsys.readouterr().out.splitlines()
        assert "状態" in head
        assert "反映済み" in applied
        assert "要修正 12" in rejected

    def test_data_cannot_steer_the_terminal(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        evil = finding(2) | {"column": "\x1b[2Jx[bold]"}
        hub.says("GET", f"{PATH}/findings", (200, {"items": [evil], "next": None}))
        assert cli.run(["runs", "findings", RUN]) == 0
        said = capsys.readouterr().out
        assert "\x1b" not in said
        assert "[bold]" in said

    def test_districts_and_keys_in_json(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = {"items": [{"id": "demo", "name": "見本", "created_at": "2026"}], "next": None}
        hub.says("GET", "/api/v1/districts", (200, page))
        assert cli.run(["districts", "list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"items": page["items"]}

    def test_a_key_is_shown_alone_on_standard_output(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hub.says("POST", "/api/v1/keys", (201, {"id": "x", "key": "rh_x", "expires_at": "2027"}))
        assert cli.run(["keys", "create", "LMS"]) == 0
        assert capsys.readouterr().out == "rh_x\n"

    def test_nothing_is_deleted_without_a_yes(self, hub: Script) -> None:
        hub.says("DELETE", "/api/v1/districts/demo", (202, None))
        assert cli.run(["districts", "delete", "demo"]) == 2
        assert hub.asked == []
        assert cli.run(["districts", "delete", "demo", "--yes"]) == 0
        assert hub.asked[0].method == "DELETE"


class TestClients:
    """The systems that read a roster, as an administrator sees them."""

    path = "/api/v1/clients"
    scope = "https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly"

    def a_client(self, **changed: object) -> dict[str, Any]:
        found: dict[str, Any] = dict.fromkeys(("rate_limit", "last_used_at"))
        found |= {"id": "abc", "name": "LMS", "enabled": True, "networks": ["10.0.0.0/8"]}
        return found | {"scopes": [self.scope]} | changed

    def test_one_is_made_with_what_was_asked_for(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown = {"client_secret": "rh_secret_x", "client_secret_expires_at": "2027"}
        made = self.a_client(token_url="https://hub.example.jp/token", **shown)
        hub.says("POST", self.path, (201, made))
        words = ["--scope", "roster.readonly", "--scope", "1.1:roster.readonly"]
        words += ["--network", "10.0.0.0/8", "--rate-limit", "60", "--expires-in-days", "9"]
        assert cli.run(["clients", "create", "LMS", *words, "--lang", "ja"]) == 0
        assert json.loads(hub.asked[0].body) == {
            "name": "LMS",
            "scopes": [self.scope, self.scope.replace("v1p2", "v1p1")],
            "networks": ["10.0.0.0/8"],
            "rate_limit": 60,
            "expires_in_days": 9,
        }
        said = capsys.readouterr()
        assert [line.split() for line in said.out.splitlines()] == [
            ["client_id", "abc"],
            ["token_url", "https://hub.example.jp/token"],
            ["client_secret", "rh_secret_x"],
        ]
        assert "2027" in said.err
        assert JAPANESE.search(said.err)

    def test_scopes_are_listed_as_people_type_them(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hub.says("GET", self.path, (200, {"items": [self.a_client()], "next": None}))
        assert cli.run(["clients", "list"]) == 0
        row = capsys.readouterr().out.splitlines()[1].split()
        assert row == ["abc", "LMS", "✓", "roster.readonly", "10.0.0.0/8"]

    @pytest.mark.parametrize(
        ("words", "method", "path", "body"),
        [
            (["change", "abc", "--everywhere"], "PATCH", "/abc", {"networks": []}),
            (["change", "abc", "--name", "x"], "PATCH", "/abc", {"name": "x"}),
            (["disable", "abc"], "PATCH", "/abc", {"enabled": False}),
            (["enable", "abc"], "PATCH", "/abc", {"enabled": True}),
            (["rotate", "abc"], "POST", "/abc/secrets", {}),
            (["revoke", "abc", "s"], "DELETE", "/abc/secrets/s", None),
            (["delete", "abc", "--yes"], "DELETE", "/abc", None),
        ],
    )
    def test_every_command_is_one_request(  # noqa: PLR0917 -- a table
        self,
        hub: Script,
        capsys: pytest.CaptureFixture[str],
        words: list[str],
        method: str,
        path: str,
        body: object,
    ) -> None:
        made = {"id": "s", "expires_at": "2027", "client_secret": "rh_secret_x"}
        hub.says(method, f"{self.path}{path}", (200, made))
        assert cli.run(["clients", *words]) == 0
        [asked] = hub.asked
        assert (json.loads(asked.body) if asked.body else None) == body
        assert ("rh_secret_x" in capsys.readouterr().out) == (words[0] == "rotate")

    def test_none_is_deleted_without_a_yes(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(["clients", "delete", "abc"]) == 2
        assert hub.asked == []
        assert "rosterhub clients delete abc --yes" in capsys.readouterr().err

    def test_a_key_of_a_client_bears_the_scopes_of_the_standard(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = {"id": "k", "key": "rh_live_x", "expires_at": "2027"}
        hub.says("POST", f"{self.path}/abc/keys", (201, made))
        words = ["keys", "create", "sync", "--client", "abc", "--scope"]
        assert cli.run([*words, "roster.readonly"]) == 0
        assert json.loads(hub.asked[0].body) == {"label": "sync", "scopes": [self.scope]}
        assert capsys.readouterr().out == "rh_live_x\n"
        assert cli.run([*words, "imports"]) == 2
        assert len(hub.asked) == 1

    def test_origins_are_added_to_and_taken_from_those_there_are(
        self, hub: Script, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hub.says("GET", "/api/v1/origins", (200, {"origins": ["https://a.jp", "https://b.jp"]}))
        hub.says("PUT", "/api/v1/origins", (200, {"origins": ["https://b.jp", "https://c.jp"]}))
        words = ["--allow", "https://c.jp", "--remove", "https://a.jp"]
        assert cli.run(["clients", "origins", *words]) == 0
        assert json.loads(hub.asked[1].body) == {"origins": ["https://b.jp", "https://c.jp"]}
        assert capsys.readouterr().out.splitlines()[1:] == ["https://b.jp", "https://c.jp"]


class TestSample:
    def test_the_same_options_give_the_same_bytes(self) -> None:
        for name in ("one.zip", "two.zip"):
            assert cli.run(["sample", "--users", "60", "--schools", "2", "-o", name]) == 0
        assert Path("one.zip").read_bytes() == Path("two.zip").read_bytes()

    def test_without_a_name_it_gets_the_one_that_japan_asks_for(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run(["sample", "--users", "60", "--schools", "2", "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert re.fullmatch(r"RO_\d{8}_\d{6}\.zip", said["file"])
        assert said["rows"]["users"] == 60
        assert [path.name for path in Path().iterdir()] == [said["file"]]

    def test_faults_make_it_wrong(self) -> None:
        fault = next(iter(FAULTS))
        words = ["sample", "--users", "60", "--schools", "2", "--fault", fault, "-o", "wrong.zip"]
        assert cli.run(words) == 0
        assert Path("wrong.zip").exists()

    @pytest.mark.parametrize(
        "words",
        [["--users", "0"], ["--profile", "none"], ["--fault", "none"], ["--mutations", "2"]],
    )
    def test_an_impossible_district_is_wrong_usage(self, words: list[str]) -> None:
        assert cli.run(["sample", *words]) == 2
        assert list(Path().iterdir()) == []


class TestServerCommands:
    @pytest.mark.parametrize("command", ["serve", "work", "migrate"])
    def test_a_missing_setting_is_named(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.run([command]) == 2
        assert "ROSTERHUB_DATABASE_URL" in capsys.readouterr().err

    def test_a_misspelt_setting_is_told(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("ROSTERHUB_DATABSE_URL", "x")
        assert cli.run(["migrate"]) == 2
        assert "ROSTERHUB_DATABSE_URL" in capsys.readouterr().err

    def test_a_wrong_value_is_told_without_the_value(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("ROSTERHUB_PORT", "hunter2")
        assert cli.run(["serve"]) == 2
        said = capsys.readouterr().err
        assert "ROSTERHUB_PORT" in said
        assert "hunter2" not in said

    def test_an_absent_database_ends_with_3(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        url = "postgresql://rosterhub:hunter2@127.0.0.1:1/rosterhub"
        monkeypatch.setenv("ROSTERHUB_DATABASE_URL", url)
        assert cli.run(["migrate", "status"]) == 3
        assert "hunter2" not in capsys.readouterr().err

    def test_a_migrated_database_passes_the_check(
        self,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("ROSTERHUB_DATABASE_URL", database_url)
        assert cli.run(["migrate"]) == 0
        assert cli.run(["migrate", "check"]) == 0
        capsys.readouterr()
        assert cli.run(["migrate", "status", "--json"]) == 0
        listed = json.loads(capsys.readouterr().out)["migrations"]
        assert listed == [each._asdict() for each in status(database_url)]

    def test_a_missing_migration_fails_the_check(
        self,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        *_, last = status(database_url)
        with psycopg.connect(database_url) as connection:
            connection.execute(
                "delete from public._yoyo_migration where migration_id = %s", [last.id]
            )
        monkeypatch.setenv("ROSTERHUB_DATABASE_URL", database_url)
        assert cli.run(["migrate", "check"]) == 1
        assert last.id in capsys.readouterr().err

    def test_the_first_administrators_key_is_made_in_the_database(
        self,
        database_url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("ROSTERHUB_DATABASE_URL", database_url)
        monkeypatch.setenv("ROSTERHUB_SECRET_KEY", SECRET)
        assert cli.run(["keys", "create", "operator", "--admin"]) == 0
        key = capsys.readouterr().out.strip()
        assert key.startswith("rh_admin_")
        with psycopg.connect(database_url) as connection:
            assert is_valid_admin_key(connection, SECRET, key)
            assert not is_valid_admin_key(connection, SECRET[::-1], key)
            [(stored,)] = connection.execute("select hash from rosterhub.admin_keys").fetchall()
        assert key.split("_")[3].encode() not in stored

    def test_a_weak_secret_makes_no_key(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ROSTERHUB_DATABASE_URL", database_url)
        monkeypatch.setenv("ROSTERHUB_SECRET_KEY", "short")
        assert cli.run(["keys", "create", "operator", "--admin"]) == 2
