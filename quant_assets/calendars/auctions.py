"""At which auction of the next session a moment's orders trade, and when it decides for it."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from quant_assets.calendars.sessions import Calendar, Hours
from quant_assets.moments import AtTime, BeforeClose, BeforeOpen, Every, Moment

Auction = Literal["open", "close"]
LEAST = timedelta(minutes=15)  # before an early close that comes before the time of day at which a strategy decides
_DAY = timedelta(days=1)
CLOSE = "close"


class Edges(NamedTuple):
    """When a session is decided, and the auction of the session after it at which the orders trade; UTC."""

    cut: datetime
    trades_at: datetime
    auction: Auction


def edges(moment: Moment, close: datetime, following: Hours, tz: ZoneInfo) -> Edges:
    """When a session that closed at `close` is decided, where the next one has the hours `following`.

    A session is decided after its own close, where the venue rests, and before the close of the next one: a time of day
    that comes later than an early close counts as `LEAST` before it. Of bars (`Every`) it is the end of the session.
    """
    match moment:
        case BeforeOpen():
            before = following.open - timedelta(minutes=moment.minutes)
            cut = max(before, close) if close < following.open else before
            return Edges(cut, following.open, "open")
        case BeforeClose():
            return Edges(max(following.close - timedelta(minutes=moment.minutes), close), following.close, "close")
        case AtTime():
            cut = _next(moment.clock_time, close, tz)
            if cut >= following.close:
                cut = max(following.close - LEAST, close)
        case Every():
            cut = close + timedelta(seconds=moment.delay)
    return Edges(cut, following.open, "open") if cut < following.open else Edges(cut, following.close, "close")


def auction_time(sessions: Calendar, session: date, slot: str) -> datetime:
    """When the orders of a slot trade in a session, UTC: at its close, or at its open."""
    return sessions.close(session) if slot == CLOSE else sessions.open(session)


def closing(sessions: Calendar, session: date) -> datetime:
    """The time of trades at the close, UTC: a microsecond before it where the next session opens then, so that they are
    of the session that ends.
    """
    close = sessions.close(session)
    endless = session < sessions.last and sessions.open(sessions.after(session)) <= close
    return close - timedelta(microseconds=1) if endless else close


def _next(clock_time: time, after: datetime, tz: ZoneInfo) -> datetime:
    """The first moment not before `after` at which the venue's clock shows a time of day."""
    day = after.astimezone(tz).date()
    at = datetime.combine(day, clock_time, tz).astimezone(UTC)
    return at if at >= after else datetime.combine(day + _DAY, clock_time, tz).astimezone(UTC)
