"""A district's mapping meets a file: whether it applies, and what it makes of the rows.

A file that has the layout of OneRoster is read as it is; any other is read with the district's
mapping, if it has one. What a mapped row means is a function of the row, the header and the
fingerprint, so whoever remembers what a line became may go by these three.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import polars as pl

from pipeline import header as headers
from pipeline.database import Connection
from pipeline.faults import cut
from pipeline.header import Layout
from pipeline.limits import Limits
from pipeline.transform import NOTHING, Names, transformed
from schemas.columns import AnyColumn
from schemas.mapping_checks import column_of
from schemas.mappings import Chain, FileMapping, Tables, fingerprint, read
from schemas.profiles import Profile
from schemas.roster import BY_FILE, AnyEntity
from schemas.rules import Finding
from schemas.rules import mapping as rules
from schemas.rules.header import HEADER_COLUMNS, NOT_IN_PROFILE
from schemas.rules.values import PROFILE_REQUIRED
from schemas.runs import Mode
from schemas.statements import load as statements
from schemas.templates import TEMPLATES

SQL = statements("pipeline", "mappings.sql")
UNSAVED = "-"

STATE = ("status", "date_last_modified")
HALF = 0.5
SECRET = re.compile("password|passwd|パスワード|暗証", re.IGNORECASE)
"""What a school information system calls a column that nobody may keep."""

Used: TypeAlias = dict[str, str | int | None]
"""What a run remembers of a file: `mapping`, the version (null: none), and `fingerprint`."""
UNMAPPED: Used = {"mapping": None, "fingerprint": None}


@dataclass(frozen=True, slots=True)
class Saved:
    """The mapping of one entity, as the district has it, with the tables it names.

    `version` is null for one that was not saved, such as a preview's.
    """

    entity: AnyEntity
    version: int | None
    mapping: FileMapping
    tables: Tables = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """What decides, with the header, what a row becomes."""
        return fingerprint(self.entity.file, self.mapping, self.tables)

    @property
    def used(self) -> Used:
        """What a run remembers that was read with it."""
        return {"mapping": self.version, "fingerprint": self.fingerprint}


Mappings: TypeAlias = Mapping[str, Saved]
"""The mappings of a district by file name; a file without one has the default."""


def load(db: Connection, tenant_id: int) -> Mappings:
    """The mappings of a district, in its transaction.

    One statement reads mappings and tables, for they may be saved while the district imports.
    """
    rows = db.execute(SQL["current"], {"tenant_id": tenant_id}).fetchall()
    tables: dict[str, dict[str, str]] = {name: said for name, version, said in rows if not version}
    return {
        entity: saved(entity, version, said, tables) for entity, version, said in rows if version
    }


def saved(entity: str, version: int | None, said: object, tables: Tables) -> Saved:
    """A mapping as it is stored, with the tables it names of those that are there."""
    mapping = FileMapping.model_validate(said)
    named = {name: tables[name] for name in mapping.tables}
    return Saved(BY_FILE[entity], version, mapping, named)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of a mapped file are made.

    `columns` are the frame's columns to read the file with, in file order; `layout` is what comes
    out of `apply`, spelled as OneRoster spells it; `origins` names, for each column that is mapped,
    the source columns that it is made of. Other columns of the binding come out blank, as in a file
    that has nothing in them, so that whoever looks at a row finds all of it.
    """

    saved: Saved
    names: tuple[str, ...]
    columns: tuple[str, ...]
    layout: Layout
    origins: Mapping[str, tuple[str, ...]]
    stages: tuple[tuple[pl.Expr, ...], ...]

    @property
    def header(self) -> tuple[str, ...]:
        """The columns that are mapped."""
        return tuple(self.origins)

    @property
    def secrets(self) -> frozenset[str]:
        """The source columns that nobody may keep: what a password is made of, or looks like."""
        hidden = {c.csv for c in self.saved.entity.columns if c.personal and not c.stored}
        made = {name for csv in hidden for name in self.origins.get(csv, ())}
        return frozenset(made | {name for name in self.names if SECRET.search(name)})

    def apply(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of text by source column, as rows of text by column of the table, with `line`."""
        for stage in self.stages:
            rows = rows.with_columns(stage)
        return rows.select("line", *self.layout.names)

    def told(self, findings: Iterable[Finding]) -> list[Finding]:
        """The findings of rows without those that `against` has told once for all rows."""
        return [
            finding
            for finding in findings
            if finding.rule is not PROFILE_REQUIRED or finding.column in self.origins
        ]

    def sourced(self, finding: Finding) -> Finding:
        """The finding with the source columns that its column is made of, as the fact `source`."""
        origin = self.origins.get(finding.column or "")
        if not origin:
            return finding
        return replace(finding, facts={**finding.facts, "source": ", ".join(origin)})


def closer(saved: Saved, header: tuple[str, ...], own: tuple[str, ...]) -> bool:
    """Whether a header is closer to what a mapping reads than to the layout of OneRoster.

    `own` is the same header as OneRoster would spell it. Asked of a header that has not that
    layout: it is taken for what it is closer to, so that the findings speak of that.
    """
    return share(set(saved.mapping.sources), header) >= share(defined(saved.entity, own), own)


def foreign(entity: AnyEntity, header: tuple[str, ...]) -> bool:
    """Whether a header is of another kind, so that naming each wrong column would help nobody."""
    return entity.sourced_id.csv not in header and share(defined(entity, header), header) < HALF


def defined(entity: AnyEntity, header: tuple[str, ...]) -> set[str]:
    """The columns that a file of OneRoster has."""
    return {column.csv for column in headers.defined(entity, header)}


def share(wanted: set[str], header: tuple[str, ...]) -> float:
    """How much of what is wanted the header has."""
    return len(wanted & set(header)) / len(wanted) if wanted else 1.0


def check(saved: Saved, header: tuple[str, ...], mode: Mode, limits: Limits) -> Iterator[Finding]:
    """What is wrong with the header of a mapped file, and what is worth saying about it."""
    file = f"{saved.entity.file}.csv"
    if len(header) > limits.columns_max:
        limit = {"limit": limits.columns_max}
        yield Finding(rule=HEADER_COLUMNS, file=file, line=1, facts=limit)
        return
    facts: dict[str, str | int | None] = {"version": saved.version or UNSAVED}
    times, wanted = Counter(header), saved.mapping.sources
    for name in wanted:
        if times[name] != 1:
            rule = rules.SOURCE_TWICE if times[name] else rules.SOURCE_MISSING
            yield Finding(rule=rule, file=file, line=1, column=name, facts=facts)
    if mode == "delta" and "status" not in saved.mapping.columns:
        yield Finding(rule=rules.NO_STATUS, file=file, line=1, column="status")
    for name in times:
        if name and name not in wanted:
            yield Finding(rule=rules.SOURCE_IGNORED, file=file, line=1, column=name[:200])
    yield Finding(rule=rules.USED, file=file, facts=facts)


def against(plan: Plan, profile: Profile) -> Iterator[Finding]:
    """Where a mapping does not fill what the profile requires, or fills what it does not have."""
    file, own = f"{plan.saved.entity.file}.csv", profile.columns(plan.saved.entity)
    facts = {"profile": profile.name, "version": plan.saved.version or UNSAVED}
    for column in plan.layout.columns:
        if column.csv in plan.origins and column not in own and not column.extension:
            yield Finding(rule=NOT_IN_PROFILE, file=file, line=1, column=column.csv, facts=facts)
    for column in own:
        if column in profile.required and column.csv not in plan.origins:
            rule, name = rules.PROFILE_REQUIRES, profile.spelling.get(column, column.csv)
            yield Finding(rule=rule, file=file, line=1, column=name, facts=facts)


def none(entity: AnyEntity, header: tuple[str, ...]) -> Finding:
    """Said of a header that is not OneRoster's where the district has no mapping."""
    fitting = [
        template.id
        for template in TEMPLATES.values()
        if template.entity == entity.file and {*template.mapping.sources} <= {*header}
    ]
    file = f"{entity.file}.csv"
    if not fitting:
        return Finding(rule=rules.NONE, file=file, line=1, value=cut(",".join(header)))
    facts = {"template": fitting[0], "entity": entity.file}
    return Finding(rule=rules.TEMPLATE_FITS, file=file, line=1, facts=facts)


def not_needed(entity: AnyEntity) -> Finding:
    """Said of a file whose header is OneRoster's own although the district has a mapping."""
    return Finding(rule=rules.NOT_NEEDED, file=f"{entity.file}.csv")


def plan(saved: Saved, header: tuple[str, ...]) -> Plan:
    """How to read a file whose header has been checked."""
    # A place in front keeps names apart that are blank, doubled or those of our own columns.
    columns = tuple(f"{place} {name}" for place, name in enumerate(header))
    names = dict(zip(reversed(header), reversed(columns), strict=True))
    targets = ordered(saved)
    mapped = {column for _, column, _ in targets}
    spelled = tuple(csv for csv, _, _ in targets)
    blank = [
        column
        for column in headers.defined(saved.entity, spelled)
        # What only a delta says is not asked of a row whose mapping does not say it.
        if column not in mapped and column.name not in STATE
    ]
    return Plan(
        saved=saved,
        names=header,
        columns=columns,
        layout=Layout(
            header=(*spelled, *(column.csv for column in blank)),
            names=(
                *(column.name if column else csv for csv, column, _ in targets),
                *(column.name for column in blank),
            ),
            columns=(*(column for _, column, _ in targets if column), *blank),
            unknown=tuple(csv for csv, column, _ in targets if column is None),
        ),
        origins={csv: read(chain) for csv, _, chain in targets},
        stages=(
            tuple(pl.lit(None, pl.String).alias(column.name) for column in blank),
            *stages(
                [(column.name if column else csv, chain) for csv, column, chain in targets],
                names,
                saved.tables,
            ),
        ),
    )


def ordered(saved: Saved) -> list[tuple[str, AnyColumn | None, Chain]]:
    """Each mapped column, spelled as OneRoster does, in the order of the file; others behind."""
    found = {name: column_of(saved.entity, name) for name in saved.mapping.columns}
    targets = [
        (column.csv if column else name, column, saved.mapping.columns[name])
        for name, column in found.items()
    ]
    places = {column: place for place, column in enumerate(saved.entity.columns)}
    return sorted(targets, key=lambda each: places[each[1]] if each[1] else len(places))


def stages(
    targets: list[tuple[str, Chain]], names: Names, tables: Tables
) -> tuple[tuple[pl.Expr, ...], ...]:
    """The expressions of the first transformations, of the second ones, and so on."""
    longest = max(len(chain) for _, chain in targets)
    return tuple(
        tuple(
            transformed(chain[place], pl.col(target) if place else NOTHING, names, tables).alias(
                target
            )
            for target, chain in targets
            if place < len(chain)
        )
        for place in range(longest)
    )
