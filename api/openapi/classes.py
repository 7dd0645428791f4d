"""The classes of the REST binding as JSON schemas, from the declared entities.

What a class always has is said apart from what its properties are: with `fields` a client asks for
some of them, and through a lens it sees some of them, so an answer holds whole or partial objects.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias, assert_never

from api.rosters.filters import LENGTH
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
from schemas.rest.editions import EDITIONS, ONE_TWO, Edition
from schemas.rest.properties import (
    BY_EDITION,
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
    Undeclared,
    is_profile,
)
from schemas.rest.records import BEFORE, CREDENTIALS, METADATA, PARENTS, part_columns, parts_of
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import Role, User, UserProfile

Schema: TypeAlias = dict[str, Any]

TEXT: Final = {"type": "string"}
URI: Final = {"type": "string", "format": "uri"}
INSTANT: Final = {"type": "string", "format": "date-time"}
EXTENSION: Final = r"^ext:[a-zA-Z0-9.\-_]+$"
REFERENCE: Final = "Reference"
CARRIED: Final[Mapping[str, AnyEntity]] = {"roles": Role, "userProfiles": UserProfile}


def ref(name: str) -> Schema:
    """The named schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def named(entity: AnyEntity, edition: Edition = ONE_TWO) -> str:
    """What the schema of a class is called."""
    return entity.rest if edition is ONE_TWO else f"{entity.rest}Of{edition.name.replace('.', 'p')}"


def partial(entity: AnyEntity, edition: Edition = ONE_TWO) -> str:
    """What the schema of some of an object is called."""
    return f"{named(entity, edition)}InPart"


def anyhow(entity: AnyEntity, edition: Edition = ONE_TWO) -> Schema:
    """An object, whole or in part."""
    return {"anyOf": [ref(named(entity, edition)), ref(partial(entity, edition))]}


def components() -> dict[str, Schema]:
    """Every class of every edition, whole and in part, and what they are made of."""
    found: dict[str, Schema] = {REFERENCE: reference()}
    for part in CARRIED.values():
        found[part.rest] = part_schema(part)
    for edition in EDITIONS:
        for entity in SERVED:
            found[partial(entity, edition)] = {
                "description": f"Some properties of {entity.rest}, as `fields` or a lens leave it.",
                "type": "object",
                "properties": properties(entity, edition),
                "additionalProperties": False,
            }
            found[named(entity, edition)] = {
                "description": about(entity),
                **ref(partial(entity, edition)),
                "required": required(entity, edition),
            }
    return found


SERVED: Final = tuple(e for e in ROSTERING if e not in (Role, UserProfile))
"""The entities that have collections."""


def about(entity: AnyEntity) -> str:
    """What a class is."""
    return (entity.__doc__ or "").strip().splitlines()[0]


def reference() -> Schema:
    """A reference: exactly href, sourcedId and type."""
    nouns = sorted({entity.noun for entity in BY_FILE.values()})
    return {
        "description": "Where another record is read.",
        "type": "object",
        "properties": {"href": URI, "sourcedId": TEXT, "type": {"type": "string", "enum": nouns}},
        "required": ["href", "sourcedId", "type"],
        "additionalProperties": False,
    }


def properties(entity: AnyEntity, edition: Edition = ONE_TWO) -> dict[str, Schema]:
    """The properties of a class, in the order in which they are sent."""
    own = {
        str(column.json): said(column, edition)
        for column in entity.stored()
        if column.json is not None and not column.extension and column not in edition.unknown
    }
    children = {"children": many(ref(REFERENCE))} if entity in PARENTS else {}
    carried = parts(edition) if entity is User else {}
    first = {"sourcedId": own["sourcedId"], "status": own["status"], "dateLastModified": INSTANT}
    return first | {METADATA: metadata(entity)} | own | children | carried


def parts(edition: Edition) -> dict[str, Schema]:
    """What a user is elsewhere: roles and profiles, or in 1.1 one role, and orgs."""
    if edition.one_role:
        vocabulary = edition.vocabularies[Role.role]
        shapes = ({"type": "string", "enum": [*vocabulary.words]}, many(ref(REFERENCE)))
        return dict(zip(parts_of(edition), shapes, strict=True))
    return {name: many(ref(part.rest)) for name, part in CARRIED.items()}


def required(entity: AnyEntity, edition: Edition = ONE_TWO) -> list[str]:
    """What a whole object always has."""
    own = [
        str(column.json)
        for column in entity.stored()
        if (column.required or column in edition.always) and is_always_said(column, edition)
    ]
    carried = ["roles"] if not edition.one_role else [*parts_of(edition)]
    left = [name for name in own if name not in BEFORE]
    return [*BEFORE, *left, *(carried if entity is User else [])]


def is_always_said(column: AnyColumn, edition: Edition) -> bool:
    """Whether a value that is always stored is always shown."""
    if column.json is None or column in edition.unknown:
        return False
    if column == User.username:  # wiped by an erasure; 1.1 has it as a blank then
        return column in edition.always
    vocabulary = edition.vocabularies.get(column)
    return vocabulary is None or vocabulary.other is not None


def metadata(entity: AnyEntity) -> Schema:
    """What stands beside the standard; a district may send more."""
    named = [f"`{column.json}`" for column in entity.stored() if column.extension]
    declared = f" Declared: {', '.join(named)}." if named else ""
    return {"type": "object", "description": f"What a district adds to the class.{declared}"}


