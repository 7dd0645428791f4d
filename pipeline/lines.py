"""Lines that are known: what a bulk file says again needs no second reading.

A district sends its whole roster every night, and nearly every line of it was applied before. So
the digests of the lines of an applied bulk file are kept, with the sourcedIds they stand for, in
the object store. The next file is first hashed line by line; lines that are known are neither
parsed nor checked nor compared, known lines that are missing are the records that changed or went.

What is kept is a base, sorted by digest, and a patch with what later imports changed of it, so that
no more is written than has changed. A line about which there was anything to say is to be read, and
said, again: its record is kept under a digest that no line can have.

What makes this safe: what a line means depends on nothing but its bytes and the `context` (header,
mapping, mode, profile, policy, rule book), and under another context no line is known. Known lines
stand for exactly the active records of their entity: `pipeline.merge` forgets them when it writes a
record, and only the end of the same import keeps them anew. Losing kept lines costs time, never a
record.
"""

import io
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import obstore
import polars as pl
import structlog
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from pipeline.claims import Claim
from pipeline.database import Connection
from pipeline.digests import of_texts
from pipeline.lookup import NONE, Index, Met, Ranges, places_of
from pipeline.opening import File
from pipeline.spool import Spool
from pipeline.text import Piece
from schemas.objects import lines_prefix
from schemas.policy import Reading
from schemas.roster import AnyEntity
from schemas.rules import RULES
from schemas.statements import load

SQL = load("pipeline", "lines.sql")
MEANING = 3  # raised when a line comes to mean something else though no rule changes its id
PART = 32 * 1024 * 1024  # bytes of a file for each part of a base: what is sorted at a time
MANY = 0.2  # share of unknown lines beyond which reading the whole file is quicker
PATCHED = 0.1  # share of the records beyond which a patch becomes part of its base
TOGETHER = 4 * 1024 * 1024  # bytes of unknown lines that are read at a time
KEPT = pl.Schema({"digest": pl.UInt128, "sourced_id": pl.String})
READ = pl.Schema({"line": pl.Int64, "digest": pl.UInt128, "sourced_id": pl.String})
UNREADABLE = (BaseError, OSError, pl.exceptions.PolarsError)

log = structlog.get_logger()


class Hashed(NamedTuple):
    """The lines of a piece, what ends them left out: their digests, and how many bytes each has."""

    digests: pl.Series
    sizes: pl.Series

    def chosen(self, body: Piece, which: pl.Series) -> Piece:
        """Some lines of the piece. To know where they stand spares splitting it once more."""
        ends = (self.sizes + 1).cum_sum().filter(which)
        places = zip(ends - self.sizes.filter(which) - 1, ends - 1, strict=True)
        data = b"\n".join([body.data[start:end] for start, end in places])
        return Piece(data, body.first, body.read, body.numbers(len(self.sizes)).filter(which))


def hashed(data: bytes) -> Hashed:
    """Every line by its digest and its size."""
    lines = pl.Series("line", [data]).cast(pl.String).str.split("\n").explode()
    if data.endswith(b"\n"):
        lines = lines[:-1]
    return Hashed(of_texts(lines), lines.str.len_bytes().cast(pl.Int64))


def of_rows(body: Piece, rows: pl.DataFrame) -> pl.DataFrame:
    """`line`, `digest` and `sourced_id` of the rows that were read from a piece."""
    found = hashed(body.data).digests
    mine = rows.select("line", "sourced_id")
    if rows.height == len(found):
        return mine.with_columns(found).select(READ.names())
    numbered = pl.DataFrame([body.numbers(len(found)).alias("line"), found])
    return mine.join(numbered, on="line", how="left").select(READ.names())


def unlike(ids: pl.Series) -> pl.Series:
    """For each record a digest that no line has, for none has a line feed in it."""
    return of_texts("\n" + ids)


def context(file: File, profile: str, reading: Reading, aliases: Collection[int] = ()) -> bytes:
    """What the meaning of a line depends on, besides its bytes.

    `aliases`: the versions whose aliases stand, for known lines stand for the hub's ids.
    """
    rules = sorted((rule.id, rule.severity) for rule in RULES.values())
    facts = [MEANING, rules, file.entity.file, file.header, file.fingerprint, file.mode, profile]
    policy = {**reading.model_dump(mode="json"), "repairs": sorted(reading.repairs)}
    text = json.dumps([*facts, policy, *aliases])
    return blake2b(text.encode(), digest_size=32).digest()


