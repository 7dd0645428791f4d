"""Findings while they are made: a file that cannot be read on, and the pile they are kept on.

Only errors can be too many. Of each kind of remark the first examples are kept, the others counted:
ten million rows that all warn take no more memory than a thousand.

The pile also knows what the errors take away: rows that will not be there, by line and by
sourcedId, and files that cannot be read. So it can be told later which findings only follow.
"""

import re
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from schemas import rules
from schemas.columns import Ref
from schemas.roster import BY_FILE, AnyEntity
from schemas.rules import Finding, Rule

VALUE = 200
EACH = 1000
"""Remarks of one kind that are kept as examples."""
OF_FILES = re.compile(r"file\.(\w+)")
NO_KEY = frozenset({"value.guid", "value.required"})
"""About the sourcedId: rules after which nobody knows whose row it is."""


class Broken(Exception):
    """A file cannot be read further; the finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.rule.id)
        self.finding = finding


class TooMany(Exception):
    """The pile is full: reading on would help nobody."""


class Sort(NamedTuple):
    """What is the same fault in many rows: a rule, broken in a file and a column of its header."""

    rule: Rule
    file: str
    column: str | None


class Findings:
    """What was found so far: at most `limit` errors, not counted what follows from something else.

    Of each kind of warnings and notes `each` are kept. `counts` tells of all, by severity; `beyond`
    of those that are not kept, by kind and school, and `first` is where the examples begin.

    Findings are numbered from 1. `followers` counts what follows from each number, kept or not;
    `lines` and `keys` are the rows with an error, by file, each with the number of the first;
    `keyless` the files with errors in rows whose sourcedId nobody can tell, with the first of them;
    `unreadable` the files that were not read to the end; `rows` what is known of rows with errors;
    `origins` tells, of the findings of a mapped file, what the district itself calls the column.
    """

    def __init__(self, limit: int, each: int = EACH) -> None:
        self.limit = limit
        self.each = each
        self.all: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.beyond: defaultdict[Sort, Counter[str | None]] = defaultdict(Counter)
        self.first: dict[Sort, int] = {}
        self.followers: Counter[int] = Counter()
        self.lines: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self.keys: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self.keyless: dict[str, int] = {}
        self.unreadable: dict[str, int] = {}
        self.rows: defaultdict[str, list[pl.DataFrame]] = defaultdict(list)
        self._kept: Counter[Sort] = Counter()
        self._followed = 0
        self.origins: dict[str, Callable[[Finding], Finding]] = {}
        self._places: dict[tuple[str, str, str], int] = {}
        self._lock = threading.Lock()  # the reader is ahead of who checks

    def add(self, findings: Iterable[Finding]) -> None:
        """Take the findings; raises TooMany past the limit."""
        for finding in findings:
            self.take(finding)

    def take(self, finding: Finding) -> int:
        """Keep a finding, or count it; answer its number. Raises TooMany past the limit."""
        if origin := self.origins.get(finding.file):
            finding = origin(finding)
        with self._lock:
            if finding.caused_by is not None:
                return self._follow(finding, finding.caused_by)
            if finding.rule.severity != "error":
                return self._remark(finding)
            if self.counts["error"] >= self.limit:
                facts = {"limit": self.limit}
                self._keep(
                    Finding(rule=rules.text.TOO_MANY_FINDINGS, file=finding.file, facts=facts)
                )
                raise TooMany
            return self._keep(finding)

    def count(self, kind: Sort, schools: Mapping[str | None, int]) -> None:
        """So many more of a kind were found, by the school that they name."""
        with self._lock:
            self.beyond[kind].update(schools)
            self.counts[kind.rule.severity] += sum(schools.values())

    def broke(self, finding: Finding) -> None:
        """Keep the finding after which its file was not read on."""
        number = self.take(finding)
        self.unreadable.setdefault(finding.file.removesuffix(".csv"), number)

    def opened(self, files: Iterable[str]) -> None:
        """These files can be read. Others about which there is an error were meant to be there."""
        readable = {*files}
        for number, finding in enumerate(self.all, start=1):
            named = OF_FILES.fullmatch(finding.column or "")
            file = named.group(1) if named else finding.file.removesuffix(".csv")
            if finding.rule.severity == "error" and file in BY_FILE and file not in readable:
                self.unreadable.setdefault(file, number)

    def more(self, cause: int, followers: int) -> None:
        """So many more follow from a finding than are kept."""
        self.followers[cause] += followers

    def about(self, file: str, sourced_id: str, column: str) -> int | None:
        """The first finding about a cell, by the name of its file and its column in the header."""
        return self._places.get((f"{file}.csv", sourced_id, column))

    def go_by(self, ids: Callable[[str, Collection[str]], Mapping[str, str]]) -> None:
        """Know records by other sourcedIds: `ids` of a file, where they have any."""
        for file, keys in self.keys.items():
            other = ids(file, keys)
            self.keys[file] = {other.get(key, key): number for key, number in keys.items()}
            for (name, key, column), number in [*self._places.items()]:
                if name == f"{file}.csv" and key in other:
                    self._places[name, other[key], column] = number

    def sift(self, entity: AnyEntity, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows without error; of the others only what they point at is kept."""
        lines = self.lines.get(entity.file)
        if not lines:
            return rows
        faulty = rows["line"].is_in(pl.Series(list(lines), dtype=pl.Int64).implode())
        if not faulty.any():
            return rows
        left = rows.filter(faulty)
        numbers = pl.Series("finding", [lines[line] for line in left["line"]], dtype=pl.Int64)
        pointing = [
            pl.col(c.name) if c.name in rows.columns else pl.lit(None, pl.String).alias(c.name)
            for c in pointers(entity)
        ]
        self.rows[entity.file].append(left.select(numbers, *pointing))
        return rows.filter(~faulty)

    def _follow(self, finding: Finding, cause: int) -> int:
        self.followers[cause] += 1
        if finding.rule.severity == "error":
            self._raise(cause)
        if self._followed >= self.limit:
            return cause
        self._followed += 1
        self.all.append(finding)
        self._takes_away(finding, len(self.all))
        return len(self.all)

    def _raise(self, number: int) -> None:
        """What an error follows from is an error, whatever its rule says."""
        cause = self.all[number - 1]
        if cause.caused_by is None and cause.rule.severity != "error":
            self.counts[cause.rule.severity] -= 1
            self.counts["error"] += 1
            self.counts += Counter()  # drops zeros
            self.all[number - 1] = replace(cause, rule=replace(cause.rule, severity="error"))

    def _remark(self, finding: Finding) -> int:
        kind = kind_of(finding)
        if self._kept[kind] < self.each:
            return self._keep(finding)
        self.beyond[kind][finding.school] += 1
        self.counts[finding.rule.severity] += 1
        return self.first[kind]

    def _keep(self, finding: Finding) -> int:
        self.all.append(finding)
        self.counts[finding.rule.severity] += 1
        number, kind = len(self.all), kind_of(finding)
        self.first.setdefault(kind, number)
        self._kept[kind] += 1
        if finding.sourced_id and finding.column:
            place = (finding.file, finding.sourced_id, finding.column)
            self._places.setdefault(place, number)
        self._takes_away(finding, number)
        return number

    def _takes_away(self, finding: Finding, number: int) -> None:
        file = finding.file.removesuffix(".csv")
        if finding.rule.severity != "error" or finding.line in (None, 1) or file not in BY_FILE:
            return
        self.lines[file].setdefault(finding.line or 0, number)
        if key := key_of(finding):
            self.keys[file].setdefault(key, number)
        else:
            self.keyless.setdefault(file, number)

    @property
    def fatal(self) -> bool:
        """Whether the package cannot be applied."""
        return self.counts["error"] > 0


def kind_of(finding: Finding) -> Sort:
    """What it has in common with the same fault of other rows."""
    return Sort(finding.rule, finding.file, finding.column)


def pointers(entity: AnyEntity) -> list[Ref]:
    """The columns that name one record each."""
    return [column for column in entity.stored() if isinstance(column, Ref)]


def key_of(finding: Finding) -> str | None:
    """Whose row it is about; None: nobody knows."""
    unknown = finding.column == "sourcedId" and finding.rule.id in NO_KEY
    return None if unknown else finding.sourced_id


def cut(text: str | None) -> str | None:
    """A value as a finding keeps it."""
    return text if text is None else text[:VALUE]
