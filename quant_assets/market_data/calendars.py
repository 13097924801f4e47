"""Trading sessions and knowledge cuts. A date outside the known range is an error, never "a weekday".

Inside, all times are UTC; a venue's wall clock appears at its edges only (`Calendar.local`). Venues are aligned by
what had closed (`align`), never by date: Tokyo's and New York's session of one date are half a day apart.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CalendarUnknown, ConfigurationError

FIRST_YEAR = 1990  # the span for which calendars are made; where exchange_calendars knows less, from there on
COMPUTED_UNTIL = date(
    2030, 12, 31
)  # of FX and 24/7: rules made of weekdays and daylight saving hold no longer than their lawmakers want
CLOSED = {
    "XMOS": (("2022-02-28", "2022-03-23"),)
}  # first and last day of closures that exchange_calendars does not know
NEW_YORK = "America/New_York"
_SCHEDULE = {
    "session": pl.Date,
    "open": UTC_MICROS,
    "break_start": UTC_MICROS,
    "break_end": UTC_MICROS,
    "close": UTC_MICROS,
    "early": pl.Boolean,
}


class Calendar:
    """The sessions of one venue, with opens, breaks and closes in UTC. `tz` is the venue's own clock."""

    def __init__(
        self,
        code: str,
        sessions: list[date],
        opens: list[datetime],
        closes: list[datetime],
        *,
        tz: str = "UTC",
        breaks: Sequence[tuple[datetime, datetime] | None] = (),
        early: Sequence[date] = (),
        known: tuple[date, date] | None = None,
    ) -> None:
        """`breaks`: by session, where the venue pauses; `early`: sessions that close before their usual time; `known`: the first and last day about which all is known, by default the first and last session."""
        self.code = code
        self.tz = ZoneInfo(tz)
        self.known = known or (sessions[0], sessions[-1])
        self._sessions = sessions
        self._opens = opens
        self._closes = closes
        self._breaks = breaks
        self._early = frozenset(early)
        self._index = {s: i for i, s in enumerate(sessions)}

    @property
    def first(self) -> date:
        """The first known session."""
        return self._sessions[0]

    @property
    def last(self) -> date:
        """The last known session; what lies after it is not known, whatever the weekday."""
        return self._sessions[-1]

    def is_session(self, day: date) -> bool:
        """Whether the venue trades on `day`. Raises CalendarUnknown outside the known range."""
        if not self.known[0] <= day <= self.known[1]:
            raise CalendarUnknown(
                f"{self.code}: {day} lies outside the known days {self.known[0]} to {self.known[1]}; update exchange-calendars"
            )
        return day in self._index

    def index(self, session: date) -> int:
        """The position of `session`; neighbours differ by one. Raises CalendarUnknown where it is no session."""
        if session not in self._index:
            self.is_session(session)
            raise CalendarUnknown(
                f"{self.code}: {session} is not a session; the session before it is {self.on_or_before(session)}"
            )
        return self._index[session]

    def at(self, index: int) -> date:
        """The session at a position. Raises CalendarUnknown outside the known range."""
        if not 0 <= index < len(self._sessions):
            raise CalendarUnknown(
                f"{self.code}: position {index} lies outside the {len(self._sessions)} known sessions"
            )
        return self._sessions[index]

    def shift(self, session: date, by: int) -> date:
        """The session `by` sessions later (earlier where negative)."""
        return self.at(self.index(session) + by)

    def on_or_before(self, day: date) -> date:
        """The last session not after `day`. Raises CalendarUnknown where `day` is not known."""
        self.is_session(day)
        return self.at(bisect_right(self._sessions, day) - 1)

    def on_or_after(self, day: date) -> date:
        """The first session not before `day`. Raises CalendarUnknown where `day` is not known."""
        self.is_session(day)
        return self.at(bisect_left(self._sessions, day))

    def between(self, first: date, last: date) -> list[date]:
        """The sessions in [first, last]. Raises CalendarUnknown where an end is not known."""
        if first > last:
            return []
        for edge in (first, last):
            self.is_session(edge)
        return self._sessions[bisect_left(self._sessions, first) : bisect_right(self._sessions, last)]

    def open(self, session: date) -> datetime:
        """The opening auction, UTC."""
        return self._opens[self.index(session)]

    def close(self, session: date) -> datetime:
        """The close, UTC; early on half days."""
        return self._closes[self.index(session)]

    def pause(self, session: date) -> tuple[datetime, datetime] | None:
        """The break of the session [start, end), UTC, where the venue has one."""
        return self._breaks[self.index(session)] if self._breaks else None

    def closes_early(self, session: date) -> bool:
        """Whether the session ends before its usual time."""
        return self._sessions[self.index(session)] in self._early

    def local(self, moment: datetime) -> datetime:
        """A moment on the venue's clock."""
        return moment.astimezone(self.tz)

    def schedule(self, first: date, last: date) -> pl.DataFrame:
        """Columns session, open, break_start, break_end (null without a break), close (all UTC), early; ascending."""
        rows = [
            (s, self.open(s), *(self.pause(s) or (None, None)), self.close(s), self.closes_early(s))
            for s in self.between(first, last)
        ]
        return pl.DataFrame(rows, schema=_SCHEDULE, orient="row")

    def grid(self, first: date, last: date, seconds: int) -> pl.DataFrame:
        """Columns session, ts: the starts (UTC) of all bars of `seconds` that a complete series has in [first, last]; ascending.

        Bars are counted from the open, and anew from the end of a break; the last one before a break or the close may be
        shorter. Early closes, breaks and daylight saving are the schedule's.
        """
        hours = self.schedule(first, last)
        until_break, after = pl.coalesce("break_start", "close"), hours.filter(pl.col("break_end").is_not_null())
        parts = [
            hours.select("session", start="open", end=until_break),
            after.select("session", start="break_end", end="close"),
        ]
        starts = pl.datetime_ranges(
            "start", "end", interval=f"{seconds}s", closed="left", time_unit="us", time_zone="UTC"
        )
        return pl.concat(parts).select("session", ts=starts).explode("ts", empty_as_null=False).sort("ts")

    def closes(self, first: date, last: date) -> pl.DataFrame:
        """Columns session, cut: the close of each session in [first, last], as `align` takes it; ascending."""
        return self.schedule(first, last).select("session", cut="close")


