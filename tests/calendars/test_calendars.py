"""When venues trade, on their own clocks and in UTC, and what had closed by when."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from quant_assets.calendars import COMPUTED_UNTIL, Calendar, Cuts, align, calendar
from quant_assets.errors import CalendarUnknown, ConfigurationError
from quant_assets.moments import BeforeOpen

VENUES = ("XNYS", "XLON", "XTKS", "XMOS", "FX", "24/7")
NEW_YORK = ZoneInfo("America/New_York")


def utc(day: str, clock: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}:00+00:00")


@pytest.mark.parametrize(
    ("code", "shut", "why"),
    [
        ("XNYS", "2001-09-11", "the attacks"),
        ("XNYS", "2012-10-29", "a hurricane"),
        ("XNYS", "2018-12-05", "mourning"),
        ("XNYS", "2025-01-09", "mourning"),
        ("XNYS", "2015-07-03", "Independence Day observed"),
        ("XLON", "2022-09-19", "a state funeral"),
        ("XLON", "2024-08-26", "summer bank holiday"),
        ("XTKS", "2019-05-01", "ten days for an accession"),
        ("XTKS", "2020-10-01", "a failure of the venue"),
        ("XMOS", "2024-06-12", "Russia Day"),
        ("XMOS", "2022-03-01", "closed by the central bank"),
        ("FX", "2024-03-09", "a Saturday"),
    ],
)
def test_days_without_a_session(code: str, shut: str, why: str) -> None:
    """Holidays and closures are the venue's own."""
    assert not calendar(code).is_session(date.fromisoformat(shut)), why


@pytest.mark.parametrize(
    ("code", "day", "opens", "closes", "early"),
    [
        ("XNYS", "2024-07-02", "09:30", "16:00", False),
        ("XNYS", "2024-07-03", "09:30", "13:00", True),
        ("XNYS", "2024-11-29", "09:30", "13:00", True),
        ("XLON", "2024-12-24", "08:00", "12:30", True),
        ("XLON", "2024-12-23", "08:00", "16:30", False),
        ("XTKS", "2024-11-01", "09:00", "15:00", False),
        ("XTKS", "2024-11-05", "09:00", "15:30", False),  # half an hour longer from here on
        ("XMOS", "2014-10-24", "10:00", "18:45", False),
        (
            "XMOS",
            "2014-10-27",
            "10:00",
            "18:45",
            False,
        ),  # the clock was set back for good: another hour in UTC, not in Moscow
        ("FX", "2024-03-11", "17:00", "17:00", False),
        ("24/7", "2024-03-10", "00:00", "00:00", False),
    ],
)
def test_hours_on_the_venues_own_clock(code: str, day: str, opens: str, closes: str, early: bool) -> None:
    """Regular hours, half days, changed hours and changed clocks, as the venue's wall shows them."""
    venue, session = calendar(code), date.fromisoformat(day)
    walls = [venue.local(moment).strftime("%H:%M") for moment in (venue.open(session), venue.close(session))]
    assert (walls, venue.closes_early(session)) == ([opens, closes], early)


@pytest.mark.parametrize(
    ("code", "before", "after", "moved"),
    [
        ("XNYS", "2024-03-08", "2024-03-11", -1),  # the United States first
        ("XNYS", "2024-11-01", "2024-11-04", 1),
        ("XLON", "2024-03-28", "2024-04-02", -1),  # Europe three weeks later
        ("XLON", "2024-10-25", "2024-10-28", 1),
        ("XMOS", "2014-10-24", "2014-10-27", 1),
        ("XTKS", "2024-03-08", "2024-03-11", 0),
        ("FX", "2024-03-08", "2024-03-11", -1),
        ("FX", "2024-11-01", "2024-11-04", 1),
        ("24/7", "2024-03-09", "2024-03-11", 0),
    ],
)
def test_daylight_saving_moves_the_close_in_utc(code: str, before: str, after: str, moved: int) -> None:
    """The close stays where it is on the wall and moves by the hour in UTC, on the venue's own day."""
    a, b = (calendar(code).close(date.fromisoformat(d)) for d in (before, after))
    hours = [datetime.combine(date.min, t.timetz().replace(tzinfo=None)) for t in (a, b)]
    assert hours[1] - hours[0] == timedelta(hours=moved)


