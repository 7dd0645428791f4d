"""The shapes of the answers under /api/v1, by the names that clients generated from them will have.

Tests hold every answer against its shape. A property may come to an object later on, so clients
pass over what they do not know; what is here stays.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from pydantic import Field, StringConstraints
from typing_extensions import TypedDict  # pydantic reads it; typing.TypedDict only from 3.12

from api.changes import Kind
from schemas.audit import Operation, Party
from schemas.exports import ExportProfile, ExportState, File, Identifiers, Wanted
from schemas.lens import Lens
from schemas.proposals import Apply
from schemas.rules import Severity
from schemas.runs import Counts, Mode, Progress, Stage, State
from schemas.webhooks import DeliveryState, EventType, Failure, Notice

Json: TypeAlias = dict[str, Any]
Cause: TypeAlias = Literal["row", "record", "rule"]
Digest: TypeAlias = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
RunKind: TypeAlias = Literal["import", "undo", "erasure"]


class Both(TypedDict):
    """A sentence in both languages."""

    ja: str
    en: str


class Coded(TypedDict):
    """Why something failed: a code for programs, a sentence for people."""

    code: str
    message: Both


# --- Refusals ------------------------------------------------------------------------------


class Problem(TypedDict):
    """Problem details (RFC 9457); some codes add facts, such as `errors` by field."""

    type: str
    title: str
    status: int
    detail: str
    code: str


class TokenRefusal(TypedDict):
    """The refusal of a token (RFC 6749, 5.2)."""

    error: str
    error_description: str


# --- The process ---------------------------------------------------------------------------


class Process(TypedDict):
    """The process and its versions."""

    status: Literal["ok"]
    version: str
    python: str
    process: int
    since: datetime


class Alive(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Readiness(TypedDict):
    """Whether the process can serve."""

    status: Literal["ok", "unavailable"]
    postgresql: Literal["migrated", "not migrated", "unreachable"]
    redis: Literal["reachable", "unreachable"]


# --- Access --------------------------------------------------------------------------------


class DistrictShown(TypedDict):
    """A district."""

    id: str
    name: str
    created_at: datetime


class MadeKey(TypedDict):
    """A new key of a district; `key` is shown this once."""

    id: str
    label: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime
    key: str


class _Credential(TypedDict):
    id: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used_at: datetime | None


class AdminKeyShown(_Credential):
    """A key of an administrator, without itself."""

    label: str | None


class KeyShown(_Credential):
    """A key, without itself; `client` is whose it is, null: of the district."""

    label: str
    scopes: list[str]
    client: str | None


class ClientKeyShown(_Credential):
    """A key of a client, without itself."""

    label: str
    scopes: list[str]


class SecretShown(_Credential):
    """A secret of a client, without itself."""


class MadeClientKey(MadeKey):
    """A new key of a client; `key` is shown this once."""

    client: str


class MadeSecret(TypedDict):
    """A new secret; `client_secret` is shown this once."""

    id: str
    created_at: datetime
    expires_at: datetime
    client_secret: str


class ClientShown(TypedDict):
    """A system that reads the roster; `rate_limit` null: as the settings of the hub say."""

    id: str
    name: str
    enabled: bool
    scopes: list[str]
    networks: list[str]
    rate_limit: int | None
    lens_revision: int
    created_at: datetime
    last_used_at: datetime | None


class MadeClient(ClientShown):
    """A new client with its first secret, which is shown this once."""

    client_secret: str
    client_secret_expires_at: datetime
    token_url: str


class LensDocument(Lens):
    """The lens of a client, its revision, and schools in it that the roster does not know."""

    revision: int | None = None
    unknown_schools: tuple[str, ...] = ()


class Explained(TypedDict):
    """Why a client sees a record or does not, and what of it is left out."""

    entity: str
    sourcedId: str
    status: Literal["active", "tobedeleted"]
    visible: bool
    seen_as: str | None
    reasons: list[Json]
    left_out: list[Json]


class OriginsShown(TypedDict):
    """The web sites whose pages may ask."""

    origins: list[str]


class AccessToken(TypedDict):
    """A token, and what it opens."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int
    scope: str


