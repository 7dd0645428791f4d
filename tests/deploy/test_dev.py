"""`rosterhub dev`, as a newcomer meets it: the real command, in an empty folder."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from deploy.cli.screen import Screen
from deploy.data_folder import DataFolder
from deploy.dev import free_port
from deploy.local import processes
from deploy.messages import Failure
from schemas.settings import Settings

COMMAND = [sys.executable, "-m", "deploy.cli"]
PATIENCE = 120.0  # seconds
SERVERS = ("postgres", "redis")


class Hub:
    """A `rosterhub dev` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "--lang", "en", "dev"],
                cwd=folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.family: set[int] = set()

    @property
    def facts(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.folder / ".rosterhub/run.json").read_text())
        return found

    def wait_until_ready(self) -> None:
        self.wait_for((self.folder / ".rosterhub/run.json").exists)
        self.family = descendants(self.process.pid)

    def wait_for(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not done():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.05)

    def get(self, path: str, **query: int) -> dict[str, Any]:
        answer = requests.get(
            self.facts["base_url"] + path,
            params=query,
            headers={"Authorization": f"Bearer {self.facts['api_key']}"},
            timeout=10,
        )
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def rosterhub(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Another command in the same folder."""
        return subprocess.run(
            [*COMMAND, "--lang", "en", *words],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def stop(self, by: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(by)
        return self.process.wait(PATIENCE)


def environment() -> dict[str, str]:
    """No settings but free ports, and as few processes as there can be."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ROSTERHUB_", "RH_"))
    }
    few = {"ROSTERHUB_GATEWAY_PROCESSES": "1"}
    return kept | few | {"ROSTERHUB_PORT": "0", "ROSTERHUB_METRICS_PORT": "0"}


def descendants(pid: int) -> set[int]:
    table = processes.table()
    found, parents = set[int](), {pid}
    while parents:
        parents = {each.pid for each in table if each.parent in parents} - found
        found |= parents
    return found


