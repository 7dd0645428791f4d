"""How every process logs: one event per line, as JSON for machines or coloured for people.

structlog writes through the standard library, so that gunicorn, Dramatiq and every other package
end up in the same lines. What may stand in a line is listed here: ids, counts, words of ours. A
field that is not on the list is left out, and of an exception its place and its kind are told, for
a database quotes rows in its messages.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

import psycopg
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from schemas.errors import RosterHubError

Format = Literal["console", "json"]

FIELDS = frozenset(
    {
        *("event", "level", "logger", "timestamp", "exception", "stack", "left_out", "pid"),
        *("tenant_id", "run_id", "upload_id", "request_id", "key", "client", "secret_id"),
        *("export_id", "schedule_id", "bytes", "desk", "kind", "queues"),
        *("method", "route", "status", "ms", "number", "port"),
        *("attempt", "fence", "stage", "state", "version", "findings", "file", "done", "total"),
        *("runs", "rows", "folders", "entries", "seconds", "counts"),
        *("error", "sqlstate", "at", "where"),
    }
)
"""Every field that a line may have. None of them ever holds what a client or a file said."""

OURS = ("api", "deploy", "loadtests", "migrations", "pipeline", "schemas", "workers")
TRACEBACK = "Traceback (most recent call last):"
KIND = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
TELLING = (OSError, ImportError, psycopg.OperationalError)
"""Exceptions whose first line is about this machine and its servers."""


def only_fields(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Leave out what is not on the list, and say so."""
    if event.keys() <= FIELDS:
        return event
    kept = {name: value for name, value in event.items() if name in FIELDS}
    return kept | {"left_out": sorted(map(str, event.keys() - FIELDS))}


def words_of_others(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """The first line of what another package says; exceptions in it are named, not quoted."""
    given = event.pop("positional_args", None)
    text = str(plain(event["_record"].msg))
    if given:
        text %= given if isinstance(given, Mapping) else tuple(map(plain, given))
    event["event"] = brief(text)
    return event


def brief(text: str) -> str:
    """The first line; of a traceback that somebody made a text of, also what kind it ends with."""
    first = text.partition("\n")[0]
    kind = kind_at_the_end(text)
    return f"{first} … {kind}" if kind else first


def kind_at_the_end(text: str) -> str | None:
    """What kind of exception a traceback ends with, where the text has one."""
    kind = text.strip().rpartition("\n")[2].partition(":")[0]
    return kind if TRACEBACK in text and KIND.fullmatch(kind) else None


def plain(value: object) -> object:
    """A value that stands in a text."""
    return named(value) if isinstance(value, BaseException) else value


def place_of_exception(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """An exception as its place and its kind, causes first."""
    error = raised(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = "".join(told(error)).rstrip()
    return event


def raised(info: object) -> BaseException | None:
    """The exception that is meant by what a logger was given."""
    match info:
        case BaseException():
            return info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exception()
        case _:
            return None


def told(error: BaseException) -> Iterator[str]:
    """The steps that led to an exception, behind those of its cause."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from told(before)
        yield "\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{named(error)}\n"


def named(error: BaseException) -> str:
    """The kind of an exception; its words where they hold no value of a client or a row."""
    kind = type(error)
    ours = kind.__module__.partition(".")[0] in OURS and not isinstance(error, RosterHubError)
    if ours or isinstance(error, TELLING):
        return f"{kind.__qualname__}: {str(error).partition(chr(10))[0]}"
    cause = kind_at_the_end(str(error))  # gunicorn raises what a lifespan has said
    return f"{kind.__qualname__} … {cause}" if cause else kind.__qualname__


SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
"""What happens to an event, wherever it comes from."""


def configure(log_format: Format, level: str, stream: TextIO | None = None) -> None:
    """Log to the stream (standard error) from now on; the last call decides."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[words_of_others, *SHARED],
            pass_foreign_args=True,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                place_of_exception,
                only_fields,
                rendering(log_format, colors=wants_colors(stream, os.environ)),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *([straight_to(stream)] if log_format == "json" else []),
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a forked process may configure again
    )


def straight_to(stream: TextIO) -> Processor:
    """Lines about requests, one for each, have a short way: they name no exception and no place.

    What the long way does to them costs as much as half of a request that is answered from memory.
    """
    written_as = json.JSONEncoder(ensure_ascii=False).encode

    def written(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        if logger.name != ACCESS:
            return event
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        line = {**event, "level": name, "logger": ACCESS, "timestamp": now}
        stream.write(f"{written_as(only_fields(logger, name, line))}\n")
        stream.flush()
        raise structlog.DropEvent

    return written


ACCESS = "rosterhub.access"


def rendering(log_format: Format, *, colors: bool) -> Processor:
    """The last step: from an event to its line."""
    if log_format == "console":
        plain = structlog.dev.plain_traceback  # the rich one prints local variables
        return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)
    return structlog.processors.JSONRenderer(ensure_ascii=False)


def wants_colors(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Colours for a terminal; NO_COLOR forbids them, FORCE_COLOR tells of a terminal behind us."""
    if env.get("NO_COLOR"):
        return False
    return stream.isatty() or bool(env.get("FORCE_COLOR"))
