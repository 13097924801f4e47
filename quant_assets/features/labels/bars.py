"""Labels of bars: what an intraday model learns, from the open at which its orders fill to the open some bars later.

A label is computed from what was known when its window's last bar had ended, and that time is its `known_at`: purging
by it is exact, and a range of sessions has the bits of its bars. Bars after which nothing is decided (the last one
before the venue rests) have no label.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import polars as pl

from quant_assets.calendars import Calendar
from quant_assets.contract import known_by
from quant_assets.errors import ConfigurationError
from quant_assets.features.blocks import versions
from quant_assets.features.catalogue import find_set
from quant_assets.features.intraday import OnBars, anchor_of, bar_actions, grid, seconds_of
from quant_assets.features.labels.returns import forward_returns
from quant_assets.market_data.adjustment import ADJUSTING, ENDING
from quant_assets.ports import Progress, Store, quiet
from quant_assets.records import StageReport
from quant_assets.strategy import LabelRule
from quant_assets.tables import BAR_LABELS
from quant_assets.vendor_tables import INTRADAY_BARS

PRICES = ("open", "close")
TERMS = ("numerator", "denominator", "cash", "value", "counterpart")


def compute_bar_labels(
    store: Store, rule: LabelRule, bars: OnBars, hours: Calendar, sessions: Sequence[date]
) -> pl.DataFrame:
    """Rows of BAR_LABELS whose windows end with a bar of `sessions`; `rule.horizon` counts bars. Reads only.

    Raises ConfigurationError for a rule other than from open to open, net of nothing.
    """
    if rule.kind != "open_to_open" or rule.net_of is not None or rule.by:
        raise ConfigurationError(
            f"a label of bars is the return from open to open; {rule.name!r} is of sessions. Leave `label` out, or "
            "give it a horizon alone"
        )
    parts = [_session_labels(store, rule, bars, hours, day) for day in sorted(sessions)]
    return pl.concat([BAR_LABELS.empty(), *parts]).sort(BAR_LABELS.key)


def _session_labels(store: Store, rule: LabelRule, bars: OnBars, hours: Calendar, day: date) -> pl.DataFrame:
    seconds, reach = seconds_of(find_set(bars.feature_set).frequency), rule.reach
    anchor = anchor_of(hours, day, seconds, reach)
    slots = grid(hours, anchor, day, seconds, timedelta(seconds=bars.delay)).slots
    ends = slots.filter(pl.col("day") == day)
    as_of, opened = ends["cut"][-1], slots["session"][0]
    stored = store.read(
        INTRADAY_BARS,
        as_of=as_of,
        first=opened.date(),
        last=ends["session"][-1].date(),
        where={"venue": bars.venue, "seconds": seconds},
        columns=(*PRICES, "withdrawn"),
    ).rename({"ts": "session"})
    names = stored.select("symbol").unique().sort("symbol").with_columns(sid=pl.int_range(pl.len(), dtype=pl.Int64))
    known = versions(stored.join(names, on="symbol"), slots.select("session", "i", "cut"), PRICES, ("sid",))
    acted = bar_actions(store, names, slots, as_of, anchor, day, (*ADJUSTING, *ENDING), TERMS)
    wanted = ends.select(u="i", label_end="session", known_at="cut")
    found = forward_returns(known, acted, rule.horizon, wanted.select("u"), "open").filter("settled")
    following = pl.col("session").shift(-1)
    touching = (pl.col("day") == pl.col("day").shift(-1)) | (pl.col("cut").dt.offset_by(f"-{bars.delay}s") == following)
    begun = slots.filter(touching).select("i", ts="session")
    located = found.join(wanted, on="u").with_columns(i=pl.col("u") - reach).join(begun, on="i").join(names, on="sid")
    return located.select(
        "label_end",
        "ts",
        "symbol",
        "value",
        "died",
        "known_at",
        label=pl.lit(rule.name),
        venue=pl.lit(bars.venue),
        seconds=pl.lit(seconds, dtype=pl.Int32),
        horizon=pl.lit(rule.horizon, dtype=pl.Int64),
    ).select(*BAR_LABELS.schema)


def publish_bar_labels(
    store: Store,
    rule: LabelRule,
    bars: OnBars,
    hours: Calendar,
    sessions: Sequence[date],
    *,
    now: datetime | None = None,
    progress: Progress = quiet,
) -> StageReport:
    """Compute and store, a session at a time; the same sessions again are a no-op. What is not known by `now` is left
    for the next call.
    """
    written = total = 0
    for done, day in enumerate(sorted(sessions)):
        progress(done, len(sessions), f"labels of bars {day}")
        rows = compute_bar_labels(store, rule, bars, hours, [day])
        over = rows if now is None else known_by(rows, now)
        written += store.append(BAR_LABELS, over)
        total += over.height
    return StageReport(
        stage="labels",
        first=min(sessions),
        last=max(sessions),
        state="done" if total else "empty",
        reason="" if total else "no label's window ends in these sessions with prices known",
        rows=written,
        numbers={"labels": total},
    )
