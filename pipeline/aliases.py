"""Aliases: the sourcedIds that a source uses now for records that the hub knows by others.

They come of a re-key that somebody approved. From then on every file of the district is translated
behind its checks and before anything is compared, in sourcedId and every reference column: what is
staged, digested, compared and known by its lines bears the hub's ids. What people read about their
file names the ids that stand in it (`Aliases.name`). A district without aliases pays one look.

Aliases lie in the database; those that a file needs are written to the work folder before it is
read, and looked up there batch by batch, so memory stays the same however many there are.
"""

import io
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import polars as pl
from psycopg.sql import SQL, Literal

from pipeline.database import Connection
from pipeline.faults import Findings
from pipeline.records.checks import CHECKS
from pipeline.spool import Shelf
from schemas import rules
from schemas.columns import AnyColumn, Key, Ref, Refs
from schemas.identity import space
from schemas.profiles import SPELLINGS
from schemas.roster import BY_FILE, AnyEntity
from schemas.rules import Finding
from schemas.statements import load

NAMED = load("pipeline", "aliases.sql")
PAIR = pl.Schema({"source": pl.String, "hub": pl.String})
ROOM = 4 * 1024 * 1024  # bytes of aliases that may wait in memory
CHUNK = 4 * 1024 * 1024

Ids: TypeAlias = Mapping[str, str]
"""Places in a finding (`sourced_id`, `value`, a fact) and the file whose sourcedId stands there."""


def standing(db: Connection, tenant_id: int, folder: Path) -> "Aliases | None":
    """The aliases of a district; None: it has none."""
    versions = tuple(v for (v,) in db.execute(NAMED["standing"], {"tenant_id": tenant_id}))
    if not versions:
        return None
    place = folder / "aliases"
    place.mkdir()
    return Aliases(db, tenant_id, versions, place)


@dataclass(slots=True)
class Aliases:
    """The aliases that stand. `versions` made them, and tell one set of aliases from another.

    `met` are the aliases that stood in the files so far.
    """

    db: Connection
    tenant_id: int
    versions: tuple[int, ...]
    folder: Path
    shelves: dict[str, Shelf] = field(default_factory=dict)
    met: dict[str, Shelf] = field(default_factory=dict)

    def load(self, entity: AnyEntity) -> None:
        """Get ready for the rows of an entity. Not while something is copied to the database."""
        for file in {file for _, file in columns(entity)} - self.shelves.keys():
            self.shelves[file] = shelf = Shelf(self.folder / file, ROOM)
            self.met[file] = Shelf(self.folder / f"{file}.met", ROOM)
            for pairs in self._read(file):
                shelf.add(pairs)

    def translate(self, entity: AnyEntity, rows: pl.DataFrame) -> pl.DataFrame:
        """Typed rows with the hub's ids."""
        for column, file in columns(entity) if entity.kept else ():
            cells = rows[column.name]
            lists = isinstance(column, Refs)
            named = items(cells).explode() if lists else cells
            pairs = self._pairs(file, named.drop_nulls().unique())
            if not pairs.is_empty():
                self.met[file].add(pairs)
                rows = rows.with_columns(in_lists(cells, pairs) if lists else put(cells, pairs))
        return rows

    def _pairs(self, file: str, ids: pl.Series) -> pl.DataFrame:
        """The aliases among these ids."""
        wanted = pl.DataFrame([ids.alias("source")])
        known = self.shelves[file].read() if len(ids) else ()
        found = (pairs.join(wanted, on="source", how="semi") for pairs in known)
        return pl.concat([pl.DataFrame(schema=PAIR), *found])

    def _read(self, file: str) -> Iterator[pl.DataFrame]:
        """The aliases of a file; no identifier has a blank or a comma in it."""
        statement = SQL(
            "copy (select source_id, hub_id from aliases where tenant_id = {tenant}"
            " and entity = {entity} and version = any({versions})) to stdout (format csv)"
        ).format(
            tenant=Literal(self.tenant_id),
            entity=Literal(file),
            versions=Literal(list(self.versions)),
        )
        waiting = io.BytesIO()
        with self.db.cursor().copy(statement) as copy:
            for row in copy:
                waiting.write(bytes(row))
                if waiting.tell() > CHUNK:
                    yield pairs_of(waiting.getvalue())
                    waiting = io.BytesIO()
        if waiting.tell():
            yield pairs_of(waiting.getvalue())

    # --- What was found

    def settle(self, findings: Findings) -> None:
        """Let what is known of faulty rows go by the hub's ids, as the stored records do."""
        findings.go_by(lambda file, ids: self._hub_ids(space(BY_FILE[file]), ids))
        for file, frames in findings.rows.items():
            pointing = [(c.name, to) for c, to in columns(BY_FILE[file]) if isinstance(c, Ref)]
            findings.rows[file] = [self._rows_by_hub_ids(rows, pointing) for rows in frames]

    def _hub_ids(self, file: str, ids: Collection[str]) -> dict[str, str]:
        facts = {"tenant_id": self.tenant_id, "entity": file, "versions": list(self.versions)}
        return dict(self.db.execute(NAMED["named"], {**facts, "ids": list(ids)}).fetchall())

    def _rows_by_hub_ids(self, rows: pl.DataFrame, pointing: list[tuple[str, str]]) -> pl.DataFrame:
        for name, file in pointing:
            if known := self._hub_ids(file, rows[name].drop_nulls().unique().to_list()):
                rows = rows.with_columns(pl.col(name).replace(known))
        return rows

    def name(self, findings: Findings) -> None:
        """Let findings about records name the ids that stand in the files.

        A record that no line is about bears the id that its source used last.
        """
        places = [places_of(finding) for finding in findings.all]
        wanted: defaultdict[tuple[str, bool], set[str]] = defaultdict(set)
        for finding, ids in zip(findings.all, places, strict=True):
            for place, file in ids.items():
                if said := at(finding, place):
                    wanted[file, finding.line is None].add(said)
        sources = {key: self._sources(*key, ids) for key, ids in wanted.items()}
        findings.all = [
            named(finding, ids, sources) for finding, ids in zip(findings.all, places, strict=True)
        ]

    def _sources(self, file: str, stored: bool, ids: Collection[str]) -> dict[str, str]:  # noqa: FBT001  # a key
        """By the hub's id what stood in the files for it; of `stored` records, what ever did."""
        found: dict[str, str] = {}
        if stored:
            facts = {"tenant_id": self.tenant_id, "entity": file, "versions": list(self.versions)}
            found |= self.db.execute(NAMED["newest"], {**facts, "ids": list(ids)}).fetchall()
        wanted = pl.Series("hub", list(ids), dtype=pl.String).to_frame()
        for pairs in self.met[file].read() if file in self.met else ():
            found |= dict(pairs.join(wanted, on="hub", how="semi").select("hub", "source").rows())
        return found


