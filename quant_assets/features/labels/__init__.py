"""Labels: what models learn, filed under the session in which it becomes known.

A rule (`LabelRule`, declared with the strategy) defines the return; this module makes its rows of LABELS, a quarter of
sessions at a time. A label is computed from what is known at the cut at which it becomes known: a range of sessions has
the bits of its days. That cut is the row's known_at, so purging by it is exact. A label is filed once, unless its name
was halted when its window ended: then it is filed when the name trades again or has ended, and again if that is
corrected (see `halts`).
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.blocks import quarter_start, versions
from quant_assets.features.labels.barriers import barrier_returns
from quant_assets.features.labels.halts import later_returns
from quant_assets.features.labels.net import net
from quant_assets.features.labels.plugged_in import made_of_paths
from quant_assets.features.labels.returns import forward_returns
from quant_assets.market_data.adjustment import ADJUSTING, ENDING
from quant_assets.ports import Store
from quant_assets.records import StageReport
from quant_assets.strategy import LabelRule, Strategy
from quant_assets.tables import ACTIONS, BARS, LABELS

OPEN_TO_OPEN = LabelRule(horizon=1).name
GROWING = (*ADJUSTING, *ENDING)
PRICES = {
    "open_to_open": ("open", "close"),
    "close_to_close": ("close",),
    "traded_close_to_close": ("close",),
    "triple_barrier": ("open", "high", "low", "close"),
}


def compute_labels(store: Store, cuts: Cuts, rule: LabelRule | int, sessions: Sequence[date]) -> pl.DataFrame:
    """Rows of LABELS that become known in `sessions`.

    A number means the rule from open to open over so many sessions. Reads only.
    """
    one = LabelRule(horizon=rule) if isinstance(rule, int) else rule
    parts = [
        _known_in(store, cuts, one, list(some))
        for _, some in groupby(sorted(sessions), key=lambda s: quarter_start(cuts.calendar, s))
    ]
    return pl.concat([LABELS.empty(), *parts]).sort(LABELS.key)


def _known_in(store: Store, cuts: Cuts, rule: LabelRule, sessions: Sequence[date]) -> pl.DataFrame:
    """The rows of one stretch of sessions (ascending)."""
    rows = gross_returns(store, cuts, rule, sessions)
    if rule.net_of is not None:
        rows = net(store, cuts, rule.net_of, rows)
    return rows.with_columns(horizon=pl.lit(rule.horizon, dtype=pl.Int64), label=pl.lit(rule.name)).select(
        *LABELS.schema
    )


def gross_returns(store: Store, cuts: Cuts, rule: LabelRule, sessions: Sequence[date]) -> pl.DataFrame:
    """Columns session, sid, label_end, known_at, value, died, touched: the returns that become known in `sessions`
    (ascending, of one quarter), before anything is taken out of them; from no further back than the rule looks.

    Barriers, plug-ins, and what labels are net of, are of whole sessions: there a window that ends in a halt keeps the
    last price.
    """
    first, last = cuts.calendar.shift(sessions[0], -rule.lookback), sessions[-1]
    located, as_of = cuts.frame(first, last), cuts.of(last)
    prices, terms = PRICES[rule.kind], ("numerator", "denominator", "cash", "value", "counterpart")
    bars = versions(
        store.read(BARS, as_of=as_of, first=first, last=last, columns=(*prices, "withdrawn")), located, prices, ("sid",)
    )
    acted = store.read(ACTIONS, as_of=as_of, first=first, last=last, columns=(*terms, "withdrawn")).filter(
        pl.col("kind").is_in(GROWING)
    )
    actions = versions(acted, located, terms, ("sid", "kind"))
    ends = located.filter(pl.col("session").is_in(sessions)).select(u="i", label_end="session", known_at="cut")
    values = forward_returns(bars, actions, rule.horizon, ends, prices[0]).with_columns(due="u")
    values = made_of_paths(bars, actions, rule, ends, values, prices[0])
    if rule.kind != "triple_barrier" and rule.net_of is None and not rule.by:
        later = later_returns(store, cuts, rule, bars, sessions, prices[0])
        values = pl.concat([values.filter("settled").select(later.columns), later])
    values = values.with_columns(t=pl.col("due") - rule.reach, touched=pl.lit(None, pl.String)).drop(
        "settled", "due", strict=False
    )
    if rule.kind == "triple_barrier":
        values = barrier_returns(bars, actions, rule, ends, values)
    earliest = values["t"].min()  # of a window that a halt prolonged, further back than the rule looks
    begun = cuts.frame(cuts.calendar.at(earliest), last) if isinstance(earliest, int) else located
    return values.join(ends, on="u").join(begun.select("session", t="i"), on="t")


def publish_labels(store: Store, cuts: Cuts, rule: LabelRule | int, sessions: Sequence[date]) -> StageReport:
    """Compute and store; the same sessions again are a no-op."""
    rows = compute_labels(store, cuts, rule, sessions)
    return StageReport(
        stage="labels",
        first=min(sessions),
        last=max(sessions),
        state="done" if rows.height else "empty",
        reason="" if rows.height else f"no label's window ends in these sessions with prices known{_benchmark(rule)}",
        rows=store.append(LABELS, rows),
        numbers={"labels": rows.height, "died": float(rows["died"].sum())},
    )


def _benchmark(rule: LabelRule | int) -> str:
    return "" if isinstance(rule, int) or rule.net_of is None else f", and with {rule.net_of.name} known"


def label_strategies(
    store: Store, cuts: Cuts, strategies: Sequence[Strategy], sessions: Sequence[date]
) -> Iterator[StageReport]:
    """Publish the labels that the strategies' models learn; strategies that share a rule share its labels."""
    for rule in label_rules(strategies):
        yield publish_labels(store, cuts, rule, sessions)


def label_rules(strategies: Iterable[Strategy]) -> list[LabelRule]:
    """The rules of all strategies, one for each name and horizon, sorted by these."""
    rules = {(s.rule.name, s.rule.horizon): s.rule for s in strategies}
    return [rules[key] for key in sorted(rules)]