def align(asked: pl.DataFrame, other: Calendar) -> pl.DataFrame:
    """`asked` (session, cut: of one venue, by its `closes` or by a strategy's `Cuts.frame`) with `aligned`: the last session of `other` that had closed by the cut.

    Raises CalendarUnknown where a cut lies outside of what is known of `other`.
    """
    closes = other.closes(*other.known).select(aligned="session", close="cut")
    out = (
        asked.sort("cut")
        .join_asof(closes, left_on="cut", right_on="close", strategy="backward")
        .drop("close")
        .sort("session")
    )
    beyond = out.filter(pl.col("aligned").is_null() | (pl.col("cut").dt.date() > other.known[1]))
    if beyond.height:
        raise CalendarUnknown(
            f"{other.code}: what had closed by {beyond['cut'][0]} lies outside the known days {other.known[0]} to {other.known[1]}; update exchange-calendars"
        )
    return out


@cache
def calendar(code: str) -> Calendar:
    """The calendar of a venue: `FX` (24/5), `24/7` (crypto), or any code of exchange_calendars (XNYS, XLON, XTKS, XMOS …), from `FIRST_YEAR` on.

    FX has a session each Monday to Friday, from 17:00 New York of the day before to 17:00 of its own: what single dealers
    skip at Christmas and New Year is theirs. 24/7 has one for each day, 00:00 to 24:00 UTC. Raises ConfigurationError where nobody has the code.
    """
    if code in {"FX", "24/7"}:
        return _computed(code)
    return _exchange(code)