# --- Runs ----------------------------------------------------------------------------------


class UploadShown(TypedDict):
    """What was sent."""

    bytes: int
    sha256: str
    name: str | None
    deleted_at: datetime | None


class Run(TypedDict):
    """A run: an import, or another change of the roster that stands in line with imports."""

    id: UUID
    kind: RunKind
    state: State
    stage: Stage | None
    entity: str | None
    mode: Mode | None
    profile: str | None
    mappings: Any
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    created_by: str
    cancelled_by: str | None
    retry_of: UUID | None
    version: int | None
    files: dict[str, Progress]
    rows_per_second: float | None
    eta_seconds: float | None
    counts: dict[str, Counts]
    findings: dict[str, int]
    failure: Coded | None
    upload: UploadShown | None
    apply: Apply | None
    as_of: date | None
    base_version: int | None
    diff: str | None
    preview: Json | None
    guard: Json | None
    decision: Json | None
    exclusions: Json | None
    rekey: Json | None
    supersedes: list[UUID] | UUID | None
    superseded_by: UUID | None
    links: dict[str, str]


class FindingShown(TypedDict):
    """Something that was found in a package; line 1 is the header."""

    seq: int
    file: str
    line: int | None
    column: str | None
    source: str | None
    sourcedId: str | None
    rule: str
    severity: Severity
    value: str | None
    message: Both
    hint: Both
    causedBy: int | None
    school: str | None
    row: str | None
    docs: Both


class Found(TypedDict):
    """How much was found; `followers` are findings that follow from others."""

    findings: int
    followers: int


class FoundSummary(Found):
    """What was found in a package, in numbers."""

    values: Literal["full", "masked"]
    severities: dict[str, Found]
    rules: list[Json]
    files: list[Json]
    schools: list[Json]
    schools_total: int
    links: dict[str, str]


class FindingsPage(TypedDict):
    """A page of findings; the first one has the numbers."""

    items: list[FindingShown]
    next: str | None
    summary: FoundSummary | None


class FoundGroup(Found):
    """What one correction resolves."""

    group: int
    cause: Cause
    resolves: int
    sentence: Both
    first: FindingShown
    links: dict[str, str]


class SchoolChanges(TypedDict):
    """How many records of an entity would change at a school."""

    school: str
    entity: str
    created: int
    updated: int
    deleted: int


class PreviewPage(TypedDict):
    """What a run would change, in numbers: of each entity, and a page of schools."""

    run: UUID
    state: State
    base_version: int
    diff: str
    counts: Json
    exclusions: Json | None
    items: list[SchoolChanges]
    next: str | None


class BeforeAfter(TypedDict):
    """A column, as it was and as it is."""

    before: Any
    after: Any


class Changed(TypedDict):
    """A record that changed, field by field."""

    entity: str
    sourcedId: str
    change: Kind
    fields: dict[str, BeforeAfter]


class ChangesPage(TypedDict):
    """A page of what a run would change; `diff` is the hash that an approval names."""

    diff: str
    base_version: int
    items: list[Changed]
    next: str | None


class RekeyEntry(TypedDict):
    """A record whose source uses another sourcedId now."""

    entity: str
    sourcedId: str
    hubSourcedId: str
    alike: list[str]


class RekeyPage(TypedDict):
    """A page of a proposed map; `accepted_as` is what accepting it comes to."""

    accepted_as: Json | None
    items: list[RekeyEntry]
    next: str | None


class AliasShown(TypedDict):
    """A sourcedId that a source uses for a record that the hub knows by another."""

    entity: str
    sourcedId: str
    hubSourcedId: str
    version: int


# --- Mappings ------------------------------------------------------------------------------


class MappingVersion(TypedDict):
    """A version of a mapping; `default`: every column from the one of the same name."""

    entity: str
    version: int
    default: bool
    created_at: datetime | None
    created_by: str | None
    restored_from: int | None


class MappingInUse(MappingVersion):
    """The mapping that an entity uses; `fingerprint` is equal where the mapping is."""

    fingerprint: str | None


