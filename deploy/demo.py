"""The demo district: made and filled through the public API, as any district is.

All of it can be done twice. The package's own digest is the idempotency key of its upload: the same
package is imported once, and what somebody has sent to the district since then stays.
"""

import hashlib
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import requests

from deploy.client import PATIENCE, Client, Json, Refused
from deploy.data_folder import DataFolder
from deploy.following import settled
from deploy.messages import RUN_FAILED, Failure
from loadtests.rosters import District, package_name, write_package
from schemas.lens import GROUPS
from schemas.scopes import CLIENT_SCOPES

DISTRICT = "demo"
NAME = "見本市教育委員会"
SAMPLE = District(users=2000, schools=4)
CONFLICT = 409
IMPORTS = "/api/v1/imports"
TOKEN = "/token"  # noqa: S105 -- an address
KEYS = "/api/v1/keys"
CLIENTS = "/api/v1/clients"
LABEL = "rosterhub dev"
CLIENT = "demo-client"


class Demo(NamedTuple):
    """What a newcomer needs to try the hub."""

    key: str
    client_id: str
    client_secret: str
    token_url: str
    package: Path


def prepare(folder: DataFolder, url: str, admin_key: str, wait: Callable[[], None]) -> Demo:
    """A district with people in it, and a key for it. `wait` is called between two questions."""
    with Client(url, admin_key) as admin:
        create_district(admin)
        admin.speak_for(DISTRICT)
        key = folder.read("demo-key")
        if key is None or not works(url, key):
            key = folder.keep("demo-key", create_key(admin))
        client_id, client_secret = kept_client(folder, url) or create_client(admin, folder)
    package = write_sample(folder.path)
    with Client(url, key) as district:
        import_once(district, package, wait)
    return Demo(key, client_id, client_secret, f"{url}{TOKEN}", package)


def create_district(admin: Client) -> None:
    """The district, unless it is there."""
    try:
        admin.post("/api/v1/districts", {"id": DISTRICT, "name": NAME})
    except Refused as refused:
        if refused.status != CONFLICT:
            raise


def works(url: str, key: str) -> bool:
    """Whether the hub still accepts the key."""
    with Client(url, key) as district:
        try:
            district.get(IMPORTS, limit=1)
        except Refused:
            return False
        return True


def create_key(admin: Client) -> str:
    """A key with the usual scopes, in place of those that were lost."""
    for key in list(admin.items(KEYS, 100)):
        if key["label"] == LABEL and key["revoked_at"] is None:
            admin.delete(f"{KEYS}/{key['id']}")
    return str(admin.post(KEYS, {"label": LABEL})["key"])


def kept_client(folder: DataFolder, url: str) -> tuple[str, str] | None:
    """The client of the last time, if the hub still gives it tokens."""
    client_id, _, client_secret = (folder.read(CLIENT) or "").partition(" ")
    form = {"grant_type": "client_credentials", "scope": " ".join(CLIENT_SCOPES)}
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between us and ourselves
        answer = session.post(
            f"{url}{TOKEN}", data=form, auth=(client_id, client_secret), timeout=PATIENCE
        )
    return (client_id, client_secret) if answer.ok else None


def create_client(admin: Client, folder: DataFolder) -> tuple[str, str]:
    """A system that may read everything there is, in place of one that was lost."""
    for client in list(admin.items(CLIENTS, 100)):
        if client["name"] == LABEL:
            admin.delete(f"{CLIENTS}/{client['id']}")
    made = admin.post(CLIENTS, {"name": LABEL, "scopes": list(CLIENT_SCOPES)})
    # Invented people have nothing to hide, and a newcomer should see what there is.
    admin.put(f"{CLIENTS}/{made['id']}/lens", {"fields": sorted(GROUPS)})
    folder.keep(CLIENT, f"{made['id']} {made['client_secret']}")
    return made["id"], made["client_secret"]


def write_sample(folder: Path) -> Path:
    """The package, written anew: the same version of the hub writes the same bytes."""
    package = folder / package_name(SAMPLE)
    draft = package.with_suffix(".part")
    write_package(draft, SAMPLE)
    return draft.replace(package)


def import_once(district: Client, package: Path, wait: Callable[[], None]) -> None:
    """Push the package and see it applied. Where its first import went wrong, it gets another."""
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    run = pushed(district, package, f"demo-{digest}", wait)
    if run["state"] != "applied":
        run = pushed(district, package, str(uuid.uuid4()), wait)
    if run["state"] != "applied":
        said = run["failure"]["message"]["en"] if run["failure"] else f"{run['findings']}"
        raise Failure(RUN_FAILED, run=run["id"], state=run["state"], reason=said)


def pushed(district: Client, package: Path, once: str, wait: Callable[[], None]) -> Json:
    """The package's run, when nothing more happens to it."""
    run = district.upload(package, {}, once, lambda _done, _total: None)
    while not settled(run):
        wait()
        run = district.get(f"{IMPORTS}/{run['id']}")
    return run
