"""The calendars of venues: computed ones, and exchange_calendars' with what it does not have."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from quant_assets.calendars import published
from quant_assets.calendars.exceptional_sessions import CLOSED, SHUT, SPECIAL, Special
from quant_assets.calendars.published import FIRST_YEAR
from quant_assets.calendars.sessions import Calendar, Change, Hours

# of FX and 24/7: rules made of weekdays and daylight saving hold no longer than their lawmakers want
COMPUTED_UNTIL = date(2030, 12, 31)
NEW_YORK = "America/New_York"


def codes() -> tuple[str, ...]:
    """What `calendar` is called with: no alias is among them."""
    return ("FX", "24/7", *published.names())


@cache
def calendar(code: str) -> Calendar:
    """The calendar of a venue from `FIRST_YEAR` on: `FX` (24/5), `24/7` (crypto), or a code of exchange_calendars.

    FX has a session each Monday to Friday, from 17:00 New York of the day before to 17:00 of its own: what single
    dealers skip at Christmas and New Year is theirs. 24/7 has one for each day, 00:00 to 24:00 UTC. An exchange (XNYS,
    XLON, XTKS, XMOS …) has exchange_calendars' sessions and those that it lacks (`exceptional_sessions`).
    Raises ConfigurationError where nobody has the code.
    """
    return _computed(code) if code in {"FX", "24/7"} else _exchange(code)


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
    source = published.venue(code)
    known, tz = (source.first, source.until), ZoneInfo(source.tz)
    shut = [(date.fromisoformat(a), date.fromisoformat(b)) for a, b in CLOSED.get(code, ())]
    scheduled = zip(source.sessions, source.opens, source.closes, source.pauses, strict=True)
    hours = {d: Hours(o, c, p) for d, o, c, p in scheduled if not any(a <= d <= b for a, b in shut)}
    changes: list[Change] = []
    for special in SPECIAL.get(code, ()):
        if not known[0] <= special.session <= known[1]:
            continue
        if special.known_at is None:
            hours[special.session] = _special(special, tz)
        else:
            changes.append(Change(special.session, special.known_at, _special(special, tz)))
    early = set(source.early)
    found = _made(code, source.tz, hours, early, known, changes)
    if lately := [s for s in SHUT.get(code, ()) if s.session not in hours and known[0] <= s.session <= known[1]]:
        hours |= {s.session: found.usual_hours(s.session) for s in lately}
        changes += [Change(s.session, s.known_at) for s in lately]
        return _made(code, source.tz, hours, early, known, changes)
    return found


def _made(
    code: str, tz: str, hours: dict[date, Hours], early: set[date], known: tuple[date, date], changes: list[Change]
) -> Calendar:
    sessions = sorted(hours)
    opens, closes = [hours[s].open for s in sessions], [hours[s].close for s in sessions]
    pauses = [hours[s].pause for s in sessions]
    return Calendar(code, sessions, opens, closes, tz=tz, breaks=pauses, early=early, known=known, changes=changes)


def _special(special: Special, tz: ZoneInfo) -> Hours:
    def at(clock: time) -> datetime:
        return datetime.combine(special.session, clock, tz).astimezone(UTC)

    pause = special.pause and (at(special.pause[0]), at(special.pause[1]))
    return Hours(at(special.open), at(special.close), pause)
