"""The composition root: `gunicorn api.main:app`."""

from pydantic import SecretStr

from api.app import Gateway, create_gateway
from api.database import Database
from api.redis import client
from schemas.secrets import Vault
from schemas.settings import PREFIX, Settings
from workers.port import ring_on


class MissingSetting(Exception):
    """A setting without which there is no gateway."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{PREFIX}{name.upper()} is not set: see deploy/settings.env")


def gateway_of(settings: Settings) -> Gateway:
    """The gateway on the services that the settings name."""
    redis_url = given(settings.redis_url, "redis_url")
    return create_gateway(
        settings,
        vault=Vault(given(settings.secret_key, "secret_key")),
        database=Database(
            given(settings.database_url, "database_url"),
            size=settings.database_pool,
            query_timeout=settings.query_timeout,
        ),
        redis=client(redis_url),
        ring=ring_on(redis_url),
    )


def given(secret: SecretStr | None, name: str) -> str:
    """The value of a setting that a gateway needs."""
    if secret is None:
        raise MissingSetting(name)
    return secret.get_secret_value()


gateway = gateway_of(Settings.from_env())
app = gateway.app
