"""Why a lens shows a record or does not: the rules of `schemas.visibility`, asked one by one.

The rules are the very ones that reads go by, so an explanation cannot say anything else than what
happens. Of a required reference that is not visible, the record it leads to is explained in turn.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

from psycopg.rows import DictRow
from psycopg.sql import SQL, Composable, Composed, Identifier

from api.database import Connection
from schemas import lensbook, schools, visibility
from schemas.columns import AnyColumn, Column, Ref, Refs
from schemas.lens import GROUP_OF, Lens
from schemas.lensbook import listed
from schemas.pseudonyms import Pseudonyms
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import Role, User, UserProfile
from schemas.visibility import Reference, Rule

Json: TypeAlias = dict[str, Any]


class Judge:
    """Looks at records of a district as one client does."""

    def __init__(
        self, connection: Connection, tenant_id: int, lens: Lens, veil: Pseudonyms
    ) -> None:
        self._connection = connection
        self._key = {"tenant_id": tenant_id, **visibility.parameters(lens)}
        self._lens = lens
        self._veil = veil

    async def explained(self, entity: AnyEntity, named: str) -> Json | None:
        """A record that somebody asks about, by its own name or by the client's."""
        return await self._record(entity, self._veil.real(entity.file, named) or named)

    async def _record(self, entity: AnyEntity, sourced_id: str) -> Json | None:
        """What each rule says of a record, and what is left out of it; None: there is none."""
        rows = await self._rows(question(entity, self._lens), sourced_id)
        if not rows:
            return None
        (row,) = rows
        reasons = [
            await self._reason(entity, row, rule, holds=row[answer(number)])
            for number, rule in enumerate(visibility.rules(entity, self._lens))
        ]
        visible = all(reason["holds"] for reason in reasons)
        unlimited = lensbook.UNLIMITED.say(entity=entity.file)
        return {
            "entity": entity.file,
            "sourcedId": sourced_id,
            "status": row["status"],
            "visible": visible,
            "seen_as": self._veil.shown(entity.file, sourced_id) if visible else None,
            "reasons": reasons or [{"rule": "none", "holds": True, "message": unlimited}],
            "left_out": [*ungranted(entity, self._lens), *cut(entity, self._lens, row)]
            if visible
            else [],
        }

    async def _reason(self, entity: AnyEntity, row: DictRow, rule: Rule, *, holds: bool) -> Json:
        """What one rule says."""
        told = await self._told(entity, row, rule)
        facts = {name: listed(v) if isinstance(v, list) else v for name, v in told.items()}
        if rule.column is not None:
            facts["target"] = f"{rule.column.to} {told['sourcedId']}"
            if not holds:
                because = await self._record(BY_FILE[rule.column.to], told["sourcedId"])
                told["because"] = because or {"message": lensbook.NOT_THERE.say()}
        sentence = (lensbook.HOLDS if holds else lensbook.FAILS)[rule.kind]
        message = sentence.say(entity=entity.file, **facts)
        return {"rule": rule.kind, "holds": holds, **told, "message": message}

    async def _told(self, entity: AnyEntity, row: DictRow, rule: Rule) -> Json:
        """What the record has of what the rule looks at."""
        match rule.kind:
            case "school":
                rows = await self._rows(belonging(entity), row["sourced_id"])
                return {"schools": sorted({each["school"] for each in rows})}
            case "role" if entity is User:
                rows = await self._rows(held(), row["sourced_id"])
                return {"roles": sorted({each["role"] for each in rows})}
            case "role":
                return {"roles": [row["role"]]}
            case "grade":
                return {"grades": row["grades"] or []}
            case "reference" if rule.column is not None:
                return {"property": rule.column.json, "sourcedId": row[rule.column.name]}
            case _:
                return {}

    async def _rows(self, query: Composed, sourced_id: str) -> list[DictRow]:
        cursor = await self._connection.execute(query, {**self._key, "sourced_id": sourced_id})
        return await cursor.fetchall()


