"""A real PostgreSQL and a real Redis for one developer, out of Python wheels.

Nothing is faked and nothing has to be installed by hand: what is not named by a URL is started in a
folder of the project and stopped at the end. Production names both URLs and never comes here.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from deploy.local.account import CannotStart
from deploy.local.postgres import Postgres
from deploy.local.redis import Redis

__all__ = ["CannotStart", "Postgres", "Redis", "Servers", "servers"]


class Servers(NamedTuple):
    """Where the two servers answer."""

    database_url: str
    redis_url: str


@contextmanager
def servers(
    folder: Path, *, database_url: str | None = None, redis_url: str | None = None
) -> Iterator[Servers]:
    """Both servers, each started in `folder` unless its URL is given; stopped in reverse order."""
    with ExitStack() as started:
        if not database_url:
            database_url = started.enter_context(Postgres(folder / "postgres")).url
        if not redis_url:
            redis_url = started.enter_context(Redis(folder / "redis")).url
        yield Servers(database_url, redis_url)
