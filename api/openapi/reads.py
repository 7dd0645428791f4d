"""The reads of the rostering service, described from the table of operations."""

from typing import Any, Final

from api.errors import MINOR_1P1
from api.openapi.classes import anyhow, filter_schema, many
from api.openapi.described import IF_NONE_MATCH, TEXT, Parameter, Told
from api.rosters.operations import FIRST, SERVICE, Operation
from api.rosters.paging import CURSOR, INT32
from schemas.rest.editions import Edition
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


CURSOR_OF: Final = Parameter(
    CURSOR,
    "Where the page begins, in the default order: taken from `next` in Link of the page before.",
    TEXT,
)


def told(operation: Operation, page_default: int, page_max: int) -> Told:
    """What a read takes and answers."""
    entity, edition = operation.entity, operation.edition
    shape = anyhow(entity, edition)
    remarks = {"statusInfoSet": many(status_1p1())} if edition.lenient else {}
    body: dict[str, Any] = {
        "type": "object",
        "properties": {operation.key: shape if operation.single else many(shape)} | remarks,
        "required": [operation.key],
        "additionalProperties": False,
    }
    fields = listed(Parameter("fields", *fields_of(entity, edition)))
    if operation.single:
        return Told({200: body, 304: None}, (fields, AS_OF, IF_NONE_MATCH), headers=("ETag",))
    return Told(
        {200: body, 304: None},
        (
            limit(page_default, page_max),
            OFFSET,
            CURSOR_OF,
            sort(entity),
            ORDER_BY,
            wanted(entity, edition),
            fields,
            AS_OF,
            IF_NONE_MATCH,
        ),
        headers=("ETag", "Link", "X-Total-Count"),
    )


def status_1p1() -> dict[str, Any]:
    """One status of 1.1: a failure, or a warning beside records."""
    return {
        "type": "object",
        "properties": {
            "imsx_codeMajor": {"type": "string", "enum": ["success", "failure"]},
            "imsx_severity": {"type": "string", "enum": ["warning", "error"]},
            "imsx_description": {"type": "string"},
            "imsx_codeMinor": {"type": "string", "enum": [*MINOR_1P1]},
        },
        "required": ["imsx_codeMajor", "imsx_severity", "imsx_description", "imsx_codeMinor"],
        "additionalProperties": False,
    }


def listed(fields: Parameter) -> Parameter:
    """With commas between; given several times it is understood too."""
    return Parameter(fields.name, fields.doc, fields.schema, explode=False)


def fields_of(entity: AnyEntity, edition: Edition) -> tuple[str, dict[str, Any]]:
    """The names of the top-level properties; 1.1 answers with all where one is unknown."""
    names = sorted(top_level(entity, edition))
    if edition.lenient:
        doc = f"These properties and no others, of {', '.join(names)}. Where one is unknown, all."
        return doc, {"type": "array", "items": TEXT, "minItems": 1}
    one = {"type": "string", "enum": names}
    return "These properties and no others.", {"type": "array", "items": one, "minItems": 1}


def limit(default: int, largest: int) -> Parameter:
    """How many records are wanted."""
    schema = {"type": "integer", "minimum": 1, "default": default}
    return Parameter("limit", f"Records on a page; more than {largest} are cut.", schema)


def sort(entity: AnyEntity) -> Parameter:
    """What the records are ordered by."""
    doc = f"A property of {entity.rest}, or several with commas; one that is unknown is passed over"
    return Parameter("sort", f"{doc}.", {"type": "string", "examples": ["dateLastModified"]})


def wanted(entity: AnyEntity, edition: Edition) -> Parameter:
    """Which records are wanted."""
    doc = "Comparisons of properties, as `status='active' AND dateLastModified>'2026-04-01'`."
    return Parameter("filter", doc, filter_schema(entity, edition))


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
