"""What the values of a filter mean: every value is text, and a field says of what kind it is."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

MILLISECOND = timedelta(milliseconds=1)
NUMBER = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?", re.ASCII)


class WrongValue(Exception):
    """The value is not of the kind of its field; the text says what it should be."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant between two milliseconds, or on one: `floor` is the last not after it."""

    floor: datetime
    exact: bool

    @property
    def after(self) -> datetime:
        """The first millisecond after it."""
        return self.floor + MILLISECOND

    @property
    def ceiling(self) -> datetime:
        """The first millisecond that is not before it."""
        return self.floor if self.exact else self.after


def moment(text: str) -> Moment:
    """An instant, in UTC where it does not say; a day is its midnight."""
    found = instant(text)
    floor = found.replace(microsecond=found.microsecond // 1000 * 1000)
    moment = Moment(floor, floor == found)
    try:
        _ = moment.after
    except OverflowError:
        raise WrongValue("an instant such as 2026-04-01T00:00:00Z") from None
    return moment


def instant(text: str) -> datetime:
    """ISO 8601; a plus that came as a blank is understood."""
    try:
        found = datetime.fromisoformat(text.strip().replace(" ", "+"))
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise WrongValue("an instant such as 2026-04-01T00:00:00Z") from None


@dataclass(frozen=True, slots=True)
class Day:
    """A day, or an instant in it: then it lies behind the midnight that the day stands for."""

    day: date
    exact: bool


def day(text: str) -> Day:
    """A day, or an instant to compare days with."""
    try:
        found = instant(text)
    except WrongValue:
        raise WrongValue("a day such as 2026-04-01") from None
    return Day(found.date(), found.time() == time())


def flag(text: str) -> bool:
    """One of two words."""
    match text.strip().lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise WrongValue("true or false")


def number(text: str) -> Decimal:
    """A decimal number."""
    if not NUMBER.fullmatch(text.strip()):
        raise WrongValue("a number")
    return Decimal(text.strip())
