"""The one form in which an instant leaves the hub."""

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=1024)  # the records of a version share theirs
def instant(moment: datetime) -> str:
    """`2026-04-01T00:00:00.000Z`; cut, not rounded, so that no reader is told of the future."""
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
    )
