"""Sessions and closures of venues that exchange_calendars does not have, and closures that came too late to be
known at the cut.

Each is what the venue announced, with where that can be read. What exchange_calendars has needs no line here, and what
nobody could confirm has none.
"""

from datetime import date, datetime, time
from typing import NamedTuple

CLOSED: dict[str, tuple[tuple[str, str], ...]] = {
    # the Bank of Russia kept the equity market shut; it opened again on 2022-03-24 (cbr.ru, press releases of
    # 2022-02-28 to 03-23)
    "XMOS": (("2022-02-28", "2022-03-23"),),
}
"""First and last day of closures, by venue."""


class Special(NamedTuple):
    """A session out of the usual: from when to when on the venue's clock, with a break where there is one; and
    since when that is known (UTC).
    """

    session: date
    open: time
    close: time
    known_at: datetime | None = None
    pause: tuple[time, time] | None = None


class Shut(NamedTuple):
    """A day that exchange_calendars knows as closed, and that was a session until then (UTC): what was decided for
    it met a closed door.
    """

    session: date
    known_at: datetime


def _at(
    day: str, opens: str, closes: str, *, known: str | None = None, pause: tuple[str, str] | None = None
) -> Special:
    stops = pause and (time.fromisoformat(pause[0]), time.fromisoformat(pause[1]))
    announced = None if known is None else datetime.fromisoformat(known)
    return Special(date.fromisoformat(day), time.fromisoformat(opens), time.fromisoformat(closes), announced, stops)


_RECOVERY = ("10:00", "11:30")  # the switch from the primary site to the one for disaster recovery

SPECIAL: dict[str, tuple[Special, ...]] = {
    # BSE. Muhurat: the trading of an hour at Diwali, on a day that is otherwise a holiday; hours by the exchange's
    # circular of the year. Those of 2010 to 2012 are sessions in exchange_calendars already.
    "XBOM": (
        _at("2013-11-03", "18:15", "19:30"),
        _at("2014-10-23", "18:30", "19:30"),
        _at("2015-02-28", "09:15", "15:30"),  # Union Budget, a Saturday
        _at("2015-11-11", "17:45", "18:45"),
        _at("2016-10-30", "18:30", "19:30"),
        _at("2017-10-19", "18:30", "19:30"),
        _at("2018-11-07", "17:30", "18:30"),
        _at("2019-10-27", "18:15", "19:15"),
        _at("2020-02-01", "09:15", "15:30"),  # Union Budget, a Saturday
        _at("2020-11-14", "18:15", "19:15"),
        _at("2021-11-04", "18:15", "19:15"),
        _at("2022-10-24", "18:15", "19:15"),
        _at("2023-11-12", "18:15", "19:15"),
        _at("2024-03-02", "09:15", "12:30", pause=_RECOVERY),  # a trial of the disaster recovery site, a Saturday
        _at("2024-05-18", "09:15", "12:30", pause=_RECOVERY),  # the second trial
        _at("2024-11-01", "18:00", "19:00", known="2024-10-20T12:00+00:00"),
        _at("2025-10-21", "13:45", "14:45", known="2025-09-22T12:00+00:00"),
        _at(
            "2026-02-01", "09:15", "15:30", known="2026-01-16T12:10+00:00"
        ),  # Union Budget, a Sunday: notice 20260116-33
    ),
}
"""Sessions that exchange_calendars does not have, by venue."""

SHUT: dict[str, tuple[Shut, ...]] = {
    # the open was put off after the first aeroplane, and did not come
    "XNYS": (Shut(date(2001, 9, 11), datetime.fromisoformat("2001-09-11T13:30+00:00")),),
    # a failure of the trading system; at 11:45 the day was called off (JPX, 2020-10-19)
    "XTKS": (Shut(date(2020, 10, 1), datetime.fromisoformat("2020-10-01T02:45+00:00")),),
    # typhoons, by their days in exchange_calendars' HKAdhocClosures: where the signal still stands at noon there is
    # no session
    "XHKG": tuple(
        Shut(date.fromisoformat(day), datetime.fromisoformat(f"{day}T04:00+00:00"))
        for day in (
            "1992-07-22",
            "1993-09-17",
            "1999-09-16",
            "2001-07-06",
            "2001-07-25",
            "2008-08-06",
            "2008-08-22",
            "2011-09-29",
            "2013-08-14",
            "2016-08-02",
            "2016-10-21",
            "2017-08-23",
            "2020-10-13",
            "2021-10-13",
            "2023-07-17",
            "2024-09-06",
        )
    ),
}
"""Days that were sessions until shortly before, or after, they should have opened, by venue."""
