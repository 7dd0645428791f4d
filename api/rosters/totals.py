"""How many records there are to be read: what `X-Total-Count` says and the links are made from.

Of all records of an entity the number is kept. Anything else is counted, once per request: its
number depends on the version, the sight and the conditions alone, so whoever wants to remember it
does so here.
"""

from collections.abc import Mapping

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.rosters import selects
from api.rosters.questions import Question
from schemas.visibility import NOT_WHOLE, WHOLE


async def total_of(
    connection: AsyncConnection[DictRow],
    question: Question,
    key: Mapping[str, object],
    kept: int,
) -> int:
    """The number in this snapshot; `kept` is that of all records as they stand."""
    entity, rows = question.operation.entity, question.rows
    if question.whole and not rows.past:
        return kept
    if question.whole:
        return kept - await counted(connection, selects.younger(entity), key)
    query = selects.total(entity, rows, question.conditions)
    if question.conditions or entity not in rows.sight.visible:
        return await counted(connection, query, key)
    await connection.execute(WHOLE)
    total = await counted(connection, query, key)
    await connection.execute(NOT_WHOLE)
    return total


async def counted(
    connection: AsyncConnection[DictRow], query: selects.Query, key: Mapping[str, object]
) -> int:
    """The one number of a query."""
    cursor = await connection.execute(query, key)
    row = await cursor.fetchone()
    return 0 if row is None else int(row["records"])
