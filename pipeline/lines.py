"""Lines that are known: what a bulk file says again needs no second reading.

A district sends its whole roster every night, and nearly every line of it was applied before. So
the digests of the lines of an applied bulk file are kept, with the sourcedIds they stand for, in
the object store. The next file is first hashed line by line; lines that are known are neither
parsed nor checked nor compared, known lines that are missing are the records that changed or went.

What makes this safe: what a line means depends on nothing but its bytes and the `context` (header,
mapping, mode, profile, policy, rule book), and under another context no line is known. Known lines
stand for exactly the active records of their entity: `pipeline.merge` forgets them when it writes a
record, and only the end of the same import keeps them anew. A line about which there was anything
to say is not kept, so it is read, and said, again. Losing kept lines costs time, never a record.
"""

import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from hashlib import blake2b
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
from pipeline.text import Piece
from schemas.objects import lines_prefix
from schemas.policy import Reading
from schemas.roster import AnyEntity
from schemas.rules import RULES
from schemas.statements import load

SQL = load("pipeline", "lines.sql")
MEANING = 1  # raised when a line comes to mean something else though no rule changes its id
PART = 512 * 1024 * 1024  # bytes of a file for each partition: what is compared at a time
MANY = 0.2  # share of unknown lines beyond which reading the whole file is quicker
KEY = "sourced_id"
UNKEPT = 0  # the digest of a line that must be read again
FRESH = pl.Schema({"line": pl.Int64, "digest": pl.UInt128})
KEPT = pl.Schema({"line": pl.Int64, "digest": pl.UInt128, "sourced_id": pl.String})
LOW = pl.col("digest").cast(pl.UInt64, strict=False, wrap_numerical=True)

log = structlog.get_logger()


