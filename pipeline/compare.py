"""Compare before you write: which rows of a bulk file differ from what is stored.

A row's digest is over all that is stored of it, so a row has changed, or is new, exactly if its
digest is none of an active record; such rows alone are staged. A digest that no row has is that of
a record that changed or is gone. Only digests are read of what is stored, and beyond a number that
memory holds, they and the rows wait on disk and are compared range by range.

A key that stands in the file twice is for the rules to find, which look at what is staged. So a row
that says what is stored is staged, too, if another has its key: as the stored record has it.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import IO, LiteralString, Self

import polars as pl
from psycopg.sql import SQL, Composable, Composed, Identifier
from psycopg.sql import Literal as Value

from pipeline import lookup
from pipeline.database import Connection, one, tenant
from pipeline.database import beside as connected_beside
from pipeline.digests import numbers
from pipeline.lookup import NONE, Index, Met, Ranges, as_numbers, places_of
from pipeline.merge import listed
from pipeline.spool import Shelf, Spool
from pipeline.stage import (
    analyze,
    copied,
    copy_gone,
    copy_rows,
    copy_text,
    gone,
    is_empty,
    names,
    staged,
    text_of,
)
from schemas.roster import AnyEntity
from schemas.statements import load

ALL = SQL("")
ONCE = "0"
SOME = "row_number() over () / {together}"
NAMED = load("pipeline", "compare.sql")
DIGEST = pl.Schema({"digest": pl.UInt128})
BLOCK = 1024 * 1024  # bytes of waiting rows that are sent at a time
TOGETHER = 50_000  # digests, or keys, that come or go at a time
FEW = 100_000  # keys that are looked up beside, to be held until then


def stage_differences(
    db: Connection,
    entity: AnyEntity,
    tenant_id: int,
    batches: Iterable[pl.DataFrame],
    *,
    folder: Path,
    partitions: int,
    beside: "Beside | None" = None,
) -> None:
    """Stage the rows that differ from the stored ones, and the keys that are gone.

    What is asked `beside` meanwhile is known later: the keys that are gone are staged by it.
    """
    stored = Stored(db, entity, tenant_id)
    if stored.at_hand():
        fetched = beside.taken(entity) if beside else None
        with (folder / "rows").open("w+b") as waiting:
            index = streamed(stored, batches, waiting, fetched)
            waiting.seek(0)
            copy_text(db, entity, iter(partial(waiting.read, BLOCK), b""))
        settle(stored, index, index.met(), beside)
    else:
        rows = Shelf(folder / "rows")
        ranges = ranged(stored, batches, rows, folder, partitions)
        new, met = ranges.parted()
        copy_rows(db, entity, lines_of(rows, new))
        settle(stored, ranges, met, beside)


def streamed(
    stored: "Stored",
    batches: Iterable[pl.DataFrame],
    waiting: IO[bytes],
    fetched: Future[Index] | None,
) -> Index:
    """Look every row up as it comes; those that are not stored wait, as text.

    As a frame a few rows would hold on to the memory of all those that they came with.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="stored") as pool:
        reading = fetched or pool.submit(stored.index)
        for batch in batches:
            found = reading.result().look(batch["line"], numbers(batch))
            reading.result().note(found)
            if not found.same.all():
                waiting.write(text_of(batch.filter(~found.same)))
        return reading.result()


def ranged(
    stored: "Stored", batches: Iterable[pl.DataFrame], rows: Shelf, folder: Path, partitions: int
) -> Ranges:
    """Put all rows on the shelf, and the digests of both sides where they can be compared."""
    known = Spool(folder / "stored", DIGEST, part=places_of(partitions), partitions=partitions)
    seen = Ranges(
        lambda: (part["digest"].sort() for part in known.read()), folder / "seen", partitions
    )
    with ThreadPoolExecutor(1, thread_name_prefix="stored") as pool:
        reading = pool.submit(stored.spool, known)
        for batch in batches:
            rows.add(batch)
            seen.add(batch["line"], numbers(batch))
        reading.result()
    return seen


