"""Trading sessions and knowledge cuts. A date outside the known range is an error, never "a weekday"."""

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache

import polars as pl

from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CalendarUnknown

# The span for which exchange_calendars is asked; its own bound on future years is about one.
FIRST_YEAR = 2005


class Calendar:
    """The sessions of one venue, by exchange_calendars code, with opens and closes in UTC."""

    def __init__(self, code: str, sessions: list[date], opens: list[datetime], closes: list[datetime]) -> None:
        self.code = code
        self._sessions = sessions
        self._opens = opens
        self._closes = closes
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
        if not self.first <= day <= self.last:
            raise CalendarUnknown(f"{self.code}: {day} lies outside the known sessions {self.first} to {self.last}; update exchange-calendars")
        return day in self._index

    def index(self, session: date) -> int:
        """The position of `session`; neighbours differ by one. Raises CalendarUnknown where it is no session."""
        if session not in self._index:
            known = "not a session" if self.is_session(session) is False else ""
            raise CalendarUnknown(f"{self.code}: {session} is {known}; the session before it is {self.on_or_before(session)}")
        return self._index[session]

    def at(self, index: int) -> date:
        """The session at a position. Raises CalendarUnknown outside the known range."""
        if not 0 <= index < len(self._sessions):
            raise CalendarUnknown(f"{self.code}: position {index} lies outside the {len(self._sessions)} known sessions")
        return self._sessions[index]

    def shift(self, session: date, by: int) -> date:
        """The session `by` sessions later (earlier where negative)."""
        return self.at(self.index(session) + by)

    def on_or_before(self, day: date) -> date:
        """The last session not after `day`."""
        return self.at(bisect_right(self._sessions, day) - 1)

    def on_or_after(self, day: date) -> date:
        """The first session not before `day`."""
        return self.at(bisect_left(self._sessions, day))

    def between(self, first: date, last: date) -> list[date]:
        """The sessions in [first, last]. Raises CalendarUnknown where the end is not known yet."""
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


@cache
def calendar(code: str) -> Calendar:
    """The calendar of a venue (XNYS, XLON, XTKS, XMOS …), from `FIRST_YEAR` to the end of what is known."""
    import exchange_calendars as xc

    source = xc.get_calendar(code, start=f"{FIRST_YEAR}-01-01")
    schedule = source.schedule
    moments = {c: [t.to_pydatetime() for t in schedule[c]] for c in ("open", "close")}
    return Calendar(code, [s.date() for s in schedule.index], moments["open"], moments["close"])


class Cuts:
    """The knowledge cut of each session: some minutes before the next open. What is known by it may be used to decide `session`."""

    def __init__(self, sessions: Calendar, minutes_before_open: int = 15) -> None:
        self.calendar = sessions
        self.minutes_before_open = minutes_before_open

    def of(self, session: date) -> datetime:
        """The cut of `session`, UTC."""
        return self.calendar.open(self.calendar.shift(session, 1)) - timedelta(minutes=self.minutes_before_open)

    def frame(self, first: date, last: date) -> pl.DataFrame:
        """Columns session, i (Int32 position in the calendar), cut (UTC); ascending."""
        sessions = self.calendar.between(first, last)
        data = {"session": sessions, "i": [self.calendar.index(s) for s in sessions], "cut": [self.of(s) for s in sessions]}
        return pl.DataFrame(data, schema={"session": pl.Date, "i": pl.Int32, "cut": UTC_MICROS})

    def due(self, now: datetime) -> date:
        """The last session whose cut has passed."""
        session = self.calendar.on_or_before(now.astimezone(UTC).date())
        while self.of(session) > now:
            session = self.calendar.shift(session, -1)
        return session
