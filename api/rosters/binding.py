"""Values of a request on their way into a statement: bound, never written into it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.sql import Placeholder

from schemas.statements import load

SQL = load("api", "rosters.sql")


@dataclass(frozen=True, slots=True)
class Before:
    """Stands for the last version that was published before an instant.

    It is looked up in the snapshot that is read, so that the planner sees a number.
    """

    instant: datetime


class Bind:
    """Gives each value a name of its own."""

    def __init__(self) -> None:
        self.parameters: dict[str, object] = {}

    def __call__(self, value: object) -> Placeholder:
        """The placeholder that stands for the value."""
        name = f"given_{len(self.parameters)}"
        self.parameters[name] = value
        return Placeholder(name)


async def resolved(
    connection: AsyncConnection[DictRow], tenant_id: int, parameters: Mapping[str, object]
) -> dict[str, object]:
    """The parameters as PostgreSQL takes them."""
    found = dict(parameters)
    for name, value in parameters.items():
        if isinstance(value, Before):
            key = {"tenant_id": tenant_id, "instant": value.instant}
            cursor = await connection.execute(SQL["last_before"], key)
            row = await cursor.fetchone()
            found[name] = 0 if row is None else row["version"]
    return found
