"""A filter as a condition on `live`: each clause by the kind of its field, every value bound.

A clause is true or it is not: a record without the property has no value that could be equal, less
or greater, and `!=` is whatever `=` is not. Of several values (the items of a list, the roles of a
user) any one may match; only `=` on a list of plain values compares the whole set.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TypeAlias, assert_never

from psycopg.sql import SQL, Composable, Composed, Identifier

from api.rosters import expressions, values
from api.rosters.binding import Before, Bind
from api.rosters.collation import Needed, considered, key_of
from api.rosters.filters import Clause, Filter, InvalidFilterField, Predicate
from api.rosters.folding import fold, folded, spellings
from api.rosters.roles import HAD, first_role
from api.rosters.sight import Rows
from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Day,
    Decimal,
    Flag,
    Instant,
    Key,
    Pairs,
    Ref,
    Refs,
    Text,
    Texts,
    Whole,
    Year,
)
from schemas.rest.editions import Vocabulary
from schemas.rest.properties import (
    FirstRole,
    Half,
    Linked,
    Modified,
    Never,
    OfChild,
    OfOrgs,
    OfPart,
    Own,
    Property,
    Says,
    Undeclared,
    is_object,
    is_profile,
    property_of,
)
from schemas.roster import ROSTERING, AnyEntity
from schemas.roster.orgs import AcademicSession, Org
from schemas.roster.people import Role, User, UserProfile
from schemas.roster.teaching import Class, Course, Enrollment

Point: TypeAlias = date | datetime

ORDERS: Mapping[Predicate, SQL] = {
    "=": SQL("="),
    ">": SQL(">"),
    ">=": SQL(">="),
    "<": SQL("<"),
    "<=": SQL("<="),
}
TURNED: Mapping[Predicate, Predicate] = {">=": ">", "<": "<="}
"""How a predicate reads against what lies shortly behind a day or a millisecond."""

INDEXED = frozenset(
    {
        *(entity.sourced_id for entity in ROSTERING),
        *(Org.parent_sourced_id, AcademicSession.parent_sourced_id, Course.org_sourced_id),
        *(Class.course_sourced_id, Class.school_sourced_id),
        *(UserProfile.user_sourced_id, Role.user_sourced_id),
        *(Enrollment.class_sourced_id, Enrollment.user_sourced_id),
        *(User.email, User.username, User.identifier),
    }
)
"""What an index of its table begins with, behind the tenant, in the order of bytes."""

# The spellings of a value that are in the index, found letter by letter: so an index by bytes finds
# it in any case. One on lower(…) would be of no use: row-level security lets nothing but plain
# comparisons near rows that it has not looked at.
SPELLED = SQL("""{own} collate "C" = any(array(
    with recursive walk (prefix, step) as (
        select ''::text collate "C", 0
        union all
        select (walk.prefix || variant) collate "C", walk.step + 1
        from walk
        cross join lateral jsonb_array_elements_text({steps}::jsonb -> walk.step) as variant
        cross join lateral (
            select known.{column} as value
            from {table} as known
            where known.tenant_id = %(tenant_id)s
                and known.{column} collate "C" >= walk.prefix || variant
            order by known.{column} collate "C"
            limit 1
        ) as next
        where starts_with(next.value, walk.prefix || variant)
    )
    select prefix from walk where step = {length}
))""")


@dataclass(frozen=True, slots=True)
class Ground:
    """What all conditions of a question stand on: relations, bound values, the address of hrefs."""

    rows: Rows
    bind: Bind
    base: str


class Conditions:
    """Writes filters about one entity; `needed` are the texts that have to have a sort key."""

    def __init__(self, entity: AnyEntity, ground: Ground) -> None:
        self._entity = entity
        self._ground = ground
        self.needed: list[Needed] = []

    def of(self, wanted: Filter) -> Composed:
        """The condition in brackets, so that it narrows whatever stands beside it."""
        groups = [SQL(" and ").join(map(self._clause, group)) for group in wanted]
        return SQL("({})").format(SQL(" or ").join(groups))

    def _clause(self, clause: Clause) -> Composable:
        prop = self._property(clause.path)
        negated = clause.predicate == "!="
        equal = replace(clause, predicate="=") if negated else clause
        try:
            found = Comparison(self._entity, self._ground, equal, self.needed).of(prop)
        except values.WrongValue as error:
            raise InvalidFilterField(f"filter: {clause.path} is compared with {error}.") from None
        return SQL("({}) is not true").format(found) if negated else found

    def _property(self, path: str) -> Property:
        """What the field is; one that is hidden is not there."""
        if self._ground.rows.sight.compares(self._entity, path):
            prop = property_of(self._entity, path, self._ground.rows.edition)
            if prop is not None:
                return prop
            if is_object(self._entity, path, self._ground.rows.edition):
                raise InvalidFilterField(f"filter: '{path}' is an object: name what is in it.")
        raise InvalidFilterField(f"filter: '{path}' is not a property of these records.")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison, by what the field is; `alias` is the relation whose record is looked at."""

    entity: AnyEntity
    ground: Ground
    clause: Clause
    needed: list[Needed]
    alias: str = "live"

    @property
    def _order(self) -> SQL:
        return ORDERS[self.clause.predicate]

    def of(self, prop: Property) -> Composable:
        """Whether the record, or anything of it, passes."""
        match prop:
            case Own(column=(Texts() | Choices() | Pairs() | Refs()) as column):
                return self._set(column)
            case Own(column=column):
                return self._value_of(column, self._own(column))
            case Half():
                return self._any_item(prop.column, self._text(expressions.half(prop)))
            case Linked(column=column, says=says):
                if isinstance(column, Ref):
                    return self._link(column.to, self._own(column), says, column)
                return self._any_item(column, self._link(column.to, SQL("item"), says))
            case OfChild(says=says):
                return self._any_child(says)
            case OfPart():
                return self._any_part(prop)
            case FirstRole():
                return self._text(first_role(self.ground.rows))
            case OfOrgs(says=says):
                return self._any_org(says)
            case Modified():
                return self._modified()
            case Undeclared(key=key):
                return self._text(expressions.undeclared(key, self.ground.bind))
            case Never():
                return SQL("false")
            case _:
                assert_never(prop)

    def _shown(self, column: AnyColumn, own: Composable) -> Composable:
        return expressions.shown(column, own, self.ground.bind, self.ground.rows.edition)

    def _own(self, column: AnyColumn) -> Identifier:
        return Identifier(self.alias, column.name)

    def _value_of(self, column: AnyColumn, own: Composable) -> Composable:
        """A single value by its kind. What it contains is asked of its text, whatever it is."""
        shown = self._shown(column, own)
        if self.clause.predicate == "~":
            return self._text(shown)
        match column:
            case Key() | Ref() if not is_profile(column):
                return self._identifier(own, column)
            case Choice():
                return self._word(column, own, shown)
            case Text() if self._is_spelled(column):
                return self._spelled(own, column)
            case Key() | Ref() | Text() | Year():
                return self._text(shown)
            case Flag():
                return self._compared(own, values.flag(self.clause.value))
            case Whole() | Decimal():
                return self._compared(own, values.number(self.clause.value))
            case Day():
                day = values.day(self.clause.value)
                return self._on_grid(own, day.day, exact=day.exact)
            case Instant():
                moment = values.moment(self.clause.value)
                cut = SQL("date_trunc('milliseconds', {})").format(own)
                return self._on_grid(cut, moment.floor, exact=moment.exact)
            case Texts() | Choices() | Pairs() | Refs():
                return self._set(column)
            case _:
                assert_never(column)

    def _compared(self, own: Composable, value: object) -> Composed:
        return SQL("{} {} {}").format(own, self._order, self.ground.bind(value))

    def _on_grid(self, own: Composable, point: Point, *, exact: bool) -> Composable:
        """Days or milliseconds against a point on their grid, or shortly behind one."""
        if exact:
            return self._compared(own, point)
        if self.clause.predicate == "=":
            return SQL("false")
        order = ORDERS[TURNED.get(self.clause.predicate, self.clause.predicate)]
        return SQL("{} {} {}").format(own, order, self.ground.bind(point))

    def _text(self, shown: Composable) -> Composable:
        """Text without regard to case, in the order of the Unicode Collation Algorithm."""
        value = fold(self.clause.value)
        match self.clause.predicate:
            case "=":
                return SQL("{} = {}").format(self._folded(shown, value), self.ground.bind(value))
            case "~":
                return SQL("strpos({}, {}) > 0").format(
                    self._folded(shown, value), self.ground.bind(value)
                )
            case _:
                self.needed.append(Needed(self.clause.path, self.entity, self.alias, shown))
                return SQL(
                    "{text} in (select value from sort_keys where tenant_id = %(tenant_id)s"
                    " and coalesce(folded, key) {order} {key})"
                ).format(
                    text=considered(shown),
                    order=self._order,
                    key=self.ground.bind(key_of(value)),
                )

    def _folded(self, shown: Composable, values: str) -> Composable:
        return folded(shown, values, self.ground.bind)

    def _word(self, column: Choice, own: Composable, shown: Composable) -> Composable:
        """A word of the vocabulary is stored as it is shown, so that indexes find it."""
        closed = self.ground.rows.edition.vocabularies.get(column)
        if closed is not None:
            return self._closed(closed, own, shown)
        known = {fold(word): word for word in column.words}
        word = known.get(fold(self.clause.value))
        if self.clause.predicate == "=" and word is not None:
            return self._compared(own, word)
        return self._text(shown)

    def _closed(self, words: Vocabulary, own: Composable, shown: Composable) -> Composable:
        """One of several stored words is shown as this one."""
        known = {fold(word): word for word in words.words}
        word = known.get(fold(self.clause.value))
        stored = None if word is None else words.stored(word)
        if self.clause.predicate == "=" and stored is not None:
            return SQL("{} = any({})").format(own, self.ground.bind(stored))
        return self._text(shown)

    def _identifier(self, own: Composable, column: Key | Ref | None = None) -> Composable:
        """An identifier: equal in any case, ordered by bytes as pages are."""
        if column is not None and self._is_spelled(column):
            return self._spelled(own, column)
        if self.clause.predicate in ("=", "~"):
            return self._text(own)
        return SQL('{} collate "C" {} {}').format(
            own, self._order, self.ground.bind(self.clause.value)
        )

    def _is_spelled(self, column: AnyColumn) -> bool:
        """Whether an index finds what is equal; it has nothing that is sent as "" though absent."""
        table = self.alias == "live" and not self.ground.rows.past
        equal = self.clause.predicate == "=" and self.clause.value != ""
        return table and equal and column in INDEXED

    def _spelled(self, own: Composable, column: AnyColumn) -> Composed:
        """Equal in any case, by the index."""
        steps = spellings(self.clause.value)
        return SPELLED.format(
            own=own,
            steps=self.ground.bind(json.dumps(steps)),
            table=Identifier(self.entity.table),
            column=Identifier(column.name),
            length=len(steps),
        )

    def _link(
        self, file: str, own: Composable, says: Says, column: Ref | None = None
    ) -> Composable:
        """What a reference says."""
        if says == "sourcedId":
            return self._identifier(own, column)
        ground = self.ground
        return self._text(
            expressions.said(file, own, says, ground.base, ground.bind, edition=ground.rows.edition)
        )

    def _set(self, column: AnyColumn) -> Composed:
        """A list of plain values: equal as a set, or with any of the values."""
        self._refuse_order()
        wanted = [fold(value) for value in self.clause.value.split(",")]
        shown = self._shown(column, SQL("item"))
        item = self._folded(shown, "".join(wanted))
        if self.clause.predicate == "~":
            return SQL("exists (select from unnest({}) as item where {} = any({}))").format(
                self._own(column), item, self.ground.bind(wanted)
            )
        return SQL("array(select distinct {} from unnest({}) as item order by 1) = {}").format(
            item, self._own(column), self.ground.bind(sorted(set(wanted)))
        )

    def _any_item(self, column: AnyColumn, test: Composable) -> Composed:
        """Any item of a list of references or pairs."""
        self._refuse_order()
        return SQL("exists (select from unnest({}) as item where {})").format(
            self._own(column), test
        )

    def _refuse_order(self) -> None:
        if self.clause.predicate not in ("=", "~"):
            raise InvalidFilterField(
                f"filter: '{self.clause.path}' is a list; it is compared with = != or ~."
            )

    def _any_child(self, says: Says) -> Composed:
        """Any living child."""
        self._refuse_order()
        own = Identifier("child", "sourced_id")
        return SQL(
            "exists (select from {} as child where child.tenant_id = %(tenant_id)s"
            " and child.parent_sourced_id = live.sourced_id and child.status = 'active' and {})"
        ).format(self.ground.rows.seen(self.entity), self._link(self.entity.file, own, says))

    def _any_org(self, says: Says) -> Composed:
        """The primary org, or that of any role."""
        self._refuse_order()
        primary, of_role = User.primary_org_sourced_id, Role.org_sourced_id
        return SQL("({} or {})").format(
            self.of(Linked(primary, says)), self.of(OfPart(Role, Linked(of_role, says)))
        )

    def _any_part(self, prop: OfPart) -> Composed:
        """Any part that the record shows."""
        found = replace(self, entity=prop.part, alias="part").of(prop.of_it)
        return SQL("exists (select from {} as part where {} and {})").format(
            self.ground.rows.seen(prop.part), HAD, found
        )

    def _modified(self) -> Composable:
        """The instant is that of the version, so versions are compared."""
        version = Identifier(self.alias, "version")
        if self.clause.predicate == "~":
            text = self._text(expressions.instant(SQL("published_at")))
            return SQL(
                "{} in (select version from versions where tenant_id = %(tenant_id)s and {})"
            ).format(version, text)
        moment = values.moment(self.clause.value)
        predicate: Predicate = self.clause.predicate
        if not moment.exact:
            if predicate == "=":
                return SQL("false")
            predicate = TURNED.get(predicate, predicate)
        before = self.ground.bind(Before(moment.floor))
        until = self.ground.bind(Before(moment.after))
        match predicate:
            case ">":
                return SQL("{} > {}").format(version, until)
            case ">=":
                return SQL("{} > {}").format(version, before)
            case "<":
                return SQL("{} <= {}").format(version, before)
            case "<=":
                return SQL("{} <= {}").format(version, until)
            case _:
                return SQL("{0} > {1} and {0} <= {2}").format(version, before, until)
