"""OpenAPI 3.1 of everything that the hub serves, from the routes and from what stands behind them.

A route is described by its resource: what it needs says who may, a responder's docstring is its
summary, what it says of itself (`described`) are its parameters, its body and its answer.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias, cast

from pydantic import TypeAdapter

from api import errors
from api.caller import DISTRICT, Guarded, Needs
from api.cors import METHODS
from api.history import FILES
from api.openapi import answers, classes, reads
from api.openapi.described import UUID_TEXT, Body, Listed, Parameter, Stream, Told, told_by
from api.rosters.operations import ROOT
from api.rosters.reading import CODE, Roster
from schemas.rest.editions import ONE_TWO
from schemas.scopes import CLIENT_SCOPES, opened

Json: TypeAlias = dict[str, Any]
Mode: TypeAlias = Literal["validation", "serialization"]
Schemas: TypeAlias = Callable[[Any, Mode], Json]

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
NEXT: Final = {
    "anyOf": [{"type": "string"}, {"type": "null"}],
    "description": "The address of the next page; null: there is none.",
}
GOING_ON: Final = {"type": "string", "description": "The address of what comes then."}
PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")

TEXT: Final = {"type": "string", "minLength": 1}
ENTITY: Final = {"type": "string", "enum": [*FILES]}
NAMED_BY_UUID: Final = (
    *("run_id", "preview_id", "webhook_id", "erasure_id", "export_id", "schedule_id"),
)
NAMED: Final[Mapping[str, Json]] = {
    **dict.fromkeys(NAMED_BY_UUID, UUID_TEXT),
    "entity": ENTITY,
    "entity_type": ENTITY,
    "version": {"type": "integer", "minimum": 1},
}
"""How the identifiers of addresses look; any other is text."""

OFTEN: Final = frozenset({400, 414, 429, 431, 500, 503})
GUARDED: Final = frozenset({401, 403, 404})
WITH_BODY: Final = frozenset({411, 413, 415, 422})
"""The refusals that need not be said."""

HEADERS: Final[Mapping[str, Json]] = {
    "ETag": {"description": "Send it back as If-None-Match.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "This attempt was made before.",
        "schema": {"type": "string"},
    },
    "Content-Disposition": {
        "description": "What the file is called.",
        "schema": {"type": "string"},
    },
    "Content-Range": {
        "description": "Which bytes of how many these are.",
        "schema": {"type": "string"},
    },
    "Link": {"description": "The pages around this one (RFC 8288).", "schema": {"type": "string"}},
    "Location": {"description": "Where it is read.", "schema": {"type": "string"}},
    "Repr-Digest": {
        "description": "SHA-256 of the whole file (RFC 9530).",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "Seconds until another try may help.",
        "schema": {"type": "integer"},
    },
    "X-RosterHub-Data-As-Of": {
        "description": "The version that the answer knows of, and since when that stands.",
        "schema": {"type": "string", "pattern": '^version=[0-9]+(, instant="[^"]+")?$'},
    },
    "X-RosterHub-Version": {
        "description": "The version that the file shows.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-Total-Count": {
        "description": "Records that match, on all pages.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
TAGS: Final[Mapping[str, str]] = {
    "rostering": "OneRoster 1.2 rostering: every read of it.",
    "rostering 1.1": "The same for systems that speak OneRoster 1.1.",
}


@dataclass(frozen=True, slots=True)
class Site:
    """The installation that is described."""

    base: str
    token_url: str
    page_default: int
    page_max: int


@dataclass(frozen=True, slots=True)
class Operation:
    """A method at an address."""

    path: str
    method: str
    id: str
    tag: str
    summary: str
    details: str
    resource: Guarded
    told: Told

    @property
    def standard(self) -> bool:
        """Whether it answers as the binding does."""
        return self.path.startswith(errors.STANDARD)

    @property
    def identifiers(self) -> list[str]:
        """The names in the address."""
        return PLACEHOLDER.findall(self.path)


@dataclass(slots=True)
class Draft:
    """A document on its way: schemas are collected, and named when all of them are known."""

    used: dict[tuple[int, Mode], Any] = field(default_factory=dict)
    refusals: dict[str, Json] = field(default_factory=dict)


def described_of(routes: Mapping[str, Guarded], site: Site) -> list[Operation]:
    """Every operation of the app."""
    return [
        operation
        for path, resource in routes.items()
        for operation in operations(path, resource, site)
    ]


def operations(path: str, resource: Guarded, site: Site) -> Iterator[Operation]:
    """What can be asked at an address."""
    for method in METHODS:
        responder = getattr(resource, f"on_{method.lower()}", None)
        if responder is None:
            continue
        if isinstance(resource, Roster):
            yield read(resource, site)
            continue
        first, _, rest = (inspect.getdoc(responder) or "").partition("\n")
        yield Operation(
            path,
            method.lower(),
            name_of(method, path),
            tag_of(path),
            first,
            " ".join(rest.split()),
            resource,
            told_by(responder) or Told({200: Any}),
        )


def read(resource: Roster, site: Site) -> Operation:
    """A read of the rostering service."""
    asked = resource.operation
    return Operation(
        reads.path(asked),
        "get",
        asked.id if asked.edition is ONE_TWO else f"{asked.id}In1p1",
        "rostering" if asked.edition is ONE_TWO else "rostering 1.1",
        reads.summary(asked),
        "",
        cast("Guarded", resource),
        reads.told(asked, site.page_default, site.page_max),
    )


def name_of(method: str, path: str) -> str:
    """`GET /api/v1/imports/{run_id}/diff.csv` -> `getImportsByRunIdDiffCsv`."""
    plain = path.removeprefix("/api/v1/").replace("{", "by_").replace("}", "")
    return method.lower() + "".join(w[0].upper() + w[1:] for w in re.split(r"[\W_]+", plain) if w)


def tag_of(path: str) -> str:
    """What an address is about."""
    if path.startswith("/api/v1/"):
        return path.split("/")[3].partition(".")[0]
    if path.startswith(ROOT):
        return "rostering"
    return "mappings" if path.startswith(errors.STANDARD) else "hub"


# --- The documents -------------------------------------------------------------------------


def document(routes: Mapping[str, Guarded], site: Site) -> Json:
    """Everything."""
    return written(described_of(routes, site), site, site.base, "")


def discovery(routes: Mapping[str, Guarded], site: Site) -> Json:
    """The rostering service alone: what a consumer discovers."""
    found = [
        each
        for each in described_of(routes, site)
        if isinstance(each.resource, Roster) and each.tag == "rostering"
    ]
    return written(found, site, site.base + ROOT, ROOT)


def written(found: list[Operation], site: Site, server: str, root: str) -> Json:
    """A document of these operations, with addresses from `root` on."""
    draft = Draft()
    for each in found:
        collect(draft, each)
    schemas, named = resolved(draft)
    paths: dict[str, Json] = {}
    for each in found:
        place = paths.setdefault(each.path.removeprefix(root), {})
        place[each.method] = operation(each, draft, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "RosterHub",
            "version": CODE,
            "description": "OneRoster packages of school districts in, OneRoster 1.2 REST out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "tags": tags(found),
        "paths": paths,
        "components": {
            "schemas": used(paths, draft.refusals, named | classes.components()),
            "responses": draft.refusals,
            "headers": dict(HEADERS),
            "securitySchemes": schemes(site),
        },
    }


def tags(found: list[Operation]) -> list[Json]:
    """What the operations are about, as the modules of their resources say it."""
    told: dict[str, str] = {}
    for each in found:
        module = inspect.getmodule(type(each.resource))
        said = TAGS.get(each.tag) or ((module and module.__doc__) or "").partition("\n")[0]
        told.setdefault(each.tag, said)
    return [{"name": name, "description": said} for name, said in told.items()]


def used(paths: Json, refusals: Json, known: Mapping[str, Json]) -> dict[str, Json]:
    """The schemas that something refers to, and those that they refer to."""
    wanted: dict[str, Json] = {}
    waiting = [*references(paths), *references(refusals)]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted[name] = known[name]
            waiting += references(known[name])
    return dict(sorted(wanted.items()))


def references(value: object) -> Iterator[str]:
    """The names of the schemas that are referred to."""
    match value:
        case {"$ref": str(text)} if text.startswith("#/components/schemas/"):
            yield text.rpartition("/")[2]
        case _:
            pass
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from references(part)


# --- Schemas -------------------------------------------------------------------------------


def collect(draft: Draft, each: Operation) -> None:
    """Note the types whose schemas are needed."""
    for shape in each.told.answers.values():
        for one in parts_of(shape):
            note(draft, one, "serialization")
    for shape in (each.told.body or Body({})).kinds.values():
        note(draft, shape, "validation")
    note(draft, answers.Problem, "serialization")
    note(draft, answers.TokenRefusal, "serialization")


def parts_of(shape: object) -> tuple[object, ...]:
    """The shapes that an answer is made of."""
    match shape:
        case Listed(of=tuple(several)):
            return several
        case Listed(of=one):
            return (one,)
        case _:
            return (shape,)


def note(draft: Draft, shape: object, mode: Mode) -> None:
    """A type, unless it is a schema already."""
    if shape is not None and not isinstance(shape, dict | Stream):
        draft.used[id(shape), mode] = shape


def resolved(draft: Draft) -> tuple[Schemas, dict[str, Json]]:
    """The schema of each type, and the named ones that they refer to."""
    adapters = [(key, mode, TypeAdapter(shape)) for (key, mode), shape in draft.used.items()]
    found, kept = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")

    def schema(shape: Any, mode: Mode) -> Json:  # noqa: ANN401 -- a type, of whatever kind
        return shape if isinstance(shape, dict) else found[id(shape), mode]

    return schema, kept.get("$defs", {})


# --- An operation --------------------------------------------------------------------------


def operation(each: Operation, draft: Draft, schemas: Schemas) -> Json:
    """One operation of the document."""
    said: Json = {
        "operationId": each.id,
        "tags": [each.tag],
        "summary": each.summary,
    }
    if each.details:
        said["description"] = each.details
    said["security"] = security(each)
    said["parameters"] = [
        *(identifier(name) for name in each.identifiers),
        *(parameter(given) for given in each.told.query),
    ]
    if each.told.body is not None:
        said["requestBody"] = body(each.told.body, schemas)
    said["responses"] = responses(each, draft, schemas)
    return said


def identifier(name: str) -> Json:
    """An identifier of the address."""
    return {"name": name, "in": "path", "required": True, "schema": NAMED.get(name, TEXT)}


def parameter(given: Parameter) -> Json:
    """A parameter of the query, or a header."""
    said: Json = {
        "name": given.name,
        "in": given.place,
        "description": given.doc,
        "required": given.required,
        "schema": given.schema,
    }
    return said if given.explode else said | {"style": "form", "explode": False}


def body(given: Body, schemas: Schemas) -> Json:
    """What is sent."""
    content = {kind: {"schema": schemas(one, "validation")} for kind, one in given.kinds.items()}
    return {"required": given.required, "content": content}


def responses(each: Operation, draft: Draft, schemas: Schemas) -> Json:
    """Every answer that there can be."""
    found = {
        str(status): success(each, status, shape, schemas)
        for status, shape in each.told.answers.items()
    }
    return found | {
        str(status): refusal(each, status, draft)
        for status in sorted(refusals(each))
        if str(status) not in found
    }


def success(each: Operation, status: int, shape: object, schemas: Schemas) -> Json:
    """What was asked for."""
    said: Json = {"description": HTTPStatus(status).phrase}
    if each.told.headers:
        said["headers"] = {n: {"$ref": f"#/components/headers/{n}"} for n in each.told.headers}
    match shape:
        case None:
            return said
        case Stream(media_type=kind):
            schema: Json = {"type": "string"}
        case Listed():
            kind, schema = JSON, listed(shape, schemas)
        case _:
            kind, schema = JSON, schemas(shape, "serialization")
    said["content"] = {kind: {"schema": schema}}
    if isinstance(shape, Listed) and shape.lines is not None:
        said["content"][shape.lines] = {"schema": {"type": "string"}}
    return said


def listed(shape: Listed, schemas: Schemas) -> Json:
    """A page of a list."""
    several = [schemas(one, "serialization") for one in parts_of(shape)]
    item = several[0] if len(several) == 1 else {"anyOf": several}
    following = NEXT if shape.ends else GOING_ON
    return {
        "type": "object",
        "properties": {"items": classes.many(item), "next": following},
        "required": ["items", "next"],
    }


def refusals(each: Operation) -> frozenset[int]:
    """The refusals of an operation."""
    guarded = GUARDED if each.resource.needs is not None else frozenset[int]()
    named = frozenset({404}) if each.identifiers else frozenset[int]()
    sent = WITH_BODY if each.told.body is not None else frozenset[int]()
    return OFTEN | guarded | named | sent | each.told.refusals


def refusal(each: Operation, status: int, draft: Draft) -> Json:
    """A refusal, described once for all who refuse in the same words."""
    if each.path.startswith(f"{errors.ROOT_1P1}/"):
        kind, name, schema = JSON, "StatusInfoSet", status_info_set()
    elif each.standard:
        kind, name, schema = JSON, "StatusInfo", status_info()
    elif each.path == errors.TOKEN:
        kind, name, schema = JSON, "TokenRefusal", classes.ref("TokenRefusal")
    else:
        kind, name, schema = PROBLEM, "Problem", classes.ref("Problem")
    said: Json = {
        "description": HTTPStatus(status).phrase,
        "content": {kind: {"schema": schema}},
    }
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        said["headers"] = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    draft.refusals[f"{name}{status}"] = said
    return {"$ref": f"#/components/responses/{name}{status}"}


def status_info_set() -> Json:
    """The same as 1.1 has it: a set of one."""
    return {
        "type": "object",
        "properties": {"statusInfoSet": classes.many(reads.status_1p1()) | {"minItems": 1}},
        "required": ["statusInfoSet"],
        "additionalProperties": False,
    }


def status_info() -> Json:
    """The status object of the binding."""
    minor = {
        "type": "object",
        "properties": {
            "imsx_codeMinorFieldName": {"type": "string"},
            "imsx_codeMinorFieldValue": {"type": "string", "enum": sorted(errors.IMSX_CODES)},
        },
        "required": ["imsx_codeMinorFieldName", "imsx_codeMinorFieldValue"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {
            "imsx_codeMajor": {"const": "failure"},
            "imsx_severity": {"const": "error"},
            "imsx_description": {"type": "string"},
            "imsx_CodeMinor": {
                "type": "object",
                "properties": {"imsx_codeMinorField": classes.many(minor) | {"minItems": 1}},
                "required": ["imsx_codeMinorField"],
                "additionalProperties": False,
            },
        },
        "required": ["imsx_codeMajor", "imsx_severity"],
        "additionalProperties": False,
    }


# --- Who may -------------------------------------------------------------------------------


def security(each: Operation) -> list[dict[str, list[str]]]:
    """Any of these opens it; none: nobody is asked who he is."""
    needs = each.resource.needs
    if needs is None:
        return [{"Basic": []}] if each.path == errors.TOKEN else []
    own = sorted({n.scope for n in (needs, each.told.needs) if n is not None and n.scope})
    by_key: list[dict[str, list[str]]] = [{"Key": [*own]}, {"KeyHeader": [*own]}]
    by_administrator = [{**one, "District": []} for one in by_key]
    by_token: list[dict[str, list[str]]] = [{"OAuth2": [scope]} for scope in client_scopes(needs)]
    if needs.administrator:
        return by_administrator if needs.district else by_key
    return [*by_token, *by_key, *by_administrator]


def client_scopes(needs: Needs) -> list[str]:
    """The scopes with which a client may."""
    if needs.administrator:
        return []
    scope = needs.own or needs.scope
    wanted = needs.any_of or frozenset([scope] if scope else [])
    return [scope for scope in CLIENT_SCOPES if wanted & opened([scope])]


def schemes(site: Site) -> Json:
    """The ways to say who asks."""
    return {
        "OAuth2": {
            "type": "oauth2",
            "description": "A client's token (OAuth 2 client credentials).",
            "flows": {
                "clientCredentials": {
                    "tokenUrl": site.token_url,
                    "scopes": {scope: scope.rpartition("/")[2] for scope in CLIENT_SCOPES},
                }
            },
        },
        "Basic": {
            "type": "http",
            "scheme": "basic",
            "description": "The id and a secret of a client, in exchange for a token.",
        },
        "Key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of the district, of a client or of an administrator.",
        },
        "KeyHeader": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "The same where a client cannot send Authorization.",
        },
        "District": {
            "type": "apiKey",
            "in": "header",
            "name": DISTRICT,
            "description": "The district that an administrator's key speaks for.",
        },
    }
