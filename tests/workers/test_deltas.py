"""The feed and its packages are made behind an import, by a process of its own."""

import obstore
import pytest

from tests.workers.conftest import Hub, Package, Start

FAR = 60.0  # seconds; nobody looks by himself meanwhile
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.mark.parametrize("changes", [{"poll": FAR}, {"poll": 0.5, "redis_url": NOWHERE}])
def test_a_version_is_prepared_soon_after_its_import(
    hub: Hub, district: int, package: Package, start: Start, changes: dict[str, object]
) -> None:
    work = start("--process", "deltas", **changes)
    hub.wait(lambda: "worker_started" in work.lines, patience=20)
    hub.admin.execute("insert into feed_followers values (%s, '', true, '', 0, 0)", [district])
    run_id = hub.push(district, package())
    start("--process", "imports", poll=0.5)
    hub.wait(lambda: hub.run(run_id)["state"] == "applied", patience=20)
    query = "select coalesce(max(version), 0) from feed_sums where tenant_id = %s"
    hub.wait(lambda: hub.one(query, district) == (1,), patience=5)
    query = "select version, bytes, name from feed_packages where tenant_id = %s"
    hub.wait(lambda: hub.admin.execute(query, [district]).fetchone() is not None, patience=5)
    version, size, name = hub.one(query, district)
    (key,) = hub.files("packages")
    lines = bytes(obstore.get(hub.store, key).bytes())
    assert (version, size, name) == (1, len(lines), "deltas-1.ndjson")
    assert lines.endswith(b"}\n")
    assert b'"action":"published"' in lines.splitlines()[-1]
