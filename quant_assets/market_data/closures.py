"""Changes of the calendar that people record: a closure announced tonight, a session that was not listed. Known from
then on.
"""

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta

import polars as pl

from quant_assets.calendars import Calendar, Change, Cuts, Hours
from quant_assets.errors import ConfigurationError
from quant_assets.ports import Audit, KnowledgeLog, Store
from quant_assets.records import Act
from quant_assets.tables import CALENDAR_CHANGES, NAV

_TICK = timedelta(microseconds=1)
_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


def with_changes(calendar: Calendar, store: Store, books: Collection[str] | None = None) -> Calendar:
    """The calendar with the recorded changes of its days. A day on which a book was booked is a session; of the `books`
    that trade at the venue, where those of others have sessions of their own.

    The latter matters if a newer exchange_calendars drops a day: the decisions and bookings of that day keep their cut,
    and the next session continues from it.
    """
    rows = store.read(CALENDAR_CHANGES, as_of=None, where={"calendar": calendar.code})
    said = calendar.amended(
        Change(row["session"], row["known_at"], Hours(row["opens"], row["closes"]) if row["trades"] else None)
        for row in rows.iter_rows(named=True)
    )
    nav = store.read(NAV, as_of=None, columns=("known_at",))
    here = nav if books is None else nav.filter(pl.col("book").is_in(sorted(books)))
    booked = here.group_by("session").agg(pl.col("known_at").max())
    gone = {s: at for s, at in booked.iter_rows() if said.known[0] <= s <= said.known[1] and not said.ever(s)}
    kept = [Change(s, _ALWAYS, said.usual_hours(s)) for s in gone]
    return said.amended([*kept, *(Change(s, at + _TICK) for s, at in gone.items())])


def close(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    calendar: Calendar,
    session: date,
    *,
    act: Act,
    now: datetime,
) -> datetime:
    """`session` does not trade; return since when that is known.

    Raises ConfigurationError where it is no session, CalendarUnknown where nothing is known of it.
    """
    if not calendar.is_session(session):
        raise ConfigurationError(
            f"{calendar.code}: {session} is no session; the one before it is {calendar.before(session)}, "
            f"the one after it {calendar.after(session)}"
        )
    return _say(store, knowledge, audit, calendar, session, None, act=act, now=now)


def reopen(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    calendar: Calendar,
    session: date,
    hours: Hours | None = None,
    *,
    act: Act,
    now: datetime,
) -> datetime:
    """`session` trades, by default in the venue's usual hours; return since when that is known.

    Raises ConfigurationError where it is a session already or its hours overlap with another's, CalendarUnknown where
    nothing is known of the day.
    """
    if calendar.is_session(session):
        raise ConfigurationError(f"{calendar.code}: {session} is a session already")
    said = hours or calendar.usual_hours(session)
    before, after = calendar.close(calendar.before(session)), calendar.open(calendar.after(session))
    if not before <= said.open < said.close <= after:
        raise ConfigurationError(
            f"{calendar.code}: a session from {said.open:%Y-%m-%d %H:%M} to {said.close:%Y-%m-%d %H:%M} UTC does not "
            f"lie between the close before it, {before:%Y-%m-%d %H:%M}, and the open after it, {after:%Y-%m-%d %H:%M}"
        )
    return _say(store, knowledge, audit, calendar, session, said, act=act, now=now)


def _say(
    store: Store,
    knowledge: KnowledgeLog,
    audit: Audit,
    calendar: Calendar,
    session: date,
    hours: Hours | None,
    *,
    act: Act,
    now: datetime,
) -> datetime:
    read = knowledge.latest_cut()  # what a decision has read already cannot have known it
    known_at = now if read is None or now > read else read + _TICK
    what = "calendar close" if hours is None else "calendar open"
    audit.record(what, f"{calendar.code} {session}", by=act.by, reason=act.reason, now=act.at)
    row = {
        "session": session,
        "calendar": calendar.code,
        "trades": hours is not None,
        "opens": hours and hours.open,
        "closes": hours and hours.close,
        "by": act.by,
        "reason": act.reason,
        "known_at": known_at,
    }
    store.append(CALENDAR_CHANGES, pl.DataFrame([row], schema=dict(CALENDAR_CHANGES.schema)))
    return known_at


def consequence(cuts: Cuts, session: date) -> str:
    """What a change of `session` does to the decision before it, in a sentence."""
    before = cuts.booked_before(session)
    trades, cut = cuts.trades_at(before), cuts.of(before)
    return f"{before} is decided at {cut:%Y-%m-%d %H:%M} UTC for the {cuts.auction(before)} at {trades:%Y-%m-%d %H:%M}"
