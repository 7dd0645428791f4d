"""How every process logs: one event per line, as JSON for machines or coloured for people.

structlog writes through the standard library, so that gunicorn, Dramatiq and every other package
end up in the same lines. Events carry ids and counts; who logs keeps personal values out.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

import structlog
from structlog.typing import Processor

Format = Literal["console", "json"]

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
            foreign_pre_chain=SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *rendering(log_format, colors=wants_colors(stream, os.environ)),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a forked process may configure again
    )


def rendering(log_format: Format, *, colors: bool) -> list[Processor]:
    """The last steps: from an event to its line."""
    if log_format == "console":
        plain = structlog.dev.plain_traceback  # the rich one prints local variables
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]


def wants_colors(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Colours for a terminal; NO_COLOR forbids them, FORCE_COLOR tells of a terminal behind us."""
    if env.get("NO_COLOR"):
        return False
    return stream.isatty() or bool(env.get("FORCE_COLOR"))
