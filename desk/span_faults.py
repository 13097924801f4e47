"""What must hold of a strategy that decides names of several venues: all of them rest when it does."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

from msgspec.structs import replace

from desk.document.reading import Reading
from quant_assets.calendars import Calendar, Cuts, calendar
from quant_assets.calendars.venues import codes
from quant_assets.errors import CalendarUnknown
from quant_assets.moments import AtTime, BeforeOpen, Every
from quant_assets.strategy import Strategy

AHEAD = timedelta(days=400)  # a year, with both changes of the clocks in each country
QUARTER = timedelta(minutes=15)


def span_faults(found: Reading, markets: Sequence[str]) -> None:
    """Each calendar that a strategy spans is that of a market, and its moment is one at which all these venues rest."""
    start = found.values.get("start") or date.today()  # noqa: DTZ011  # any day will do
    for path, one in found.each("strategies").items():
        beside = [code for code in one.venues_beside if code in codes()]
        for code in one.venues_beside:
            if code not in markets:
                what = f"no data feeds names of {code}; declare its source under `markets`, or take some of "
                found.fault(f"{path}.spans", what + ", ".join(sorted({*markets} - {one.calendar})))
        if not beside or one.calendar not in codes() or found.wrong(path):
            continue
        if what := _impossible(one):
            found.fault(f"{path}.spans", what)
            continue
        try:
            wrong = _disturbed(one, beside, start)
        except CalendarUnknown:
            continue
        if wrong is not None:
            cut, code = wrong
            what = (
                f"it decides at {cut:%Y-%m-%d %H:%M} UTC, while {code} is open: of what is under way no bar is known. "
                + _instead(one, beside, start)
            )
            found.fault(f"{path}.decide" if one.decide else f"{path}.spans", what)


def _impossible(one: Strategy) -> str:
    """What a strategy that spans calendars cannot be."""
    if not isinstance(one.moment, AtTime | BeforeOpen):
        when = "at bars" if isinstance(one.moment, Every) else "before a close"
        return f"a strategy that decides {when} trades one venue; write decide: {{kind: at, time: 'HH:MM'}}"
    if isinstance(one.universe.chains, tuple):
        return "a universe of futures is of one calendar: its series are made of that market's contracts"
    return ""


def _disturbed(one: Strategy, beside: Sequence[str], start: date) -> tuple[datetime, str] | None:
    """The first cut at which one of the venues is open, and which."""
    others = [calendar(code) for code in beside]
    cuts = Cuts(calendar(one.calendar), one.moment, others)
    for session in cuts.calendar.between(cuts.calendar.on_or_after(start), start + AHEAD):
        cut = cuts.of(session)
        for other in (cuts.calendar, *others):
            if _is_open(other, cut):
                return cut, other.code
    return None


def _is_open(venue: Calendar, at: datetime) -> bool:
    near = venue.between(at.date() - timedelta(days=1), at.date() + timedelta(days=1))
    return any(venue.open(session) <= at < venue.close(session) for session in near)


def _instead(one: Strategy, beside: Sequence[str], start: date) -> str:
    """A time of the venue's own clock, a whole quarter of an hour, at which all rest all year."""
    evening = datetime.combine(start, time(18))
    for n in range(96):
        clock_time = f"{evening + QUARTER * n:%H:%M}"
        if _disturbed(replace(one, decide=AtTime(clock_time)), beside, start) is None:
            return f"They all rest at {clock_time}, for example: write decide: {{kind: at, time: '{clock_time}'}}"
    return "There is no time of the day at which all of them rest"
