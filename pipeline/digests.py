"""The digest of a record: 128 bits that tell whether two rows have the same values.

XXH3-128 over the stored values in the order of the declaration, each behind a unit separator,
which no value can hold. The function is fixed for ever: digests are stored beside the rows.
"""

import polars as pl
import xxhash

SEPARATOR = "\x1f"
MISSING = "\x1e"  # a null is not an empty text
ROWS = 4096
"""At a time: what is joined is still warm when it is hashed, and its memory is used again."""


def digested(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a staging table with their `digest` (32 hexadecimal digits)."""
    values = [name for name in rows.columns if name != "line"]
    text = pl.concat_str(pl.col(values).fill_null(MISSING), separator=SEPARATOR)
    encoded = text.cast(pl.Binary)
    digests: list[str] = []
    for some in rows.iter_slices(ROWS):
        digests += map(xxhash.xxh3_128_hexdigest, some.select(encoded).to_series().to_list())
    return rows.with_columns(pl.Series("digest", digests, dtype=pl.String))
