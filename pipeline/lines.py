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
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import obstore
import polars as pl
import structlog
import xxhash
from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from pipeline.claims import Claim
from pipeline.database import Connection
from pipeline.opening import File
from pipeline.spool import Spool
from pipeline.text import Piece, blocks
from schemas.objects import lines_prefix
from schemas.policy import Reading
from schemas.roster import AnyEntity
from schemas.rules import RULES
from schemas.statements import load

SQL = load("pipeline", "lines.sql")
MEANING = 2  # raised when a line comes to mean something else though no rule changes its id
PART = 32 * 1024 * 1024  # bytes of a file for each part of a base: what is sorted at a time
MANY = 0.2  # share of unknown lines beyond which reading the whole file is quicker
PATCHED = 0.1  # share of the records beyond which a patch becomes part of its base
JOINED = 4_000_000  # digests that are searched at a time
AT_HAND = 2_000_000  # known lines that are searched in memory, while the file streams by
TOGETHER = 4 * 1024 * 1024  # bytes of unknown lines that are read at a time
KEPT = pl.Schema({"digest": pl.UInt128, "sourced_id": pl.String})
SEEN = pl.Schema({"at": pl.UInt32, "digest": pl.UInt128})
READ = pl.Schema({"line": pl.Int64, "digest": pl.UInt128, "sourced_id": pl.String})
NONE = pl.Series("digest", dtype=pl.UInt128)
UNREADABLE = (BaseError, OSError, pl.exceptions.PolarsError)

log = structlog.get_logger()


def digests(data: bytes) -> pl.Series:
    """The digest of every line, what ends it left out."""
    found = []
    for block in blocks(data):
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        found.append(b"".join(map(xxhash.xxh3_128_digest, lines)))
    return as_numbers(b"".join(found))


def of_rows(body: Piece, rows: pl.DataFrame) -> pl.DataFrame:
    """`line`, `digest` and `sourced_id` of the rows that were read from a piece."""
    found = digests(body.data)
    mine = rows.select("line", "sourced_id")
    if rows.height == len(found):
        return mine.with_columns(found).select(READ.names())
    numbered = pl.DataFrame([body.numbers(len(found)).alias("line"), found])
    return mine.join(numbered, on="line", how="left").select(READ.names())


def as_numbers(blob: bytes) -> pl.Series:
    """16 bytes each as one number each."""
    kind = pl.Array(pl.UInt128, len(blob) // 16)
    packed = pl.Series("digest", [blob]).bin.reinterpret(dtype=kind, endianness="little")
    return packed.explode()


def unlike(ids: pl.Series) -> pl.Series:
    """For each record a digest that no line has, for none has a line feed in it."""
    if ids.is_empty():
        return NONE
    texts = (b"\n" + text.encode() for text in ids)
    return as_numbers(b"".join(map(xxhash.xxh3_128_digest, texts)))


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


class Index:
    """Known digests in ascending parts, and the lines of a file that were found among them."""

    def __init__(self, parts: Iterable[pl.Series]) -> None:
        self.parts = list(joined(part for part in parts if len(part)))
        self._found: list[pl.Series] = []

    def find(self, digests: pl.Series) -> pl.Series:
        """Which of the next lines are known."""
        places = self._places(digests)
        self._found.append(places)
        return places.is_not_null()

    def unseen(self) -> pl.Series | None:
        """The known digests that no line has; None where two lines have the same."""
        found = pl.concat([pl.Series(dtype=pl.UInt32), *self._found]).drop_nulls()
        seen = pl.repeat(False, sum(map(len, self.parts)), eager=True)  # noqa: FBT003  # a value
        seen = seen.scatter(found, True)  # noqa: FBT003  # same
        if seen.sum() != len(found):
            return None
        start, unseen = 0, [NONE]
        for part in self.parts:
            unseen.append(part.filter(~seen.slice(start, len(part))))
            start += len(part)
        return pl.concat(unseen)

    def lines_of(self, digests: pl.Series) -> pl.Series:
        """Which lines of the file have these digests, counted from 0."""
        places = self._places(digests)
        found = pl.concat([pl.Series(dtype=pl.UInt32), *self._found])
        return found.is_in(places.implode()).fill_null(value=False).arg_true()

    def _places(self, digests: pl.Series) -> pl.Series:
        """Where each digest stands among all known ones; null: it is not known."""
        order = digests.arg_sort()
        ordered = digests.gather(order)
        firsts = pl.concat([NONE, *(part.slice(0, 1) for part in self.parts)])
        cuts = ordered.search_sorted(firsts).to_list()
        before = [*cuts, len(ordered)][0]
        places, start = [pl.repeat(None, before, dtype=pl.UInt32, eager=True)], 0
        for part, (begin, end) in zip(self.parts, pairwise([*cuts, len(ordered)]), strict=True):
            places.append(place(part, ordered.slice(begin, end - begin), start))
            start += len(part)
        found = pl.DataFrame([order.alias("order"), pl.concat(places).alias("place")])
        return found.sort("order").get_column("place")


def joined(parts: Iterable[pl.Series]) -> Iterator[pl.Series]:
    """Fewer, larger parts: each costs a look, and to join all of them would take them twice."""
    waiting: list[pl.Series] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) > JOINED:
            yield pl.concat(waiting, rechunk=True)
            waiting = []
    if waiting:
        yield pl.concat(waiting, rechunk=True)


