"""A piece of a file as a frame: what becomes of its cells, and what is wrong with them.

Values stay text in the form that PostgreSQL's COPY reads (a list becomes an array literal), for
text that has passed its rule converts there without loss.

Millions of good cells are looked at for a handful of bad ones. So the rules of one column form
chains of which the last is broken wherever any is, and only that one is tried as long as it holds;
and where a column repeats itself, its values are tried instead of its cells. Where millions of
cells are remarkable, the first of them become findings and the others are counted.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias, TypeVar, assert_never

import polars as pl

from pipeline.cells import (
    SEPARATOR,
    CellBreach,
    Presence,
    RowBreach,
    of_column,
    of_row,
    presence,
    size,
)
from pipeline.faults import EACH, Sort, cut
from pipeline.found import SCHOOL_MAX, place_of_school
from pipeline.header import METADATA, Layout
from schemas.checks import AnyCheck
from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Day,
    Decimal,
    Flag,
    Instant,
    Key,
    Pairs,
    Ref,
    Refs,
    Text,
    Texts,
    Whole,
    Year,
)
from schemas.profiles import Profile
from schemas.roster import AnyEntity
from schemas.roster.orgs import Org
from schemas.rules import Finding, Severity
from schemas.rules.text import FIELD_SIZE
from schemas.runs import Mode

GRAVITY: tuple[Severity, ...] = ("error", "warning", "info")
ESCAPES = {"\\": "\\\\", '"': '\\"', ",": '","'}
"""What stands for a sign inside the quotes of an array literal; the order counts."""
FEW = 3  # a column repeats itself if it has this many times less runs, or values, than cells

# What a cell becomes -------------------------------------------------------------------------


def value(column: AnyColumn, rows: pl.DataFrame) -> pl.Series:
    """The cells as COPY reads them."""
    raw = rows[column.name]
    match column:
        case Key() | Text() | Choice() | Flag() | Ref():
            return raw
        case Day() | Instant() | Year() | Whole() | Decimal():
            return raw
        case Texts() | Pairs() | Choices() | Refs():
            return array(raw)
        case _:
            assert_never(column)


def array(raw: pl.Series) -> pl.Series:
    """Comma lists as array literals; items are trimmed. What no cell has is not looked for."""
    if raw.null_count() == len(raw):
        return raw
    text = raw
    if not ascii_only(raw) or has(raw, " "):
        text = text.str.strip_chars().str.replace_all(SEPARATOR, ",")
    if has(raw, *ESCAPES):
        for sign, escaped in ESCAPES.items():
            text = text.str.replace_all(sign, escaped, literal=True)
    quoted = pl.concat_str(pl.lit('{"'), text, pl.lit('"}')).alias(raw.name)
    return pl.select(quoted).to_series()


def has(cells: pl.Series, *signs: str) -> bool:
    """Whether any cell has any of the signs."""
    return cells.str.contains_any([*signs]).any()


def ascii_only(cells: pl.Series) -> bool:
    """Whether no cell has another sign than those of ASCII."""
    return bool((cells.str.len_bytes() == cells.str.len_chars()).all())


def typed(entity: AnyEntity, layout: Layout, mode: Mode, rows: pl.DataFrame) -> pl.DataFrame:
    """Checked rows in the shape of the entity's staging table: line, columns, metadata."""
    present = {column.name for column in layout.columns}
    values = [
        value(column, rows)
        if column.name in present
        else pl.lit(None, pl.String).alias(column.name)
        for column in entity.stored()
        if column.name != "status"
    ]
    status = pl.col("status") if mode == "delta" else pl.lit("active")
    shaped = rows.select("line", *values, status.alias("status"), metadata(layout.unknown))
    return shaped.select("line", *(column.name for column in entity.stored()), "metadata")


def metadata(unknown: tuple[str, ...]) -> pl.Expr:
    """The unknown `metadata.*` cells as one JSON object, as they came; null where all are blank.

    A blank cell is no key: a file has its columns for all rows, and a row what it has in them.
    """
    if not unknown:
        return pl.lit(None, pl.String).alias("metadata")
    pairs = pl.concat_str(map(pair, sorted(unknown)), separator=",", ignore_nulls=True)
    braced = pl.concat_str(pl.lit("{"), pairs, pl.lit("}"))
    return pl.when(pairs != "").then(braced).alias("metadata")


def pair(name: str) -> pl.Expr:
    """A cell as a key and its value; null where it is blank."""
    cell = pl.col(name)
    alone = pl.struct(cell.alias(name.removeprefix(METADATA))).struct.json_encode()
    return pl.when(cell.is_not_null()).then(alone.str.strip_prefix("{").str.strip_suffix("}"))


