"""An undo, told as its steps: a version is taken back, and that makes a version of its own.

read: what the version changed is judged record by record and the way back is staged, from the
before-images of the history. check: references, as for an import. apply and publish: as for an
import. All of it is one transaction under the lock on the district.

A history row is true from its `version` until before `until_version`: the before-image of version v
ends at v, and a record without one was made by v. A record whose values are no longer those that v
gave it was changed since; it is named and left. So is one whose values from before were erased.
Users of whom v changed a part only go with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pipeline import claims, found, loads, publish, rekeyed, stage
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, one, tenant
from pipeline.faults import Findings, TooMany
from pipeline.limits import Limits
from pipeline.merge import Merge, listed, values
from pipeline.records.asking import Asking
from pipeline.records.state import Stored
from pipeline.stage import gone, is_empty, names, staged
from schemas import rules
from schemas.digests import ERASED
from schemas.events import Emit, FileAdvanced, RunEnded, RunStarted, StageStarted
from schemas.profiles import V1_2_1
from schemas.roster import ROSTERING, AnyEntity
from schemas.rules import Finding
from schemas.runs import Counts, Stage
from schemas.statements import load

NAMED = load("pipeline", "undo.sql")
WORK_MEM = "128MB"  # some hash tables at a time
SHOWN = 1000  # references of one kind that hold no more
WRITTEN = ("created", "updated", "deleted", "touched", "rekeyed")


class Refused(Exception):
    """The version cannot be taken back: what was done so far is."""


@dataclass(slots=True)
class Undo:
    """One attempt at one undo: its collaborators, and what it has done so far."""

    claim: Claim
    db: Connection
    watch: Watch
    emit: Emit
    limits: Limits = field(default_factory=Limits)
    findings: Findings = field(init=False)
    counts: dict[str, Counts] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        limit = self.limits.findings_max
        self.findings = Findings(limit, each=limit)  # what was left as it is, one by one

    @property
    def undone(self) -> int:
        """The version that is taken back."""
        if self.claim.undoes is None:
            raise LookupError("undoes")
        return self.claim.undoes

    @property
    def _room(self) -> int:
        """How many records of an entity can be named, so that none pushes out another's."""
        return self.limits.findings_max // (len(ROSTERING) + 1)

    def run(self) -> RunEnded:
        """Take the version back, or leave the roster as it was."""
        self.emit(RunStarted(run_id=self.claim.id, attempt=self.claim.attempt))
        try:
            with tenant(self.db, self.claim.tenant_id):
                version = self._steps()
        except (Refused, TooMany):
            return self._reject()
        return RunEnded(
            run_id=self.claim.id,
            state="applied",
            version=version,
            counts=self.counts,
            findings=dict(self.findings.counts),
        )

    def _steps(self) -> int:
        base, _ = loads.lock(self.db, self.claim)
        merge = Merge(self.db, self.claim.tenant_id, base + 1)
        self.db.execute(f"set local work_mem = '{WORK_MEM}'")
        stage.create(self.db)
        self._enter("read")
        self._once_only()
        for entity in ROSTERING:
            self._read(entity, merge)
        self._enter("check")
        state = Stored(self.db, self.claim.tenant_id, first=False)
        asking = Asking(state, self.findings, V1_2_1, SHOWN)
        self.findings.add(asking.errors())
        self.findings.add(asking.vanished(state))
        self._unless_wrong()
        self._enter("apply")
        for entity in ROSTERING:
            self._apply(entity, merge)
        self._enter("publish")
        return self._publish(merge)

    def _enter(self, name: Stage) -> None:
        self.watch.stage = name
        self.watch.check()
        self.emit(StageStarted(run_id=self.claim.id, stage=name))

    def _once_only(self) -> None:
        """A version is not undone twice; known for sure only under the lock."""
        (undone_by,) = one(self.db, NAMED["undone_by"], self.claim.key)
        if undone_by is not None:
            facts = {"version": self.undone, "undone_by": undone_by}
            self.findings.add(
                [Finding(rule=rules.undo.UNDONE_ALREADY, file="versions", facts=facts)]
            )
        self._unless_wrong()

    def _unless_wrong(self) -> None:
        if self.findings.fatal:
            raise Refused

    def _read(self, entity: AnyEntity, merge: Merge) -> None:
        """Judge what the version changed, stage the way back, name what was changed since."""
        rows = judge(self.db, entity, merge, self.undone)
        if rows == 0:
            return
        stage_way_back(self.db, entity, merge, self.undone)
        self.findings.add(left_alone(self.db, entity, self._room))
        self.counts[entity.file] = Counts(rows=rows)
        self.watch.advance(entity.file, rows, rows)
        run_id, file = self.claim.id, entity.file
        self.emit(FileAdvanced(run_id=run_id, stage="read", file=file, done=rows, total=rows))

    def _apply(self, entity: AnyEntity, merge: Merge) -> None:
        """Rows are what the version had changed; unchanged are those that were left."""
        if (counts := self.counts.get(entity.file)) is None:
            return
        became = merge.apply(entity)
        written = became.get("updated", 0) + became.get("deleted", 0)
        counts.update(became)
        counts.update(Counts(unchanged=counts["rows"] - written, rejected=0))

    def _publish(self, merge: Merge) -> int:
        """End the run, and publish the version if anything came back."""
        db, claim = self.db, self.claim
        claims.hold(db, claim)
        if touched := merge.touch_users(self.counts):
            self.counts.setdefault("users", Counts())["touched"] = touched
        for file, renamed in rekeyed.taken_back(db, claim).items():
            self.counts.setdefault(file, Counts())["rekeyed"] = renamed
        changed = any(count.get(what) for count in self.counts.values() for what in WRITTEN)
        version = merge.version if changed else merge.version - 1
        found.save(db, claim, self.findings)
        self._end("applied", version)
        if changed:
            db.execute(NAMED["falls"], claim.key)
            db.execute(NAMED["stands"], {**claim.key, "version": version})
            publish.move(db, claim, version, self.counts)
        return version

    def _reject(self) -> RunEnded:
        self.counts = {
            file: Counts(rows=count["rows"], rejected=count["rows"])
            for file, count in self.counts.items()
        }
        with claims.holding(self.db, self.claim):
            found.save(self.db, self.claim, self.findings)
            self._end("rejected", None)
        return RunEnded(
            run_id=self.claim.id,
            state="rejected",
            counts=self.counts,
            findings=dict(self.findings.counts),
        )

    def _end(self, state: str, version: int | None) -> None:
        claims.end(
            self.db,
            self.claim,
            state=state,
            stage=self.watch.stage,
            watch=self.watch,
            version=version,
            counts=self.counts,
            findings=dict(self.findings.counts),
        )