class MappingShown(MappingInUse):
    """A mapping with the lookup tables that it names."""

    mapping: Json
    tables: dict[str, dict[str, str]]


class TemplateListed(TypedDict):
    """A mapping to begin with."""

    id: str
    entity: str
    title: Json
    description: Json


class TemplateShown(TemplateListed):
    """The same with its mapping, and lines that it reads."""

    sample: list[str]
    mapping: Json


class _Table(TypedDict):
    name: str
    version: int
    updated_at: datetime
    updated_by: str


class TableListed(_Table):
    """A lookup table, and how many entries it has."""

    entries: int


class TableShown(_Table):
    """A lookup table."""

    entries: dict[str, str]


class SamplePreview(TypedDict):
    """Rows before and after a mapping, as soon as a worker has answered."""

    id: UUID
    state: Literal["waiting", "done"]
    entity: str


# --- Versions ------------------------------------------------------------------------------


class VersionShown(TypedDict):
    """A version of the roster, what it came from and what it changed."""

    version: int
    kind: RunKind
    run: UUID
    published_at: datetime
    counts: dict[str, Counts]
    undoes: int | None
    undone_by: int | None
    released_at: datetime | None
    links: dict[str, str]


class TimelineEntry(TypedDict):
    """A version of a record, and the line of the file that made it."""

    version: int
    published_at: datetime | None
    kind: RunKind | None
    undoes: int | None
    change: Kind
    run: UUID | None
    upload: str | None
    file: str | None
    line: int | None
    fields: dict[str, BeforeAfter]
    links: dict[str, str | None]


class ErasureShown(TypedDict):
    """An erasure, with its receipt when it is done."""

    id: UUID
    state: State
    stage: Stage | None
    cause: Literal["request", "retention"]
    users: list[str]
    reference: str | None
    keep_out: bool
    released_at: datetime | None
    created_at: datetime
    created_by: str
    started_at: datetime | None
    finished_at: datetime | None
    version: int | None
    failure: Coded | None
    receipt: Json | None
    links: dict[str, str | None]


# --- Events and webhooks -------------------------------------------------------------------


class EventShown(TypedDict):
    """An event of the district, as webhooks are rung with it."""

    id: str
    type: EventType
    timestamp: datetime
    district: str
    sequence: int
    data: Json


class DisabledWebhook(TypedDict):
    """Why and since when a webhook is not rung."""

    because: str | None
    at: datetime | None


class NoticeShown(TypedDict):
    """What the owner of a webhook was told."""

    kind: Notice
    at: datetime
    message: Both


class WebhookShown(TypedDict):
    """A subscription; `events` null: all of them."""

    id: UUID
    client: str | None
    url: str
    events: list[EventType] | None
    description: str
    enabled: bool
    ordered: bool
    created_at: datetime
    created_by: str
    updated_at: datetime
    last_success_at: datetime | None
    last_failure_at: datetime | None
    failing_since: datetime | None
    paused_until: datetime | None
    disabled: DisabledWebhook | None
    notices: list[NoticeShown]
    previous_secret_until: datetime | None


class MadeWebhook(WebhookShown):
    """The same with its new secret, which is shown this once."""

    secret: str


class Ringing(TypedDict):
    """A delivery on its way."""

    id: str
    state: Literal["waiting"]


class Percentiles(TypedDict):
    """In seconds, how long attempts took; null: there were none."""

    p50: float | None
    p95: float | None
    p99: float | None


class Lately(TypedDict):
    """How the attempts of the last 24 hours went."""

    attempts: int
    delivered: int
    failed: int
    interrupted: int
    success_rate: float | None
    seconds: Percentiles
    failures: dict[Failure, int]
    statuses: dict[str, int]


class WebhookStatistics(TypedDict):
    """What waits for a webhook, and how it went lately."""

    deliveries: dict[DeliveryState, int]
    oldest_undelivered_at: datetime | None
    last_24_hours: Lately


class FailedAttempt(TypedDict):
    """Why an attempt failed."""

    code: Failure
    message: Both