# What is wrong with it -----------------------------------------------------------------------

Chain: TypeAlias = list[CellBreach]
"""Rules of one column of which the last is broken wherever any is."""

Breach: TypeAlias = Presence | CellBreach | RowBreach

Look: TypeAlias = Literal["all", "values", "runs"]
"""Whether to look at every cell, at each value once, or at the first cell of each run."""


def chains(breaches: Iterable[CellBreach]) -> list[Chain]:
    """The rules of one column, each behind the one that it narrows."""
    found: list[Chain] = []
    for breach in breaches:
        if breach.narrows and found:
            found[-1].append(breach)
        else:
            found.append([breach])
    return found


def look(raw: pl.Series) -> Look:
    """How to look at a column that goes on like this."""
    runs = raw.ne_missing(raw.shift(1)).sum()
    if FEW * runs < len(raw):
        return "runs"
    return "values" if FEW * raw.n_unique() < len(raw) else "all"


def cells(name: str, how: Look) -> pl.Expr:
    """The cells to look at, as one list."""
    raw = pl.col(name)
    match how:
        case "all":
            return raw.implode()
        case "values":
            return raw.unique().implode()
        case "runs":
            return raw.rle().struct.field("value").unique().implode().alias(name)
        case _:
            assert_never(how)


class Suspect(NamedTuple):
    """A chain while nothing of it is proven: what is true if it may be broken, and if it is."""

    name: str
    chain: Chain
    doubt: pl.Expr | None
    fails: pl.Expr


def suspect(chain: Chain) -> Suspect:
    """What is asked of the listed cells of a column."""
    last = chain[-1]
    raw = pl.col(last.name).explode()
    doubt = raw.str.len_bytes() != raw.str.len_chars()
    return Suspect(last.name, chain, doubt.any() if last.ascii else None, last.wrong(raw).any())


Asked = TypeVar("Asked")


def true_of(rows: pl.DataFrame, asked: Iterable[tuple[Asked, pl.Expr]]) -> list[Asked]:
    """What of the asked is true of the rows, all of it in one pass."""
    things, questions = tuple(zip(*asked, strict=True)) or ((), ())
    if not things:
        return []
    answers = rows.select(question.alias(str(at)) for at, question in enumerate(questions)).row(0)
    return [thing for thing, answer in zip(things, answers, strict=True) if answer]


class Hit(NamedTuple):
    """A rule that is broken in some rows: `line`, `sourced_id`, `school` and the cell's `text`."""

    breach: Breach
    rows: pl.DataFrame


class Beyond(NamedTuple):
    """Remarks of one kind that are counted only: by school, and the lines they are about."""

    kind: Sort
    schools: Mapping[str | None, int]
    lines: pl.Series


