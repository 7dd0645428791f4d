"""A whole hub in one folder: what `rosterhub dev` does, and `make run` with it.

Real servers, real processes and a real import through the public interface; only the data folder is
special. Whatever was started is stopped again, last come, first out, however this ends.
"""

import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event

import requests
from pydantic import SecretStr

from deploy import demo, local
from deploy.admin_keys import create_admin_key, is_valid_admin_key
from deploy.children import Children, stopped_together
from deploy.cli.screen import Screen
from deploy.data_folder import DataFolder
from deploy.database import reached, translated
from deploy.local.server import PORTS
from deploy.logs import wants_colors
from deploy.messages import (
    CANNOT_START,
    DONE,
    IMPORTING_DEMO,
    INTERRUPTED,
    MIGRATING,
    NEVER_READY,
    PORT_CHANGED,
    PORT_TAKEN,
    READY,
    STARTING_HUB,
    STARTING_SERVERS,
    STOPPED,
    STOPPING,
    Failure,
)
from migrations import runner
from schemas.settings import PREFIX, Settings, plain

PATIENCE = 120.0  # seconds; a hub that is not ready by then never will be
PAUSE = 0.2  # seconds between two questions while starting
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop(BaseException):
    """Somebody asks us to stop. Not an error, so what catches errors lets it pass."""


def run(screen: Screen, given: Settings, project: Path) -> int:
    """Run a hub in the folder until somebody stops it; answer the exit status."""
    ready = Event()
    try:
        with ears() as close_ears, ExitStack() as started:
            try:
                start(screen, given, project, started, ready).watch()
            finally:
                close_ears()
                screen.note(STOPPING)
    except Stop:
        screen.note(STOPPED, folder=project)
    return DONE if ready.is_set() else INTERRUPTED


@contextmanager
def ears() -> Iterator[Callable[[], None]]:
    """Hear a request to stop as an exception, once: what stops us must not be stopped itself."""
    before = {each: signal.getsignal(each) for each in SIGNALS}

    def close() -> None:
        for each in SIGNALS:
            signal.signal(each, lambda *_: None)

    def hear(*_: object) -> None:
        close()
        raise Stop

    for each in SIGNALS:
        signal.signal(each, hear)
    try:
        yield close
    finally:
        close()
        for each, handler in before.items():
            signal.signal(each, handler)


def start(
    screen: Screen, given: Settings, project: Path, started: ExitStack, ready: Event
) -> Children:
    """Start everything, from the servers to the demo district, and say so when all is there."""
    began = time.monotonic()
    folder = started.enter_context(DataFolder.held(project))
    screen.note(STARTING_SERVERS)
    servers = started.enter_context(servers_in(folder, given))
    settings = completed(screen, given, folder, servers)
    address = address_of(settings)
    screen.note(MIGRATING)
    admin_key = migrated(settings, folder)
    screen.note(STARTING_HUB)
    children = started.enter_context(stopped_together())
    launch(children, settings)
    wait = patience(children)
    wait_until_ready(address, wait)
    screen.note(IMPORTING_DEMO)
    shown = demo.prepare(folder, address, admin_key, wait)
    facts = {
        "base_url": address,
        "district": demo.DISTRICT,
        "api_key": shown.key,
        "admin_key": admin_key,
        "client_id": shown.client_id,
        "client_secret": shown.client_secret,
        "token_url": shown.token_url,
    }
    ready.set()
    started.enter_context(folder.announced(facts))
    welcome(screen, address, shown, time.monotonic() - began)
    return children


@contextmanager
def servers_in(folder: DataFolder, given: Settings) -> Iterator[local.Servers]:
    """PostgreSQL and Redis: those that are named, else our own."""
    urls = {
        "database_url": plain(given.database_url) if given.database_url else None,
        "redis_url": plain(given.redis_url) if given.redis_url else None,
    }
    with ExitStack() as stack:
        try:
            servers = stack.enter_context(local.servers(folder.path, **urls))
        except local.CannotStart as error:
            raise Failure(CANNOT_START, reason=error) from error
        yield servers


