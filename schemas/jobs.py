"""Messages to the workers. A job names a run; the facts live in PostgreSQL (architecture D4)."""

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeAlias, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict

ProcessKind: TypeAlias = Literal["imports", "exports", "webhooks", "deltas", "service"]
PROCESSES: Mapping[ProcessKind, tuple[str, ...]] = {
    "imports": ("imports",),
    "exports": ("exports",),
    "webhooks": ("webhooks",),
    "deltas": ("deltas",),
    "service": ("maintenance",),
}
"""Which queue each kind of worker process serves: nobody waits behind another kind of work."""

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


class WriteExport(Job):
    """A district has an export to make."""

    kind = "write_export"
    queue = "exports"

    export_id: UUID


AnyJob: TypeAlias = (
    ImportRoster | PurgeDistrict | PreviewMapping | SendWebhooks | PrepareDeltas | WriteExport
)
JOBS: tuple[type[Job], ...] = get_args(AnyJob)
