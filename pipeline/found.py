"""What was found, made ready for people: the row and its school, what to correct first, kept.

A finding gets the row it is about while the row is at hand (`Rows.told`), or, where it was found
later, by looking at the file once more (`Rows.complete`). At the end of a run all findings are
stored with their groups and counts; a district that keeps them masked stores shapes only.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import orjson
import polars as pl

from pipeline import text
from pipeline.claims import Claim
from pipeline.database import Connection, one
from pipeline.faults import Broken, Findings
from pipeline.opening import File
from pipeline.text import Piece
from schemas.columns import Ref
from schemas.roster import AnyEntity
from schemas.roster.orgs import Org
from schemas.rules import Finding, Severity
from schemas.shapes import shape, shape_of_facts, shape_of_row
from schemas.statements import load

SQL = load("pipeline", "findings.sql")

ROWS_EACH = 1000
"""Findings of one rule in one file that keep their row."""
ROW_MAX = 4096  # bytes of a row that are kept
ROWS_MAX = 32 * 1024 * 1024  # characters of rows that one run keeps
SCHOOL_MAX = 255
BATCH = 2000  # findings in one statement

Cause: TypeAlias = Literal["row", "record", "rule"]
SEVERITIES: Mapping[Severity, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(slots=True)
class Rows:
    """Gives findings the row they are about and the school it names; bounded for a whole run."""

    kept: Counter[tuple[str, str]] = field(default_factory=Counter)
    room: int = ROWS_MAX

    def told(self, file: File, piece: Piece, findings: Iterable[Finding]) -> list[Finding]:
        """The findings with row and school; `piece` holds the lines as they came."""
        found = list(findings)
        wanted = {f.line for f in found if f.line is not None and f.line >= piece.first}
        if not wanted:
            return found
        texts = lines(piece, wanted)
        schools, secrets = schools_of(file, texts), Secrets(file)
        return [self._told(finding, texts, schools, secrets) for finding in found]

    def complete(self, findings: Findings, files: Iterable[File]) -> None:
        """Look once more for the rows of findings that came without, such as broken references."""
        lacking: dict[str, list[int]] = defaultdict(list)
        asked: Counter[tuple[str, str]] = Counter()
        for index, finding in enumerate(findings.all):
            place = (finding.rule.id, finding.file)
            if finding.line is not None and finding.row is None:
                asked[place] += 1
                if self.kept[place] + asked[place] <= ROWS_EACH:
                    lacking[finding.file].append(index)
        for file in files:
            if self.room > 0 and (indexes := lacking.get(file.source.name)):
                self._look_again(findings, file, indexes)

    def _look_again(self, findings: Findings, file: File, indexes: list[int]) -> None:
        waiting = sorted(indexes, key=lambda index: findings.all[index].line or 0)
        at = 0
        try:
            for piece in text.pieces(file.source):
                end = piece.first + piece.data.removesuffix(b"\n").count(b"\n")
                start = at
                while at < len(waiting) and (findings.all[waiting[at]].line or 0) <= end:
                    at += 1
                here = waiting[start:at]
                for index, finding in zip(
                    here, self.told(file, piece, [findings.all[i] for i in here]), strict=True
                ):
                    findings.all[index] = finding
                if at == len(waiting):
                    return
        except Broken:
            return  # it is a finding already

    def _told(
        self,
        finding: Finding,
        texts: Mapping[int, str],
        schools: Mapping[int, str],
        secrets: "Secrets",
    ) -> Finding:
        number = finding.line or 0
        line = texts.get(number)
        if line is None:
            return finding
        row = finding.row or (secrets.struck(line) if self._takes(finding, line) else None)
        return replace(finding, row=row, school=finding.school or schools.get(number))

    def _takes(self, finding: Finding, line: str) -> bool:
        place = (finding.rule.id, finding.file)
        if self.kept[place] >= ROWS_EACH or self.room <= 0:
            return False
        self.kept[place] += 1
        self.room -= len(line)
        return True


def lines(piece: Piece, wanted: Iterable[int]) -> dict[int, str]:
    """These lines of a piece, cut."""
    texts = piece.lines()
    numbers = piece.numbers(len(texts))
    here = numbers.is_in(list(wanted))
    found = zip(numbers.filter(here), texts.filter(here), strict=True)
    return {number: short(line or "") for number, line in found}


def short(line: str) -> str:
    """A row as a finding keeps it; one that was cut ends with an ellipsis."""
    if len(line) * 4 <= ROW_MAX:
        return line
    data = line.encode()
    if len(data) <= ROW_MAX:
        return line
    return data[: ROW_MAX - 3].decode(errors="ignore") + "…"


def schools_of(file: File, texts: Mapping[int, str]) -> dict[int, str]:
    """The sourcedId of the school that each row names; a row that is misshapen names none."""
    names = file.layout.names
    at = place_of_school(file.entity, names)
    if at is None:
        return {}
    kind = names.index(Org.type.name) if file.entity is Org else None
    return {
        number: school
        for number, cells in cells_of(file, texts).items()
        if (kind is None or cells[kind] == "school")
        and (school := (cells[at] or "").strip()[:SCHOOL_MAX])
    }


def cells_of(file: File, texts: Mapping[int, str]) -> dict[int, Sequence[str | None]]:
    """The rows that are well formed, as the file's layout has them."""
    columns = file.columns
    rows = {
        number: cells
        for number, line in texts.items()
        if len(cells := split(line)) == len(columns) and tuple(cells) != file.header
    }
    if file.plan is None or not rows:
        return {**rows}
    came = pl.DataFrame(
        [[number, *(cell or None for cell in cells)] for number, cells in rows.items()],
        schema={"line": pl.Int64, **dict.fromkeys(columns, pl.String)},
        orient="row",
    )
    return {number: cells for number, *cells in file.mapped(came).iter_rows()}


