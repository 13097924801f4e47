"""The calendars of venues: computed ones, and exchange_calendars' with what it does not have."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from warnings import catch_warnings, simplefilter
from zoneinfo import ZoneInfo

import numpy as np

from quant_assets.calendars.exceptional_sessions import CLOSED, SHUT, SPECIAL, Special
from quant_assets.calendars.sessions import Calendar, Change, Hours
from quant_assets.errors import CalendarUnknown, ConfigurationError

FIRST_YEAR = 1990  # the span for which calendars are made; where exchange_calendars knows less, from there on
# of FX and 24/7: rules made of weekdays and daylight saving hold no longer than their lawmakers want
COMPUTED_UNTIL = date(2030, 12, 31)
NEW_YORK = "America/New_York"


def codes() -> tuple[str, ...]:
    """What `calendar` is called with: no alias is among them."""
    import exchange_calendars as xc

    return ("FX", "24/7", *xc.get_calendar_names(include_aliases=False))


@cache
def calendar(code: str) -> Calendar:
    """The calendar of a venue: `FX` (24/5), `24/7` (crypto), or any code of exchange_calendars (XNYS, XLON, XTKS, XMOS …), from `FIRST_YEAR` on.

    FX has a session each Monday to Friday, from 17:00 New York of the day before to 17:00 of its own: what single dealers
    skip at Christmas and New Year is theirs. 24/7 has one for each day, 00:00 to 24:00 UTC. To exchange_calendars' sessions
    come those that it does not have (`exceptional_sessions`). Raises ConfigurationError where nobody has the code.
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
    source, known = _library(code)
    shut = [(date.fromisoformat(a), date.fromisoformat(b)) for a, b in CLOSED.get(code, ())]
    hours = {d: h for d, h in _scheduled(source) if not any(a <= d <= b for a, b in shut)}
    changes: list[Change] = []
    for special in SPECIAL.get(code, ()):
        if not known[0] <= special.session <= known[1]:
            continue
        if special.known_at is None:
            hours[special.session] = _special(special, source.tz)
        else:
            changes.append(Change(special.session, special.known_at, _special(special, source.tz)))
    early = {s.date() for s in source.early_closes}
    found = _made(code, source.tz.key, hours, early, known, changes)
    if lately := [s for s in SHUT.get(code, ()) if s.session not in hours and known[0] <= s.session <= known[1]]:
        hours |= {s.session: found.usual_hours(s.session) for s in lately}
        changes += [Change(s.session, s.known_at) for s in lately]
        return _made(code, source.tz.key, hours, early, known, changes)
    return found


def _made(
    code: str, tz: str, hours: dict[date, Hours], early: set[date], known: tuple[date, date], changes: list[Change]
) -> Calendar:
    sessions = sorted(hours)
    opens, closes = [hours[s].open for s in sessions], [hours[s].close for s in sessions]
    pauses = [hours[s].pause for s in sessions]
    return Calendar(code, sessions, opens, closes, tz=tz, breaks=pauses, early=early, known=known, changes=changes)


def _scheduled(source: Any) -> Iterator[tuple[date, Hours]]:
    """The sessions and hours of exchange_calendars' own calendar."""
    import pandas as pd

    def moment(of: Any) -> datetime:
        return of.to_pydatetime()

    columns = [source.schedule[c] for c in ("open", "close", "break_start", "break_end")]
    for session, opens, closes, begin, end in zip(source.schedule.index, *columns, strict=True):
        pause = None if begin is pd.NaT else (moment(begin), moment(end))
        yield session.date(), Hours(moment(opens), moment(closes), pause)


def _special(special: Special, tz: ZoneInfo) -> Hours:
    def at(clock: time) -> datetime:
        return datetime.combine(special.session, clock, tz).astimezone(UTC)

    pause = special.pause and (at(special.pause[0]), at(special.pause[1]))
    return Hours(at(special.open), at(special.close), pause)


def _library(code: str) -> tuple[Any, tuple[date, date]]:
    """exchange_calendars' own calendar, and the first and last day that it knows."""
    import exchange_calendars as xc
    from exchange_calendars.calendar_utils import (
        _default_calendar_factories as kinds,  # pyright: ignore[reportPrivateUsage]  # nothing else names the classes
    )

    _offsets_of_holidays()
    if code not in xc.get_calendar_names():
        raise ConfigurationError(
            f"no calendar is called {code!r}; take FX, 24/7, or one of {xc.get_calendar_names(include_aliases=False)}"
        )
    kind = kinds[xc.resolve_alias(code)]
    bounds = kind.bound_min(), kind.default_end()
    first = max(date(FIRST_YEAR, 1, 1), bounds[0].date()) if bounds[0] is not None else date(FIRST_YEAR, 1, 1)
    last = bounds[1].date()
    try:
        with catch_warnings():
            simplefilter("ignore")  # what pandas has to say to exchange_calendars is nothing that we could mend
            source = _whole(kind, first, last)(start=first.isoformat(), end=last.isoformat())
    except (ValueError, NotImplementedError) as error:
        raise CalendarUnknown(
            f"{code}: exchange-calendars {xc.__version__} cannot make this calendar: {str(error)[:200]}; "
            "take another version, or another venue with the same sessions"
        ) from error
    return source, (first, last)


def _offsets_of_holidays() -> None:
    """Let pandas 3.1 find how exchange_calendars moves to a feast: it asks for another method than before, and with
    nobody answering took the western Easter for each feast of Tel Aviv's, and none for the Orthodox.
    """
    from exchange_calendars import tase_holidays
    from exchange_calendars.pandas_extensions.offsets import OrthodoxEaster

    mine = [k for k in vars(tase_holidays).values() if isinstance(k, type) and "_apply" in vars(k)]
    for kind in (OrthodoxEaster, *mine):
        setattr(kind, "_add_datetime", vars(kind)["_apply"])  # noqa: B010  # as an attribute it is pandas' private name


def _whole(kind: Any, first: date, last: date) -> Any:
    """The class of a calendar whose weeks differ (a session on a Saturday, a week from Sunday to Thursday), with all its sessions.

    exchange_calendars asks pandas for them by an offset class of its own, which pandas 3 does not ask back: the special
    weeks are lost. Here the same declarations become one list of days without a session, which every pandas takes.
    """
    if not hasattr(kind, "special_weekmasks"):
        return kind
    import pandas as pd

    def day(self: Any) -> Any:
        days = np.arange(_day(first), _day(last + timedelta(days=1)))
        open_ = np.is_busday(days, weekmask=self.weekmask)
        for begin, end, mask in self.special_weekmasks:
            inside = (days >= _day(begin or first)) & (days <= _day(end or last))
            open_ = np.where(inside, np.is_busday(days, weekmask=mask), open_)
        ruled = [] if self.regular_holidays is None else self.regular_holidays.holidays(first, last)
        holidays = [pd.Timestamp(h) for h in (*ruled, *self.adhoc_holidays)]
        open_ &= ~np.isin(days, np.array([_day(h) for h in holidays], dtype="datetime64[D]"))
        return pd.tseries.offsets.CustomBusinessDay(weekmask="1111111", holidays=list(days[~open_]))

    return type(kind.__name__, (kind,), {"day": property(day)})


def _day(moment: Any) -> np.datetime64:
    return np.datetime64(f"{moment:%Y-%m-%d}")