def columns(entity: AnyEntity) -> list[tuple[Key | Ref | Refs, str]]:
    """The columns with sourcedIds of records that are stored, each with the file of these."""
    pointing = [c for c in entity.references() if not isinstance(c, Key) and BY_FILE[c.to].kept]
    return [(entity.sourced_id, space(entity)), *((c, c.to) for c in pointing)]


def pairs_of(text: bytes) -> pl.DataFrame:
    """Lines of source and hub as a frame."""
    return pl.read_csv(text, has_header=False, schema=PAIR, infer_schema=False)


def put(cells: pl.Series, pairs: pl.DataFrame) -> pl.Series:
    """The cells with the hub's ids for the source's."""
    return cells.replace(pairs["source"], pairs["hub"])


def items(cells: pl.Series) -> pl.Series:
    """The items of array literals: `{"a","b"}`."""
    return cells.str.strip_chars('{}"').str.split('","')


def in_lists(cells: pl.Series, pairs: pl.DataFrame) -> pl.Series:
    """Array literals with the hub's ids for the source's."""
    item = pl.element().replace(pairs["source"], pairs["hub"])
    joined = items(cells).to_frame().select(pl.all().list.eval(item).list.join('","')).to_series()
    return pl.select(
        pl.concat_str(pl.lit('{"'), joined, pl.lit('"}')).alias(cells.name)
    ).to_series()


# --- Where a finding names a record ----------------------------------------------------------

BETWEEN_RECORDS = frozenset(
    rule.id for rule in vars(rules.records).values() if isinstance(rule, rules.Rule)
)
IDS: Mapping[str, Mapping[str, AnyColumn]] = {check.rule.id: check.ids for check in CHECKS}


def places_of(finding: Finding) -> dict[str, str]:
    """Where the finding has the hub's ids: only what was found between records has."""
    file = finding.file.removesuffix(".csv")
    if finding.rule.id not in BETWEEN_RECORDS or file not in BY_FILE:
        return {}
    target = str(finding.facts.get("target", "")).removesuffix(".csv")
    if finding.rule is rules.records.DELETION_WITHHELD:  # the record that is kept, and for which
        return {"sourced_id": space(BY_FILE[target]), "value": space(BY_FILE[file])}
    ids = {"sourced_id": space(BY_FILE[file])}
    if target:
        ids["value"] = target
    elif pointed := pointed_at(file, finding.column):
        ids["value"] = pointed
    return ids | {place: of(column) for place, column in IDS.get(finding.rule.id, {}).items()}


def pointed_at(file: str, header: str | None) -> str | None:
    """The file to which a column of a header points."""
    known = SPELLINGS.get((header or "").lower())
    name = header if known is None else known.csv
    found = next((c for c in BY_FILE[file].columns if c.csv == name), None)
    return of(found) if isinstance(found, Key | Ref | Refs) else None


def of(column: AnyColumn) -> str:
    """The file whose sourcedIds stand in a column."""
    if isinstance(column, Key | Ref | Refs) and column.to:
        return column.to
    return next(entity.file for entity in BY_FILE.values() if entity.table == column.entity)


def at(finding: Finding, place: str) -> str | None:
    """What a finding has in a place."""
    said = getattr(finding, place) if place in ("sourced_id", "value") else finding.facts.get(place)
    return said if isinstance(said, str) else None


def named(
    finding: Finding, ids: Ids, sources: Mapping[tuple[str, bool], Mapping[str, str]]
) -> Finding:
    """The finding with the ids that stand in the files."""
    said = {
        place: source
        for place, file in ids.items()
        if (hub := at(finding, place)) and (source := sources[file, finding.line is None].get(hub))
    }
    if not said:
        return finding
    facts = {**finding.facts, **{n: v for n, v in said.items() if n in finding.facts}}
    rule = finding.rule
    if rule is rules.records.DUPLICATE:
        rule, facts = rules.records.ALIASED_TWICE, {**facts, "hub": finding.value}
    return replace(
        finding,
        rule=rule,
        sourced_id=said.get("sourced_id", finding.sourced_id),
        value=said.get("value", finding.value),
        facts=facts,
    )