def part_schema(part: AnyEntity) -> Schema:
    """A part of a user; the properties of a credential stand in its list."""
    columns = [column for column in part_columns(part) if column.json is not None]
    flat = {str(column.json): said(column) for column in columns}
    inner = {n.removeprefix(CREDENTIALS): s for n, s in flat.items() if n.startswith(CREDENTIALS)}
    outer = {name: schema for name, schema in flat.items() if not name.startswith(CREDENTIALS)}
    if part is UserProfile:
        credential = {"type": "object", "properties": inner, "additionalProperties": False}
        outer = {"profileId": URI} | outer | {"credentials": many(credential)}
    always = [str(c.json) for c in columns if c.required and c.json in outer]
    return {
        "description": about(part),
        "type": "object",
        "properties": outer,
        "required": (["profileId"] if part is UserProfile else []) + always,
        "additionalProperties": False,
    }


def said(column: AnyColumn, edition: Edition = ONE_TWO) -> Schema:
    """A property with its description."""
    closed = edition.vocabularies.get(column)
    schema = shape(column) if closed is None else word(closed.words, extensible=False)
    return schema | ({"description": column.doc} if column.doc and "$ref" not in schema else {})


def shape(column: AnyColumn) -> Schema:
    """How the face of a value looks (`schemas.rest.faces`)."""
    match column:
        case Key() | Ref() if is_profile(column):
            return URI
        case Key() | Text():
            return TEXT
        case Texts():
            return many(TEXT)
        case Pairs(left=left, right=right):
            return many(
                {
                    "type": "object",
                    "properties": {left: TEXT, right: TEXT},
                    "required": [left, right],
                    "additionalProperties": False,
                }
            )
        case Choice(words=words, extensible=extensible):
            return word(words, extensible=extensible)
        case Choices(words=words, extensible=extensible):
            return many(word(words, extensible=extensible))
        case Flag():
            return {"type": "string", "enum": ["true", "false"]}
        case Day():
            return {"type": "string", "format": "date"}
        case Instant():
            return INSTANT
        case Year():
            return {"type": "string", "pattern": "^[0-9]{4}$"}
        case Whole():
            return {"type": "integer"}
        case Decimal():
            return {"type": "number"}
        case Ref():
            return ref(REFERENCE)
        case Refs():
            return many(ref(REFERENCE))
        case _:
            assert_never(column)


def many(item: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": item}


def word(words: Iterable[str], *, extensible: bool) -> Schema:
    """A word of a vocabulary, or an extension of it."""
    listed: Schema = {"type": "string", "enum": [*words]}
    if not extensible:
        return listed
    return {"anyOf": [listed, {"type": "string", "pattern": EXTENSION}]}


# --- The grammar of filters ----------------------------------------------------------------

ANY: Final = "(?:=|!=|>=|<=|>|<|~)"
OF_LIST: Final = "(?:=|!=|~)"
ORDER: Final = "(?:=|!=|>=|<=|>|<)"
DATE: Final = (
    "(?:19|20)[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    "|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
)
TIME: Final = r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3})?Z"
QUOTED: Final = r"(?:[^'\u0000=!<>~]|'')*"
NUMERAL: Final = r"-?[0-9]{1,9}(?:\.[0-9]{1,4})?"
NAME: Final = "[A-Za-z0-9_]{1,32}"


def filter_schema(entity: AnyEntity, edition: Edition = ONE_TWO) -> Schema:
    """What may be asked of the records of a class: every path, with the values it is compared with.

    The pattern is what a client should write. The hub understands more: blanks around predicates,
    lower case words, bare numbers, up to twenty clauses.
    """
    clause = f"(?:{'|'.join(clauses(entity, edition))})"
    return {
        "type": "string",
        "maxLength": LENGTH,
        "pattern": f"^{clause}(?: (?:AND|OR) {clause})?$",
    }


def clauses(entity: AnyEntity, edition: Edition) -> list[str]:
    """A comparison, by the kinds of values that the properties have."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for path, prop in BY_EDITION[edition][entity].items():
        kinds.setdefault(compared(prop), []).append(path.replace(".", r"\."))
    kinds.setdefault((ANY, QUOTED), []).append(rf"{METADATA}\.{NAME}")
    return [
        f"(?:{'|'.join(paths)}){predicate}'{value}'" for (predicate, value), paths in kinds.items()
    ]


def compared(prop: Property) -> tuple[str, str]:
    """The predicates and the values of a property."""
    match prop:
        case OfPart(of_it=inner):
            return compared(inner)
        case Modified():
            return ORDER, f"{DATE}(?:{TIME})?"
        case Own(column=column):
            return compared_column(column)
        case Half() | OfChild() | Never() | OfOrgs() | Linked(column=Refs()):
            return OF_LIST, QUOTED
        case Linked() | Undeclared() | FirstRole():
            return ANY, QUOTED
        case _:
            assert_never(prop)


def compared_column(column: AnyColumn) -> tuple[str, str]:
    """The same of a column."""
    match column:
        case Texts() | Choices() | Pairs() | Refs():
            return OF_LIST, QUOTED
        case Flag():
            return ORDER, "(?:true|false)"
        case Day():
            return ORDER, DATE
        case Instant():
            return ORDER, f"{DATE}(?:{TIME})?"
        case Whole() | Decimal():
            return ORDER, NUMERAL
        case Key() | Text() | Choice() | Year() | Ref():
            return ANY, QUOTED
        case _:
            assert_never(column)
