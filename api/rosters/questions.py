"""A request as a question: which records, of which moment, in which order, and what of them.

Everything that a client may write wrongly is looked at here, before the database is asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from falcon.asgi import Request
from psycopg.sql import Composable

from api.rosters.asof import Moment, as_of
from api.rosters.binding import Bind
from api.rosters.collation import Needed
from api.rosters.conditions import Conditions, Ground
from api.rosters.filters import Filter, InvalidFilterField, parse
from api.rosters.operations import Operation
from api.rosters.paging import Page, page_of
from api.rosters.selection import fields_of
from api.rosters.sight import Rows, Sight
from api.rosters.sorting import Order, order, sorting_of
from api.segments import restored

ONE = Page(limit=1, offset=0)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one operation; `filter` is the client's own text."""

    operation: Operation
    rows: Rows
    moment: Moment | None
    identifiers: Mapping[str, str]
    wanted: frozenset[str] | None
    page: Page = ONE
    filter: str | None = None
    conditions: tuple[Composable, ...] = ()
    order: Order = field(default_factory=Order)
    needed: tuple[Needed, ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether it is about all records of the entity."""
        return not self.conditions and self.rows.sight.visible.get(self.operation.entity) is None

    def asks(self, name: str) -> bool:
        """Whether a property is to be sent, and may be."""
        wanted = self.wanted is None or name in self.wanted
        return wanted and not self.rows.sight.hides(self.operation.entity, name)


@dataclass(frozen=True, slots=True)
class Asking:
    """Turns requests into questions; `sight_of` says what their callers see."""

    operation: Operation
    base: str
    page_default: int
    page_max: int
    sight_of: Callable[[Request], Sight]

    def single(self, req: Request, identifiers: Mapping[str, str]) -> Question:
        """One record."""
        moment = as_of(req)
        edition = self.operation.edition
        rows = Rows(self.sight_of(req), past=moment is not None, edition=edition)
        return Question(
            self.operation,
            rows,
            moment,
            {name: self._named(rows.sight, name, text) for name, text in identifiers.items()},
            fields_of(req, self.operation.entity, rows.sight, edition),
            conditions=tuple(condition(rows) for condition in self.operation.conditions),
            parameters=rows.sight.parameters,
        )

    def _named(self, sight: Sight, name: str, text: str) -> str:
        """The record that an address names."""
        named = restored(text)
        if sight.veil is None:
            return named
        return sight.veil.real(self.operation.named(name).file, named)

    def collection(self, req: Request, identifiers: Mapping[str, str]) -> Question:
        """A page of records; the filter of the client stands beside all other conditions."""
        entity = self.operation.entity
        page = page_of(req, self.page_default, self.page_max)
        plain = self.single(req, identifiers)
        text, wanted = filter_of(req)
        if wanted is not None and plain.rows.sight.veil is not None:
            wanted = plain.rows.sight.veil.filter(entity, wanted)
        ground = Ground(plain.rows, Bind(), self.base)
        conditions = Conditions(entity, ground)
        filtered = () if wanted is None else (conditions.of(wanted),)
        sorting = sorting_of(req, entity, plain.rows.sight, plain.rows.edition)
        ordered = order(entity, sorting, ground)
        return Question(
            plain.operation,
            plain.rows,
            plain.moment,
            plain.identifiers,
            plain.wanted,
            page,
            text,
            (*plain.conditions, *filtered),
            ordered,
            (*conditions.needed, *ordered.needed),
            {**plain.parameters, **ground.bind.parameters},
        )


def filter_of(req: Request) -> tuple[str | None, Filter | None]:
    """The filter as it was written, and as it is understood."""
    given = req.get_param_as_list("filter")
    if given is None:
        return None, None
    if len(given) > 1:
        raise InvalidFilterField("filter is given once.")
    return given[0], parse(given[0])
