"""Whether this process lives, whether it can serve, and what it is."""

import os
import platform
from datetime import UTC, datetime
from http import HTTPStatus
from importlib import resources

import psycopg
from falcon.asgi import Request, Response
from redis.exceptions import RedisError

from api.database import Database
from api.form import send
from api.openapi import answers
from api.openapi.described import described
from api.redis import Redis
from api.rosters.reading import CODE
from schemas.statements import load

SQL = load("api", "health.sql")


class Health:
    """`/health`: the process and its versions."""

    needs = None

    def __init__(self) -> None:
        self._since = datetime.now(UTC)

    @described(answers.Process)
    async def on_get(self, _req: Request, resp: Response) -> None:
        """What runs here."""
        send(
            resp,
            {
                "status": "ok",
                "version": CODE,
                "python": platform.python_version(),
                "process": os.getpid(),
                "since": self._since,
            },
        )


class Live:
    """`/health/live`: restart me if this does not answer."""

    needs = None

    @described(answers.Alive)
    async def on_get(self, _req: Request, resp: Response) -> None:
        """An answer is the answer."""
        send(resp, {"status": "ok"})


class Ready:
    """`/health/ready`: send me requests while this says 200."""

    needs = None

    def __init__(self, database: Database, redis: Redis) -> None:
        self._database = database
        self._redis = redis

    @described(answers.Readiness, also={503: answers.Readiness})
    async def on_get(self, _req: Request, resp: Response) -> None:
        """PostgreSQL decides; without Redis there is less comfort and the same service."""
        postgresql = await self._postgresql()
        ready = postgresql == "migrated"
        send(
            resp,
            {
                "status": "ok" if ready else "unavailable",
                "postgresql": postgresql,
                "redis": await self._reached_redis(),
            },
            HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def _postgresql(self) -> str:
        try:
            async with self._database.control() as connection:
                await connection.execute(SQL["as_login"])
                cursor = await connection.execute(SQL["applied"])
                applied = {row["migration_id"] for row in await cursor.fetchall()}
        except psycopg.ProgrammingError:
            return "not migrated"
        except psycopg.Error:
            return "unreachable"
        return "migrated" if shipped() <= applied else "not migrated"

    async def _reached_redis(self) -> str:
        try:
            await self._redis.ping()
        except (RedisError, OSError):
            return "unreachable"
        return "reachable"


def shipped() -> set[str]:
    """The migrations that this code expects."""
    folder = resources.files("migrations") / "sql"
    return {file.name.removesuffix(".sql") for file in folder.iterdir() if file.is_file()}
