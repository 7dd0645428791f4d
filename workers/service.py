"""The service: previews, for which somebody waits, and maintenance."""

from collections.abc import Callable

from schemas.secrets import Vault
from schemas.settings import Settings, plain
from workers import previews
from workers.audit import Keeper
from workers.heads import Heads
from workers.limits import limits
from workers.maintenance import sweep
from workers.objects import open_store


def service(settings: Settings, keeper: Keeper) -> Callable[[], None]:
    """Previews, for which somebody waits, and maintenance: what has served its time, the audit."""
    store = open_store(settings.object_store)

    def work() -> None:
        previews.answer(plain(settings.database_url), limits(settings))
        sweep(plain(settings.database_url), store)
        keeper.look()

    return work


def keeper_of(settings: Settings) -> Keeper:
    """Who keeps the audit."""
    heads = Heads(open_store(settings.object_store), Vault(plain(settings.secret_key)))
    return Keeper(plain(settings.database_url), heads, settings.audit_heads)