@dataclass(slots=True)
class Checker:
    """The rules of one file in one mode, ready to be applied to its pieces.

    What is wrong in a row depends on nothing but its cells, the layout, the mode and the profile,
    so pieces may be looked at beside each other. What is told is told in their order: of each kind
    of remark only the first `each` become findings, the others wait in `beyond`. How a column is
    looked at is settled by the first piece that fills it, and changes the speed only.
    """

    entity: AnyEntity
    layout: Layout
    mode: Mode
    profile: Profile
    field_max: int
    each: int = EACH
    beyond: list[Beyond] = field(init=False, default_factory=list)
    listed: Counter[Sort] = field(init=False, default_factory=Counter)
    school: pl.Expr = field(init=False)
    suspects: list[Suspect] = field(init=False)
    presence: list[Presence] = field(init=False)
    between: list[RowBreach] = field(init=False)
    lists: dict[str, pl.Expr] = field(init=False, default_factory=dict)
    secrets: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        columns = {column.name: column for column in self.layout.columns}
        checks = [
            check
            for check in (*self.entity.checks, *self.profile.checks)
            if check.column in self.layout.columns
        ]
        self.suspects = [
            suspect(chain)
            for name in self.layout.names
            for chain in chains(self._of_cells(name, columns.get(name), checks))
        ]
        self.presence = [
            found
            for column in self.layout.columns
            for found in presence(column, self.mode, self.profile)
        ]
        self.between = [breach for check in checks for breach in of_row(check)]
        self.school = school(self.entity, self.layout.names)
        self.secrets = frozenset(
            column.name for column in self.layout.columns if column.personal and not column.stored
        )

    def _of_cells(
        self, name: str, column: AnyColumn | None, checks: Iterable[AnyCheck]
    ) -> Iterator[CellBreach]:
        yield size(name, self.field_max)
        if column:
            yield from of_column(column, self.profile, checks)

    def hits(self, rows: pl.DataFrame) -> list[Hit]:
        """The rules that these rows break, the gravest first; a cell is hit by one at most."""
        if rows.is_empty():
            return []
        broken = sorted(self._broken(rows), key=lambda each: GRAVITY.index(each[0].rule.severity))
        hit: dict[str, pl.Series] = {}
        found: list[Hit] = []
        for breach, where in broken:
            name = breach.name
            bad = rows.select("line", "sourced_id", self.school, text=name).filter(where)
            if name in hit:
                bad = bad.filter(~bad["line"].is_in(hit[name].implode()))
                hit[name] = pl.concat([hit[name], bad["line"]])
            else:
                hit[name] = bad["line"]
            found.append(Hit(breach, bad))
        return found

    def told(self, hits: Iterable[Hit]) -> list[Finding]:
        """What is wrong with the values of the next piece, by line; of each cell the gravest."""
        found = [finding for hit in hits for finding in self._found(hit.rows, hit.breach)]
        found.sort(key=lambda finding: (finding.line or 0, GRAVITY.index(finding.rule.severity)))
        return found

    def taken(self) -> list[Beyond]:
        """The remarks that are counted only, since this was asked last."""
        beyond, self.beyond = self.beyond, []
        return beyond

    def _broken(self, rows: pl.DataFrame) -> Iterator[tuple[Breach, pl.Series]]:
        """Each rule that is broken, and where it is; of the cells before those of rows."""
        nulls = {name: rows[name].null_count() for name in self.layout.names}
        for found in self.presence:
            if nulls[found.name] != (0 if found.given else rows.height):
                yield found, series(rows, pl.col(found.name).is_null() == found.given)
        filled = {name for name, count in nulls.items() if count < rows.height}
        for breach in self._failing(rows, filled):
            yield breach, series(rows, breach.wrong(pl.col(breach.name)))
        for between in true_of(rows, [(breach, breach.where.any()) for breach in self.between]):
            only = pl.lit(value=True) if between.only is None else between.only
            yield between, series(rows, between.where & only)

    def _failing(self, rows: pl.DataFrame, filled: set[str]) -> Iterator[CellBreach]:
        """The rules of every chain whose last is broken, in columns that hold anything."""
        for name in filled:
            if name not in self.lists:
                self.lists[name] = cells(name, look(rows[name]))
        listed = rows.select(self.lists[name] for name in filled)
        suspects = [each for each in self.suspects if each.name in filled]
        plain = true_of(listed, [(s.chain, ~s.doubt) for s in suspects if s.doubt is not None])
        for chain in true_of(
            listed, [(s.chain, s.fails) for s in suspects if s.chain not in plain]
        ):
            yield from chain

    def _found(self, rows: pl.DataFrame, breach: Breach) -> Iterator[Finding]:
        """The rows that break a rule, as findings or as a number."""
        file = f"{self.entity.file}.csv"
        kind = Sort(breach.rule, file, self.layout.header[self.layout.names.index(breach.name)])
        if breach.rule.severity != "error":
            room = self.each - self.listed[kind]
            rows, rest = rows.head(room), rows.slice(room)
            self.listed[kind] += rows.height
            if rest.height:
                schools = dict(rest.group_by("school").len().rows())
                self.beyond.append(Beyond(kind, schools, rest["line"]))
        told = breach.rule is not FIELD_SIZE and breach.name not in self.secrets
        for line, key, text in rows.select("line", "sourced_id", "text").rows():
            yield Finding(
                rule=breach.rule,
                file=file,
                line=line,
                column=kind.column,
                sourced_id=cut(key),
                value=cut(text) if told else None,
                facts=breach.facts,
            )


def school(entity: AnyEntity, names: Sequence[str]) -> pl.Expr:
    """The school that a row names, as `pipeline.found` tells it of a finding."""
    at = place_of_school(entity, names)
    if at is None:
        return pl.lit(None, pl.String).alias("school")
    cell = pl.col(names[at]).str.strip_chars().str.slice(0, SCHOOL_MAX)
    own = pl.when(pl.col(Org.type.name) == "school").then(cell) if entity is Org else cell
    return own.alias("school")


def series(rows: pl.DataFrame, where: pl.Expr) -> pl.Series:
    """Where something is true; what cannot be told is not."""
    return rows.select(where.fill_null(value=False)).to_series()
