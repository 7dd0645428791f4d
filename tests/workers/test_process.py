"""A worker process finds its work, with a bell or without."""

from deploy.local.redis import Redis
from schemas.jobs import ImportRoster, PurgeDistrict
from tests.workers.conftest import Hub, Package, Start, Work
from workers.port import ring_on

FAR = 60.0  # seconds; nobody looks by himself meanwhile
SOON = 10.0  # seconds, however busy the machine is


def begun(hub: Hub, work: Work) -> Work:
    hub.wait(lambda: "worker_started" in work.lines)
    return work


def test_work_is_found_without_a_bell(
    hub: Hub, district: int, package: Package, start: Start
) -> None:
    begun(hub, start("--process", "imports", poll=0.5))
    run_id = hub.push(district, package())
    hub.wait(lambda: hub.run(run_id)["state"] == "applied")
    run = hub.run(run_id)
    assert (run["started_at"] - run["created_at"]).total_seconds() < SOON


def test_work_is_found_while_redis_is_away(
    hub: Hub, district: int, package: Package, start: Start
) -> None:
    work = start("--process", "imports", poll=0.5, redis_url="redis://127.0.0.1:1/0")
    run_id = hub.push(district, package())
    begun(hub, work)
    hub.wait(lambda: hub.run(run_id)["state"] == "applied")


def test_a_bell_is_heard_at_once_and_a_doubled_one_does_nothing_twice(
    hub: Hub, district: int, package: Package, start: Start, redis_url: str
) -> None:
    begun(hub, start("--process", "imports", poll=FAR))
    ring = ring_on(redis_url)
    run_id = hub.push(district, package())
    bell = ImportRoster(tenant_id=district, run_id=run_id)
    for _ in range(3):
        assert ring(bell)
    hub.wait(lambda: hub.run(run_id)["state"] == "applied", patience=SOON)
    once = hub.run(run_id)
    assert (once["started_at"] - once["created_at"]).total_seconds() < SOON
    ring(bell)
    later = hub.push(district, package())
    ring(ImportRoster(tenant_id=district, run_id=later))
    hub.wait(lambda: hub.run(later)["state"] == "applied", patience=SOON)
    assert hub.run(run_id) == once
    assert once["attempts"] == hub.run(later)["attempts"] == 1
    assert hub.count("versions", district) == 1


def test_a_bell_is_heard_again_after_redis_died(
    hub: Hub, district: int, package: Package, start: Start, hurt_redis: Redis
) -> None:
    begun(hub, start("--process", "imports", poll=FAR, redis_url=hurt_redis.url))
    hurt_redis.kill()
    run_id = hub.push(district, package())
    hurt_redis.start()
    assert ring_on(hurt_redis.url)(ImportRoster(tenant_id=district, run_id=run_id))
    hub.wait(lambda: hub.run(run_id)["state"] == "applied")


def test_a_bell_purges_a_deleted_district(
    hub: Hub, district: int, start: Start, redis_url: str
) -> None:
    hub.push(district)
    begun(hub, start("--process", "service"))
    hub.admin.execute("update districts set deleted_at = now()")
    assert ring_on(redis_url)(PurgeDistrict(tenant_id=district))
    hub.wait(lambda: hub.count("districts", district) == 0)
