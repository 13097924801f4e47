"""Labels whose window ended while the name did not trade: known when it trades again, or when it is known to have
ended.

A halt is no ending, and a halted name has no price at which a holder could have left. So such a label is filed at the
first cut that knows of a price at or after the window's end, and runs to that price; or at the cut that knows of a
merger or delisting, with the return of its terms, or to the last price. If an ended name trades again, or its ending is
corrected, a later row is filed: the latest one known is in force.
"""

from collections.abc import Sequence
from datetime import date
from functools import partial

import polars as pl

from quant_assets.calendars import Cuts
from quant_assets.features.blocks import versions
from quant_assets.features.labels.returns import as_known, grown, proceeds
from quant_assets.frames import span
from quant_assets.market_data.adjustment import ADJUSTING, ENDING
from quant_assets.ports import Store
from quant_assets.strategy import LabelRule
from quant_assets.tables import ACTIONS, BARS, LISTINGS

LONGEST = 252  # sessions of a halt, after which a label that was filed stays as it is
TERMS = ("numerator", "denominator", "cash", "value", "counterpart")
NEWS = {"sid": pl.Int64, "v": pl.Int32, "w": pl.Int32}
FOUND = {"u": pl.Int32, "sid": pl.Int64, "due": pl.Int32, "value": pl.Float64, "died": pl.Boolean}


def later_returns(
    store: Store, cuts: Cuts, rule: LabelRule, bars: pl.DataFrame, sessions: Sequence[date], price: str
) -> pl.DataFrame:
    """Columns u, sid, due, value, died: the returns of windows that ended at position `due`, known at the cut of u, one
    of `sessions`, not before.

    `bars` are the `blocks.versions` of the sessions that the rule looks at, and of `sessions`.
    """
    calendar, last = cuts.calendar, sessions[-1]
    within = pl.col("v").is_in([calendar.index(s) for s in sessions])
    reopened = _reopened(bars, rule).filter(within)
    ended = _ended(store, cuts, last).filter(within)
    if reopened.is_empty() and ended.is_empty():
        return pl.DataFrame(schema=FOUND)
    start = _start(store, cuts, rule, bars, reopened, ended, last)
    names = pl.concat([reopened.select("sid"), ended.select("sid")]).unique()
    located, as_of = cuts.frame(calendar.at(start), last), cuts.of(last)
    read = partial(store.read, as_of=as_of, first=calendar.at(start), last=last)
    prices, moves = (
        f.join(names, on="sid", how="semi")
        for f in (read(BARS, columns=("open", "close", "withdrawn")), read(ACTIONS, columns=(*TERMS, "withdrawn")))
    )
    known = versions(prices, located, ("open", "close"), ("sid",))
    acted = versions(moves.filter(pl.col("kind").is_in([*ADJUSTING, *ENDING])), located, TERMS, ("sid", "kind"))
    windows = _windows(known, reopened, ended, rule.horizon)
    return _values(known, acted, windows, price)


def _reopened(bars: pl.DataFrame, rule: LabelRule) -> pl.DataFrame:
    """sid, v, w: bars of w that the cut of v knows first, after a session without one, or late."""
    order = bars.sort("sid", "i", "e")
    same = (pl.col("sid") == pl.col("sid").shift(1)) & (pl.col("i") == pl.col("i").shift(1))
    fresh = ~pl.col("withdrawn") & (~same | pl.col("withdrawn").shift(1)).fill_null(value=True)
    first = order.filter(fresh & (pl.col("i") >= pl.col("e") - rule.lookback)).select("sid", v="e", w="i")
    before = first.filter(pl.col("v") == pl.col("w")).select("sid", "w", u="v", i=pl.col("w") - 1)
    traded = as_known(bars.select("sid", "i", "e", "withdrawn", "late"), before, ["sid", "i"]).select("sid", "w")
    # dtypes by name
    return first.join(traded.with_columns(v="w"), on=["sid", "v", "w"], how="anti").cast(NEWS)  # pyright: ignore[reportArgumentType]


def _ended(store: Store, cuts: Cuts, last: date) -> pl.DataFrame:
    """sid, v, w: mergers and delistings with ex w that the cut of v knows first, or knows otherwise."""
    ended = pl.concat(
        store.read(ACTIONS, as_of=cuts.of(last), last=last, where={"kind": kind}, columns=(*TERMS, "withdrawn"))
        for kind in ENDING
    )
    if ended.is_empty():
        return pl.DataFrame(schema=NEWS)
    earliest, _ = span(ended["session"], date)
    found = versions(ended, cuts.frame(cuts.calendar.on_or_after(earliest), last), TERMS, ("sid", "kind"))
    # dtypes by name
    return found.filter(~pl.col("withdrawn")).select("sid", v="e", w="i").unique().cast(NEWS)  # pyright: ignore[reportArgumentType]


