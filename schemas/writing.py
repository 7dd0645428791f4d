"""The CSV face of a stored row: the exact inverse of reading, from the same declarations.

What is said here is SQL, for PostgreSQL writes the lines itself: `copy (select …) to stdout` quotes
them as RFC 4180 asks, and whoever reads them adds the header and CRLF. The text of a `Sheet` names
in braces what its `facts` hold, to be filled in as literals.

A bulk file has the active records that are seen; a whole one as they lie (`as_they_lie`), others
in the order of their sourcedIds. A delta has the records that changed behind a version; where not
everything is seen, also those that have come into sight, and as `tobedeleted` those that have gone
out of it, with the values that were seen last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, LiteralString, TypeAlias, assert_never

from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Column,
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
from schemas.ddl import not_null
from schemas.identity import space
from schemas.profiles import (
    MANIFEST_HEADER,
    MANIFEST_ORDER,
    MANIFEST_VERSION,
    PROFILES,
    Profile,
)
from schemas.roster import BY_FILE, BY_TABLE, ROSTERING, AnyEntity
from schemas.view import EVERYTHING, View

LINE_END = "\r\n"
METADATA = "metadata."
MANIFEST = "manifest.csv"
SYSTEM = "RosterHub"

SETTLED: LiteralString = """
    select set_config('datestyle', 'ISO, YMD', true), set_config('jit', 'off', true)
"""
"""What a transaction needs before it writes: days look the same whatever the server prefers."""

When: TypeAlias = Literal["now", "then"]
"""The moment that is shown, or the one since which a delta tells what changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all files of an export have in common.

    `version` is what they show: the version that stands, or with `past` one that stood. `since`:
    the version behind which a delta begins; None: bulk. `aliased` are the files whose records some
    source knows by other sourcedIds, by the versions `aliases` that made these; both are empty
    where the hub's own are written.
    """

    tenant_id: int
    profile: Profile
    version: int
    past: bool = False
    since: int | None = None
    view: View = EVERYTHING
    aliases: tuple[int, ...] = ()
    aliased: frozenset[str] = frozenset()

    @property
    def facts(self) -> dict[str, object]:
        """What the braces of every text of this plan stand for."""
        return {
            "tenant": self.tenant_id,
            "since": self.since or 0,
            "version": self.version,
            "aliases": list(self.aliases),
            **self.view.facts,
        }

    def limits(self, entity: AnyEntity) -> bool:
        """Whether not every record of the entity is seen."""
        return entity in self.view.visible


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file: its declared columns, its header, and the query whose columns are its values.

    `quoted`: every value stands in quotes.
    """

    entity: AnyEntity
    columns: tuple[AnyColumn, ...]
    header: str
    text: LiteralString
    facts: Mapping[str, object]
    quoted: bool

    @property
    def name(self) -> str:
        """What the file is called."""
        return f"{self.entity.file}.csv"

    @property
    def copy(self) -> LiteralString:
        """The statement that writes the lines."""
        form = "format csv, force_quote *" if self.quoted else "format csv"
        return f"copy ({self.text}) to stdout ({form})"


def sheet(
    plan: Plan, entity: AnyEntity, unknown: Sequence[str] = (), *, keyed: bool = False
) -> Sheet:
    """The file of an entity; `unknown` are the metadata that no profile declares.

    `keyed`: one page of it, each line with the hub's sourcedId before it: at most {limit} lines
    behind {after}.
    """
    columns = plan.profile.columns(entity)
    names = [*plan.profile.header(entity), *(METADATA + name for name in unknown)]
    cells = list(composed(plan, columns, len(unknown)))
    return Sheet(
        entity=entity,
        columns=columns,
        header=",".join(map(quoted_if_needed, names)) + LINE_END,
        text=announced(plan, lines(plan, entity, cells, keyed=keyed)),
        facts=plan.facts | {f"unknown_{at}": name for at, name in enumerate(unknown)},
        quoted=plan.profile.quoted,
    )


def quoted_if_needed(name: str) -> str:
    """A cell of the header."""
    if any(sign in name for sign in ',"\r\n'):
        return '"' + name.replace('"', '""') + '"'
    return name


