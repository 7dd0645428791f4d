"""What a responder says of itself for the OpenAPI document, where it stands.

Path, method, summary, credentials and common refusals are known without it: from the route, the
docstring and the needs of the resource. Said here is what only the code of the responder knows: the
parameters that it looks at, its body, its answer, and what else it may refuse.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, TypeAlias, TypeVar

from api.caller import Needs
from api.cursors import LIMIT, LIMIT_MAX
from api.language import LANGUAGES

Schema: TypeAlias = Mapping[str, Any]
Responder = TypeVar("Responder", bound=Callable[..., Any])

TOLD: Final = "told"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or a header."""

    name: str
    doc: str
    schema: Schema
    place: Literal["query", "header"] = "query"
    required: bool = False
    explode: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list, `{"items": […], "next": …}`; `of` is the shape of an item, or several.

    `ends`: whether `next` is null on the last page. `lines`: the media type under which the client
    can have an item on each line instead.
    """

    of: Any
    ends: bool = True
    lines: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that is no JSON: a file to keep, or events."""

    media_type: str


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent. `kinds`: shapes by media type, each a type or a schema."""

    kinds: Mapping[str, Any]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Told:
    """All of it. `answers`: shapes by status, None where there is no body.

    `needs`: what it asks of its caller beside what its resource does.
    """

    answers: Mapping[int, Any]
    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    refusals: frozenset[int] = frozenset()
    headers: tuple[str, ...] = ()
    needs: Needs | None = None


def described(
    answer: Any = None,  # noqa: ANN401 -- a type, of whatever kind
    *,
    status: int = HTTPStatus.OK,
    also: Mapping[int, Any] | None = None,
    query: Iterable[Parameter] = (),
    body: Any = None,  # noqa: ANN401 -- same
    refusals: Iterable[int] = (),
    headers: Iterable[str] = (),
    needs: Needs | None = None,
) -> Callable[[Responder], Responder]:
    """Say it of the responder that follows."""
    told = Told(
        {int(status): answer, **(also or {})},
        tuple(query),
        body if isinstance(body, Body | None) else Body({"application/json": body}),
        frozenset(map(int, refusals)),
        tuple(headers),
        needs,
    )

    def say(responder: Responder) -> Responder:
        vars(responder)[TOLD] = told
        return responder

    return say


def told_by(responder: object) -> Told | None:
    """What a responder says of itself."""
    return getattr(responder, TOLD, None)


# --- Parameters that many have -------------------------------------------------------------

TEXT: Schema = {"type": "string", "minLength": 1, "pattern": r"^[^\u0000]+$"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
UUID_TEXT: Final = {"type": "string", "format": "uuid"}
DAY: Schema = {"type": "string", "format": "date"}


def a_text(name: str, doc: str, **more: Any) -> Parameter:  # noqa: ANN401 -- fields of Parameter
    """Any text."""
    return Parameter(name, doc, TEXT, **more)


def a_word(name: str, allowed: Iterable[str], doc: str, **more: Any) -> Parameter:  # noqa: ANN401
    """One of a few words."""
    return Parameter(name, doc, {"type": "string", "enum": [*allowed]}, **more)


def some_words(name: str, allowed: Iterable[str], doc: str) -> Parameter:
    """Some of a few words, with commas between."""
    one = {"type": "string", "enum": [*allowed]}
    schema = {"type": "array", "items": one, "minItems": 1}
    return Parameter(name, doc, schema, explode=False)


def an_instant(name: str, doc: str) -> Parameter:
    """An instant with its offset."""
    return Parameter(name, doc, INSTANT)


def a_number(name: str, doc: str, *, least: int = 0, most: int | None = None) -> Parameter:
    """A whole number."""
    limits = {"minimum": least} | ({} if most is None else {"maximum": most})
    return Parameter(name, doc, {"type": "integer", **limits})


PAGED: Final = (
    Parameter(
        "limit",
        f"Items on a page; more than {LIMIT_MAX} are cut.",
        {"type": "integer", "minimum": 1, "default": LIMIT},
    ),
    a_text("cursor", "Where the page begins: taken from `next` of the page before."),
)
LANGUAGE: Final = a_word("lang", LANGUAGES, "The language; else Accept-Language decides.")
ONCE: Final = Parameter(
    "Idempotency-Key",
    "Your name for this attempt: sent again, it answers with what it made the first time.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "header",
)
IF_MATCH: Final = Parameter(
    "If-Match",
    "The ETag of what was read: refuses to undo a change since.",
    {"type": "string"},
    "header",
)
IF_NONE_MATCH: Final = Parameter(
    "If-None-Match", "The ETag of what you have.", {"type": "string"}, "header"
)
RESUMED: Final = Parameter(
    "Last-Event-ID", "The id of the last event seen.", {"type": "string"}, "header"
)