def completed(
    screen: Screen, given: Settings, folder: DataFolder, servers: local.Servers
) -> Settings:
    """The settings of the children: what was given, and what a development hub adds."""
    own: dict[str, object] = {
        "database_url": SecretStr(servers.database_url),
        "redis_url": SecretStr(servers.redis_url),
        "port": free_port(screen, given, "host", "port"),
        "metrics_port": free_port(screen, given, "metrics_host", "metrics_port"),
    }
    if given.secret_key is None:
        own["secret_key"] = SecretStr(folder.secret_key())
    if "object_store" not in given.model_fields_set:
        own["object_store"] = str(folder.path / "objects")
    if "log_format" not in given.model_fields_set:
        own["log_format"] = "console"
    settings = given.model_copy(update=own)
    public_url = settings.public_url or address_of(settings)
    return settings.model_copy(update={"public_url": public_url})


def free_port(screen: Screen, given: Settings, host_name: str, port_name: str) -> int:
    """The port of a setting if it is free, else another one, unless it was asked for."""
    host: str = getattr(given, host_name)
    wanted: int = getattr(given, port_name)
    if wanted and is_free(host, wanted):
        return wanted
    if wanted and port_name in given.model_fields_set:
        raise Failure(PORT_TAKEN, port=wanted)
    port = next(port for port in iter(any_port, None) if is_free(host, port))
    if wanted:
        screen.note(PORT_CHANGED, taken=wanted, port=port)
    return port


def any_port() -> int:
    """One of the ports that systems do not give to outgoing connections."""
    return secrets.choice(PORTS)


def is_free(host: str, port: int) -> bool:
    """Whether a server may listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        with suppress(OSError):
            probe.bind((host, port))
            return True
    return False


def address_of(settings: Settings) -> str:
    """Where this machine reaches the gateway."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 -- not bound
    host = everywhere.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def migrated(settings: Settings, folder: DataFolder) -> str:
    """Bring the database to this version; answer an administrator's key, the last one if good."""
    url, secret_key = plain(settings.database_url), plain(settings.secret_key)
    with translated():
        runner.up(url)
    with reached(url) as connection:
        kept = folder.read("admin-key")
        if kept and is_valid_admin_key(connection, secret_key, kept):
            return kept
        key, _ = create_admin_key(connection, secret_key, label="rosterhub dev")
    return folder.keep("admin-key", str(key))


def launch(children: Children, settings: Settings) -> None:
    """Start gateway and workers as an operator does: by command and environment."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    env = {**outside, **settings.to_env()}
    if wants_colors(sys.stderr, os.environ):
        env["FORCE_COLOR"] = "1"  # a pipe stands between them and the terminal
    for name, command in (("api", "serve"), ("work", "work")):
        children.start(name, [sys.executable, "-P", "-m", "deploy.cli", command], env)


def patience(children: Children) -> Callable[[], None]:
    """A moment's wait, which fails when a child has ended or all this takes too long."""
    until = time.monotonic() + PATIENCE

    def wait() -> None:
        children.check()
        if time.monotonic() > until:
            raise Failure(NEVER_READY, seconds=f"{PATIENCE:.0f}")
        time.sleep(PAUSE)

    return wait


def wait_until_ready(address: str, wait: Callable[[], None]) -> None:
    """Until the gateway says that it can serve."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between us and ourselves
        while not is_ready(session, address):
            wait()


def is_ready(session: requests.Session, address: str) -> bool:
    """What the gateway says now."""
    try:
        return session.get(f"{address}/health/ready", timeout=2).ok
    except requests.RequestException:
        return False


def welcome(screen: Screen, address: str, shown: demo.Demo, seconds: float) -> None:
    """What a newcomer wants to know."""
    users = f"{address}/ims/oneroster/rostering/v1p2/users?limit=3"
    package = os.path.relpath(shown.package)
    screen.result(
        screen.say(
            READY,
            seconds=f"{seconds:.1f}",
            base_url=address,
            district=demo.DISTRICT,
            key=shown.key,
            curl=f"curl -H 'Authorization: Bearer {shown.key}' '{users}'",
            push=f"{our_name()} push {package} --wait",
            runs=f"{our_name()} runs list",
        )
    )


def our_name() -> str:
    """How this very command is called from here."""
    ours = Path(sys.argv[0])
    found = shutil.which("rosterhub")
    if ours.name != "rosterhub" or (found and Path(found).samefile(ours)):
        return "rosterhub"
    return os.path.relpath(ours)
