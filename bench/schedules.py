"""Sessions asked for in time, venue by venue, over two years: python bench/schedules.py [first year] [last year].

In time: a tick of the schedule, read on the venue's own clock as Dagster's daemon walks it, lies at or after the
session's cut and before the open that it trades.
"""

import sys
from datetime import UTC, date, datetime, timedelta

from dagster._utils.schedules import schedule_execution_time_iterator  # what the daemon walks along

from quant_assets.calendars import Cuts, calendar
from quant_assets.calendars.schedules import asked, ticks

VENUES = ("XNYS", "XLON", "XTKS", "XHKG", "XSHG", "XBOM", "XKRX", "XMOS", "XTAE", "XASX", "FX", "24/7")


def row(code: str, first: date, last: date) -> str:
    """The line of a venue."""
    cuts = Cuts(calendar(code))
    venue, when = cuts.calendar, ticks(cuts)
    seen: dict[date, datetime] = {}
    start = datetime(first.year, 1, 1, tzinfo=UTC) - timedelta(days=5)
    end = min(last + timedelta(days=7), venue.known[1])
    for tick in schedule_execution_time_iterator(start.timestamp(), list(when.crons), when.zone, ascending=True):
        if tick.astimezone(UTC).date() > end:
            break
        if session := asked(cuts, tick):
            seen.setdefault(session, tick)
    sessions = venue.between(first, min(last, venue.before(venue.last)))
    in_time = sum(s in seen and cuts.of(s) <= seen[s] < venue.open(venue.shift(s, 1)) for s in sessions)
    deliverable = sum(cuts.of(s) < venue.open(venue.shift(s, 1)) for s in sessions)
    lines = "; ".join(when.crons)
    return (
        f"{code:5} {len(sessions):8} {in_time:8} {deliverable:11} {venue.sessions_per_year:8}  {when.zone:17} {lines}"
    )


def main() -> None:
    """Print the table."""
    years = [int(a) for a in sys.argv[1:]] or [2025, 2026]
    print("venue sessions in time  deliverable a year    zone              cron")
    for code in VENUES:
        print(row(code, date(years[0], 1, 1), date(years[-1], 12, 31)))


if __name__ == "__main__":
    main()