# --- The way back --------------------------------------------------------------------------


def judge(db: Connection, entity: AnyEntity, merge: Merge, undone: int) -> int:
    """Judge every record whose values the version changed; answer how many there are."""
    return db.execute(compose(JUDGE, entity, merge, undone=undone)).rowcount


def stage_way_back(db: Connection, entity: AnyEntity, merge: Merge, undone: int) -> None:
    """Before-images become staged rows, records that the version made become gone keys."""
    db.execute(compose(RESTORE, entity, merge, undone=undone))
    db.execute(compose(REMOVE, entity, merge, undone=undone))
    stage.analyze(db, entity)


def left_alone(db: Connection, entity: AnyEntity, limit: int) -> Iterator[Finding]:
    """The records that are left as they are, with the version that changed them last."""
    query = SQL(LEFT).format(judged=judged(entity), limit=Literal(limit))
    for sourced_id, since, verdict in db.execute(query):
        yield Finding(
            rule=rules.undo.ERASED if verdict == "erased" else rules.undo.CHANGED_SINCE,
            file=f"{entity.file}.csv",
            sourced_id=sourced_id,
            facts={"since": since},
        )


def judged(entity: AnyEntity) -> Identifier:
    """The table of verdicts: `restore`, `remove`, `left`, `erased`, or `back`: nothing to do."""
    return Identifier("pg_temp", f"judged_{entity.table}")


