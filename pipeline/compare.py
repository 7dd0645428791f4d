"""Compare before you write: which rows of a bulk file differ from what is stored.

Only (sourcedId, digest) of the stored rows is read. A row whose digest is stored needs no
staging, no diff and no write; a stored key that the file lacks is gone. Partition by partition,
memory stays the same whatever the size of the district.
"""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
from psycopg.sql import SQL, Identifier, Literal

from pipeline.database import Connection
from pipeline.spool import Spool
from pipeline.stage import copy_gone, copy_rows
from schemas.roster import AnyEntity

CHUNK = 4 * 1024 * 1024
STORED = pl.Schema({"sourced_id": pl.String, "stored": pl.String})


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
    fresh = Spool(folder / "fresh", key="sourced_id", partitions=partitions)
    stored = Spool(folder / "stored", key="sourced_id", partitions=partitions)
    schema = pl.Schema()
    with ThreadPoolExecutor(1, thread_name_prefix="stored") as beside:
        reading = beside.submit(read_stored, db, entity, tenant_id, stored)
        for batch in batches:
            schema = batch.schema
            fresh.add(batch)
        reading.result()
    if schema:
        for new, old in zip(fresh.read(schema), stored.read(STORED), strict=True):
            copy_rows(db, entity, [differing(new, old)])
            copy_gone(db, entity, [old.join(new, on="sourced_id", how="anti").drop("stored")])


def differing(new: pl.DataFrame, old: pl.DataFrame) -> pl.DataFrame:
    """The rows whose digest is not stored. A doubled key is always staged: a rule looks there."""
    known = new.select("sourced_id", "digest").join(
        old, on="sourced_id", how="left", maintain_order="left"
    )
    differs = (pl.col("digest") != pl.col("stored")).fill_null(value=True)
    return new.filter(known.select(differs | pl.col("sourced_id").is_duplicated()).to_series())


def read_stored(db: Connection, entity: AnyEntity, tenant_id: int, spool: Spool) -> None:
    """The keys and digests of the active records, as COPY streams them."""
    statement = SQL(
        "copy (select sourced_id, replace(digest::text, '-', '') from {}"
        " where tenant_id = {} and status = 'active') to stdout (format csv)"
    ).format(Identifier(entity.table), Literal(tenant_id))
    with db.cursor().copy(statement) as copy:
        waiting = io.BytesIO()
        for row in copy:
            waiting.write(row)
            if waiting.tell() > CHUNK:
                spool.add(keys(waiting.getvalue()))
                waiting = io.BytesIO()
        if waiting.tell():
            spool.add(keys(waiting.getvalue()))


def keys(text: bytes) -> pl.DataFrame:
    """Lines of key and digest as a frame."""
    return pl.read_csv(text, has_header=False, schema=STORED, infer_schema=False)