def split(line: str) -> list[str]:
    """The cells of a line; none where its quotes are broken."""
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


class Secrets:
    """The cells of a file's rows that nobody may keep: passwords (architecture D1)."""

    def __init__(self, file: File) -> None:
        self._width, self._header = len(file.header), file.header
        hidden = secrets(file)
        self._at = [place for place, name in enumerate(file.header) if name in hidden]

    def struck(self, line: str) -> str | None:
        """The line without them; None where it is too misshapen to tell where they are."""
        if not self._at or not line:
            return line
        cells = split(line)
        if len(cells) != self._width:
            return None
        if tuple(cells) == self._header or not any(cells[place] for place in self._at):
            return line
        for place in self._at:
            cells[place] = ""
        out = io.StringIO()
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="").writerow(cells)
        return out.getvalue()


def secrets(file: File) -> frozenset[str]:
    """The columns of a file that hold them."""
    if file.plan:
        return file.plan.secrets
    return frozenset(
        column.csv for column in file.entity.columns if column.personal and not column.stored
    )


def place_of_school(entity: AnyEntity, names: Sequence[str]) -> int | None:
    """The column that names a school: the first reference to an org, in orgs the org itself."""
    columns = (
        [entity.sourced_id]
        if entity is Org
        else [c for c in entity.columns if isinstance(c, Ref) and c.to == Org.file]
    )
    return next((names.index(c.name) for c in columns if c.name in names), None)


@dataclass(slots=True)
class Group:
    """Findings that one correction resolves. `first` is the number of the first of them.

    `row`: one finding, and what follows from it. `record`: one record that many rows miss. `rule`:
    the same fault in many rows.
    """

    cause: Cause
    first: int
    severity: Severity
    findings: int = 0
    followers: int = 0

    @property
    def order(self) -> tuple[int, int, int, int]:
        """What drags down most comes first."""
        dragged = self.followers + (self.findings - 1 if self.cause == "record" else 0)
        return (SEVERITIES[self.severity], -dragged, -self.findings, self.first)


def grouped(findings: Findings) -> tuple[list[Group], list[int]]:
    """The groups, the most consequential first, and for each finding the rank of its group."""
    found = findings.all
    roots = causes(found)
    dragging: Counter[int] = Counter()
    for number, followers in findings.followers.items():
        dragging[roots[number - 1]] += followers
    groups: dict[object, Group] = {}
    of: list[Group] = [Group("row", 0, "info")] * len(found)
    for number, finding in enumerate(found, start=1):
        if roots[number - 1] == number:
            cause, key = sameness(finding, number, dragging[number])
            group = groups.setdefault(key, Group(cause, number, finding.rule.severity))
            group.findings += 1
            group.followers += dragging[number]
            of[number - 1] = group
    for kind, number in findings.first.items():
        if roots[number - 1] == number and kind in findings.beyond:
            of[number - 1].findings += findings.beyond[kind].total()
    ordered = sorted(groups.values(), key=lambda group: group.order)
    for group in ordered:
        if group.findings == 1:
            group.cause = "row"
    ranks = {group.first: rank for rank, group in enumerate(ordered, start=1)}
    return ordered, [ranks[of[root - 1].first] for root in roots]