# --- A file against them -------------------------------------------------------------------


class Unknown:
    """The lines of a file that are not known, on disk until it is clear that they are few."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._batches: list[tuple[int, pl.Series]] = []
        self.size = 0
        self.lines = 0

    def add(self, piece: Piece) -> None:
        """Take chosen lines."""
        size, numbers = len(piece.data) + 1, piece.numbers(piece.height)
        self._file.write(piece.data + b"\n")
        self._batches.append((size, numbers))
        self.size += size
        self.lines += len(numbers)

    def close(self) -> None:
        """No more will come."""
        self._file.close()

    def read(self) -> Iterator[Piece]:
        """All of them, in larger pieces than they were found in."""
        with self._path.open("rb") as file:
            for batches in batched(self._batches):
                data = file.read(sum(size for size, _ in batches))
                numbers = pl.concat([numbers for _, numbers in batches])
                yield Piece(data, int(numbers[0]), self.size, numbers)


def batched(
    batches: Iterable[tuple[int, pl.Series]],
) -> Iterator[list[tuple[int, pl.Series]]]:
    """Batches put together until they are large enough."""
    waiting: list[tuple[int, pl.Series]] = []
    for batch in batches:
        waiting.append(batch)
        if sum(size for size, _ in waiting) >= TOGETHER:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


# --- Where they are kept -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """Where the known lines of an entity lie, and for how many records they stand."""

    base: str
    parts: int
    patch: str | None
    records: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A file against the known lines: what it says of them, and its lines to be read."""

    known: Known
    lines: Index | Ranges
    met: Met
    unknown: Unknown

    @property
    def news(self) -> int:
        """How many lines are new, missing or there twice."""
        return len(self.met.missing) + len(self.met.twice) + self.unknown.lines


