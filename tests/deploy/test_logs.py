"""One line per event, whoever logs it."""

import ast
import json
import logging
import traceback
from collections.abc import Iterator
from io import StringIO
from typing import get_args

import pytest
import structlog
from psycopg.errors import OperationalError, UniqueViolation

from deploy import logs
from schemas.events import Event
from schemas.settings import UnknownSetting
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave no trace in the processes of other tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []  # or the handlers of pytest would be closed
    yield
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def said(log_format: logs.Format, level: str = "info", stream: StringIO | None = None) -> StringIO:
    stream = stream or StringIO()
    logs.configure(log_format, level, stream)
    return stream


def test_an_event_is_a_line_of_json() -> None:
    stream = said("json")
    structlog.get_logger("rosterhub").info("run_started", run_id="a", file="見本")
    event = json.loads(stream.getvalue())
    assert (event["event"], event["run_id"], event["file"]) == ("run_started", "a", "見本")
    assert event["level"] == "info"
    assert event["timestamp"].endswith("Z")


def test_other_packages_are_in_the_same_lines() -> None:
    stream = said("json")
    logging.getLogger("gunicorn.error").warning("worker %d is late", 7, extra={"pid": 7})
    event = json.loads(stream.getvalue())
    assert (event["event"], event["logger"], event["pid"]) == (
        "worker 7 is late",
        "gunicorn.error",
        7,
    )


def test_an_exception_stays_on_its_line() -> None:
    stream = said("json")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("broken")
    [line] = stream.getvalue().splitlines()
    assert "ZeroDivisionError" in json.loads(line)["exception"]


def test_a_traceback_shows_no_local_variables() -> None:
    stream = said("console")
    secret = "hunter" + "2"
    try:
        _ = 1 / (len(secret) - 7)
    except ZeroDivisionError:
        structlog.get_logger().exception("broken")
    assert "ZeroDivisionError" in stream.getvalue()
    assert secret not in stream.getvalue()


NAME = "山田花子"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_field_that_is_not_listed_is_left_out_by_name(log_format: logs.Format) -> None:
    stream = said(log_format)
    structlog.get_logger().info("saved", run_id="a", family_name=NAME)
    logging.getLogger("gunicorn.error").info("answered", extra={"cookie": NAME})
    assert NAME not in stream.getvalue()
    assert "family_name" in stream.getvalue()
    assert "cookie" in stream.getvalue()


def quoted() -> None:
    raise UniqueViolation(f"Key (username)=({NAME}) already exists.")


def told_again() -> None:
    try:
        quoted()
    except UniqueViolation as error:
        raise KeyError(NAME) from error


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_that_quotes_a_value_is_not_quoted(log_format: logs.Format) -> None:
    stream = said(log_format)
    server = logging.getLogger("gunicorn.error")
    try:
        told_again()
    except KeyError as error:
        structlog.get_logger().exception("broken")
        structlog.get_logger().error("broken", exc_info=error)
        server.error("Error handling connection: %s", error, exc_info=True)
        server.error(error, exc_info=error)
        server.error("Startup failed: %s", traceback.format_exc())
        server.error("Task was lost\nfuture: <Task exception=%r>", error)
    assert NAME not in stream.getvalue()
    assert (
        stream.getvalue().count("\nUniqueViolation" if log_format == "console" else "\\nUnique")
        == 4
    )
    assert "Error handling connection: KeyError" in stream.getvalue()
    assert "Startup failed: Traceback (most recent call last): … KeyError" in stream.getvalue()


def test_what_an_exception_says_about_the_machine_is_told() -> None:
    stream = said("json")
    for error in (
        UnknownSetting(["ROSTERHUB_PROT"]),
        OSError(98, "Address already in use"),
        OperationalError("connection refused\nIs the server running?"),
    ):
        logging.getLogger("gunicorn.error").error("cannot start: %s", error)
    assert "unknown setting ROSTERHUB_PROT" in stream.getvalue()
    assert "Address already in use" in stream.getvalue()
    assert "OperationalError: connection refused" in stream.getvalue()


LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every line that the product logs."""
    for package in ("api", "deploy", "migrations", "pipeline", "schemas", "workers"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level)):
                        if level in LEVELS:
                            yield f"{file.relative_to(ROOT)}:{node.lineno}", node
                    case _:
                        pass


def test_every_field_that_is_logged_is_listed() -> None:
    fields = {word.arg for _, call in calls() for word in call.keywords if word.arg}
    assert len(fields) > 20
    assert fields - logs.FIELDS == set(), "name it in deploy/logs.py, if it never holds a value"
    of_events = {name for kind in get_args(Event) for name in kind.model_fields}
    assert of_events <= logs.FIELDS


def test_what_is_logged_is_a_word_of_ours_and_no_text() -> None:
    made = [
        place
        for place, call in calls()
        if not isinstance(call.args[0], ast.Constant | ast.IfExp | ast.Attribute)
    ]
    assert made == []


def test_what_is_less_important_than_the_level_is_not_said() -> None:
    stream = said("json", "warning")
    structlog.get_logger().info("chatter")
    logging.getLogger("redis").info("chatter")
    assert stream.getvalue() == ""


def test_the_last_configuration_decides() -> None:
    first, second = said("json"), said("json")
    structlog.get_logger().info("once")
    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


@pytest.mark.parametrize(
    ("stream", "env", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (StringIO(), {}, False),
        (StringIO(), {"FORCE_COLOR": "1"}, True),
        (StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colours_are_for_terminals(
    stream: StringIO, env: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    said("console", stream=stream)
    structlog.get_logger().info("hello")
    assert ("\x1b[" in stream.getvalue()) is coloured
