"""What a run would change, kept until somebody answers.

The change set of a run that waits lies in logged tables of the app role, closed to every other
district, and is committed with the end of the attempt that made it. Whoever approves, approves its
hash: two sums over all changes, which come out the same in whatever order the changes lie. The
tables stay until the run has ended and its upload goes, too.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any, LiteralString, TypeAlias
from uuid import UUID

from psycopg.errors import LockNotAvailable, UniqueViolation
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal
from psycopg.types.json import Jsonb

from pipeline import claims, stage
from pipeline.claims import Claim, Watch
from pipeline.database import Connection, one
from pipeline.events import emit
from pipeline.merge import changed, compare, listed
from pipeline.stage import gone, is_empty, staged
from schemas import schools
from schemas.proposals import KEPT, SCHEMA, Apply, kept_keys, kept_rows
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.runs import Counts, Mode, State
from schemas.statements import load
from schemas.webhooks import of_run

NAMED = load("pipeline", "proposals.sql")
ACTIONS = ("created", "updated", "deleted")


@dataclass(frozen=True, slots=True)
class Asked:
    """A run as it stands when an attempt begins: what it was asked for, shown and answered."""

    apply: Apply | None
    as_of: date | None
    base_version: int | None
    diff: str | None
    preview: Mapping[str, Counts] | None
    modes: Mapping[str, Mode] | None
    guard: Mapping[str, Any] | None
    decision: Mapping[str, Any] | None
    exclusions: Mapping[str, Any] | None
    profile: str | None
    findings: Mapping[str, int]


def asked(db: Connection, claim: Claim) -> Asked:
    """What is known of the run; part of the attempt's transaction."""
    return Asked(*one(db, NAMED["asked"], claim.key))


# --- Where it is kept ----------------------------------------------------------------------


def lay(db: Connection, run_id: UUID) -> None:
    """Let a change set be staged right where it will be kept; for the rest of the transaction."""
    for entity in ROSTERING:
        rows, keys = places(run_id, entity)
        db.execute(SQL("create table {} ({})").format(rows, stage.layout(entity)))
        db.execute(SQL("create table {} ({})").format(keys, stage.KEYS))
    db.execute("select set_config('rosterhub.kept', %s, true)", [run_id.hex])
    stand(db, run_id)


def move(db: Connection, run_id: UUID) -> None:
    """Keep what is staged: copies of the temporary tables."""
    for entity in ROSTERING:
        rows, keys = places(run_id, entity)
        copy = SQL("create table {} as select * from {}")
        db.execute(copy.format(rows, staged(entity)))
        db.execute(copy.format(keys, gone(entity)))


def places(run_id: UUID, entity: AnyEntity) -> tuple[Identifier, Identifier]:
    """The tables of rows and of keys that are kept."""
    return Identifier(*kept_rows(run_id, entity)), Identifier(*kept_keys(run_id, entity))


def unique(db: Connection, run_id: UUID, entity: AnyEntity) -> bool:
    """Index the kept rows by their key; answer whether none stands twice."""
    rows, _ = places(run_id, entity)
    try:
        with db.transaction():
            db.execute(SQL("create unique index on {} (sourced_id)").format(rows))
    except UniqueViolation:
        return False
    return True


def seal(db: Connection, claim: Claim, *, indexed: Collection[AnyEntity] = ()) -> None:
    """Close the kept tables to every other district. The last step, for COPY takes no policy."""
    for entity in ROSTERING:
        if entity not in indexed and not unique(db, claim.id, entity):
            raise LookupError(entity.file)  # the rules have spoken: no key stands twice
        _, keys = places(claim.id, entity)
        db.execute(SQL("create index on {} (sourced_id)").format(keys))
        for table in places(claim.id, entity):
            close(db, claim.tenant_id, table)


def close(db: Connection, tenant_id: int, table: Identifier) -> None:
    """Close a kept table to every other district."""
    db.execute(
        SQL("alter table {} enable row level security, force row level security").format(table)
    )
    db.execute(
        SQL("create policy tenant on {} using ((select rosterhub.tenant()) = {})").format(
            table, Literal(tenant_id)
        )
    )


def stand(
    db: Connection, run_id: UUID, *, without: Mapping[AnyEntity, Identifier] | None = None
) -> None:
    """Let what is kept stand where the staging tables would; `without` the keys of these tables."""
    for entity in ROSTERING:
        rows, keys = places(run_id, entity)
        for name, table in (("staged", rows), ("gone", keys)):
            view = SQL("create or replace temporary view {} as select * from {} as k").format(
                Identifier(f"{name}_{entity.table}"), table
            )
            if without and entity in without:
                view += SQL(
                    " where not exists (select from {} as x where x.sourced_id = k.sourced_id)"
                ).format(without[entity])
            db.execute(view)


