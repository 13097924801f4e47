"""The calendars of venues against exchange_calendars' own under the pandas it was written for, and what it does not
have.

The CSV files beside this one are exchange_calendars 4.13.2 under pandas 2.3.3: `venue_years` how many sessions and open
minutes each year has since 1990, `venue_exceptions` the days since 2015 that differ from the venue's usual week.
"""

from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from quant_assets.calendars import CLOSED, Calendar, Change, Cuts, Hours, calendar
from quant_assets.calendars.exceptional_sessions import SHUT, SPECIAL
from quant_assets.errors import CalendarUnknown

HERE = Path(__file__).parent
YEARS = pl.read_csv(HERE / "venue_years.csv")
EXCEPTIONS = pl.read_csv(HERE / "venue_exceptions.csv", try_parse_dates=True)
VENUES = YEARS["venue"].unique(maintain_order=True).to_list()
LOST = {
    date(2009, 1, 11)
}  # declared in exchange_calendars' special_weekmasks of XMOS, after ten holidays it steps over it
FRIDAYS_SINCE = date(2026, 1, 5)


def ours_alone(code: str) -> set[date]:
    """The sessions that we have and exchange_calendars has not."""
    return {s.session for s in SPECIAL.get(code, ())} | (LOST if code == "XMOS" else set())


def closed(code: str, day: date) -> bool:
    return any(a <= day.isoformat() <= b for a, b in CLOSED.get(code, ()))


@pytest.mark.parametrize("code", VENUES)
def test_sessions_and_hours_are_those_of_exchange_calendars(code: str) -> None:
    """Year by year since 1990, whatever pandas is locked: the same number of sessions, the same minutes open."""
    venue = calendar(code)
    theirs = YEARS.filter(pl.col("venue") == code)
    hours = venue.schedule(date(theirs["year"].min(), 1, 1), date(2026, 12, 31))  # pyright: ignore[reportArgumentType]  # a Series' bounds are typed by no dtype
    pause = (pl.col("break_end") - pl.col("break_start")).fill_null(pl.duration())
    ours = (
        hours.filter(~pl.col("session").is_in(ours_alone(code)))
        .group_by(year=pl.col("session").dt.year(), maintain_order=True)
        .agg(sessions=pl.len(), minutes=(pl.col("close") - pl.col("open") - pause).dt.total_minutes().sum())
    )
    wanted = theirs.filter(pl.col("year") != 2022) if code in CLOSED else theirs  # the year of Moscow's closure
    assert ours.join(wanted, on="year").select("year", "sessions", "minutes").rows() == wanted.drop("venue").rows()


@pytest.mark.parametrize("code", VENUES)
def test_exceptions_of_the_week(code: str) -> None:
    """Day by day since 2015: holidays, special weekend sessions and Tel Aviv's weeks are theirs, but for what is
    listed.
    """
    venue = calendar(code)
    said = dict(EXCEPTIONS.filter(pl.col("venue") == code).select("day", "trades").iter_rows())
    for n in range((date(2026, 12, 31) - date(2015, 1, 1)).days + 1):
        day = date(2015, 1, 1) + timedelta(days=n)
        usual = day.weekday() in {6, 0, 1, 2, 3} if code == "XTAE" and day < FRIDAYS_SINCE else day.weekday() < 5
        trades = bool(said.get(day, usual)) and not closed(code, day)
        assert venue.is_session(day) is (trades or day in ours_alone(code)), day


@pytest.mark.parametrize(
    ("code", "day", "opens", "closes", "minutes"),
    [
        ("XMOS", "2024-12-28", "10:00", "18:45", 525),
        ("XBOM", "2024-01-20", "09:15", "15:30", 375),
        ("XBOM", "2024-03-02", "09:15", "12:30", 105),  # two halves, from two sites
        ("XBOM", "2023-11-12", "18:15", "19:15", 60),
        ("XBOM", "2025-10-21", "13:45", "14:45", 60),
        ("XBOM", "2026-02-01", "09:15", "15:30", 375),
        ("XTAE", "2025-12-28", "09:59", "15:40", 341),
        ("XTAE", "2026-01-09", "09:59", "13:50", 231),
    ],
)
def test_sessions_out_of_the_usual(code: str, day: str, opens: str, closes: str, minutes: int) -> None:
    """A Saturday, a Sunday or a holiday on which the venue traded, with its hours on the venue's own clock."""
    venue, session = calendar(code), date.fromisoformat(day)
    walls = [venue.local(t).strftime("%H:%M") for t in (venue.open(session), venue.close(session))]
    assert walls == [opens, closes]
    assert venue.grid(session, session, 60).height == minutes


