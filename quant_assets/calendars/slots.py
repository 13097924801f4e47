"""The slots of a session at which an intraday strategy decides: one for each bar that begins as another one ends."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from quant_assets.calendars.sessions import Calendar, Hours
from quant_assets.moments import Every

DAY = timedelta(days=1)


class Slot(NamedTuple):
    """A moment of a session, times in UTC.

    `slot`: the start, on the venue's clock, of the bar at whose open its orders trade (`trades_at`). `bar`: the start
    of the last bar that it reads, which has ended at the `cut`, but for the delay. Orders leave before `valid_until`:
    before the bar that they trade in begins where there is time between the two bars, else before it ends; its open is
    known when it `settles`.
    """

    session: date
    slot: str
    bar: datetime
    cut: datetime
    trades_at: datetime
    valid_until: datetime
    settles: datetime


def slots(calendar: Calendar, moment: Every, session: date) -> list[Slot]:
    """The slots of a session, ascending.

    What the last bar of a session shows is decided at the first bar of the next one where that begins at once (24/7,
    FX on weekdays); where the venue rests in between, nothing is decided then, and positions are kept. Bars are those
    of the calendar's grid: counted from the open and anew from the end of a break, short before a break or a close.
    Hours that became known late count from when they were known: a slot is one if at its cut the venue was to trade.
    """
    ever = list(dict.fromkeys(_ever(calendar, session)))
    found = [s for hours in ever for s in _kept(calendar, moment, session, hours)]
    return sorted({s.slot: s for s in found}.values(), key=lambda s: s.cut)


def slot_named(calendar: Calendar, moment: Every, session: date, name: str) -> Slot | None:
    """The slot of a session with this name; None where the session has none."""
    return next((s for s in slots(calendar, moment, session) if s.slot == name), None)


def slots_between(calendar: Calendar, moment: Every, sessions: Sequence[date]) -> list[Slot]:
    """The slots of several sessions, ascending."""
    return [s for session in sorted(sessions) for s in slots(calendar, moment, session)]


def due_slots(calendar: Calendar, moment: Every, since: datetime, now: datetime) -> list[Slot]:
    """The slots with a cut after `since` that have come by `now`, ascending."""
    last = calendar.on_or_before((now + DAY).date())
    sessions = calendar.between(calendar.on_or_before((since - DAY).date()), last)
    return [s for s in slots_between(calendar, moment, sessions) if since < s.cut <= now]


def _ever(calendar: Calendar, session: date) -> Iterator[Hours]:
    """All hours that were ever those of a session."""
    day, heard = next(calendar.ever_after(session - DAY))
    if day == session:
        yield from (hours for hours, _ in heard)


def _kept(calendar: Calendar, moment: Every, session: date, hours: Hours) -> Iterator[Slot]:
    """The slots that a session with these hours has, those at whose cuts these were its hours."""
    length, delay = timedelta(minutes=moment.minutes), timedelta(seconds=moment.delay)
    bars = list(_bars(hours, length))
    before = _last_bar(calendar, session, hours.open, length)
    for (bar, end), (start, until) in pairwise([*before, *bars]):
        cut = end + delay
        if calendar.hours_at(session, cut) == hours:
            name = f"{calendar.local(start):%H:%M}"
            yield Slot(session, name, bar, cut, start, start if cut < start else until, until + delay)


def _last_bar(
    calendar: Calendar, session: date, opened: datetime, length: timedelta
) -> list[tuple[datetime, datetime]]:
    """The last bar of the session before, where the venue does not rest between the two."""
    if session <= calendar.first:
        return []
    previous = calendar.hours_at(calendar.before(session), opened)
    return list(_bars(previous, length))[-1:] if previous and previous.close == opened else []


def _bars(hours: Hours, length: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """The starts and ends of the bars."""
    pause = hours.pause
    parts = [(hours.open, hours.close)] if pause is None else [(hours.open, pause[0]), (pause[1], hours.close)]
    for start, end in parts:
        at = start.astimezone(UTC)
        while at < end:
            yield at, min(at + length, end)
            at += length
