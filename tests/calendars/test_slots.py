"""The slots of a session: on the venue's grid, over half days, breaks, daylight saving and closures heard of late."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from quant_assets.calendars import Change, Hours, calendar
from quant_assets.calendars.slots import due_slots, slots, slots_between
from quant_assets.errors import ConfigurationError
from quant_assets.moments import Every

HOURLY, HALF_HOURLY = Every(60), Every(30)


def names(code: str, day: date, moment: Every = HOURLY) -> list[str]:
    """The slots of a session by their names."""
    return [s.slot for s in slots(calendar(code), moment, day)]


CASES = [
    ("24/7", date(2026, 3, 8), HOURLY, [f"{h:02d}:00" for h in range(24)]),
    ("FX", date(2026, 3, 9), HOURLY, [f"{h % 24:02d}:00" for h in range(18, 41)]),  # Sunday evening opens after a rest
    ("FX", date(2026, 3, 10), HOURLY, [f"{h % 24:02d}:00" for h in range(17, 41)]),
    ("XNYS", date(2026, 3, 9), HOURLY, ["10:30", "11:30", "12:30", "13:30", "14:30", "15:30"]),
    ("XNYS", date(2026, 11, 27), HOURLY, ["10:30", "11:30", "12:30"]),  # a half day
    ("XTKS", date(2026, 3, 9), HOURLY, ["10:00", "11:00", "12:30", "13:30", "14:30"]),  # a break at 11:30
    ("XLON", date(2026, 12, 24), HALF_HOURLY, ["08:30", "09:00", "09:30", "10:00", "10:30", "11:00", "11:30", "12:00"]),
]


@pytest.mark.parametrize(("code", "day", "moment", "expected"), CASES, ids=lambda v: str(v)[:20])
def test_the_slots_of_a_session(code: str, day: date, moment: Every, expected: list[str]) -> None:
    """Each is the start of a bar on the venue's clock at which the one before has just ended."""
    assert names(code, day, moment) == expected


@pytest.mark.parametrize("code", ["24/7", "FX", "XNYS", "XTKS", "XHKG"])
@pytest.mark.parametrize("moment", [Every(60, 30), Every(15), Every(7, 60)], ids=str)
def test_each_reads_what_has_ended_and_trades_what_begins(code: str, moment: Every) -> None:
    """Over two daylight saving changes: cuts ascend, no name occurs twice in a session, no bar is read before its end,
    none is traded that had begun before the one that is read had ended, and every order has time to leave.
    """
    venue, delay = calendar(code), timedelta(seconds=moment.delay)
    for first in (date(2026, 3, 6), date(2026, 10, 29)):
        days = venue.between(first, first + timedelta(days=6))
        found = slots_between(venue, moment, days)
        assert [s.cut for s in found] == sorted({s.cut for s in found})
        assert len({(s.session, s.slot) for s in found}) == len(found)
        for s in found:
            end = min(s.bar + timedelta(minutes=moment.minutes), s.cut - delay)
            assert s.bar < end == s.cut - delay <= s.trades_at
            assert s.cut < s.valid_until
            assert venue.open(s.session) <= s.trades_at < venue.close(s.session)


def test_a_break_leaves_time_before_the_bar() -> None:
    """What the morning's last bar shows is decided at its end, and its orders leave before the afternoon opens."""
    noon = next(s for s in slots(calendar("XTKS"), HOURLY, date(2026, 3, 9)) if s.slot == "12:30")
    assert (noon.bar, noon.cut) == (utc(9, 2, 0), utc(9, 2, 30))
    assert noon.valid_until == noon.trades_at == utc(9, 3, 30)


def utc(day: int, hour: int, minute: int = 0) -> datetime:
    """A time in March 2026."""
    return datetime.combine(date(2026, 3, day), time(hour, minute), UTC)


def test_a_close_that_is_heard_of_late_ends_the_slots_from_then_on() -> None:
    """Closed at 16:00 UTC, known at 16:30: the slot of 16:30 has come before anybody knew, the later ones have not."""
    venue, day = calendar("XNYS"), date(2026, 3, 9)
    early = Hours(venue.open(day), utc(9, 16))
    told = venue.amended([Change(day, utc(9, 16, 45), early)])
    assert [s.slot for s in slots(told, HOURLY, day)] == ["10:30", "11:30", "12:30"]
    assert [s.slot for s in slots(venue.amended([Change(day, utc(9, 13), early)]), HOURLY, day)] == ["10:30", "11:30"]
    shut = venue.amended([Change(day, utc(9, 15), None)])
    assert [s.slot for s in slots(shut, HOURLY, day)] == ["10:30"]
    before = [s for s in slots(venue, HOURLY, day) if s.cut < utc(9, 16, 45)]
    assert slots(told, HOURLY, day) == before  # what was decided stays


def test_what_is_due_is_what_came_since() -> None:
    """Cuts after one time and up to another, over midnight."""
    venue = calendar("24/7")
    found = due_slots(venue, Every(60, 10), utc(8, 22), utc(9, 1, 0))
    assert [(s.session.day, s.slot) for s in found] == [(8, "22:00"), (8, "23:00"), (9, "00:00")]


def test_a_delay_as_long_as_a_bar_is_refused() -> None:
    """Its orders could leave only after the bar that they trade in."""
    with pytest.raises((ConfigurationError, ValueError), match="delay"):
        Every(1, 60)
