"""The bell: ids only, and no caller waits for it."""

import json
import os
import signal
import time
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError
from redis import Redis as Client
from structlog.testing import capture_logs

from deploy.local.redis import Redis
from schemas.jobs import ImportRoster, Job, PurgeDistrict
from workers.port import NAMESPACE, ring_on

RUN = UUID("00000000-0000-4000-8000-000000000001")
JOBS = (ImportRoster(tenant_id=7, run_id=RUN), PurgeDistrict(tenant_id=7))


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.kind)
def test_a_bell_waits_in_the_queue_with_ids_only(redis_url: str, job: Job) -> None:
    assert ring_on(redis_url)(job) is True
    with Client.from_url(redis_url) as client:
        (message_id,) = client.lrange(f"{NAMESPACE}:{job.queue}", 0, -1)
        (kept,) = client.hvals(f"{NAMESPACE}:{job.queue}.msgs")
    message = json.loads(kept)
    assert message.pop("options") == {"redis_message_id": message_id.decode()}
    assert UUID(message.pop("message_id"))
    assert isinstance(message.pop("message_timestamp"), int)
    ids = {"tenant_id": 7} | ({"run_id": str(RUN)} if isinstance(job, ImportRoster) else {})
    assert message == {"queue_name": job.queue, "actor_name": job.kind, "args": [], "kwargs": ids}


def test_a_bell_cannot_carry_a_name() -> None:
    with pytest.raises(ValidationError):
        ImportRoster.model_validate({"tenant_id": 7, "run_id": RUN, "givenName": "太郎"})


def test_a_redis_that_hangs_costs_less_than_a_second_and_raises_nothing(hurt_redis: Redis) -> None:
    heard, unheard = ring_on(hurt_redis.url), ring_on(hurt_redis.url)
    assert heard(JOBS[0]), "this one has a connection already"
    os.kill(hurt_redis.pid, signal.SIGSTOP)
    try:
        for ring in (heard, unheard, heard):
            began = time.monotonic()
            assert ring(JOBS[0]) is False
            assert time.monotonic() - began < 1
    finally:
        os.kill(hurt_redis.pid, signal.SIGCONT)


def test_a_redis_that_is_gone_is_logged_by_kind_and_heard_again_when_it_is_back(
    hurt_redis: Redis,
) -> None:
    ring = ring_on(hurt_redis.url)
    assert ring(JOBS[0])
    hurt_redis.kill()
    with capture_logs() as lines:
        began = time.monotonic()
        assert ring(ImportRoster(tenant_id=7, run_id=uuid4())) is False
        assert time.monotonic() - began < 1
    (line,) = lines
    assert line.pop("error").endswith("Error")
    assert line == {"event": "bell_not_rung", "kind": "import_roster", "log_level": "warning"}
    hurt_redis.start()
    assert ring(JOBS[0])
