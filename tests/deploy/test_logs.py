"""One line per event, whoever logs it."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
import structlog

from deploy import logs


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
    structlog.get_logger("rosterhub").info("run_started", run_id="a", name="見本")
    event = json.loads(stream.getvalue())
    assert (event["event"], event["run_id"], event["name"]) == ("run_started", "a", "見本")
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