def digests(data: bytes) -> pl.Series:
    """The digest of every line, what ends it left out."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return as_numbers(b"".join(map(xxhash.xxh3_128_digest, lines)))


def of_rows(body: Piece, rows: pl.DataFrame) -> pl.DataFrame:
    """`line`, `digest` and `sourced_id` of the rows that were read from a piece."""
    found = digests(body.data)
    mine = rows.select("line", "sourced_id")
    if rows.height == len(found):
        return mine.with_columns(found)
    numbered = pl.DataFrame([body.numbers(len(found)).alias("line"), found])
    return mine.join(numbered, on="line", how="left")


def as_numbers(blob: bytes) -> pl.Series:
    """16 bytes each as one number each."""
    kind = pl.Array(pl.UInt128, len(blob) // 16)
    packed = pl.Series("digest", [blob]).bin.reinterpret(dtype=kind, endianness="little")
    return packed.explode()


def context(file: File, profile: str, reading: Reading, aliases: Collection[int] = ()) -> bytes:
    """What the meaning of a line depends on, besides its bytes.

    `aliases`: the versions whose aliases stand, for known lines stand for the hub's ids.
    """
    rules = sorted((rule.id, rule.severity) for rule in RULES.values())
    facts = [MEANING, rules, file.entity.file, file.header, file.fingerprint, file.mode, profile]
    policy = {**reading.model_dump(mode="json"), "repairs": sorted(reading.repairs)}
    text = json.dumps([*facts, policy, *aliases])
    return blake2b(text.encode(), digest_size=32).digest()


def partitions(size: int) -> int:
    """How many partitions a file of so many bytes takes."""
    return size // PART + 1


@dataclass(frozen=True, slots=True)
class Known:
    """Where the known lines of an entity lie, and how many there are."""

    prefix: str
    parts: int
    records: int


@dataclass(frozen=True, slots=True)
class Compared:
    """A file against the known lines.

    `unknown` are the line numbers to read, ascending; `missing` the sourcedIds of known lines that
    the file does not have.
    """

    unknown: pl.Series
    missing: pl.Series
    fresh: Spool


class Lines:
    """The known lines of one district, in the object store."""

    def __init__(self, store: ObjectStore, db: Connection, claim: Claim) -> None:
        self.store, self.db, self.claim = store, db, claim

    def find(self, entity: AnyEntity, context: bytes) -> Known | None:
        """The known lines of the entity, if they mean the same in this context."""
        facts = {**self.claim.key, "entity": entity.file, "context": context}
        row = self.db.execute(SQL["find"], facts).fetchone()
        return None if row is None else Known(*row)

    def compare(self, known: Known, fresh: Spool) -> Compared | None:
        """What a file has and lacks; None where it cannot be told by lines, or not cheaply.

        A known line that stands twice in the file, an unreadable shelf, and too much that is new
        are all answered by reading the whole file.
        """
        unknown: list[pl.Series] = []
        missing: list[pl.Series] = []
        lines = 0
        try:
            for number, part in enumerate(fresh.read()):
                kept = self._digests(known, number)
                is_known = part["digest"].is_in(kept.implode())
                seen = kept.is_in(part["digest"].implode())
                if is_known.sum() != seen.sum():
                    return None
                unknown.append(part["line"].filter(~is_known))
                if not seen.all():
                    missing.append(self._ids(known, number).filter(~seen))
                lines += part.height
        except (BaseError, OSError, pl.exceptions.PolarsError) as error:
            log.warning("known_lines_unreadable", error=type(error).__name__)
            return None
        found = pl.concat([pl.Series("line", dtype=pl.Int64), *unknown]).sort()
        if len(found) > lines * MANY:
            return None
        return Compared(found, pl.concat([pl.Series(KEY, dtype=pl.String), *missing]), fresh)

    def kept(self, known: Known, compared: Compared) -> Iterator[pl.DataFrame]:
        """The known lines that the file has, as a `Book` takes them."""
        for number, fresh in enumerate(compared.fresh.read()):
            ids = self._ids(known, number)
            part = pl.DataFrame([self._digests(known, number), ids])
            yield fresh.join(part, on="digest").select(KEPT.names())

    def save(
        self, file: str, context: bytes, book: "Book", told: pl.Series, left_out: Collection[str]
    ) -> None:
        """Keep the lines of a file, except those of which something was `told`.

        `left_out` are the sourcedIds whose rows are no records.
        """
        claim = self.claim
        prefix = f"{lines_prefix(claim.tenant_id)}/{claim.id}-{claim.fence}/{file}"
        records = 0
        for number, part in enumerate(book.read()):
            silent = ~pl.col("line").cast(pl.UInt32).is_in(told.implode()).fill_null(value=False)
            digest = pl.when(silent).then("digest").otherwise(pl.lit(UNKEPT, pl.UInt128))
            part = part.with_columns(digest.alias("digest"))  # noqa: PLW2901  # the same part
            if left_out:
                part = part.filter(~pl.col(KEY).is_in(list(left_out)))  # noqa: PLW2901  # same
            for column in ("digest", "sourced_id"):
                self._put(f"{prefix}/{number}.{column}", part.select(column))
            records += part.height
        facts = {"prefix": prefix, "parts": book.parts, "records": records, "context": context}
        self.db.execute(SQL["keep"], {**self.claim.key, "entity": file, **facts})

    def _put(self, key: str, rows: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        rows.write_ipc(buffer, compression="lz4")
        obstore.put(self.store, key, buffer.getvalue())

    def _digests(self, known: Known, number: int) -> pl.Series:
        return self._column(known, number, "digest")

    def _ids(self, known: Known, number: int) -> pl.Series:
        return self._column(known, number, "sourced_id")

    def _column(self, known: Known, number: int, name: str) -> pl.Series:
        stored = obstore.get(self.store, f"{known.prefix}/{number}.{name}").bytes()
        return pl.read_ipc(io.BytesIO(stored)).get_column(name)


def forget(db: Connection, tenant_id: int, entity: AnyEntity) -> None:
    """No line of the entity is known any more: its records were written."""
    db.execute(SQL["forget"], {"tenant_id": tenant_id, "entity": entity.file})


class Book:
    """The lines of one file while it is imported: what will be kept of it."""

    def __init__(self, folder: Path, parts: int) -> None:
        self.parts = parts
        self.spool = Spool(folder, KEPT, part=LOW, partitions=parts)

    def add(self, rows: pl.DataFrame) -> None:
        """Take `line`, `digest` and `sourced_id`."""
        self.spool.add(rows.select(KEPT.names()))

    def read(self) -> Iterator[pl.DataFrame]:
        """Every partition."""
        return self.spool.read()