# --- What is asked -------------------------------------------------------------------------


def question(entity: AnyEntity, lens: Lens) -> Composed:
    """The record, whether each rule holds for it, and its references as the lens shows them."""
    looked = {other.table: relation(other) for other in ROSTERING}
    rules = enumerate(visibility.rules(entity, lens))
    asked = [
        *(SQL("live.{}").format(Identifier(column.name)) for column in entity.stored()),
        *(
            SQL("coalesce({}, false) as {}").format(
                SQL(rule.sql).format(**looked), Identifier(answer(number))
            )
            for number, rule in rules
        ),
        *(
            SQL("{} as {}").format(
                SQL(visibility.shown(column, lens)).format(**looked), Identifier(seen(column))
            )
            for column in optional(entity)
        ),
    ]
    return SQL("select {} from {} as live where live.sourced_id = %(sourced_id)s").format(
        SQL(", ").join(asked), relation(entity)
    )


def belonging(entity: AnyEntity) -> Composed:
    """The schools of the record."""
    template = schools.query(entity) or "select null as school where false"
    looked = {other.table: relation(other) for other in ROSTERING} | {Role.table: living()}
    return SQL(template).format(records=this(entity), **looked)


def held() -> Composed:
    """The roles of the user."""
    return SQL("select role from {} as role where role.user_sourced_id = %(sourced_id)s").format(
        living()
    )


def living() -> Composable:
    """The roles that count for a user: the living ones, or those that went with a deleted one."""
    return SQL(
        "(select part.* from {roles} as part"
        " join {users} as holder on holder.sourced_id = part.user_sourced_id"
        " where part.status = 'active'"
        " or (holder.status <> 'active' and part.version >= holder.version))"
    ).format(roles=relation(Role), users=relation(User))


def this(entity: AnyEntity) -> Composable:
    """The record alone."""
    return SQL("(select * from {} as every where every.sourced_id = %(sourced_id)s)").format(
        relation(entity)
    )


def relation(entity: AnyEntity) -> Composable:
    """The records of the district."""
    return SQL("(select * from {} where tenant_id = %(tenant_id)s)").format(
        Identifier(entity.table)
    )


def optional(entity: AnyEntity) -> list[Reference]:
    """The references that a record can do without."""
    return [c for c in entity.references() if isinstance(c, Ref | Refs) and not c.required]


def answer(number: int) -> str:
    """What the answer to a rule is called."""
    return f"rule_{number}"


def seen(column: Column) -> str:
    """What the shown value of a reference is called."""
    return f"seen_{column.name}"


# --- What is left out ----------------------------------------------------------------------


def ungranted(entity: AnyEntity, lens: Lens) -> Iterator[Json]:
    """The properties that the lens does not grant, those of a user's profiles included."""
    if lens.hides_metadata(entity):
        yield {"property": "metadata", "message": lensbook.NO_METADATA.say()}
    columns: list[tuple[str, AnyColumn]] = [("", column) for column in entity.stored()]
    if entity is User:
        columns += [(f"{UserProfile.file}.", column) for column in UserProfile.stored()]
    for prefix, column in columns:
        if column in GROUP_OF and lens.hides(column):
            group = GROUP_OF[column]
            message = lensbook.NOT_GRANTED.say(group=group)
            yield {"property": f"{prefix}{column.json}", "group": group, "message": message}


def cut(entity: AnyEntity, lens: Lens, row: DictRow) -> Iterator[Json]:
    """The references to what is not visible. What is hidden altogether is not told twice."""
    for column in optional(entity):
        if lens.hides(column):
            continue
        missing = sorted(set(several(row[column.name])) - set(several(row[seen(column)])))
        if missing:
            message = lensbook.NOT_VISIBLE.say(targets=listed(missing))
            yield {"property": column.json, "sourcedIds": missing, "message": message}


def several(value: str | list[str] | None) -> list[str]:
    """The sourcedIds of a reference or of references."""
    return [value] if isinstance(value, str) else value or []
