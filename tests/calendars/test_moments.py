"""When a strategy decides: every moment of two years, at many venues, decided in time and asked for by its schedule."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from quant_assets.calendars import Calendar, Change, Cuts, Hours, calendar
from quant_assets.calendars.schedules import asked, ticks
from quant_assets.moments import AtTime, BeforeClose, BeforeOpen, Every, Moment, slot_of

VENUES = ("XNYS", "XLON", "XTKS", "XHKG", "XTAE", "XASX", "XNZE", "XSAU", "FX", "24/7")
ENDLESS = ("FX", "24/7")
MOMENTS: tuple[Moment, ...] = (
    BeforeOpen(),
    BeforeOpen(600),
    BeforeClose(),
    BeforeClose(1440),
    AtTime("18:30"),  # after most closes: for the next open
    AtTime("02:30"),  # an hour that one night has not and another has twice
    AtTime("14:00"),  # while the venue is open, and after it has closed on half days
    AtTime("00:00"),
    Every(60),
)
FIRST, LAST = date(2025, 1, 1), date(2026, 12, 31)


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
@pytest.mark.parametrize("code", VENUES)
def test_every_moment_is_decided_in_time(code: str, moment: Moment) -> None:
    """Before the auction at which it trades, not before its session's own close, in order, none left out; that auction
    is one of the session after.
    """
    cuts = Cuts(calendar(code), moment)
    venue = cuts.calendar
    sessions = venue.between(FIRST, min(LAST, venue.before(venue.last)))
    found = [cuts.of(s) for s in sessions]
    assert all(a < b for a, b in pairwise(found)), "cuts ascend"
    for session, cut in zip(sessions, found, strict=True):
        after = venue.after(session)
        auctions = {"open": venue.open(after), "close": venue.close(after)}
        assert cut < cuts.trades_at(session) == auctions[cuts.auction(session)]
        assert cut >= venue.close(session) or (code in ENDLESS and isinstance(moment, BeforeOpen))
    for session, cut in [*zip(sessions, found, strict=True)][::7]:
        assert cuts.due(cut) == session
        assert cuts.due(cut - timedelta(microseconds=1)) == venue.before(session)


@pytest.mark.parametrize("moment", MOMENTS, ids=str)
@pytest.mark.parametrize("code", ["XNYS", "XLON", "XTKS", "XTAE", "FX", "24/7"])
def test_the_schedule_asks_for_each_in_time(code: str, moment: Moment) -> None:
    """Of a year and a half with its half days and changes of clocks: once, after its cut and before its auction."""
    cuts = Cuts(calendar(code), moment)
    when, venue = ticks(cuts), cuts.calendar
    begin, end = datetime(2024, 12, 30, tzinfo=UTC), datetime(2026, 6, 30, tzinfo=UTC)
    seen: dict[date, datetime] = {}
    for tick in schedule_execution_time_iterator(begin.timestamp(), list(when.crons), when.zone, ascending=True):
        if tick > end:
            break
        if session := asked(cuts, tick):
            assert seen.setdefault(session, tick) == tick, "asked for twice"
    sessions = [s for s in venue.between(date(2025, 1, 2), end.date()) if cuts.of(s) < end]
    assert all(cuts.of(s) <= seen[s] < cuts.trades_at(s) for s in sessions)


@pytest.mark.parametrize(
    ("code", "moment", "session", "cut", "trades_at", "auction"),
    [
        ("XNYS", BeforeOpen(), "2025-03-07", "2025-03-10T13:15", "2025-03-10T13:30", "open"),  # the clocks changed
        ("XNYS", BeforeClose(30), "2025-03-06", "2025-03-07T20:30", "2025-03-07T21:00", "close"),
        ("XNYS", BeforeClose(30), "2025-03-07", "2025-03-10T19:30", "2025-03-10T20:00", "close"),
        ("XNYS", BeforeClose(), "2025-11-27", None, None, None),  # Thanksgiving is no session
        ("XNYS", BeforeClose(), "2025-11-26", "2025-11-28T17:45", "2025-11-28T18:00", "close"),  # a half day
        ("XLON", BeforeClose(), "2025-12-23", "2025-12-24T12:15", "2025-12-24T12:30", "close"),
        ("XNYS", AtTime("18:30"), "2025-11-28", "2025-11-28T23:30", "2025-12-01T14:30", "open"),
        ("XNYS", AtTime("10:00"), "2025-11-28", "2025-11-29T15:00", "2025-12-01T14:30", "open"),  # on Saturday
        ("XNYS", AtTime("10:00"), "2025-11-25", "2025-11-26T15:00", "2025-11-26T21:00", "close"),
        ("XNYS", AtTime("14:00"), "2025-11-26", "2025-11-27T19:00", "2025-11-28T14:30", "open"),  # on the holiday
        ("XLON", AtTime("14:00"), "2025-12-23", "2025-12-24T12:15", "2025-12-24T12:30", "close"),  # closed by then
        ("24/7", AtTime("10:00"), "2025-11-25", "2025-11-26T10:00", "2025-11-27T00:00", "close"),
        ("24/7", BeforeClose(), "2025-11-25", "2025-11-26T23:45", "2025-11-27T00:00", "close"),
        ("FX", AtTime("20:00"), "2025-11-28", "2025-11-29T01:00", "2025-11-30T22:00", "open"),
        ("24/7", Every(60, delay=30), "2025-11-25", "2025-11-26T00:00:30", "2025-11-27T00:00", "close"),
    ],
)
def test_a_moment(
    code: str, moment: Moment, session: str, cut: str | None, trades_at: str | None, auction: str | None
) -> None:
    """By hand, over half days, holidays, weekends and changes of clocks."""
    cuts, day = Cuts(calendar(code), moment), date.fromisoformat(session)
    if cut is None or trades_at is None:
        assert not cuts.calendar.is_session(day)
        return
    utc = [datetime.fromisoformat(f"{at}+00:00") for at in (cut, trades_at)]
    assert [cuts.of(day), cuts.trades_at(day), cuts.auction(day)] == [*utc, auction]


@cache
def month() -> Calendar:
    """A month of New York."""
    whole = calendar("XNYS")
    days = whole.between(date(2024, 1, 2), date(2024, 1, 31))
    opens, closes = ([of(s) for s in days] for of in (whole.open, whole.close))
    return Calendar("SHORT", days, opens, closes, tz="America/New_York", known=(date(2024, 1, 1), date(2024, 1, 31)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("moment", "known_at", "cut", "trades_at"),
    [
        (BeforeClose(), "2024-01-09T23:30", "2024-01-11T20:45", "2024-01-11T21:00"),  # in the night before
        (BeforeClose(), "2024-01-10T20:45", "2024-01-11T20:45", "2024-01-11T21:00"),  # at the cut itself
        (BeforeClose(), "2024-01-10T20:46", "2024-01-10T20:45", "2024-01-10T21:00"),  # a minute too late to matter
        (AtTime("18:30"), "2024-01-09T23:00", "2024-01-09T23:30", "2024-01-11T14:30"),
        (AtTime("18:30"), "2024-01-09T23:31", "2024-01-09T23:30", "2024-01-10T14:30"),
        (AtTime("10:00"), "2024-01-09T23:30", "2024-01-10T15:00", "2024-01-11T14:30"),  # on the closed day
    ],
)
def test_a_closure_counts_from_when_it_was_known(moment: Moment, known_at: str, cut: str, trades_at: str) -> None:
    """Of the Wednesday that turns out closed: the Tuesday before it is decided for the day after where that was known
    by its cut.
    """
    cuts = Cuts(month().amended([Change(date(2024, 1, 10), at(known_at))]), moment)
    assert (cuts.of(date(2024, 1, 9)), cuts.trades_at(date(2024, 1, 9))) == (at(cut), at(trades_at))
    assert cuts.of(date(2024, 1, 11)) > cuts.of(date(2024, 1, 9))


@pytest.mark.parametrize(
    ("known_at", "cut", "trades_at"),
    [
        ("2024-01-10T14:00", "2024-01-10T17:45", "2024-01-10T18:00"),  # in the morning: before the early close
        ("2024-01-10T17:50", "2024-01-10T17:50", "2024-01-10T18:00"),  # ten minutes before it: at once
        ("2024-01-10T18:00", "2024-01-11T20:45", "2024-01-11T21:00"),  # as it closes: its close is gone
    ],
)
def test_an_early_close_counts_from_when_it_was_known(known_at: str, cut: str, trades_at: str) -> None:
    """A strategy that trades at the close acts on an early one at once, while there is time."""
    early = Hours(at("2024-01-10T14:30"), at("2024-01-10T18:00"))
    cuts = Cuts(month().amended([Change(date(2024, 1, 10), at(known_at), early)]), BeforeClose())
    assert (cuts.of(date(2024, 1, 9)), cuts.trades_at(date(2024, 1, 9))) == (at(cut), at(trades_at))


def test_a_slot_is_named_after_its_moment() -> None:
    """What keys a session's decisions beside the session."""
    assert [slot_of(m) for m in (BeforeOpen(600), BeforeClose(), AtTime("18:30"))] == ["open", "close", "18:30"]
    with pytest.raises(ValueError, match="more than one slot"):
        slot_of(Every(60))