def _computed(code: str) -> Calendar:
    known = date(FIRST_YEAR, 1, 1), COMPUTED_UNTIL
    days = [known[0] + timedelta(days=n) for n in range((known[1] - known[0]).days + 1)]
    if code == "24/7":
        opens = [datetime.combine(d, time(), UTC) for d in days]
        return Calendar(code, days, opens, [o + timedelta(days=1) for o in opens], known=known)
    sessions = [d for d in days if d.weekday() < 5]
    five = time(17, tzinfo=ZoneInfo(NEW_YORK))
    closes = [datetime.combine(d, five).astimezone(UTC) for d in sessions]
    opens = [datetime.combine(d - timedelta(days=1), five).astimezone(UTC) for d in sessions]
    return Calendar(code, sessions, opens, closes, tz=NEW_YORK, known=known)


def _exchange(code: str) -> Calendar:
    import pandas as pd

    source, since = _library(code)
    shut = [(date.fromisoformat(a), date.fromisoformat(b)) for a, b in CLOSED.get(code, ())]
    schedule = source.schedule[[not any(a <= s.date() <= b for a, b in shut) for s in source.schedule.index]]
    hours: dict[str, list[Any]] = {
        c: [None if t is pd.NaT else t.to_pydatetime() for t in schedule[c]]
        for c in ("open", "close", "break_start", "break_end")
    }
    breaks = [None if a is None else (a, b) for a, b in zip(hours["break_start"], hours["break_end"], strict=True)]
    sessions, early = [s.date() for s in schedule.index], [s.date() for s in source.early_closes]
    return Calendar(
        code,
        sessions,
        hours["open"],
        hours["close"],
        tz=source.tz.key,
        breaks=breaks,
        early=early,
        known=(since, source.default_end().date()),
    )


def _library(code: str) -> tuple[Any, date]:
    """exchange_calendars' own calendar, and the first day that it knows."""
    import exchange_calendars as xc
    from exchange_calendars.errors import InvalidCalendarName

    try:
        return xc.get_calendar(code, start=f"{FIRST_YEAR}-01-01"), date(FIRST_YEAR, 1, 1)
    except InvalidCalendarName as error:
        raise ConfigurationError(
            f"no calendar is called {code!r}; take FX, 24/7, or one of {xc.get_calendar_names(include_aliases=False)}"
        ) from error
    except (ValueError, NotImplementedError):  # it is known from a later day on, or not at all
        pass
    try:
        source = xc.get_calendar(code, start=xc.get_calendar(code).bound_min())
    except (ValueError, NotImplementedError) as error:
        raise CalendarUnknown(
            f"{code}: exchange-calendars {xc.__version__} cannot make this calendar: {str(error)[:200]}; take another version, or another venue with the same sessions"
        ) from error
    return source, source.first_session.date()


class Cuts:
    """The knowledge cut of each session: some minutes before the next open, never before its own close. What is known by it may be used to decide `session`.

    Where the next session opens as this one closes (FX on weekdays, crypto), the cut is the close itself: earlier, a decision could
    not know the session that it is about, and later its orders would trade at an open that lies in the past.
    """

    def __init__(self, sessions: Calendar, minutes_before_open: int = 15) -> None:
        if minutes_before_open < 0:
            raise ConfigurationError(
                f"{sessions.code}: a cut {-minutes_before_open} minutes after the open would know prices at which its own orders trade; take 0 or more before it"
            )
        self.calendar = sessions
        self.minutes_before_open = minutes_before_open

    def of(self, session: date) -> datetime:
        """The cut of `session`, UTC."""
        before_open = self.calendar.open(self.calendar.shift(session, 1)) - timedelta(minutes=self.minutes_before_open)
        return max(before_open, self.calendar.close(session))

    def frame(self, first: date, last: date) -> pl.DataFrame:
        """Columns session, i (Int32 position in the calendar), cut (UTC); ascending."""
        sessions = self.calendar.between(first, last)
        data = {
            "session": sessions,
            "i": [self.calendar.index(s) for s in sessions],
            "cut": [self.of(s) for s in sessions],
        }
        return pl.DataFrame(data, schema={"session": pl.Date, "i": pl.Int32, "cut": UTC_MICROS})

    def due(self, now: datetime) -> date:
        """The last session whose cut has passed."""
        session = self.calendar.on_or_before(now.astimezone(UTC).date())
        while self.of(session) > now:
            session = self.calendar.shift(session, -1)
        return session