def fall(db: Connection) -> None:
    """The views stand no longer; what they show could not be dropped."""
    for entity in ROSTERING:
        for name in (f"staged_{entity.table}", f"gone_{entity.table}"):
            db.execute(SQL("drop view if exists pg_temp.{}").format(Identifier(name)))


def sweep(db: Connection, control: Connection) -> int:
    """Drop what is kept of runs that ended long enough ago; answer how many tables."""
    tables = [name for (name,) in db.execute(NAMED["kept"])]
    # In this order: a run that waits from now on has no table among these.
    needed = {run_id.hex for (run_id,) in control.execute(NAMED["needed"])}
    dropped = 0
    for name in tables:
        if name.removeprefix(KEPT).partition("_")[0] not in needed:
            with suppress(LockNotAvailable), db.transaction():
                db.execute("set local lock_timeout = '1s'")
                db.execute(SQL("drop table if exists {}").format(Identifier(SCHEMA, name)))
                dropped += 1
    return dropped


# --- What it comes to ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tally:
    """A change set in numbers, by entity and by entity and school, and its hash."""

    changes: dict[str, Counts] = field(default_factory=dict)
    schools: dict[tuple[str, str], Counts] = field(default_factory=dict)
    diff: str | None = None

    def counts(self, read: Collection[str]) -> dict[str, Counts]:
        """What would become of every file that was read or would change."""
        none = Counts(created=0, updated=0, deleted=0)
        files = [entity.file for entity in ROSTERING]
        return {
            file: Counts(**self.changes.get(file, none))
            for file in files
            if file in read or file in self.changes
        }


def note(
    db: Connection, claim: Claim, base_version: int, tally: Tally, guard: Mapping[str, Any]
) -> None:
    """Record what the guard said of a run that is applied at once."""
    facts = {"base_version": base_version, "diff": tally.diff, "guard": Jsonb(guard)}
    db.execute(NAMED["note"], claim.key | facts)