class Lines:
    """The known lines of one district, in the object store."""

    def __init__(self, store: ObjectStore, db: Connection, claim: Claim) -> None:
        self.store, self.db, self.claim = store, db, claim

    def find(self, entity: AnyEntity, context: bytes) -> Known | None:
        """The known lines of the entity, if they mean the same in this context."""
        facts = {**self.claim.key, "entity": entity.file, "context": context}
        row = self.db.execute(SQL["find"], facts).fetchone()
        return None if row is None else Known(*row)

    def digests(self, known: Known) -> Iterator[pl.Series]:
        """The digests of the known lines, part by part; raises one of UNREADABLE."""
        for part in self._parts(known, *self._patch(known), ["digest"]):
            yield part["digest"]

    def records(self, known: Known) -> Iterator[pl.DataFrame]:
        """Digest and sourcedId of the known lines, part by part; raises one of UNREADABLE."""
        return self._parts(known, *self._patch(known), KEPT.names())

    def of(self, known: Known, digests: pl.Series) -> pl.DataFrame:
        """The records that stand on known lines with these digests; raises one of UNREADABLE."""
        found = [pl.DataFrame(schema=KEPT)]
        for part in self.records(known) if len(digests) else ():
            if part.height:
                near = part["digest"].search_sorted(digests).clip(upper_bound=part.height - 1)
                there = part[near]
                found.append(there.filter(there["digest"] == digests))
        return pl.concat(found)

    def named(self, known: Known, keys: pl.Series) -> pl.DataFrame:
        """The records with these sourcedIds; raises one of UNREADABLE."""
        asked = pl.col("sourced_id").is_in(keys.implode())
        parts = self.records(known) if len(keys) else ()
        return pl.concat([pl.DataFrame(schema=KEPT), *(part.filter(asked) for part in parts)])

    def shelve(self, file: str, written: "Written") -> Known | None:
        """Put the lines of a file that was read whole where they may be kept.

        None: something was said of nearly every line, so knowing the others would help nobody.
        """
        folder, records = self._folder(file), 0
        remarkable = [pl.DataFrame(schema=KEPT)]
        for number, (silent, spoken) in enumerate(written.parts()):
            remarkable.append(spoken)
            self._put_base(folder, number, silent)
            records += silent.height + spoken.height
        added = pl.concat(remarkable)
        if added.height > records * MANY:
            return None
        patch = self._put_patch(folder, NONE, added)
        return Known(folder, written.book.parts, patch, records)

    def amend(self, file: str, context: bytes, written: "Written", found: Compared) -> None:
        """Keep the lines of a file of which only unknown ones were read."""
        new = pl.concat([rows for part in written.parts() for rows in part])
        dropped, added = self._patch(found.known)
        known, missing = found.known, found.met.missing
        added = pl.concat([added.filter(~added["digest"].is_in(missing.implode())), new])
        dropped = pl.concat([dropped, missing])
        records = known.records - len(missing) + new.height
        folder = self._folder(file)
        if len(dropped) + added.height <= records * PATCHED:
            patch = self._put_patch(folder, dropped, added)
            self.keep(file, context, Known(known.base, known.parts, patch, records))
            return
        for number, part in enumerate(self._parts(known, dropped, added, KEPT.names())):
            self._put_base(folder, number, part)
        self.keep(file, context, Known(folder, known.parts, None, records))

    def keep(self, file: str, context: bytes, known: Known) -> None:
        """Know these lines from the commit on."""
        facts = {"base": known.base, "parts": known.parts, "patch": known.patch}
        facts |= {"records": known.records, "context": context}
        self.db.execute(SQL["keep"], {**self.claim.key, "entity": file, **facts})

    def _folder(self, file: str) -> str:
        claim = self.claim
        return f"{lines_prefix(claim.tenant_id)}/{claim.id}-{claim.fence}/{file}"

    def _parts(
        self, known: Known, dropped: pl.Series, added: pl.DataFrame, columns: list[str]
    ) -> Iterator[pl.DataFrame]:
        """The base as the patch leaves it, ascending."""
        for number in range(known.parts):
            loaded = [self._get(f"{known.base}/{number}.{column}") for column in columns]
            part = pl.concat(loaded, how="horizontal")
            if len(dropped) or added.height:
                part = part.filter(~pl.col("digest").is_in(dropped.implode()))
                mine = added.filter(places_of(known.parts) == number).select(columns)
                part = pl.concat([part, mine]).sort("digest")
            yield part

    def _patch(self, known: Known) -> tuple[pl.Series, pl.DataFrame]:
        """Digests that the base has and no record any more, and what came instead."""
        if known.patch is None:
            return NONE, pl.DataFrame(schema=KEPT)
        dropped = self._get(f"{known.patch}/dropped").get_column("digest")
        return dropped, self._get(f"{known.patch}/added")

    def _put_base(self, folder: str, number: int, part: pl.DataFrame) -> None:
        ordered = part.sort("digest")
        for column in KEPT.names():
            self._put(f"{folder}/{number}.{column}", ordered.select(column))

    def _put_patch(self, folder: str, dropped: pl.Series, added: pl.DataFrame) -> str | None:
        if not (len(dropped) or added.height):
            return None
        self._put(f"{folder}/dropped", dropped.to_frame())
        self._put(f"{folder}/added", added)
        return folder

    def _put(self, key: str, rows: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        rows.write_ipc(buffer)  # digests do not compress, UUIDs by a seventh, and it takes time
        obstore.put(self.store, key, buffer.getvalue())

    def _get(self, key: str) -> pl.DataFrame:
        return pl.read_ipc(io.BytesIO(obstore.get(self.store, key).bytes()))


def parts(size: int) -> int:
    """How many parts the lines of a file of so many bytes take."""
    return size // PART + 1


class Book:
    """The lines of one file that is read whole: what will be kept of it."""

    def __init__(self, folder: Path, parts: int) -> None:
        self.parts = parts
        self.spool = Spool(folder, READ, part=places_of(parts), partitions=parts)

    def add(self, rows: pl.DataFrame) -> None:
        """Take `line`, `digest` and `sourced_id`."""
        self.spool.add(rows)

    def rest(self) -> None:
        """No more will come until it is read."""
        self.spool.rest()

    def read(self) -> Iterator[pl.DataFrame]:
        """Every part."""
        return self.spool.read()


@dataclass(frozen=True, slots=True)
class Written:
    """What was read, now that it is applied: `told` are the lines of which something was said.

    `left_out` are the sourcedIds whose rows are no records.
    """

    book: Book
    told: pl.Series
    left_out: Collection[str] = ()

    def parts(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """The lines to be known, and the records whose lines are to be read and told again."""
        for rows in self.book.read():
            part = rows
            if self.left_out:
                part = part.filter(~pl.col("sourced_id").is_in(list(self.left_out)))
            said = part["line"].cast(pl.UInt32).is_in(self.told.implode())
            spoken = part.filter(said)["sourced_id"]
            yield part.filter(~said).select(KEPT.names()), pl.DataFrame([unlike(spoken), spoken])