def test_an_fx_session_runs_from_five_to_five_in_new_york() -> None:
    """Monday's begins on Sunday; each follows the one before without a gap but for the weekend; across both clock
    changes all last 24 hours.
    """
    fx = calendar("FX")
    assert (fx.open(date(2024, 3, 11)), fx.open(date(2024, 3, 4))) == (
        utc("2024-03-10", "21:00"),
        utc("2024-03-03", "22:00"),
    )
    sessions = fx.between(date(2024, 1, 1), date(2024, 12, 31))
    assert {s.weekday() for s in sessions} == {0, 1, 2, 3, 4}
    assert {fx.close(s) - fx.open(s) for s in sessions} == {timedelta(hours=24)}
    for a, b in pairwise(sessions):
        over_weekend = timedelta(hours=48 + {date(2024, 3, 11): -1, date(2024, 11, 4): 1}.get(b, 0))
        assert fx.open(b) - fx.close(a) == (over_weekend if b.weekday() == 0 else timedelta(0))
        assert fx.close(b).astimezone(NEW_YORK).time() == time(17)


def test_crypto_trades_every_day_of_utc() -> None:
    """Each day, leap days and clock changes too, from midnight to midnight."""
    every = calendar("24/7")
    sessions = every.between(date(2024, 2, 28), date(2024, 3, 31))
    assert len(sessions) == 33
    assert all(
        every.open(s) == datetime.combine(s, time(), UTC) and every.close(s) == every.open(every.shift(s, 1))
        for s in sessions
    )


@pytest.mark.parametrize("code", VENUES)
def test_beyond_what_is_known_nothing_is_a_session(code: str) -> None:
    """Whatever the weekday, whatever the question: a day about which nothing is known is an error."""
    venue = calendar(code)
    late, long_ago = venue.known[1] + timedelta(days=3), venue.known[0] - timedelta(days=3)
    for ask in (
        venue.is_session,
        venue.index,
        venue.open,
        venue.close,
        venue.on_or_before,
        venue.on_or_after,
        lambda d: venue.schedule(d, d),
        lambda d: venue.grid(d, d, 60),
    ):
        for day in (late, long_ago):
            with pytest.raises(CalendarUnknown, match=code):
                ask(day)
    with pytest.raises(CalendarUnknown):
        venue.shift(venue.last, 1)
    with pytest.raises(CalendarUnknown):
        Cuts(venue).of(venue.last)  # the open after it is not known
    assert code not in {"FX", "24/7"} or venue.last == COMPUTED_UNTIL


def test_a_calendar_that_nobody_has() -> None:
    """An unknown code names those that there are."""
    with pytest.raises(ConfigurationError, match="XNYS"):
        calendar("NOWHERE")


@pytest.mark.parametrize("code", VENUES)
def test_sessions_are_in_order_and_do_not_overlap(code: str) -> None:
    """Each opens before it closes, pauses within, and closes before the next opens or as it does; the schedule says
    what the single answers say.
    """
    venue = calendar(code)
    hours = venue.schedule(date(2010, 1, 1), date(2025, 12, 31))
    inside = pl.col("break_start").is_null() | (
        (pl.col("open") < pl.col("break_start"))
        & (pl.col("break_start") < pl.col("break_end"))
        & (pl.col("break_end") < pl.col("close"))
    )
    ordered = hours.select(
        (
            (pl.col("open") < pl.col("close"))
            & inside
            & (pl.col("close") <= pl.col("open").shift(-1, fill_value=pl.col("close").last()))
        ).all()
    )
    assert ordered.item()
    assert hours["session"].to_list() == venue.between(date(2010, 1, 1), date(2025, 12, 31))
    assert all(
        (venue.open(s), venue.close(s)) == (o, c)
        for s, o, c in hours.select("session", "open", "close").head(50).iter_rows()
    )
    assert (hours["break_start"].null_count() == 0) is (code == "XTKS")


def brute_grid(venue: Calendar, session: date, seconds: int) -> list[datetime]:
    """Bar starts, second by second."""
    pause = venue.pause(session)
    parts = (
        [(venue.open(session), venue.close(session))]
        if pause is None
        else [(venue.open(session), pause[0]), (pause[1], venue.close(session))]
    )
    return [
        start + timedelta(seconds=n)
        for start, end in parts
        for n in range(0, int((end - start).total_seconds()), seconds)
    ]


