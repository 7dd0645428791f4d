"""The guard: a catastrophe is held, not applied.

Everything here is cheap when little changes. Shares are of the active records that are stored; how
many a school has is only asked for schools with enough changes to matter. Each reason is declared
in `schemas.guard`; a run with a reason waits until somebody approves it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, TypeAlias

from psycopg import sql

from pipeline import proposals, rekey, undo
from pipeline.claims import Claim
from pipeline.database import Connection, one
from pipeline.opening import Package
from pipeline.proposals import NAMED, Tally
from schemas.guard import Reason, skipped
from schemas.policy import Guard as Thresholds
from schemas.roster.orgs import AcademicSession
from schemas.runs import Counts

Watched: TypeAlias = Literal["deleted", "updated"]
FEW = 0.1  # of the records of a file, up to which it is quicker to look for some than to count all
WATCHED: dict[str, Watched] = {"deletions": "deleted", "updates": "updated"}


@dataclass(slots=True)
class Guard:
    """What speaks against applying a run without asking; it grows while the run is looked at."""

    db: Connection
    claim: Claim
    thresholds: Thresholds
    as_of: date | None
    reasons: list[Reason] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    @property
    def rekeys(self) -> bool:
        """Whether a re-key map is proposed."""
        return any(reason.code == "rekey" for reason in self.reasons)

    def json(self) -> dict[str, Any]:
        """The reasons, and what was not looked at."""
        return {
            "reasons": [reason.json() for reason in self.reasons],
            "skipped": [skipped(code) for code in self.skipped],
        }

    def opened(self, package: Package) -> None:
        """Look at the package before anything of it is read."""
        if self.thresholds.on:
            self.reasons += self._absent(package)
            self.reasons += self._older()

    def read(self, *, first: bool, tally: Tally) -> None:
        """Look at what is staged. `first`: nothing is stored, so no share can be too large."""
        if self.thresholds.on:
            self.reasons += self._other_year(first=first)
            if not first:
                stored = proposals.active(self.db, self.claim.tenant_id)
                self.reasons += self._shares(tally, stored)
                self.reasons += self._rekeyed(tally, stored)
        if not first:
            self.reasons += self._again()

    def _absent(self, package: Package) -> Iterator[Reason]:
        """A single CSV is never full; a package is as soon as it says bulk."""
        if not self.thresholds.absent_files or self.claim.entity is not None:
            return
        if "bulk" in package.modes.values():
            for file in sorted(package.profile.required_files - package.modes.keys()):
                yield Reason("absent_file", entity=file)

    def _older(self) -> Iterator[Reason]:
        if not self.thresholds.older_package:
            return
        if self.as_of is None:
            self.skipped.append("older_package")
            return
        (newest,) = one(self.db, NAMED["older_package"], self.claim.key)
        if newest is not None and self.as_of < newest:
            facts = {"as_of": self.as_of.isoformat(), "newest": newest.isoformat()}
            yield Reason("older_package", facts=facts)

    def _other_year(self, *, first: bool) -> Iterator[Reason]:
        if not self.thresholds.school_year:
            return
        if self.as_of is None:
            self.skipped.append("school_year")
            return
        query = sql.SQL(
            "select count(*), count(*) filter (where {} between start_date and end_date)"
            " from {} as y where type = 'schoolYear'"
        ).format(
            sql.Literal(self.as_of),
            proposals.future(AcademicSession, self.claim.tenant_id, first=first),
        )
        years, right = one(self.db, query)
        if years and not right:
            yield Reason("school_year", facts={"as_of": self.as_of.isoformat()})

    def _shares(self, tally: Tally, stored: Mapping[str, int]) -> Iterator[Reason]:
        for file, counts in tally.changes.items():
            for code, action in WATCHED.items():
                count = counts.get(action, 0)
                yield from self._share(code, file, None, count, stored.get(file, 0))
        yield from self._shares_of_schools(tally, stored)

    def _shares_of_schools(self, tally: Tally, active: Mapping[str, int]) -> Iterator[Reason]:
        wanted = defaultdict[str, dict[str, int]](dict)
        for (file, school), counts in tally.schools.items():
            if any(self._matters(counts.get(action, 0)) for action in WATCHED.values()):
                wanted[file][school] = self._enough(counts)
        for file, schools in wanted.items():
            if sum(schools.values()) > FEW * active.get(file, 0):  # then all are soon counted
                wanted[file] = dict.fromkeys(schools, 0)
        stored = proposals.stored(self.db, self.claim.tenant_id, wanted)
        for (file, school), records in sorted(stored.items()):  # the same run says the same again
            counts = tally.schools[file, school]
            for code, action in WATCHED.items():
                yield from self._share(code, file, school, counts.get(action, 0), records)

    def _enough(self, counts: Counts) -> int:
        """How many records make the changes of a school no reason; 0: no number does."""
        shares = {action: getattr(self.thresholds, code) for code, action in WATCHED.items()}
        if not all(shares.values()):
            return 0
        return max(int(counts.get(action, 0) / share) + 1 for action, share in shares.items())

    def _matters(self, count: int) -> bool:
        return count >= max(self.thresholds.at_least, 1)

    def _share(
        self, code: str, file: str, school: str | None, count: int, stored: int
    ) -> Iterator[Reason]:
        threshold = getattr(self.thresholds, code)
        if self._matters(count) and stored and count > threshold * stored:
            yield Reason(code, file, school, count, stored, min(count / stored, 1.0), threshold)

    def _rekeyed(self, tally: Tally, stored: Mapping[str, int]) -> Iterator[Reason]:
        """Records that seem to have other sourcedIds now; which is which is told by the map."""
        if not self.thresholds.rekey:
            return
        share = self.thresholds.rekey_share
        entities = rekey.suspected(tally, stored, share, self.thresholds.at_least)
        for found in rekey.recognise(self.db, self.claim.tenant_id, entities, stored, share):
            active = stored[found.file]
            facts = {"vanished": found.vanished, "new": found.new, "ambiguous": found.ambiguous}
            yield Reason(
                "rekey",
                found.file,
                count=found.alike,
                stored=active,
                share=min(found.alike / active, 1.0),
                threshold=share,
                facts=facts,
            )

    def _again(self) -> Iterator[Reason]:
        """What was undone stays undone until it is released, whatever the thresholds say."""
        for redo in undo.redoes(self.db, self.claim.tenant_id):
            facts = {"undone": redo.undone, "undo": redo.undo}
            yield Reason("redoes", entity=redo.file, count=redo.rows, facts=facts)