def lines_of(rows: Shelf, lines: pl.Series) -> Iterator[pl.DataFrame]:
    """The rows that stand on these lines (ascending)."""
    if lines.is_empty():
        return
    for batch in rows.read():
        first, last = batch["line"][0], batch["line"][-1]
        wanted = lines.filter(lines.is_between(first, last))
        if len(wanted):
            yield batch.filter(pl.col("line").is_in(wanted.cast(pl.Int64).implode()))


def settle(
    stored: "Stored", lines: Index | Ranges, met: Met, beside: "Beside | None" = None
) -> None:
    """What becomes of stored records that no row repeats, and of rows that repeat one twice."""
    changed = stored.of_staged()
    left = met.missing.filter(~met.missing.is_in(changed.implode()))
    if beside and len(left) <= FEW:
        beside.look_up(stored.entity, left)
    else:
        stored.stage_gone(left)
    again = changed.filter(~changed.is_in(met.missing.implode()))
    doubled = lines.lines_of(pl.concat([again, met.twice]).unique())
    stored.stage_doubled(doubled)


def as_bytes(rows: pl.DataFrame) -> pl.DataFrame:
    """The same with digests, if there are, as rows have them."""
    if "digest" not in rows.columns:
        return rows
    digests = [number.to_bytes(16, "big") for number in rows["digest"]]
    return rows.with_columns(pl.Series("digest", digests, dtype=pl.Binary))


class Beside:
    """What is asked of the stored records while files are read, by a connection of its own.

    Their digests are fetched ahead of the files, and behind a file it is looked up who is gone. It
    sees what stood when the district was locked, which is what files are compared with.
    """

    def __init__(self, db: Connection, tenant_id: int) -> None:
        self._like, self._tenant_id = db, tenant_id
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="stored")
        self._ahead: dict[AnyEntity, Future[Index]] = {}
        self._gone: dict[AnyEntity, Future[pl.DataFrame]] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._open.close()

    def begin(self, entities: Iterable[AnyEntity]) -> None:
        """Fetch those of these entities, in this order, as far as they are few enough."""
        for entity in entities:
            if Stored(self._like, entity, self._tenant_id).at_hand():
                self._ahead[entity] = self._pool.submit(self._fetch, entity)

    def taken(self, entity: AnyEntity) -> Future[Index] | None:
        """Those of an entity, for its file: they are held here no longer."""
        return self._ahead.pop(entity, None)

    def look_up(self, entity: AnyEntity, digests: pl.Series) -> None:
        """Look up the keys of those with these digests, who are gone."""
        if len(digests):
            self._gone[entity] = self._pool.submit(self._keys, entity, digests)

    def stage_gone(self) -> None:
        """Stage the keys that were looked up."""
        for entity, keys in self._gone.items():
            copy_gone(self._like, entity, [keys.result()])
            analyze(self._like, entity)

    def _fetch(self, entity: AnyEntity) -> Index:
        return Stored(self._db, entity, self._tenant_id).index()

    def _keys(self, entity: AnyEntity, digests: pl.Series) -> pl.DataFrame:
        return Stored(self._db, entity, self._tenant_id).keys(digests)

    @cached_property
    def _db(self) -> Connection:
        db = self._open.enter_context(connected_beside(self._like, name="rosterhub stored"))
        self._open.enter_context(tenant(db, self._tenant_id))
        # Files are read meanwhile: more processes would only take their turns from that.
        db.execute("set local max_parallel_workers_per_gather = 0")
        return db


