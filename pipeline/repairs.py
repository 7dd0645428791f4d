"""Lenient reading: what a district lets pass is put right before it is checked, and counted.

Each repair is named in the policy (`schemas.policy.Repair`) and reported once per file, with the
exact number of cells. The word NULL is put right under any policy where Japan once asked for it:
that is a matter of the profile. Of a row nothing counts but the row itself, so that lines can be
known by heart; which lines were repaired is told to whoever keeps them, for a repair is reported
again each time. Unknown `metadata.*` columns are handed on as they came and not touched.

A `tobedeleted` in bulk is not put right: dropping it would bring back whom the source has deleted.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import polars as pl

from pipeline import encodings, text
from pipeline.archive import Source
from pipeline.encodings import Encoding
from pipeline.faults import Broken
from pipeline.header import METADATA, Layout
from schemas import rules
from schemas.columns import AnyColumn, Column, Flag
from schemas.japanese import HALF_KANA, KANA_TO_FULL
from schemas.policy import Reading, Repair
from schemas.profiles import Profile
from schemas.roster import AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Demographics, User, UserProfile
from schemas.roster.teaching import Class, Course
from schemas.rules import Finding, Rule
from schemas.runs import Mode

BLANKS = " \u3000\u00a0"
NULLS = ("NULL", "null")
FLAGS = ("true", "false")
STATE = ("status", "date_last_modified")
HALF_WIDTH = f"[{HALF_KANA[0]}-{HALF_KANA[-1]}]"

RULES: Mapping[Repair, Rule] = {
    "null_text": rules.repairs.NULL_TEXT,
    "boolean_case": rules.repairs.BOOLEAN_CASE,
    "status_in_bulk": rules.repairs.STATUS_IN_BULK,
    "half_width_kana": rules.repairs.HALF_WIDTH_KANA,
    "cp932": rules.repairs.CP932,
    "trailing_blanks": rules.repairs.TRAILING_BLANKS,
    "header_case": rules.repairs.HEADER_CASE,
}

KANA: frozenset[Column] = frozenset(
    {
        Org.name,
        AcademicSession.title,
        Course.title,
        Course.subjects,
        Class.title,
        Class.location,
        Class.subjects,
        User.given_name,
        User.family_name,
        User.middle_name,
        User.preferred_given_name,
        User.preferred_middle_name,
        User.preferred_family_name,
        User.kana_given_name,
        User.kana_family_name,
        User.kana_middle_name,
        User.kana_preferred_given_name,
        User.kana_preferred_family_name,
        User.kana_preferred_middle_name,
        UserProfile.profile_type,
        UserProfile.description,
        Demographics.city_of_birth,
    }
)
"""Names and titles, which Japan writes in full width (Japan profile 3). No codes and no logins."""


def allowed(reading: Reading) -> frozenset[Repair]:
    """The repairs that the policy lets happen."""
    return reading.repairs if reading.lenient else frozenset()


def report(repair: Repair, file: str, line: int, count: int) -> Finding:
    """What was put right in a file, and where first."""
    return Finding(rule=RULES[repair], file=file, line=line, facts={"count": count})


# --- A file in another encoding ------------------------------------------------------------------


def settle(source: Source) -> tuple[Source, list[Finding]]:
    """The source as it is to be read where CP932 may pass, and the finding if it does.

    It does if the whole file makes sense in CP932 and in nothing else.
    """
    try:
        found = in_cp932(source)
    except Broken:
        found = None  # reading it says so again
    if found is None:
        return source, []
    return replace(source, encoding="cp932"), [report("cp932", source.name, *found)]


def in_cp932(source: Source) -> tuple[int, int] | None:
    """The first line that is not UTF-8, and the number of those that are not ASCII."""
    if utf8(source) or b"".join(next(iter(source.chunks()), [])).startswith(text.BOM):
        return None
    common: set[Encoding] = {"cp932", "euc_jp"}
    first = count = 0
    for piece in text.whole_lines(source):
        common &= encodings.fits(piece.data)
        if "cp932" not in common:
            return None
        for number, line in enumerate(piece.data.split(b"\n"), start=piece.first):
            count += not line.isascii()
            if not first and not encodings.decodes(line, "utf-8"):
                first = number
    return None if "euc_jp" in common else (first, count)


def utf8(source: Source) -> bool:
    """Whether the whole file is UTF-8."""
    return all(encodings.decodes(piece.data, "utf-8") for piece in text.whole_lines(source))


# --- A header row --------------------------------------------------------------------------------


def header(entity: AnyEntity, names: tuple[str, ...]) -> tuple[tuple[str, ...], list[Finding]]:
    """The names as the binding spells them, and the finding if they were spelled otherwise."""
    right = {column.csv.lower(): column.csv for column in entity.columns if not column.extension}
    repaired = tuple(spelled(name, right) for name in names)
    count = sum(old != new for old, new in zip(names, repaired, strict=True))
    return repaired, [report("header_case", f"{entity.file}.csv", 1, count)] if count else []


def spelled(name: str, right: Mapping[str, str]) -> str:
    """One name as the binding spells it; of an extension column only what stands in front."""
    bare = name.strip(BLANKS)
    if bare.lower().startswith(METADATA):
        return METADATA + bare[len(METADATA) :]
    return right.get(bare.lower(), name)


# --- The cells of rows ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    """A repair of one column: where it is needed, and what the cell becomes."""

    repair: Repair
    name: str
    where: pl.Expr
    becomes: pl.Expr


Maker: TypeAlias = Callable[[AnyColumn, Mode], Cell | None]


def unblanked(column: AnyColumn, _: Mode) -> Cell | None:
    """Blanks around a value go; a cell of blanks becomes empty."""
    raw = pl.col(column.name)
    bare = raw.str.strip_chars(BLANKS)
    becomes = pl.when(bare != "").then(bare)
    return Cell("trailing_blanks", column.name, bare != raw, becomes)


def emptied(column: AnyColumn, _: Mode) -> Cell | None:
    """The word NULL becomes an empty cell."""
    raw = pl.col(column.name)
    return Cell("null_text", column.name, raw.is_in(NULLS), pl.lit(None, pl.String))


def unstated(column: AnyColumn, mode: Mode) -> Cell | None:
    """A state that bulk leaves empty is dropped, but for a deletion."""
    raw = pl.col(column.name)
    if mode == "delta" or column.name not in STATE:
        return None
    where = raw == "active" if column.name == "status" else raw.is_not_null()
    return Cell("status_in_bulk", column.name, where, pl.lit(None, pl.String))


def lowered(column: AnyColumn, _: Mode) -> Cell | None:
    """True and FALSE become true and false."""
    if not isinstance(column, Flag):
        return None
    raw = pl.col(column.name)
    small = raw.str.to_lowercase()
    return Cell("boolean_case", column.name, small.is_in(FLAGS) & (raw != small), small)


def widened(column: AnyColumn, _: Mode) -> Cell | None:
    """Half-width kana and their punctuation become full-width, a kana together with its mark."""
    if column not in KANA:
        return None
    raw = pl.col(column.name)
    wide = raw.str.replace_many(list(KANA_TO_FULL), list(KANA_TO_FULL.values()), leftmost=True)
    return Cell("half_width_kana", column.name, raw.str.contains(HALF_WIDTH), wide)


MAKERS: Mapping[Repair, Maker] = {
    "trailing_blanks": unblanked,
    "null_text": emptied,
    "status_in_bulk": unstated,
    "boolean_case": lowered,
    "half_width_kana": widened,
}
"""The repairs of cells, each in the order in which it sees what the ones before have left."""


class Repaired(NamedTuple):
    """A repair that a piece needed, in how many cells, and the first line."""

    repair: Repair
    cells: int
    line: int


class Mended(NamedTuple):
    """The rows of a piece put right, the lines that were not right, and what was done."""

    rows: pl.DataFrame
    lines: pl.Series
    repaired: Sequence[Repaired]


class Mender:
    """The repairs of one file, ready for its pieces.

    Pieces may be mended beside each other; what was put right is counted in their order.
    """

    def __init__(
        self,
        entity: AnyEntity,
        layout: Layout,
        mode: Mode,
        repairs: Collection[Repair],
        nulls: Collection[Column] = (),
    ) -> None:
        self.file = f"{entity.file}.csv"
        self.counts: Counter[Repair] = Counter()
        self._first: dict[Repair, int] = {}
        made = (
            [
                cell
                for column in layout.columns
                if (repair in repairs or (make is emptied and column in nulls))
                and (cell := make(column, mode))
            ]
            for repair, make in MAKERS.items()
        )
        self._steps = [cells for cells in made if cells]

    def mend(self, rows: pl.DataFrame) -> Mended:
        """The rows (`line` and text columns) put right."""
        touched, repaired = [pl.Series("line", dtype=pl.Int64)], []
        for cells in self._steps:
            flags = rows.select(
                cell.where.fill_null(value=False).alias(cell.name) for cell in cells
            )
            hits = dict(zip(flags.columns, flags.sum().row(0), strict=True))
            needed = [cell for cell in cells if hits[cell.name]]
            if needed:
                any_of_them = flags.select(pl.any_horizontal(c.name for c in needed)).to_series()
                lines = rows["line"].filter(any_of_them)
                touched.append(lines)
                repaired.append(Repaired(needed[0].repair, sum(hits.values()), lines[0]))
                rows = rows.with_columns(
                    pl.when(flags[cell.name])
                    .then(cell.becomes)
                    .otherwise(cell.name)
                    .alias(cell.name)
                    for cell in needed
                )
        return Mended(rows, pl.concat(touched).unique(), repaired)

    def count(self, repaired: Iterable[Repaired]) -> None:
        """Count what was put right in the next piece."""
        for repair, cells, line in repaired:
            self.counts[repair] += cells
            self._first.setdefault(repair, line)

    def findings(self) -> Iterator[Finding]:
        """One for each repair that was needed, when all was read."""
        for repair, count in self.counts.items():
            yield report(repair, self.file, self._first[repair], count)


def mender(
    entity: AnyEntity, layout: Layout, mode: Mode, reading: Reading, profile: Profile
) -> Mender | None:
    """The repairs that policy and profile allow in the rows of a file; None: they allow none."""
    wanted = allowed(reading) & MAKERS.keys()
    nulls = profile.nulls & {*layout.columns}
    return Mender(entity, layout, mode, wanted, nulls) if wanted or nulls else None