def compose(statement: LiteralString, entity: AnyEntity, merge: Merge, **facts: int) -> Composed:
    """A statement of this module, for an entity."""
    columns = names(entity)
    own = values(columns)
    return SQL(statement).format(
        live=Identifier(entity.table),
        history=Identifier(f"{entity.table}_history"),
        judged=judged(entity),
        judged_name=Identifier(f"judged_{entity.table}"),
        staged=staged(entity),
        gone=gone(entity),
        columns=listed(columns),
        before_columns=listed(columns, "b"),
        now=row(own, "l"),
        then=row(own, "a"),
        before=row(own, "b"),
        coming=row(own, "s"),
        tenant=Literal(merge.tenant_id),
        erased=Literal(ERASED),
        **{name: Literal(value) for name, value in facts.items()},
    )


def row(columns: list[str], alias: str) -> Composable:
    """The values of a record, to be compared as one."""
    return SQL("({})").format(listed(columns, alias))


# l: as it stands. a: as the version left it, where it was written since. b: as it was before.
# What was erased is not to be had back: its image comes back only as the tombstone that it is.
JUDGE = """
    create temporary table {judged_name} on commit drop as
    select l.sourced_id, l.version as since,
        case
            when b.sourced_id is null and l.status <> 'active'
                or {now} is not distinct from {before} then 'back'
            when l.digest = {erased} or b.digest = {erased} and b.status = 'active' then 'erased'
            when l.version > {undone} and {now} is distinct from {then} then 'left'
            when b.sourced_id is null then 'remove'
            else 'restore'
        end as verdict
    from (
        select h.sourced_id from {history} as h
        where h.tenant_id = {tenant} and h.until_version = {undone}
        union all
        select n.sourced_id from {live} as n
        where n.tenant_id = {tenant} and n.version >= {undone} and n.created_version = {undone}
    ) as changed
    join {live} as l on l.tenant_id = {tenant} and l.sourced_id = changed.sourced_id
    left join {history} as b
        on b.tenant_id = {tenant} and b.sourced_id = l.sourced_id and b.until_version = {undone}
    left join {history} as a
        on a.tenant_id = {tenant} and a.sourced_id = l.sourced_id and a.version = {undone}
    where b.sourced_id is null
        or l.version = {undone} and {now} is distinct from {before}
        or l.version > {undone} and {then} is distinct from {before}
        or b.digest = {erased}
"""

RESTORE = """
    insert into {staged} ({columns})
    select {before_columns} from {history} as b join {judged} as j using (sourced_id)
    where b.tenant_id = {tenant} and b.until_version = {undone} and j.verdict = 'restore'
"""

REMOVE = """
    insert into {gone} (sourced_id) select sourced_id from {judged} where verdict = 'remove'
"""

LEFT = """
    select sourced_id, since, verdict from {judged} where verdict in ('left', 'erased')
    order by sourced_id limit {limit}
"""


# --- What an undo keeps out ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Redo:
    """So many staged changes of a file would do again what version `undone` did.

    `undo` is the version that took it back and was not released since.
    """

    undone: int
    undo: int
    file: str
    rows: int


def redoes(db: Connection, tenant_id: int) -> list[Redo]:
    """What the staged change set would do again; part of the transaction that staged it."""
    unreleased = db.execute(NAMED["unreleased"], {"tenant_id": tenant_id}).fetchall()
    merge = Merge(db, tenant_id, 0)
    again = []
    for entity in ROSTERING if unreleased else ():
        if is_empty(db, staged(entity)) and is_empty(db, gone(entity)):
            continue
        for undo, undone in unreleased:
            (rows,) = one(db, compose(REDONE, entity, merge, undo=undo))
            if rows:
                again.append(Redo(undone, undo, entity.file, rows))
    return again


# The images that the undo replaced are those that end with it: exactly what was undone. A user who
# was touched only has the same values behind such an image, so what is stored is looked at too.
REDONE = """
    select (
        select count(*) from {history} as a
        join {staged} as s using (sourced_id)
        join {live} as l on l.tenant_id = {tenant} and l.sourced_id = a.sourced_id
        where a.tenant_id = {tenant} and a.until_version = {undo} and {now} is distinct from {then}
          and ({coming} is not distinct from {then}
              or s.status = 'tobedeleted' and a.status = 'tobedeleted' and l.status = 'active')
    ) + (
        select count(*) from {history} as a
        join {gone} as g using (sourced_id)
        join {live} as l on l.tenant_id = {tenant} and l.sourced_id = a.sourced_id
        where a.tenant_id = {tenant} and a.until_version = {undo}
          and a.status = 'tobedeleted' and l.status = 'active'
    )
"""
