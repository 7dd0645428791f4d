"""What becomes of known lines (`pipeline.lines`) when others write; it needs no data frame."""

from pipeline.database import Connection
from schemas.roster import AnyEntity
from schemas.statements import load

SQL = load("pipeline", "lines.sql")


def forget(db: Connection, tenant_id: int, entity: AnyEntity) -> None:
    """No line of the entity is known any more: its records were written."""
    db.execute(SQL["forget"], {"tenant_id": tenant_id, "entity": entity.file})
