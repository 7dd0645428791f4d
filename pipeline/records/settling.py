"""What an import does with what is wrong between its records: the stage `check` of a run.

A district decides (schemas.policy.Reading). By default one error rejects the run. Where faulty
rows are skipped, a row with an error is left out, and so is every row whose reference then does not
hold, required or not, until all hold: a row is taken whole or not at all. What is stored under the
sourcedId of a skipped row stays as it is, and counts as being there. Where deletions cascade, a
stored record that needs what goes becomes a tombstone too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from psycopg.sql import SQL, Composable

from pipeline.database import Connection
from pipeline.faults import Findings, pointers
from pipeline.records.asking import Asking
from pipeline.records.sieve import Sieve
from pipeline.records.state import Row, Stored, named
from pipeline.stage import gone, staged
from schemas import rules
from schemas.columns import Key, Ref, Refs
from schemas.policy import Reading
from schemas.profiles import Profile
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.rules import Finding


@dataclass(slots=True)
class Settling:
    """The check of one import.

    `rows` are the rows of each file, `shown` the findings of one kind that are listed. `first`: the
    district was empty and is loaded at once; `loaded`: its rows are where they will stay, with all
    indexes, and a view of them stands for what is staged; `sound` are the files whose keys and
    references the load has found to be right, `seen` is what else its rows have shown. `apart`:
    somebody else asks who has `vanished`. `unlike` are the files whose records will not be what
    their rows say: what was skipped, kept or taken along.
    """

    db: Connection
    tenant_id: int
    findings: Findings
    profile: Profile
    reading: Reading
    rows: Mapping[str, int]
    shown: int
    first: bool = False
    loaded: bool = False
    sound: frozenset[str] = frozenset()
    seen: Sieve = field(default_factory=Sieve)
    apart: bool = False
    unlike: set[str] = field(init=False, default_factory=set)
    skipped: defaultdict[str, set[int]] = field(init=False)
    _state: Stored = field(init=False)

    def __post_init__(self) -> None:
        self._state = Stored(
            self.db,
            self.tenant_id,
            first=self.first,
            loaded=self.loaded,
            extents=self.seen.extents,
        )
        self.skipped = defaultdict(set)
        for file, lines in self.findings.lines.items():
            self.skipped[file].update(lines)

    @property
    def skips(self) -> bool:
        """Whether faulty rows are left out."""
        return self.reading.faulty_rows == "skip" and not self.first

    @property
    def rejected(self) -> Mapping[str, int]:
        """Rows that are left out, by file."""
        return Counter({file: len(lines) for file, lines in self.skipped.items() if lines})

    def settle(self) -> bool:
        """Find what is wrong between the records; answer whether the change set may be applied.

        May leave rows out of the change set and add deletions to it, as the district decides.
        Raises TooMany.
        """
        self._spare()
        asking = self._asking(self.findings.limit if self.skips else self.shown)
        asking.learn()
        if self.reading.cascade:
            self._cascade()
        if self.skips:
            return self._skip(asking) and self._remark()
        self.findings.add(asking.errors())
        if not self.apart:
            self.findings.add(self.vanished())
        return self._remark() and not self.findings.fatal

    def vanished(self) -> Iterator[Finding]:
        """Stored rows that would be left pointing at a record that goes."""
        return self._asking(self.shown).vanished(self._state)

    def _asking(self, limit: int) -> Asking:
        return Asking(
            self._state,
            self.findings,
            self.profile,
            limit,
            sound=self.sound,
            proven=self.seen.proven,
        )

    def _remark(self) -> bool:
        self.findings.add(self._asking(self.shown).remarks())
        return True

    def _spare(self) -> None:
        """Nothing is deleted because its row could not be read."""
        for entity in ROSTERING:
            file = entity.file
            if file in self.findings.lines:
                self.unlike.add(file)
            if file in self.findings.unreadable or file in self.findings.keyless:
                self.db.execute(SQL("delete from {}").format(gone(entity)))
            elif keys := self.findings.keys.get(file):
                self._keep(entity, list(keys))
            if self.skips and file in self.findings.keyless:
                self.findings.take(
                    Finding(rule=rules.records.DELETIONS_WITHHELD, file=f"{file}.csv")
                )

    def _keep(self, entity: AnyEntity, keys: list[str]) -> None:
        """Take these keys from what goes."""
        query = SQL("delete from {} where sourced_id = any(%s)").format(gone(entity))
        self.db.execute(query, [keys])

    # --- skip

    def _skip(self, asking: Asking) -> bool:
        """Leave faulty rows out until nothing is wrong; answer whether that came to an end."""
        if self.findings.unreadable or not self._skippable(self.findings.all):
            self.findings.add(self._asking(self.shown).errors())
            return False
        while True:
            found = [*asking.errors()]
            kept, lost = self._held(asking)
            if lost or not self._skippable(found):
                self.findings.add([*found, *lost])
                return False
            if not self._tolerated(found):
                return False
            if not found and not kept:
                return True
            self._leave_out(asking, found)
            self._withhold(kept)
            self._state.refresh()

    def _skippable(self, found: list[Finding]) -> bool:
        """Whether every error is about a row, and is gone when the row is left out."""
        return all(
            finding.rule.severity != "error"
            or ((finding.line or 1) > 1 and finding.file.removesuffix(".csv") in BY_FILE)
            for finding in found
        )

    def _held(self, asking: Asking) -> tuple[list[Finding], list[Finding]]:
        """Stored records that would lose what they point at: of skipped rows, and of others."""
        kept: list[Finding] = []
        lost: list[Finding] = []
        for finding in asking.vanished(self._state):
            number = self.findings.keys[finding.file.removesuffix(".csv")].get(
                finding.sourced_id or ""
            )
            if number is None:
                lost.append(finding)
            else:
                kept.append(replace(finding, caused_by=number))
        return kept, lost

    def _tolerated(self, found: list[Finding]) -> bool:
        """Whether few enough rows of each file are left out; says where they are not."""
        lines = {file: set(lines) for file, lines in self.skipped.items()}
        for finding in found:
            lines.setdefault(finding.file.removesuffix(".csv"), set()).add(finding.line or 0)
        over = {
            file: len(faulty)
            for file, faulty in lines.items()
            if len(faulty) > self.reading.tolerance * self.rows.get(file, 0)
        }
        if not over:
            return True
        self.findings.add(found)
        for file, faulty in over.items():
            facts = {
                "found": faulty,
                "rows": self.rows.get(file, 0),
                "limit": round(self.reading.tolerance * 100),
            }
            self.findings.take(
                Finding(rule=rules.records.TOLERANCE, file=f"{file}.csv", facts=facts)
            )
        return False

    def _leave_out(self, asking: Asking, found: list[Finding]) -> None:
        """Take rows out of the change set; what is stored in their place stays."""
        faulty: defaultdict[AnyEntity, dict[int, int]] = defaultdict(dict)
        for finding in found:
            number = self.findings.take(finding)
            entity = BY_FILE[finding.file.removesuffix(".csv")]
            line = finding.line or 0
            faulty[entity].setdefault(line, number)
            self.skipped[entity.file].add(line)
            self.unlike.add(entity.file)
        for entity, lines in faulty.items():
            names = [column.name for column in pointers(entity)]
            query = SQL("delete from {} where line = any(%s) returning {}").format(
                staged(entity), named(["line", "sourced_id", *names])
            )
            rows = [
                (lines[line], *values)
                for line, *values in self.db.execute(query, [list(lines)]).fetchall()
            ]
            asking.know(entity, rows)

    def _withhold(self, kept: list[Finding]) -> None:
        """A skipped row that is stored still needs what it points at."""
        for finding in kept:
            file = str(finding.facts["target"])
            target, value = BY_FILE[file.removesuffix(".csv")], finding.value or ""
            self.findings.take(
                Finding(
                    rule=rules.records.DELETION_WITHHELD,
                    file=file,
                    sourced_id=finding.sourced_id,
                    value=value,
                    caused_by=finding.caused_by,
                    facts={"target": finding.file},
                )
            )
            self._keep(target, [value])
            self.unlike.add(target.file)
            query = SQL(
                "delete from {} where sourced_id = %s and status = 'tobedeleted' returning line"
            ).format(staged(target))
            self.skipped[target.file].update(line for (line,) in self.db.execute(query, [value]))

    # --- cascade

    def _cascade(self) -> None:
        """Stored records that need what goes go too, until none is left."""
        told: Counter[str] = Counter()
        while sum(self._follow(entity, told) for entity in ROSTERING):
            self._state.refresh()

    def _follow(self, entity: AnyEntity, told: Counter[str]) -> bool:
        """Let the records of an entity go that need what goes; answer whether any did."""
        gone_now = False
        for column in entity.references():
            target = BY_FILE[column.to]
            if not (column.required and target.kept and self._state.goes(target)):
                continue
            query = SQL("""
                with lost as (
                    select r.sourced_id, min(r.key) as key from ({rows}) as r
                    where r.key in ({going}) {alone} group by r.sourced_id
                ), taken as (insert into {gone} (sourced_id) select sourced_id from lost)
                select sourced_id, key from lost order by 1
            """).format(
                gone=gone(entity),
                rows=self._state.pointing(entity, column),
                going=self._state.going(target),
                alone=self._alone(entity, column, target),
            )
            if taken := self._state.rows(query):
                gone_now = True
                self.unlike.add(entity.file)
                self._state.refresh()
                self.findings.add(self._followed(entity, taken, column.csv, target, told))
        return gone_now

    def _alone(self, entity: AnyEntity, column: Key | Ref | Refs, target: AnyEntity) -> Composable:
        """A list loses its record only where no item of it stays."""
        if not isinstance(column, Refs):
            return SQL("")
        return SQL("""
            and not exists (
                select 1 from ({rows}) as o where o.sourced_id = r.sourced_id
                  and o.key not in ({going})
            )
        """).format(rows=self._state.pointing(entity, column), going=self._state.going(target))

    def _followed(
        self,
        entity: AnyEntity,
        taken: list[Row],
        column: str,
        target: AnyEntity,
        told: Counter[str],
    ) -> Iterator[Finding]:
        room = max(self.shown - told[entity.file], 0)
        told[entity.file] += len(taken)
        for key, value in taken[:room]:
            yield Finding(
                rule=rules.records.CASCADED,
                file=f"{entity.file}.csv",
                column=column,
                sourced_id=key,
                value=value,
                facts={"target": f"{target.file}.csv"},
            )