@pytest.mark.parametrize(
    ("code", "day", "seconds", "count"),
    [
        ("XNYS", "2024-07-02", 60, 390),
        ("XNYS", "2024-07-03", 60, 210),  # half a day
        ("XNYS", "2024-07-02", 3600, 7),  # the last one half an hour
        ("XTKS", "2024-11-01", 60, 300),  # without the lunch hour
        ("XTKS", "2024-11-05", 60, 330),
        ("XTKS", "2024-11-01", 3600, 6),  # 9:00, 10:00, 11:00 (half), 12:30, 13:30, 14:30 (half)
        ("XLON", "2024-12-24", 300, 54),
        ("FX", "2024-03-11", 3600, 24),
        ("24/7", "2024-03-10", 900, 96),
    ],
)
def test_the_grid_holds_every_bar_of_a_session(code: str, day: str, seconds: int, count: int) -> None:
    """As many bars as the session's own hours have, each where it starts; a range holds its days' bars."""
    venue, session = calendar(code), date.fromisoformat(day)
    grid = venue.grid(session, session, seconds)
    assert grid["ts"].to_list() == brute_grid(venue, session, seconds)
    assert grid.height == count
    around = [venue.shift(session, n) for n in (-1, 0, 1)]
    assert venue.grid(around[0], around[-1], seconds).rows() == [
        row for s in around for row in venue.grid(s, s, seconds).rows()
    ]


def test_a_day_without_a_session_has_no_bars() -> None:
    """Over a holiday the grid is empty, with its columns."""
    empty = calendar("XNYS").grid(date(2024, 7, 4), date(2024, 7, 4), 60)
    assert empty.is_empty()
    assert empty.schema == calendar("XNYS").grid(date(2024, 7, 5), date(2024, 7, 5), 60).schema


def brute_aligned(asked: pl.DataFrame, other: Calendar) -> list[date]:
    """For each cut, walk the other venue's sessions."""
    around = other.between(asked["session"].min() - timedelta(days=20), asked["session"].max() + timedelta(days=5))  # type: ignore[operator]
    return [max(s for s in around if other.close(s) <= cut) for cut in asked["cut"]]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("XNYS", "XLON"),
        ("XLON", "XNYS"),
        ("XTKS", "XNYS"),
        ("XNYS", "XTKS"),
        ("XMOS", "XLON"),
        ("XNYS", "FX"),
        ("FX", "24/7"),
        ("24/7", "XTKS"),
    ],
)
@pytest.mark.parametrize(
    ("first", "last"), [("2024-03-01", "2024-04-12"), ("2024-10-15", "2024-11-15"), ("2023-12-15", "2024-01-12")]
)
def test_alignment_is_what_had_closed(ours: str, theirs: str, first: str, last: str) -> None:
    """Session by session, over both clock changes and the turn of the year: the last one whose close is not after
    ours.
    """
    asked = calendar(ours).closes(*(date.fromisoformat(d) for d in (first, last)))
    out = align(asked, calendar(theirs))
    assert out["session"].to_list() == asked["session"].to_list()
    assert out["aligned"].to_list() == brute_aligned(asked, calendar(theirs))


def test_one_date_is_two_days_apart() -> None:
    """Tokyo's Tuesday knows New York's Monday; New York's Tuesday knows Tokyo's Tuesday; over Golden Week New York
    sees the session before it.
    """
    tokyo, new_york = calendar("XTKS"), calendar("XNYS")
    tuesday = date(2024, 3, 12)
    assert align(tokyo.closes(tuesday, tuesday), new_york)["aligned"].item() == date(2024, 3, 11)
    assert align(new_york.closes(tuesday, tuesday), tokyo)["aligned"].item() == tuesday
    assert align(new_york.closes(date(2019, 5, 3), date(2019, 5, 3)), tokyo)["aligned"].item() == date(2019, 4, 26)


