"""A district's mapping meets a file: whether it applies, and what it makes of the rows.

A file that has the layout of OneRoster is read as it is; any other is read with the district's
mapping, if it has one. What a mapped row means is a function of the row, the header and the
fingerprint, so whoever remembers what a line became may go by these three.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import polars as pl

from pipeline import header as headers
from pipeline.database import Connection
from pipeline.header import Layout
from pipeline.limits import Limits
from pipeline.transform import NOTHING, Names, transformed
from schemas.columns import AnyColumn
from schemas.mapping_checks import column_of
from schemas.mappings import Chain, FileMapping, Tables, fingerprint, read
from schemas.roster import BY_FILE, AnyEntity
from schemas.rules import Finding
from schemas.rules import mapping as rules
from schemas.rules.header import HEADER_COLUMNS
from schemas.runs import Mode
from schemas.statements import load as statements

SQL = statements("pipeline", "mappings.sql")
UNSAVED = "-"

Used: TypeAlias = dict[str, str | int | None]
"""What a run remembers of a file: `mapping`, the version (null: none), and `fingerprint`."""


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


def load(db: Connection, tenant_id: int) -> dict[str, Saved]:
    """The mappings of a district by file name, in its transaction; none for the default."""
    rows = db.execute(SQL["current"], {"tenant_id": tenant_id}).fetchall()
    found = {
        entity: (version, FileMapping.model_validate(said))
        for entity, version, said in rows
        if said is not None
    }
    names = sorted({name for _, mapping in found.values() for name in mapping.tables})
    cursor = db.execute(SQL["tables"], {"tenant_id": tenant_id, "names": names})
    tables: dict[str, dict[str, str]] = dict(cursor.fetchall())
    return {
        entity: Saved(
            BY_FILE[entity],
            version,
            mapping,
            {name: tables[name] for name in mapping.tables},
        )
        for entity, (version, mapping) in found.items()
    }


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of a mapped file are made.

    `columns` are the frame's columns to read the file with, in file order; `layout` is what comes
    out of `apply`, spelled as OneRoster spells it; `origins` names, for each column in the layout's
    header, the source columns that it is made of.
    """

    saved: Saved
    columns: tuple[str, ...]
    layout: Layout
    origins: Mapping[str, tuple[str, ...]]
    stages: tuple[tuple[pl.Expr, ...], ...]

    @property
    def used(self) -> Used:
        """What the run remembers."""
        return {"mapping": self.saved.version, "fingerprint": self.saved.fingerprint}

    def apply(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of text by source column, as rows of text by column of the table, with `line`."""
        for stage in self.stages:
            rows = rows.with_columns(stage)
        return rows.select("line", *self.layout.names)

    def sourced(self, finding: Finding) -> Finding:
        """The finding with the source columns that its column is made of, as the fact `source`."""
        origin = self.origins.get(finding.column or "")
        if not origin:
            return finding
        return replace(finding, facts={**finding.facts, "source": ", ".join(origin)})


def applies(
    entity: AnyEntity, header: tuple[str, ...], saved: Saved | None, limits: Limits
) -> bool:
    """Whether a file is read with the mapping: it has one, and not the layout of OneRoster.

    A faulty header is taken for what it is closer to, so that the findings speak of that.
    """
    if saved is None or not any(True for _ in headers.check(entity, header, limits)):
        return False
    own = {column.csv for column in headers.defined(entity, header)}
    return share(set(saved.mapping.sources), header) >= share(own, header)


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


def not_needed(entity: AnyEntity) -> Finding:
    """Said of a file whose header is OneRoster's own although the district has a mapping."""
    return Finding(rule=rules.NOT_NEEDED, file=f"{entity.file}.csv")


def plan(saved: Saved, header: tuple[str, ...]) -> Plan:
    """How to read a file whose header has been checked."""
    # A place in front keeps names apart that are blank, doubled or those of our own columns.
    columns = tuple(f"{place} {name}" for place, name in enumerate(header))
    names = dict(zip(reversed(header), reversed(columns), strict=True))
    targets = ordered(saved)
    return Plan(
        saved=saved,
        columns=columns,
        layout=Layout(
            header=tuple(csv for csv, _, _ in targets),
            names=tuple(column.name if column else csv for csv, column, _ in targets),
            columns=tuple(column for _, column, _ in targets if column),
            unknown=tuple(csv for csv, column, _ in targets if column is None),
        ),
        origins={csv: read(chain) for csv, _, chain in targets},
        stages=stages(
            [(column.name if column else csv, chain) for csv, column, chain in targets],
            names,
            saved.tables,
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
