"""Digests: 128 bits that tell whether two records, or two lines, are the same.

XXH3-128. That of a record is over its stored values in the order of the declaration, each behind a
unit separator, which no value can hold. The function is fixed for ever: digests are stored beside
the rows. They are taken by Polars, of a whole column at once, while others read beside it.
"""

import polars as pl
from polars_hash import NonCryptographicHashingNameSpace as Hashes

SEPARATOR = "\x1f"
MISSING = "\x1e"  # a null is not an empty text


def digested(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a staging table with their `digest`: 16 bytes, the highest first."""
    values = [name for name in rows.columns if name != "line"]
    text = pl.concat_str(pl.col(values).fill_null(MISSING), separator=SEPARATOR)
    digest = Hashes(text).xxh3_128(return_binary=True, byte_order="big")
    return rows.with_columns(digest.alias("digest"))


def numbers(rows: pl.DataFrame) -> pl.Series:
    """The digests of rows as numbers."""
    return rows["digest"].bin.reinterpret(dtype=pl.UInt128, endianness="big")


def of_texts(texts: pl.Series) -> pl.Series:
    """The digest of each text as a number."""
    digest = Hashes(pl.col(texts.name)).xxh3_128()
    return texts.to_frame().select(digest.alias("digest")).to_series()
