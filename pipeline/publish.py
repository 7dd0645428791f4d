"""Apply a change set as one version, in one transaction, and end the run in it."""

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from pipeline.claims import SQL, Claim, Watch, end, holding
from pipeline.database import Connection, one
from pipeline.merge import Merge
from schemas.roster import ROSTERING
from schemas.roster.people import User
from schemas.runs import Counts, Mode


def publish(
    db: Connection,
    claim: Claim,
    watch: Watch,
    *,
    base: int,
    rows: Mapping[str, int],
    modes: Mapping[str, Mode],
    findings: Mapping[str, int],
) -> tuple[int, dict[str, Counts]]:
    """Merge everything; answer the version and what became of each file.

    `base` is the version that the change set was computed against, `rows` and `modes` what was
    read of each file. Raises Fenced where the claim is gone, and Moved where the district has
    another version by now.
    """
    with holding(db, claim):
        (version, _) = one(db, SQL["lock_district"], claim.key)
        if version != base:
            raise Moved
        counts = merged(Merge(db, claim.tenant_id, base + 1), rows, modes)
        changed = any(changes(count) for count in counts.values())
        end(
            db,
            claim,
            state="applied",
            stage="publish",
            watch=watch,
            version=base + changed,
            counts=counts,
            findings=findings,
        )
        if changed:
            move(db, claim, base + 1, counts)
    return base + changed, counts


class Moved(Exception):
    """The district has another version than the change set was made for."""


def merged(merge: Merge, rows: Mapping[str, int], modes: Mapping[str, Mode]) -> dict[str, Counts]:
    """Merge every entity in load order, then the users of whom only parts changed."""
    counts: dict[str, Counts] = {}
    for entity in ROSTERING:
        done = merge.apply(entity)
        if entity.file in rows or changes(done):
            counts[entity.file] = settled(done, rows.get(entity.file, 0), modes.get(entity.file))
    if any(changes(count) for file, count in counts.items() if file in ("roles", "userProfiles")):
        touched = merge.touch_users()
        if touched:
            counts.setdefault(User.file, Counts())["touched"] = touched
    return counts


def changes(counts: Counts) -> int:
    """How many records these counts have written."""
    return (
        counts.get("created", 0)
        + counts.get("updated", 0)
        + counts.get("deleted", 0)
        + counts.get("touched", 0)
    )


def settled(counts: Counts, rows: int, mode: Mode | None) -> Counts:
    """The counts with the rows of the file, and those of them that were left alone."""
    written = counts.get("created", 0) + counts.get("updated", 0)
    if mode == "delta":
        written += counts.get("deleted", 0)
    return Counts(**counts, rows=rows, unchanged=max(rows - written, 0), rejected=0)


def move(db: Connection, claim: Claim, version: int, counts: Mapping[str, Counts]) -> None:
    """Publish the version; this is what readers see."""
    facts = {**claim.key, "version": version, "counts": Jsonb(counts)}
    (published_at,) = one(db, SQL["add_version"], facts)
    db.execute(SQL["move_district"], {**facts, "published_at": published_at})
