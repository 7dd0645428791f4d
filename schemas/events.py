"""What a run says about itself while it works. Ids and counts only: no personal value."""

from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from schemas.exports import ExportState
from schemas.runs import Counts, Stage, State


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    run_id: UUID


class RunStarted(_Event):
    """A worker took up the run, for the `attempt`-th time."""

    kind: Literal["run_started"] = "run_started"
    attempt: int


class StageStarted(_Event):
    """The run entered a stage."""

    kind: Literal["stage_started"] = "stage_started"
    stage: Stage


class FileAdvanced(_Event):
    """Some more rows of a file went through a stage: `done` of `total`."""

    kind: Literal["file_advanced"] = "file_advanced"
    stage: Stage
    file: str
    done: int
    total: int


class RunEnded(_Event):
    """The run reached a final state; `version` is the one it published, if any."""

    kind: Literal["run_ended"] = "run_ended"
    state: State
    version: int | None = None
    counts: dict[str, Counts] = {}
    findings: dict[str, int] = {}


class ExportAdvanced(_Event):
    """Some more rows of a file are written: `done` of `total`, which may be an estimate."""

    kind: Literal["export_advanced"] = "export_advanced"
    file: str
    done: int
    total: int


class ExportEnded(_Event):
    """The export reached a final state; `counts` are the rows of each file, `bytes` of the zip."""

    kind: Literal["export_ended"] = "export_ended"
    state: ExportState
    version: int | None = None
    counts: dict[str, int] = {}
    bytes: int | None = None


Event: TypeAlias = (
    RunStarted | StageStarted | FileAdvanced | RunEnded | ExportAdvanced | ExportEnded
)
Emit: TypeAlias = Callable[[Event], None]

EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def stream(run_id: UUID) -> str:
    """The Redis stream of a run; writer and reader ask here."""
    return f"{{rosterhub}}:runs:{run_id}"


STREAM_LENGTH = 10_000
STREAM_SECONDS = 86_400
