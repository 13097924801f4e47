"""Knowledge cuts of sessions, and what had closed by them elsewhere. A date outside the known range is an error,
never "a weekday".

Inside, all times are UTC. Venues are aligned by what had closed (`align`), never by date: Tokyo's and New York's
session
of one date are half a day apart. The calendars themselves come from `venues`.
"""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from quant_assets.calendars.exceptional_sessions import CLOSED
from quant_assets.calendars.sessions import Calendar, Change, Hours
from quant_assets.calendars.venues import COMPUTED_UNTIL, calendar
from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CalendarUnknown, ConfigurationError

__all__ = ["CLOSED", "COMPUTED_UNTIL", "Calendar", "Change", "Cuts", "Hours", "align", "calendar"]


def align(asked: pl.DataFrame, other: Calendar) -> pl.DataFrame:
    """`asked` (session, cut: of one venue, by its `closes` or by a strategy's `Cuts.frame`) with `aligned`: the
    last session of `other` that had closed by the cut.

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
            f"{other.code}: what had closed by {beyond['cut'][0]} lies outside the known days {other.known[0]} "
            f"to {other.known[1]}; update exchange-calendars"
        )
    return out


class Cuts:
    """The knowledge cut of each session: some minutes before the next open. What is known by it may be used to
    decide `session`.

    It lies not before the session's own close, where the venue rests between the two. Where the next session opens as
    this one closes (FX on weekdays, crypto), it lies before both: a decision cannot know the last minutes of the
    session
    that it is about, but its orders come before the open that they are to trade at.

    A cut is what was so at the time: a closure that became known only after the cut moves it no more.
    """

    def __init__(self, sessions: Calendar, minutes_before_open: int = 15) -> None:
        if minutes_before_open < 0:
            raise ConfigurationError(
                f"{sessions.code}: a cut {-minutes_before_open} minutes after the open would know prices at which its "
                "own orders trade; take 0 or more before it"
            )
        self.calendar = sessions
        self.minutes_before_open = minutes_before_open
        self._known: dict[date, tuple[datetime, datetime]] = {}

    def of(self, session: date) -> datetime:
        """The cut of `session`, UTC; also of one that was closed after it was decided. Raises CalendarUnknown where
        it never was a session.
        """
        return self._edges(session)[0]

    def trades_at(self, session: date) -> datetime:
        """The open that what is decided at the cut of `session` is to trade at, UTC, as known at the cut."""
        return self._edges(session)[1]

    def _edges(self, session: date) -> tuple[datetime, datetime]:
        if session not in self._known:
            self._known[session] = self._found(session)
        return self._known[session]

    def _found(self, session: date) -> tuple[datetime, datetime]:
        close = self.calendar.last_hours(session).close
        for day, said in self.calendar.ever_after(session):
            for hours in said:
                before = hours.open - timedelta(minutes=self.minutes_before_open)
                cut = max(before, close) if close < hours.open else before
                if self.calendar.hours_at(day, cut) == hours:
                    return cut, hours.open
        raise CalendarUnknown(
            f"{self.calendar.code}: the open after {session} lies outside the known days "
            f"{self.calendar.known[0]} to {self.calendar.known[1]}; update exchange-calendars"
        )

    def as_of(self, known_at: datetime) -> "Cuts":
        """The cuts by the calendar as it was known at a time."""
        then = self.calendar.as_of(known_at)
        return self if then is self.calendar else Cuts(then, self.minutes_before_open)

    def decides(self, session: date) -> bool:
        """Whether `session` is one to decide: one that trades, and that was known to by its own cut."""
        return self.calendar.is_session(session) and self._stood(session)

    def booked_before(self, day: date) -> date:
        """The last day before `day` that was a session by its own cut, whatever is known now: what was booked then
        stays booked.
        """
        return next(d for d in self.calendar.ever_before(day) if self._stood(d))

    def decided_before(self, day: date) -> date:
        """The last session before `day` that is to be decided."""
        return next(d for d in self.calendar.ever_before(day) if self.decides(d))

    def _stood(self, day: date) -> bool:
        return self.calendar.hours_at(day, self.of(day)) is not None

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
        """The last session whose cut has passed; on the last days that the calendar knows, of those whose next open
        it knows.
        """
        session = self.calendar.on_or_before(now.astimezone(UTC).date())
        if session == self.calendar.last:
            session = self.calendar.before(session)
        while self.of(session) > now:
            session = self.calendar.before(session)
        return session
