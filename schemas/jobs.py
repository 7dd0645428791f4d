"""Messages to the workers. A job names a run; the facts live in PostgreSQL (architecture D4)."""

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict

ProcessKind: TypeAlias = Literal["imports", "deltas", "service"]
PROCESSES: Mapping[ProcessKind, tuple[str, ...]] = {
    "imports": ("imports",),
    "deltas": ("deltas",),
    "service": ("exports", "webhooks", "maintenance"),
}
"""Which queues each kind of worker process serves: imports never wait behind anything else."""

QUEUES = tuple(queue for queues in PROCESSES.values() for queue in queues)


class Job(BaseModel):
    """A bell. `kind` is its name for ever; `queue` is where it rings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    queue: ClassVar[str]

    tenant_id: int


class ImportRoster(Job):
    """A district has a run to do: an import or an undo."""

    kind = "import_roster"
    queue = "imports"

    run_id: UUID


class PurgeDistrict(Job):
    """A district was deleted; its rows go."""

    kind = "purge_district"
    queue = "maintenance"


class PreviewMapping(Job):
    """A sample waits to be shown through a mapping."""

    kind = "preview_mapping"
    queue = "maintenance"

    preview_id: UUID


class PrepareDeltas(Job):
    """A district has a version, or a lens, for which the feed is not prepared."""

    kind = "prepare_deltas"
    queue = "deltas"


AnyJob: TypeAlias = ImportRoster | PurgeDistrict | PreviewMapping | PrepareDeltas
JOBS: tuple[type[Job], ...] = (ImportRoster, PurgeDistrict, PreviewMapping, PrepareDeltas)
