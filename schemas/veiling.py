"""Lines of CSV with pseudonyms in them, for a client whose lens asks for these.

The database cannot make them (`schemas.pseudonyms`), so the lines that it wrote are taken apart and
put together again, by the same rules of quoting.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

from schemas.columns import AnyColumn, Refs
from schemas.pseudonyms import Pseudonyms
from schemas.writing import LINE_END, Sheet


def veiled(lines: bytes, written: Sheet, veil: Pseudonyms) -> bytes:
    """Whole lines of a file as the client gets them."""
    out = io.StringIO()
    writer = csv.writer(out, csv.excel, lineterminator=LINE_END)
    if written.quoted:
        writer = csv.writer(out, csv.excel, lineterminator=LINE_END, quoting=csv.QUOTE_ALL)
    width = len(written.columns)
    for cells in csv.reader(io.StringIO(lines.decode(), newline="")):
        row = veil.row(written.entity, record(written.columns, cells))
        own = (cell(row[column.name]) for column in written.columns)
        writer.writerow([*own, *cells[width:]])
    return out.getvalue().encode()


def record(columns: Sequence[AnyColumn], cells: Sequence[str]) -> dict[str, Any]:
    """The cells by the names of their columns, lists of references taken apart."""
    return {
        column.name: text.split(",") if text and isinstance(column, Refs) else text
        for column, text in zip(columns, cells, strict=False)  # unknown columns follow
    }


def cell(value: str | list[str]) -> str:
    """A value as a cell."""
    return value if isinstance(value, str) else ",".join(value)