class Stored:
    """The active records of an entity. Part of an import's transaction."""

    def __init__(self, db: Connection, entity: AnyEntity, tenant_id: int) -> None:
        self.db, self.entity, self.tenant_id = db, entity, tenant_id

    def at_hand(self) -> bool:
        """Whether they are few enough."""
        facts = {"tenant_id": self.tenant_id, "entity": self.entity.file}
        (count,) = one(self.db, NAMED["count"], facts)
        return int(count) <= lookup.AT_HAND

    def index(self) -> Index:
        """Their digests, at hand: in one value, for to put them together in parts takes longer."""
        return Index(as_numbers(blob).sort() for blob in self._blobs(ONCE) if blob)

    def spool(self, spool: Spool) -> None:
        """Their digests, some at a time."""
        for blob in self._blobs(SOME):
            spool.add(as_numbers(blob).to_frame())

    def of_staged(self) -> pl.Series:
        """The digests of those whose key is staged."""
        if is_empty(self.db, staged(self.entity)):
            return NONE
        return as_numbers(b"".join(self._blobs(SOME, self._composed(STAGED))))

    def among(self, keys: pl.Series) -> pl.Series:
        """Which of these keys are theirs."""
        found: list[str] = []
        for some in keys.to_frame().iter_slices(TOGETHER):
            asked = some.to_series().to_list()
            found += (key for (key,) in self.db.execute(self._composed(AMONG), [asked]))
        return pl.Series(keys.name, found, dtype=pl.String)

    def stage_gone(self, digests: pl.Series) -> None:
        """Those with these digests are gone."""
        if len(digests):
            self._ask(digests.alias("digest").to_frame())
            self.db.execute(self._composed(GONE))

    def keys(self, digests: pl.Series) -> pl.DataFrame:
        """The keys of those with these digests: `sourced_id`."""
        self._ask(digests.alias("digest").to_frame())
        found = self.db.execute(self._composed(KEYS)).fetchall()
        return pl.DataFrame(found, schema={"sourced_id": pl.String}, orient="row")

    def stage_doubled(self, rows: pl.DataFrame) -> None:
        """Stage, for each `line`, the one with the `digest` or `sourced_id` beside it."""
        if rows.height:
            self._ask(rows)
            by = Identifier("sourced_id" if "sourced_id" in rows.columns else "digest")
            self.db.execute(self._composed(DOUBLED, by=by))

    def _blobs(self, part: LiteralString, only: Composable = ALL) -> Iterator[bytes]:
        """Digests of active records, put together by `part`: each row of an answer takes time."""
        together = SQL(part).format(together=Value(TOGETHER))
        with self.db.cursor().copy(self._composed(DIGESTS, part=together, only=only)) as copy:
            copy.set_types(["bytea"])
            for (blob,) in copy.rows():
                yield blob

    def _ask(self, rows: pl.DataFrame) -> None:
        self.db.execute("drop table if exists pg_temp.asked")
        self.db.execute(ASKED)
        columns = SQL(", ").join(map(Identifier, rows.columns))
        statement = SQL("copy pg_temp.asked ({}) from stdin (format csv)")
        copied(self.db, statement.format(columns), map(as_bytes, rows.iter_slices(TOGETHER)))

    def _composed(self, statement: LiteralString, **more: Composable) -> Composed:
        columns = names(self.entity)
        live, tenant = Identifier(self.entity.table), Value(self.tenant_id)
        return SQL(statement).format(
            active=SQL(ACTIVE).format(live=live, tenant=tenant),
            live=live,
            staged=staged(self.entity),
            gone=gone(self.entity),
            columns=listed(columns),
            live_columns=listed(columns, "l"),
            tenant=tenant,
            together=Value(TOGETHER),
            **more,
        )


ACTIVE = "{live} as l where l.tenant_id = {tenant} and l.status = 'active'"

DIGESTS = """
    copy (
        select string_agg(uuid_send(digest), ''::bytea)
        from (select l.digest, {part} as part from {active} {only}) as parted
        group by part order by part
    ) to stdout (format binary)
"""

STAGED = "and exists (select from {staged} as s where s.sourced_id = l.sourced_id)"

AMONG = "select l.sourced_id from {active} and l.sourced_id = any(%s)"

ASKED = """
    create temporary table asked (line bigint, digest uuid, sourced_id text collate "C")
    on commit drop
"""

KEYS = "select l.sourced_id from {active} and l.digest in (select digest from pg_temp.asked)"

GONE = "insert into {gone} (sourced_id) " + KEYS

DOUBLED = """
    insert into {staged} (line, {columns})
    select a.line, {live_columns} from pg_temp.asked as a join {live} as l using ({by})
    where l.tenant_id = {tenant} and l.status = 'active'
"""
