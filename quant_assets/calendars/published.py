"""What exchange_calendars has of a venue, kept in the user's cache: to import it and to compute costs a second of CPU.

A file is valid for one version of the packages, of this code and of the time zone's rules, until the days that it was
computed for run out. Where it is missing, broken or cannot be written, the calendar is computed.
"""

import os
import tempfile
import zoneinfo
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from warnings import catch_warnings, simplefilter

import msgspec
import numpy as np
from msgspec.structs import replace

from quant_assets.errors import CalendarUnknown, ConfigurationError
from quant_assets.records import Frozen

FIRST_YEAR = 1990  # the span for which calendars are made; where exchange_calendars knows less, from there on
AHEAD = timedelta(days=60)  # computed beyond the year that is known, so that a file is valid for about as long
# not read from the end of what was computed: there exchange_calendars takes XKRX's last session for one that opens late
EDGE = timedelta(days=7)
PACKAGES = ("exchange_calendars", "pandas", "numpy")
DIGEST = 32  # bytes of SHA-256, before what is stored
T = TypeVar("T")


class Venue(Frozen, frozen=True):
    """The sessions from `first` to `until`, with their hours in UTC, and those that close early."""

    tz: str
    clock: str  # a hash of the rules of `tz`
    first: date
    until: date
    bound: date | None  # exchange_calendars knows no day after it
    sessions: list[date]
    opens: list[datetime]
    closes: list[datetime]
    pauses: list[tuple[datetime, datetime] | None]
    early: list[date]


def names() -> list[str]:
    """The codes of exchange_calendars, without aliases."""
    return _kept("names", list[str], _names, lambda _: True)


def venue(code: str) -> Venue:
    """The venue up to the day a year from today, or up to the last that exchange_calendars knows.

    Raises ConfigurationError where it has no such code, CalendarUnknown where this version cannot make the calendar.
    """
    last = _a_year_after(_today())

    def good(kept: Venue) -> bool:
        return (kept.until == kept.bound or kept.until >= last + EDGE) and kept.clock == _rules(kept.tz)

    whole = _kept(code, Venue, lambda: _computed(code, last + AHEAD), good)
    return _up_to(whole, min(last, whole.bound or last))


def _up_to(whole: Venue, last: date) -> Venue:
    n = bisect_right(whole.sessions, last)
    return replace(
        whole,
        until=last,
        sessions=whole.sessions[:n],
        opens=whole.opens[:n],
        closes=whole.closes[:n],
        pauses=whole.pauses[:n],
        early=[session for session in whole.early if session <= last],
    )


def _today() -> date:
    return datetime.now().astimezone().date()  # as exchange_calendars takes it, whose calendars end a year later


def _a_year_after(day: date) -> date:
    return date(day.year + 1, day.month, 28 if (day.month, day.day) == (2, 29) else day.day)


def _kept(name: str, kind: type[T], compute: Callable[[], T], good: Callable[[T], bool]) -> T:
    """What is kept under a name, where it is whole and `good`; else what `compute` returns, which is then kept."""
    file = _file(name)
    with suppress(OSError, msgspec.MsgspecError):
        stored = file.read_bytes()
        kept = msgspec.msgpack.decode(stored[DIGEST:], type=kind)
        if sha256(stored[DIGEST:]).digest() == stored[:DIGEST] and good(kept):
            return kept
    content = msgspec.msgpack.encode(compute())
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
            new.write(sha256(content).digest() + content)
        Path(new.name).replace(file)  # whole or not at all, also where two write at once
    return msgspec.msgpack.decode(content, type=kind)


def _file(name: str) -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return folder / "quant-assets" / "calendars" / f"{name}-{_made_by()}.msgpack"


@cache
def _made_by() -> str:
    """A hash of the packages' versions and of this code."""
    by = [f"{package} {version(package)}" for package in PACKAGES]
    return sha256("\n".join([*by, Path(__file__).read_text()]).encode()).hexdigest()[:16]


def _rules(tz: str) -> str:
    """A hash of a time zone's rules: the system's file, else the package's version."""
    file = next((f for f in (Path(folder, tz) for folder in zoneinfo.TZPATH) if f.is_file()), None)
    return sha256(file.read_bytes() if file else version("tzdata").encode()).hexdigest()


def _names() -> list[str]:
    import exchange_calendars as xc

    return list(xc.get_calendar_names(include_aliases=False))


def _computed(code: str, last: date) -> Venue:
    """The venue up to `last`, or to the last day that exchange_calendars knows."""
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
    least, most = kind.bound_min(), kind.bound_max()
    first = max(date(FIRST_YEAR, 1, 1), least.date()) if least is not None else date(FIRST_YEAR, 1, 1)
    bound = None if most is None else most.date()
    until = last if bound is None else min(last, bound)
    try:
        with catch_warnings():
            simplefilter("ignore")  # what pandas has to say to exchange_calendars is nothing that we could mend
            source = _whole(kind, first, until)(start=first.isoformat(), end=until.isoformat())
    except (ValueError, NotImplementedError) as error:
        raise CalendarUnknown(
            f"{code}: exchange-calendars {xc.__version__} cannot make this calendar: {str(error)[:200]}; "
            "take another version, or another venue with the same sessions"
        ) from error
    days, opens, closes, pauses = zip(*_scheduled(source), strict=True)
    return Venue(
        tz=source.tz.key,
        clock=_rules(source.tz.key),
        first=first,
        until=until,
        bound=bound,
        sessions=list(days),
        opens=list(opens),
        closes=list(closes),
        pauses=list(pauses),
        early=sorted(session.date() for session in source.early_closes),
    )


def _scheduled(source: Any) -> Iterator[tuple[date, datetime, datetime, tuple[datetime, datetime] | None]]:
    """The sessions and hours of exchange_calendars' own calendar."""
    import pandas as pd

    def moment(of: Any) -> datetime:
        return of.to_pydatetime()

    columns = [source.schedule[c] for c in ("open", "close", "break_start", "break_end")]
    for session, opens, closes, begin, end in zip(source.schedule.index, *columns, strict=True):
        pause = None if begin is pd.NaT else (moment(begin), moment(end))
        yield session.date(), moment(opens), moment(closes), pause


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
    """The class of a calendar whose weeks differ (some Saturdays, or Sunday to Thursday), with all its sessions.

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
