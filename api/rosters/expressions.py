"""The values of properties in SQL, as JSON shows them: filter and sort mean what is read."""

import json
from typing import assert_never

from psycopg.sql import SQL, Composable, Composed, Literal

from api.rosters.binding import Bind
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
from schemas.rest.editions import EXTENSION, ONE_TWO, Edition, Vocabulary
from schemas.rest.faces import PROFILE_URI, UUID_FORM, UUID_URI, target
from schemas.rest.properties import Half, Says, is_profile
from schemas.rest.records import METADATA

# Most identifiers stand in an address as they are, which is cheap to see.
QUOTED = SQL("case when {own} ~ '^[A-Za-z0-9_.~-]*$' then {own} else quoted({own}) end")
PROFILE = SQL("case when {own} ~ {uuid} then {urn} || {own} else {other} || {quoted} end")
WORD = SQL(
    "case when {own} = any({words}) or starts_with({own}, {prefix}) then {own}"
    " else {prefix} || {own} end"
)
INSIDE = SQL("regexp_replace(regexp_replace(item, '^[{{]', ''), '[}}]$', '')").format()
HALVES = {
    "left": SQL("split_part({}, ':', 1)").format(INSIDE),
    "right": SQL("substr({0}, strpos({0} || ':', ':') + 1)").format(INSIDE),
}


def shown(column: AnyColumn, own: Composable, bind: Bind, edition: Edition = ONE_TWO) -> Composable:
    """The text of a value, or of one item of a list."""
    if (closed := edition.vocabularies.get(column)) is not None:
        return called(closed, own)
    match column:
        case Key() | Ref() if is_profile(column):
            return PROFILE.format(
                own=own,
                uuid=bind(f"^{UUID_FORM}$"),
                urn=bind(UUID_URI),
                other=bind(PROFILE_URI),
                quoted=QUOTED.format(own=own),
            )
        case Choice(extensible=True) | Choices(extensible=True):
            return WORD.format(own=own, words=bind([*column.words]), prefix=bind(EXTENSION))
        case Day():
            return SQL("to_char({}, 'YYYY-MM-DD')").format(own)
        case Flag() | Whole():
            return SQL("{}::text").format(own)
        case Decimal():
            return SQL("trim_scale({})::text").format(own)
        case Instant():
            return instant(own)
        case Text() if column in edition.always:
            return SQL("coalesce({}, '')").format(own)
        case Key() | Text() | Texts() | Choice() | Choices() | Pairs() | Year() | Ref() | Refs():
            return own
        case _:
            assert_never(column)


def called(words: Vocabulary, own: Composable) -> Composed:
    """What a stored word is called in a closed vocabulary."""
    return SQL(
        "case when {own} is not null then coalesce({said}::jsonb ->> {own}, {other}) end"
    ).format(own=own, said=Literal(json.dumps(dict(words.said))), other=Literal(words.other))


def instant(own: Composable) -> Composed:
    """An instant in UTC, cut to the millisecond."""
    return SQL("""to_char({} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')""").format(own)


def half(prop: Half) -> Composable:
    """The half of `item`; the first colon divides."""
    return HALVES[prop.side]


def said(
    file: str, own: Composable, says: Says, base: str, bind: Bind, *, edition: Edition = ONE_TWO
) -> Composable:
    """What a reference says of the record of a file with this identifier."""
    address, noun = target(file, base, edition)
    match says:
        case "sourcedId":
            return own
        case "href":
            return SQL("{} || {}").format(bind(address), QUOTED.format(own=own))
        case "type":
            return SQL("case when {} is not null then {} end").format(own, bind(noun))
        case _:
            assert_never(says)


def undeclared(key: str, bind: Bind) -> Composed:
    """A value of the metadata that nobody declared; an empty one is not shown."""
    return SQL("nullif(live.{} ->> {}, '')").format(SQL(METADATA), bind(key))