def tally(db: Connection, tenant_id: int, *, first: bool) -> Tally:
    """Count and hash what is staged. `first`: nothing is stored, so everything is new."""
    changes: dict[str, Counts] = {}
    by_school: dict[tuple[str, str], Counts] = {}
    lines: list[str] = []
    for entity in ROSTERING:
        if is_empty(db, staged(entity)) and is_empty(db, gone(entity)):
            continue
        counter = Counter(db, tenant_id, entity, first=first)
        changes[entity.file] = Counts(created=0, updated=0, deleted=0)
        for action, count, *sums in counter.total():
            changes[entity.file][action] = count  # type: ignore[literal-required]  # one of ACTIONS
            lines.append(f"{entity.file} {action} {count} {sums[0]} {sums[1]}\n")
        for school, action, count in counter.by_school():
            found = by_school.setdefault(
                (entity.file, school), Counts(created=0, updated=0, deleted=0)
            )
            found[action] = count  # type: ignore[literal-required]  # same
    return Tally(changes, by_school, sha256("".join(sorted(lines)).encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Counter:
    """The changes of one entity, counted."""

    db: Connection
    tenant_id: int
    entity: AnyEntity
    first: bool

    def total(self) -> list[tuple[Any, ...]]:
        """`action, count, sum, sum` of the changes."""
        if self.first:
            return self.db.execute(self._compose(FRESH)).fetchall()
        compare(self.db, self.tenant_id, self.entity)
        return self.db.execute(self._compose(TOTAL)).fetchall()

    def by_school(self) -> list[tuple[Any, ...]]:
        """`school, action, count` of the changes; a record counts where it is and where it was."""
        after = of_schools(
            self.entity,
            self._compose(AFTER[self.first]),
            lambda entity, among: future(entity, self.tenant_id, first=self.first, among=among),
        )
        if after is None:
            return []
        if not self.first:
            before = of_schools(
                self.entity,
                self._compose(BEFORE),
                lambda entity, among: present(entity, self.tenant_id, among),
            )
            after = SQL("{} union {}").format(after, before)
        grouped = SQL("select school, action, count(*) from ({}) as c group by 1, 2")
        return self.db.execute(grouped.format(after)).fetchall()

    def _compose(self, statement: LiteralString) -> Composed:
        return SQL(statement).format(
            staged=staged(self.entity),
            changed=changed(self.entity),
        )


Look: TypeAlias = Callable[[AnyEntity, Composable], Composable]
"""The records of an entity, as far as a condition on the row holds."""

ALL = SQL("true")


def of_schools(entity: AnyEntity, records: Composable, look: Look) -> Composed | None:
    """`sourced_id, action, school` of records that have an `action`; None: of no school.

    What they are looked up in is cut down to what concerns them, so that few changes cost little.
    """
    template = schools.query(entity, carry=("action",))
    if template is None:
        return None
    relations = {
        other.table: look(
            other,
            SQL("{} in (select {} from {} as r)").format(
                Identifier("of", by), Identifier("r", column), records
            ),
        )
        for other, (by, column) in schools.near(entity).items()
    }
    return SQL(template).format(records=records, **relations)


def future(
    entity: AnyEntity, tenant_id: int, *, first: bool = False, among: Composable = ALL
) -> Composed:
    """The active records as the change set would leave them."""
    columns = listed([column.name for column in entity.stored()], "of")
    new = SQL("select {} from {} as of where of.status = 'active' and {}").format(
        columns, staged(entity), among
    )
    if first:
        return SQL("({})").format(new)
    return SQL(
        "({} union all select {} from {} as of where of.tenant_id = {} and of.status = 'active'"
        " and not exists (select from {} as s where s.sourced_id = of.sourced_id)"
        " and not exists (select from {} as g where g.sourced_id = of.sourced_id) and {})"
    ).format(
        new,
        columns,
        Identifier(entity.table),
        Literal(tenant_id),
        staged(entity),
        gone(entity),
        among,
    )


def present(entity: AnyEntity, tenant_id: int, among: Composable = ALL) -> Composed:
    """The active records as they are."""
    return SQL(
        "(select of.* from {} as of where of.tenant_id = {} and of.status = 'active' and {})"
    ).format(Identifier(entity.table), Literal(tenant_id), among)


# A hash of the key under a seed that is a hash of the values: swapping values changes the sums.
FRESH = """
    select 'created', count(*),
        sum(hashtextextended(s.sourced_id, uuid_hash_extended(s.digest, 1))),
        sum(hashtextextended(s.sourced_id, uuid_hash_extended(s.digest, 2)))
    from {staged} as s where s.status = 'active' having count(*) > 0
"""

TOTAL = """
    select action, count(*),
        sum(hashtextextended(sourced_id, uuid_hash_extended(digest, 1))),
        sum(hashtextextended(sourced_id, uuid_hash_extended(digest, 2)))
    from {changed} group by action
"""

AFTER: Mapping[bool, LiteralString] = {
    True: "(select s.*, 'created' as action from {staged} as s where s.status = 'active')",
    False: "(select s.*, c.action from {staged} as s join {changed} as c using (sourced_id)"
    " where s.status = 'active')",
}
BEFORE = "(select c.* from {changed} as c where c.status = 'active')"


# --- Waiting, and being waited for ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a run that waits."""

    base_version: int
    tally: Tally
    preview: Mapping[str, Counts]
    modes: Mapping[str, str]
    guard: Mapping[str, Any]

    @property
    def state(self) -> State:
        """Held where the guard has a reason."""
        return "held" if self.guard["reasons"] else "review"


def wait(
    db: Connection,
    claim: Claim,
    watch: Watch,
    shown: Shown,
    *,
    profile: str,
    findings: Mapping[str, int],
) -> None:
    """End the attempt: from here on it is a person's turn. The run must be held by the caller."""
    watch.over.set()
    seen = shown.tally.schools
    numbers = {action: [counts.get(action, 0) for counts in seen.values()] for action in ACTIONS}
    db.execute(
        NAMED["add_preview"],
        {
            **claim.key,
            "entities": [entity for entity, _ in seen],
            "schools": [school for _, school in seen],
            **numbers,
        },
    )
    db.execute(
        NAMED["wait"],
        {
            **claim.key,
            "state": shown.state,
            "profile": profile,
            "progress": Jsonb(watch.progress),
            "findings": Jsonb(findings),
            "base_version": shown.base_version,
            "diff": shown.tally.diff,
            "preview": Jsonb(shown.preview),
            "modes": Jsonb(shown.modes),
            "guard": Jsonb(shown.guard),
        },
    )
    reasons = [reason["code"] for reason in shown.guard["reasons"]]
    told = {"reasons": reasons, "counts": shown.preview, "findings": findings}
    claims.tell(db, claim, "csv.import.held", shown.state, told)


def wait_again(
    db: Connection,
    claim: Claim,
    watch: Watch,
    *,
    exclusions: Mapping[str, Any] | None = None,
    rekey: Mapping[str, Any] | None = None,
    failure: Mapping[str, str] | None = None,
) -> State:
    """Go back to waiting; answer how. Raises Fenced where the claim is gone."""
    claims.hold(db, claim)
    watch.over.set()
    facts = {
        "exclusions": None if exclusions is None else Jsonb(exclusions),
        "rekey": None if rekey is None else Jsonb(rekey),
        "failure": None if failure is None else Jsonb(failure),
    }
    (state,) = one(db, NAMED["wait_again"], claim.key | facts)
    return state  # type: ignore[no-any-return]  # a check constraint says which


@dataclass(frozen=True, slots=True)
class Older:
    """An import that came before this one and waits for an answer."""

    id: UUID
    modes: Mapping[str, str] | None
    diff: str | None
    preview: Mapping[str, Counts] | None

    def covered(self, modes: Mapping[str, str]) -> bool:
        """Whether a package with these modes says again all that this one said."""
        return all(modes.get(file) == "bulk" for file in self.modes or {})


def older_waits(db: Connection, claim: Claim) -> bool:
    """Whether an import before this one waits, which somebody may answer meanwhile."""
    (waits,) = one(db, NAMED["older_waits"], claim.key)
    return bool(waits)


def waiting(db: Connection, claim: Claim, *, applied: bool) -> list[Older]:
    """The imports before this one that wait, locked. `applied`: this one is not to wait itself."""
    return [Older(*row) for row in db.execute(NAMED["waiting"], {**claim.key, "applied": applied})]


def supersede(
    db: Connection, claim: Claim, older: Sequence[Older], modes: Mapping[str, str], diff: str | None
) -> list[UUID]:
    """End the older imports that this one says again, and compare it with the last of them."""
    covered = [each for each in older if each.covered(modes)]
    if not covered:
        return []
    ids = [each.id for each in covered]
    for run_id, entity in db.execute(NAMED["supersede"], {**claim.key, "older": ids}).fetchall():
        told = of_run(run_id, entity, "superseded", {"supersededBy": str(claim.id)})
        emit(db, claim.tenant_id, "csv.import.failed", told)
    last = covered[-1]
    compared = {
        "run": str(last.id),
        "same": diff is not None and diff == last.diff,
        "counts": {
            file: {action: counts.get(action, 0) for action in ACTIONS}
            for file, counts in (last.preview or {}).items()
        },
    }
    db.execute(NAMED["supersedes"], {**claim.key, "supersedes": Jsonb(compared)})
    return ids


def active(db: Connection, tenant_id: int) -> dict[str, int]:
    """How many active records of each file are stored."""
    return dict(db.execute(NAMED["active"], {"tenant_id": tenant_id}).fetchall())


def stored(
    db: Connection, tenant_id: int, wanted: Mapping[str, Mapping[str, int]]
) -> dict[tuple[str, str], int]:
    """How many active records the schools have, by entity and school.

    `wanted`: how many of a school are so many that it need not be said; 0: that is always wanted.
    """
    found: defaultdict[tuple[str, str], int] = defaultdict(int)
    for file, enough in wanted.items():
        entity = BY_FILE[file]
        template = schools.query(entity)
        if template is None:
            continue
        keys = [*enough.keys() - large(db, tenant_id, entity, enough)]
        if not keys:
            continue
        look = {e.table: present(e, tenant_id) for e in schools.looked_up(entity)}
        relation = SQL(template).format(records=present(entity, tenant_id), **look)
        query = SQL("select school, count(*) from ({}) as c where school = any(%s) group by 1")
        for school, count in db.execute(query.format(relation), [keys]):
            found[file, school] = count
    return found


def large(db: Connection, tenant_id: int, entity: AnyEntity, enough: Mapping[str, int]) -> set[str]:
    """The schools that are found to have enough records without all of them being counted."""
    way = schools.SOUGHT.get(entity)
    asked = {school: records for school, records in enough.items() if records}
    if way is None or not asked:
        return set()
    query = SQL(LARGE).format(
        live=Identifier(entity.table),
        others=Identifier(way.entity.table),
        column=Identifier(way.column.name),
        own=Identifier(own_school(entity)),
        of_other=Identifier(own_school(way.entity)),
        tenant=Literal(tenant_id),
    )
    return {school for (school,) in db.execute(query, [list(asked), list(asked.values())])}


def own_school(entity: AnyEntity) -> str:
    """The column in which a record names its school."""
    return next(
        path.column.name for path in schools.SCHOOLS[entity] if isinstance(path, schools.Own)
    )


# An array is looked up in an index, and a limit ends the search.
LARGE = """
    select w.school from unnest(%s::text[], %s::bigint[]) as w (school, enough)
    where w.enough <= (
        select count(*) from (
            select from {live} as l
            where l.tenant_id = {tenant} and l.status = 'active' and l.{own} = w.school
              and l.{column} = any (array (
                  select o.sourced_id from {others} as o
                  where o.tenant_id = {tenant} and o.{of_other} = w.school
              ))
            limit w.enough
        ) as found
    )
"""
