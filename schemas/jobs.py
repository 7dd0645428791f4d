"""Messages to the workers. A job names a run; the facts live in PostgreSQL (architecture D4)."""

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict

ProcessKind: TypeAlias = Literal["imports", "webhooks", "deltas", "service"]
PROCESSES: Mapping[ProcessKind, tuple[str, ...]] = {
    "imports": ("imports",),
    "webhooks": ("webhooks",),
    "deltas": ("deltas",),
    "service": ("exports", "maintenance"),
}
"""Which queues each kind of worker process serves: imports and webhooks wait for nobody else."""

QUEUES = tuple(queue for queues in PROCESSES.values() for queue in queues)


class Job(BaseModel):
    """A bell. `kind` is its name for ever; `queue` is where it rings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    queue: ClassVar[str]

    tenant_id: int


class ImportRoster(Job):
    """A district has a run to do: an import, an undo or an erasure, in the order they came."""

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


class SendWebhooks(Job):
    """Something has happened in a district, for which somebody wants to be rung."""

    kind = "send_webhooks"
    queue = "webhooks"


class PrepareDeltas(Job):
    """A district has a version, or a lens, for which the feed is not prepared."""

    kind = "prepare_deltas"
    queue = "deltas"


AnyJob: TypeAlias = ImportRoster | PurgeDistrict | PreviewMapping | SendWebhooks | PrepareDeltas
JOBS: tuple[type[Job], ...] = (
    ImportRoster,
    PurgeDistrict,
    PreviewMapping,
    SendWebhooks,
    PrepareDeltas,
)
