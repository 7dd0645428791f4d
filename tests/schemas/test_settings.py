"""Settings: from the environment, to a child's environment, and nothing by accident."""

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.limits import Limits
from schemas.settings import Settings, UnknownSetting

SET = {
    "ROSTERHUB_DATABASE_URL": "postgresql://rosterhub:secret@db/rosterhub",
    "ROSTERHUB_SECRET_KEY": "s" * 40,
    "ROSTERHUB_WORK_FOLDER": "/var/tmp/rosterhub",
    "ROSTERHUB_PORT": "9000",
    "ROSTERHUB_LEASE": "12.5",
    "ROSTERHUB_LOG_FORMAT": "console",
}


def test_an_unknown_name_is_refused_and_named() -> None:
    with pytest.raises(UnknownSetting, match="ROSTERHUB_DATABSE_URL"):
        Settings.from_env({"ROSTERHUB_DATABSE_URL": "x", "PATH": "/bin"})


def test_other_variables_are_none_of_ours() -> None:
    assert Settings.from_env({"PATH": "/bin", "rosterhub_port": "1"}) == Settings.from_env({})


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "SECRET_KEY", "WORK_FOLDER"])
def test_blank_is_absent(name: str) -> None:
    assert getattr(Settings.from_env({f"ROSTERHUB_{name}": ""}), name.lower()) is None


def test_values_are_of_their_type() -> None:
    settings = Settings.from_env(SET)
    assert settings.work_folder == Path("/var/tmp/rosterhub")
    assert (settings.port, settings.lease) == (9000, 12.5)
    assert isinstance(settings.database_url, SecretStr)


def test_a_child_reads_the_same_settings() -> None:
    settings = Settings.from_env(SET)
    assert Settings.from_env(settings.to_env()) == settings
    assert Settings.from_env(Settings().to_env()) == Settings()


def test_no_secret_is_shown() -> None:
    settings = Settings.from_env(SET)
    assert "secret@" not in repr(settings)
    assert "ssss" not in repr(settings)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        setattr(Settings(), "port", 1)  # noqa: B010  # mypy knows better


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("LEASE", "0"),
        ("LOG_FORMAT", "xml"),
        ("ZIP_RATIO", "0"),
        ("ATTEMPTS", "0"),
        ("UPLOAD_MAX", "-1"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        Settings.from_env({f"ROSTERHUB_{name}": value})


def test_the_ceilings_of_the_pipeline_are_the_settings() -> None:
    settings, limits = Settings(), Limits()
    for name in ("zip_entries", "zip_ratio", "zip_max", "row_max", "field_max", "columns_max"):
        assert getattr(limits, name) == getattr(settings, name)
    assert limits.findings_max == settings.findings_max
