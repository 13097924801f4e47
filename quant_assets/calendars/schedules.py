"""When a calendar asks for its sessions to be decided: cron lines on the venue's own clock."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from quant_assets.calendars import Calendar, Cuts
from quant_assets.calendars.slots import Slot, due_slots, slots_between
from quant_assets.moments import Every

YEARS = 4  # of the calendar's end, whose cuts say when a tick is needed: regular hours, late openings, special sessions
_MINUTE = timedelta(minutes=1)
_HOUR, _DAY, _WEEK = 60, 24, 7
SLOTS_OF = timedelta(days=366)


class Ticks(NamedTuple):
    """Cron lines, and the zone on whose clock they are read."""

    crons: tuple[str, ...]
    zone: str


def ticks(cuts: Cuts) -> Ticks:
    """The cron lines, on the venue's own clock, of which one fires at the cut of each session, or within the minute
    after it.

    They follow from the cuts alone: what opens late once a year has a line of its own, which finds nothing to do on the
    other days; so has the other hour where daylight saving moves a cut that lies long before the open.
    """
    calendar = cuts.calendar
    days: dict[tuple[int, int], set[int]] = {}
    last = calendar.before(calendar.last)
    first = max(calendar.known[0], date(last.year - YEARS, 1, 1))
    for session in calendar.between(first, last):
        at = calendar.local(_whole_minute(cuts.of(session)))
        days.setdefault((at.hour, at.minute), set()).add((at.weekday() + 1) % _WEEK)
    lines = sorted(days.items(), key=lambda line: (-len(line[1]), line[0]))
    return Ticks(tuple(f"{minute} {hour} * * {_weekdays(on)}" for (hour, minute), on in lines), calendar.tz.key)


def asked(cuts: Cuts, tick: datetime) -> date | None:
    """The session whose cut this tick follows; None where it follows none, as on a holiday."""
    session = cuts.due(tick)
    return session if _whole_minute(cuts.of(session)) == tick.astimezone(UTC).replace(second=0, microsecond=0) else None


def slot_ticks(calendar: Calendar, moment: Every) -> Ticks:
    """The cron lines, on the venue's own clock, of which one fires at the cut of each slot, or within the minute after
    it. They follow from the slots of the calendar's last known year.
    """
    found: dict[tuple[int, int], set[int]] = {}
    last = calendar.before(calendar.last)
    first = max(calendar.known[0], last - SLOTS_OF)
    for slot in slots_between(calendar, moment, calendar.between(first, last)):
        at = calendar.local(_whole_minute(slot.cut))
        found.setdefault((at.hour, at.minute), set()).add((at.weekday() + 1) % _WEEK)
    minutes: dict[tuple[int, str], list[int]] = {}
    for (hour, minute), on in sorted(found.items()):
        minutes.setdefault((hour, _weekdays(on)), []).append(minute)
    hours: dict[tuple[str, str], list[int]] = {}
    for (hour, days), some in minutes.items():
        hours.setdefault((_listed(some, _HOUR), days), []).append(hour)
    lines = (f"{some} {_listed(of, _DAY)} * * {days}" for (some, days), of in hours.items())
    return Ticks(tuple(lines), calendar.tz.key)


def slots_asked(calendar: Calendar, moment: Every, tick: datetime) -> list[Slot]:
    """The slots whose cut this tick follows, ascending; none where it follows none, as on a holiday."""
    now = tick.astimezone(UTC).replace(second=0, microsecond=0)
    return due_slots(calendar, moment, now - _MINUTE, now)


def _listed(numbers: Sequence[int], whole: int) -> str:
    """Numbers as cron has them: `*` where they are all."""
    return "*" if len(numbers) == whole else ",".join(map(str, numbers))


def _whole_minute(moment: datetime) -> datetime:
    down = moment.replace(second=0, microsecond=0)
    return down if down == moment else down + _MINUTE


def _weekdays(on: set[int]) -> str:
    if len(on) == _WEEK:
        return "*"
    days = sorted(on)
    together = len(days) > 2 and days == list(range(days[0], days[-1] + 1))  # 1-3, but 1,2
    return f"{days[0]}-{days[-1]}" if together else ",".join(map(str, days))
