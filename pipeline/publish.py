"""The end of an import that changes something: its version becomes what readers see."""

from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.types.json import Jsonb

from pipeline import claims, found
from pipeline.claims import SQL, Claim, Watch
from pipeline.database import Connection, one
from pipeline.merge import Merge
from pipeline.reading import Reader
from schemas.runs import Counts, Mode

WRITTEN = ("created", "updated", "deleted", "touched")


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
    merged: Mapping[str, Counts],
    *,
    rejected: Mapping[str, int],
) -> Published:
    """End the run as applied, and publish the version if anything changed.

    Part of the import's transaction. Raises Fenced where the claim is gone, which takes the whole
    transaction back.
    """
    db = merge.db
    claims.hold(db, claim)
    counts = settled(merged, reader, rejected)
    if touched := merge.touch_users(merged):
        counts.setdefault("users", Counts())["touched"] = touched
    changed = any(count.get(what) for count in counts.values() for what in WRITTEN)
    version = merge.version if changed else merge.version - 1
    found.save(db, claim, reader.findings, reader.package.files, reader.kept)
    claims.end(
        db,
        claim,
        state="applied",
        stage="publish",
        watch=watch,
        profile=reader.package.profile.name,
        version=version,
        counts=counts,
        findings=dict(reader.findings.counts),
    )
    if changed:
        move(db, claim, version, counts)
    return Published(version, counts)


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
    """Record the version, then move the district to it: the last statement before the commit."""
    facts = {**claim.key, "version": version, "counts": Jsonb(counts)}
    (published_at,) = one(db, SQL["add_version"], facts)
    db.execute(SQL["move_district"], {**facts, "published_at": published_at})