def manifest(profile: Profile, modes: Mapping[str, str], code: str) -> str:
    """manifest.csv of a package whose files have these modes; the others are absent."""
    properties = {
        "manifest.version": MANIFEST_VERSION,
        "oneroster.version": profile.manifest,
        **{f"file.{file}": modes.get(file, "absent") for file in MANIFEST_ORDER},
        "source.systemName": SYSTEM,
        "source.systemCode": code,
    }
    quote = '"' if profile.quoted else ""
    rows = [f"{quote}{name}{quote},{quote}{value}{quote}" for name, value in properties.items()]
    return "".join(row + LINE_END for row in (",".join(MANIFEST_HEADER), *rows))


def present(plan: Plan, entities: Iterable[AnyEntity]) -> LiteralString:
    """Whether the file of each entity has rows: one boolean each."""
    asked = (
        " or ".join(
            f"exists (select from {part.rows} as live where {part.condition})"
            for part in parts(plan, entity)
        )
        for entity in entities
    )
    return announced(plan, "select " + ", ".join(asked))


def unknown_of(plan: Plan, entity: AnyEntity) -> LiteralString:
    """The names of the metadata that no profile declares, of all rows that there are."""
    return (
        f"select distinct key from {relation(plan, entity, 'now')} as live,"  # noqa: S608  # same
        " jsonb_object_keys(live.metadata) as key where live.metadata is not null"
    )


