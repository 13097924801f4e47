"""The calendar that the days of a file fit."""

from datetime import date

import msgspec
import polars as pl

from quant_assets.calendars import calendar
from quant_assets.errors import CalendarUnknown, ConfigurationError
from quant_assets.records import Frozen

DEFAULT = "XNYS"
OTHERS = ("XLON", "XETR", "XPAR", "XSWX", "XMAD", "XTSE", "XTKS", "XHKG", "XSHG", "XASX", "XBOM", "BVMF", "XJSE", "FX")
ALWAYS = "24/7"
FITS = 0.02  # of the days: what a vendor dates wrongly or leaves out
WEEKENDS = 0.15  # of the days, where weekends are traded: two of seven
FEW = 20  # days by which calendars differ
WITNESS = 0.1  # of the days that fit no calendar: then none is proposed


class Fit(Frozen, frozen=True):
    """A calendar and how it fits: days of the files that are none of its sessions, and sessions without a row."""

    code: str
    first: date
    last: date
    sessions: int
    outside: tuple[date, ...]
    missing: int
    chosen: bool
    """Whether a person named it."""
    alike: tuple[str, ...] = ()
    """The calendars that fit the days as well."""

    @property
    def share(self) -> float:
        """What does not fit, of all sessions."""
        return (len(self.outside) + self.missing) / max(self.sessions, 1)


def fitting(days: pl.Series, named: str | None = None) -> Fit:
    """The calendar named, or the one that fits the days (ascending): New York's if they are its sessions, 24/7 where
    weekends trade, else the best of some.

    Raises ConfigurationError where none fits.
    """
    found: list[date] = days.to_list()
    if named:
        return _fit(named, found, chosen=True)
    if len(found) >= FEW and sum(d.weekday() > 4 for d in found) >= WEEKENDS * len(found):
        fits = [_fit(ALWAYS, found)]
    else:
        fits = [_fit(DEFAULT, found)]
        if fits[0].share <= FITS:
            return fits[0]
        fits += [_fit(code, found) for code in OTHERS]
    best = min(fits, key=lambda f: f.share)
    if best.share > WITNESS or len(found) < FEW:
        raise ConfigurationError(
            f"no calendar fits the days of the files: of {len(found):,} days {len(best.outside):,} are no sessions of "
            f"{best.code}, which fits best, and {best.missing:,} of its sessions are missing; name the calendar by "
            f"--set calendar=CODE ({DEFAULT}, {ALWAYS}, {', '.join(OTHERS)}, …)"
        )
    alike = tuple(f.code for f in fits if f.share == best.share and f is not best)
    return msgspec.structs.replace(best, alike=alike)


def _fit(code: str, days: list[date], *, chosen: bool = False) -> Fit:
    venue = calendar(code)
    inside = [d for d in days if venue.known[0] <= d <= venue.known[1]]
    if not inside:
        raise CalendarUnknown(
            f"{code} is known from {venue.known[0]} to {venue.known[1]}, and the files have days from {days[0]} to "
            f"{days[-1]}; begin with a file of days that it knows"
        )
    sessions = venue.between(venue.on_or_after(inside[0]), inside[-1])
    known = set(sessions)
    outside = tuple(d for d in days if d not in known)
    missing = len(known.difference(days))
    return Fit(code, days[0], days[-1], len(sessions), outside, missing, chosen)
