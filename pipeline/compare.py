"""Compare before you write: which rows of a bulk file differ from what is stored.

Only (sourcedId, digest) of the stored rows is read, and compared partition by partition, so memory
stays the same whatever the size of the district. A row whose digest is stored needs no staging, no
diff and no write; a stored key that the file lacks is gone.
"""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
from psycopg.sql import SQL, Identifier, Literal

from pipeline.database import Connection
from pipeline.spool import Shelf, Spool
from pipeline.stage import copy_gone, copy_rows
from schemas.roster import AnyEntity

KEY = "sourced_id"
FRESH = pl.Schema({"line": pl.Int64, KEY: pl.String, "digest": pl.String})
STORED = pl.Schema({KEY: pl.String, "stored": pl.String})
CHUNK = 4 * 1024 * 1024
TOGETHER = 1000  # records in one row of the answer: fewer, larger rows are cheaper to receive


def stage_differences(
    db: Connection,
    entity: AnyEntity,
    tenant_id: int,
    batches: Iterable[pl.DataFrame],
    *,
    folder: Path,
    partitions: int,
) -> None:
    """Stage the rows that differ from the stored ones, and the keys that are gone."""
    rows = Shelf(folder / "rows")
    fresh = Spool(folder / "fresh", FRESH, part=KEY, partitions=partitions)
    stored = Spool(folder / "stored", STORED, part=KEY, partitions=partitions)
    with ThreadPoolExecutor(1, thread_name_prefix="stored") as beside:
        reading = beside.submit(read_stored, db, entity, tenant_id, stored)
        for batch in batches:
            rows.add(batch)
            fresh.add(batch.select(FRESH.names()))
        reading.result()
    changed: list[pl.Series] = []
    for new, old in zip(fresh.read(), stored.read(), strict=True):
        changed.append(differing(new, old))
        copy_gone(db, entity, [old.join(new, on=KEY, how="anti").select(KEY)])
    copy_rows(db, entity, lines_of(rows, pl.concat(changed).sort()))


def differing(new: pl.DataFrame, old: pl.DataFrame) -> pl.Series:
    """The lines whose digest is not stored. A doubled key always differs: a rule looks there."""
    known = new.join(old, on=KEY, how="left")
    differs = (pl.col("digest") != pl.col("stored")).fill_null(value=True)
    return known.filter(differs | pl.col(KEY).is_duplicated())["line"].cast(pl.UInt32)


def lines_of(rows: Shelf, lines: pl.Series) -> Iterator[pl.DataFrame]:
    """The rows that stand on these lines (ascending)."""
    if lines.is_empty():
        return
    for batch in rows.read():
        first, last = batch["line"][0], batch["line"][-1]
        wanted = lines.filter(lines.is_between(first, last))
        if len(wanted):
            yield batch.filter(pl.col("line").is_in(wanted.cast(pl.Int64).implode()))


def read_stored(db: Connection, entity: AnyEntity, tenant_id: int, spool: Spool) -> None:
    """The keys and digests of the active records. No identifier has a blank or a comma in it."""
    statement = SQL(
        "copy (select string_agg(sourced_id || ',' || replace(digest::text, '-', ''), ' ') from ("
        "select sourced_id, digest, row_number() over () / {together} as part from {table}"
        " where tenant_id = {tenant} and status = 'active') as numbered group by part) to stdout"
    ).format(together=Literal(TOGETHER), table=Identifier(entity.table), tenant=Literal(tenant_id))
    waiting = io.BytesIO()
    with db.cursor().copy(statement) as copy:
        for row in copy:
            waiting.write(bytes(row).replace(b" ", b"\n"))
            if waiting.tell() > CHUNK:
                spool.add(keys(waiting.getvalue()))
                waiting = io.BytesIO()
    if waiting.tell():
        spool.add(keys(waiting.getvalue()))


def keys(text: bytes) -> pl.DataFrame:
    """Lines of key and digest as a frame."""
    return pl.read_csv(text, has_header=False, schema=STORED, infer_schema=False)
