"""Everything an operator can turn. Read once, at the edge, from the environment.

`deploy/settings.env` explains each setting; a test compares the two.
"""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.wall import Wall

PREFIX = "ROSTERHUB_"
MIB = 1024 * 1024


class Settings(BaseSettings):
    """The configuration of one process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    # Where the services are. Both empty: `rosterhub dev` brings its own.
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    object_store: str = ".rosterhub/objects"
    secret_key: SecretStr | None = None

    # The gateway
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    gateway_processes: int = Field(default=2, ge=1)
    database_pool: int = Field(default=10, ge=1)
    query_timeout: float = Field(default=10.0, gt=0)
    page_default: int = Field(default=100, ge=1)
    page_max: int = Field(default=10_000, ge=1)
    page_cache: int = Field(default=64 * MIB, ge=0)

    # Who may ask, and how much
    proxies: str = ""
    rate_limit: int = Field(default=6000, ge=1)
    token_lifetime: int = Field(default=3600, ge=60, le=3600)
    token_in_body: bool = False
    token_refusal: int = Field(default=400, ge=400, le=401)

    # The workers
    import_processes: int = Field(default=1, ge=0)
    export_processes: int = Field(default=1, ge=0)
    lease: float = Field(default=30.0, gt=0)
    poll: float = Field(default=2.0, gt=0)
    attempts: int = Field(default=5, ge=1)
    import_timeout: float = Field(default=3600.0, gt=0)
    export_timeout: float = Field(default=3600.0, gt=0)
    work_folder: Path | None = None
    webhook_hands: int = Field(default=64, ge=2)
    webhook_allow: str = ""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9464, ge=0, le=65535)
    audit_heads: float = Field(default=600.0, ge=60)

    # Ceilings of what a client may send
    upload_max: int = Field(default=500 * MIB, ge=1)
    json_max: int = Field(default=5 * MIB, ge=1)
    query_max: int = Field(default=16 * 1024, ge=1)
    headers_max: int = Field(default=32 * 1024, ge=1)
    zip_entries: int = Field(default=64, ge=1)
    zip_ratio: int = Field(default=200, ge=1)
    zip_max: int = Field(default=4096 * MIB, ge=1)
    row_max: int = Field(default=1 * MIB, ge=1)
    field_max: int = Field(default=32 * 1024, ge=1)
    columns_max: int = Field(default=200, ge=1)
    findings_max: int = Field(default=100_000, ge=1)

    # Logs
    log_format: Literal["console", "json"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("database_url", "redis_url", "secret_key", "work_folder", mode="before")
    @classmethod
    def _blank_is_absent(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for network in networks_in(value):
            ipaddress.ip_network(network)
        return value

    @field_validator("webhook_allow")
    @classmethod
    def _has_a_meaning(cls, value: str) -> str:
        Wall.of(value)
        return value

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read `ROSTERHUB_*`. An unknown name is a typing mistake, so it fails."""
        given = {name for name in env if name.startswith(PREFIX)}
        known = {PREFIX + field.upper() for field in cls.model_fields}
        if unknown := sorted(given - known):
            raise UnknownSetting(unknown)
        return cls.model_validate({name.removeprefix(PREFIX).lower(): env[name] for name in given})

    @property
    def base(self) -> str:
        """Where hrefs point: never what a client wrote into Host."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    def to_env(self) -> dict[str, str]:
        """The settings as environment variables, for a child process."""
        return {PREFIX + name.upper(): plain(value) for name, value in self if value is not None}


class UnknownSetting(Exception):
    """A ROSTERHUB_ variable is not a setting of this version."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"unknown setting {', '.join(names)}: see deploy/settings.env")


def networks_in(text: str) -> list[str]:
    """The networks of a comma list."""
    return [network.strip() for network in text.split(",") if network.strip()]


def plain(value: object) -> str:
    """The text of a setting, secrets included."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