def _start(
    store: Store,
    cuts: Cuts,
    rule: LabelRule,
    bars: pl.DataFrame,
    reopened: pl.DataFrame,
    ended: pl.DataFrame,
    last: date,
) -> int:
    """The position from which prices are needed: a window before the last bars before; a year where these are not among
    `bars` and the name was listed by then.
    """
    news = pl.concat([reopened, ended])
    seen = bars.group_by("sid").agg(oldest=pl.col("i").min())
    placed = news.join(seen, on="sid", how="left").with_columns(
        near=(pl.col("oldest") < pl.min_horizontal("w", pl.col("v"))).fill_null(value=False)
    )
    far = placed.filter(~pl.col("near"))
    if far.height:
        listings = store.read(LISTINGS, as_of=cuts.of(last)).group_by("sid").agg(listed=pl.col("session").min())
        born = far.join(listings, on="sid", how="left").select(
            "w",
            known=pl.col("listed").is_null() | (pl.col("listed") < cuts.calendar.at(span(far["w"], int)[0])),
        )
        far = far.filter(born["known"])
    reached = (placed.filter("near")["oldest"], far["w"] - LONGEST, news["v"])
    return max(0, min(span(f, int)[0] for f in reached if f.len()) - rule.horizon)


def _windows(known: pl.DataFrame, reopened: pl.DataFrame, ended: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """u, sid, due, exit (position of the price; null for an ending), last: the windows that the news close, one row for
    each.
    """
    to_price = _after(known, reopened.with_columns(before="w", exit="w")).with_columns(
        until=pl.when(pl.col("v") > pl.col("w")).then("w").otherwise(pl.col("w") - 1)
    )
    to_end = (
        _after(known, ended.with_columns(before=pl.col("v") + 1, exit=pl.lit(None, pl.Int32)))
        .filter(pl.col("last") < pl.col("w"))
        .with_columns(until=pl.col("v") - 1)
    )
    news = pl.concat([to_price, to_end]).with_columns(until=pl.min_horizontal("until", pl.col("last") + horizon))
    return (
        news.filter(pl.col("until") > pl.col("last"))
        .with_columns(due=pl.int_ranges(pl.col("last") + 1, pl.col("until") + 1, dtype=pl.Int32))
        .explode("due")
        .unique(["v", "sid", "due"], keep="first", maintain_order=True)
        .select("sid", "due", "exit", "last", u="v", start=pl.col("due") - horizon)
    )


def _after(known: pl.DataFrame, news: pl.DataFrame) -> pl.DataFrame:
    """The news with `last`, the latest bar before `before` that the cut of v knows; without those that have none within
    `LONGEST`.
    """
    there = known.select("sid", "i").unique()
    asked = news.join(there, on="sid").filter((pl.col("i") < pl.col("before")) & (pl.col("i") >= pl.col("w") - LONGEST))
    found = as_known(known, asked.rename({"v": "u"}), ["sid", "i"]).rename({"u": "v"})
    by = ["sid", "v", "w", "exit"]
    return found.group_by(by, maintain_order=True).agg(last=pl.col("i").max()).sort("sid", "v", "w", "last")


def _values(known: pl.DataFrame, acted: pl.DataFrame, windows: pl.DataFrame, price: str) -> pl.DataFrame:
    """The returns of the windows, as `returns.forward_returns` takes them."""
    rows = windows.with_row_index("row")
    entry = as_known(known, rows.rename({"start": "i"}), ["sid", "i"]).select("row", entry=price)
    at = pl.coalesce("exit", "last")
    left = as_known(known, rows.with_columns(i=at), ["sid", "i"]).select(
        "row", price=pl.when(pl.col("exit").is_null()).then("close").otherwise(price)
    )
    end = pl.coalesce("exit", "u")
    wanted = rows.join(acted.select("sid", "kind", "i").unique(), on="sid").filter(
        (pl.col("i") > pl.col("start")) & (pl.col("i") <= end)
    )
    held = as_known(acted, wanted, ["sid", "kind", "i"]).sort("row", "i", "kind")
    kept = rows.join(entry, on="row").join(left, on="row").join(grown(held, ["row"]), on="row", how="left")
    gone = pl.when(pl.col("exit").is_null()).then(proceeds()).otherwise(1.0)
    value = pl.col("price") * gone * pl.col("growth").fill_null(1.0) / pl.col("entry") - 1.0
    income = pl.col("income").fill_null(0.0) / pl.col("entry")
    return (
        kept.select("u", "sid", "due", value=value + income, died=pl.col("exit").is_null())
        .filter(pl.col("value").is_finite())
        .cast(FOUND)  # pyright: ignore[reportArgumentType]  # dtypes by name
        .sort("u", "sid", "due")
    )
