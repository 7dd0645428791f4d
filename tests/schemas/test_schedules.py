"""When a schedule is due, in whichever time zone."""

from datetime import datetime
from itertools import pairwise

import pytest
from pydantic import TypeAdapter, ValidationError

from schemas.schedules import Cron, TimeZone, upcoming


def due(cron: str, zone: str, after: str, times: int = 1) -> list[str]:
    moment, found = datetime.fromisoformat(after), list[str]()
    for _ in range(times):
        moment = upcoming(cron, zone, moment)
        found.append(moment.isoformat())
    return found


def test_a_time_is_that_of_the_zone() -> None:
    assert due("30 2 * * *", "Asia/Tokyo", "2026-04-01T00:00:00+00:00") == [
        "2026-04-02T02:30:00+09:00"
    ]
    assert due("0 6 1 4 *", "Asia/Tokyo", "2026-03-31T21:00:00+00:00") == [
        "2027-04-01T06:00:00+09:00"
    ], "the time itself has passed"


def test_summer_time_neither_loses_nor_stops_a_schedule() -> None:
    spring = due("30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00", 3)
    assert [each[:16] for each in spring] == [
        *("2026-03-08T03:00", "2026-03-09T02:30", "2026-03-10T02:30")
    ]
    autumn = due("30 1 * * *", "America/New_York", "2026-10-31T12:00:00-04:00", 3)
    assert [each[5:10] for each in autumn] == ["11-01", "11-01", "11-02"]
    every = [datetime.fromisoformat(each) for each in spring + autumn]
    assert all(before < after for before, after in pairwise(every))


@pytest.mark.parametrize("cron", ["", "* * * *", "@daily", "R * * * *", "0 0 31 2 *", "0 24 * * *"])
def test_what_never_comes_is_no_schedule(cron: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Cron).validate_python(cron)


def test_blanks_are_put_in_order_and_a_zone_is_known() -> None:
    assert TypeAdapter(Cron).validate_python(" 0  3 * * 1-5 ") == "0 3 * * 1-5"
    assert TypeAdapter(TimeZone).validate_python("Asia/Tokyo") == "Asia/Tokyo"
    for name in ("Tokyo", "../etc/passwd", ""):
        with pytest.raises(ValidationError):
            TypeAdapter(TimeZone).validate_python(name)