class Attempt(TypedDict):
    """One try; without seconds it is under way, or was interrupted."""

    number: int
    at: datetime
    seconds: float | None
    status: int | None
    failure: FailedAttempt | None
    response: str | None


class DeliveryShown(TypedDict):
    """An event on its way to a webhook, and every attempt."""

    id: str
    type: EventType
    sequence: int
    version: int | None
    state: DeliveryState
    created_at: datetime
    next_attempt_at: datetime | None
    resent_at: datetime | None
    finished_at: datetime | None
    attempts: list[Attempt]


class DeliveryWithBody(DeliveryShown):
    """The same with the body as it was sent."""

    body: str


class Resent(TypedDict):
    """So many deliveries wait anew; `more`: the range has more, from behind the last on."""

    deliveries: int
    last: int | None
    more: bool


# --- Audit ---------------------------------------------------------------------------------


class AuditEntry(TypedDict):
    """Who read or changed what; never a value of a record."""

    at: datetime
    party: Party
    who: str | None
    credential: str | None
    operation: Operation
    method: str | None
    route: str | None
    target: str | None
    filter: str | None
    fields: str | None
    page: str | None
    records: int | None
    address: str | None
    status: int | None
    code: str | None
    request: str | None
    times: int
    lost: int
    chain: UUID
    seq: int
    hash: str


# --- Exports -------------------------------------------------------------------------------


class ExportFile(TypedDict):
    """The file of an export that is completed."""

    name: str
    bytes: int
    sha256: Digest
    deleted_at: datetime | None


class Replaced(TypedDict):
    """Signs of a file that its encoding does not have, and the first lines with one."""

    signs: int
    lines: list[int]


class ExportLinks(TypedDict):
    """Where an export is watched, and where its file is fetched."""

    events: str
    download: str


class ExportShown(TypedDict):
    """An export: what is wanted, how far it is, what came of it."""

    id: UUID
    kind: Literal["export"]
    state: ExportState
    wanted: Wanted
    client: str | None
    schedule: UUID | None
    due_at: datetime | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    created_by: str
    cancelled_by: str | None
    version: int | None
    since: int | None
    profile: ExportProfile | None
    identifiers: Identifiers | None
    files: dict[File, Progress]
    rows_per_second: float | None
    eta_seconds: float | None
    counts: dict[File, int]
    replaced: dict[File, Replaced]
    failure: Coded | None
    package: ExportFile | None
    links: ExportLinks


class Fetched(ExportFile):
    """Where a file can be fetched, and until when."""

    url: str
    expires_at: datetime


class ScheduleLinks(TypedDict):
    """Where the exports of a schedule are read."""

    exports: str


class ScheduleShown(TypedDict):
    """A schedule of exports."""

    id: UUID
    name: str
    cron: str
    time_zone: str
    export: Wanted
    client: str | None
    enabled: bool
    next_at: datetime | None
    last_at: datetime | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    links: ScheduleLinks


# --- The delta feed ------------------------------------------------------------------------


class SetSum(TypedDict):
    """What a set of records adds up to."""

    records: Annotated[int, Field(ge=0)]
    digest: Digest


class PackageShown(TypedDict):
    """What changed behind `since`, up to a version; `since` null: the whole roster."""

    version: int
    since: int | None
    format: Literal["ndjson", "csv"]
    profile: str | None
    entries: int
    name: str
    bytes: int
    sha256: Digest
    made_at: datetime
    url: str
    expires_at: datetime


class SumShown(SetSum):
    """What the records of an entity add up to; `school` null: all of them."""

    entity: File
    school: str | None


class SumsShown(TypedDict):
    """The checksums of a version."""

    version: int
    publishedAt: datetime | None
    items: list[SumShown]
    next: None


class PublishedSums(TypedDict):
    """When a version was published, and what a copy adds up to then; null: no longer kept."""

    publishedAt: datetime | None
    checksums: dict[File, SetSum] | None


class VersionPublished(TypedDict):
    """The end of a version in the feed."""

    version: int
    entity: None
    action: Literal["published"]
    sourcedId: None
    object: PublishedSums