@pytest.mark.parametrize(("code", "day"), [("XBOM", "2024-03-09"), ("XMOS", "2025-03-01"), ("XTAE", "2026-01-11")])
def test_no_session_is_invented(code: str, day: str) -> None:
    """The weekend after a special session, an evening's trading without a session of its own, and the Sunday of a
    changed week.
    """
    assert not calendar(code).is_session(date.fromisoformat(day))


@pytest.mark.parametrize(
    ("code", "year"), [("XNYS", 252), ("XLON", 253), ("XTKS", 244), ("XBOM", 248), ("FX", 261), ("24/7", 365)]
)
def test_a_year_has_the_calendars_own_sessions(code: str, year: int) -> None:
    """Counted over the same ten years whatever is known besides, so that an annual figure stays what it was."""
    assert calendar(code).sessions_per_year == year


@pytest.mark.parametrize(("code", "day"), [(v, s.session) for v, all_ in SHUT.items() for s in all_])
def test_what_was_decided_for_a_day_that_was_called_off_keeps_its_cut(code: str, day: date) -> None:
    """The market expected to open; what was decided in the morning was decided then, and no session came of it."""
    cuts = Cuts(calendar(code))
    before, now = cuts.calendar.before(day), cuts.calendar
    assert not now.is_session(day)
    assert cuts.of(before).astimezone(now.tz).date() == day
    assert cuts.as_of(cuts.of(before)).calendar.is_session(day)
    assert now.open(now.after(day)) > cuts.trades_at(before)


SHORT = calendar("XNYS").between(date(2024, 1, 2), date(2024, 1, 31))


def short() -> Calendar:
    """A month of New York."""
    whole = calendar("XNYS")
    opens, closes = ([of(s) for s in SHORT] for of in (whole.open, whole.close))
    return Calendar("SHORT", SHORT, opens, closes, tz="America/New_York", known=(date(2024, 1, 1), date(2024, 1, 31)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("known_at", "cut", "decided"),
    [
        ("2024-01-09T22:00", "2024-01-11T14:15", False),  # the evening before: decided for the day after
        ("2024-01-10T14:15", "2024-01-11T14:15", False),  # at the cut itself it is known
        ("2024-01-10T14:16", "2024-01-10T14:15", False),  # a minute later it was not: what was decided stays so
        ("2024-01-11T15:00", "2024-01-10T14:15", True),  # the morning after: the day was decided, and stays known
    ],
)
def test_a_closure_counts_from_when_it_was_known(known_at: str, cut: str, decided: bool) -> None:
    """Of the Wednesday that turns out closed: no session from then on; the cut before it moves only where it was
    known by it.
    """
    day = date(2024, 1, 10)
    cuts = Cuts(short().amended([Change(day, at(known_at))]))
    assert not cuts.calendar.is_session(day)
    assert cuts.of(date(2024, 1, 9)) == at(cut)
    assert cuts.calendar.shift(date(2024, 1, 9), 1) == date(2024, 1, 11) == cuts.calendar.after(day)
    assert cuts.calendar.before(day) == date(2024, 1, 9)
    assert (cuts.as_of(cuts.of(day)).calendar.is_session(day)) is decided
    assert cuts.as_of(at("2024-01-09T00:00")).of(date(2024, 1, 9)) == at("2024-01-10T14:15")
    with pytest.raises(CalendarUnknown, match=r"2024-01-10 is not a session, as is known since"):
        cuts.calendar.index(day)


def test_a_session_that_is_opened_late_is_read_and_not_decided() -> None:
    """A Saturday heard of on Monday is a session for its data, moves no cut, and is none to decide; one heard of in
    time is.
    """
    saturday = date(2024, 1, 13)
    hours = short().usual_hours(saturday)
    assert hours == Hours(at("2024-01-13T14:30"), at("2024-01-13T21:00"))
    late = Cuts(short().amended([Change(saturday, at("2024-01-16T15:00"), hours)]))
    assert late.calendar.is_session(saturday)
    assert not late.decides(saturday)
    assert late.of(date(2024, 1, 12)) == at("2024-01-16T14:15")  # Monday is a holiday
    early = Cuts(short().amended([Change(saturday, at("2024-01-12T22:00"), hours)]))
    assert early.decides(saturday)
    assert early.of(date(2024, 1, 12)) == at("2024-01-13T14:15")


def test_the_last_word_on_a_day_counts() -> None:
    """Closed, then open after all, then closed: at each time what had been said last."""
    day = date(2024, 1, 10)
    said = [
        Change(day, at("2024-01-08T12:00")),
        Change(day, at("2024-01-09T12:00"), short().usual_hours(day)),
        Change(day, at("2024-01-10T12:00")),
    ]
    whole = short().amended(said)
    times = [at(f"2024-01-{n:02}T13:00") for n in (7, 8, 9, 10)]
    assert [whole.as_of(t).is_session(day) for t in times] == [True, False, True, False]
    assert [whole.hours_at(day, t) is not None for t in times] == [True, False, True, False]
