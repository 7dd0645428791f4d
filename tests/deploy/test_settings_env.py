"""deploy/settings.env is the documentation of the settings, so it must be complete and true."""

import re
from importlib import resources

from schemas.settings import PREFIX, Settings, plain

TEXT = (resources.files("deploy") / "settings.env").read_text(encoding="utf-8")
ENTRY = re.compile(
    rf"^# (?P<sentence>.+\.)\n#(?P<name>{PREFIX}[A-Z_]+)=(?P<default>.*)$", re.MULTILINE
)


def documented() -> dict[str, str]:
    return {entry["name"]: entry["default"] for entry in ENTRY.finditer(TEXT)}


def test_every_setting_stands_there_once_with_a_sentence() -> None:
    names = re.findall(rf"^#?({PREFIX}\w*)", TEXT, re.MULTILINE)
    assert sorted(names) == sorted(PREFIX + name.upper() for name in Settings.model_fields)
    assert sorted(documented()) == sorted(names)


def test_every_default_is_the_default() -> None:
    defaults = {
        PREFIX + name.upper(): "" if field.default is None else plain(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert documented() == defaults


def test_the_order_is_that_of_the_settings() -> None:
    assert list(documented()) == [PREFIX + name.upper() for name in Settings.model_fields]


def test_with_every_line_uncommented_nothing_changes() -> None:
    assert Settings.from_env(documented()) == Settings.from_env({})