# --- Which rows -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a file: those of `rows` that are meant by `condition`.

    `status` and `stamp`, the version that changed it, are what a delta says of each.
    """

    rows: str
    condition: str
    status: str = ""
    stamp: str = ""


def parts(plan: Plan, entity: AnyEntity) -> Iterator[Part]:
    """The rows of a file."""
    is_active = "live.status = 'active'"
    if plan.since is None:
        which = f"{is_active} and {seen(plan, entity, 'now')}"
        yield from true_at(plan, entity, "now", which)
    elif not plan.limits(entity):
        which, said = "live.version > {since}", ("live.status", "live.version")
        yield from true_at(plan, entity, "now", which, said)
    else:
        came = f"live.version > {{since}} or live.sourced_id not in {those_seen(entity, 'then')}"
        which = f"{is_active} and {seen(plan, entity, 'now')} and ({came})"
        yield from true_at(plan, entity, "now", which, ("'active'", "live.version"))
        gone = f"live.sourced_id not in {those_seen(entity, 'now')}"
        which = f"{is_active} and {seen(plan, entity, 'then')} and {gone}"
        yield from true_at(plan, entity, "then", which, ("'tobedeleted'", "{version}"))


def true_at(
    plan: Plan, entity: AnyEntity, when: When, which: str, said: tuple[str, str] = ("", "")
) -> Iterator[Part]:
    """The rows as they stand, or as they were: each table by itself, for each has its own order."""
    for table, then in tables(plan, entity, when):
        yield Part(table, f"live.tenant_id = {{tenant}} and {then}{which}", *said)


def tables(plan: Plan, entity: AnyEntity, when: When) -> Iterator[tuple[str, str]]:
    """Where the rows are, and the beginning of the condition that they were true then."""
    if when == "now" and not plan.past:
        yield f'"{entity.table}"', ""
        return
    at = "{version}" if when == "now" else "{since}"
    true_then = f"live.version <= {at} and "
    yield f'"{entity.table}"', true_then
    yield f'"{entity.table}_history"', f"{true_then}live.until_version > {at} and "


def relation(plan: Plan, entity: AnyEntity, when: When) -> str:
    """All rows of an entity as one relation."""
    own = (column.name for column in entity.stored())
    names = ", ".join(f'"{name}"' for name in ("tenant_id", *own, "metadata", "version"))
    some = " union all ".join(
        f"select {names} from {table} as live where {then}live.tenant_id = {{tenant}}"  # noqa: S608  # declared
        for table, then in tables(plan, entity, when)
    )
    return f"({some})"


def seen(plan: Plan, entity: AnyEntity, when: When, row: str = "live") -> str:
    """Whether an active row is seen."""
    if not plan.limits(entity):
        return "true"
    return f"({asked_at(plan, plan.view.visible[entity], when, row)})"


def those_seen(entity: AnyEntity, when: When) -> str:
    """The sourcedIds that are seen of an entity."""
    return f'(select sourced_id from "seen_{entity.table}_{when}")'  # noqa: S608  # same


def asked_at(plan: Plan, template: str, when: When, row: str = "", value: str = "") -> str:
    """A template of the view, meant of a moment. Facts stay in their braces."""
    return template.format(
        row=row,
        value=value,
        **{name: f"{{{name}}}" for name in plan.facts},
        **{name: f'"{name}_{when}"' for name in plan.view.sets},
        **{f"seen_{entity.table}": f'"seen_{entity.table}_{when}"' for entity in ROSTERING},
        **{entity.table: relation(plan, entity, when) for entity in ROSTERING},
    )


# --- What they say --------------------------------------------------------------------------

MOMENT = """'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'"""


@dataclass(frozen=True, slots=True)
class Cell:
    """The SQL of one value, and the aliases that must be joined for it."""

    column: AnyColumn | None
    text: str
    join: str = ""


def composed(plan: Plan, columns: Sequence[AnyColumn], unknown: int) -> Iterator[Cell]:
    """The values of a line, in order."""
    for at, column in enumerate(columns):
        yield cell(plan, column, f"n{at}")
    for at in range(unknown):
        yield Cell(None, filled(plan, f"live.metadata ->> {{unknown_{at}}}"))


def cell(plan: Plan, column: AnyColumn, alias: str) -> Cell:
    """A value as the profile writes it; the two of the state are said by each part of a delta."""
    silent = column in plan.profile.prohibited or column in plan.view.hidden
    if silent or not column.stored or is_state(column):
        return Cell(column, "''" if plan.profile.quoted else "null")
    text, join = of_source(plan, column, alias) or (shown(plan, column), "")
    limited = only_seen(plan, column, text)
    sure = not_null(column) and limited == text
    return Cell(column, limited if sure else filled(plan, limited), join)


def is_state(column: Column) -> bool:
    """Whether it is one of the two columns that are blank in bulk."""
    return column.name in ("status", "date_last_modified")


def filled(plan: Plan, text: str) -> str:
    """A value that may be missing: COPY puts quotes around blank text, and none around null."""
    return f"coalesce({text}, '')" if plan.profile.quoted else text


def shown(plan: Plan, column: AnyColumn) -> str:
    """A stored value as text; null where there is none."""
    value = f'live."{column.name}"'
    match column:
        case Choice():
            return in_words(plan.profile, column, value)
        case Key() | Text() | Ref() | Year():
            return value
        case Flag() | Day() | Whole() | Decimal():
            return f"{value}::text"
        case Texts() | Pairs() | Choices():
            return f"array_to_string({value}, ',')"
        case Refs():
            return f"array_to_string({items(plan, column, value)}, ',')"
        case Instant():
            return instant(value)
        case _:
            assert_never(column)


def instant(value: str) -> str:
    """A time in UTC, to the millisecond."""
    return f"to_char({value} at time zone 'UTC', {MOMENT})"


FOREIGN: Mapping[Column, frozenset[str]] = {
    column: frozenset(word for each in PROFILES.values() for word in each.words.get(column, ()))
    for profile in PROFILES.values()
    for column in profile.words
}
"""Words that some profile adds to a vocabulary."""


def in_words(profile: Profile, column: Choice, value: str) -> str:
    """A word that only another profile has becomes an `ext:` token, as in JSON."""
    foreign = FOREIGN.get(column, frozenset()) - {*profile.words.get(column, ())}
    if not foreign:
        return value
    words = ", ".join(f"'{word}'" for word in sorted(foreign))
    return f"case when {value} in ({words}) then 'ext:' || {value} else {value} end"


def only_seen(plan: Plan, column: AnyColumn, text: str) -> str:
    """A reference is blank where what it points at is not seen."""
    kept = plan.view.kept.get(column)
    if kept is None or isinstance(column, Refs):
        return text
    is_seen = asked_at(plan, kept, "now", value=f'live."{column.name}"')
    return f"case when {is_seen} then {text} end"


def items(plan: Plan, column: Refs, value: str) -> str:
    """The items of a list of references: those that are seen, by the ids that are written."""
    kept, renamed = plan.view.kept.get(column), column.to in plan.aliased
    if kept is None and not renamed:
        return value
    item = "coalesce(a.source_id, i.item)" if renamed else "i.item"
    join = f" left join {names_of(column.to)} as a on a.hub_id = i.item" if renamed else ""
    where = f" where {asked_at(plan, kept, 'now', value='i.item')}" if kept else ""
    return (
        f"(select array_agg({item} order by i.nth)"  # noqa: S608  # declared names
        f" from unnest({value}) with ordinality as i (item, nth){join}{where})"
    )


def of_source(plan: Plan, column: AnyColumn, alias: str) -> tuple[str, str] | None:
    """A sourcedId as its source has it, and the join that tells; None: the hub's own."""
    match column:
        case Key():
            file = space(BY_TABLE[column.entity])
        case Ref():
            file = column.to
        case _:
            return None
    if file not in plan.aliased:
        return None
    value = f'live."{column.name}"'
    join = f"left join {names_of(file)} as {alias} on {alias}.hub_id = {value}"
    return f"coalesce({alias}.source_id, {value})", join


