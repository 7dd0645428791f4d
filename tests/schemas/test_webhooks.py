"""The schedule, the names and the words of webhooks."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import uuid4

import pytest

from schemas.webhooks import (
    EVENTS,
    FAILURES,
    HANGING,
    NOTICES,
    OURS,
    PAUSES,
    WARNED_AFTER_DAYS,
    Failure,
    Notice,
    envelope,
    message_id,
    parsed_message_id,
    pause_after,
    shown_secret,
    stream,
)

JAPANESE = re.compile(r"[ぁ-んァ-ヶ一-龠]")


def test_ten_tries_take_what_the_standard_says() -> None:
    pauses = [pause_after(tries, 0.5) for tries in range(1, 10)]
    assert sum(filter(None, pauses)) == timedelta(hours=75, minutes=35, seconds=5).total_seconds()
    assert pause_after(10, 0.5) is None


@pytest.mark.parametrize("tries", range(1, 10))
def test_chance_moves_a_pause_by_a_fifth_and_a_receiver_by_the_double(tries: int) -> None:
    base = PAUSES[tries - 1]
    assert pause_after(tries, 0) == pytest.approx(0.8 * base)
    assert pause_after(tries, 1) == pytest.approx(1.2 * base)
    assert pause_after(tries, 0.5, retry_after=0) == pytest.approx(base)
    assert pause_after(tries, 0.5, retry_after=1.5 * base) == pytest.approx(1.5 * base)
    assert pause_after(tries, 0.5, retry_after=99 * base) == pytest.approx(2 * base)


def test_an_envelope_is_json_with_its_type_its_time_and_its_number() -> None:
    at = datetime(2026, 4, 1, 0, 0, 0, 5000, tzinfo=UTC)
    body = envelope("csv.import.held", at, "kakuu", 7, {"名": "\u2028", "id": uuid4()})
    told = json.loads(body)
    assert list(told) == ["type", "timestamp", "district", "sequence", "data"]
    assert (told["timestamp"], told["sequence"]) == ("2026-04-01T00:00:00.005000Z", 7)


def test_a_name_is_that_of_its_event() -> None:
    event_id = uuid4()
    assert parsed_message_id(message_id(event_id)) == event_id
    assert re.fullmatch(r"evt_[0-9a-f]{32}", message_id(event_id))
    for strange in ("", "evt_", "evt_x", str(event_id), f"msg_{event_id.hex}"):
        with pytest.raises(ValueError, match=r".*"):
            parsed_message_id(strange)
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", shown_secret(b"x" * 32))


def test_everything_that_is_said_is_said_in_both_languages() -> None:
    assert {*FAILURES} == {*get_args(Failure)} >= OURS | HANGING
    assert {*NOTICES} == {*get_args(Notice)} >= {*WARNED_AFTER_DAYS}
    for said in (*FAILURES.values(), *NOTICES.values()):
        assert {*said} == {"en", "ja"}
        assert JAPANESE.search(said["ja"])
        assert not JAPANESE.search(said["en"])


def test_types_have_three_families_and_streams_one_slot() -> None:
    assert {each.partition(".")[0] for each in EVENTS} == {"csv", "roster", "webhook"}
    assert stream(7) == "{rosterhub}:districts:7:events"
