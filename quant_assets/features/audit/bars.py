"""The audit of a set of bars: the same laws, with a bar's start for a session and its end for the cut."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.contract import UTC_MICROS
from quant_assets.features.audit.audit import outcome_rows
from quant_assets.features.audit.cuts import MOST, Cut, events, pick
from quant_assets.features.audit.recomputation import AFTER, BEFORE, Recomputation, recompute
from quant_assets.features.audit.views import Remembered
from quant_assets.features.intraday import NO_DELAY, anchor_of, compute_bars, grid, seconds_of
from quant_assets.features.sets import FeatureSet
from quant_assets.frames import span
from quant_assets.ports import Progress, Store, quiet
from quant_assets.vendor_tables import INTRADAY_BARS

_NO_ACTIONS = pl.DataFrame(
    schema={"sid": pl.String, "session": UTC_MICROS, "kind": pl.String}
)  # they fall on sessions, and the session's first bar is tried in any case
RECENT = (
    5  # sessions, the last of those given, from which the cuts are taken: they hold as many bars as years hold sessions
)


def audit_bars(
    store: Store,
    feature_set: FeatureSet,
    venue: str,
    hours: Calendar,
    sessions: Sequence[date],
    *,
    now: datetime,
    delay: timedelta = NO_DELAY,
    progress: Progress = quiet,
    most: int = MOST,
    seed: int = 0,
) -> pl.DataFrame:
    """Rows of AUDITS, one for each law, as `audit` makes them: the set on at most `most` bars of the venue.

    `store` is only read.
    """
    ordered, seconds = sorted(sessions), seconds_of(feature_set.frequency)
    if not ordered:
        return outcome_rows(feature_set, venue, ordered, [], Recomputation(), now)
    first, last = ordered[-RECENT:][0], ordered[-1]
    anchor = anchor_of(hours, first, seconds, feature_set.lookback)
    slots = grid(hours, anchor, last, seconds, delay).slots
    held = Remembered(
        store, anchor - timedelta(days=1), last + timedelta(days=1)
    )  # a session may open on the evening before, and close on the morning after
    chosen = _choose(
        held, {"venue": venue, "seconds": seconds}, slots, first, lookback=feature_set.lookback, most=most, seed=seed
    )
    if not chosen:
        return outcome_rows(feature_set, venue, ordered, [], Recomputation(), now)
    starts, cut_of = slots["session"].to_list(), dict(slots.select("session", "cut").iter_rows())
    place = {t: i for i, t in enumerate(starts)}
    around = {
        c.session: starts[max(0, place[c.session] - BEFORE * (n % 2)) : place[c.session] + AFTER + 1]
        for n, c in enumerate(chosen)
    }

    def compute(seen: Store, one: FeatureSet, asked: Sequence[date]) -> pl.DataFrame:
        runs = _runs(sorted(place[t] for t in asked))
        rows = pl.concat([compute_bars(seen, one, venue, hours, starts[a], starts[b], delay=delay) for a, b in runs])
        return rows.rename({"ts": "session", "symbol": "sid"}).filter(pl.col("session").is_in(list(asked)))

    tried = recompute(held, feature_set, chosen, around, cut_of.__getitem__, compute, progress=progress, seed=seed)
    return outcome_rows(feature_set, venue, ordered, chosen, tried, now)


def _choose(
    store: Store,
    where: Mapping[str, str | int],
    slots: pl.DataFrame,
    first: date,
    *,
    lookback: int,
    most: int,
    seed: int,
) -> list[Cut]:
    """At most `most` bars of [first, …] at which something happened, ascending; those with `lookback` slots of data
    before, where there are any.
    """
    bars = store.read(
        INTRADAY_BARS,
        as_of=slots["cut"][-1],
        first=slots["session"][0].date(),
        last=slots["session"][-1].date(),
        where=where,
        columns=("withdrawn",),
    )
    located = slots.select("session", "i", "cut")
    rows = bars.rename({"ts": "session", "symbol": "sid"}).join(located, on="session")
    if rows.is_empty():
        return []
    daily = slots.filter(pl.col("day") >= first)
    edges = daily.group_by("day", maintain_order=True).agg(opening=pl.col("i").first(), closing=pl.col("i").last())
    found = events(rows, _NO_ACTIONS, located)
    found |= {"first bar of a session": edges.select(i="opening"), "last bar of a session": edges.select(i="closing")}
    there, grown = set(rows["i"]), span(rows["i"], int)[0] + lookback
    with_bars = [i for i in daily["i"] if i in there]
    wanted = [i for i in with_bars[:-1] if i >= grown] or with_bars
    starts = slots["session"].to_list()
    return [
        Cut(session=starts[i], kinds=kinds) for i, kinds in pick(found, wanted, each=1, most=most, seed=seed).items()
    ]


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """The stretches of positions that follow on each other, as (first, last)."""
    breaks = [n for n in range(1, len(positions)) if positions[n] != positions[n - 1] + 1]
    return [(positions[a], positions[b - 1]) for a, b in zip([0, *breaks], [*breaks, len(positions)], strict=True)]
