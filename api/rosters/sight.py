"""What a caller sees of the rosters, and of which moment: every SELECT takes its rows from here.

A `Sight` says which records of each entity are visible and which properties are hidden. It is laid
over the tables themselves: records, parents, parts, children, links and what filters look at are
read through it, so that none of them can forget it. What is hidden reads as if it were empty.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from falcon.asgi import Request
from psycopg.sql import SQL, Composable, Identifier, Literal

from api import select
from api.rosters.veil import Veil
from schemas.columns import AnyColumn, Column, Ref, Refs
from schemas.ddl import sql_type
from schemas.rest.editions import ONE_TWO, Edition
from schemas.rest.properties import CARRIED
from schemas.rest.records import METADATA
from schemas.roster import BY_FILE, AnyEntity

Relations: TypeAlias = Callable[[AnyEntity], Composable]
"""All records of an entity at the moment that is read, to look others up."""

Condition: TypeAlias = Callable[[Relations], Composable]
"""Whether `live` is visible; records that it looks up need a condition on tenant_id."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a caller may see; of an entity that is not named here, everything.

    `tag` differs wherever anything else does. `hidden` has paths of JSON, such as `email`,
    `roles.org` or `metadata`, and hides what is below them too. A reference that is not required
    and leads to an invisible record is hidden; conditions see to the required ones. What is
    `silent` is sent and never compared. `veil` has the pseudonyms, if there are any.
    `parameters` are those of the conditions; their names begin with `sight_`.
    """

    tag: str = ""
    visible: Mapping[AnyEntity, Condition] = field(default_factory=dict)
    hidden: Mapping[AnyEntity, frozenset[str]] = field(default_factory=dict)
    silent: Mapping[AnyEntity, frozenset[str]] = field(default_factory=dict)
    parameters: Mapping[str, object] = field(default_factory=dict)
    veil: Veil | None = None

    def hides(self, entity: AnyEntity, path: str) -> bool:
        """Whether a path of a class is hidden, by itself or with what it is in."""
        return any(within(path, name) for name in self.names(entity))

    def compares(self, entity: AnyEntity, path: str) -> bool:
        """Whether records can be filtered and sorted by a path."""
        if self.hides(entity, path) or path in self.silent.get(entity, ()):
            return False
        return self.veil is None or not self.veil.conceals(entity, path)

    def names(self, entity: AnyEntity) -> frozenset[str]:
        """The hidden paths of a class; of a part they are said by the record that carries it."""
        own = self.hidden.get(entity, frozenset())
        return own | {
            name.removeprefix(f"{prefix}.")
            for carrier, parts in CARRIED.items()
            for prefix, part in parts.items()
            if part is entity
            for name in self.hidden.get(carrier, ())
            if name.startswith(f"{prefix}.")
        }


EVERYTHING = Sight()
"""That of the district itself."""


def sight_of(_: Request) -> Sight:
    """What the caller of a request sees."""
    return EVERYTHING


def within(path: str, name: str) -> bool:
    """Whether a path is the named one or below it."""
    return path == name or path.startswith(f"{name}.")


@dataclass(frozen=True, slots=True)
class Rows:
    """The relations of one moment, as one sight sees them and one edition speaks of them."""

    sight: Sight = EVERYTHING
    past: bool = False
    edition: Edition = ONE_TWO

    @property
    def masked(self) -> bool:
        """Whether they are other than the records themselves."""
        return bool(self.sight.visible or self.sight.hidden)

    def every(self, entity: AnyEntity) -> Composable:
        """All records, seen by nobody."""
        return select.source(entity, past=self.past)

    def known(self, entity: AnyEntity) -> Composable:
        """The records that are visible, with all they have."""
        condition = self.sight.visible.get(entity)
        if condition is None:
            return self.every(entity)
        return SQL(
            "(select live.* from {rows} as live"
            " where live.tenant_id = %(tenant_id)s and {condition})"
        ).format(rows=self.every(entity), condition=condition(self.every))

    def seen(self, entity: AnyEntity) -> Composable:
        """The records that are visible, with what may be seen of them."""
        masks = dict(self._masks(entity))
        if not masks:
            return self.known(entity)
        columns = SQL(", ").join(
            SQL("{} as {}").format(masks[name], Identifier(name))
            if name in masks
            else Identifier("live", name)
            for name in ("tenant_id", *select.names_of(entity))
        )
        return SQL("(select {} from {} as live)").format(columns, self.known(entity))

    def _masks(self, entity: AnyEntity) -> Iterator[tuple[str, Composable]]:
        """What is shown instead of a column."""
        for column in entity.stored():
            if column.json is not None and self.sight.hides(entity, column.json):
                yield column.name, SQL(f"null::{sql_type(column)}")
            elif (target := self._restricted(column)) is not None:
                yield column.name, self._led(column, target)
        if (keys := self._hidden_keys(entity)) is not None:
            yield METADATA, keys

    def _restricted(self, column: Column) -> AnyEntity | None:
        """The entity an optional reference leads to, if not all of it is visible."""
        match column:
            case Ref(to=to, required=False) | Refs(to=to):
                return BY_FILE[to] if BY_FILE[to] in self.sight.visible else None
            case _:
                return None

    def _led(self, column: AnyColumn, target: AnyEntity) -> Composable:
        """The reference, or the references, that lead to something visible."""
        found = SQL(
            "exists (select from {rows} as target"
            " where target.tenant_id = %(tenant_id)s and target.sourced_id = {name})"
        )
        own, rows = Identifier("live", column.name), self.known(target)
        if isinstance(column, Ref):
            return SQL("case when {} then {} end").format(found.format(rows=rows, name=own), own)
        return SQL(
            "array(select item from unnest({own}) with ordinality as items (item, place)"
            " where {found} order by place)"
        ).format(own=own, found=found.format(rows=rows, name=SQL("item")))

    def _hidden_keys(self, entity: AnyEntity) -> Composable | None:
        """The undeclared metadata without its hidden names."""
        names = self.sight.names(entity)
        if METADATA in names:
            return SQL("null::jsonb")
        keys = [name.removeprefix(f"{METADATA}.") for name in names if within(name, METADATA)]
        if not keys:
            return None
        return SQL(
            "(select jsonb_object_agg(key, value) from jsonb_each(live.metadata)"
            " where not (key = any({keys}) or key ^@ any({below})))"
        ).format(keys=Literal(sorted(keys)), below=Literal([f"{key}." for key in sorted(keys)]))
