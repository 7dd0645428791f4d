"""A gateway for the commands that talk to one."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from schemas.settings import Settings
from tests.api.conftest import end
from tests.conftest import ROOT


@dataclass(frozen=True)
class Gateway:
    """gunicorn with our configuration, and where it is."""

    process: "subprocess.Popen[bytes]"
    url: str


@pytest.fixture
def url(gateway: Gateway) -> str:
    return gateway.url


@pytest.fixture
def gateway(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    changed = settings.model_copy(update={"port": port, "gateway_processes": 1})
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("ROSTERHUB_", "RH_"))}
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "api.main:app"]
    env = inherited | changed.to_env() | {"PYTHONPATH": str(ROOT)}
    env["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path_factory.mktemp("metrics"))
    server = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                requests.get(f"{address}/health/live", timeout=1).raise_for_status()
            except requests.RequestException:
                time.sleep(0.1)
            else:
                break
        yield Gateway(server, address)
    finally:
        end(server)