def place(part: pl.Series, digests: pl.Series, start: int) -> pl.Series:
    """Where each digest stands in an ascending part that begins at `start`."""
    near = part.search_sorted(digests).clip(0, len(part) - 1)
    frame = pl.DataFrame({"at": near + start, "same": part.gather(near) == digests})
    return frame.select(pl.when("same").then("at")).to_series().cast(pl.UInt32)


class Ranges:
    """Known digests that are too many to have at hand, and the lines of a file in the same ranges.

    The lines wait on disk until the file was seen; then one range is looked at after the other.
    """

    def __init__(self, known: Callable[[], Iterable[pl.Series]], folder: Path, ranges: int) -> None:
        self._known, self._ranges, self._lines = known, ranges, 0
        self._seen = Spool(folder, SEEN, part=places_of(ranges), partitions=ranges)

    def add(self, digests: pl.Series) -> None:
        """Take the next lines."""
        at = pl.int_range(self._lines, self._lines + len(digests), dtype=pl.UInt32, eager=True)
        self._seen.add(pl.DataFrame([at.alias("at"), digests]))
        self._lines += len(digests)

    def parted(self) -> tuple[pl.Series, pl.Series] | None:
        """The lines that are not known, counted from 0, and the known digests that no line has.

        None where two lines have the same known one.
        """
        new, missing = [pl.Series(dtype=pl.UInt32)], [NONE]
        for known, seen in zip(self._known(), self._seen.read(), strict=True):
            index = Index([known])
            new.append(seen["at"].filter(~index.find(seen["digest"])))
            unseen = index.unseen()
            if unseen is None:
                return None
            missing.append(unseen)
        return pl.concat(new).sort(), pl.concat(missing)

    def lines_of(self, digests: pl.Series) -> pl.Series:
        """Which lines of the file have these digests, counted from 0."""
        wanted = pl.col("digest").is_in(digests.implode())
        return pl.concat(part.filter(wanted)["at"] for part in self._seen.read())


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
    """A file against the known lines: those it lacks by digest, those to be read."""

    known: Known
    index: Index | Ranges
    missing: pl.Series
    unknown: Unknown

    @property
    def news(self) -> int:
        """How many lines are new or missing."""
        return len(self.missing) + self.unknown.lines


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
        added = pl.concat([added.filter(~added["digest"].is_in(found.missing.implode())), new])
        dropped = pl.concat([dropped, found.missing])
        known = found.known
        records = known.records - len(found.missing) + new.height
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
        rows.write_ipc(buffer, compression="lz4")
        obstore.put(self.store, key, buffer.getvalue())

    def _get(self, key: str) -> pl.DataFrame:
        return pl.read_ipc(io.BytesIO(obstore.get(self.store, key).bytes()))


def parts(size: int) -> int:
    """How many parts the lines of a file of so many bytes take."""
    return size // PART + 1


def places_of(parts: int) -> pl.Expr:
    """In which part a digest lies."""
    place = pl.col("digest") // pl.lit((2**128 - 1) // parts, pl.UInt128)
    return place.cast(pl.UInt32).clip(upper_bound=parts - 1)  # the very last digest divides out


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