def test_the_weeks_in_which_only_one_side_has_changed_its_clock() -> None:
    """At 11:30 in New York London has just closed, but not while only the United States have summer time; nor on
    the days when it is London that is back already.
    """
    london = calendar("XLON")
    days = [
        date(2024, 3, 8),
        date(2024, 3, 11),
        date(2024, 3, 28),
        date(2024, 4, 2),
        date(2024, 10, 25),
        date(2024, 10, 28),
        date(2024, 11, 1),
        date(2024, 11, 4),
    ]
    cuts = [datetime.combine(d, time(11, 30), NEW_YORK).astimezone(UTC) for d in days]
    asked = pl.DataFrame({"session": days, "cut": cuts}, schema={"session": pl.Date, "cut": pl.Datetime("us", "UTC")})
    closed = [a == s for s, a in align(asked, london).select("session", "aligned").iter_rows()]
    assert closed == [True, False, False, True, True, False, False, True]


def test_alignment_takes_a_strategys_cuts() -> None:
    """By the cut of New York's Monday, some minutes before Tuesday's open, Tokyo has closed its Tuesday."""
    monday = date(2024, 3, 11)
    assert align(Cuts(calendar("XNYS")).frame(monday, monday), calendar("XTKS"))["aligned"].item() == date(2024, 3, 12)


def test_nobody_is_aligned_with_the_unknown() -> None:
    """A cut after the last day that the other venue's calendar knows is an error, not its last session."""
    tokyo = calendar("XTKS")
    short = Calendar(
        "SHORT",
        tokyo.between(date(2024, 1, 4), date(2024, 1, 31)),
        *([f(s) for s in tokyo.between(date(2024, 1, 4), date(2024, 1, 31))] for f in (tokyo.open, tokyo.close)),
    )
    assert align(calendar("XNYS").closes(date(2024, 1, 30), date(2024, 1, 31)), short)["aligned"].to_list() == [
        date(2024, 1, 30),
        date(2024, 1, 31),
    ]
    for day in (date(2024, 2, 1), date(2024, 1, 2)):
        with pytest.raises(CalendarUnknown, match="SHORT"):
            align(calendar("XNYS").closes(day, day), short)


@pytest.mark.parametrize(
    ("code", "session", "cut"),
    [
        (
            "XNYS",
            "2024-03-08",
            utc("2024-03-11", "13:15"),
        ),  # the weekend of the clock change: Monday's open is at 13:30
        ("XNYS", "2024-07-03", utc("2024-07-05", "13:15")),
        ("XTKS", "2024-03-08", utc("2024-03-10", "23:45")),
        ("FX", "2024-03-07", utc("2024-03-07", "21:45")),  # on weekdays the next session opens as this one closes
        ("FX", "2024-03-08", utc("2024-03-10", "20:45")),
        ("24/7", "2024-03-09", utc("2024-03-09", "23:45")),
    ],
)
def test_a_cut_lies_before_the_next_open(code: str, session: str, cut: datetime) -> None:
    """Some minutes, over a weekend of changing clocks and half a day, and where nothing lies between close and open."""
    cuts, day = Cuts(calendar(code)), date.fromisoformat(session)
    assert cuts.of(day) == cut
    assert cuts.due(cut) == day
    assert cuts.due(cut - timedelta(seconds=1)) == cuts.calendar.shift(day, -1)


@pytest.mark.parametrize("code", VENUES)
def test_cuts_never_know_what_they_trade_at(code: str) -> None:
    """Over two years each cut lies before the next open, after its session's close where the venue rests, and they
    ascend.
    """
    cuts = Cuts(calendar(code))
    frame = cuts.frame(date(2023, 1, 1), date(2024, 12, 31))
    hours = cuts.calendar.schedule(date(2023, 1, 1), date(2024, 12, 31)).join(frame, on="session")
    assert hours.select(
        (
            ((pl.col("close") <= pl.col("cut")) | (pl.col("close") >= pl.col("open").shift(-1)))
            & (pl.col("cut") < pl.col("open").shift(-1))
        )
        .fill_null(value=True)
        .all()
    ).item()
    assert frame["cut"].is_sorted()
    assert (frame["i"].diff().drop_nulls() == 1).all()


def test_a_cut_after_the_open_is_refused() -> None:
    """It would know the prices at which its orders trade."""
    with pytest.raises(ConfigurationError, match="after the auction"):
        Cuts(calendar("XNYS"), BeforeOpen(-5))
