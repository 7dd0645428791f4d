"""Jobs and events survive the wire, and carry no more than ids and counts."""

from uuid import UUID

import pytest
from pydantic import ValidationError

from schemas.events import (
    EVENT,
    Event,
    ExportAdvanced,
    ExportEnded,
    FileAdvanced,
    RunEnded,
    RunStarted,
    StageStarted,
    stream,
)
from schemas.jobs import (
    JOBS,
    PROCESSES,
    QUEUES,
    ImportRoster,
    Job,
    PrepareDeltas,
    PreviewMapping,
    PurgeDistrict,
    SendWebhooks,
    WriteExport,
)
from schemas.runs import STAGES
from workers.port import message

RUN = UUID("00000000-0000-4000-8000-000000000001")
SENT = (
    ImportRoster(tenant_id=7, run_id=RUN),
    PurgeDistrict(tenant_id=7),
    PrepareDeltas(tenant_id=7),
    PreviewMapping(tenant_id=7, preview_id=RUN),
    SendWebhooks(tenant_id=7),
    WriteExport(tenant_id=7, export_id=RUN),
)
EVENTS: tuple[Event, ...] = (
    RunStarted(run_id=RUN, attempt=2),
    *(StageStarted(run_id=RUN, stage=stage) for stage in STAGES),
    FileAdvanced(run_id=RUN, stage="read", file="users", done=3, total=9),
    RunEnded(
        run_id=RUN,
        state="applied",
        version=3,
        counts={"users": {"rows": 3, "created": 1, "unchanged": 2}},
        findings={"warning": 1},
    ),
    RunEnded(run_id=RUN, state="rejected"),
    ExportAdvanced(run_id=RUN, file="users", done=3, total=9),
    ExportEnded(run_id=RUN, state="completed", version=3, counts={"users": 9}, bytes=1000),
)


@pytest.mark.parametrize("job", SENT, ids=lambda job: job.kind)
def test_a_job_arrives_as_it_was_sent(job: Job) -> None:
    carried = type(message(job)).decode(message(job).encode())
    kinds = {kind.kind: kind for kind in JOBS}
    assert kinds[carried.actor_name].model_validate(carried.kwargs) == job
    assert carried.queue_name == job.queue


def test_every_job_is_tried_here_and_has_a_queue_that_somebody_serves() -> None:
    assert {type(job) for job in SENT} == {*JOBS}
    assert {job.queue for job in JOBS} <= {*QUEUES}
    assert len({job.kind for job in JOBS}) == len(JOBS)


def test_every_queue_is_served_by_one_kind_of_process() -> None:
    served = [queue for queues in PROCESSES.values() for queue in queues]
    assert sorted(served) == sorted({*served}) == sorted(QUEUES)
    assert PROCESSES["imports"] == ("imports",)


def test_a_job_with_an_unknown_fact_is_refused() -> None:
    with pytest.raises(ValidationError):
        ImportRoster.model_validate({"tenant_id": 1, "run_id": str(RUN), "name": "太郎"})


def test_an_event_arrives_as_it_was_sent() -> None:
    assert [EVENT.validate_json(EVENT.dump_json(event)) for event in EVENTS] == [*EVENTS]


def test_an_event_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError):
        EVENT.validate_python({"kind": "run_sang", "run_id": str(RUN)})


def test_all_streams_hash_to_one_slot() -> None:
    assert stream(RUN) == f"{{rosterhub}}:runs:{RUN}"