def causes(found: Sequence[Finding]) -> list[int]:
    """For each finding the number of the one that it follows from in the end; its own, if none."""
    roots: dict[int, int] = {}
    for number in range(1, len(found) + 1):
        chain, at = [number], number
        while at not in roots and (up := found[at - 1].caused_by) and 0 < up <= len(found):
            if up in chain:
                break
            at = up
            chain.append(at)
        root = roots.get(at, at)
        roots |= dict.fromkeys(chain, root)
    return [roots[number] for number in range(1, len(found) + 1)]


def sameness(finding: Finding, number: int, followers: int) -> tuple[Cause, object]:
    """What one correction puts right together with this finding."""
    target = finding.facts.get("target")
    if target is not None and finding.value is not None:
        return "record", (finding.rule.id, target, finding.value)
    if followers:
        return "row", number
    return "rule", (finding.rule.id, finding.rule.severity, finding.file, finding.column)


def save(
    db: Connection,
    claim: Claim,
    findings: Findings,
    files: Sequence[File] = (),
    rows: Rows | None = None,
) -> None:
    """Store what was found, with its groups and counts; part of the caller's transaction.

    `files` are those of the package, `rows` what was kept of them while they were read.
    """
    db.execute(SQL["forget"], claim.key)
    if not findings.all:
        return
    if rows is not None:
        rows.complete(findings, files)
    groups, ranks = grouped(findings)
    (shown,) = one(db, SQL["shown"], claim.key)
    for start in range(0, len(ranks), BATCH):
        stop = start + BATCH
        cells = [
            stored(number, finding, rank, masked=shown == "masked")
            for number, (finding, rank) in enumerate(
                zip(findings.all[start:stop], ranks[start:stop], strict=True), start=start + 1
            )
        ]
        db.execute(SQL["add"], claim.key | arrays(cells))
    db.execute(SQL["count"], claim.key | beyond(findings))
    for start in range(0, len(groups), BATCH):
        cells = [
            {
                "rank": rank,
                "seq": group.first,
                "cause": group.cause,
                "findings": group.findings,
                "followers": group.followers,
            }
            for rank, group in enumerate(groups[start : start + BATCH], start=start + 1)
        ]
        db.execute(SQL["group"], claim.key | arrays(cells))
    with_rows = {finding.file for finding in findings.all if finding.line is not None}
    for file in files:
        if file.source.name in with_rows:
            own = {"file": file.source.name, "header": list(file.header)}
            db.execute(SQL["name_columns"], claim.key | own)


def beyond(findings: Findings) -> dict[str, object]:
    """What is counted only: like which finding, of which school, and how many."""
    counted = [
        {"seq": findings.first[sort], "school": clean(school), "findings": count}
        for sort, schools in findings.beyond.items()
        for school, count in schools.items()
    ]
    return arrays(counted) if counted else {"seq": [], "school": [], "findings": []}


def arrays(rows: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Rows as one array per column."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def stored(number: int, found: Finding, rank: int, *, masked: bool) -> dict[str, object]:
    """A finding as a row of its table."""
    value, row, facts = found.value, found.row and short(found.row), dict(found.facts)
    if masked:
        value = value and shape(value)
        row = row and shape_of_row(row, found.sourced_id)
        facts = shape_of_facts(facts)
    return {
        "seq": number,
        "file": clean(found.file),
        "line": found.line,
        "column": clean(found.column),
        "sourced_id": clean(found.sourced_id),
        "rule": found.rule.id,
        "severity": found.rule.severity,
        "value": clean(value),
        "facts": orjson.dumps(facts).decode().replace("\\u0000", "�"),
        "caused_by": found.caused_by,
        "school": clean(found.school),
        "row": clean(row),
        "group_rank": rank,
    }


def clean(told: str | None) -> str | None:
    """Text as PostgreSQL takes it: without NUL."""
    return told and told.replace("\0", "�")
