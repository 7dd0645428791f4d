"""The end of an import that changes something: its version becomes what readers see."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, get_args

from psycopg.types.json import Jsonb

from pipeline import audit, claims
from pipeline.claims import SQL, Claim, Watch
from pipeline.database import Connection, one, tenant
from pipeline.events import published
from pipeline.merge import Merge
from pipeline.proposals import active
from pipeline.reading import Reader
from schemas.roster import ROSTERING
from schemas.runs import Counts, Mode

Written: TypeAlias = Literal["created", "updated", "deleted", "touched", "rekeyed"]
WRITTEN: tuple[Written, ...] = get_args(Written)
GROWN = 100  # new records after which the statistics of a table may be old,
SHARE = 0.05  # and their share of the district's records after which they are


@dataclass(frozen=True, slots=True)
class Published:
    """The version that stands after the run, and what became of each file."""

    version: int
    counts: dict[str, Counts]


def publish(
    claim: Claim,
    watch: Watch,
    merge: Merge,
    reader: Reader,
    counts: dict[str, Counts],
) -> Published:
    """End the run as applied, and publish the version if anything changed.

    Part of the import's transaction. Raises Fenced where the claim is gone, which takes the whole
    transaction back.
    """
    claims.hold(merge.db, claim)
    reader.remember(merge.db, claim)
    profile, findings = reader.package.profile.name, dict(reader.findings.counts)
    return finish(claim, watch, merge, counts, profile=profile, findings=findings)


def finish(
    claim: Claim,
    watch: Watch,
    merge: Merge,
    counts: dict[str, Counts],
    *,
    profile: str | None,
    findings: Mapping[str, int],
) -> Published:
    """The same of a run whose findings are stored already; the run must be held by the caller."""
    db = merge.db
    if touched := merge.touch_users(counts):
        counts.setdefault("users", Counts())["touched"] = touched
    changed = any(count.get(what) for count in counts.values() for what in WRITTEN)
    version = merge.version if changed else merge.version - 1
    claims.end(
        db,
        claim,
        state="applied",
        stage="publish",
        watch=watch,
        profile=profile,
        version=version,
        counts=counts,
        findings=findings,
    )
    if changed:
        move(db, claim, version, counts)
    return Published(version, counts)


def refresh(db: Connection, tenant_id: int, counts: Mapping[str, Counts]) -> None:
    """Let the planner know what has grown, before autovacuum comes round to it.

    What has grown by little is left to that: to look at five tables takes longer than to write a
    hundredth of them.
    """
    created = {file: count.get("created", 0) for file, count in counts.items()}
    if max(created.values(), default=0) <= GROWN:
        return
    with tenant(db, tenant_id):
        stored = active(db, tenant_id)
    for entity in ROSTERING:
        if created.get(entity.file, 0) > max(GROWN, SHARE * stored.get(entity.file, 0)):
            db.execute("call refresh_statistics(%s)", [entity.table])


def settled(
    merged: Mapping[str, Counts], reader: Reader, rejected: Mapping[str, int]
) -> dict[str, Counts]:
    """The counts of every file that was read or changed, with its rows and what was left alone."""
    modes = reader.package.modes
    return {
        file: balanced(counts, reader.rows[file], modes.get(file), rejected.get(file, 0))
        for file, counts in merged.items()
        if file in reader.rows or any(counts.values())
    }


def balanced(counts: Counts, rows: int, mode: Mode | None, rejected: int = 0) -> Counts:
    """Rows in = created + updated + unchanged + rejected, in a delta also + deleted."""
    written = counts.get("created", 0) + counts.get("updated", 0)
    if mode == "delta":
        written += counts.get("deleted", 0)
    return Counts(
        **counts, rows=rows, unchanged=max(rows - written - rejected, 0), rejected=rejected
    )


def move(db: Connection, claim: Claim, version: int, counts: Mapping[str, Counts]) -> None:
    """Record the version, then move the district to it."""
    show(db, claim, version, record(db, claim, version, counts))


def record(db: Connection, claim: Claim, version: int, counts: Mapping[str, Counts]) -> datetime:
    """Record the version; answer the instant at which it is published."""
    facts = {**claim.key, "version": version, "counts": Jsonb(counts)}
    records = sum(count.get(what, 0) for count in counts.values() for what in WRITTEN)
    audit.published(db, claim, version, records)
    (published_at,) = one(db, SQL["add_version"], facts)
    facts = {"jobId": str(claim.id), "kind": claim.kind, "counts": counts}
    published(db, claim.tenant_id, version, facts)
    return published_at  # type: ignore[no-any-return]  # the column says so


def show(db: Connection, claim: Claim, version: int, published_at: datetime) -> None:
    """Move the district to the version: the last statement before the commit."""
    facts = {**claim.key, "version": version, "published_at": published_at}
    db.execute(SQL["move_district"], facts)
