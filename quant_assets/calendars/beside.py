"""Sessions of other venues beside those of a strategy's own calendar: which of them lie between two of its cuts."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.calendars import Calendar, Cuts

_DAY = timedelta(days=1)
PARTS = {"part": pl.Date, "session": pl.Date}


def parts(cuts: Cuts, other: Calendar, first: date, last: date) -> pl.DataFrame:
    """Columns part, session: each session of `other`, and the first own session in [first, last] by whose cut it has
    closed; ascending. Those that had closed by the cut before `first` are in none of them.
    """
    own = cuts.calendar.between(first, last)
    if not own:
        return pl.DataFrame(schema=PARTS)
    after, until = cuts.of(cuts.calendar.before(first)), cuts.of(own[-1])
    begin, end = max(after.date() - _DAY, other.known[0]), min(until.date() + _DAY, other.known[1])
    closes = other.closes(begin, end).filter((pl.col("cut") > after) & (pl.col("cut") <= until))
    ends = cuts.frame(own[0], own[-1]).select("session", "cut")
    held = closes.rename({"session": "part"}).sort("cut").join_asof(ends.sort("cut"), on="cut", strategy="forward")
    return held.select(*PARTS).sort("part")


def resting(cuts: Cuts, session: date) -> frozenset[str]:
    """The codes of the other venues that have no session between the cut before `session` and its own, as known at that
    cut.
    """
    then = cuts.as_of(cuts.of(session)) if cuts.beside else cuts
    return frozenset(other.code for other in then.beside if parts(then, other, session, session).is_empty())


def opens(cuts: Cuts, session: date) -> Mapping[str, datetime | None]:
    """By code when each other venue opens next after the cut of `session`, as known then; None where it rests until the
    cut of the session that follows.
    """
    then = cuts.as_of(cuts.of(session)) if cuts.beside else cuts
    following = then.calendar.after(session)
    found: dict[str, datetime | None] = {}
    for other in then.beside:
        there = parts(then, other, following, following)["part"]
        found[other.code] = other.open(there[0]) if there.len() else None
    return found


def opened(cuts: Cuts, session: date) -> Mapping[str, datetime]:
    """By code when the first session that each other venue has in `session` opened."""
    held = {other: parts(cuts, other, session, session)["part"] for other in cuts.beside}
    return {other.code: other.open(days[0]) for other, days in held.items() if days.len()}


def deadline(cuts: Cuts, session: date) -> datetime:
    """When the first of the venues opens at which what is decided at the cut of `session` trades."""
    elsewhere = (moment for moment in opens(cuts, session).values() if moment is not None)
    return min([cuts.trades_at(session), *elsewhere])
