"""The reads of the rostering service, described from the table of operations."""

from typing import Any, Final

from api.openapi.classes import filter_schema, many, partial, ref
from api.openapi.described import Parameter, Told
from api.rosters.operations import FIRST, SERVICE, Operation
from api.rosters.paging import INT32
from schemas.rest.editions import ONE_TWO
from schemas.rest.properties import top_level
from schemas.roster import AnyEntity

AS_OF: Final = Parameter(
    "asOf",
    "The roster as it was: the number of a version, or an instant at which one stood.",
    {
        "anyOf": [
            {"type": "integer", "minimum": 1},
            {"type": "string", "format": "date-time"},
        ]
    },
)
OFFSET: Final = Parameter(
    "offset",
    "Records to pass over.",
    {"type": "integer", "minimum": 0, "maximum": INT32, "default": 0},
)
ORDER_BY: Final = Parameter(
    "orderBy", "The direction of `sort`.", {"type": "string", "enum": ["asc", "desc"]}
)


def told(operation: Operation, page_default: int, page_max: int) -> Told:
    """What a read takes and answers. The shapes are those of 1.2; 1.1 is read as objects."""
    if operation.edition is not ONE_TWO:
        return plainly(operation, page_default, page_max)
    shape = {"anyOf": [ref(operation.entity.rest), ref(partial(operation.entity))]}
    body: dict[str, Any] = {
        "type": "object",
        "properties": {operation.key: shape if operation.single else many(shape)},
        "required": [operation.key],
        "additionalProperties": False,
    }
    fields = Parameter("fields", "These properties and no others.", fields_of(operation.entity))
    if operation.single:
        return Told({200: body, 304: None}, (listed(fields), AS_OF), headers=("ETag",))
    return Told(
        {200: body, 304: None},
        (
            limit(page_default, page_max),
            OFFSET,
            sort(operation.entity),
            ORDER_BY,
            wanted(operation.entity),
            listed(fields),
            AS_OF,
        ),
        headers=("ETag", "Link", "X-Total-Count"),
    )


def plainly(operation: Operation, page_default: int, page_max: int) -> Told:
    """The same of another edition, whose classes its own documents describe."""
    one = {"type": "object"}
    body = {
        "type": "object",
        "properties": {operation.key: one if operation.single else many(one)},
        "required": [operation.key],
    }
    text = {"type": "string"}
    asked = [Parameter("fields", "These properties and no others.", text)]
    if not operation.single:
        asked += [limit(page_default, page_max), OFFSET, ORDER_BY]
        asked += [Parameter("sort", "What the records are ordered by.", text)]
        asked += [Parameter("filter", "Which records are wanted.", text)]
    return Told({200: body, 304: None}, tuple(asked), headers=("ETag",))


def listed(fields: Parameter) -> Parameter:
    """With commas between; given several times it is understood too."""
    return Parameter(fields.name, fields.doc, fields.schema, explode=False)


def fields_of(entity: AnyEntity) -> dict[str, Any]:
    """The names of the top-level properties."""
    return {
        "type": "array",
        "items": {"type": "string", "enum": sorted(top_level(entity))},
        "minItems": 1,
    }


def limit(default: int, largest: int) -> Parameter:
    """How many records are wanted."""
    schema = {"type": "integer", "minimum": 1, "default": default}
    return Parameter("limit", f"Records on a page; more than {largest} are cut.", schema)


def sort(entity: AnyEntity) -> Parameter:
    """What the records are ordered by."""
    doc = f"A property of {entity.rest}, or several with commas; one that is unknown is passed over"
    return Parameter("sort", f"{doc}.", {"type": "string", "examples": ["dateLastModified"]})


def wanted(entity: AnyEntity) -> Parameter:
    """Which records are wanted."""
    doc = "Comparisons of properties, as `status='active' AND dateLastModified>'2026-04-01'`."
    return Parameter("filter", doc, filter_schema(entity))


def path(operation: Operation) -> str:
    """The address, with the names that the binding gives its identifiers."""
    text, root = operation.path, operation.edition.address(SERVICE)
    if operation.single:
        return f"{root}/{text}".replace(f"{{{FIRST}}}", "{sourcedId}")
    for parent in operation.parents:
        noun = parent.view.one[0].lower() + parent.view.one[1:]
        text = text.replace(f"{{{parent.parameter}}}", f"{{{noun}SourcedId}}")
    return f"{root}/{text}"


def summary(operation: Operation) -> str:
    """What it reads."""
    if operation.single:
        return f"One of {operation.path.partition('/')[0]}."
    if not operation.parents:
        return f"All {operation.path}, the deleted ones included."
    tail = operation.path.rpartition("/")[2]
    return f"The {tail} of {' in '.join(p.view.entity.noun for p in reversed(operation.parents))}."