def group_of(pid: int) -> int | None:
    """The process group; None of one that has ended since, as a server's own processes do."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def gone(pids: set[int], patience: float = 1.0) -> bool:
    until = time.monotonic() + patience
    while any(map(processes.is_running, pids)):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def open_ports(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname or "", parts.port or 0)) == 0


@contextmanager
def a_folder() -> Iterator[Path]:
    """A folder of its own, and afterwards nothing of it anywhere (root's servers lie outside)."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-dev-") as name:
        folder = Path(name)
        try:
            yield folder
        finally:
            for server in SERVERS:
                with suppress(OSError):
                    shutil.rmtree((folder / ".rosterhub" / server / "kept-in").readlink())


@contextmanager
def running(folder: Path) -> Iterator[Hub]:
    hub = Hub(folder)
    try:
        yield hub
    finally:
        if hub.process.poll() is None:
            hub.stop()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder in which hubs come and go."""
    with a_folder() as made:
        yield made


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[Hub]:
    """The first of them, until a test ends it."""
    with running(folder) as started:
        started.wait_until_ready()
        yield started


@pytest.fixture
def used_folder(folder: Path) -> Path:
    """The same folder, after a hub was ready in it."""
    if not (folder / ".rosterhub/demo-key").exists():
        with running(folder) as hub:
            hub.wait_until_ready()
    return folder


class TestRunning:
    def test_the_run_file_says_where_who_and_with_which_keys(self, hub: Hub) -> None:
        keys = {"api_key", "admin_key", "client_id", "client_secret", "token_url"}
        assert set(hub.facts) == {"base_url", "district"} | keys
        assert hub.facts["district"] == "demo"

    def test_the_demo_client_gets_a_token_and_reads_with_it(self, hub: Hub) -> None:
        facts = hub.facts
        scope = "https://purl.imsglobal.org/spec/or/v1p2/scope/roster.readonly"
        answer = requests.post(
            facts["token_url"],
            data={"grant_type": "client_credentials", "scope": scope},
            auth=(facts["client_id"], facts["client_secret"]),
            timeout=10,
        )
        assert (answer.status_code, answer.json()["scope"]) == (200, scope)
        read = requests.get(
            f"{facts['base_url']}/ims/oneroster/rostering/v1p2/users?limit=1",
            headers={"Authorization": f"Bearer {answer.json()['access_token']}"},
            timeout=10,
        )
        assert read.status_code == 200

    def test_the_demo_import_is_applied(self, hub: Hub) -> None:
        [run] = hub.get("/api/v1/imports")["items"]
        assert (run["state"], run["version"]) == ("applied", 1)
        assert run["counts"]["users"]["created"] == 2000

    def test_the_roster_answers(self, hub: Hub) -> None:
        assert len(hub.get("/ims/oneroster/rostering/v1p2/users", limit=1)["users"]) == 1

    def test_it_prints_the_address_the_key_and_three_commands(self, hub: Hub) -> None:
        hub.wait_for(lambda: " runs list" in hub.log.read_text())
        said = hub.log.read_text()
        for part in (hub.facts["base_url"], hub.facts["api_key"], "curl ", " push "):
            assert part in said

    def test_nobody_else_can_read_its_secrets(self, hub: Hub) -> None:
        data = hub.folder / ".rosterhub"
        assert data.stat().st_mode & 0o777 == 0o700
        for name in ("run.json", "secret-key", "admin-key", "demo-key", "demo-client"):
            assert (data / name).stat().st_mode & 0o777 == 0o600

    def test_a_second_one_in_the_same_folder_is_refused(self, hub: Hub) -> None:
        second = hub.rosterhub("dev")
        assert second.returncode == 3
        assert "already_running" in second.stderr
        assert hub.get("/ims/oneroster/rostering/v1p2/users", limit=1)

    def test_ctrl_c_in_the_terminal_reaches_only_itself(self, hub: Hub) -> None:
        group = os.getpgid(hub.process.pid)
        family = {pid: group_of(pid) for pid in hub.family}
        assert len({*family.values()} - {None}) > 1
        assert group not in family.values()

    def test_pushing_the_sample_again_changes_nothing(self, hub: Hub) -> None:
        [package] = (hub.folder / ".rosterhub").glob("*.zip")
        pushed = hub.rosterhub("push", str(package), "--wait")
        assert pushed.returncode == 0, pushed.stderr
        address, *table = pushed.stdout.splitlines()
        assert address.startswith(f"{hub.facts['base_url']}/api/v1/imports/")
        users = next(line.split() for line in table if line.startswith("users "))
        assert users[1:4] == ["0", "0", "2000"]

    def test_a_faulty_package_is_rejected_with_its_findings(self, hub: Hub) -> None:
        words = ["sample", "--users", "100", "--schools", "2", "--fault", "wrong_header"]
        assert hub.rosterhub(*words, "-o", "faulty.zip").returncode == 0
        pushed = hub.rosterhub("push", "faulty.zip", "--wait")
        assert pushed.returncode == 1, pushed.stderr
        assert "userMasterIdentifier" in pushed.stdout
        assert "rejected: " in pushed.stderr

    def test_one_csv_can_be_pushed(self, hub: Hub) -> None:
        columns = "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId"
        row = '"of-the-test","","","試験小学校","school","",""'
        (hub.folder / "orgs.csv").write_text(f"{columns}\n{row}\n", encoding="utf-8")
        words = ["push", "orgs.csv", "--entity", "orgs", "--mode", "upsert", "--wait", "--json"]
        pushed = hub.rosterhub(*words)
        assert pushed.returncode == 0, pushed.stderr
        assert json.loads(pushed.stdout)["counts"]["orgs"]["created"] == 1

    def test_keys_and_districts_are_managed_from_here(self, hub: Hub) -> None:
        made = json.loads(hub.rosterhub("keys", "create", "LMS", "--json").stdout)
        assert hub.rosterhub("runs", "list", "--key", made["key"]).returncode == 0
        assert hub.rosterhub("keys", "revoke", made["id"]).returncode == 0
        assert hub.rosterhub("runs", "list", "--key", made["key"]).returncode == 4
        assert hub.rosterhub("districts", "create", "other").returncode == 0
        assert hub.rosterhub("districts", "create", "other").returncode == 3
        assert hub.rosterhub("districts", "delete", "other", "--yes").returncode == 0

    def test_a_run_can_be_watched_after_its_end(self, hub: Hub) -> None:
        run = hub.get("/api/v1/imports")["items"][-1]
        watched = hub.rosterhub("runs", "watch", run["id"])
        assert watched.returncode == 0, watched.stderr
        assert "Applied as version 1." in watched.stdout


class TestStopping:
    def test_ctrl_c_ends_everything_it_started(self, hub: Hub) -> None:
        """That of all tests above."""
        address = hub.facts["base_url"]
        assert len(hub.family) > 5
        assert hub.stop() == 0
        assert gone(hub.family)
        assert not open_ports(address)
        assert not (hub.folder / ".rosterhub/run.json").exists()

    def test_ctrl_c_before_it_is_ready_ends_with_130(self, folder: Path) -> None:
        with running(folder) as hub:
            hub.wait_for(lambda: "Starting gateway" in hub.log.read_text())
            family = descendants(hub.process.pid)
            assert hub.stop() == 130
        assert gone(family)

    def test_the_next_start_finds_the_data_and_imports_nothing(self, used_folder: Path) -> None:
        data = used_folder / ".rosterhub"
        kept = ("admin-key", "demo-key", "demo-client")
        keys = [(data / name).read_text().strip() for name in kept]
        began = datetime.now(UTC)
        with running(used_folder) as hub:
            hub.wait_until_ready()
            runs = hub.get("/api/v1/imports")["items"]
            assert 1 in [run["version"] for run in runs]
            assert not [run for run in runs if datetime.fromisoformat(run["created_at"]) > began]
            client = f"{hub.facts['client_id']} {hub.facts['client_secret']}"
            assert [hub.facts["admin_key"], hub.facts["api_key"], client] == keys
            assert hub.stop(signal.SIGTERM) == 0
        assert gone(hub.family)

    def test_when_a_child_dies_it_says_so_and_ends_with_3(self, folder: Path) -> None:
        with running(folder) as hub:
            hub.wait_until_ready()
            [work] = [p.pid for p in processes.table() if is_work(p, hub.process.pid)]
            os.kill(work, signal.SIGKILL)
            assert hub.process.wait(PATIENCE) == 3
        assert "child_died: `work` ended with status -9" in hub.log.read_text()
        assert gone(hub.family)

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
    def test_nothing_outlives_a_killed_one(self, folder: Path) -> None:
        with running(folder) as hub:
            hub.wait_until_ready()
            assert hub.stop(signal.SIGKILL) == -9
            assert gone(hub.family, patience=40)


def is_work(process: processes.Process, parent: int) -> bool:
    return process.parent == parent and process.command.split()[-2:] == ["deploy.cli", "work"]


class TestDataFolder:
    def test_it_belongs_to_one_hub_at_a_time(self, tmp_path: Path) -> None:
        with (
            DataFolder.held(tmp_path),
            pytest.raises(Failure, match="Another"),
            DataFolder.held(tmp_path),
        ):
            pass
        with DataFolder.held(tmp_path):
            pass

    def test_it_tells_where_the_hub_is_only_while_it_is_there(self, tmp_path: Path) -> None:
        told = tmp_path / ".rosterhub/run.json"
        with DataFolder.held(tmp_path) as folder, folder.announced({"base_url": "here"}):
            assert json.loads(told.read_text()) == {"base_url": "here"}
        assert not told.exists()

    def test_what_a_killed_hub_told_is_forgotten(self, tmp_path: Path) -> None:
        with DataFolder.held(tmp_path) as folder:
            folder.keep("run.json", "{}")
        with DataFolder.held(tmp_path):
            assert not (tmp_path / ".rosterhub/run.json").exists()

    def test_its_secret_stays_the_same(self, tmp_path: Path) -> None:
        with DataFolder.held(tmp_path) as folder:
            first = folder.secret_key()
        with DataFolder.held(tmp_path) as folder:
            assert folder.secret_key() == first
        assert len(first) >= 32


class TestPort:
    @pytest.fixture
    def taken(self) -> Iterator[int]:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            yield other.getsockname()[1]

    def test_one_that_was_asked_for_and_is_taken_is_refused(self, taken: int) -> None:
        with pytest.raises(Failure, match=f"Port {taken}"):
            free_port(Screen("en"), Settings(port=taken), "host", "port")

    def test_a_taken_default_is_replaced_and_that_is_said(
        self, taken: int, capsys: pytest.CaptureFixture[str]
    ) -> None:
        by_default = Settings.model_construct(set(), **{**dict(Settings()), "port": taken})
        port = free_port(Screen("en"), by_default, "host", "port")
        assert port != taken
        assert f"Port {taken} is in use; taking {port}." in capsys.readouterr().err

    def test_zero_is_any_free_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert free_port(Screen("en"), Settings(port=0), "host", "port") > 1024
        assert capsys.readouterr().err == ""