def names_of(file: str) -> str:
    """The relation of what the sources call the records of a file today."""
    return f'"names_{BY_FILE[file].table}"'


# --- The whole of it ------------------------------------------------------------------------


PAGE = " and live.sourced_id > {after} order by live.sourced_id limit {limit}"


def lines(plan: Plan, entity: AnyEntity, cells: Sequence[Cell], *, keyed: bool) -> str:
    """The lines of a file in order, or a page of them."""
    some = list(parts(plan, entity))
    if len(some) == 1 and not keyed:
        order = "" if as_they_lie(plan, entity, cells) else " order by live.sourced_id"
        return select(some[0], cells) + order
    own = ", ".join(f"c{at}" for at in range(len(cells)))
    key = "live.sourced_id as key, "
    behind = (
        " and live.sourced_id > {after} order by live.sourced_id limit {limit}" if keyed else ""
    )
    every = " union all ".join(f"({select(part, cells, key)}{behind})" for part in some)
    if keyed:
        return f"select key, {own} from ({every}) as lines order by key limit {{limit}}"  # noqa: S608  # declared names
    return f"select {own} from ({every}) as lines order by key"  # noqa: S608  # same


def as_they_lie(plan: Plan, entity: AnyEntity, cells: Sequence[Cell]) -> bool:
    """Whether a bulk file is one pass over its table, which has an order of its own.

    Records lie as they were loaded, those of one person together. Of a million enrollments sorted
    by key nothing is like what stands beside it: sorting them took PostgreSQL half of its time, the
    package was 2.6 times larger, and packing it took three times longer.
    """
    return plan.since is None and not plan.limits(entity) and not any(c.join for c in cells)


def select(part: Part, cells: Sequence[Cell], key: str = "") -> str:
    """The lines of one part."""
    values = ", ".join(f"{said(part, each) or each.text} as c{at}" for at, each in enumerate(cells))
    joins = [*dict.fromkeys(each.join for each in cells if each.join)]
    if part.stamp:
        at = f"stamps.tenant_id = {{tenant}} and stamps.version = {part.stamp}"
        joins.append(f"left join versions as stamps on {at}")
    rows = " ".join([f"{part.rows} as live", *joins])
    return f"select {key}{values} from {rows} where {part.condition}"  # noqa: S608  # same


def said(part: Part, one: Cell) -> str | None:
    """What a delta says of the state of a row; None: nothing is said of it here."""
    if one.column is None or not part.status or not is_state(one.column):
        return None
    return part.status if one.column.name == "status" else instant("stamps.published_at")


def announced(plan: Plan, text: str) -> str:
    """A query behind the relations that it names, and those that these name."""
    known = {f'"{name}"': query for name, query in relations(plan)}
    wanted: dict[str, str] = {}
    waiting = [text]
    while waiting:
        asking = waiting.pop()
        for name in known.keys() - wanted.keys():
            if name in asking:
                wanted[name] = known[name]
                waiting.append(known[name])
    told = ", ".join(f"{name} as ({wanted[name]})" for name in known if name in wanted)
    return f"with recursive {told} {text}" if told else text


def relations(plan: Plan) -> Iterator[tuple[str, str]]:
    """What a query may speak of by name."""
    for file in sorted(plan.aliased):
        query = (
            "select distinct on (hub_id) hub_id, source_id from aliases"  # noqa: S608  # same
            f" where tenant_id = {{tenant}} and entity = '{file}'"
            " and version = any({aliases}::bigint[]) order by hub_id, version desc, source_id"
        )
        yield f"names_{BY_FILE[file].table}", query
    moments: tuple[When, ...] = ("now", "then")
    for when in moments:
        for name, template in plan.view.sets.items():
            yield f"{name}_{when}", asked_at(plan, template, when)
        for entity in plan.view.visible:
            rows = relation(plan, entity, when)
            condition = f"r.status = 'active' and {seen(plan, entity, when, 'r')}"
            query = f"select r.sourced_id from {rows} as r where {condition}"  # noqa: S608  # same
            yield f"seen_{entity.table}_{when}", query
