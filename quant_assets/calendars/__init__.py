"""Knowledge cuts of sessions, and what had closed by them elsewhere. A date outside the known range is an error,
never "a weekday".

Inside, all times are UTC. Venues are aligned by what had closed (`align`), never by date: Tokyo's and New York's
session
of one date are half a day apart. The calendars themselves come from `venues`.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import polars as pl

from quant_assets.calendars.auctions import Auction, Edges, edges
from quant_assets.calendars.exceptional_sessions import CLOSED
from quant_assets.calendars.sessions import Calendar, Change, Hours
from quant_assets.calendars.venues import COMPUTED_UNTIL, calendar
from quant_assets.contract import UTC_MICROS
from quant_assets.errors import CalendarUnknown, ConfigurationError
from quant_assets.moments import AtTime, BeforeOpen, Moment

__all__ = ["CLOSED", "COMPUTED_UNTIL", "Auction", "Calendar", "Change", "Cuts", "Hours", "align", "calendar"]
DEFAULT = BeforeOpen()


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
    """The knowledge cut of each session: when its moment has come. What is known by it may be used to decide `session`.

    It lies before the auction at which its orders trade, and not before the session's own close, where the venue rests
    between the two. Where the next session opens as this one closes (FX on weekdays, crypto), a cut before the open
    lies before both: a decision cannot know the last minutes of the session that it is about, but its orders come
    before the open that they are to trade at. The cuts of sessions ascend: each has its own.

    A cut is what was so at the time: a closure that became known only after the cut moves it no more. What becomes
    known within the minutes before an auction, such as an early close, is acted on at once.

    `beside`: the calendars of other venues whose names are decided at the same cuts.
    """

    def __init__(self, sessions: Calendar, moment: Moment = DEFAULT, beside: Sequence[Calendar] = ()) -> None:
        if not isinstance(moment, AtTime) and moment.minutes < 0:
            raise ConfigurationError(
                f"{sessions.code}: a cut {-moment.minutes} minutes after the auction would know prices at which its "
                "own orders trade; take 0 or more before it"
            )
        self.calendar = sessions
        self.moment = moment
        self.beside = tuple(beside)
        self._known: dict[date, Edges] = {}

    def of(self, session: date) -> datetime:
        """The cut of `session`, UTC; also of one that was closed after it was decided. Raises CalendarUnknown where
        it never was a session.
        """
        return self._edges(session).cut

    def trades_at(self, session: date) -> datetime:
        """The open or close that what is decided at the cut of `session` is to trade at, UTC, as known at the cut."""
        return self._edges(session).trades_at

    def auction(self, session: date) -> Auction:
        """Which auction `trades_at` is: of the open or of the close of the session after."""
        return self._edges(session).auction

    def _edges(self, session: date) -> Edges:
        if session not in self._known:
            self._known[session] = self._found(session)
        return self._known[session]

    def _found(self, session: date) -> Edges:
        close = self.calendar.last_hours(session).close
        for day, said in self.calendar.ever_after(session):
            for hours, since in said:
                planned = edges(self.moment, close, hours, self.calendar.tz)
                cut = planned.cut if since is None else max(planned.cut, since)
                in_time = cut < planned.trades_at or cut == planned.cut
                if in_time and self.calendar.hours_at(day, cut) == hours:
                    return planned._replace(cut=cut)
        raise CalendarUnknown(
            f"{self.calendar.code}: the open after {session} lies outside the known days "
            f"{self.calendar.known[0]} to {self.calendar.known[1]}; update exchange-calendars"
        )

    def as_of(self, known_at: datetime) -> "Cuts":
        """The cuts by the calendar as it was known at a time."""
        then = self.calendar.as_of(known_at)
        beside = [other.as_of(known_at) for other in self.beside]
        same = then is self.calendar and all(a is b for a, b in zip(beside, self.beside, strict=True))
        return self if same else Cuts(then, self.moment, beside)

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
        today = now.astimezone(UTC).date()
        session = self.calendar.on_or_before(today)
        if today < self.calendar.known[1]:
            # where the day begins before UTC's, a half day of tomorrow may have closed today
            session = self.calendar.on_or_before(today + timedelta(days=1))
        if session == self.calendar.last:
            session = self.calendar.before(session)
        while self.of(session) > now:
            session = self.calendar.before(session)
        return session
