"""When something happens again and again: a cron expression in a time zone.

Five fields as cron has them. In a time zone with summer time an hour that does not exist is made
up for when it would have begun, and one that comes twice counts twice.
"""

import re
from datetime import datetime
from typing import Annotated, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from croniter import croniter  # type: ignore[import-untyped]  # ships no types
from pydantic import AfterValidator, Field, StringConstraints

FIELDS = 5
WORD = re.compile("[A-Za-z]+")
MONTHS = frozenset("jan feb mar apr may jun jul aug sep oct nov dec".split())  # noqa: SIM905  # readable
DAYS = frozenset("sun mon tue wed thu fri sat l".split())  # noqa: SIM905  # same; l: the last
EVERY = "of minute, hour, day of the month, month and day of the week"


def known_zone(name: str) -> str:
    """A time zone that this machine knows."""
    if name not in available_timezones():
        raise ValueError("must be the name of a time zone, such as Asia/Tokyo")
    return name


def understood(cron: str) -> str:
    """A cron expression that comes true some day; croniter's words for chance are none."""
    fields = cron.split()
    known = {word.lower() for word in WORD.findall(cron)} <= MONTHS | DAYS
    if len(fields) != FIELDS or not known or not croniter.is_valid(" ".join(fields)):
        raise ValueError(f"must be a cron expression {EVERY}, such as 30 2 * * *")
    try:
        upcoming(" ".join(fields), "UTC", datetime(2000, 1, 1, tzinfo=ZoneInfo("UTC")))
    except ValueError as error:
        raise ValueError("names a day that never comes") from error
    return " ".join(fields)


TimeZone: TypeAlias = Annotated[
    str, AfterValidator(known_zone), Field(json_schema_extra={"format": "time-zone"})
]
Cron: TypeAlias = Annotated[str, StringConstraints(max_length=120), AfterValidator(understood)]


def upcoming(cron: str, zone: str, after: datetime) -> datetime:
    """The next time behind that instant; raises ValueError where there is none."""
    begin = after.astimezone(ZoneInfo(zone))
    found: datetime = croniter(cron, begin, ret_type=datetime).get_next()
    return found
