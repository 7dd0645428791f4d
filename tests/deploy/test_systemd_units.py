"""The units for machines without containers."""

import configparser
import shutil
import subprocess
from importlib import resources
from pathlib import Path

import pytest

from deploy.cli import rosterhub

FOLDER = Path(str(resources.files("deploy") / "systemd"))
UNITS = {path.stem: path for path in sorted(FOLDER.glob("*.service"))}
HARDENING = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
}


def read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    parser.read(unit, encoding="utf-8")
    return parser


def test_the_units_are_gateway_migrate_and_worker() -> None:
    assert list(UNITS) == ["rosterhub-gateway", "rosterhub-migrate", "rosterhub-worker"]


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS.keys())
class TestEveryUnit:
    def test_runs_as_an_account_of_its_own_that_can_do_little(self, unit: Path) -> None:
        service = read(unit)["Service"]
        assert service["User"] == "rosterhub"
        assert {name: service.get(name) for name in HARDENING} == HARDENING

    def test_reads_the_settings_of_the_machine(self, unit: Path) -> None:
        assert read(unit)["Service"]["EnvironmentFile"] == "/etc/rosterhub/settings.env"

    def test_starts_a_command_that_exists(self, unit: Path) -> None:
        program, command, *_ = read(unit)["Service"]["ExecStart"].split()
        assert Path(program).name == "rosterhub"
        assert command in rosterhub.commands

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here to ask")
    def test_is_understood_by_systemd(self, unit: Path) -> None:
        said = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
        ).stderr
        complaints = [line for line in said.splitlines() if "is not executable" not in line]
        assert [line for line in complaints if unit.name in line] == []


def test_migrations_end_and_the_others_stay() -> None:
    kinds = {name: read(path)["Service"]["Type"] for name, path in UNITS.items()}
    assert kinds == {
        "rosterhub-gateway": "notify",
        "rosterhub-migrate": "oneshot",
        "rosterhub-worker": "exec",
    }


def test_workers_start_before_the_gateway() -> None:
    after = read(UNITS["rosterhub-gateway"])["Unit"]["After"].split()
    assert {"rosterhub-migrate.service", "rosterhub-worker.service"} <= set(after)


def test_gateway_and_workers_share_their_files() -> None:
    shared = [read(UNITS[name])["Service"] for name in ("rosterhub-gateway", "rosterhub-worker")]
    assert len({service["StateDirectory"] for service in shared}) == 1
    assert len({service["Environment"] for service in shared}) == 1
