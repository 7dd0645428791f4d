"""Packages do not bring back who was erased: part of every import of a district that has erased.

People who are kept out stay out: rows about them are taken from the change set, named by a warning
without a value, and other people's references to them stand. Who was erased because the policy says
so was deleted before by the source: a row that makes them active again is a return like any other,
and only what is said of them without such a row is left out.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

from psycopg.sql import SQL, Identifier, Literal

from pipeline.database import Connection, one
from pipeline.erasing import people
from pipeline.erasing.people import NAMED, PEOPLE
from pipeline.erasing.stores import wipe_findings
from pipeline.stage import is_empty, staged
from schemas import rules
from schemas.digests import ERASED
from schemas.erasure import OWNERS
from schemas.roster.people import User
from schemas.rules import Finding


@dataclass(slots=True)
class LeftOut:
    """Rows that were taken from a change set: by file, line and sourcedId."""

    rows: defaultdict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))

    def count(self, file: str) -> int:
        """How many rows of a file."""
        return len(self.rows.get(file, ()))

    def findings(self) -> Iterator[Finding]:
        """What is said of them: no value."""
        for file, rows in self.rows.items():
            for line, key in sorted(rows.items()):
                yield Finding(
                    rule=rules.records.ERASED, file=f"{file}.csv", line=line, sourced_id=key
                )


def leave_out(db: Connection, tenant_id: int) -> LeftOut:
    """Take the rows about erased people from what is staged. Part of the import's transaction."""
    left = LeftOut()
    key = {"tenant_id": tenant_id, "erased": ERASED}
    (some,) = one(db, NAMED["some_erased"], key)
    if not some:
        return left
    people.begin(db)
    people.add(db, tenant_id, "kept_out_people")
    db.execute(
        SQL(GONE).format(tenant=Literal(tenant_id), erased=Literal(ERASED), staged=staged(User))
    )
    for entity, owner in OWNERS.items():
        if is_empty(db, staged(entity)):
            continue
        taken = SQL(TAKE).format(staged=staged(entity), owner=Identifier("s", owner), people=PEOPLE)
        for line, sourced_id, status in db.execute(taken).fetchall():
            if status == "active":  # the deletion of who is erased changes nothing
                left.rows[entity.file][line] = sourced_id
    return left


def spare(db: Connection, tenant_id: int, run_id: UUID) -> None:
    """Take from the findings of a run what they say of people who are kept out."""
    (some,) = one(db, NAMED["some_kept_out"], {"tenant_id": tenant_id})
    if some:
        people.begin(db)
        people.add(db, tenant_id, "kept_out_people")
        wipe_findings(db, tenant_id, run_id)


GONE = """
    insert into pg_temp.erased_people
    select u.sourced_id from users as u
    where u.tenant_id = {tenant} and u.digest = {erased} and not exists (
        select from {staged} as s where s.sourced_id = u.sourced_id and s.status = 'active'
    )
    on conflict do nothing
"""

TAKE = (
    "delete from {staged} as s where {owner} in {people} returning s.line, s.sourced_id, s.status"
)
