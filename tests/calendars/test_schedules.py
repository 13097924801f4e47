"""When a calendar asks for its sessions: counted over two years, venue by venue."""

from datetime import UTC, date, datetime, timedelta

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator  # what the daemon walks along

from quant_assets.calendars import Change, Cuts, calendar
from quant_assets.calendars.schedules import asked, ticks
from quant_assets.moments import BeforeOpen

ZONES = {
    "XNYS": "America/New_York",
    "XLON": "Europe/London",
    "XTKS": "Asia/Tokyo",
    "XHKG": "Asia/Hong_Kong",
    "XSHG": "Asia/Shanghai",
    "XBOM": "Asia/Kolkata",
    "XKRX": "Asia/Seoul",
    "XMOS": "Europe/Moscow",
    "XTAE": "Asia/Tel_Aviv",
    "XASX": "Australia/Sydney",
    "FX": "America/New_York",
    "24/7": "UTC",
}


@pytest.mark.parametrize("minutes", [15, 600])
@pytest.mark.parametrize("code", ZONES)
def test_every_session_is_asked_for_before_the_open_that_it_trades(code: str, minutes: int) -> None:
    """Of 2025 and 2026: after its cut, before the next open, on the venue's own clock; also where the cut lies ten
    hours before.
    """
    cuts = Cuts(calendar(code), BeforeOpen(minutes))
    when, venue = ticks(cuts), cuts.calendar
    assert when.zone == ZONES[code]
    last = min(date(2026, 12, 31), venue.before(venue.last))
    seen: dict[date, datetime] = {}
    end = datetime(last.year, last.month, last.day, tzinfo=UTC)
    for tick in schedule_execution_time_iterator(
        datetime(2024, 12, 30, tzinfo=UTC).timestamp(), list(when.crons), when.zone, ascending=True
    ):
        if tick > end:
            break
        if session := asked(cuts, tick):
            assert seen.setdefault(session, tick) == tick, "asked for twice"
    sessions = [s for s in venue.between(date(2025, 1, 1), last) if cuts.of(s) < end]
    assert len(sessions) > 475
    assert all(cuts.of(s) <= seen[s] < venue.open(venue.shift(s, 1)) for s in sessions)


@pytest.mark.parametrize(
    ("code", "crons"),
    [
        ("XNYS", ("15 9 * * 1-5",)),
        ("XTAE", ("44 9 * * 0-5",)),  # from Sunday, and since 2026 to Friday
        ("FX", ("45 16 * * 0-4",)),  # Friday's is asked for on Sunday afternoon
        ("24/7", ("45 23 * * *",)),
        ("XKRX", ("45 8 * * 1-5", "45 9 * * 1,2,4,5")),  # an hour later after New Year and on the day of the exams
    ],
)
def test_the_lines_are_those_of_the_venue(code: str, crons: tuple[str, ...]) -> None:
    """One for its regular hours, one more where it opens late."""
    assert ticks(Cuts(calendar(code))).crons == crons


def test_a_closure_announced_in_the_evening_is_asked_for_in_the_morning_after_it() -> None:
    """Nothing is due on the closed morning; the session before it is asked for the day after, for the open that
    comes.
    """
    day = date(2024, 5, 22)
    plain = Cuts(calendar("XNYS"))
    told = Cuts(plain.calendar.amended([Change(day, datetime(2024, 5, 21, 23, tzinfo=UTC))]))
    morning = plain.of(date(2024, 5, 21))
    assert asked(plain, morning) == date(2024, 5, 21)
    assert asked(told, morning) is None
    assert asked(told, morning + timedelta(days=1)) == date(2024, 5, 21)


@pytest.mark.parametrize("code", ["24/7", "FX"])
def test_a_venue_without_rest_leaves_time_to_deliver(code: str) -> None:
    """Between each cut and the open that its orders are for lie the declared minutes."""
    cuts = Cuts(calendar(code))
    sessions = cuts.calendar.between(date(2025, 3, 3), date(2025, 3, 14))
    assert {cuts.trades_at(s) - cuts.of(s) for s in sessions} == {timedelta(minutes=15)}
    assert all(cuts.trades_at(s) == cuts.calendar.open(cuts.calendar.shift(s, 1)) for s in sessions)
